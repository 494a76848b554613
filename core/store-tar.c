/* SPDX-License-Identifier: BSD-3-Clause */

/* The members of an uncompressed tar archive, such as an OVA.  See store.h.
 *
 *   | header | pax or long name | header | data, padded to 512 | ... | zeros |
 *
 * The headers are read once, when the archive is opened, and make an index
 * from names to byte ranges.  Formats: V7, ustar, GNU (long names, sizes in
 * base 256) and pax (path, size).  Sparse members of any kind are
 * remembered only to be refused by name.  As tar does when it unpacks, the
 * last of several members with one name wins.
 *
 * Everything in a header is a stranger's: what the index costs is bounded by
 * the maxima below, and a member is never wider than the archive.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "store.h"
#include "vector.h"

#define BLOCK_SIZE 512

/* An OVA has a handful of members, an archive of split disks some thousands.
 * A name is a path, and Linux has none longer than 4096.
 */
#define MAX_MEMBERS 65536
#define MAX_HEADERS (4 * MAX_MEMBERS)
#define MAX_NAME_SIZE 4096

/* Long names and pax records: of one header (some tools put checksums and
 * attributes there), and of all.
 */
#define MAX_RECORDS_SIZE ((size_t) 1 << 20)
#define MAX_ALL_RECORDS_SIZE ((uint64_t) 64 << 20)

/* Where the fields of a header are. */
enum {
  AT_NAME = 0,
  AT_SIZE = 124,
  AT_CHECKSUM = 148,
  AT_TYPE = 156,
  AT_MAGIC = 257,
  AT_PREFIX = 345,
  AT_OLD_GNU_EXTENDED = 482,   /* more sparse maps follow the header... */
  AT_EXTENSION_EXTENDED = 504, /* ...and follow that */
};
enum {
  NAME_SIZE = 100,
  SIZE_SIZE = 12,
  CHECKSUM_SIZE = 8,
  PREFIX_SIZE = 155,
};

struct member {
  char *name; /* owned */
  uint64_t offset, size;
  bool is_sparse;
  bool is_replaced; /* by a later one of its name */
};
DEFINE_VECTOR (member_list, struct member)

struct store_tar {
  struct store store;
  struct media *archive; /* owned */
  struct member_list members;
  struct member **sorted; /* by name; among equals by place */
};

/* What the headers before a member's own say about it. */
struct overrides {
  char *name; /* owned; NULL: nothing */
  uint64_t size;
  bool has_size, is_sparse;
};

/* The state of reading the index. */
struct indexer {
  struct store_tar *tar;
  uint64_t offset; /* of the next header */
  uint64_t records_left;
  unsigned nr_headers;
  struct overrides next; /* for the member that comes next */
};

static bool
is_zero (const uint8_t *p, size_t count)
{
  size_t i;

  for (i = 0; i < count; i++)
    if (p[i] != 0)
      return false;
  return true;
}

/* Octal digits, after blanks and up to a blank, NUL or the field's end. */
static bool
octal_parse (const uint8_t *p, size_t count, uint64_t *value)
{
  size_t i = 0;

  *value = 0;
  while (i < count && p[i] == ' ')
    i++;
  for (; i < count && p[i] != ' ' && p[i] != '\0'; i++) {
    if (p[i] < '0' || p[i] > '7' || *value >> 60)
      return false;
    *value = *value << 3 | (uint64_t) (p[i] - '0');
  }
  return true;
}

/* A size: octal, or with the first bit set in base 256 (GNU). */
static bool
size_parse (const uint8_t *p, size_t count, uint64_t *value)
{
  size_t i;

  if (!(p[0] & 0x80))
    return octal_parse (p, count, value);
  *value = p[0] & 0x7f; /* 0x40: a negative number; it gets too large */
  for (i = 1; i < count; i++) {
    if (*value >> 55)
      return false;
    *value = *value << 8 | p[i];
  }
  return true;
}

/* The sum of the header's bytes, its own field being blanks.  Some old tars
 * added signed bytes.
 */
