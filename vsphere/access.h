/* SPDX-License-Identifier: BSD-3-Clause */

/* Keeping a virtual machine where it is while its disks are open.
 *
 * Before the first disk of a machine is opened (and before a snapshot of it is
 * taken), a vCenter is told to refuse RelocateVM_Task for it; after the last
 * one is closed (and the snapshot removed) it is told to allow it again.
 *
 *  1. All that is open in one process shares one entry at the vCenter: it is
 *     made by the first, and taken back by the last.
 *  2. An entry has an identity.  Only entries with ours are taken back, and
 *     only those that we made.  One that was there before, with the same
 *     identity, is of a process that was killed or of one that runs beside
 *     us: it protects us as well, and stays (unless `takeover`).
 *  3. vCenter stores entries: they survive our end.  What a killed process
 *     left is found with access_list and taken back with access_release.
 *  4. A host alone (no vCenter) has no such thing, and is not asked.
 *
 * What cannot be done is an error with ACCESS_REQUIRE, and said once with
 * ACCESS_TRY.
 */

#ifndef VMDKIT_ACCESS_H
#define VMDKIT_ACCESS_H

#include "session.h"

enum access_policy {
  ACCESS_TRY, /* the default */
  ACCESS_REQUIRE,
  ACCESS_OFF,
};

#define ACCESS_IDENTITY_CHARACTERS 50
#define ACCESS_IDENTITY_SIZE (4 * ACCESS_IDENTITY_CHARACTERS + 1)

struct access_settings {
  enum access_policy policy;
  const char *identity; /* NULL: "vmdkit:HOST:VM" */
  bool takeover;        /* an entry with our identity becomes ours */

  /* How long to wait while the machine is being moved, and, with
   * ACCESS_REQUIRE, while another program has disabled the method.
   */
  unsigned wait_seconds;
  unsigned pause_ms; /* between two looks; 0: 10 seconds */

  /* Asked while waiting; true ends it.  May be NULL. */
  bool (*stopped) (void *opaque);
  void *opaque;
};

#define ACCESS_DEFAULTS      \
  {                          \
    .wait_seconds = 10 * 60, \
  }

struct access;

/* *ACCESS is NULL where nothing is held (and nothing has to be ended).  The
 * session must outlive it.
 */
extern int access_prepare (struct session *session, const struct vim_ref *vm,
                           const struct access_settings *settings,
                           struct access **access, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

/* Give it back, and free *ACCESS (NULL is nothing).  An error says how to free
 * the machine by hand; until access_forget_left the entry is remembered as
 * ours, by whoever prepares next and by access_end_left.
 */
extern int access_end (struct access *access, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* Take back at this session's server what could not be before; the first
 * failure is an error as that of access_end.
 */
extern int access_end_left (struct session *session, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

extern bool access_is_left (void);

/* The process is to end: nobody will come back for what is left. */
extern void access_forget_left (void);

/* Machines that may not be moved now.  The server does not say by whom: it
 * may be a backup, or only the machine's state.
 */
extern int access_list (struct session *session,
                        int (*each) (void *opaque, const struct vim_ref *vm,
                                     const char *name, struct vmdk_error *err),
                        void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* Take back an entry of IDENTITY, or of anyone when it is NULL (which may
 * end another program's protection).  *HELD says whether the machine may
 * still not be moved.
 */
extern int access_release (struct session *session, const struct vim_ref *vm,
                           const char *identity, bool *held,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* The identity that is used where none is given. */
extern void access_identity (char identity[ACCESS_IDENTITY_SIZE],
                             const struct vim_ref *vm)
  __attribute__ ((nonnull (1, 2)));

#endif /* VMDKIT_ACCESS_H */
