/* SPDX-License-Identifier: BSD-3-Clause */

/* The public face.  See disk.h, which also holds the locking rules.
 *
 * A read follows the chain's runs.  Runs that are neighbours in the same
 * file and in the request become one read of that file, straight into the
 * caller's buffer, whatever the grain size.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "commit.h"
#include "disk.h"
#include "vector.h"

struct disk {
  struct chain *chain;

  /* For a writable disk. */
  struct link *top;
  struct committer *committer; /* NULL: read-only */
  enum detect_zeroes detect_zeroes;
};

/* What the committer calls: see commit.h. */
static int
commit_extents (void *opaque, struct vmdk_error *err)
{
  struct disk *disk = opaque;

  for (size_t i = 0; i < disk->top->nr_extents; i++) {
    struct extent *extent = disk->top->extents[i];

    if (extent->ops->flush && !extent->why_read_only
        && extent->ops->flush (extent, err) == -1)
      return fail_prefix (err, "%s", NAME (extent->name));
  }
  return 0;
}

struct disk *
disk_open (struct store *store, const char *name, enum store_open_flags flags,
           const struct chain_rules *rules, struct vmdk_error *err)
{
  CLEANUP_DISK struct disk *disk = calloc (1, sizeof *disk);

  if (!disk) {
    fail_memory (err);
    return NULL;
  }
  disk->chain = chain_open (store, name, flags, rules, err);
  if (!disk->chain)
    return NULL;
  if (rules->writable) {
    disk->top = chain_link (disk->chain, 0);
    disk->detect_zeroes = rules->detect_zeroes;
    disk->committer =
      committer_new (commit_extents, disk, &rules->open.log, err);
    if (!disk->committer)
      return NULL;
  }
  return steal_ptr (&disk);
}

void
disk_close (struct disk *disk)
{
  if (!disk)
    return;
  committer_free (disk->committer); /* before what it commits */
  chain_close (disk->chain);
  free (disk);
}

uint64_t
disk_size (const struct disk *disk)
{
  return chain_size (disk->chain);
}

uint64_t
disk_grain_size (const struct disk *disk)
{
  return link_grain_size (chain_link (disk->chain, 0));
}

struct chain *
disk_chain (struct disk *disk)
{
  return disk->chain;
}

void
disk_describe (const struct disk *disk, char *text, size_t size)
{
  const struct descriptor *top = chain_link (disk->chain, 0)->descriptor;
  const size_t n = chain_nr_links (disk->chain);
  const char *type = descriptor_create_type (top);
  char raw[256];

  snprintf (raw, sizeof raw, "%.64s, %zu link%s, %" PRIu64 " bytes",
            *type ? type : "VMDK", n, n == 1 ? "" : "s", disk_size (disk));
  text_escape (text, size, raw);
}

/* -- Reading ------------------------------------------------------------ */

/* A read of a file that may still grow at its end. */
struct pending {
  struct media *media; /* NULL: nothing is pending */
  uint64_t offset;
  size_t count;
  uint8_t *buf;
};

static int
read_pending (struct pending *p, struct vmdk_error *err)
{
  struct media *media = p->media;

  p->media = NULL;
  if (!media || media_pread (media, p->buf, p->count, p->offset, err) == 0)
    return 0;
  return fail_prefix (err, "%s", NAME (media->name));
}

/* Add a run of data that goes to BUF. */
static int
pend (struct pending *p, const struct run *run, uint8_t *buf,
      struct vmdk_error *err)
{
  if (p->media == run->media && p->offset + p->count == run->media_offset
      && p->buf + p->count == buf) {
    p->count += run->length;
    return 0;
  }
  if (read_pending (p, err) == -1)
    return -1;
  *p = (struct pending){ run->media, run->media_offset, run->length, buf };
  return 0;
}

static int
read_run (struct pending *p, const struct run *run, uint8_t *buf,
          struct vmdk_error *err)
{
  switch (run->state) {
  case RUN_DATA:
    return pend (p, run, buf, err);
  case RUN_PACKED:
  case RUN_DAMAGED:
    return extent_read (run->extent, buf, run->length, run->extent_offset,
                        err);
  case RUN_ABSENT:
  case RUN_HOLE:
  case RUN_ZERO:
    memset (buf, 0, run->length);
    return 0;
  }
  return fail (err, ERR_SYSTEM, "run of unknown state %d", (int) run->state);
}

