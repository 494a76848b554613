/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor's model: looking up, editing, printing.
 *
 * Printing puts the kept lines one after the other, so a text that was not
 * edited comes out as it went in.  An edited line is written the way that
 * all known readers take: header keys as key="value" without blanks (qemu
 * takes nothing else), CID and parentCID bare and with eight digits, one
 * directly after the other (when qemu finds them otherwise, its own rewrite
 * of the CID drops lines or invents a parent), "ddb." keys with blanks
 * around '='.
 *
 * Invariants of the list of lines:
 * (1) Only the last line may have no end of line, or a byte order mark that
 *     stands first.
 * (2) No edit puts a blank line directly before an extent line: qemu would
 *     count the extent twice.
 */

#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "descriptor-model.h"

#define MAX_KEY_LENGTH ((size_t) 255)
#define MAX_VALUE_LENGTH ((size_t) 4095)

/* What a single edit may add: its line, and parentCID's new place. */
#define MAX_NEW_LINES 2

void
descriptor_free (struct descriptor *d)
{
  if (!d)
    return;
  for (size_t i = 0; i < d->lines.len; i++)
    free (d->lines.ptr[i].own);
  line_list_reset (&d->lines);
  extent_list_reset (&d->extents);
  free (d->strings);
  free (d->text);
  free (d);
}

static size_t
text_size (const struct descriptor *d)
{
  size_t size = 0;

  for (size_t i = 0; i < d->lines.len; i++)
    size += d->lines.ptr[i].len + strlen (d->lines.ptr[i].eol);
  return size;
}

char *
descriptor_print (const struct descriptor *d, size_t *len,
                  struct vmdk_error *err)
{
  const size_t size = text_size (d);
  char *text = malloc (size + 1);
  char *p = text;

  if (!text) {
    fail_memory (err);
    return NULL;
  }
  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];

    p = mempcpy (p, line->text, line->len);
    p = mempcpy (p, line->eol, strlen (line->eol));
  }
  *p = '\0';
  *len = size;
  return text;
}

size_t
descriptor_nr_extents (const struct descriptor *d)
{
  return d->extents.len;
}

const struct extent_line *
descriptor_extent (const struct descriptor *d, size_t i)
{
  return &d->extents.ptr[i];
}

uint64_t
descriptor_nr_sectors (const struct descriptor *d)
{
  return d->nr_sectors;
}

bool
descriptor_cid (const struct descriptor *d, uint32_t *cid)
{
  if (d->has_cid)
    *cid = d->cid;
  return d->has_cid;
}

uint32_t
descriptor_parent_cid (const struct descriptor *d)
{
  return d->parent_cid;
}

const char *
descriptor_parent_hint (const struct descriptor *d)
{
  return d->parent_hint;
}

const char *
descriptor_create_type (const struct descriptor *d)
{
  return d->create_type;
}

/* Looking up.  A linear search: texts have some thirty lines, and the most
 * hostile one is searched in a millisecond.
 */

#define NOT_FOUND SIZE_MAX

static bool
line_has_key (const struct line *line, const char *key)
{
  return line->key && text_equal (line->key, key);
}

/* The line of KEY that counts. */
static size_t
find (const struct descriptor *d, const char *key)
{
  const bool last = key_is_ddb (key);
  size_t found = NOT_FOUND;

  for (size_t i = 0; i < d->lines.len; i++)
    if (line_has_key (&d->lines.ptr[i], key)) {
      found = i;
      if (!last)
        break;
    }
  return found;
}

const char *
descriptor_get (const struct descriptor *d, const char *key)
{
  const size_t i = find (d, key);

  return i == NOT_FOUND ? NULL : d->lines.ptr[i].value;
}

void
descriptor_each (const struct descriptor *d,
                 bool (*visit) (void *opaque, const char *key,
                                const char *value),
                 void *opaque)
{
  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];

    if (line->key && !visit (opaque, line->key, line->value))
      break;
  }
}

