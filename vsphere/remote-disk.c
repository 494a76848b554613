/* SPDX-License-Identifier: BSD-3-Clause */

/* One disk of a machine, by the first transport that can.  See remote.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changed-list.h"
#include "datastore-path.h"
#include "nfc-media.h"
#include "remote-parts.h"
#include "ticket-office.h"

/* What is to be opened. */
struct wanted {
  struct remote *remote;
  const struct vm_disk *disk; /* whose links are those to be read */
  size_t link;                /* which of them */
  bool writable;
};

static const char *
file_of (const struct wanted *w)
{
  return w->disk->links[w->link].file;
}

/* --------------------------------------------------------------------- */
/* Which disk. */

/* A snapshot's disk can be named by any file of the machine's disk. */
static int
find_frozen (struct wanted *w, const char *path, struct vmdk_error *err)
{
  const struct disk_list *frozen = &w->remote->frozen.disks;
  struct vmdk_error ignored;
  const struct vm_disk *now;

  w->disk = disk_find (frozen, path, &w->link, err);
  if (w->disk)
    return 0;
  now = disk_find (&w->remote->vm.disks, path, &w->link, &ignored);
  w->disk = now ? disk_by_key (frozen, now->key) : NULL;
  w->link = 0;
  if (!w->disk && now && now->independent)
    return fail (err, ERR_UNSUPPORTED,
                 "%s is independent of snapshots: it can only be read without "
                 "one, and while the machine is off",
                 NAME (path));
  return w->disk ? 0 : -1;
}

/* What is written now is the first file of each disk. */
static bool
is_in_use (const struct wanted *w)
{
  const struct vm *vm = &w->remote->vm;
  const struct vm_disk *now = disk_by_key (&vm->disks, w->disk->key);

  return vm->running && now && now->nr_links > 0
         && strcmp (now->links[0].file, file_of (w)) == 0;
}

/* Rule 4. */
static int
check_not_in_use (const struct wanted *w, struct vmdk_error *err)
{
  const struct vm *vm = &w->remote->vm;

  if (!is_in_use (w))
    return 0;
  return fail (err, ERR_LOCKED,
               "the machine %s is running and writes to this disk: pass "
               "snapshot=temporary, or the id of a snapshot, or shut it down",
               NAME (vm->name));
}

static int
check_writable (const struct wanted *w, struct vmdk_error *err)
{
  if (!w->writable)
    return 0;
  if (w->remote->has_snapshot)
    return fail (err, ERR_READ_ONLY, "a snapshot is only read");
  if (w->remote->changed_since)
    return fail (err, ERR_READ_ONLY, "changed-since= is for reading");
  if (w->link > 0)
    return fail (err, ERR_READ_ONLY,
                 "other disks of the machine %s are based on this one",
                 NAME (w->remote->vm.name));
  return 0;
}

static int
find_file (struct wanted *w, const char *path, struct vmdk_error *err)
{
  if (w->remote->has_snapshot)
    return find_frozen (w, path, err);
  w->disk = disk_find (&w->remote->vm.disks, path, &w->link, err);
  return w->disk ? 0 : -1;
}

const struct vm_disk *
remote_find_disk (struct remote *remote, const char *path, size_t *link,
                  bool *in_use, struct vmdk_error *err)
{
  struct wanted w = { .remote = remote };

  if (find_file (&w, path, err) == -1)
    return NULL;
  *link = w.link;
  *in_use = is_in_use (&w);
  return w.disk;
}

static int
find (struct wanted *w, const char *path, struct vmdk_error *err)
{
  if (find_file (w, path, err) == -1)
    return -1;
  if (check_not_in_use (w, err) == -1 || check_writable (w, err) == -1)
    return fail_prefix (err, "%s", NAME (path));
  return 0;
}

/* --------------------------------------------------------------------- */
/* Port 902. */

static struct ticket_office *
office_new (const struct wanted *w, struct vmdk_error *err)
{
  struct ticket_office *office = calloc (1, sizeof *office);

  if (!office) {
    fail_memory (err);
    return NULL;
  }
  office->session = w->remote->session;
  office->vm = w->remote->vm.ref;
  office->disk_key = w->disk->key;
  return office;
}

static int
open_nfc (const struct wanted *w, bool tls, struct remote_disk *disk,
          enum nfc_reason *reason, struct vmdk_error *err)
{
  struct remote *remote = w->remote;
  struct nfc_settings settings = remote->nfc;
  struct nfc_ticket_office office = { .ticket = ticket_office_ask };
  char adapter[NFC_ADAPTER_SIZE];
  struct single_disk known;
  struct media *media;

