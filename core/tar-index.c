/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading the headers of an archive.  See tar-index.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "store.h"
#include "tar-index.h"

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

/* What the headers before a member's own say about it. */
struct overrides {
  char *name; /* owned; NULL: nothing */
  uint64_t size;
  bool has_size, is_sparse;
};

/* The state of reading the index. */
struct indexer {
  struct media *archive;
  struct tar_index *index;
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
  for (i = 0; i < TAR_BLOCK_SIZE; i++) {
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
  if (media_pread (in->archive, text, len, data, err) == -1)
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
  struct tar_member member = { .offset = data,
                               .size = size,
                               .is_sparse = is_sparse };

  if (in->index->members.len == MAX_MEMBERS)
    return fail (err, ERR_CORRUPT, "more than %d members in the archive",
                 MAX_MEMBERS);
  member.name = strdup (store_plain_name (name));
  if (!member.name)
    return fail_memory (err);
  if (tar_member_list_append (&in->index->members, member) == -1) {
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
  uint8_t block[TAR_BLOCK_SIZE];
  bool more = header[AT_OLD_GNU_EXTENDED] != 0;

  while (more) {
    if (++in->nr_headers > MAX_HEADERS)
      return fail (err, ERR_CORRUPT, "more than %d headers in the archive",
                   MAX_HEADERS);
    if (!range_inside (*data, TAR_BLOCK_SIZE, in->archive->size))
      return fail (
        err, ERR_CORRUPT,
        "tar header at byte %" PRIu64
        ": its sparse map runs past the archive's end at byte %" PRIu64,
        in->offset, in->archive->size);
    if (media_pread (in->archive, block, TAR_BLOCK_SIZE, *data, err) == -1)
      return -1;
    *data += TAR_BLOCK_SIZE;
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
  *data = in->offset + TAR_BLOCK_SIZE;
  if (type == 'S' && skip_sparse_maps (in, header, data, err) == -1)
    return -1;
  if (!range_inside (*data, *size, in->archive->size))
    return fail (err, ERR_CORRUPT,
                 "tar header at byte %" PRIu64 ": %" PRIu64
                 " bytes run past the archive's end at byte %" PRIu64,
                 in->offset, *size, in->archive->size);
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
  if (round_up_overflow (data + size, TAR_BLOCK_SIZE, &next))
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
read_header (struct indexer *in, uint8_t header[TAR_BLOCK_SIZE], bool *end,
             struct vmdk_error *err)
{
  struct media *archive = in->archive;
  size_t left = 0;

  if (in->offset < archive->size)
    left = (size_t) min_u64 (archive->size - in->offset, TAR_BLOCK_SIZE);
  memset (header, 0, TAR_BLOCK_SIZE);
  if (media_pread (archive, header, left, left > 0 ? in->offset : 0, err)
      == -1)
    return -1;
  *end = is_zero (header, TAR_BLOCK_SIZE);
  if (*end)
    return 0;
  if (left < TAR_BLOCK_SIZE)
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
  uint8_t header[TAR_BLOCK_SIZE];
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
  const struct tar_member *x = *(struct tar_member *const *) a;
  const struct tar_member *y = *(struct tar_member *const *) b;
  const int r = strcmp (x->name, y->name);

  return r ? r : (x > y) - (x < y);
}

/* The last member of each name is the one that counts. */
static int
sort_members (struct tar_index *index, struct vmdk_error *err)
{
  const size_t nr = index->members.len;
  size_t i;

  index->sorted = calloc (nr + 1, sizeof (struct tar_member *));
  if (!index->sorted)
    return fail_memory (err);
  for (i = 0; i < nr; i++)
    index->sorted[i] = &index->members.ptr[i];
  qsort (index->sorted, nr, sizeof (struct tar_member *), compare_members);
  for (i = 1; i < nr; i++)
    if (strcmp (index->sorted[i - 1]->name, index->sorted[i]->name) == 0)
      index->sorted[i - 1]->is_replaced = true;
  return 0;
}

static int
compare_name (const void *key, const void *element)
{
  const struct tar_member *member = *(struct tar_member *const *) element;

  return strcmp (key, member->name);
}

const struct tar_member *
tar_index_find (const struct tar_index *index, const char *name)
{
  struct tar_member **found =
    bsearch (name, index->sorted, index->members.len,
             sizeof (struct tar_member *), compare_name);

  /* Among equals, any may have been found. */
  while (found && (*found)->is_replaced)
    found++;
  return found ? *found : NULL;
}

void
tar_index_reset (struct tar_index *index)
{
  for (size_t i = 0; i < index->members.len; i++)
    free (index->members.ptr[i].name);
  tar_member_list_reset (&index->members);
  free (index->sorted);
  index->sorted = NULL;
}

bool
tar_header_probe (const uint8_t header[TAR_BLOCK_SIZE])
{
  uint64_t size;

  return header[AT_NAME] != '\0' && checksum_is_right (header)
         && size_parse (header + AT_SIZE, SIZE_SIZE, &size);
}

int
tar_index_read (struct tar_index *index, struct media *archive,
                struct vmdk_error *err)
{
  struct indexer in = { .archive = archive,
                        .index = index,
                        .records_left = MAX_ALL_RECORDS_SIZE };
  int r = index_all (&in, err);

  overrides_reset (&in.next);
  if (r == 0)
    r = sort_members (index, err);
  if (r == -1)
    tar_index_reset (index);
  return r;
}
