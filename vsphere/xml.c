/* SPDX-License-Identifier: BSD-3-Clause */

/* Answers become trees.  See xml.h.
 *
 * libxml2 reads, and calls us for each element; the tree is our own, smaller
 * than libxml2's, and lies in blocks that are freed together.  Some things
 * take libxml2 time that grows with the square of their number: attributes of
 * one tag, namespaces in force, different names.  Tags are therefore measured
 * before it sees them.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include "xml.h"

#define SOAP_NAMESPACE "http://schemas.xmlsoap.org/soap/envelope/"
#define XSI_NAMESPACE "http://www.w3.org/2001/XMLSchema-instance"

#define BLOCK_SIZE 65536

/* Twice what the largest document can hold, and the elements. */
#define MAX_MEMORY (96 << 20)

struct block {
  struct block *next;
  size_t used, size;
  _Alignas(16) char bytes[];
};

struct xml_document {
  struct block *blocks;
  size_t total;
  struct xml_node *root;
};

/* An element that is still open. */
struct level {
  struct xml_node *node, *last;
  char *text;
  size_t len, capacity;
  int nr_namespaces;
};

struct reading {
  struct xml_document *document;
  xmlParserCtxtPtr parser;
  struct level levels[XML_MAX_DEPTH];
  int depth;
  int nr_namespaces;
  size_t nr_elements;
  struct vmdk_error *err;
  bool failed;
};

/* --------------------------------------------------------------------- */
/* Memory. */

static void *
take (struct xml_document *document, size_t size)
{
  struct block *block = document->blocks;
  void *p;

  size = (size + 15) & ~(size_t) 15;
  if (!block || size > block->size - block->used) {
    const size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

    if (room > MAX_MEMORY - document->total)
      return NULL;
    block = malloc (sizeof *block + room);
    if (!block)
      return NULL;
    *block = (struct block){ .next = document->blocks, .size = room };
    document->blocks = block;
    document->total += room;
  }
  p = block->bytes + block->used;
  block->used += size;
  return p;
}

static const char *
take_text (struct xml_document *document, const void *text, size_t len)
{
  char *copy;

  if (len == 0)
    return "";
  copy = take (document, len + 1);
  if (!copy)
    return NULL;
  memcpy (copy, text, len);
  copy[len] = '\0';
  return copy;
}

void
xml_free (struct xml_document *document)
{
  if (!document)
    return;
  while (document->blocks) {
    struct block *next = document->blocks->next;

    /* keys of sessions and tickets come in answers, too */
    explicit_bzero (document->blocks->bytes, document->blocks->used);
    free (document->blocks);
    document->blocks = next;
  }
  free (document);
}

/* --------------------------------------------------------------------- */
/* What libxml2 calls. */

static void
stop (struct reading *r)
{
  r->failed = true;
  xmlStopParser (r->parser);
}

#define refuse(r, ...)                           \
  do {                                           \
    if (!(r)->failed)                            \
      fail ((r)->err, ERR_CORRUPT, __VA_ARGS__); \
    stop (r);                                    \
  } while (0)

static void
out_of_memory (struct reading *r)
{
  if (!r->failed)
    fail_memory (r->err);
  stop (r);
}

static void
see_dtd (void *opaque, const xmlChar *name, const xmlChar *external,
         const xmlChar *system)
{
  struct reading *r = opaque;

  (void) name;
  (void) external;
  (void) system;
  refuse (r, "the answer has a DTD, which no server of this kind sends");
}

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* "xsd:string" -> "string"; blanks around it mean nothing */
static const char *
local_part (const char *p, size_t *len)
{
  const char *colon;

  for (; *len > 0 && is_blank (*p); p++)
    --*len;
  while (*len > 0 && is_blank (p[*len - 1]))
    --*len;
  colon = memchr (p, ':', *len);
  if (!colon)
    return p;
  *len -= (size_t) (colon + 1 - p);
  return colon + 1;
}

/* libxml2's attributes: local name, prefix, URI, value, value's end. */
static int
keep_attributes (struct reading *r, struct xml_node *node, int count,
                 const xmlChar **attributes)
{
  for (int i = 0; i < count; i++, attributes += 5) {
    const char *name = (const char *) attributes[0];
    const char *uri = (const char *) attributes[2];
    const char *value = (const char *) attributes[3];
    size_t len = (size_t) (attributes[4] - attributes[3]);

    if (strcmp (name, "type") != 0)
      continue;
    if (uri && strcmp (uri, XSI_NAMESPACE) == 0) {
      value = local_part (value, &len);
      node->type = take_text (r->document, value, len);
    }
    else if (!uri)
      node->ref_type = take_text (r->document, value, len);
  }
  return node->type && node->ref_type ? 0 : -1;
}

static struct xml_node *
new_node (struct reading *r, const char *name, const char *uri)
{
  struct xml_node *node = take (r->document, sizeof *node);

  if (!node)
    return NULL;
  *node = (struct xml_node){
    .name = take_text (r->document, name, strlen (name)),
    .type = "",
    .ref_type = "",
    .text = "",
    .soap = uri && strcmp (uri, SOAP_NAMESPACE) == 0,
  };
  return node->name ? node : NULL;
}

