/* SPDX-License-Identifier: BSD-3-Clause */

/* Parameters of remote disks.  See remote-parameters.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "error.h"
#include "remote-parameters.h"

/* Password and cookie alike.  nbdkit hands over a part of its own command
 * line, which is where ps reads.
 */
int
remote_read_secret (const char *key, const char *value, char **target)
{
  char *argument = (char *) value;

  if (*target) {
    nbdkit_error ("%s was given more than once", key);
    return -1;
  }
  if (nbdkit_read_password (value, target) == -1)
    return -1;
  if (value[0] != '-' && value[0] != '+')
    memset (argument, 'x', strlen (argument));
  if (**target == '\0') {
    nbdkit_error ("%s is empty", key);
    return -1;
  }
  return 0;
}

int
remote_parse_prepare (const char *value, enum prepare_policy *policy)
{
  static const char *const words[] = { "try", "require", "off" };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp (value, words[i]) == 0) {
      *policy = (enum prepare_policy) i;
      return 0;
    }
  nbdkit_error ("prepare=%s is not require, try or off", NAME (value));
  return -1;
}

/* The vddk plugin's own list, and what is ours alone. */
bool
remote_is_asked_for (const struct parameters *p)
{
  const struct remote_parameters *r = &p->remote;

  return r->server || r->user || r->password || r->cookie || r->vm
         || r->thumbprint || r->port || r->nfc_port || r->cafile || r->wildcard
         || r->snapshot || r->changed_since;
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
  const char *missing = !r->server  ? "server"
                        : !r->vm    ? "vm"
                        : r->cookie ? NULL
                                    : (!r->user       ? "user"
                                       : !r->password ? "password"
                                                      : NULL);

  if (!missing)
    return 0;
  nbdkit_error ("%s= is missing: a disk of a server needs server=, vm=, and "
                "user= with password= (or cookie=)",
                missing);
  return -1;
}

static int
check_what (const struct parameters *p)
{
  const struct remote_parameters *r = &p->remote;
  const bool temporary = r->snapshot && strcmp (r->snapshot, "temporary") == 0;

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
  if (r->quiesce && !temporary) {
    nbdkit_error ("quiesce=true needs snapshot=temporary");
    return -1;
  }
  if (r->insecure && (r->thumbprint || r->cafile)) {
    nbdkit_error ("insecure=true excludes thumbprint= and cafile=");
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

static void
wipe (char **secret)
{
  if (*secret)
    explicit_bzero (*secret, strlen (*secret));
  free (*secret);
  *secret = NULL;
}

void
remote_forget_secrets (struct remote_parameters *r)
{
  wipe (&r->password);
  wipe (&r->cookie);
}

void
remote_parameters_free (struct remote_parameters *r)
{
  char *const texts[] = {
    r->server,      r->user,     r->vm,       r->thumbprint,    r->cafile,
    r->transports,  r->config,   r->libdir,   r->vimapiver,     r->snapshot,
    r->compression, r->identity, r->wildcard, r->changed_since,
  };

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    free (texts[i]);
  remote_forget_secrets (r);
}
