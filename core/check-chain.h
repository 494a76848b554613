/* SPDX-License-Identifier: BSD-3-Clause */

/* Why do a child and its parent not belong together?
 *
 * A child names the content ID that its parent had when the child was made;
 * the parent gets another when it is written.  So a child whose parent has
 * another ID may read as a mixture of old and new.  What has happened can
 * only be guessed at, by the times of the files and by who else has the ID;
 * the operator decides.
 */

#ifndef VMDKIT_CHECK_CHAIN_H
#define VMDKIT_CHECK_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "error.h"
#include "operation.h"
#include "store.h"

enum chain_break_cause {
  BREAK_COMMITTED,    /* a commit of the child into the parent was stopped */
  BREAK_PARENT_NEWER, /* the parent was written after the child */
  BREAK_CHILD_NEWER,  /* the child was, so the parent's ID may be all that
                         is new of it */
  BREAK_UNKNOWN,      /* the times do not tell */
};

/* What a name is is in the child's folder, or a path. */
struct chain_break {
  const char *child, *parent;
  uint32_t wanted; /* the ID that the child names */
  bool has_cid;    /* whether the parent has one: */
  uint32_t cid;
  enum chain_break_cause cause;
  int64_t child_time, parent_time; /* as options->modified says, -1: unknown */
  const char *other; /* a disk in the child's folder with the wanted ID */
  enum check_mending mending;
};

struct chain_options {
  bool repair; /* make the first link name the ID that its parent has */
  bool force;  /* also if the parent was written after the child */

  /* When NAME in STORE was changed, in seconds; -1: unknown.  May be NULL. */
  int64_t (*modified) (void *opaque, const struct store *store,
                       const char *name);

  void (*found) (void *opaque, const struct chain_break *found);
  void *opaque;
};

/* Look at the links of the disk NAME; result->nr_errors counts the breaks.  A
 * repair is told in result->backup, from which it can be undone (repair.h).
 * Fails when the chain ends before its base.
 */
extern int disk_check_chain (struct store *store, const char *name,
                             enum store_open_flags flags,
                             const struct operation *operation,
                             const struct chain_options *options,
                             struct check_result *result,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6, 7)));

#endif /* VMDKIT_CHECK_CHAIN_H */
