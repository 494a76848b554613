/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands on children and parents share. */

#ifndef VMDKIT_TOOL_CHAIN_H
#define VMDKIT_TOOL_CHAIN_H

#include "rebase.h"
#include "tool.h"

/* What commands that make a child are: see struct command.  child_make makes
 * the second argument over the first, and says so.
 */
extern const struct poptOption child_options[];
extern int child_check (const char **arguments);
extern int child_make (const char **arguments, struct operation *operation);

/* A child and the parent that it is to have. */
struct pair {
  struct place child, parent;
  char *hint;                   /* owned */
  struct new_parent new_parent; /* borrows */
};

/* PARENT NULL: only the child.  A failure has been told. */
extern int pair_find (struct pair *pair, const char *child,
                      const char *parent);
extern void pair_free (struct pair *pair);

/* CHILD has a parent of the name HINT now: if that is in another folder, say
 * what it takes to read it.
 */
extern void tell_outside (const char *child, const char *hint);
#define CLEANUP_PAIR __attribute__ ((cleanup (pair_free)))

#endif /* VMDKIT_TOOL_CHAIN_H */