void
descriptor_refresh (struct descriptor *d)
{
  const char *cid = descriptor_get (d, header_key_name (KEY_CID));
  const char *parent = descriptor_get (d, header_key_name (KEY_PARENT_CID));
  const char *hint = descriptor_get (d, header_key_name (KEY_PARENT_HINT));
  const char *type = descriptor_get (d, header_key_name (KEY_CREATE_TYPE));

  d->has_cid = cid && cid_parse (cid, &d->cid);
  if (!parent || !cid_parse (parent, &d->parent_cid))
    d->parent_cid = CID_NONE;
  d->parent_hint = hint && *hint ? hint : NULL;
  d->create_type = type ? type : "";
}

/* Removing. */

static bool
ends_blank (const struct line *line)
{
  size_t i = line->len;

  if (line->kind != LINE_OTHER)
    return false;
  while (i > 0 && (line->text[i - 1] == ' ' || line->text[i - 1] == '\t'))
    i--;
  return i == 0 || line->text[i - 1] == '\n';
}

/* Take line I out of the list.  Its memory stays with the caller. */
static void
take_line (struct descriptor *d, size_t i)
{
  static const char comment[] = "# Extent description";
  struct line *line = &d->lines.ptr[i];
  const bool last = i + 1 == d->lines.len;

  d->nr_keys--;
  if (!last && i > 0 && line[1].kind == LINE_EXTENT
      && ends_blank (&line[-1])) {
    /* invariant 2 */
    *line = (struct line){ .kind = LINE_OTHER,
                           .text = comment,
                           .len = sizeof comment - 1,
                           .eol = line->eol };
    return;
  }
  if (last && i > 0 && *line->eol == '\0')
    line[-1].eol = "";
  memmove (line, line + 1, (d->lines.len - i - 1) * sizeof *line);
  d->lines.len--;
}

/* Remove the lines of KEY other than KEEP.  KEY may be one of theirs, so what
 * they own is freed last; only one can own anything, since an edit leaves one
 * line of its key.
 */
static void
remove_others (struct descriptor *d, const char *key, size_t keep)
{
  CLEANUP_FREE char *own = NULL;

  for (size_t i = d->lines.len; i-- > 0;)
    if (i != keep && line_has_key (&d->lines.ptr[i], key)) {
      const size_t before = d->lines.len;

      if (d->lines.ptr[i].own) {
        assert (!own);
        own = d->lines.ptr[i].own;
      }
      take_line (d, i);
      if (keep != NOT_FOUND && i < keep)
        keep -= before - d->lines.len;
    }
}

bool
descriptor_remove (struct descriptor *d, const char *key)
{
  if (find (d, key) == NOT_FOUND)
    return false;
  remove_others (d, key, NOT_FOUND);
  descriptor_refresh (d);
  return true;
}

/* Take the comment TEXT from the end of the comments in line I. */
static void
cut_comment (struct descriptor *d, size_t i, const char *text)
{
  struct line *line = &d->lines.ptr[i];
  const size_t len = strlen (text);
  const char *start;

  if (line->kind != LINE_OTHER || line->len < len)
    return;
  start = line->text + line->len - len;
  if (memcmp (start, text, len) != 0
      || (start > line->text && start[-1] != '\n'))
    return;
  line->len -= (uint32_t) len;
  if (line->len == 0) {
    d->nr_keys++; /* take_line takes it for one */
    take_line (d, i);
    return;
  }
  line->len--; /* LINE's own end of line takes this one's place */
  if (line->len > 0 && line->text[line->len - 1] == '\r')
    line->len--;
}

int
descriptor_drop_tracking (struct descriptor *d, bool *dropped,
                          struct vmdk_error *err)
{
  static const char key[] = "changeTrackPath";
  const size_t i = find (d, key);

  *dropped = i != NOT_FOUND;
  if (!*dropped)
    return 0;
  if (i > 0)
    cut_comment (d, i - 1, "# Change Tracking File");
  descriptor_remove (d, key);
  return descriptor_set (d, header_key_name (KEY_VERSION), "1", err);
}

/* Adding. */

/* Room for COUNT more lines, so that an edit cannot stop half-way. */
static int
reserve_lines (struct descriptor *d, size_t count, struct vmdk_error *err)
{
  const size_t capacity = d->lines.len + count;
  struct line *grown;

  if (capacity <= d->lines.capacity)
    return 0;
  grown = reallocarray (d->lines.ptr, capacity, sizeof grown[0]);
  if (!grown)
    return fail_memory (err);
  d->lines.ptr = grown;
  d->lines.capacity = capacity;
  return 0;
}

