/* SPDX-License-Identifier: BSD-3-Clause */

/* New IDs for a link.  See link-ids.h. */

#include <config.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "checked.h"
#include "create.h"
#include "descriptor-model.h"
#include "link-ids.h"

#define HEX_DIGITS 32 /* of ddb.longContentID */

/* Random hex digits, so that the last eight are the CID. */
static void
make_long_id (uint32_t cid, char text[HEX_DIGITS + 1])
{
  uint32_t words[3];

  if (getrandom (words, sizeof words, 0) != sizeof words)
    words[0] = words[1] = words[2] = cid;
  snprintf (text, HEX_DIGITS + 1,
            "%08" PRIx32 "%08" PRIx32 "%08" PRIx32 "%08" PRIx32, words[0],
            words[1], words[2], cid);
}

static void
make_uuid (char text[37])
{
  uint8_t b[16] = { 0 };

  if (getrandom (b, sizeof b, 0) != sizeof b)
    b[15] = 1;
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  snprintf (text, 37,
            "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x"
            "%02x%02x",
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
            b[11], b[12], b[13], b[14], b[15]);
}

int
link_ids_set (struct descriptor *d, struct vmdk_error *err)
{
  char text[40];
  uint32_t cid = 0;

  descriptor_cid (d, &cid);
  cid = random_cid (cid);
  snprintf (text, sizeof text, "%08" PRIx32, cid);
  if (descriptor_set (d, "CID", text, err) == -1)
    return -1;
  if (descriptor_get (d, "ddb.longContentID")) {
    make_long_id (cid, text);
    if (descriptor_set (d, "ddb.longContentID", text, err) == -1)
      return -1;
  }
  /* VirtualBox knows children by this one. */
  if (descriptor_get (d, "ddb.uuid.modification")) {
    make_uuid (text);
    if (descriptor_set (d, "ddb.uuid.modification", text, err) == -1)
      return -1;
  }
  return 0;
}

/* -- In place ----------------------------------------------------------- */

/* Where in the text, as D prints it, the value of KEY is.  NULL unless there
 * is one such line.
 */
static char *
find_value (const struct descriptor *d, char *text, const char *key,
            size_t *len)
{
  char *found = NULL, *at = text;

  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];
    char *end = at + line->len;

    if (line->key && text_equal (line->key, key)) {
      char *equals = memchr (at, '=', line->len);

      if (found || !equals)
        return NULL;
      *len = strlen (line->value);
      found = memmem (equals, (size_t) (end - equals), line->value, *len);
    }
    at = end + strlen (line->eol);
  }
  return found;
}

/* Whether letters among the LEN bytes are capitals. */
static bool
is_upper (const char *text, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if (isalpha ((unsigned char) text[i]))
      return isupper ((unsigned char) text[i]);
  return false;
}

/* The digits FROM become those of NEW, in the case that they have. */
static void
put_digits (char *text, const char *new, size_t from, size_t to, bool upper)
{
  for (size_t i = from; i < to; i++)
    text[i] = (char) (upper ? toupper ((unsigned char) new[i]) : new[i]);
}

/* A content ID of N digits that differs from OLD in those of MASK. */
static uint32_t
choose_cid (uint32_t old, uint32_t mask, size_t n)
{
  const uint32_t top = UINT32_C (0xf) << 4 * (n - 1);
  uint32_t cid;

  do
    cid = (old & ~mask) | (random_cid (old) & mask);
  while (cid == old || cid == 0 || cid == UINT32_C (0xfffffffe)
         || cid == CID_NONE || (n < 8 && (mask & top) && !(cid & top)));
  return cid;
}

/* Which of N digits at OFFSET of the file may change: those of one sector. */
static void
choose_digits (uint64_t offset, size_t n, size_t *from, size_t *to)
{
  const size_t first = min_u64 (n, SECTOR_SIZE - offset % SECTOR_SIZE);

  *from = first >= n - first ? 0 : first;
  *to = first >= n - first ? first : n;
}

/* TEXT lies at OFFSET of the file. */
static bool
change_cid (const struct descriptor *d, char *text, uint64_t offset,
            uint32_t *cid)
{
  size_t len, from, to;
  char *value = find_value (d, text, "CID", &len), new[9];
  uint32_t old, mask = 0;

  if (!value || !descriptor_cid (d, &old))
    return false;
  if (len > 2 && value[0] == '0' && (value[1] == 'x' || value[1] == 'X')) {
    value += 2;
    len -= 2;
  }
  choose_digits (offset + (uint64_t) (value - text), len, &from, &to);
  for (size_t i = from; i < to; i++)
    mask |= UINT32_C (0xf) << 4 * (len - 1 - i);
  *cid = choose_cid (old, mask, len);
  snprintf (new, sizeof new, "%0*" PRIx32, (int) len, *cid);
  put_digits (value, new, from, to, is_upper (value, len));
  return true;
}

/* Whether VALUE looks like the LIKE that is to take its place. */
static bool
has_form (const char *value, size_t len, const char *like)
{
  if (len != strlen (like))
    return false;
  for (size_t i = 0; i < len; i++)
    if (!isxdigit ((unsigned char) value[i]) != (like[i] == '-')
        || (like[i] == '-' && value[i] != '-'))
      return false;
  return true;
}

/* An ID that is missing or empty stays so. */
static bool
change_id (const struct descriptor *d, char *text, const char *key,
           const char *new)
{
  size_t len;
  const char *old = descriptor_get (d, key);
  char *value;

  if (!old || !*old)
    return true;
  value = find_value (d, text, key, &len);
  if (!value || !has_form (value, len, new))
    return false;
  put_digits (value, new, 0, len, is_upper (value, len));
  return true;
}

bool
link_ids_change (const struct descriptor *d, char *text, uint64_t offset)
{
  char long_id[HEX_DIGITS + 1], uuid[37];
  uint32_t cid;

  if (!change_cid (d, text, offset, &cid))
    return false;
  make_long_id (cid, long_id);
  make_uuid (uuid);
  return change_id (d, text, "ddb.longContentID", long_id)
         && change_id (d, text, "ddb.uuid.modification", uuid);
}