static bool
checksum_is_right (const uint8_t *header)
{
  uint64_t stored;
  int64_t plain = 0, with_sign = 0;
  size_t i;

  if (!octal_parse (header + AT_CHECKSUM, CHECKSUM_SIZE, &stored))
    return false;
  for (i = 0; i < BLOCK_SIZE; i++) {
    const bool own = i >= AT_CHECKSUM && i < AT_CHECKSUM + CHECKSUM_SIZE;
    const uint8_t byte = own ? ' ' : header[i];

    plain += byte;
    with_sign += (int8_t) byte;
  }
  return stored == (uint64_t) plain || (int64_t) stored == with_sign;
}

/* The name within the header itself; a ustar header can have a prefix.
 * Returns NULL when there is no memory.
 */
static char *
header_name (const uint8_t *header)
{
  static const uint8_t ustar[6] = "ustar"; /* GNU's has a blank for the NUL */
  const char *prefix = (const char *) header + AT_PREFIX;
  const bool has_prefix =
    memcmp (header + AT_MAGIC, ustar, sizeof ustar) == 0 && *prefix != '\0';
  char *name = NULL;

  if (asprintf (&name, "%.*s%s%.*s", has_prefix ? PREFIX_SIZE : 0, prefix,
                has_prefix ? "/" : "", NAME_SIZE,
                (const char *) header + AT_NAME)
      == -1)
    return NULL;
  return name;
}

static void
overrides_reset (struct overrides *overrides)
{
  free (overrides->name);
  *overrides = (struct overrides){ 0 };
}

/* The LEN bytes at NAME are what the next member is called. */
static int
override_name (struct indexer *in, const char *name, size_t len,
               struct vmdk_error *err)
{
  char *copy;

  if (len > MAX_NAME_SIZE)
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64
                 ": a name of %zu bytes; the limit is %d",
                 in->offset, len, MAX_NAME_SIZE);
  if (memchr (name, '\0', len))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": a name has a zero byte",
                 in->offset);
  copy = strndup (name, len);
  if (!copy)
    return fail_memory (err);
  free (in->next.name);
  in->next.name = copy;
  return 0;
}

/* Decimal digits, all of the LEN bytes at P and at least one. */
static bool
decimal_parse (const char *p, size_t len, uint64_t *value)
{
  size_t i;

  *value = 0;
  for (i = 0; i < len; i++)
    if (p[i] < '0' || p[i] > '9' || mul_overflow (*value, 10, value)
        || add_overflow (*value, (uint64_t) (p[i] - '0'), value))
      return false;
  return len > 0;
}

static bool
key_is (const char *key, size_t len, const char *wanted)
{
  return len == strlen (wanted) && memcmp (key, wanted, len) == 0;
}

/* One "key=value" of a pax header.  An empty value takes back what was said;
 * the sparse file's own name is in GNU.sparse.name, "path" is made up.
 */
static int
pax_apply (struct indexer *in, const char *key, size_t key_len,
           const char *value, size_t len, struct vmdk_error *err)
{
  static const char sparse[] = "GNU.sparse.";

  if (key_len >= sizeof sparse && memcmp (key, sparse, sizeof sparse - 1) == 0)
    in->next.is_sparse = true;
  if (key_is (key, key_len, "SCHILY.realsize"))
    in->next.is_sparse = true;
  if (key_is (key, key_len, "path") && in->next.is_sparse && in->next.name)
    return 0;
  if (key_is (key, key_len, "path")
      || key_is (key, key_len, "GNU.sparse.name"))
    return override_name (in, value, len, err);
  if (!key_is (key, key_len, "size"))
    return 0;
  in->next.has_size = len > 0;
  if (len > 0 && !decimal_parse (value, len, &in->next.size))
    return fail (err, ERR_CORRUPT,
                 "pax header at byte %" PRIu64 ": the size is no number",
                 in->offset);
  return 0;
}

/* Records of the form "LENGTH key=value\n", LENGTH being all of it. */
static int
pax_parse (struct indexer *in, const char *p, size_t left,
           struct vmdk_error *err)
{
  while (left > 0 && *p != '\0') {
    const char *blank = memchr (p, ' ', min_u64 (left, 20));
    const char *equals;
    uint64_t len = 0;
    size_t head;

    if (!blank || !decimal_parse (p, (size_t) (blank - p), &len) || len > left
        || len < (size_t) (blank - p) + 3 || p[len - 1] != '\n')
      return fail (err, ERR_CORRUPT,
                   "pax header at byte %" PRIu64 ": malformed record",
                   in->offset);
    head = (size_t) (blank - p) + 1;
    equals = memchr (blank + 1, '=', len - head);
    if (!equals)
      return fail (err, ERR_CORRUPT,
                   "pax header at byte %" PRIu64 ": record without \"=\"",
                   in->offset);
    if (pax_apply (in, blank + 1, (size_t) (equals - blank - 1), equals + 1,
                   (size_t) (p + len - 1 - (equals + 1)), err)
        == -1)
      return -1;
    p += len;
    left -= len;
  }
  return 0;
}

