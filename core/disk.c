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

#include "checked.h"
#include "disk.h"
#include "vector.h"

struct disk {
  struct chain *chain;
};

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
  return steal_ptr (&disk);
}

void
disk_close (struct disk *disk)
{
  if (!disk)
    return;
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
  return media ? media_pread (media, p->buf, p->count, p->offset, err) : 0;
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
