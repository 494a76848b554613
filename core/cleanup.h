/* SPDX-License-Identifier: BSD-3-Clause */

/* Scoped cleanup with GCC's and Clang's cleanup attribute.
 *
 * Initialise at the declaration; hand ownership on with steal_ptr.  Every
 * cleanup preserves errno.  A close that can lose data is an explicit call
 * with an error, never a cleanup.
 */

#ifndef VMDKIT_CLEANUP_H
#define VMDKIT_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Return *PP and leave NULL behind. */
#define steal_ptr(pp)                   \
  __extension__({                       \
    __typeof__ (*(pp)) stolen_ = *(pp); \
    *(pp) = NULL;                       \
    stolen_;                            \
  })

/* Define cleanup_NAME for a type that FREE_FUNCTION takes by pointer. */
#define DEFINE_CLEANUP(name, type, free_function) \
  static inline void cleanup_##name (type *pp)    \
  {                                               \
    if (*pp) {                                    \
      const int saved_ = errno;                   \
      free_function (*pp);                        \
      errno = saved_;                             \
    }                                             \
  }

#define CLEANUP(name) __attribute__ ((cleanup (cleanup_##name)))

static inline void
cleanup_free (void *pp)
{
  const int saved = errno;

  free (*(void **) pp);
  errno = saved;
}
#define CLEANUP_FREE CLEANUP (free)

/* A lock held to the end of the enclosing braces. */
static inline void
cleanup_unlock (pthread_mutex_t **mutex)
{
  pthread_mutex_unlock (*mutex);
}
#define LOCK_JOIN_(a, b) a##b
#define LOCK_NAME_(line) LOCK_JOIN_ (lock_at_line_, line)
#define LOCK_FOR_SCOPE(mutex)                                        \
  CLEANUP (unlock) pthread_mutex_t *LOCK_NAME_ (__LINE__) = (mutex); \
  pthread_mutex_lock (LOCK_NAME_ (__LINE__))

#endif /* VMDKIT_CLEANUP_H */
