/* SPDX-License-Identifier: BSD-3-Clause */

/* Blocks of files that are far away.
 *
 * A server that is asked for a few large ranges gives more than one that is
 * asked for many small ones, and several connections give more than one.  So
 * files are fetched in large blocks, by a few threads, and who reads on where
 * he was has the next blocks fetched ahead of him.  The blocks of all files
 * together never take more than the budget.
 *
 *   reader  ->  block wanted  ->  queue  ->  thread: fetch  ->  block ready
 *
 * A block is fetched once however many want it, and is never given out unless
 * it is whole.  What fails, fails for those who were waiting for it; the next
 * who asks tries again.
 */

#ifndef VMDKIT_RANGE_CACHE_H
#define VMDKIT_RANGE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

struct range_cache;
struct range_file;

struct range_cache_settings {
  /* Get exactly COUNT bytes at OFFSET of the file that FILE stands for; called
   * from several threads.
   */
  int (*fetch) (void *file, void *buf, size_t count, uint64_t offset,
                struct vmdk_error *err);

  size_t block_size;   /* 0: 4 MiB */
  size_t budget;       /* 0: 64 MiB; at least four blocks are kept */
  size_t ahead;        /* how far ahead of one reader; 0: 32 MiB */
  unsigned nr_threads; /* 0: 4 */
};

/* Threads are started when they are first needed, so a process may fork
 * before that.
 */
extern struct range_cache *
range_cache_new (const struct range_cache_settings *settings,
                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* No file may be left.  NULL is allowed. */
extern void range_cache_free (struct range_cache *cache);
DEFINE_CLEANUP (range_cache, struct range_cache *, range_cache_free)
#define CLEANUP_RANGE_CACHE CLEANUP (range_cache)

/* A file of SIZE bytes, which FILE stands for when something is fetched. */
extern struct range_file *range_file_new (struct range_cache *cache,
                                          void *file, uint64_t size,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* Nobody may be reading it.  Waits for what is just being fetched.  NULL is
 * allowed.
 */
extern void range_file_free (struct range_file *file);

/* The range lies within the file. */
extern int range_file_read (struct range_file *file, void *buf, size_t count,
                            uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* The range will be read soon; what lies beyond the file's end is nothing. */
extern void range_file_advise (struct range_file *file, uint64_t offset,
                               uint64_t count) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_RANGE_CACHE_H */
