/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks as they are after a while: for tests of operations that tidy up. */

#ifndef VMDKIT_TESTS_MESS_H
#define VMDKIT_TESTS_MESS_H

#include "operation.h"
#include "rig.h"

/* Write to a disk that was built: data, zeros that take room, and holes, all
 * over the place.  It is cleanly closed then; its bytes follow.
 */
extern void mess_up (struct built *built, uint64_t seed);

/* The flavour of that name, in a mess. */
extern void build_mess (struct built *built, const char *flavour,
                        uint64_t seed);

/* What an operation is given; free it. */
extern struct operation *mess_operation (void);
extern void mess_operation_free (struct operation *operation);

#endif /* VMDKIT_TESTS_MESS_H */
