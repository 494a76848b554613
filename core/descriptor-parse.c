/* SPDX-License-Identifier: BSD-3-Clause */

/* Descriptor text to model.
 *
 * Sections are marked by comments only, so each line is classified by its
 * own shape, in this order:
 *
 *   1. blank, or the first character that is not a blank is '#': a comment
 *   2. the first word is RW, RDONLY or NOACCESS: an extent line, which must
 *      parse completely (a file name may contain '=' or '#')
 *   3. KEY = VALUE: an assignment, whether we know the key or not
 *   4. anything else refuses the whole text.  It may be an extent line with
 *      a damaged first word; to skip it would make a shorter disk in which
 *      all later data has moved.
 *
 * What real producers write and we therefore take: any order of lines; any
 * case of keys, access words and types; quoted or bare values; blanks or
 * none around '='; a byte order mark; LF or CR LF; no newline at the end;
 * whatever follows a NUL (qemu rewrites in whole sectors and leaves the tail
 * of the old text behind); CIDs without leading zeros (qemu) or with "0x";
 * no "# Disk DescriptorFile" line (stream converters); no "#DDB" line;
 * `NOACCESS 0 ZERO` as a placeholder (VirtualBox); tokens after an extent's
 * offset (VMware's raw disks on Windows).  File names are bytes: with
 * encodings like Shift_JIS a character may contain the byte of a backslash.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "descriptor-model.h"

#define BLANKS " \t"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define PROBE_BYTES ((size_t) 4096)
#define PROBE_LINES 64

static const char *const access_names[] = {
  [ACCESS_RW] = "RW",
  [ACCESS_RDONLY] = "RDONLY",
  [ACCESS_NOACCESS] = "NOACCESS",
};

static const char *const type_names[] = {
  [EXTENT_FLAT] = "FLAT",
  [EXTENT_VMFS] = "VMFS",
  [EXTENT_ZERO] = "ZERO",
  [EXTENT_SPARSE] = "SPARSE",
  [EXTENT_VMFSSPARSE] = "VMFSSPARSE",
  [EXTENT_SESPARSE] = "SESPARSE",
  [EXTENT_VMFSRDM] = "VMFSRDM",
  [EXTENT_VMFSRAW] = "VMFSRAW",
  [EXTENT_VSANSPARSE] = "VSANSPARSE",
};

const char *
extent_access_name (enum extent_access access)
{
  return access_names[access];
}

const char *
extent_type_name (enum extent_type type)
{
  return type_names[type];
}

bool
access_word (const char *text, size_t len, enum extent_access *access)
{
  for (size_t i = 0; i < COUNT (access_names); i++)
    if (len == strlen (access_names[i])
        && text_starts (text, access_names[i])) {
      *access = (enum extent_access) i;
      return true;
    }
  return false;
}

bool
decimal_parse (const char *text, uint64_t *number)
{
  uint64_t n = 0;

  if (*text == '\0')
    return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9')
      return false;
    if (mul_overflow (n, 10, &n)
        || add_overflow (n, (uint64_t) (*text - '0'), &n)) {
      *number = UINT64_MAX;
      return text[strspn (text, "0123456789")] == '\0';
    }
  }
  *number = n;
  return true;
}

/* Extent lines. */

static int
no_name (const char *reason, const char *name, struct vmdk_error *err)
{
  return fail (err, ERR_CORRUPT, "extent name \"%s\" %s", NAME (name), reason);
}

static int
check_extent_name (const struct extent_line *extent, struct vmdk_error *err)
{
  static const char *const objects[] = { "vsan://", "vvol://", "rfc4122." };
  const char *name = extent->name;
  const size_t len = name ? strlen (name) : 0;
  bool object = extent->type == EXTENT_VSANSPARSE;

  if (len == 0)
    return fail (err, ERR_CORRUPT, "%s extent needs a file name in quotes",
                 type_names[extent->type]);
  if (len > DESCRIPTOR_MAX_NAME)
    return fail (err, ERR_CORRUPT,
                 "extent name \"%s\" has %zu bytes, at most %d are allowed",
                 NAME (name), len, DESCRIPTOR_MAX_NAME);
  if (text_has_control (name))
    return no_name ("contains control bytes", name, err);
  if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
    return no_name ("is not the name of a file", name, err);

  for (size_t i = 0; i < COUNT (objects); i++)
    object |= text_starts (name, objects[i]);
  if (object)
    return fail (err, ERR_UNSUPPORTED,
                 "%s extent \"%s\": its data is in an object store and "
                 "cannot be read from files; export the disk",
                 type_names[extent->type], NAME (name));
  return 0;
}