/* Freed room of a link that is being written must not be used again while a
 * request reads it.
 */
static void
use_extents (struct disk *disk, uint64_t offset, uint64_t count, bool begin)
{
  const struct link *top = disk->top;

  if (!top || count == 0)
    return;
  for (size_t i = link_find_extent (top, offset);
       i < top->nr_extents && top->starts[i] < offset + count; i++) {
    struct extent *extent = top->extents[i];

    if (extent->why_read_only || !extent->ops->use_begin)
      continue;
    if (begin)
      extent->ops->use_begin (extent);
    else
      extent->ops->use_end (extent);
  }
}

int
disk_read (struct disk *disk, void *buf, size_t count, uint64_t offset,
           struct vmdk_error *err)
{
  uint8_t *to = buf;
  struct pending pending = { 0 };
  struct chain_walk walk;
  struct run run;
  int r;

  if (!range_inside (offset, count, disk_size (disk)))
    return fail (err, ERR_ARGUMENT,
                 "read of %zu bytes at %" PRIu64
                 " is beyond the disk's %" PRIu64 " bytes",
                 count, offset, disk_size (disk));

  use_extents (disk, offset, count, true);
  chain_walk_start (&walk, disk->chain, offset, count, MAP_WHERE);
  while ((r = chain_walk_next (&walk, &run, err)) == 0 && run.length > 0) {
    r = read_run (&pending, &run, to, err);
    if (r == -1)
      break;
    to += run.length;
  }
  if (r == 0)
    r = read_pending (&pending, err);
  chain_walk_finish (&walk);
  use_extents (disk, offset, count, false);
  return r;
}

int
disk_readahead (struct disk *disk, uint64_t offset, uint64_t count,
                struct vmdk_error *err)
{
  struct chain_walk walk;
  struct run run;
  int r;

  if (!range_inside (offset, count, disk_size (disk)))
    return fail (err, ERR_ARGUMENT, "range is beyond the disk's end");
  chain_walk_start (&walk, disk->chain, offset, count, MAP_WHERE);
  while ((r = chain_walk_next (&walk, &run, err)) == 0 && run.length > 0) {
    if (run.state == RUN_DATA)
      media_readahead (run.media, run.media_offset, run.length);
    else if (run.state == RUN_PACKED && run.extent->ops->readahead)
      run.extent->ops->readahead (run.extent, run.extent_offset, run.length);
  }
  chain_walk_finish (&walk);
  return r;
}

/* -- Writing ------------------------------------------------------------ */

/* Where an extent lies in the disk, for what is below it. */
struct below_extent {
  struct chain *chain;
  uint64_t start;
};

static int
read_below (void *opaque, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  const struct below_extent *where = opaque;

  return chain_read_below (where->chain, buf, count, where->start + offset,
                           err);
}

/* What a request does to its part in one extent; BUF is where that part's
 * bytes are, if there are any.
 */
struct change {
  int (*apply) (const struct change *change, struct extent *extent,
                const uint8_t *buf, uint64_t count, uint64_t offset,
                const struct below *below, struct vmdk_error *err);
  const uint8_t *buf;
  unsigned flags;
};

static int
apply_check (const struct change *change, struct extent *extent,
             const uint8_t *buf, uint64_t count, uint64_t offset,
             const struct below *below, struct vmdk_error *err)
{
  return extent_check (extent, count, offset, change->flags,
                       buf ? NULL : below, err);
}

static int
apply_write (const struct change *change, struct extent *extent,
             const uint8_t *buf, uint64_t count, uint64_t offset,
             const struct below *below, struct vmdk_error *err)
{
  (void) change;
  return extent_write (extent, buf, count, offset, below, err);
}

static int
apply_zero (const struct change *change, struct extent *extent,
            const uint8_t *buf, uint64_t count, uint64_t offset,
            const struct below *below, struct vmdk_error *err)
{
  (void) buf;
  return extent_zero (extent, count, offset, change->flags, below, err);
}