/* Read the SIZE bytes behind a header that speaks of the next member. */
static int
read_records (struct indexer *in, char type, uint64_t data, uint64_t size,
              struct vmdk_error *err)
{
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (size > MAX_RECORDS_SIZE || size > in->records_left)
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": %" PRIu64
                 " bytes of attributes; the limit is %zu, and %" PRIu64
                 " for the archive",
                 in->offset, size, MAX_RECORDS_SIZE, MAX_ALL_RECORDS_SIZE);
  in->records_left -= size;
  len = (size_t) size;
  text = malloc (len + 1);
  if (!text)
    return fail_memory (err);
  if (media_pread (in->tar->archive, text, len, data, err) == -1)
    return -1;
  text[len] = '\0';
  if (type == 'L')
    return override_name (in, text, strlen (text), err);
  return pax_parse (in, text, len, err);
}

static int
add_member (struct indexer *in, const char *name, uint64_t data, uint64_t size,
            bool is_sparse, struct vmdk_error *err)
{
  struct member member = { .offset = data,
                           .size = size,
                           .is_sparse = is_sparse };

  if (in->tar->members.len == MAX_MEMBERS)
    return fail (err, ERR_CORRUPT, "more than %d members in the archive",
                 MAX_MEMBERS);
  member.name = strdup (store_plain_name (name));
  if (!member.name)
    return fail_memory (err);
  if (member_list_append (&in->tar->members, member) == -1) {
    free (member.name);
    return fail_memory (err);
  }
  return 0;
}

/* The header of a thing that has a name, its SIZE bytes of data at DATA. */
static int
index_thing (struct indexer *in, const uint8_t *header, uint64_t data,
             uint64_t size, struct vmdk_error *err)
{
  const char type = (char) header[AT_TYPE];
  const bool is_sparse = type == 'S' || in->next.is_sparse;
  CLEANUP_FREE char *name = NULL;

  if (type != '0' && type != '\0' && type != '7' && type != 'S')
    return 0;
  /* An empty name is one that a pax header took back. */
  name = in->next.name && *in->next.name ? steal_ptr (&in->next.name)
                                         : header_name (header);
  if (!name)
    return fail_memory (err);
  /* V7 had no type for a folder. */
  if (*store_plain_name (name) == '\0' || name[strlen (name) - 1] == '/')
    return 0;
  return add_member (in, name, data, size, is_sparse, err);
}

/* Links, devices and folders: no data, whatever their size field says. */
static bool
type_has_data (char type)
{
  return type < '1' || type > '6';
}

/* Old GNU sparse members have blocks with more of the map between header and
 * data.  Moves *DATA past them.
 */
static int
skip_sparse_maps (struct indexer *in, const uint8_t *header, uint64_t *data,
                  struct vmdk_error *err)
{
  uint8_t block[BLOCK_SIZE];
  bool more = header[AT_OLD_GNU_EXTENDED] != 0;

  while (more) {
    if (++in->nr_headers > MAX_HEADERS)
      return fail (err, ERR_CORRUPT, "more than %d headers in the archive",
                   MAX_HEADERS);
    if (!range_inside (*data, BLOCK_SIZE, in->tar->archive->size))
      return fail (
        err, ERR_CORRUPT,
        "tar header at byte %" PRIu64
        ": its sparse map runs past the archive's end at byte %" PRIu64,
        in->offset, in->tar->archive->size);
    if (media_pread (in->tar->archive, block, BLOCK_SIZE, *data, err) == -1)
      return -1;
    *data += BLOCK_SIZE;
    more = block[AT_EXTENSION_EXTENDED] != 0;
  }
  return 0;
}

