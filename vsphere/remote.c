/* SPDX-License-Identifier: BSD-3-Clause */

/* The words of a user, and what is begun and ended with them.  See
 * remote.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nfc-media.h"
#include "nfc-pack.h"
#include "remote-config.h"
#include "remote-parts.h"

/* What letting go of the machine may take: a client, or the end of the
 * process, does not wait long for a server that is gone.
 */
#define HURRY_SECONDS 10

/* --------------------------------------------------------------------- */
/* Words. */

static const char *const names[] = { "nbdssl", "nbd", "https" };

const char *
transport_name (enum transport transport)
{
  return names[transport];
}

/* VMware's library has transports that need its own hosts' help. */
static bool
is_foreign_transport (const char *word)
{
  return strcmp (word, "san") == 0 || strcmp (word, "hotadd") == 0
         || strcmp (word, "file") == 0;
}

static int
add_transport (struct remote *remote, const char *word, struct vmdk_error *err)
{
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp (word, names[i]) != 0)
      continue;
    for (size_t j = 0; j < remote->nr_transports; j++)
      if (remote->transports[j] == (enum transport) i)
        return 0;
    remote->transports[remote->nr_transports++] = (enum transport) i;
    return 0;
  }
  if (is_foreign_transport (word)) {
    log_debug (&remote->log, LOG_OPEN, "transport %s is passed over", word);
    return 0;
  }
  return fail (err, ERR_ARGUMENT,
               "transports: \"%s\" is not nbdssl, nbd or https", NAME (word));
}

static int
parse_transports (struct remote *remote, const char *words,
                  struct vmdk_error *err)
{
  CLEANUP_FREE char *copy = strdup (words ? words : "nbdssl:nbd:https");
  char *rest = copy, *word;

  if (!copy)
    return fail_memory (err);
  while ((word = strsep (&rest, ":")))
    if (*word && add_transport (remote, word, err) == -1)
      return -1;
  if (remote->nr_transports == 0)
    return fail (err, ERR_ARGUMENT,
                 "transports=%s: none of them is served; nbdssl, nbd and "
                 "https are",
                 NAME (words));
  return 0;
}

static int
parse_compression (struct remote *remote, const char *word,
                   struct vmdk_error *err)
{
  if (!word || nfc_compression_parse (&remote->nfc.compression, word) == 0)
    return 0;
  return fail (err, ERR_ARGUMENT,
               "compression=%s is not none, zlib, fastlz or skipz",
               NAME (word));
}

static int
parse_trust (struct remote *remote, const struct remote_settings *s,
             struct vmdk_error *err)
{
  remote->trust.insecure = s->insecure;
  remote->trust.ca_file = remote->ca_file;
  if (s->thumbprint
      && tls_trust_add (&remote->trust, s->thumbprint, err) == -1)
    return -1;
  remote->nfc.trust = remote->trust;
  return 0;
}

static int
copy_text (char **copy, const char *text, struct vmdk_error *err)
{
  if (!text)
    return 0;
  *copy = strdup (text);
  return *copy ? 0 : fail_memory (err);
}

static int
copy_secret (struct secret **copy, const char *text, struct vmdk_error *err)
{
  if (!text)
    return 0;
  *copy = secret_new (text);
  return *copy ? 0 : fail_memory (err);
}

/* "nbdkit@this.host" and the machine's id come later: see identity_of. */
static int
copy_words (struct remote *remote, const struct remote_settings *s,
            struct vmdk_error *err)
{
  if (copy_text (&remote->server, s->server, err) == -1
      || copy_text (&remote->user, s->user, err) == -1
      || copy_text (&remote->vm_spec, s->vm, err) == -1
      || copy_text (&remote->ca_file, s->ca_file, err) == -1
      || copy_text (&remote->snapshot_spec, s->snapshot, err) == -1
      || copy_text (&remote->identity, s->identity, err) == -1
      || copy_text (&remote->changed_since, s->changed_since, err) == -1
      || copy_secret (&remote->password, s->password, err) == -1
      || copy_secret (&remote->cookie, s->cookie, err) == -1)
    return -1;
  return 0;
}