static void
link_node (struct reading *r, struct xml_node *node)
{
  struct level *above;

  if (r->depth == 0) {
    r->document->root = node;
    return;
  }
  above = &r->levels[r->depth - 1];
  if (above->last)
    above->last->next = node;
  else
    above->node->first = node;
  above->last = node;
}

static bool
within_limits (struct reading *r, int nr_namespaces)
{
  if (r->depth == XML_MAX_DEPTH)
    refuse (r, "the answer is nested deeper than %d elements", XML_MAX_DEPTH);
  else if (++r->nr_elements > XML_MAX_ELEMENTS)
    refuse (r, "the answer has more than %d elements", XML_MAX_ELEMENTS);
  else if (nr_namespaces > XML_MAX_NAMESPACES - r->nr_namespaces)
    refuse (r, "the answer has more than %d namespaces in force",
            XML_MAX_NAMESPACES);
  else if (xmlDictSize (r->parser->dict) > XML_MAX_NAMES)
    refuse (r, "the answer has more than %d different names", XML_MAX_NAMES);
  return !r->failed;
}

static void
see_start (void *opaque, const xmlChar *name, const xmlChar *prefix,
           const xmlChar *uri, int nr_namespaces, const xmlChar **namespaces,
           int nr_attributes, int nr_defaulted, const xmlChar **attributes)
{
  struct reading *r = opaque;
  struct xml_node *node;

  (void) prefix;
  (void) namespaces;
  (void) nr_defaulted;
  if (r->failed || !within_limits (r, nr_namespaces))
    return;
  node = new_node (r, (const char *) name, (const char *) uri);
  if (!node || keep_attributes (r, node, nr_attributes, attributes) == -1) {
    out_of_memory (r);
    return;
  }
  link_node (r, node);
  r->nr_namespaces += nr_namespaces;
  r->levels[r->depth++] =
    (struct level){ .node = node, .nr_namespaces = nr_namespaces };
}

static void
see_end (void *opaque, const xmlChar *name, const xmlChar *prefix,
         const xmlChar *uri)
{
  struct reading *r = opaque;
  struct level *level;

  (void) name;
  (void) prefix;
  (void) uri;
  if (r->failed || r->depth == 0)
    return;
  level = &r->levels[--r->depth];
  r->nr_namespaces -= level->nr_namespaces;
  /* blanks between elements are nobody's text */
  if (!level->node->first)
    level->node->text = take_text (r->document, level->text, level->len);
  if (level->text)
    explicit_bzero (level->text, level->len);
  free (level->text);
  level->text = NULL;
  if (!level->node->text)
    out_of_memory (r);
}

static void
see_text (void *opaque, const xmlChar *text, int count)
{
  struct reading *r = opaque;
  struct level *level;

  if (r->failed || r->depth == 0 || count <= 0)
    return;
  level = &r->levels[r->depth - 1];
  if ((size_t) count > level->capacity - level->len) {
    const size_t capacity = 2 * level->capacity + (size_t) count + 64;
    char *grown = realloc (level->text, capacity);

    if (!grown) {
      out_of_memory (r);
      return;
    }
    level->text = grown;
    level->capacity = capacity;
  }
  memcpy (level->text + level->len, text, (size_t) count);
  level->len += (size_t) count;
}

/* --------------------------------------------------------------------- */

/* Where what begins at P ends: behind END, or NULL. */
static const char *
skip_past (const char *p, const char *limit, const char *end)
{
  const char *found = memmem (p, (size_t) (limit - p), end, strlen (end));

  return found ? found + strlen (end) : NULL;
}

static bool
begins (const char *p, const char *limit, const char *with)
{
  const size_t len = strlen (with);

  return (size_t) (limit - p) >= len && memcmp (p, with, len) == 0;
}

/* Behind the tag that begins at P; NULL when it is too long or has no end. */
static const char *
skip_tag (const char *p, const char *limit)
{
  const char *stop_at = limit - p > XML_MAX_TAG ? p + XML_MAX_TAG : limit;
  char quote = 0;

  for (; p < stop_at; p++) {
    if (quote)
      quote = *p == quote ? 0 : quote;
    else if (*p == '"' || *p == '\'')
      quote = *p;
    else if (*p == '>')
      return p + 1;
  }
  return NULL;
}

/* Tags of sane length only; whether all is well-formed is libxml2's matter. */
static int
measure_tags (const char *p, size_t count, struct vmdk_error *err)
{
  const char *limit = p + count;

  while (p && (p = memchr (p, '<', (size_t) (limit - p)))) {
    if (begins (p, limit, "<!--"))
      p = skip_past (p + 4, limit, "-->");
    else if (begins (p, limit, "<![CDATA["))
      p = skip_past (p + 9, limit, "]]>");
    else if (begins (p, limit, "<!DOCTYPE"))
      return fail (err, ERR_CORRUPT,
                   "the answer has a DTD, which no server of this kind "
                   "sends");
    else if (begins (p, limit, "<?"))
      p = skip_past (p + 2, limit, "?>");
    else if (!(p = skip_tag (p, limit)))
      return fail (err, ERR_CORRUPT,
                   "the answer is cut off, or has a tag of more than %d bytes",
                   XML_MAX_TAG);
  }
  return 0;
}

