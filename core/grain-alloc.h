/* SPDX-License-Identifier: BSD-3-Clause */

/* Room for new grains in an extent's file.
 *
 * Grains are appended, or take the room of grains that were freed.  Room is
 * obtained from the file system ahead, in steps, so that a table never names
 * space that was not obtained and a full file system is met by the request
 * that needs the space; what is left of the last step is given back at the
 * end.
 *
 * A freed grain passes three stations: grain_alloc_free hears of it;
 * grain_alloc_forgotten says that what forgot it is durable and that nobody
 * reads or writes it any more; then it is punched out of the file and can be
 * handed out again.  Sooner, a crash would bring back an entry that names
 * somebody else's bytes.
 */

#ifndef VMDKIT_GRAIN_ALLOC_H
#define VMDKIT_GRAIN_ALLOC_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "media.h"
#include "vector.h"

DEFINE_VECTOR (grain_places, uint64_t)

struct grain_alloc {
  /* Constant. */
  struct media *media;
  uint64_t grain_size; /* bytes */
  uint64_t limit;      /* bytes: entries cannot name what lies beyond */

  struct {
    pthread_mutex_t lock;
    uint64_t next;              /* where the next grain is appended */
    uint64_t reserved;          /* obtained up to here */
    struct grain_places free;   /* to be handed out, sorted */
    struct grain_places forgot; /* freed, not yet forgotten durably */
  } room;
};

/* NEXT is rounded up to a whole grain. */
extern int grain_alloc_init (struct grain_alloc *alloc, struct media *media,
                             uint64_t grain_size, uint64_t next,
                             uint64_t limit, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 6)));
extern void grain_alloc_destroy (struct grain_alloc *alloc)
  __attribute__ ((nonnull (1)));

/* Get room for at most *nr grains side by side; sets *nr to how many and
 * *offset to where, in bytes.  The room reads as zeros.  ENOSPC when there is
 * none.
 */
extern int grain_alloc_take (struct grain_alloc *alloc, uint64_t *nr,
                             uint64_t *offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* The same for NR grains or none.  More than one are always appended: freed
 * ones seldom lie side by side, and this is for tables, of which there are
 * few.
 */
extern int grain_alloc_take_all (struct grain_alloc *alloc, uint64_t nr,
                                 uint64_t *offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* Room that was taken and not used; no entry ever named it.  What was
 * written there meanwhile is punched out.
 */
extern void grain_alloc_give_back (struct grain_alloc *alloc, uint64_t offset,
                                   uint64_t nr) __attribute__ ((nonnull (1)));

/* A grain that no entry in memory names any more. */
extern void grain_alloc_free (struct grain_alloc *alloc, uint64_t offset)
  __attribute__ ((nonnull (1)));

/* Around a commit: take the grains freed so far; then, if all is durable,
 * recycle them.  The caller made sure that no request that could still use
 * one is in flight.  If not OK they wait for the next commit.
 */
extern struct grain_places grain_alloc_freed (struct grain_alloc *alloc)
  __attribute__ ((nonnull (1)));
extern void grain_alloc_forgotten (struct grain_alloc *alloc,
                                   struct grain_places *places, bool ok)
  __attribute__ ((nonnull (1, 2)));

/* The last grain or table ends at END: what grain_alloc_trim goes by. */
extern void grain_alloc_set_end (struct grain_alloc *alloc, uint64_t end)
  __attribute__ ((nonnull (1)));

/* Cut the file behind the last grain. */
extern int grain_alloc_trim (struct grain_alloc *alloc, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_GRAIN_ALLOC_H */
