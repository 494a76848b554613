/* SPDX-License-Identifier: BSD-3-Clause */

/* Parameters of remote disks.  See remote-parameters.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "cleanup.h"
#include "error.h"
#include "remote-parameters.h"

/* Of what was read elsewhere. */
static void
wipe_free (char *secret)
{
  if (secret)
    explicit_bzero (secret, strlen (secret));
  free (secret);
}
DEFINE_CLEANUP (secret, char *, wipe_free)

/* Password and cookie alike.  nbdkit hands over a part of its own command
 * line, which is where ps reads.
 */
static char *
read_secret (const char *value)
{
  char *secret = NULL;
  char *argument = (char *) value;

  if (nbdkit_read_password (value, &secret) == -1)
    return NULL;
  if (value[0] != '-' && value[0] != '+')
    memset (argument, 'x', strlen (argument));
  return secret;
}

int
remote_parameter_set (struct remote_words *words, const char *key,
                      const char *value)
{
  const enum remote_word_kind kind = remote_word_kind (key);
  CLEANUP (secret) char *own = NULL;
  struct vmdk_error err;

  if (kind == REMOTE_WORD_SECRET && !(own = read_secret (value)))
    return -1;
  /* the server may leave its folder when it goes to the background */
  if (kind == REMOTE_WORD_PATH && *value
      && !(own = nbdkit_absolute_path (value)))
    return -1;
  if (remote_words_set (words, key, own ? own : value, &err) == 0)
    return 0;
  nbdkit_error ("%s", err.text);
  return -1;
}

bool
remote_is_asked_for (const struct parameters *p)
{
  const struct remote_parameters *r = &p->remote;

  return r->words.meant || r->wildcard || r->changed_since;
}

/* A parameter that is about local disks; NULL when there is none. */
static const char *
local_parameter (const struct parameters *p)
{
  return p->dir              ? "dir"
         : p->disk           ? "disk"
         : p->parent         ? "parent"
         : p->overlay        ? "overlay"
         : p->lone_extent    ? "lone-extent"
         : p->write_sesparse ? "write-sesparse"
                             : NULL;
}

static int
check_who (const struct remote_parameters *r)
{
  struct vmdk_error err;

  if (remote_words_check (&r->words, &err) == -1) {
    nbdkit_error ("%s", err.text);
    return -1;
  }
  if (!r->words.settings.vm) {
    nbdkit_error ("vm= is missing: whose disk is it?");
    return -1;
  }
  return 0;
}

static int
check_what (const struct parameters *p)
{
  const struct remote_parameters *r = &p->remote;

  if (p->file && r->wildcard) {
    nbdkit_error ("file= and export= exclude each other");
    return -1;
  }
  if (!p->file && !r->wildcard) {
    nbdkit_error ("which disk?  Say file='[DATASTORE] FOLDER/DISK.vmdk', or "
                  "export= and let clients choose");
    return -1;
  }
  if (p->file && p->file[0] != '[') {
    nbdkit_error ("file=%s is not a path on a datastore: such a one is "
                  "'[DATASTORE] FOLDER/DISK.vmdk'",
                  NAME (p->file));
    return -1;
  }
  return 0;
}

int
remote_check_parameters (const struct parameters *p)
{
  const char *local = local_parameter (p);

  if (local) {
    nbdkit_error ("%s= is for local disks and cannot go with server=", local);
    return -1;
  }
  if (p->create) {
    nbdkit_error ("create=true is for local disks: make a local one, and copy "
                  "it to the server");
    return -1;
  }
  return check_who (&p->remote) == -1 || check_what (p) == -1 ? -1 : 0;
}
