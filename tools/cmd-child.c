/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit child: an empty link over an existing one.  The work is done in
 * child.h.
 */

#include <config.h>

#include "tool-chain.h"

const struct command command_child = {
  .name = "child",
  .arguments = "PARENT CHILD",
  .min = 2,
  .max = 2,
  .summary = "Make an empty child (redo log) over a disk",
  .options = child_options,
  .check = child_check,
  .run = child_make,
};