struct remote *
remote_new (const struct remote_settings *s, struct vmdk_error *err)
{
  CLEANUP_REMOTE struct remote *remote = calloc (1, sizeof *remote);
  const struct nfc_settings nfc = NFC_SETTINGS_DEFAULT;

  if (!remote) {
    fail_memory (err);
    return NULL;
  }
  pthread_mutex_init (&remote->lock, NULL);
  remote->log = s->log;
  remote->port = s->port;
  remote->nfc = nfc;
  remote->nfc.port = s->nfc_port;
  remote->single_link = s->single_link;
  remote->quiesce = s->quiesce;
  remote->cache = s->cache;
  remote->prepare = s->prepare;
  remote->prepare_seconds = s->prepare_seconds;
  remote->stopped = s->stopped;
  remote->opaque = s->opaque;
  if (copy_words (remote, s, err) == -1 || parse_trust (remote, s, err) == -1
      || parse_transports (remote, s->transports, err) == -1
      || parse_compression (remote, s->compression, err) == -1
      || (s->config
          && remote_config_read (&remote->nfc, s->config, err) == -1))
    return NULL;
  return steal_ptr (&remote);
}

void
remote_free (struct remote *remote)
{
  if (!remote)
    return;
  remote_end (remote);
  pthread_mutex_destroy (&remote->lock);
  free (remote->server);
  free (remote->user);
  free (remote->vm_spec);
  free (remote->ca_file);
  free (remote->snapshot_spec);
  free (remote->identity);
  free (remote->changed_since);
  secret_free (remote->password);
  secret_free (remote->cookie);
  free (remote);
}

/* --------------------------------------------------------------------- */
/* Beginning. */

int
remote_log_in (struct remote *remote, struct vmdk_error *err)
{
  const struct session_settings settings = {
    .soap = {
      .host = remote->server,
      .port = remote->port,
      .trust = &remote->trust,
      .log = remote->log,
    },
    .user = remote->user,
    .password = remote->password ? secret_text (remote->password) : NULL,
    .cookie = remote->cookie ? secret_text (remote->cookie) : NULL,
  };

  if (!remote->session)
    remote->session = session_open (&settings, err);
  return remote->session ? 0 : -1;
}

bool
remote_is_stopped (void *opaque)
{
  const struct remote *remote = opaque;

  return remote->abandoned
         || (remote->stopped && remote->stopped (remote->opaque));
}

static bool
goes_on (void *opaque, uint64_t done, uint64_t total)
{
  (void) done;
  (void) total;
  return !remote_is_stopped (opaque);
}

/* Our snapshot, or one that is there; its disks are what is read. */
static int
freeze (struct remote *remote, struct vmdk_error *err)
{
  const struct task_watch watch = { goes_on, remote };
  struct vim_ref ref;

  if (!remote->snapshot_spec)
    return 0;
  if (strcmp (remote->snapshot_spec, "temporary") == 0) {
    if (snapshot_take (remote->session, &remote->vm_ref, remote->quiesce,
                       &watch, &remote->taken, err)
        == -1)
      return fail_prefix (err, "a temporary snapshot");
    ref = remote->taken;
  }
  else if (vim_ref_set (&ref, "VirtualMachineSnapshot", remote->snapshot_spec,
                        err)
           == -1)
    return -1;
  if (frozen_disks_read (remote->session, &ref, &remote->frozen, err) == -1)
    return fail_prefix (err, "snapshot %s", NAME (ref.id));
  remote->frozen_ref = ref;
  remote->has_snapshot = true;
  return 0;
}

static char *
cookie_for_folders (void *opaque, unsigned *generation, struct vmdk_error *err)
{
  return session_cookie (opaque, generation, err);
}

static int
renew_for_folders (void *opaque, unsigned generation, struct vmdk_error *err)
{
  return session_renew (opaque, generation, err);
}

/* The part of URL behind "ds://", without its last slash; its length goes to
 * *LEN.
 */
