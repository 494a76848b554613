/* SPDX-License-Identifier: BSD-3-Clause */

/* What a power cut leaves.  See store-fault.h.
 *
 * For each file the replay keeps what is durable and what is live, and every
 * version that a sector had since the last flush, whole: a write of some
 * bytes changes a sector that the system holds in memory, so later versions
 * contain earlier ones.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "record.h"

struct version {
  uint64_t sector;
  unsigned nr;   /* the sector's 1st, 2nd ... since the flush */
  unsigned size; /* > 0: cut off when the file got this size (an index) */
  bool zero;     /* bytes are not set */
  uint8_t bytes[SECTOR_SIZE];
};

DEFINE_VECTOR (version_list, struct version)
DEFINE_VECTOR (size_list, uint64_t)
DEFINE_VECTOR (count_list, unsigned)

struct replayed {
  struct content durable, live;
  struct version_list versions; /* in their order */
  struct count_list counts;     /* versions of each sector */
  struct size_list sizes;       /* since the flush; [0] is durable's */
};

DEFINE_VECTOR (op_pointers, const struct op *)

struct replay {
  const struct fault_store *store;
  size_t at;
  size_t nr_files;
  struct replayed *files;
  struct name_table names;      /* durable */
  struct op_pointers unflushed; /* of names */
};

static void
must (int r)
{
  if (r == -1)
    abort ();
}

struct replay *
replay_new (struct store *store)
{
  struct replay *replay = calloc (1, sizeof *replay);

  must (replay ? 0 : -1);
  replay->store = (struct fault_store *) store;
  replay->nr_files = replay->store->files.len;
  replay->files = calloc (replay->nr_files, sizeof *replay->files);
  must (replay->files ? 0 : -1);
  for (size_t i = 0; i < replay->nr_files; i++) {
    const struct content *first = &replay->store->files.ptr[i]->first;
    struct replayed *file = &replay->files[i];

    file->durable = content_copy (first);
    file->live = content_copy (first);
    must (size_list_append (&file->sizes, first->size));
  }
  replay->names = names_copy (&replay->store->first_names);
  return replay;
}

void
replay_free (struct replay *replay)
{
  for (size_t i = 0; i < replay->nr_files; i++) {
    struct replayed *file = &replay->files[i];

    content_free (&file->durable);
    content_free (&file->live);
    version_list_reset (&file->versions);
    count_list_reset (&file->counts);
    size_list_reset (&file->sizes);
  }
  free (replay->files);
  names_free (&replay->names);
  op_pointers_reset (&replay->unflushed);
  free (replay);
}

/* -- Going on ----------------------------------------------------------- */

static void
set_size (struct replayed *file, uint64_t size)
{
  if (size != file->sizes.ptr[file->sizes.len - 1])
    must (size_list_append (&file->sizes, size));
}

/* A new version of SECTOR: what is live now. */
static void
add_version (struct replayed *file, uint64_t sector, bool zero, unsigned size)
{
  struct version v = { .sector = sector, .size = size, .zero = zero };
  const uint64_t offset = sectors_to_bytes (sector);

  while (file->counts.len <= sector)
    must (count_list_append (&file->counts, 0));
  v.nr = ++file->counts.ptr[sector];
  if (!zero)
    content_read (&file->live, v.bytes,
                  min_u64 (SECTOR_SIZE, file->live.size - offset), offset);
  must (version_list_append (&file->versions, v));
}

static void
replay_write (struct replayed *file, const struct op *op)
{
  const uint64_t end = op->offset + op->count;

  content_write (&file->live, op->data, op->count, op->offset);
  set_size (file, file->live.size);
  for (uint64_t s = op->offset / SECTOR_SIZE; s * SECTOR_SIZE < end; s++) {
    const bool whole =
      s * SECTOR_SIZE >= op->offset && (s + 1) * SECTOR_SIZE <= end;

    add_version (file, s, !op->data && whole, 0);
  }
}

/* What is cut off becomes zeros; so does the rest of the last sector. */
static void
replay_resize (struct replayed *file, uint64_t size)
{
  const uint64_t before = file->live.size;
  struct content old = content_copy (&file->live);

  content_resize (&file->live, size);
  set_size (file, size);
  if (size % SECTOR_SIZE && size < before)
    add_version (file, size / SECTOR_SIZE, false, file->sizes.len - 1);
  for (uint64_t s = div_round_up (size, SECTOR_SIZE); s * SECTOR_SIZE < before;
       s++)
    if (!content_is_hole (&old, s * SECTOR_SIZE)
        || (s < file->counts.len && file->counts.ptr[s]))
      add_version (file, s, true, file->sizes.len - 1);
  content_free (&old);
}

static void
replay_flush (struct replayed *file)
{
  content_free (&file->durable);
  file->durable = content_copy (&file->live);
  for (size_t i = 0; i < file->versions.len; i++)
    file->counts.ptr[file->versions.ptr[i].sector] = 0;
  file->versions.len = 0;
  file->sizes.len = 0;
  must (size_list_append (&file->sizes, file->live.size));
}