static int
check_extent_offset (const struct extent_line *extent, const char *text,
                     struct vmdk_error *err)
{
  switch (extent->type) {
  case EXTENT_SPARSE:
  case EXTENT_VMFSSPARSE:
  case EXTENT_SESPARSE:
    if (extent->offset_sector != 0)
      return fail (err, ERR_CORRUPT,
                   "extent offset \"%s\": a %s extent can only begin at 0",
                   NAME (text), type_names[extent->type]);
    break;
  default:
    break;
  }
  if (!range_inside (extent->offset_sector, extent->nr_sectors, MAX_SECTORS))
    return fail (err, ERR_CORRUPT,
                 "extent offset \"%s\": offset and size add up to more than "
                 "%" PRIu64 " sectors",
                 NAME (text), MAX_SECTORS);
  return 0;
}

static int
check_extent_size (const struct extent_line *extent, const char *text,
                   struct vmdk_error *err)
{
  if (extent->nr_sectors > MAX_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "extent size \"%s\" is more than %" PRIu64 " sectors",
                 NAME (text), MAX_SECTORS);
  if (extent->nr_sectors == 0
      && (extent->access != ACCESS_NOACCESS || extent->type != EXTENT_ZERO))
    return fail (err, ERR_CORRUPT,
                 "extent size \"%s\": only a NOACCESS ZERO extent may have "
                 "no sectors",
                 NAME (text));
  return 0;
}

static int
parse_extent_type (const char *word, enum extent_type *type,
                   struct vmdk_error *err)
{
  for (size_t i = 0; i < COUNT (type_names); i++)
    if (text_equal (word, type_names[i])) {
      *type = (enum extent_type) i;
      return 0;
    }
  return fail (err, ERR_CORRUPT,
               "extent type \"%s\" is unknown; it can be FLAT, VMFS, ZERO, "
               "SPARSE, VMFSSPARSE, SESPARSE, VMFSRDM, VMFSRAW or VSANSPARSE",
               NAME (word));
}

/* Cut the next word off *s; "" when there is none. */
static char *
take_word (char **s)
{
  char *word = *s + strspn (*s, BLANKS);
  char *end = word + strcspn (word, BLANKS);

  *s = end;
  if (*end) {
    *end = '\0';
    (*s)++;
  }
  return word;
}

/* Cut a quoted string off *s, which stands on the opening quote. */
static int
take_quoted (char **s, char **string, struct vmdk_error *err)
{
  char *end = strchr (*s + 1, '"');

  if (!end)
    return fail (err, ERR_CORRUPT, "a quote is not closed: %s", NAME (*s));
  if (end[1] != '\0' && end[1] != ' ' && end[1] != '\t')
    return fail (err, ERR_CORRUPT,
                 "\"%s\" directly after a closing quote; a blank or nothing "
                 "may follow",
                 NAME (end + 1));
  *end = '\0';
  *string = *s + 1;
  *s = end + 1;
  return 0;
}

/* [ name [ offset [ tail ] ] ] */
static int
parse_extent_place (char *s, struct extent_line *extent, const char **offset,
                    struct vmdk_error *err)
{
  char *name;
  size_t nr_quotes = 0;

  s += strspn (s, BLANKS);
  if (*s == '\0')
    return 0;
  if (*s != '"')
    return fail (err, ERR_CORRUPT,
                 "\"%s\" after the extent type; a file name in quotes or "
                 "nothing may follow",
                 NAME (s));
  if (take_quoted (&s, &name, err) == -1)
    return -1;
  extent->name = name;

  *offset = take_word (&s);
  if (**offset == '\0')
    return 0;
  if (!decimal_parse (*offset, &extent->offset_sector))
    return fail (err, ERR_CORRUPT,
                 "extent offset \"%s\" is not a decimal number",
                 NAME (*offset));
  extent->has_offset = true;

  for (char *p = s; (p = strchr (p, '"')); p++)
    nr_quotes++;
  if (nr_quotes % 2 != 0)
    return fail (err, ERR_CORRUPT, "a quote is not closed: %s", NAME (s));
  return 0;
}

static int
add_extent (struct descriptor *d, const struct extent_line *extent,
            struct vmdk_error *err)
{
  if (extent->nr_sectors > MAX_SECTORS - d->nr_sectors)
    return fail (err, ERR_CORRUPT,
                 "the extents add up to more than %" PRIu64 " sectors",
                 MAX_SECTORS);
  d->nr_sectors += extent->nr_sectors;
  if (extent_list_append (&d->extents, *extent) == -1)
    return fail_memory (err);
  return 0;
}

/* S stands behind the access word. */
static int
parse_extent (struct descriptor *d, char *s, struct extent_line *extent,
              struct vmdk_error *err)
{
  const char *size = take_word (&s);
  const char *type = take_word (&s);
  const char *offset = "";

