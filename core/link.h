/* SPDX-License-Identifier: BSD-3-Clause */

/* One link: a descriptor and its extents, laid end to end.
 *
 * This room finds the descriptor (its own text file, or embedded in a KDMV
 * file), decides which names in it may be followed, and opens the extents.
 * It knows nothing of parents beyond the descriptor's two keys; chain.c
 * does.
 */

#ifndef VMDKIT_LINK_H
#define VMDKIT_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "descriptor.h"
#include "error.h"
#include "extent.h"
#include "store.h"

/* Which names from descriptors may be followed. */
struct name_rules {
  bool allow_outside; /* extents and parents outside their own folder */

  /* Raw devices and RDM files that the operator allows, as the descriptors
   * write their names.  Borrowed.
   */
  const char *const *devices;
  size_t nr_devices;
};

struct link {
  char *name;          /* the descriptor's name within the store; owned */
  struct store *store; /* borrowed: the folder of names in the descriptor */
  struct descriptor *descriptor;
  struct media_identity identity; /* of the descriptor's file */
  uint64_t size;                  /* bytes */

  /* Extents in the order of their addresses; starts has one more element,
   * the size.
   */
  size_t nr_extents;
  struct extent **extents;
  uint64_t *starts;

  struct media *text; /* a descriptor file of its own: kept open for its
                         lock.  NULL when embedded in extent 0. */

  /* For a writable link. */
  bool writable;
  struct {
    pthread_mutex_t lock;
    bool begun; /* link_begin_changes was called with success */
    uint32_t new_parent_cid; /* to be written with the first change; or 0 */
    uint64_t tail; /* bytes: see embedded_text_replace in link-text.h */
    bool grown;    /* see there */
  } changes;
  const struct open_rules *rules; /* borrowed */

  /* Folders of extents that the operator allowed outside. */
  struct store **stores;
  size_t nr_stores;
};

/* For whoever examines damaged disks (check.h): what is wrong is told, and the
 * rest is opened all the same.  With an inspector a writable link has files
 * that can be written, and are locked so, but its extents are opened for
 * reading.
 */
struct inspector {
  /* Extent I of the link NAME does not open: its place stays NULL. */
  void (*bad_extent) (void *opaque, const char *name, size_t i,
                      const struct vmdk_error *err);

  /* Something is wrong with the link NAME as one of a chain, or with its
   * parent; the chain may end with it.
   */
  void (*bad_chain) (void *opaque, const char *name,
                     const struct vmdk_error *err);
  void *opaque;
};

/* Whether ERR is about the disk, and not about our using it. */
extern bool error_is_about_disk (const struct vmdk_error *err)
  __attribute__ ((nonnull (1)));

struct link_source {
  const struct open_rules *rules; /* borrowed for the link's life */
  const struct name_rules *names; /* borrowed for the call */
  struct store *store;            /* borrowed for the link's life */
  const char *name;
  struct media *media; /* the file NAME, opened; taken over in every case */
  bool lone_extent;    /* NAME is an extent to be read without a descriptor */
  bool writable;       /* MEDIA is, and its extents are to be */
  const struct inspector *inspector; /* NULL: all has to be well */
};

extern struct link *link_open (const struct link_source *source,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* NULL is allowed. */
extern void link_close (struct link *link);
DEFINE_CLEANUP (link, struct link *, link_close)
#define CLEANUP_LINK CLEANUP (link)

/* As extent_map, over the whole link. */
extern int link_map (struct link *link, uint64_t offset, uint64_t count,
                     enum map_detail detail, struct run *run,
                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

/* Set err to why RUN, which link_map called DAMAGED, cannot be read.  For who
 * must know what the link itself holds: reading the range again might find
 * it readable, and would not tell what is absent.  Always returns -1.
 */
extern int link_damage (const struct link *link, const struct run *run,
                        struct vmdk_error *err) __attribute__ ((nonnull));

/* Before the first change of the link's contents: give it a new content ID,
 * so that children which were made on the old contents are noticed, and drop
 * change tracking, which would be wrong from now on.  Durable when it
 * returns; does nothing the second time.
 */
extern int link_begin_changes (struct link *link, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Whether the link is neither written nor finished before it is opened again:
 * its descriptor was replaced in a way that its extents do not know of
 * (link_replace_text in link-text.h).
 */
extern bool link_is_stale (struct link *link) __attribute__ ((nonnull (1)));

/* The extent that holds byte OFFSET of the link. */
extern size_t link_find_extent (const struct link *link, uint64_t offset)
  __attribute__ ((nonnull (1)));

extern bool link_has_parent (const struct link *link)
  __attribute__ ((nonnull (1)));

/* Whether any of it can be absent, so that a parent is of use. */
extern bool link_can_be_absent (const struct link *link)
  __attribute__ ((nonnull (1)));

/* The smallest grain of its extents in bytes; 0 when none has grains. */
extern uint64_t link_grain_size (const struct link *link)
  __attribute__ ((nonnull (1)));

/* Open PATH, a name from a file that is not inside STORE's folder.  *folder
 * becomes the store it was opened from, owned by the caller, to be closed
 * after the medium.  The caller has decided that this is allowed.
 */
extern struct media *link_open_outside (struct store *store, const char *path,
                                        enum store_open_flags flags,
                                        struct store **folder,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* Whether MEDIA is something link_open would take as a disk: a descriptor
 * text, or a KDMV file with a descriptor.  Reads at most 4 KiB.  For listing
 * folders and archives.
 */
extern bool link_probe (struct media *media) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_LINK_H */
