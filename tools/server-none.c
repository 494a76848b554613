/* SPDX-License-Identifier: BSD-3-Clause */

/* In place of server.c, server-disk.c and server-convert.c where vsphere/ was
 * not built: the words are refused, so nobody comes to the rest.
 */

#include <config.h>

#include <string.h>

#include "server.h"

static int
refuse (void)
{
  struct vmdk_error err;

  fail (&err, ERR_UNSUPPORTED,
        "this vmdkit was built without disks of servers (--with-vsphere, "
        "which needs libcurl, libxml2 and OpenSSL)");
  return tell_failure (NULL, &err);
}

int
server_words_take (const struct command *command, int *argc, const char **argv)
{
  (void) command;
  for (int i = 1; i < *argc && strcmp (argv[i], "--") != 0; i++)
    if (strncmp (argv[i], "server=", 7) == 0)
      return refuse ();
  return -1;
}

bool
server_given (void)
{
  return false;
}

bool
server_has (const char *text)
{
  (void) text;
  return false;
}

bool
server_makes (enum disk_type type)
{
  (void) type;
  return false;
}

int
server_create (const char *text, const struct create_rules *rules,
               struct operation *operation)
{
  (void) operation;
  (void) text;
  (void) rules;
  return refuse ();
}

int
server_grow (const char *text, uint64_t size, struct operation *operation)
{
  (void) text;
  (void) size;
  (void) operation;
  return refuse ();
}

int
server_shrink (const char *text, struct operation *operation)
{
  (void) text;
  (void) operation;
  return refuse ();
}

int
server_defragment (const char *text, struct operation *operation)
{
  (void) text;
  (void) operation;
  return refuse ();
}

int
server_rename (const char *old, const char *new, struct operation *operation)
{
  (void) old;
  (void) new;
  (void) operation;
  return refuse ();
}

int
server_unlink (const char *text, struct operation *operation)
{
  (void) text;
  (void) operation;
  return refuse ();
}

int
server_info (const char *text, struct operation *operation)
{
  (void) operation;
  (void) text;
  return refuse ();
}

int
server_changed (const char *text, const char *since,
                struct operation *operation)
{
  (void) operation;
  (void) text;
  (void) since;
  return refuse ();
}

int
server_access_list (struct operation *operation)
{
  (void) operation;
  return refuse ();
}

int
server_access_release (const char *vm, bool anyone,
                       struct operation *operation)
{
  (void) operation;
  (void) vm;
  (void) anyone;
  return refuse ();
}

int
server_source_open (struct server_source *source, const char *text,
                    struct operation *operation, struct convert_source *from,
                    struct vmdk_error *err)
{
  (void) source;
  (void) text;
  (void) operation;
  (void) from;
  return fail (err, ERR_UNSUPPORTED, "built without disks of servers");
}

void
server_source_close (struct server_source *source)
{
  (void) source;
}

int
server_convert (const struct operation *operation,
                const struct convert_source *from, const char *text,
                const struct convert_rules *rules, struct vmdk_error *err)
{
  (void) operation;
  (void) from;
  (void) text;
  (void) rules;
  return fail (err, ERR_UNSUPPORTED, "built without disks of servers");
}
