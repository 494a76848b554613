/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands on children and parents share. */

#ifndef VMDKIT_TOOL_CHAIN_H
#define VMDKIT_TOOL_CHAIN_H

#include "rebase.h"
#include "tool.h"

/* Make CHILD over PARENT, as the options say, and say so.  Returns an exit
 * code.
 */
extern const struct poptOption child_options[];
extern int make_child (const struct command *command, const char *parent,
                       const char *child);

/* A child and the parent that it is to have. */
struct pair {
  struct place child, parent;
  char *hint;                   /* owned */
  struct new_parent new_parent; /* borrows */
};

/* PARENT NULL: only the child.  pair_free also after a failure, which has
 * been told.
 */
extern int pair_find (struct pair *pair, const char *child,
                      const char *parent);
extern void pair_free (struct pair *pair);

#endif /* VMDKIT_TOOL_CHAIN_H */