/* How the lines around AT end. */
static const char *
eol_near (const struct descriptor *d, size_t at)
{
  for (size_t i = at; i-- > 0;)
    if (*d->lines.ptr[i].eol)
      return d->lines.ptr[i].eol;
  if (at < d->lines.len && *d->lines.ptr[at].eol)
    return d->lines.ptr[at].eol;
  return "\n";
}

static void
insert_line (struct descriptor *d, size_t at, struct line line)
{
  struct line *place = &d->lines.ptr[at];

  line.eol = eol_near (d, at);
  if (at == d->lines.len && at > 0 && *place[-1].eol == '\0') {
    place[-1].eol = line.eol; /* invariant 1 */
    line.eol = "";
  }
  memmove (place + 1, place, (d->lines.len - at) * sizeof *place);
  *place = line;
  d->lines.len++;
  d->nr_keys++;
}

static size_t
first_extent (const struct descriptor *d)
{
  size_t i = 0;

  while (i < d->lines.len && d->lines.ptr[i].kind != LINE_EXTENT)
    i++;
  return i;
}

/* Before the first header key, or before the first extent. */
static size_t
header_start (const struct descriptor *d)
{
  const size_t end = first_extent (d);

  for (size_t i = 0; i < end; i++)
    if (d->lines.ptr[i].key && !key_is_ddb (d->lines.ptr[i].key))
      return i;
  return end;
}

static size_t
header_end (const struct descriptor *d)
{
  const size_t end = first_extent (d);

  for (size_t i = end; i-- > 0;)
    if (d->lines.ptr[i].key && !key_is_ddb (d->lines.ptr[i].key))
      return i + 1;
  return end;
}

static size_t
ddb_end (const struct descriptor *d)
{
  for (size_t i = d->lines.len; i-- > 0;)
    if (d->lines.ptr[i].key && key_is_ddb (d->lines.ptr[i].key))
      return i + 1;
  return d->lines.len;
}

static size_t
place_of_new_key (const struct descriptor *d, const char *key)
{
  enum header_key before = header_key_find (key);

  if (key_is_ddb (key))
    return ddb_end (d);
  if (before == NR_HEADER_KEYS)
    return header_end (d);
  while (before-- > 0) {
    const size_t i = find (d, header_key_name (before));

    if (i != NOT_FOUND)
      return i + 1;
  }
  return header_start (d);
}

/* parentCID follows CID. */
static void
join_cids (struct descriptor *d)
{
  size_t cid = find (d, header_key_name (KEY_CID));
  const size_t parent = find (d, header_key_name (KEY_PARENT_CID));
  struct line line;

  if (cid == NOT_FOUND || parent == NOT_FOUND || parent == cid + 1)
    return;
  line = d->lines.ptr[parent];
  take_line (d, parent);
  cid = find (d, header_key_name (KEY_CID));
  insert_line (d, cid + 1, line);
}

/* Setting. */

static int
check_argument (const char *key, const char *value, struct vmdk_error *err)
{
  static const char legal[] = "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789._-";
  const size_t key_len = strlen (key), value_len = strlen (value);
  enum extent_access access;

  if (key_len == 0 || key_len > MAX_KEY_LENGTH)
    return fail (err, ERR_ARGUMENT,
                 "key \"%s\" has %zu bytes, 1 to %zu are allowed", NAME (key),
                 key_len, MAX_KEY_LENGTH);
  if (strspn (key, legal) != key_len)
    return fail (err, ERR_ARGUMENT,
                 "key \"%s\": only letters, digits, '.', '_' and '-' are "
                 "allowed",
                 NAME (key));
  if (access_word (key, key_len, &access))
    return fail (err, ERR_ARGUMENT, "\"%s\" begins an extent line, no key",
                 NAME (key));
  if (value_len > MAX_VALUE_LENGTH)
    return fail (err, ERR_ARGUMENT,
                 "value of %s has %zu bytes, at most %zu are allowed",
                 NAME (key), value_len, MAX_VALUE_LENGTH);
  if (strchr (value, '"') || text_has_control (value))
    return fail (err, ERR_ARGUMENT,
                 "value \"%s\" of %s: quotes and control bytes are not "
                 "allowed",
                 NAME (value), NAME (key));
  return 0;
}

