/* SPDX-License-Identifier: BSD-3-Clause */

/* The extent interface: one part of a link, in one of the formats.
 *
 * A link's address space is its extents laid end to end.  Each format is one
 * file, extent-FORMAT.c, and one row in the table of extent.c.  A driver
 * answers one question, map: what lies at this offset?  Reading, block
 * status, copying and checking all follow that answer; nobody else decides
 * what is allocated.
 *
 * All offsets and sizes here are bytes, relative to the extent.
 */

#ifndef VMDKIT_EXTENT_H
#define VMDKIT_EXTENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "descriptor.h"
#include "error.h"
#include "log.h"
#include "media.h"
#include "resources.h"

/* What the caller of disk_open decided, for everyone below. */
struct open_rules {
  struct vmdk_log log;
  struct resources *resources;
  bool accept_journal; /* read a seSparse extent whose journal is dirty */
  bool write_sesparse; /* overwrite the allocated grains of one that is not */
  bool recover_stream; /* scan a stream that lost its directory */
  bool lock;           /* take and honour locks (lock=off clears it) */
};

enum run_state {
  RUN_ABSENT,  /* not in this link: ask the parent; zeros if there is none */
  RUN_HOLE,    /* zeros that take no space, and the parent is not asked */
  RUN_ZERO,    /* zeros because an entry says so; the parent is not asked */
  RUN_DATA,    /* bytes at media_offset of media */
  RUN_PACKED,  /* a compressed grain: extent_read inflates it */
  RUN_DAMAGED, /* cannot be read: extent_read fails and says why.  Block
                  status calls it data, so that no copier skips it. */
};

struct extent;

struct run {
  enum run_state state;
  uint64_t length; /* bytes, at least 1 */

  /* RUN_DATA */
  struct media *media;
  uint64_t media_offset;

  /* RUN_PACKED, RUN_DAMAGED: where extent_read is asked */
  struct extent *extent;
  uint64_t extent_offset;
};

enum map_detail {
  MAP_WHERE, /* runs of DATA are contiguous in their file; flat extents do
                not ask the file system.  For reading. */
  MAP_STATE, /* runs are as long as the state lasts, whatever lies where;
                media and media_offset are not set; holes of flat files are
                found.  For block status. */
};

/* What is seen where an extent that is being written holds nothing: the
 * parent's contents.
 */
struct below {
  /* Read COUNT bytes at OFFSET of the extent, without it.  NULL: there is no
   * parent, so there are zeros.
   */
  int (*read) (void *opaque, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err);
  void *opaque;
};

enum zero_flags {
  ZERO_MAY_FREE = 1, /* space may be given back */
  ZERO_FAST = 2,     /* fail with ENOTSUP rather than write zeros */
  ZERO_ADVICE = 4,   /* a trim: whole grains only, and only if it is cheap */
  ZERO_KEEP = 8,     /* what has space keeps it */
};

struct grain_index;
struct sparse_header;

/* How an extent with grains is laid out, for whoever checks all of it. */
struct extent_layout {
  struct grain_index *index; /* NULL: the extent has lost it */
  const struct sparse_header *header; /* NULL: it has one of another kind */
  uint64_t capacity; /* sectors, as the header says */
  bool unclean;      /* the header says that a crash may have left it so */

  /* Where it says so, and how many bytes are 0 when all is well; 0: it cannot
   * be made to say otherwise.  And where it says (in 32 bits) which sector is
   * the first behind all that is used; 0: nowhere.
   */
  uint64_t unclean_at, unclean_size;
  uint64_t free_sector_at, free_sector;

  /* What of the file the header itself names, in bytes; directories, but not
   * tables.
   */
  struct extent_area {
    const char *name;
    uint64_t offset, length;
  } areas[8];
  size_t nr_areas;

  /* The room of the file that either is named by something or is leaked, in
   * bytes; END 0: nobody can say.
   */
  uint64_t start, end;

  /* What grains begin at multiples of, and from where: bytes. */
  uint64_t unit, base;

  /* Of a format with stored grains of any length: check what is at
   * MEDIA_OFFSET, where the entry of GRAIN leads, but for the contents, and
   * tell how many bytes it takes.  NULL: a grain is a grain.  Such grains
   * may count their sectors from FIRST_LBA on.
   */
  uint64_t first_lba;
  int (*check_grain) (struct extent *extent, uint64_t grain,
                      uint64_t media_offset, uint64_t *length,
                      struct vmdk_error *err);
};

struct extent_ops {
  const char *name; /* "sparse", for messages */

  /* Describe the extent.  NULL: there is nothing to say of it. */
  void (*layout) (struct extent *extent, struct extent_layout *layout);

  /* Describe the run that starts at OFFSET, at most COUNT bytes.  The range
   * lies within the extent and is not empty.  Damage is a state, not an
   * error; -1 means that memory or a lock could not be had.  May give a run
   * that ends before its state does (callers merge).
   */
  int (*map) (struct extent *extent, uint64_t offset, uint64_t count,
              enum map_detail detail, struct run *run, struct vmdk_error *err);

  /* Read COUNT bytes at OFFSET, all within one run that map called PACKED or
   * DAMAGED.  NULL when the driver has no such runs.
   */
  int (*read) (struct extent *extent, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err);

  /* A hint that the range, one run of state PACKED, will be read soon. */
  void (*readahead) (struct extent *extent, uint64_t offset, uint64_t count);

