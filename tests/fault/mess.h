/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks as they are after a while: for tests of operations that tidy up. */

#ifndef VMDKIT_TESTS_MESS_H
#define VMDKIT_TESTS_MESS_H

#include "maintenance.h"
#include "rig.h"

/* Write to a disk that was built: data, zeros that take room, and holes, all
 * over the place.  It is cleanly closed then; its bytes follow.
 */
extern void mess_up (struct built *built, uint64_t seed);

/* The flavour of that name, in a mess. */
extern void build_mess (struct built *built, const char *flavour,
                        uint64_t seed);

/* maintenance_check on a mess of every kind of disk that can be tidied up: OP
 * says its name, what is run, and what must hold afterwards.
 */
extern void mess_check (const struct maintenance *op);

#endif /* VMDKIT_TESTS_MESS_H */