  if (!decimal_parse (size, &extent->nr_sectors))
    return fail (err, ERR_CORRUPT,
                 "extent size \"%s\" is not a decimal number", NAME (size));
  if (parse_extent_type (type, &extent->type, err) == -1
      || check_extent_size (extent, size, err) == -1
      || parse_extent_place (s, extent, &offset, err) == -1)
    return -1;

  if (extent->type == EXTENT_ZERO) {
    extent->name = NULL;
    extent->offset_sector = 0;
    extent->has_offset = false;
    if (extent->nr_sectors == 0)
      return 0;
  }
  else if (check_extent_name (extent, err) == -1
           || check_extent_offset (extent, offset, err) == -1)
    return -1;
  return add_extent (d, extent, err);
}

/* Assignments. */

static int
bad_line (const char *s, struct vmdk_error *err)
{
  return fail (err, ERR_CORRUPT,
               "\"%s\" is neither a comment, nor an extent (RW, RDONLY or "
               "NOACCESS), nor KEY=VALUE",
               NAME (s));
}

static int
parse_value (char *s, char **value, struct vmdk_error *err)
{
  if (*s == '"') {
    if (take_quoted (&s, value, err) == -1)
      return -1;
  }
  else {
    *value = take_word (&s);
    if (strchr (*value, '"'))
      return fail (err, ERR_CORRUPT,
                   "value \"%s\" contains a quote; quotes can only enclose "
                   "the whole value",
                   NAME (*value));
  }
  s += strspn (s, BLANKS);
  if (*s != '\0')
    return fail (err, ERR_CORRUPT,
                 "\"%s\" after the value; one word, or more in quotes, is "
                 "allowed",
                 NAME (s));
  return 0;
}

static int
parse_assignment (struct descriptor *d, char *s, struct line *line,
                  struct vmdk_error *err)
{
  const size_t key_len = strcspn (s, BLANKS "=\"#");
  char *equals = s + key_len + strspn (s + key_len, BLANKS);
  enum extent_access access;
  char *value;

  /* `RW=16 ZERO` is more likely damaged than somebody's key. */
  if (key_len == 0 || *equals != '=' || access_word (s, key_len, &access))
    return bad_line (s, err);
  if (d->nr_keys >= DESCRIPTOR_MAX_KEYS)
    return fail (err, ERR_CORRUPT, "more than %d keys", DESCRIPTOR_MAX_KEYS);

  if (parse_value (equals + 1 + strspn (equals + 1, BLANKS), &value, err)
      == -1)
    return -1;
  s[key_len] = '\0';
  line->key = s;
  line->value = value;
  d->nr_keys++;
  return 0;
}

/* Lines. */

/* S is the carved copy of the line, NUL-terminated.  Decides what it is. */
static int
parse_line (struct descriptor *d, char *s, struct line *line, size_t *nr_lines,
            struct vmdk_error *err)
{
  struct extent_line extent = { .line = line->number };
  size_t len;

  s += strspn (s, BLANKS);
  if (*s == '\0' || *s == '#')
    return 0;

  len = strcspn (s, BLANKS);
  if (!access_word (s, len, &extent.access)) {
    line->kind = LINE_ASSIGNMENT;
    return parse_assignment (d, s, line, err);
  }
  line->kind = LINE_EXTENT;
  if (++*nr_lines > DESCRIPTOR_MAX_EXTENTS)
    return fail (err, ERR_CORRUPT, "more than %d extents",
                 DESCRIPTOR_MAX_EXTENTS);
  return parse_extent (d, s + len, &extent, err);
}

static int
check_raw_line (const struct line *line, struct vmdk_error *err)
{
  if (line->len > DESCRIPTOR_MAX_LINE)
    return fail (err, ERR_CORRUPT,
                 "%" PRIu32 " bytes long, at most %zu are allowed", line->len,
                 DESCRIPTOR_MAX_LINE);
  if (memchr (line->text, '\r', line->len))
    return fail (err, ERR_CORRUPT,
                 "a carriage return without line feed; lines must end in LF "
                 "or CR LF");
  return 0;
}

/* Comments and blank lines join the ones before them. */
static int
keep_line (struct descriptor *d, const struct line *line,
           struct vmdk_error *err)
{
  struct line *last = d->lines.len ? &d->lines.ptr[d->lines.len - 1] : NULL;

  if (last && last->kind == LINE_OTHER && line->kind == LINE_OTHER) {
    last->len = (uint32_t) (line->text + line->len - last->text);
    last->eol = line->eol;
    return 0;
  }
  if (line_list_append (&d->lines, *line) == -1)
    return fail_memory (err);
  return 0;
}

/* The line that starts at AT; sets *next to the start of the one after it. */
static struct line
cut_line (const struct descriptor *d, size_t at, size_t len, size_t *next)
{
  struct line line = { .kind = LINE_OTHER, .text = d->text + at, .eol = "" };
  const char *newline = memchr (d->text + at, '\n', len - at);
  size_t count = len - at;

  *next = len;
  if (newline) {
    count = (size_t) (newline - line.text);
    *next = at + count + 1;
    line.eol = "\n";
    if (count > 0 && newline[-1] == '\r') {
      count--;
      line.eol = "\r\n";
    }
  }
  line.len = (uint32_t) count;
  return line;
}

