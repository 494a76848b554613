/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of servers as exports.  See remote-exports.h. */

#include <config.h>

#include "ending.h"
#include "remote-exports.h"

#if HAVE_VSPHERE

#include "remote.h"

static struct remote *remote;

/* Time for what is in flight, before it is cut off. */
#define GRACE_MS 2000

static void
abandon (void)
{
  remote_abandon (remote);
}

int
remote_exports_watch (struct vmdk_error *err)
{
  return ending_watch (abandon, GRACE_MS, err);
}

int
remote_exports_start (const struct parameters *p, const struct vmdk_log *log,
                      struct vmdk_error *err)
{
  struct remote_settings settings = p->remote.words.settings;

  settings.single_link = p->single_link;
  settings.cache = p->remote.cache;
  settings.changed_since = p->remote.changed_since;
  settings.log = *log;
  remote = remote_new (&settings, err);
  return remote ? remote_check (remote, p->file, err) : -1;
}

void
remote_exports_stop (void)
{
  ending_forget ();
  remote_free (remote);
  remote = NULL;
}

int
remote_exports_hold (struct vmdk_error *err)
{
  return remote_hold (remote, err);
}

void
remote_exports_release (void)
{
  remote_release (remote);
}

int
remote_export_open (const char *path, bool writable,
                    const struct chain_rules *rules, struct disk **disk,
                    void **keep, struct vmdk_error *err)
{
  struct chain_rules how = *rules;
  CLEANUP (remote_disk)
  struct remote_disk *opened = remote_disk_open (remote, path, writable, err);

  if (!opened)
    return -1;
  how.writable = writable;
  how.keep_cid = opened->keep_cid;
  if (opened->keep_cid) /* what is read has no parents, whatever was asked */
    how.open.lock = true;
  how.search = (const char *const *) opened->search;
  how.nr_search = opened->nr_search;
  *disk = disk_open (opened->store, opened->name, opened->flags, &how, err);
  if (!*disk)
    return -1;
  *keep = steal_ptr (&opened);
  return 0;
}

void
remote_export_close (void *keep)
{
  remote_disk_close (keep);
}

bool
remote_export_changed (const void *keep, uint64_t offset, uint64_t *length)
{
  return remote_disk_changed (keep, offset, length);
}

#else /* nobody comes here */

int
remote_exports_start (const struct parameters *p, const struct vmdk_log *log,
                      struct vmdk_error *err)
{
  (void) p;
  (void) log;
  return fail (err, ERR_UNSUPPORTED, "built without disks of servers");
}

int
remote_exports_watch (struct vmdk_error *err)
{
  (void) err;
  return 0;
}

void
remote_exports_stop (void)
{
}

int
remote_exports_hold (struct vmdk_error *err)
{
  return fail (err, ERR_UNSUPPORTED, "built without disks of servers");
}

void
remote_exports_release (void)
{
}

int
remote_export_open (const char *path, bool writable,
                    const struct chain_rules *rules, struct disk **disk,
                    void **keep, struct vmdk_error *err)
{
  (void) path;
  (void) writable;
  (void) rules;
  (void) disk;
  (void) keep;
  return fail (err, ERR_UNSUPPORTED, "built without disks of servers");
}

void
remote_export_close (void *keep)
{
  (void) keep;
}

bool
remote_export_changed (const void *keep, uint64_t offset, uint64_t *length)
{
  (void) keep;
  *length = UINT64_MAX - offset;
  return true;
}

#endif