  *reason = NFC_NO_SESSION;
  if (remote->single_link && w->link + 1 < w->disk->nr_links)
    return fail (err, ERR_UNSUPPORTED,
                 "hosts open whole chains only: single-link=true needs "
                 "transports=https");
  office.opaque = disk->office = office_new (w, err);
  if (!disk->office)
    return -1;
  settings.tls = tls;
  settings.stopped = remote_is_stopped;
  settings.opaque = remote;
  media = nfc_media_open (&settings, &office, file_of (w), w->writable,
                          &remote->log, &known, adapter, reason, err);
  if (!media)
    return -1;
  disk->nfc = media; /* lives as long as the store */
  disk->store = single_store_new (media, &known, err);
  disk->name = SINGLE_STORE_NAME;
  disk->flags = STORE_FROM_FILE;
  disk->keep_cid = true; /* the descriptor is not the disk's own */
  return disk->store ? 0 : -1;
}

/* --------------------------------------------------------------------- */
/* HTTPS. */

static int
check_files (const struct wanted *w, struct vmdk_error *err)
{
  const struct vm_disk *disk = w->disk;

  if (w->writable)
    return fail (err, ERR_READ_ONLY,
                 "disks cannot be written over HTTPS, which serves files");
  if (w->remote->vm.encrypted)
    return fail (err, ERR_UNSUPPORTED,
                 "the machine is encrypted: over HTTPS its files are "
                 "unreadable");
  for (size_t i = w->link; i < disk->nr_links; i++)
    if (*disk->links[i].object_id)
      return fail (err, ERR_UNSUPPORTED,
                   "the disk is an object of vSAN or a virtual volume, and "
                   "no file that HTTPS could serve");
  return 0;
}

/* Folders where parents lie: those that the machine itself names. */
static int
add_search (const struct wanted *w, struct remote_disk *disk,
            struct vmdk_error *err)
{
  const struct datastore_list *known = &w->remote->datastores;

  disk->search = calloc (w->disk->nr_links, sizeof *disk->search);
  if (!disk->search)
    return fail_memory (err);
  for (size_t i = w->link + 1; i < w->disk->nr_links; i++) {
    CLEANUP_DATASTORE_PATH struct datastore_path path = { 0 };
    char *slash;

    if (datastore_path_parse (&path, w->disk->links[i].file, known->names,
                              known->len, err)
        == -1)
      return -1;
    slash = strrchr (path.path, '/');
    if (asprintf (&disk->search[disk->nr_search], "[%s] %.*s", path.datastore,
                  slash ? (int) (slash - path.path) : 0, path.path)
        == -1)
      return fail_memory (err);
    disk->nr_search++;
  }
  return 0;
}

static int
open_https (const struct wanted *w, struct remote_disk *disk,
            struct vmdk_error *err)
{
  const char *name;

  if (check_files (w, err) == -1 || add_search (w, disk, err) == -1)
    return -1;
  disk->store = folder_store_of (w->remote->folders, file_of (w), &name, err);
  if (!disk->store)
    return -1;
  disk->name = name;
  disk->flags = STORE_FROM_FILE;
  {
    /* is it there, and ours to read? */
    CLEANUP_MEDIA struct media *media =
      store_open (disk->store, name, disk->flags, err);

    return media ? 0 : -1;
  }
}

/* --------------------------------------------------------------------- */

static void
disk_reset (struct remote_disk *disk)
{
  store_close (disk->store); /* asks the office for tickets */
  free (disk->office);
  for (size_t i = 0; i < disk->nr_search; i++)
    free (disk->search[i]);
  free (disk->search);
  disk->store = NULL;
  disk->nfc = NULL;
  disk->office = NULL;
  disk->search = NULL;
  disk->nr_search = 0;
}

/* *REASON is what keeps us from trying the next transport: fear of an
 * impostor, or an answer that holds for all of them.
 */
static int
open_by (enum transport transport, const struct wanted *w,
         struct remote_disk *disk, enum nfc_reason *reason,
         struct vmdk_error *err)
{
  if (transport != TRANSPORT_HTTPS)
    return open_nfc (w, transport == TRANSPORT_NBDSSL, disk, reason, err);
  *reason = NFC_LOST;
  return open_https (w, disk, err);
}

/* Whether NEXT may work where another transport failed for REASON.  Both on
 * port 902 are out of reach together; who gets no ticket may still read files.
 */
static bool
try_next (enum nfc_reason reason, enum transport next)
{
  if (reason == NFC_UNREACHABLE)
    return next == TRANSPORT_HTTPS;
  return nfc_reason_try_next (reason)
         || (reason == NFC_TICKET && next == TRANSPORT_HTTPS);
}

/* All that was tried, in one line; the kind is that of the first. */
static void
add_failure (struct vmdk_error *all, const struct vmdk_error *one,
             enum transport transport)
{
  char text[sizeof all->text];

  if (all->kind == ERR_NONE) {
    *all = *one;
    fail_prefix (all, "%s", transport_name (transport));
    return;
  }
  snprintf (text, sizeof text, "%.480s; %s: %.480s", all->text,
            transport_name (transport), one->text);
  memcpy (all->text, text, sizeof text);
}