static void
be_silent (void *opaque, const char *format, ...)
{
  (void) opaque;
  (void) format;
}

static void
prepare_library (void)
{
  xmlInitParser ();
}

static int
fail_syntax (struct reading *r)
{
  const xmlError *error = xmlCtxtGetLastError (r->parser);
  char words[200] = "it ends early";

  if (error && error->message)
    snprintf (words, sizeof words, "%.*s",
              (int) strcspn (error->message, "\n"), error->message);
  return fail (r->err, ERR_CORRUPT, "the answer is not XML: line %d: %s",
               error ? error->line : 0, words);
}

static int
read_all (struct reading *r, const void *bytes, size_t count)
{
  xmlSAXHandler handler = {
    .initialized = XML_SAX2_MAGIC,
    .internalSubset = see_dtd,
    .startElementNs = see_start,
    .endElementNs = see_end,
    .characters = see_text,
    .cdataBlock = see_text,
    .warning = be_silent,
    .error = be_silent,
    .fatalError = be_silent,
  };

  r->parser = xmlCreatePushParserCtxt (&handler, r, NULL, 0, NULL);
  if (!r->parser)
    return fail_memory (r->err);
  xmlCtxtUseOptions (r->parser, XML_PARSE_NONET | XML_PARSE_NOERROR
                                  | XML_PARSE_NOWARNING);
  if (xmlParseChunk (r->parser, bytes, (int) count, 1) != 0 && !r->failed) {
    r->failed = true;
    fail_syntax (r);
  }
  for (int i = 0; i < r->depth; i++)
    free (r->levels[i].text);
  if (!r->failed && (r->depth > 0 || !r->document->root)) {
    r->failed = true;
    fail_syntax (r);
  }
  xmlFreeDoc (r->parser->myDoc);
  xmlFreeParserCtxt (r->parser);
  return r->failed ? -1 : 0;
}

struct xml_document *
xml_parse (const void *bytes, size_t count, struct vmdk_error *err)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  CLEANUP_XML struct xml_document *document = NULL;
  CLEANUP_FREE struct reading *r = NULL;

  pthread_once (&once, prepare_library);
  if (count > XML_MAX_BYTES) {
    fail (err, ERR_CORRUPT, "the answer is larger than %d bytes",
          XML_MAX_BYTES);
    return NULL;
  }
  if (measure_tags (bytes, count, err) == -1)
    return NULL;
  document = calloc (1, sizeof *document);
  r = calloc (1, sizeof *r);
  if (!document || !r) {
    fail_memory (err);
    return NULL;
  }
  r->document = document;
  r->err = err;
  if (read_all (r, bytes, count) == -1)
    return NULL;
  return steal_ptr (&document);
}

/* --------------------------------------------------------------------- */
/* Looking around. */

const struct xml_node *
xml_root (const struct xml_document *document)
{
  return document->root;
}

static const struct xml_node *
named (const struct xml_node *node, const char *name, size_t len)
{
  while (node
         && (strncmp (node->name, name, len) != 0 || node->name[len] != '\0'))
    node = node->next;
  return node;
}

const struct xml_node *
xml_child (const struct xml_node *node, const char *name)
{
  return node ? named (node->first, name, strlen (name)) : NULL;
}

const struct xml_node *
xml_same (const struct xml_node *node)
{
  return node ? named (node->next, node->name, strlen (node->name)) : NULL;
}

const struct xml_node *
xml_path (const struct xml_node *node, const char *path)
{
  while (node && *path) {
    const size_t len = strcspn (path, "/");

    node = named (node->first, path, len);
    path += len + (path[len] == '/');
  }
  return node;
}

const char *
xml_text (const struct xml_node *node, const char *name)
{
  const struct xml_node *child = xml_child (node, name);

  return child ? child->text : "";
}

int
xml_u64 (const struct xml_node *node, uint64_t *value)
{
  char *end;

  if (!node || node->text[0] < '0' || node->text[0] > '9')
    return -1;
  errno = 0;
  *value = strtoull (node->text, &end, 10);
  return errno == 0 && *end == '\0' ? 0 : -1;
}

int
xml_s32 (const struct xml_node *node, int32_t *value)
{
  char *end;
  long long number;

  if (!node || !strchr ("-0123456789", node->text[0]) || !node->text[0])
    return -1;
  errno = 0;
  number = strtoll (node->text, &end, 10);
  if (errno != 0 || *end != '\0' || number < INT32_MIN || number > INT32_MAX)
    return -1;
  *value = (int32_t) number;
  return 0;
}

bool
xml_is_true (const struct xml_node *node)
{
  return node
         && (strcmp (node->text, "true") == 0
             || strcmp (node->text, "1") == 0);
}
