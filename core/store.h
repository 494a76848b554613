/* SPDX-License-Identifier: BSD-3-Clause */

/* The names interface: where a descriptor's extents and parents are found.
 *
 * A store is one folder: a local directory, the members of a tar archive
 * (OVA), a table in memory, later a folder on a datastore.  The rules for
 * strangers' images (which names are allowed at all) are in link.c; a store
 * makes sure that the name it was given stays inside the folder and opens
 * nothing that could block or act: no symbolic link, FIFO, socket, terminal
 * or /proc file.
 *
 * Error texts here do not repeat the name that the caller gave; he puts it
 * in front.  A store outlives the media opened from it.
 */

#ifndef VMDKIT_STORE_H
#define VMDKIT_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "error.h"
#include "media.h"

struct store;

enum store_open_flags {
  /* A name from a file: a bare name or a path that only goes down, no
   * component of which is "..", empty or a symbolic link; a regular file.
   */
  STORE_FROM_FILE = 0,

  /* The operator wrote this name himself: symbolic links are followed and
   * a block device is allowed.  FIFOs, sockets and the like stay refused.
   */
  STORE_FROM_USER = 1,

  /* To be combined with either: the medium can be written.  ERR_READ_ONLY
   * when the file or its file system cannot be.
   */
  STORE_WRITABLE = 2,
};

struct store_ops {
  /* Open NAME, relative to the folder.  ERR_MISSING when it is not there. */
  struct media *(*open) (struct store *store, const char *name,
                         enum store_open_flags flags, struct vmdk_error *err);

  /* Another folder, PATH being relative to this one or absolute.  Whether
   * that is allowed was decided by the caller.  NULL: there is no other.
   */
  struct store *(*folder) (struct store *store, const char *path,
                           struct vmdk_error *err);

  /* Call VISIT with each name in the folder, in no order.  In a directory
   * these are bare names of entries of any type; in an archive they are its
   * members, in their order, some perhaps with a path.
   * Stops and returns -1 when VISIT does.
   */
  int (*list) (struct store *store,
               int (*visit) (void *opaque, const char *name,
                             struct vmdk_error *err),
               void *opaque, struct vmdk_error *err);

  /* Is another program using NAME exclusively, in a way that only names show
   * (VMware's NAME.lck)?  Sets HOLDER to one printable line about it, or to
   * "".  NULL: no.
   */
  int (*lock_holder) (struct store *store, const char *name, char *holder,
                      size_t holder_size, struct vmdk_error *err);

  /* Make a new, empty, writable file; it must not exist.  NAME obeys the
   * rules of STORE_FROM_FILE.  MODE is the file's permissions before the
   * umask.  errnum is EEXIST when NAME is there already.  This and all that
   * follow but close are NULL in a store that cannot change.
   */
  struct media *(*create) (struct store *store, const char *name,
                           unsigned mode, struct vmdk_error *err);
  int (*remove) (struct store *store, const char *name,
                 struct vmdk_error *err);

  /* FROM takes the place of TO, which may exist, at once. */
  int (*rename) (struct store *store, const char *from, const char *to,
                 struct vmdk_error *err);

  /* A second name for the file NAME, in TO, a store of the same kind; TO_NAME
   * must not exist (errnum is EEXIST).  NULL, or ERR_UNSUPPORTED: cannot.
   */
  int (*link) (struct store *store, const char *name, struct store *to,
               const char *to_name, struct vmdk_error *err);

  /* The file NAME becomes TO_NAME in TO, at once; otherwise as link. */
  int (*move) (struct store *store, const char *name, struct store *to,
               const char *to_name, struct vmdk_error *err);

  /* Make created, removed and renamed names durable. */
  int (*flush) (struct store *store, struct vmdk_error *err);

  void (*close) (struct store *store);
};

/* Embedded first in each implementation. */
struct store {
  const struct store_ops *ops;
  char *name; /* the folder or archive as the user would write it; owned */
};

/* ERR_DENIED when FLAGS is STORE_FROM_FILE and NAME is not inside. */
extern struct media *store_open (struct store *store, const char *name,
                                 enum store_open_flags flags,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* ERR_UNSUPPORTED when there are no other folders. */
extern struct store *store_folder (struct store *store, const char *path,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

extern int store_list (struct store *store,
                       int (*visit) (void *opaque, const char *name,
                                     struct vmdk_error *err),
                       void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* As the ops; ERR_READ_ONLY for a store that cannot change.  To flush such a
 * store is no error.
 */
extern struct media *store_create (struct store *store, const char *name,
                                   unsigned mode, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));
extern int store_remove (struct store *store, const char *name,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));
extern int store_rename (struct store *store, const char *from, const char *to,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern int store_link (struct store *store, const char *name, struct store *to,
                       const char *to_name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));
extern int store_move (struct store *store, const char *name, struct store *to,
                       const char *to_name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));
extern int store_flush (struct store *store, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* HOLDER_SIZE is not 0; some 500 bytes hold any text whole. */
extern int store_lock_holder (struct store *store, const char *name,
                              char *holder, size_t holder_size,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

/* NAME without a leading "./": in the field that means the bare name. */
static inline const char *
store_plain_name (const char *name)
{
  while (name[0] == '.' && name[1] == '/')
    for (name += 2; *name == '/'; name++)
      ;
  return name;
}

/* Whether NAME is a bare name or only goes down: not empty, no control
 * bytes, no backslash or drive letter, no "." or ".." component (a leading
 * "./" is dropped by the caller), not absolute, at most 4096 bytes.
 */
extern bool store_name_is_inside (const char *name)
  __attribute__ ((nonnull (1)));

/* NULL is allowed. */
extern void store_close (struct store *store);
DEFINE_CLEANUP (store, struct store *, store_close)
#define CLEANUP_STORE CLEANUP (store)

/* store-dir.c: a local directory. */
extern struct store *store_dir_new (const char *path, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* store-tar.c: the members of an uncompressed tar archive (OVA).  Takes over
 * ARCHIVE, also on failure.  Reads every header; a malformed one is
 * ERR_CORRUPT.
 */
extern struct store *store_tar_new (struct media *archive,
                                    struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Whether the first bytes of MEDIA are those of an uncompressed tar archive
 * that has members.
 */
extern bool store_tar_probe (struct media *media)
  __attribute__ ((nonnull (1)));

/* store-memory.c: a table of names and bytes, which are copied.  Tests and
 * fuzzing.  Each open of a name gives a new medium over the same bytes; as
 * with files, they live on while such a medium does.
 */
extern struct store *store_memory_new (const char *name,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
/* An older entry of that name is replaced. */
extern int store_memory_add (struct store *store, const char *name,
                             const void *bytes, size_t count,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

#endif /* VMDKIT_STORE_H */
