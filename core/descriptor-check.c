/* SPDX-License-Identifier: BSD-3-Clause */

/* What a descriptor's keys say, once its lines have been parsed: which are
 * malformed or contradict each other, which mean that the link's data cannot
 * be had from its files (encryption, snapshots inside a storage array), and
 * which are odd but served with a warning.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "descriptor-model.h"

static const char *const header_names[NR_HEADER_KEYS] = {
  [KEY_VERSION] = "version",
  [KEY_ENCODING] = "encoding",
  [KEY_CID] = "CID",
  [KEY_PARENT_CID] = "parentCID",
  [KEY_NATIVE_SNAPSHOT] = "isNativeSnapshot",
  [KEY_CREATE_TYPE] = "createType",
  [KEY_PARENT_HINT] = "parentFileNameHint",
};

static const char *const create_types[] = {
  "monolithicSparse",
  "monolithicFlat",
  "twoGbMaxExtentSparse",
  "twoGbMaxExtentFlat",
  "twoGbMaxExtent",
  "2GbMaxExtentSparse",
  "2GbMaxExtentFlat",
  "streamOptimized",
  "custom",
  "fullDevice",
  "partitionedDevice",
  "vmfs",
  "vmfsThin",
  "vmfsThick",
  "vmfsPreallocated",
  "vmfsEagerZeroedThick",
  "vmfsSparse",
  "seSparse",
  "vmfsSeSparse",
  "vsanSparse",
  "vmfsRaw",
  "vmfsRDM",
  "vmfsRawDeviceMap",
  "vmfsRDMP",
  "vmfsPassthroughRawDeviceMap",
};

enum header_key
header_key_find (const char *key)
{
  enum header_key k;

  for (k = 0; k < NR_HEADER_KEYS; k++)
    if (text_equal (key, header_names[k]))
      break;
  return k;
}

const char *
header_key_name (enum header_key key)
{
  return header_names[key];
}

bool
cid_parse (const char *text, uint32_t *cid)
{
  static const char digits[] = "0123456789abcdef";
  uint32_t n = 0;
  size_t len;

  if (text_starts (text, "0x"))
    text += 2;
  len = strlen (text);
  if (len < 1 || len > 8)
    return false;
  for (; *text; text++) {
    const char *digit = strchr (digits, ascii_lower (*text));

    if (!digit)
      return false;
    n = n << 4 | (uint32_t) (digit - digits);
  }
  *cid = n;
  return true;
}

static int
check_version (const char *value, struct vmdk_error *err)
{
  uint64_t version;

  if (!decimal_parse (value, &version) || version == 0)
    return fail (err, ERR_CORRUPT, "version \"%s\" is not one of 1 to 4",
                 NAME (value));
  if (version > 4)
    return fail (err, ERR_UNSUPPORTED,
                 "version \"%s\" is unknown, 1 to 4 can be read",
                 NAME (value));
  return 0;
}

int
header_value_check (enum header_key key, const char *value,
                    struct vmdk_error *err)
{
  uint32_t cid;

  switch (key) {
  case KEY_VERSION:
    return check_version (value, err);
  case KEY_CID:
  case KEY_PARENT_CID:
    if (!cid_parse (value, &cid))
      return fail (err, ERR_CORRUPT,
                   "%s \"%s\" is not a number of 1 to 8 hexadecimal digits",
                   header_names[key], NAME (value));
    return 0;
  case KEY_PARENT_HINT:
    if (text_has_control (value))
      return fail (err, ERR_CORRUPT, "%s \"%s\" contains control bytes",
                   header_names[key], NAME (value));
    if (strlen (value) > DESCRIPTOR_MAX_NAME)
      return fail (
        err, ERR_CORRUPT, "%s \"%s\" has %zu bytes, at most %d are allowed",
        header_names[key], NAME (value), strlen (value), DESCRIPTOR_MAX_NAME);
    return 0;
  default:
    return 0;
  }
}

/* A second line may repeat the first, as a number or as text.  If it does
 * not, one reader believes the one and another the other.
 */