/* What did not work is not waited for again, by one client after the other;
 * but only port 902 can write.
 */
static size_t
first_transport (const struct wanted *w)
{
  const size_t worked = w->remote->worked;

  return w->writable && w->remote->transports[worked] == TRANSPORT_HTTPS
           ? 0
           : worked;
}

/* Whether or not another transport can: what is not permitted can be. */
static void
tell_failed (const struct wanted *w, enum transport transport,
             const struct vmdk_error *err)
{
  const struct vmdk_log *log = &w->remote->log;

  if (err->kind == ERR_DENIED)
    log_warning (log, "%s: not by %s: %s", NAME (file_of (w)),
                 transport_name (transport), err->text);
  else
    log_debug (log, LOG_OPEN, "%s: %s: %s", NAME (file_of (w)),
               transport_name (transport), err->text);
}

static int
open_by_any (const struct wanted *w, struct remote_disk *disk,
             struct vmdk_error *err)
{
  struct remote *remote = w->remote;
  struct vmdk_error all = { 0 }, one;
  enum nfc_reason reason = NFC_LOST;

  for (size_t i = first_transport (w); i < remote->nr_transports; i++) {
    const enum transport transport = remote->transports[i];

    if (!try_next (reason, transport))
      continue;
    if (open_by (transport, w, disk, &reason, &one) == 0) {
      disk->transport = transport_name (transport);
      remote->worked = i;
      log_debug (&remote->log, LOG_OPEN, "%s: transport %s",
                 NAME (file_of (w)), disk->transport);
      return 0;
    }
    disk_reset (disk);
    tell_failed (w, transport, &one);
    add_failure (&all, &one, transport);
  }
  *err = all;
  return fail_prefix (err, "%s", NAME (file_of (w)));
}

/* Those in the list are cut off when the process is to end. */
static int
list_disk (struct remote_disk *disk, struct vmdk_error *err)
{
  struct remote *remote = disk->remote;
  LOCK_FOR_SCOPE (&remote->lock);

  if (remote->abandoned)
    return remote_fail_abandoned (err);
  disk->next = remote->open;
  remote->open = disk;
  return 0;
}

static void
unlist_disk (struct remote_disk *disk)
{
  struct remote *remote = disk->remote;
  LOCK_FOR_SCOPE (&remote->lock);

  for (struct remote_disk **p = &remote->open; *p; p = &(*p)->next)
    if (*p == disk) {
      *p = disk->next;
      return;
    }
}

/* A link below the disk's last one has its own changes, which nobody knows. */
static int
read_changed (const struct wanted *w, struct remote_disk *disk,
              struct vmdk_error *err)
{
  const char *since = w->remote->changed_since;

  if (!since)
    return 0;
  if (w->link > 0)
    return fail (
      err, ERR_UNSUPPORTED,
      "changed-since=: others are based on %s: changes are known of "
      "%s only",
      NAME (file_of (w)), NAME (w->disk->links[0].file));
  disk->changed = calloc (1, sizeof (struct changed_list));
  if (!disk->changed)
    return fail_memory (err);
  if (remote_ask_changed (w->remote, w->disk, since, changed_list_add,
                          disk->changed, err)
      == -1)
    return fail_prefix (err, "changed-since=%s", NAME (since));
  return 0;
}

bool
remote_disk_changed (const struct remote_disk *disk, uint64_t offset,
                     uint64_t *length)
{
  *length = UINT64_MAX - offset;
  return !disk->changed || changed_list_has (disk->changed, offset, length);
}

struct remote_disk *
remote_disk_open (struct remote *remote, const char *path, bool writable,
                  struct vmdk_error *err)
{
  struct wanted w = { .remote = remote, .writable = writable };
  CLEANUP (remote_disk) struct remote_disk *disk = NULL;

  disk = calloc (1, sizeof *disk);
  if (!disk) {
    fail_memory (err);
    return NULL;
  }
  if (remote_hold (remote, err) == -1)
    return NULL;
  disk->remote = remote;
  if (find (&w, path, err) == -1 || open_by_any (&w, disk, err) == -1
      || read_changed (&w, disk, err) == -1 || list_disk (disk, err) == -1)
    return NULL;
  return steal_ptr (&disk);
}

void
remote_disk_close (struct remote_disk *disk)
{
  struct remote *remote;

  if (!disk)
    return;
  remote = disk->remote; /* NULL: not opened */
  if (remote)
    unlist_disk (disk);
  disk_reset (disk);
  if (disk->changed)
    changed_list_reset (disk->changed);
  free (disk->changed);
  free (disk);
  if (remote)
    remote_release (remote);
}

int
remote_disk_entry (struct remote_disk *disk, const char *key, char **value,
                   struct vmdk_error *err)
{
  *value = NULL;
  return disk->nfc ? nfc_media_entry (disk->nfc, key, value, err) : 0;
}