static int
parse_lines (struct descriptor *d, size_t len, struct vmdk_error *err)
{
  const size_t bom_len = strlen (BYTE_ORDER_MARK);
  size_t at = 0, next, nr_extent_lines = 0;
  uint32_t number = 1;

  /* A line of its own, so that the first key can be edited behind it. */
  if (len >= bom_len && memcmp (d->text, BYTE_ORDER_MARK, bom_len) == 0) {
    const struct line bom = { .text = d->text, .eol = "", .len = bom_len };

    if (keep_line (d, &bom, err) == -1)
      return -1;
    at = bom_len;
  }

  for (; at < len; at = next, number++) {
    struct line line = cut_line (d, at, len, &next);

    line.number = number;
    d->strings[at + line.len] = '\0';
    if (check_raw_line (&line, err) == -1
        || parse_line (d, d->strings + at, &line, &nr_extent_lines, err) == -1)
      return fail_prefix (err, "line %" PRIu32, number);
    if (keep_line (d, &line, err) == -1)
      return -1;
  }
  return 0;
}

static struct descriptor *
descriptor_new (const char *text, size_t len, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = calloc (1, sizeof *d);

  if (!d) {
    fail_memory (err);
    return NULL;
  }
  d->create_type = "";
  d->parent_cid = CID_NONE;
  d->text = strndup (text, len);
  d->strings = strndup (text, len);
  if (!d->text || !d->strings) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&d);
}

struct descriptor *
descriptor_parse (const char *text, size_t len, const struct vmdk_log *log,
                  struct vmdk_error *err)
{
  const size_t text_len = strnlen (text, len);
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;

  if (text_len > DESCRIPTOR_MAX_SIZE) {
    fail (err, ERR_CORRUPT,
          "the descriptor has %zu bytes, at most %zu are allowed", text_len,
          DESCRIPTOR_MAX_SIZE);
    return NULL;
  }
  d = descriptor_new (text, text_len, err);
  if (!d || parse_lines (d, text_len, err) == -1
      || descriptor_check (d, log, err) == -1)
    return NULL;
  return steal_ptr (&d);
}

/* Probing. */

/* The line's bytes, without blanks and case, begin with PREFIX, and with
 * WHOLE are nothing else.
 */
static bool
line_is (const char *line, size_t len, const char *prefix, bool whole)
{
  for (size_t i = 0; i < len; i++) {
    if (line[i] == ' ' || line[i] == '\t')
      continue;
    if (*prefix == '\0')
      return !whole;
    if (ascii_lower (line[i]) != *prefix++)
      return false;
  }
  return *prefix == '\0';
}

/* A comment, KEY= or an access word. */
static bool
line_looks_right (const char *line, size_t len)
{
  enum extent_access access;
  size_t key_len = 0, after;

  if (line[0] == '#')
    return true;
  while (key_len < len && !strchr (BLANKS "=\"#", line[key_len]))
    key_len++;
  for (after = key_len; after < len && strchr (BLANKS, line[after]);)
    after++;
  if (key_len == 0 || after == len)
    return false;
  return line[after] == '='
         || (after > key_len && access_word (line, key_len, &access));
}

bool
descriptor_probe (const char *text, size_t len)
{
  const size_t bom_len = strlen (BYTE_ORDER_MARK);
  bool started = false, version = false, create_type = false;
  size_t count;

  len = strnlen (text, len < PROBE_BYTES ? len : PROBE_BYTES);
  if (len >= bom_len && memcmp (text, BYTE_ORDER_MARK, bom_len) == 0) {
    text += bom_len;
    len -= bom_len;
  }

  /* A lone CR ends a line here, so that descriptor_parse gets to complain
   * about it.
   */
  for (unsigned nr_lines = 0; len > 0 && nr_lines < PROBE_LINES;) {
    while (len > 0 && strchr (BLANKS, *text))
      text++, len--;
    for (count = 0; count < len && !strchr ("\r\n", text[count]);)
      count++;
    if (count > 0) {
      if (!started && !line_looks_right (text, count))
        return false;
      started = true;
      if (line_is (text, count, "#diskdescriptorfile", true))
        return true;
      version |= line_is (text, count, "version=", false);
      create_type |= line_is (text, count, "createtype=", false);
      if (version && create_type)
        return true;
    }
    if (count < len) {
      nr_lines +=
        text[count] == '\n' || count + 1 == len || text[count + 1] != '\n';
      count++;
    }
    text += count;
    len -= count;
  }
  return false;
}