/* Where does the data of HEADER lie?  Checks that the archive has it. */
static int
locate_data (struct indexer *in, const uint8_t *header, uint64_t *data,
             uint64_t *size, struct vmdk_error *err)
{
  const char type = (char) header[AT_TYPE];
  const bool is_own = type != 'x' && type != 'g' && type != 'L' && type != 'K';

  if (!size_parse (header + AT_SIZE, SIZE_SIZE, size))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": the size is no number",
                 in->offset);
  if (is_own && in->next.has_size)
    *size = in->next.size;
  if (!type_has_data (type))
    *size = 0;
  *data = in->offset + BLOCK_SIZE;
  if (type == 'S' && skip_sparse_maps (in, header, data, err) == -1)
    return -1;
  if (!range_inside (*data, *size, in->tar->archive->size))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": %" PRIu64
                 " bytes run past the archive's end at byte %" PRIu64,
                 in->offset, *size, in->tar->archive->size);
  return 0;
}

static int
index_header (struct indexer *in, const uint8_t *header,
              struct vmdk_error *err)
{
  const char type = (char) header[AT_TYPE];
  uint64_t data = 0, size = 0, next;
  int r = 0;

  if (locate_data (in, header, &data, &size, err) == -1)
    return -1;
  if (type == 'x' || type == 'L')
    r = read_records (in, type, data, size, err);
  else if (type != 'g' && type != 'K') {
    r = index_thing (in, header, data, size, err);
    overrides_reset (&in->next);
  }
  /* The last padding is missed by nobody, so the end can be past the
   * archive's.
   */
  if (round_up_overflow (data + size, BLOCK_SIZE, &next))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": the size is too large",
                 in->offset);
  in->offset = next;
  return r;
}

/* Read the header at in->offset.  *END: there are no more.  An archive should
 * end with two blocks of zeros; one, or none, does as well.
 */
static int
read_header (struct indexer *in, uint8_t header[BLOCK_SIZE], bool *end,
             struct vmdk_error *err)
{
  struct media *archive = in->tar->archive;
  size_t left = 0;

  if (in->offset < archive->size)
    left = (size_t) min_u64 (archive->size - in->offset, BLOCK_SIZE);
  memset (header, 0, BLOCK_SIZE);
  if (media_pread (archive, header, left, left > 0 ? in->offset : 0, err)
      == -1)
    return -1;
  *end = is_zero (header, BLOCK_SIZE);
  if (*end)
    return 0;
  if (left < BLOCK_SIZE)
    return fail (err, ERR_CORRUPT,
                 "the archive ends at byte %" PRIu64
                 ", within the tar header at byte %" PRIu64,
                 archive->size, in->offset);
  if (!checksum_is_right (header))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": wrong checksum", in->offset);
  if (++in->nr_headers > MAX_HEADERS)
    return fail (err, ERR_CORRUPT, "more than %d headers in the archive",
                 MAX_HEADERS);
  return 0;
}

static int
index_all (struct indexer *in, struct vmdk_error *err)
{
  uint8_t header[BLOCK_SIZE];
  bool end;

  for (;;) {
    if (read_header (in, header, &end, err) == -1)
      return -1;
    if (end)
      return 0;
    if (index_header (in, header, err) == -1)
      return -1;
  }
}

static int
compare_members (const void *a, const void *b)
{
  const struct member *x = *(struct member *const *) a;
  const struct member *y = *(struct member *const *) b;
  const int r = strcmp (x->name, y->name);

  return r ? r : (x > y) - (x < y);
}

/* The last member of each name is the one that counts. */
static int
sort_members (struct store_tar *tar, struct vmdk_error *err)
{
  const size_t nr = tar->members.len;
  size_t i;

  tar->sorted = calloc (nr + 1, sizeof (struct member *));
  if (!tar->sorted)
    return fail_memory (err);
  for (i = 0; i < nr; i++)
    tar->sorted[i] = &tar->members.ptr[i];
  qsort (tar->sorted, nr, sizeof (struct member *), compare_members);
  for (i = 1; i < nr; i++)
    if (strcmp (tar->sorted[i - 1]->name, tar->sorted[i]->name) == 0)
      tar->sorted[i - 1]->is_replaced = true;
  return 0;
}

static int
compare_name (const void *key, const void *element)
{
  const struct member *member = *(struct member *const *) element;

  return strcmp (key, member->name);
}

static const struct member *
find_member (const struct store_tar *tar, const char *name)
{
  struct member **found = bsearch (name, tar->sorted, tar->members.len,
                                   sizeof (struct member *), compare_name);

  /* Among equals, any may have been found. */
  while (found && (*found)->is_replaced)
    found++;
  return found ? *found : NULL;
}