/* As it is written: numbers in their canonical form. */
static int
canonical_value (enum header_key key, const char **value, char number[32],
                 struct vmdk_error *err)
{
  uint32_t cid = 0;
  uint64_t version = 0;

  if (header_value_check (key, *value, err) == -1)
    return fail (err, ERR_ARGUMENT, "%s", err->text);
  switch (key) {
  case KEY_CID:
  case KEY_PARENT_CID:
    if (cid_parse (*value, &cid))
      snprintf (number, 32, "%08" PRIx32, cid);
    if (key == KEY_CID && cid == CID_NONE)
      return fail (err, ERR_ARGUMENT, "CID %s is reserved for \"no parent\"",
                   number);
    *value = number;
    break;
  case KEY_VERSION:
    if (decimal_parse (*value, &version))
      snprintf (number, 32, "%" PRIu64, version);
    *value = number;
    break;
  default:
    break;
  }
  return 0;
}

/* One block holds the text, the key and the value. */
static int
make_line (struct line *line, const char *key, const char *equals,
           const char *value, const char *end, struct vmdk_error *err)
{
  const size_t key_size = strlen (key) + 1, value_size = strlen (value) + 1;
  const size_t text_size_max =
    key_size + strlen (equals) + value_size + strlen (end);
  char *p = malloc (text_size_max + key_size + value_size);

  if (!p)
    return fail_memory (err);
  *line = (struct line){ .kind = LINE_ASSIGNMENT, .text = p, .own = p };
  line->len = (uint32_t) sprintf (p, "%s%s%s%s", key, equals, value, end);
  p += text_size_max;
  line->key = memcpy (p, key, key_size);
  line->value = memcpy (p + key_size, value, value_size);
  return 0;
}

/* SPELLED is how the text spells the key now, or how the caller does. */
static int
new_line (struct line *line, const char *spelled, const char *value,
          struct vmdk_error *err)
{
  const enum header_key key = header_key_find (spelled);
  char number[32];

  if (key != NR_HEADER_KEYS) {
    spelled = header_key_name (key);
    if (canonical_value (key, &value, number, err) == -1)
      return -1;
  }
  if (value == number)
    return make_line (line, spelled, "=", value, "", err);
  if (key_is_ddb (spelled))
    return make_line (line, spelled, " = \"", value, "\"", err);
  return make_line (line, spelled, "=\"", value, "\"", err);
}

static int
check_growth (const struct descriptor *d, const struct line *line, bool added,
              struct vmdk_error *err)
{
  if (added && d->nr_keys >= DESCRIPTOR_MAX_KEYS)
    return fail (err, ERR_ARGUMENT, "more than %d keys", DESCRIPTOR_MAX_KEYS);
  if (text_size (d) + line->len + strlen ("\r\n") > DESCRIPTOR_MAX_SIZE)
    return fail (err, ERR_ARGUMENT,
                 "the descriptor would have more than %zu bytes",
                 DESCRIPTOR_MAX_SIZE);
  return 0;
}

int
descriptor_set (struct descriptor *d, const char *key, const char *value,
                struct vmdk_error *err)
{
  struct line line = { 0 };
  size_t i = find (d, key);
  const bool added = i == NOT_FOUND;

  if (check_argument (key, value, err) == -1
      || reserve_lines (d, MAX_NEW_LINES, err) == -1
      || new_line (&line, added ? key : d->lines.ptr[i].key, value, err) == -1)
    return -1;
  if (check_growth (d, &line, added, err) == -1) {
    free (line.own);
    return -1;
  }

  if (added)
    insert_line (d, place_of_new_key (d, key), line);
  else {
    struct line *old = &d->lines.ptr[i];

    line.number = old->number;
    line.eol = old->eol;
    free (old->own);
    *old = line;
    remove_others (d, line.key, i);
  }
  if (text_equal (line.key, header_key_name (KEY_CID))
      || text_equal (line.key, header_key_name (KEY_PARENT_CID)))
    join_cids (d);
  descriptor_refresh (d);
  return 0;
}
