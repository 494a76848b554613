/* SPDX-License-Identifier: BSD-3-Clause */

/* Questions are written.  See soap.h.
 *
 * Texts may be passwords: the buffer is wiped whenever it is given up, also
 * when it grows.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soap.h"

/* No request of ours comes near it. */
#define MAX_REQUEST (1 << 20)

static int
grow (struct soap_request *request, size_t more)
{
  const size_t capacity = 2 * (request->len + more) + 256;
  char *grown;

  if (more > MAX_REQUEST || request->len > MAX_REQUEST - more)
    return fail (&request->problem, ERR_ARGUMENT,
                 "the request would be larger than %d bytes", MAX_REQUEST);
  grown = malloc (capacity);
  if (!grown)
    return fail_memory (&request->problem);
  if (request->text) {
    memcpy (grown, request->text, request->len);
    explicit_bzero (request->text, request->len);
    free (request->text);
  }
  request->text = grown;
  request->capacity = capacity;
  return 0;
}

static void
put (struct soap_request *request, const char *bytes, size_t count)
{
  if (request->problem.kind != ERR_NONE)
    return;
  if (count > request->capacity - request->len && grow (request, count) == -1)
    return;
  memcpy (request->text + request->len, bytes, count);
  request->len += count;
}

static void
put_words (struct soap_request *request, const char *words)
{
  put (request, words, strlen (words));
}

/* How many bytes of UTF-8 begin at P, 0 when they are not what XML carries:
 * control characters, surrogates, U+FFFE and U+FFFF, forms that are too long.
 */
static size_t
character_size (const unsigned char *p)
{
  uint32_t c;

  if (p[0] < 0x80)
    return p[0] >= 0x20 || p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
  if ((p[0] & 0xe0) == 0xc0 && (p[1] & 0xc0) == 0x80)
    return p[0] >= 0xc2 ? 2 : 0;
  if ((p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80
      && (p[2] & 0xc0) == 0x80) {
    c =
      (uint32_t) (p[0] & 15) << 12 | (uint32_t) (p[1] & 63) << 6 | (p[2] & 63);
    return c >= 0x800 && (c < 0xd800 || c > 0xdfff) && c < 0xfffe ? 3 : 0;
  }
  if ((p[0] & 0xf8) == 0xf0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80
      && (p[3] & 0xc0) == 0x80) {
    c = (uint32_t) (p[0] & 7) << 18 | (uint32_t) (p[1] & 63) << 12;
    return c >= 0x10000 && c < 0x110000 ? 4 : 0;
  }
  return 0;
}

static void
put_character (struct soap_request *request, const unsigned char *p,
               size_t size)
{
  switch (*p) {
  case '&':
    put_words (request, "&amp;");
    break;
  case '<':
    put_words (request, "&lt;");
    break;
  case '>':
    put_words (request, "&gt;");
    break;
  case '"':
    put_words (request, "&quot;");
    break;
  case '\'':
    put_words (request, "&apos;");
    break;
  case '\t':
  case '\n':
  case '\r': {
    /* in attributes these would come out as blanks */
    char reference[8];

    snprintf (reference, sizeof reference, "&#%d;", *p);
    put_words (request, reference);
    break;
  }
  default:
    put (request, (const char *) p, size);
  }
}

/* NAME says where, for the message: the text may be a secret. */
static void
put_escaped (struct soap_request *request, const char *name, const char *text)
{
  const unsigned char *p = (const unsigned char *) text;

  while (*p && request->problem.kind == ERR_NONE) {
    const size_t size = character_size (p);

    if (size == 0) {
      fail (&request->problem, ERR_ARGUMENT,
            "%s: byte %zu (0x%02x) is a control character or not UTF-8, and "
            "cannot be sent to a server",
            name, (size_t) (p - (const unsigned char *) text), *p);
      return;
    }
    put_character (request, p, size);
    p += size;
  }
}

static void
put_attribute (struct soap_request *request, const char *name,
               const char *value)
{
  put_words (request, " ");
  put_words (request, name);
  put_words (request, "=\"");
  put_escaped (request, name, value);
  put_words (request, "\"");
}

static void
put_end (struct soap_request *request, const char *name)
{
  put_words (request, "</");
  put_words (request, name);
  put_words (request, ">");
}

void
soap_begin_in (struct soap_request *request, const char *space,
               const char *method, const struct vim_ref *object)
{
  request->method = method;
  request->space = space;
  put_words (request, "<");
  put_words (request, method);
  put_attribute (request, "xmlns", space);
  put_words (request, ">");
  if (object->id[0] == '\0' && request->problem.kind == ERR_NONE)
    fail (&request->problem, ERR_UNSUPPORTED, "the server has no %s",
          object->type[0] ? object->type : "object");
  soap_add_ref (request, "_this", object);
}

void
soap_begin (struct soap_request *request, const char *method,
            const struct vim_ref *object)
{
  soap_begin_in (request, SOAP_VIM25, method, object);
}

void
soap_add (struct soap_request *request, const char *name, const char *text)
{
  if (!text)
    return;
  soap_open (request, name, NULL);
  put_escaped (request, name, text);
  put_end (request, name);
}

void
soap_add_u64 (struct soap_request *request, const char *name, uint64_t value)
{
  char digits[24];

  snprintf (digits, sizeof digits, "%" PRIu64, value);
  soap_add (request, name, digits);
}

void
soap_add_bool (struct soap_request *request, const char *name, bool value)
{
  soap_add (request, name, value ? "true" : "false");
}

void
soap_add_ref (struct soap_request *request, const char *name,
              const struct vim_ref *ref)
{
  if (!ref || ref->id[0] == '\0')
    return;
  put_words (request, "<");
  put_words (request, name);
  put_attribute (request, "type", ref->type);
  put_words (request, ">");
  put_escaped (request, name, ref->id);
  put_end (request, name);
}

void
soap_open (struct soap_request *request, const char *name, const char *type)
{
  put_words (request, "<");
  put_words (request, name);
  if (type)
    put_attribute (request, "xsi:type", type);
  put_words (request, ">");
}

void
soap_close (struct soap_request *request, const char *name)
{
  put_end (request, name);
}

void
soap_request_reset (struct soap_request *request)
{
  if (request->text) {
    explicit_bzero (request->text, request->len);
    free (request->text);
  }
  *request = (struct soap_request){ 0 };
}

int
vim_ref_set (struct vim_ref *ref, const char *type, const char *id,
             struct vmdk_error *err)
{
  if (*id == '\0' || strlen (id) >= sizeof ref->id
      || strlen (type) >= sizeof ref->type)
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" is not the id of a %s: it has %zu bytes, limits are "
                 "1 and %d",
                 NAME (id), NAME (type), strlen (id), REF_ID_SIZE - 1);
  strcpy (ref->type, type);
  strcpy (ref->id, id);
  return 0;
}

bool
vim_ref_same (const struct vim_ref *a, const struct vim_ref *b)
{
  return strcmp (a->id, b->id) == 0 && strcmp (a->type, b->type) == 0;
}