static bool
values_agree (enum header_key key, const char *a, const char *b)
{
  uint32_t cid_a = 0, cid_b = 0;
  uint64_t version_a = 0, version_b = 0;

  switch (key) {
  case KEY_CID:
  case KEY_PARENT_CID:
    return cid_parse (a, &cid_a) && cid_parse (b, &cid_b) && cid_a == cid_b;
  case KEY_VERSION:
    return decimal_parse (a, &version_a) && decimal_parse (b, &version_b)
           && version_a == version_b;
  case KEY_CREATE_TYPE:
  case KEY_PARENT_HINT:
    return strcmp (a, b) == 0;
  default:
    return true;
  }
}

static int
check_header (const struct descriptor *d, struct vmdk_error *err)
{
  const struct line *first[NR_HEADER_KEYS] = { NULL };

  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];
    enum header_key key;

    if (!line->key)
      continue;
    key = header_key_find (line->key);
    if (key == NR_HEADER_KEYS)
      continue;
    if (header_value_check (key, line->value, err) == -1)
      return fail_prefix (err, "line %" PRIu32, line->number);
    if (!first[key])
      first[key] = line;
    else if (!values_agree (key, first[key]->value, line->value))
      return fail (err, ERR_CORRUPT,
                   "line %" PRIu32 ": %s \"%s\" contradicts \"%s\" in line "
                   "%" PRIu32 "; only one value is allowed",
                   line->number, header_names[key], NAME (line->value),
                   NAME (first[key]->value), first[key]->number);
  }
  return 0;
}

static bool
means_encrypted (const struct line *line)
{
  const size_t len = strlen (line->key);
  const size_t suffix = strlen ("keySafe");

  if (text_equal (line->key, "encryptionKeys")
      || text_equal (line->key, "keyID")
      || text_starts (line->key, "encryption."))
    return true;
  if (len >= suffix && text_equal (line->key + len - suffix, "keySafe"))
    return true;
  return text_equal (line->key, "ddb.iofilters")
         && text_contains (line->value, "crypt");
}

static int
refuse_encrypted (const struct descriptor *d, struct vmdk_error *err)
{
  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];

    if (line->key && means_encrypted (line))
      return fail (err, ERR_UNSUPPORTED,
                   "line %" PRIu32 ": \"%s\": encrypted disk; only disks "
                   "without encryption can be read",
                   line->number, NAME (line->key));
  }
  return 0;
}

static bool
names_native_parent (const char *key)
{
  return text_equal (key, "ddb.objectParentUri")
         || text_starts (key, "ddb.nativeParent");
}

/* The storage array holds what a native snapshot shares with its parent. */
static int
refuse_native (const struct descriptor *d, struct vmdk_error *err)
{
  const struct line *native = NULL;
  bool has_parent = d->parent_cid != CID_NONE;

  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];

    if (!line->key)
      continue;
    if (text_equal (line->key, header_names[KEY_NATIVE_SNAPSHOT])
        && *line->value && !text_equal (line->value, "no"))
      native = line;
    if (names_native_parent (line->key) && *line->value)
      has_parent = true;
  }
  if (native && has_parent)
    return fail (err, ERR_UNSUPPORTED,
                 "line %" PRIu32 ": isNativeSnapshot \"%s\" with a parent: "
                 "the data is in the storage array; only \"no\" can be read",
                 native->number, NAME (native->value));
  return 0;
}

static uint32_t
line_number (const struct descriptor *d, enum header_key key)
{
  for (size_t i = 0; i < d->lines.len; i++) {
    const struct line *line = &d->lines.ptr[i];

    if (line->key && text_equal (line->key, header_names[key]))
      return line->number;
  }
  return 0;
}

/* Served alone, a child would show zeros for what its parent holds. */
static int
check_parent (const struct descriptor *d, struct vmdk_error *err)
{
  const uint32_t cid_line = line_number (d, KEY_PARENT_CID);

  if (cid_line == 0 && d->parent_hint)
    return fail (err, ERR_CORRUPT,
                 "line %" PRIu32 ": parentFileNameHint \"%s\" without a "
                 "parentCID; a link with a parent needs both",
                 line_number (d, KEY_PARENT_HINT), NAME (d->parent_hint));
  if (d->parent_cid != CID_NONE && !d->parent_hint)
    return fail (err, ERR_CORRUPT,
                 "line %" PRIu32 ": parentCID \"%08" PRIx32 "\" without a "
                 "parentFileNameHint; a link with a parent needs both",
                 cid_line, d->parent_cid);
  return 0;
}