static const char *
path_of_url (const char *url, size_t *len)
{
  if (strncmp (url, "ds://", 5) == 0)
    url += 5;
  *len = strlen (url);
  while (*len > 0 && url[*len - 1] == '/')
    --*len;
  return url;
}

/* A descriptor's hint is a path of the host that wrote it. */
static char *
locate (void *opaque, const char *path, struct vmdk_error *err)
{
  const struct remote *remote = opaque;

  for (size_t i = 0; i < remote->datastores.len; i++) {
    const struct datastore *d = &remote->datastores.ptr[i];
    size_t len;
    const char *root = path_of_url (d->url, &len);
    char *text;

    if (len == 0 || strncmp (path, root, len) != 0
        || (path[len] != '/' && path[len] != '\0'))
      continue;
    if (asprintf (&text, "[%s] %s", d->name,
                  path[len] == '/' ? path + len + 1 : "")
        != -1)
      return text;
    fail_memory (err);
    return NULL;
  }
  fail (err, ERR_MISSING, "no datastore of %s has \"%s\"",
        NAME (remote->server), NAME (path));
  return NULL;
}

int
remote_start_folders (struct remote *remote, struct vmdk_error *err)
{
  const struct folder_settings settings = {
    .http = {
      .host = remote->server,
      .port = remote->port,
      .trust = &remote->trust,
      .log = remote->log,
      .login = { cookie_for_folders, renew_for_folders, remote->session },
    },
    .cache.budget = remote->cache,
    .datacenter = *remote->place.dc_path ? remote->place.dc_path : NULL,
    .locate = locate,
    .opaque = remote,
    .datastores = remote->datastores.names,
    .nr_datastores = remote->datastores.len,
  };

  remote->folders = folder_server_new (&settings, err);
  return remote->folders ? 0 : -1;
}

int
remote_find_vm (struct remote *remote, struct vmdk_error *err)
{
  if (!remote->vm_spec)
    return fail (err, ERR_ARGUMENT,
                 "vm= is missing: which machine has the disk?");
  if (vm_find (remote->session, remote->vm_spec, &remote->vm_ref, err) == -1)
    return fail_prefix (err, "vm=%s", NAME (remote->vm_spec));
  return 0;
}

int
remote_fail_abandoned (struct vmdk_error *err)
{
  fail (err, ERR_SYSTEM, "the server is ending");
  err->errnum = ESHUTDOWN;
  return -1;
}

/* Keep the machine from being moved, as far as the policy wants it. */
static int
protect (struct remote *remote, struct vmdk_error *err)
{
  static const enum access_policy policies[] = {
    [REMOTE_TRY] = ACCESS_TRY,
    [REMOTE_REQUIRE] = ACCESS_REQUIRE,
    [REMOTE_OFF] = ACCESS_OFF,
  };
  const struct access_settings settings = {
    .policy = policies[remote->prepare],
    .identity = remote->identity,
    .wait_seconds = remote->prepare_seconds,
    .stopped = remote_is_stopped,
    .opaque = remote,
  };

  return access_prepare (remote->session, &remote->vm_ref, &settings,
                         &remote->access, err);
}

/* What does not work is tried again by whoever comes here next. */
static void
unprotect (struct remote *remote)
{
  struct vmdk_error err;
  int r;

  if (!remote->session || (!remote->access && !access_is_left ()))
    return;
  session_hurry (remote->session, HURRY_SECONDS);
  r = remote->access ? access_end (steal_ptr (&remote->access), &err)
                     : access_end_left (remote->session, &err);
  if (r == -1)
    log_warning (&remote->log, "%s", err.text);
}

/* Removing what we took may take long, and is waited for: the machine is not
 * to be moved meanwhile.
 */
static void
thaw (struct remote *remote)
{
  struct vmdk_error err;

  if (!remote->taken.id[0])
    return;
  if (snapshot_remove (remote->session, &remote->vm_ref, &remote->taken, NULL,
                       &err)
      == -1)
    log_warning (&remote->log,
                 "the temporary snapshot %s (%s) of the machine %s is still "
                 "there, remove it yourself: %s",
                 NAME (remote->taken.id), SNAPSHOT_NAME,
                 NAME (remote->vm_spec), err.text);
  remote->taken.id[0] = '\0';
}