  /* Refuse what write (then BELOW is NULL, and FLAGS 0) or zero would refuse
   * for what the extent holds, before a request changes anything.  NULL:
   * nothing is refused.
   */
  int (*check) (struct extent *extent, uint64_t count, uint64_t offset,
                unsigned flags, const struct below *below,
                struct vmdk_error *err);

  /* For an extent that was opened writable; NULL where writing is refused,
   * with extent->why_read_only.  All but finish may be called from several
   * threads at once.  The ranges lie within the extent.
   */
  int (*write) (struct extent *extent, const void *buf, size_t count,
                uint64_t offset, const struct below *below,
                struct vmdk_error *err);
  int (*zero) (struct extent *extent, uint64_t count, uint64_t offset,
               unsigned flags, const struct below *below,
               struct vmdk_error *err);

  /* Make durable what was written before the call (a commit: data before the
   * tables that name it).  Never called twice at once for one extent.
   */
  int (*flush) (struct extent *extent, struct vmdk_error *err);

  /* After the last flush: mark as cleanly closed, give back room. */
  int (*finish) (struct extent *extent, struct vmdk_error *err);

  /* Hold off the reuse of freed room while a request reads it.  NULL: there
   * is no such thing.
   */
  void (*use_begin) (struct extent *extent);
  void (*use_end) (struct extent *extent);

  /* Free what the driver holds; the media is closed by extent_close.
   * Accepts a half-built extent.
   */
  void (*close) (struct extent *extent);
};

/* Embedded first in each driver's own struct. */
struct extent {
  const struct extent_ops *ops;
  const struct open_rules *rules; /* borrowed */
  char *name;          /* the file as the descriptor names it; owned */
  struct media *media; /* owned, NULL for ZERO */
  uint64_t size;       /* bytes, as the descriptor's line says */
  uint64_t grain_size; /* bytes; 0 when there are no grains */
  bool can_be_absent;  /* map can answer ABSENT */

  /* Why the extent is not written, of a writable link; NULL: it is. */
  const char *why_read_only;
  struct grain_writer *writer; /* of a written extent with grains */
  struct grain_index *index;   /* of an extent that can have a writer */

  _Atomic unsigned nr_reported;  /* damaged places told to the log */
  _Atomic uint32_t reported[32]; /* which, as a set of hashes */
};

/* What a driver's open is given. */
struct extent_source {
  const struct open_rules *rules; /* borrowed for the extent's life */
  const struct extent_line *line; /* borrowed for the call */
  struct media *media;            /* taken over by open; NULL for ZERO */
  uint64_t disk_offset; /* where the extent starts in its link: producers of
                           split streams number grains from the disk's start */
  bool single;          /* the only extent of its link */
  bool writable;        /* the medium can be written, and shall be */
  bool has_parent;      /* the link is a child */
};

/* Open the extent a descriptor line describes.  The line's access and type
 * have been checked by the link; the format is found by the file's magic.
 * On success the extent owns source->media; on failure the caller still
 * does.
 */
extern struct extent *extent_open (const struct extent_source *source,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* NULL is allowed. */
extern void extent_close (struct extent *extent);
DEFINE_CLEANUP (extent, struct extent *, extent_close)
#define CLEANUP_EXTENT CLEANUP (extent)

extern int extent_map (struct extent *extent, uint64_t offset, uint64_t count,
                       enum map_detail detail, struct run *run,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

extern int extent_read (struct extent *extent, void *buf, size_t count,
                        uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* As the ops; ERR_READ_ONLY, which names the extent and the reason, where
 * writing is refused.
 */
extern int extent_check (struct extent *extent, uint64_t count,
                         uint64_t offset, unsigned flags,
                         const struct below *below, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 6)));
extern int extent_write (struct extent *extent, const void *buf, size_t count,
                         uint64_t offset, const struct below *below,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6)));
extern int extent_zero (struct extent *extent, uint64_t count, uint64_t offset,
                        unsigned flags, const struct below *below,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

/* Another area that a header names; of no length if COUNT is 0. */
static inline void
extent_layout_add (struct extent_layout *layout, const char *name,
                   uint64_t offset, uint64_t count)
{
  if (count > 0)
    layout->areas[layout->nr_areas++] =
      (struct extent_area){ name, offset, count };
}

/* Damage found while reading: prefix err with the extent's name and tell the
 * log, once for each PLACE (a grain's or table's number) and at most
 * a bounded number of times for an extent.  Always returns -1.
 */
extern int extent_damaged (struct extent *extent, uint64_t place,
                           struct vmdk_error *err)
  __attribute__ ((nonnull (1, 3)));

/* For the drivers' constructors below: make the common part, zeroed behind
 * it up to SIZE, the driver's struct.  Every driver calls this first; it
 * takes over source->media, also on failure.
 */
extern void *extent_alloc (size_t size, const struct extent_ops *ops,
                           const struct extent_source *source,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 3, 4)));

extern struct extent *extent_flat_open (const struct extent_source *source,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_zero_open (const struct extent_source *source,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_noaccess_open (const struct extent_source *source,
                                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_sparse_open (const struct extent_source *source,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_stream_open (const struct extent_source *source,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_cowd_open (const struct extent_source *source,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern struct extent *extent_sesparse_open (const struct extent_source *source,
                                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_EXTENT_H */
