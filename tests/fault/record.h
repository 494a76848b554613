/* SPDX-License-Identifier: BSD-3-Clause */

/* What the store records, shared by store-fault.c and replay.c. */

#ifndef VMDKIT_TESTS_RECORD_H
#define VMDKIT_TESTS_RECORD_H

#include <pthread.h>

#include "content.h"
#include "store-fault.h"
#include "vector.h"

enum op_kind {
  OP_WRITE,  /* of data, or (NULL) zeros: a punch */
  OP_RESIZE, /* to offset */
  OP_FLUSH,
  OP_CREATE, /* also of a second name */
  OP_REMOVE,
  OP_RENAME,
  OP_FLUSH_NAMES,
};

struct op {
  enum op_kind kind;
  unsigned file;
  uint64_t offset, count;
  uint8_t *data;   /* owned */
  char *name, *to; /* owned */
};

DEFINE_VECTOR (op_list, struct op)

/* Files are known by their number; they outlive their names. */
struct file {
  struct content live;
  struct content first; /* when the record began */
};

DEFINE_VECTOR (file_list, struct file *)

struct name_entry {
  char *name; /* owned */
  unsigned file;
};

DEFINE_VECTOR (name_table, struct name_entry)

extern struct name_table names_copy (const struct name_table *from);
extern void names_free (struct name_table *names);

/* Change the table as OP, one of names, does. */
extern void names_apply (struct name_table *names, const struct op *op);

struct fault_store {
  struct store store;
  pthread_mutex_t lock; /* guards all that follows */
  struct file_list files;
  struct name_table names;
  struct name_table first_names; /* when the record began */
  struct op_list ops;
  struct fault fault;
  uint64_t nr_counted, nr_hits;
  bool flush_failed;
  uint64_t limit; /* bytes of a file */
};

/* As store_fault_add.  Takes over CONTENT. */
extern void store_fault_adopt (struct store *store, const char *name,
                               struct content content);

/* A further name of OTHER's file. */
extern void store_fault_adopt_name (struct store *store, const char *name,
                                    const char *other);

#endif /* VMDKIT_TESTS_RECORD_H */
