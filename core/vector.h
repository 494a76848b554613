/* SPDX-License-Identifier: BSD-3-Clause */

/* Growable arrays.
 *
 *   DEFINE_VECTOR (name_list, char *);
 *   CLEANUP... struct name_list names = VECTOR_EMPTY;
 *   if (name_list_append (&names, p) == -1) return fail_memory (err);
 *
 * The vector owns its array, not what the elements point to.
 */

#ifndef VMDKIT_VECTOR_H
#define VMDKIT_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define VECTOR_EMPTY \
  {                  \
    0                \
  }

#define DEFINE_VECTOR(name, type)                                           \
  struct name {                                                             \
    type *ptr;                                                              \
    size_t len, capacity;                                                   \
  };                                                                        \
                                                                            \
  /* Returns -1 when memory cannot be had; the vector is then unchanged. */ \
  static inline int __attribute__ ((unused, warn_unused_result))            \
  name##_append (struct name *v, type element)                              \
  {                                                                         \
    if (v->len == v->capacity) {                                            \
      const size_t more = v->capacity ? v->capacity * 2 : 8;                \
      type *grown;                                                          \
                                                                            \
      if (more > SIZE_MAX / sizeof (type))                                  \
        return -1;                                                          \
      grown = realloc (v->ptr, more * sizeof (type));                       \
      if (!grown)                                                           \
        return -1;                                                          \
      v->ptr = grown;                                                       \
      v->capacity = more;                                                   \
    }                                                                       \
    v->ptr[v->len++] = element;                                             \
    return 0;                                                               \
  }                                                                         \
                                                                            \
  static inline void __attribute__ ((unused)) name##_reset (struct name *v) \
  {                                                                         \
    free (v->ptr);                                                          \
    v->ptr = NULL;                                                          \
    v->len = v->capacity = 0;                                               \
  }

#endif /* VMDKIT_VECTOR_H */
