/* SPDX-License-Identifier: BSD-3-Clause */

/* Any bytes as a descriptor: probe, parse, print, edit.
 *
 * What is taken must print as it came, must not be changed by being parsed
 * again, and must stay a descriptor with the same extents when keys are set.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "descriptor.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define must(condition) \
  do {                  \
    if (!(condition))   \
      abort ();         \
  } while (0)

/* Messages are one printable line, whatever the bytes. */
static void
check_text (const char *text)
{
  must (*text != '\0');
  for (; *text; text++)
    must ((unsigned char) *text >= 0x20 && *text != 0x7f);
}

static void
hear (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  (void) topic;
  check_text (text);
}

static const struct vmdk_log quiet = { .sink = NULL };
static const struct vmdk_log loud = { .sink = hear };

static void
check_extents (const struct descriptor *d)
{
  uint64_t sum = 0;

  must (descriptor_nr_extents (d) > 0);
  for (size_t i = 0; i < descriptor_nr_extents (d); i++) {
    const struct extent_line *e = descriptor_extent (d, i);

    must (e->nr_sectors > 0 && e->nr_sectors <= MAX_SECTORS);
    must (e->offset_sector <= MAX_SECTORS - e->nr_sectors);
    must ((e->name != NULL) == (e->type != EXTENT_ZERO));
    must (!e->name || (*e->name && strlen (e->name) <= DESCRIPTOR_MAX_NAME));
    sum += e->nr_sectors;
  }
  must (sum <= MAX_SECTORS);
  must (sum == descriptor_nr_sectors (d));
}

static void
check_same_extents (const struct descriptor *a, const struct descriptor *b)
{
  must (descriptor_nr_extents (a) == descriptor_nr_extents (b));
  for (size_t i = 0; i < descriptor_nr_extents (a); i++) {
    const struct extent_line *x = descriptor_extent (a, i);
    const struct extent_line *y = descriptor_extent (b, i);

    must (x->access == y->access && x->type == y->type
          && x->nr_sectors == y->nr_sectors && x->has_offset == y->has_offset
          && x->offset_sector == y->offset_sector);
    must (!x->name || strcmp (x->name, y->name) == 0);
  }
}

/* Blank lines directly before extent lines, which qemu counts twice. */
static size_t
nr_blanks_before_extents (const char *text)
{
  const char *line = text;
  bool blank = false;
  size_t count = 0;

  for (;;) {
    const char *end = strchrnul (line, '\n');
    const char *word = line + strspn (line, " \t\r");
    const size_t len = strcspn (word, " \t\r\n");

    count += blank
             && ((len == 2 && !strncasecmp (word, "RW", len))
                 || (len == 6 && !strncasecmp (word, "RDONLY", len))
                 || (len == 8 && !strncasecmp (word, "NOACCESS", len)));
    blank = word >= end;
    if (*end == '\0')
      return count;
    line = end + 1;
  }
}

static void
check_edited (const struct descriptor *d, size_t nr_blanks)
{
  struct vmdk_error err = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *again = NULL;
  CLEANUP_FREE char *text = NULL, *text_again = NULL;
  size_t len, len_again;

  text = descriptor_print (d, &len, &err);
  must (text);
  again = descriptor_parse (text, len, &quiet, &err);
  must (again);
  check_same_extents (d, again);
  must (nr_blanks_before_extents (text) <= nr_blanks);
  must (descriptor_parent_cid (d) == descriptor_parent_cid (again));
  must (strcmp (descriptor_create_type (d), descriptor_create_type (again))
        == 0);
  text_again = descriptor_print (again, &len_again, &err);
  must (text_again && len == len_again && !memcmp (text, text_again, len));
}

static void
set (struct descriptor *d, const char *key, const char *value,
     size_t nr_blanks)
{
  struct vmdk_error err = { 0 };

  if (descriptor_set (d, key, value, &err) == -1) {
    check_text (err.text);
    return;
  }
  must (strcmp (descriptor_get (d, key), value) == 0);
  check_edited (d, nr_blanks);
}

static void
edit (struct descriptor *d, size_t nr_blanks)
{
  const bool base =
    descriptor_parent_cid (d) == CID_NONE && !descriptor_parent_hint (d);

  set (d, "ddb.uuid", "60 00", nr_blanks);
  set (d, "CID", "0000abcd", nr_blanks);
  set (d, "ddb.x", "", nr_blanks);
  set (d, "createType", "custom", nr_blanks);
  set (d, "encoding", "UTF-8", nr_blanks);
  set (d, "a", "b c", nr_blanks);
  if (base)
    set (d, "parentCID", "ffffffff", nr_blanks);
  descriptor_remove (d, "ddb.uuid");
  check_edited (d, nr_blanks);
  descriptor_remove (d, "a");
  descriptor_remove (d, "ddb.x");
  descriptor_remove (d, "version");
  descriptor_remove (d, "CID");
  descriptor_remove (d, "createType");
  check_edited (d, nr_blanks);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const char *bytes = (const char *) data;
  const size_t text_len = strnlen (bytes, size);
  struct vmdk_error err = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;
  CLEANUP_FREE char *text = NULL;
  size_t len;

  descriptor_probe (bytes, size);
  d = descriptor_parse (bytes, size, &loud, &err);
  if (!d) {
    must (err.kind == ERR_CORRUPT || err.kind == ERR_UNSUPPORTED);
    check_text (err.text);
    return 0;
  }
  check_extents (d);
  text = descriptor_print (d, &len, &err);
  must (text && len == text_len && memcmp (text, bytes, len) == 0);
  edit (d, nr_blanks_before_extents (text));
  return 0;
}
