/* SPDX-License-Identifier: BSD-3-Clause */

/* What the parts of access share; not for others. */

#ifndef VMDKIT_ACCESS_PARTS_H
#define VMDKIT_ACCESS_PARTS_H

#include "access.h"

#define ACCESS_METHOD "RelocateVM_Task"

/* The two calls, in whichever of their forms the server knows. */
extern int access_disable (struct session *session, const struct vim_ref *vm,
                           const char *identity, struct soap_answer *answer,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));
extern int access_enable (struct session *session, const struct vim_ref *vm,
                          const char *identity, struct soap_answer *answer,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* Whether the machine may not be moved, by its properties. */
extern int access_is_held (struct session *session, const struct vim_ref *vm,
                           bool *held, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Whether the machine is being moved right now. */
extern int access_is_moving (struct session *session, const struct vim_ref *vm,
                             bool *moving, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* -1 for a server that is no vCenter. */
extern int access_check_server (struct session *session,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_ACCESS_PARTS_H */