/* What a machine's disks are is read last: a move, or a snapshot, changes it.
 */
static int
begin (struct remote *remote, struct vmdk_error *err)
{
  if (remote_log_in (remote, err) == -1 || remote_find_vm (remote, err) == -1
      || protect (remote, err) == -1 || freeze (remote, err) == -1
      || vm_read (remote->session, &remote->vm_ref, &remote->vm, err) == -1
      || place_read (remote->session, &remote->vm_ref, &remote->place, err)
           == -1
      || datastore_list_read (remote->session, &remote->datastores, err) == -1
      || remote_start_folders (remote, err) == -1)
    return -1;
  return 0;
}

/* Nobody uses the machine any more. */
static void
let_go (struct remote *remote)
{
  folder_server_free (steal_ptr (&remote->folders));
  thaw (remote);
  unprotect (remote);
  frozen_disks_reset (&remote->frozen);
  vm_reset (&remote->vm);
  place_reset (&remote->place);
  datastore_list_reset (&remote->datastores);
  remote->has_snapshot = false;
  remote->frozen_ref.id[0] = '\0';
  remote->begun = false;
}

static void
end (struct remote *remote)
{
  let_go (remote);
  session_close (steal_ptr (&remote->session));
}

/* With the lock. */
static int
hold (struct remote *remote, struct vmdk_error *err)
{
  if (remote->abandoned)
    return remote_fail_abandoned (err);
  if (!remote->begun && begin (remote, err) == -1) {
    end (remote);
    return -1;
  }
  remote->begun = true;
  remote->nr_users++;
  return 0;
}

int
remote_hold (struct remote *remote, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);

  return hold (remote, err);
}

int
remote_keep (struct remote *remote, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);

  if (!remote->kept && hold (remote, err) == -1)
    return -1;
  remote->kept = true;
  return 0;
}

void
remote_release (struct remote *remote)
{
  LOCK_FOR_SCOPE (&remote->lock);

  if (--remote->nr_users > 0 || remote->taken.id[0])
    return;
  let_go (remote);
  if (!remote->abandoned)
    session_hurry (remote->session, 0);
}

/* The session stays, because whoever is reading may be asking it for a cookie
 * or a ticket; it is ended later, or by the server.
 */
void
remote_abandon (struct remote *remote)
{
  remote->abandoned = true;
  LOCK_FOR_SCOPE (&remote->lock);

  if (!remote->begun)
    return;
  folder_server_stop (remote->folders);
  for (struct remote_disk *disk = remote->open; disk; disk = disk->next)
    if (disk->nfc)
      nfc_media_cancel (disk->nfc);
  thaw (remote);
  unprotect (remote);
}

void
remote_end (struct remote *remote)
{
  LOCK_FOR_SCOPE (&remote->lock);
  struct vmdk_error err;

  if (access_is_left () && remote_log_in (remote, &err) == -1)
    log_warning (&remote->log,
                 "the machine %s can still not be moved to another "
                 "datastore: %s",
                 NAME (remote->vm_spec), err.text);
  end (remote);
  remote->nr_users = 0;
  remote->kept = false;
  access_forget_left ();
}

int
remote_check (struct remote *remote, const char *path, struct vmdk_error *err)
{
  CLEANUP_VM struct vm vm = { 0 };
  LOCK_FOR_SCOPE (&remote->lock);
  size_t link;
  int r = -1;

  if (remote_log_in (remote, err) == 0 && remote_find_vm (remote, err) == 0
      && vm_read (remote->session, &remote->vm_ref, &vm, err) == 0)
    /* a snapshot's disks may have other names */
    r = path && !remote->snapshot_spec
            && !disk_find (&vm.disks, path, &link, err)
          ? -1
          : 0;
  session_close (steal_ptr (&remote->session));
  return r;
}