static int
check_extents (const struct descriptor *d, struct vmdk_error *err)
{
  if (d->extents.len == 0)
    return fail (err, ERR_CORRUPT,
                 "no extent lines; the descriptor is empty or cut short");
  return 0;
}

/* What is odd, and served all the same. */

static void
warn_create_type (const struct descriptor *d, const struct vmdk_log *log)
{
  if (*d->create_type == '\0') {
    log_warning (log, "no createType; the extents decide");
    return;
  }
  for (size_t i = 0; i < COUNT (create_types); i++)
    if (text_equal (d->create_type, create_types[i]))
      return;
  log_warning (log, "createType \"%s\" is unknown; the extents decide",
               NAME (d->create_type));
}

static void
warn_header (const struct descriptor *d, const struct vmdk_log *log)
{
  const char *filters = descriptor_get (d, "ddb.iofilters");

  if (!descriptor_get (d, header_names[KEY_VERSION]))
    log_warning (log, "no version; taken for 1");
  if (!d->has_cid)
    log_warning (log, "no CID; the link cannot be a parent");
  else if (d->cid == CID_NONE)
    log_warning (log, "CID %08" PRIx32 " is reserved for \"no parent\"",
                 d->cid);
  if (!descriptor_get (d, header_names[KEY_PARENT_CID]))
    log_warning (log, "no parentCID; taken for a link without a parent");
  if (d->parent_cid == CID_NONE && d->parent_hint)
    log_warning (log,
                 "parentFileNameHint \"%s\" is ignored: parentCID %08" PRIx32
                 " means no parent",
                 NAME (d->parent_hint), d->parent_cid);
  warn_create_type (d, log);
  if (filters && *filters)
    log_warning (log,
                 "ddb.iofilters \"%s\": a filter's cache may hold newer data",
                 NAME (filters));
}

static int
compare_keys (const void *pa, const void *pb)
{
  const struct line *a = *(const struct line *const *) pa;
  const struct line *b = *(const struct line *const *) pb;
  const int order = text_compare (a->key, b->key);

  if (order != 0)
    return order;
  return a < b ? -1 : a > b;
}

/* Sorted, since a table of hashes could be made to degenerate.  One message
 * whatever the text: its author must not be able to flood the log.
 */
static int
warn_repeated (const struct descriptor *d, const struct vmdk_log *log,
               struct vmdk_error *err)
{
  CLEANUP_FREE const struct line **keys = NULL;
  const struct line *again = NULL;
  size_t count = 0, nr_repeated = 0;

  if (!log_wants (log, LOG_WARNING))
    return 0;
  keys = calloc (d->nr_keys + 1, sizeof keys[0]);
  if (!keys)
    return fail_memory (err);
  for (size_t i = 0; i < d->lines.len; i++)
    if (d->lines.ptr[i].key)
      keys[count++] = &d->lines.ptr[i];
  qsort (keys, count, sizeof keys[0], compare_keys);

  for (size_t i = 1; i < count; i++)
    if (text_equal (keys[i]->key, keys[i - 1]->key)) {
      nr_repeated++;
      if (!again || keys[i] < again)
        again = keys[i];
    }
  if (again)
    log_warning (log,
                 "line %" PRIu32 ": \"%s\" again (%zu such lines); the %s "
                 "line of a key counts",
                 again->number, NAME (again->key), nr_repeated,
                 key_is_ddb (again->key) ? "last" : "first");
  return 0;
}

int
descriptor_check (struct descriptor *d, const struct vmdk_log *log,
                  struct vmdk_error *err)
{
  /* Encryption first: such a text may lack everything else. */
  if (refuse_encrypted (d, err) == -1 || check_header (d, err) == -1)
    return -1;
  descriptor_refresh (d);
  if (refuse_native (d, err) == -1 || check_parent (d, err) == -1
      || check_extents (d, err) == -1 || warn_repeated (d, log, err) == -1)
    return -1;
  warn_header (d, log);
  return 0;
}