static int
change_extents (struct disk *disk, const struct change *change, uint64_t count,
                uint64_t offset, struct vmdk_error *err)
{
  const struct link *top = disk->top;
  const uint8_t *buf = change->buf;

  while (count > 0) {
    const size_t i = link_find_extent (top, offset);
    const uint64_t n = min_u64 (count, top->starts[i + 1] - offset);
    struct below_extent where = { disk->chain, top->starts[i] };
    const struct below below = {
      .read = chain_nr_links (disk->chain) > 1 ? read_below : NULL,
      .opaque = &where,
    };

    if (change->apply (change, top->extents[i], buf, n,
                       offset - top->starts[i], &below, err)
        == -1)
      return -1;
    if (buf)
      buf += n;
    offset += n;
    count -= n;
  }
  return 0;
}

/* What is refused changes nothing, not even the content ID. */
static int
change (struct disk *disk, const struct change *what, uint64_t count,
        uint64_t offset, struct vmdk_error *err)
{
  const struct change check = {
    .apply = apply_check,
    .buf = what->buf,
    .flags = what->flags,
  };
  int r;

  if (!disk->committer)
    return fail (err, ERR_READ_ONLY, "the disk was opened read-only");
  if (!range_inside (offset, count, disk_size (disk)))
    return fail (err, ERR_ARGUMENT,
                 "write of %" PRIu64 " bytes at %" PRIu64
                 " is beyond the disk's %" PRIu64 " bytes",
                 count, offset, disk_size (disk));
  if (count == 0)
    return 0;
  if (change_extents (disk, &check, count, offset, err) == -1
      || link_begin_changes (disk->top, err) == -1)
    return -1;
  r = change_extents (disk, what, count, offset, err);
  committer_note (disk->committer);
  return r;
}

static int
write_plainly (struct disk *disk, const void *buf, size_t count,
               uint64_t offset, struct vmdk_error *err)
{
  const struct change write = { .apply = apply_write, .buf = buf };

  return change (disk, &write, count, offset, err);
}

/* How many bytes from BUF on are alike, as to being zero, in whole units. */
static size_t
alike (const uint8_t *buf, size_t count, uint64_t offset, uint64_t unit,
       bool *zero)
{
  size_t n = min_u64 (count, unit - offset % unit);

  *zero = bytes_are_zero (buf, n);
  while (n < count) {
    const size_t more = min_u64 (count - n, unit);

    if (bytes_are_zero (buf + n, more) != *zero)
      break;
    n += more;
  }
  return n;
}

/* Zeros are looked for by the grain: less saves nothing. */
#define DETECT_UNIT 65536

int
disk_write (struct disk *disk, const void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  const uint64_t grain = disk_grain_size (disk);
  const uint64_t unit = grain ? grain : DETECT_UNIT;
  const uint8_t *from = buf;

  if (disk->detect_zeroes == DETECT_OFF)
    return write_plainly (disk, buf, count, offset, err);
  while (count > 0) {
    bool zero;
    const size_t n = alike (from, count, offset, unit, &zero);
    const int r =
      zero ? disk_zero (
        disk, n, offset,
        disk->detect_zeroes == DETECT_UNMAP ? DISK_ZERO_MAY_FREE : 0, err)
           : write_plainly (disk, from, n, offset, err);

    if (r == -1)
      return -1;
    from += n;
    offset += n;
    count -= n;
  }
  return 0;
}

int
disk_zero (struct disk *disk, uint64_t count, uint64_t offset, unsigned flags,
           struct vmdk_error *err)
{
  const struct change zero = {
    .apply = apply_zero,
    .flags = (flags & DISK_ZERO_MAY_FREE ? ZERO_MAY_FREE : 0)
             | (flags & DISK_ZERO_FAST ? ZERO_FAST : 0)
             | (flags & DISK_ZERO_KEEP ? ZERO_KEEP : 0),
  };

  return change (disk, &zero, count, offset, err);
}

int
disk_trim (struct disk *disk, uint64_t count, uint64_t offset,
           struct vmdk_error *err)
{
  const struct change trim = {
    .apply = apply_zero,
    .flags = ZERO_MAY_FREE | ZERO_ADVICE,
  };

