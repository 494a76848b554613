/* SPDX-License-Identifier: BSD-3-Clause */

/* Where the bytes of a disk are.  See layout.h. */

#include <config.h>

#include "chain.h"
#include "checked.h"
#include "layout.h"
#include "media.h"

struct layout {
  bool (*emit) (void *opaque, const struct layout_piece *piece);
  void *opaque;
  struct layout_piece last; /* not emitted yet; length 0: none */
  bool stopped;
};

int
layout_hole (const struct extent *extent, uint64_t media_offset,
             uint64_t count, bool *hole, uint64_t *length,
             struct vmdk_error *err)
{
  *hole = false;
  *length = count;
  if (extent->grain_size != 0 || !extent->media)
    return 0;
  return media_map (extent->media, media_offset, count, hole, length, err);
}

static bool
continues (const struct layout_piece *last, const struct layout_piece *next)
{
  return last->length > 0 && last->state == next->state
         && last->link == next->link && last->extent == next->extent
         && (last->state != RUN_DATA
             || last->media_offset + last->length == next->media_offset);
}

static void
emit_last (struct layout *layout)
{
  if (layout->last.length > 0 && !layout->stopped)
    layout->stopped = !layout->emit (layout->opaque, &layout->last);
  layout->last.length = 0;
}

static void
add_piece (struct layout *layout, const struct layout_piece *piece)
{
  if (continues (&layout->last, piece)) {
    layout->last.length += piece->length;
    return;
  }
  emit_last (layout);
  layout->last = *piece;
}

/* A run of data, with the holes that its file has. */
static int
add_data (struct layout *layout, const struct layout_piece *run,
          struct vmdk_error *err)
{
  struct layout_piece piece = *run;
  uint64_t left = run->length;
  bool hole;

  for (; left > 0 && !layout->stopped; left -= piece.length) {
    if (layout_hole (piece.extent, piece.media_offset, left, &hole,
                     &piece.length, err)
        == -1)
      return -1;
    piece.state = hole ? RUN_HOLE : RUN_DATA;
    add_piece (layout, &piece);
    piece.offset += piece.length;
    piece.media_offset += piece.length;
  }
  return 0;
}

static int
add_run (struct layout *layout, struct chain *chain, size_t depth,
         uint64_t offset, const struct run *run, struct vmdk_error *err)
{
  struct layout_piece piece = {
    .offset = offset,
    .length = run->length,
    .state = run->state,
    .media_offset = run->media_offset,
  };

  if (depth < chain_nr_links (chain)) {
    piece.depth = depth;
    piece.link = chain_link (chain, depth);
    piece.extent = piece.link->extents[link_find_extent (piece.link, offset)];
  }
  if (run->state == RUN_DATA)
    return add_data (layout, &piece, err);
  add_piece (layout, &piece);
  return 0;
}

int
disk_layout (struct disk *disk,
             bool (*emit) (void *opaque, const struct layout_piece *piece),
             void *opaque, struct vmdk_error *err)
{
  struct layout layout = { .emit = emit, .opaque = opaque };
  struct chain *chain = disk_chain (disk);
  uint64_t offset = 0;
  struct chain_walk walk;
  struct run run;
  int r;

  chain_walk_start (&walk, chain, 0, disk_size (disk), MAP_WHERE);
  while (!layout.stopped && (r = chain_walk_next (&walk, &run, err)) == 0
         && run.length > 0) {
    r = add_run (&layout, chain, walk.found, offset, &run, err);
    if (r == -1)
      break;
    offset += run.length;
  }
  chain_walk_finish (&walk);
  if (r == 0)
    emit_last (&layout);
  return r;
}