static void
replay_op (struct replay *replay, const struct op *op)
{
  struct replayed *file = &replay->files[op->file];

  switch (op->kind) {
  case OP_WRITE:
    replay_write (file, op);
    break;
  case OP_RESIZE:
    replay_resize (file, op->offset);
    break;
  case OP_FLUSH:
    replay_flush (file);
    break;
  case OP_CREATE:
  case OP_REMOVE:
  case OP_RENAME:
    must (op_pointers_append (&replay->unflushed, op));
    break;
  case OP_FLUSH_NAMES:
    for (size_t i = 0; i < replay->unflushed.len; i++)
      names_apply (&replay->names, replay->unflushed.ptr[i]);
    replay->unflushed.len = 0;
    break;
  }
}

void
replay_to (struct replay *replay, size_t nr_ops)
{
  for (; replay->at < nr_ops; replay->at++)
    replay_op (replay, &replay->store->ops.ptr[replay->at]);
}

bool
replay_has_unflushed (const struct replay *replay)
{
  if (replay->unflushed.len > 0)
    return true;
  for (size_t i = 0; i < replay->nr_files; i++)
    if (replay->files[i].versions.len > 0 || replay->files[i].sizes.len > 1)
      return true;
  return false;
}

/* -- Cutting ------------------------------------------------------------ */

/* The same for the same three numbers; splitmix64's mixing. */
static uint64_t
dice (uint64_t seed, uint64_t a, uint64_t b)
{
  uint64_t x = seed * UINT64_C (0x9e3779b97f4a7c15)
               + a * UINT64_C (0xd1342543de82ef95)
               + b * UINT64_C (0xaf251af3b0f025b5) + 1;

  x = (x ^ x >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C (0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* One of 0 to MOST: often an end, so that long runs are whole or missing. */
static unsigned
choose (uint64_t number, unsigned most)
{
  switch (number % 8) {
  case 0:
  case 1:
    return 0;
  case 2:
  case 3:
    return most;
  default:
    return (number >> 8) % (most + 1);
  }
}

static void
put_version (struct content *content, const struct version *v)
{
  const uint64_t offset = sectors_to_bytes (v->sector);

  if (offset < content->size)
    content_write (content, v->zero ? NULL : v->bytes,
                   min_u64 (SECTOR_SIZE, content->size - offset), offset);
}

/* Each sector gets the version that was chosen, and the cut that belongs to
 * the size.
 */
static struct content
cut_by_sectors (const struct replayed *file, size_t i, uint64_t seed)
{
  const unsigned size =
    choose (dice (seed, i, UINT64_MAX), file->sizes.len - 1);
  struct content content = content_copy (&file->durable);

  content_resize (&content, file->sizes.ptr[size]);
  for (size_t n = 0; n < file->versions.len; n++) {
    const struct version *v = &file->versions.ptr[n];
    const unsigned chosen =
      choose (dice (seed, i, v->sector), file->counts.ptr[v->sector]);

    if (v->nr == chosen || (v->size > 0 && v->size <= size))
      put_version (&content, v);
  }
  return content;
}

static struct content
cut_file (const struct replayed *file, size_t i, enum power_cut cut,
          uint64_t seed)
{
  switch (cut) {
  case CUT_LOSES_ALL:
    return content_copy (&file->durable);
  case CUT_KEEPS_ALL:
    return content_copy (&file->live);
  case CUT_BY_SECTORS:
    return cut_by_sectors (file, i, seed);
  case CUT_BY_FILES:
    return content_copy (dice (seed, i, 1) % 2 ? &file->live : &file->durable);
  }
  abort ();
}

static size_t
cut_names (const struct replay *replay, enum power_cut cut, uint64_t seed)
{
  switch (cut) {
  case CUT_LOSES_ALL:
    return 0;
  case CUT_KEEPS_ALL:
    return replay->unflushed.len;
  default:
    return dice (seed, UINT64_MAX, 0) % (replay->unflushed.len + 1);
  }
}

/* A name before the I-th for the same file, or NULL. */
static const char *
earlier_name (const struct name_table *names, size_t i)
{
  for (size_t j = 0; j < i; j++)
    if (names->ptr[j].file == names->ptr[i].file)
      return names->ptr[j].name;
  return NULL;
}

struct store *
replay_cut (const struct replay *replay, enum power_cut cut, uint64_t seed)
{
  struct store *store = store_fault_new ();
  struct name_table names = names_copy (&replay->names);
  const size_t nr = cut_names (replay, cut, seed);

  for (size_t i = 0; i < nr; i++)
    names_apply (&names, replay->unflushed.ptr[i]);
  for (size_t i = 0; i < names.len; i++) {
    const unsigned file = names.ptr[i].file;
    const char *other = earlier_name (&names, i);

    if (other)
      store_fault_adopt_name (store, names.ptr[i].name, other);
    else
      store_fault_adopt (store, names.ptr[i].name,
                         cut_file (&replay->files[file], file, cut, seed));
  }
  names_free (&names);
  return store;
}