  return change (disk, &trim, count, offset, err);
}

int
disk_flush (struct disk *disk, struct vmdk_error *err)
{
  return disk->committer ? committer_flush (disk->committer, err) : 0;
}

int
disk_finish (struct disk *disk, struct vmdk_error *err)
{
  if (disk_flush (disk, err) == -1)
    return -1;
  if (disk->committer && link_is_stale (disk->top))
    return 0; /* it is cleaned at the next open */
  for (size_t i = 0; disk->committer && i < disk->top->nr_extents; i++) {
    struct extent *extent = disk->top->extents[i];

    if (extent->ops->finish && !extent->why_read_only
        && extent->ops->finish (extent, err) == -1)
      return fail_prefix (err, "%s", NAME (extent->name));
  }
  return 0;
}

/* -- Block status ------------------------------------------------------- */

static struct disk_piece
piece_of (const struct run *run, uint64_t offset)
{
  const bool hole = run->state == RUN_HOLE || run->state == RUN_ABSENT;

  return (struct disk_piece){
    .offset = offset,
    .length = run->length,
    .hole = hole,
    .zero = hole || run->state == RUN_ZERO,
  };
}

int
disk_map (struct disk *disk, uint64_t offset, uint64_t count,
          bool (*emit) (void *opaque, const struct disk_piece *piece),
          void *opaque, struct vmdk_error *err)
{
  struct disk_piece last = { .offset = offset };
  struct chain_walk walk;
  struct run run;
  int r;

  if (!range_inside (offset, count, disk_size (disk)))
    return fail (err, ERR_ARGUMENT,
                 "map of %" PRIu64 " bytes at %" PRIu64
                 " is beyond the disk's %" PRIu64 " bytes",
                 count, offset, disk_size (disk));

  use_extents (disk, offset, count, true);
  chain_walk_start (&walk, disk->chain, offset, count, MAP_STATE);
  while ((r = chain_walk_next (&walk, &run, err)) == 0 && run.length > 0) {
    const struct disk_piece piece = piece_of (&run, last.offset + last.length);

    if (last.length > 0 && piece.hole == last.hole && piece.zero == last.zero)
      last.length += piece.length;
    else {
      if (last.length > 0 && !emit (opaque, &last)) {
        last.length = 0;
        break;
      }
      last = piece;
    }
  }
  if (r == 0 && last.length > 0)
    emit (opaque, &last);
  chain_walk_finish (&walk);
  use_extents (disk, offset, count, false);
  return r;
}

/* -- Listing ------------------------------------------------------------ */

DEFINE_VECTOR (name_list, char *)

struct listing {
  struct store *store;
  struct name_list names;
};

/* Folders of strangers can be large; a listing is for people and clients. */
#define MAX_LISTED 10000

static int
visit_name (void *opaque, const char *name, struct vmdk_error *err)
{
  struct listing *listing = opaque;
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *media = NULL;
  char *copy;

  if (listing->names.len >= MAX_LISTED)
    return fail (err, ERR_ARGUMENT, "%s: more than %d disks",
                 NAME (listing->store->name), MAX_LISTED);
  media = store_open (listing->store, name, STORE_FROM_FILE, &ignored);
  if (!media || !link_probe (media))
    return 0;
  copy = strdup (name);
  if (!copy || name_list_append (&listing->names, copy) == -1) {
    free (copy);
    return fail_memory (err);
  }
  return 0;
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

int
disk_list (struct store *store, char ***names, size_t *count,
           struct vmdk_error *err)
{
  struct listing listing = { .store = store };

  if (store_list (store, visit_name, &listing, err) == -1) {
    disk_list_free (listing.names.ptr, listing.names.len);
    return -1;
  }
  if (store->ops->folder) /* an archive has an order of its own */
    qsort (listing.names.ptr, listing.names.len, sizeof (char *),
           compare_names);
  *names = listing.names.ptr;
  *count = listing.names.len;
  return 0;
}

void
disk_list_free (char **names, size_t count)
{
  for (size_t i = 0; i < count; i++)
    free (names[i]);
  free (names);
}