/* Why is there no NAME?  OVF packages may cut a file into numbered chunks. */
static void
fail_missing (const struct store_tar *tar, const char *name,
              struct vmdk_error *err)
{
  CLEANUP_FREE char *chunk = NULL;

  if (asprintf (&chunk, "%s.000000000", name) == -1)
    chunk = NULL;
  if (chunk && find_member (tar, chunk))
    fail (err, ERR_UNSUPPORTED,
          "the member is cut into chunks (%s and so on); join them first",
          NAME (chunk));
  else
    fail (err, ERR_MISSING, "no such member in the archive");
}

static bool
has_gzip_name (const char *name)
{
  const size_t len = strlen (name);

  return len > 3 && strcasecmp (name + len - 3, ".gz") == 0;
}

/* OVF allows gzip for its files, and then their names may or may not tell. */
static int
check_member (const struct store_tar *tar, const struct member *member,
              struct vmdk_error *err)
{
  uint8_t magic[2] = { 0, 0 };

  if (member->is_sparse)
    return fail (err, ERR_UNSUPPORTED,
                 "the member is stored as a sparse file; unpack it first");
  if (member->size >= sizeof magic
      && media_pread (tar->archive, magic, sizeof magic, member->offset, err)
           == -1)
    return -1;
  if (has_gzip_name (member->name) || (magic[0] == 0x1f && magic[1] == 0x8b))
    return fail (err, ERR_UNSUPPORTED,
                 "the member is compressed; unpack it first");
  return 0;
}

static struct media *
tar_open (struct store *store, const char *name, enum store_open_flags flags,
          struct vmdk_error *err)
{
  const struct store_tar *tar = (struct store_tar *) store;
  const struct member *member = find_member (tar, name);

  (void) flags;
  if (!member) {
    fail_missing (tar, name, err);
    return NULL;
  }
  if (check_member (tar, member, err) == -1)
    return NULL;
  return media_slice_new (tar->archive, name, member->offset, member->size,
                          err);
}

static int
tar_list (struct store *store,
          int (*visit) (void *opaque, const char *name,
                        struct vmdk_error *err),
          void *opaque, struct vmdk_error *err)
{
  const struct store_tar *tar = (struct store_tar *) store;
  size_t i;

  for (i = 0; i < tar->members.len; i++)
    if (!tar->members.ptr[i].is_replaced
        && visit (opaque, tar->members.ptr[i].name, err) == -1)
      return -1;
  return 0;
}

static void
tar_close (struct store *store)
{
  struct store_tar *tar = (struct store_tar *) store;
  size_t i;

  for (i = 0; i < tar->members.len; i++)
    free (tar->members.ptr[i].name);
  member_list_reset (&tar->members);
  free (tar->sorted);
  media_close (tar->archive);
  free (store->name);
  free (tar);
}

static const struct store_ops tar_ops = {
  .open = tar_open,
  .list = tar_list,
  .close = tar_close,
};

bool
store_tar_probe (struct media *media)
{
  uint8_t header[BLOCK_SIZE];
  struct vmdk_error ignored;
  uint64_t size;

  return media->size >= BLOCK_SIZE
         && media_pread (media, header, sizeof header, 0, &ignored) == 0
         && header[AT_NAME] != '\0' && checksum_is_right (header)
         && size_parse (header + AT_SIZE, SIZE_SIZE, &size);
}

struct store *
store_tar_new (struct media *archive, struct vmdk_error *err)
{
  CLEANUP_STORE struct store *store = NULL;
  struct store_tar *tar = calloc (1, sizeof *tar);
  struct indexer in = { .tar = tar, .records_left = MAX_ALL_RECORDS_SIZE };
  int r;

  if (!tar) {
    media_close (archive);
    fail_memory (err);
    return NULL;
  }
  store = &tar->store;
  store->ops = &tar_ops;
  tar->archive = archive;
  store->name = strdup (archive->name);
  if (!store->name) {
    fail_memory (err);
    return NULL;
  }
  r = index_all (&in, err);
  overrides_reset (&in.next);
  if (r == -1 || sort_members (tar, err) == -1)
    return NULL;
  return steal_ptr (&store);
}
