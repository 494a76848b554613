/* SPDX-License-Identifier: BSD-3-Clause */

/* The server's disks by name.  See exports.h. */

#include <config.h>

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "child.h"
#include "cleanup.h"
#include "exports.h"
#include "log.h"
#include "place.h"
#include "remote-exports.h"
#include "store.h"

struct export
{
  struct export *next;
  char *name;
  unsigned users; /* guarded by the table lock */
  bool closing;   /* likewise: the last user is closing the disk */

  pthread_mutex_t opening; /* guards disk until it is set */
  struct disk *disk;
  bool writable; /* set with disk */
  void *remote;  /* likewise: of a server's disk, closed after it */
};

static struct {
  const struct chain_rules *rules;
  struct store *folder;  /* dir= or where file= is; owned */
  struct store *archive; /* owned, NULL when there is none */
  struct store *overlay; /* where overlay= is; owned or NULL */
  struct store *store;   /* the one of them that has the disks */
  enum store_open_flags flags;

  /* What was found at the start; of a folder nothing is. */
  bool is_folder;
  bool is_remote;
  const char *wildcard; /* of the names of a server's disks; or NULL */
  char **names;
  size_t nr_names;

  pthread_mutex_t lock;
  pthread_cond_t closed; /* some disk was */
  struct export *list;   /* guarded by lock */
  struct export *kept;   /* guarded by lock: see exports.h */
} exports = { .lock = PTHREAD_MUTEX_INITIALIZER,
              .closed = PTHREAD_COND_INITIALIZER };

/* --------------------------------------------------------------------- */
/* Open exports. */

static struct export *
export_find (const char *name)
{
  struct export *e;

  for (e = exports.list; e; e = e->next)
    if (strcmp (e->name, name) == 0)
      return e;
  return NULL;
}

static struct export *
export_new (const char *name)
{
  CLEANUP_FREE char *copy = strdup (name);
  struct export *e = calloc (1, sizeof *e);

  if (!copy || !e) {
    free (e);
    return NULL;
  }
  e->name = steal_ptr (&copy);
  pthread_mutex_init (&e->opening, NULL);
  return e;
}

/* Find or make the entry for NAME and count us in.  A disk that is just being
 * closed is waited for: its locks would keep us out.
 */
static struct export *
export_join (const char *name, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&exports.lock);
  struct export *e;

  while ((e = export_find (name)) && e->closing)
    pthread_cond_wait (&exports.closed, &exports.lock);
  if (!e) {
    e = export_new (name);
    if (!e) {
      fail_memory (err);
      return NULL;
    }
    e->next = exports.list;
    exports.list = e;
  }
  e->users++;
  return e;
}

/* Count us out.  Whoever is the last has to close the disk. */
static bool
export_leave (struct export *export)
{
  LOCK_FOR_SCOPE (&exports.lock);

  if (--export->users > 0)
    return false;
  export->closing = true;
  return true;
}

static void
take_from_list (const struct export *export)
{
  LOCK_FOR_SCOPE (&exports.lock);
  struct export **p = &exports.list;

  while (*p != export)
    p = &(*p)->next;
  *p = export->next;
  pthread_cond_broadcast (&exports.closed);
}

static void
close_export (struct export *export)
{
  struct vmdk_error err;

  if (export->disk && export->writable
      && disk_finish (export->disk, &err) == -1)
    log_warning (&exports.rules->open.log, "%s: closing: %s",
                 NAME (export->name), err.text);
  disk_close (export->disk);
  remote_export_close (export->remote);
  take_from_list (export);
  pthread_mutex_destroy (&export->opening);
  free (export->name);
  free (export);
}

void
export_release (struct export *export)
{
  if (export && export_leave (export))
    close_export (export);
}
DEFINE_CLEANUP (export, struct export *, export_release)

static struct disk *
open_disk (struct export *export, struct vmdk_error *err)
{
  struct chain_rules rules = *exports.rules;
  struct disk *disk = NULL;

  if (exports.is_remote)
    return remote_export_open (export->name, export->writable, &rules, &disk,
                               &export->remote, err)
               == -1
             ? NULL
             : disk;
  rules.writable = export->writable;
  return disk_open (exports.store, export->name, exports.flags, &rules, err);
}

/* For writing, if that is wanted and can be.  Who did not say -r is told why
 * it cannot.
 */
static void
open_as_it_can (struct export *export, struct vmdk_error *err)
{
  export->disk = open_disk (export, err);
  if (!export->disk && export->writable && err->kind == ERR_READ_ONLY) {
    log_warning (&exports.rules->open.log, "%s: serving it read-only",
                 err->text);
    export->writable = false;
    export->disk = open_disk (export, err);
  }
}

/* Open the disk unless somebody has.  After a failure the next in line tries
 * again: the reason may be gone.
 */
static int
export_open (struct export *export, bool read_only, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&export->opening);

  if (export->disk)
    return 0;
  export->writable = !read_only && !exports.archive;
  if (exports.is_remote && remote_exports_hold (err) == -1)
    return -1;
  open_as_it_can (export, err);
  if (exports.is_remote)
    remote_exports_release ();
  return export->disk ? 0 : -1;
}

static struct export *
export_acquire_disk (const char *name, bool read_only, struct vmdk_error *err)
{
  CLEANUP (export) struct export *e = export_join (name, err);

  if (!e || export_open (e, read_only, err) == -1)
    return NULL;
  return steal_ptr (&e);
}

bool
export_is_writable (const struct export *export)
{
  return export->writable;
}

bool
export_changed (const struct export *export, uint64_t offset, uint64_t *length)
{
  *length = UINT64_MAX - offset;
  return !export->remote
         || remote_export_changed (export->remote, offset, length);
}

struct disk *
export_disk (const struct export *export)
{
  return export->disk;
}

/* --------------------------------------------------------------------- */
/* Names. */

/* Clients choose from the folder itself, nothing above or below it. */
static bool
name_is_bare (const char *name)
{
  return store_name_is_inside (name) && !strchr (name, '/');
}

/* Names that no client could ask for are not offered. */
static int
list_folder (char ***names, size_t *count, struct vmdk_error *err)
{
  size_t i, kept = 0;

  if (disk_list (exports.store, names, count, err) == -1)
    return fail_prefix (err, "%s", NAME (exports.store->name));
  for (i = 0; i < *count; i++) {
    if (name_is_bare ((*names)[i]))
      (*names)[kept++] = (*names)[i];
    else
      free ((*names)[i]);
  }
  *count = kept;
  return 0;
}

static int
copy_names (char *const *from, size_t nr, char ***names, size_t *count,
            struct vmdk_error *err)
{
  char **copy = calloc (nr ? nr : 1, sizeof *copy);
  size_t i;

  for (i = 0; copy && i < nr; i++) {
    copy[i] = strdup (from[i]);
    if (!copy[i]) {
      disk_list_free (copy, i);
      copy = NULL;
    }
  }
  if (!copy)
    return fail_memory (err);
  *names = copy;
  *count = nr;
  return 0;
}

int
exports_list (char ***names, size_t *count, struct vmdk_error *err)
{
  char *const unnamed = (char *) "";

  if (exports.is_folder)
    return list_folder (names, count, err);
  if (exports.wildcard)
    return copy_names (NULL, 0, names, count, err);
  if (exports.nr_names == 1)
    return copy_names (&unnamed, 1, names, count, err);
  return copy_names (exports.names, exports.nr_names, names, count, err);
}

static char *
copy_name (const char *name, struct vmdk_error *err)
{
  char *copy = strdup (name);

  if (!copy)
    fail_memory (err);
  return copy;
}

static char *
only_name_of_folder (struct vmdk_error *err)
{
  char *only = NULL;
  char **names;
  size_t count;

  if (list_folder (&names, &count, err) == -1)
    return NULL;
  if (count == 1)
    only = copy_name (names[0], err);
  else
    fail (err, ERR_ARGUMENT, "%s has %zu disks: ask for one by its name",
          NAME (exports.store->name), count);
  disk_list_free (names, count);
  return only;
}

/* A path on a server that a client may ask for. */
static char *
allowed_path (const char *name, struct vmdk_error *err)
{
  if (*name != '\0' && fnmatch (exports.wildcard, name, 0) == 0)
    return copy_name (name, err);
  fail (err, ERR_DENIED,
        "\"%s\" is not a name that export=%s allows: ask for a disk by its "
        "path, [DATASTORE] FOLDER/DISK.vmdk",
        NAME (name), NAME (exports.wildcard));
  return NULL;
}

char *
exports_default (struct vmdk_error *err)
{
  if (exports.is_folder)
    return only_name_of_folder (err);
  if (exports.wildcard)
    return allowed_path ("", err);
  return copy_name (exports.nr_names == 1 ? "" : exports.names[0], err);
}

/* The disk that a client's NAME means. */
static char *
resolve_name (const char *name, struct vmdk_error *err)
{
  size_t i;

  if (exports.is_folder) {
    if (*name == '\0')
      return only_name_of_folder (err);
    if (name_is_bare (name))
      return copy_name (name, err);
  }
  else if (exports.wildcard)
    return allowed_path (name, err);
  else if (exports.nr_names == 1 || *name == '\0')
    return copy_name (exports.names[0], err);

  for (i = 0; i < exports.nr_names; i++)
    if (strcmp (exports.names[i], name) == 0)
      return copy_name (name, err);
  fail (err, ERR_MISSING, "%s: there is no disk \"%s\"",
        NAME (exports.store->name), NAME (name));
  return NULL;
}

/* Whoever writes wants the disk for himself. */
static void
drop_kept (void)
{
  struct export *kept;

  {
    LOCK_FOR_SCOPE (&exports.lock);
    kept = steal_ptr (&exports.kept);
  }
  export_release (kept);
}

struct export *
export_acquire (const char *name, bool read_only, struct vmdk_error *err)
{
  CLEANUP_FREE char *disk_name = resolve_name (name, err);

  if (!disk_name)
    return NULL;
  if (!read_only && !exports.archive)
    drop_kept ();
  return export_acquire_disk (disk_name, read_only, err);
}

/* --------------------------------------------------------------------- */
/* Start and stop. */

static int
use_names (char **names, size_t count, struct vmdk_error *err)
{
  if (count == 0) {
    disk_list_free (names, count);
    return fail (err, ERR_MISSING, "there is no disk in this archive");
  }
  exports.names = names;
  exports.nr_names = count;
  return 0;
}

/* The index that "2" means, from 1; 0 when it is not such a number. */
static size_t
parse_number (const char *text)
{
  size_t number = 0;

  for (; *text >= '0' && *text <= '9' && number < SIZE_MAX / 100; text++)
    number = number * 10 + (size_t) (*text - '0');
  return *text ? 0 : number;
}

/* Leave only the disk that PICK names. */
static int
pick_disk (const char *pick, struct vmdk_error *err)
{
  const size_t number = parse_number (pick);
  size_t i, found = exports.nr_names;

  if (number > 0 && number <= exports.nr_names)
    found = number - 1;
  for (i = 0; i < exports.nr_names; i++)
    if (strcmp (exports.names[i], pick) == 0)
      found = i;
  if (found == exports.nr_names)
    return fail (err, ERR_MISSING,
                 "there is no disk \"%s\" among the %zu (first: \"%s\")",
                 NAME (pick), exports.nr_names, NAME (exports.names[0]));
  for (i = 0; i < exports.nr_names; i++)
    if (i != found)
      free (exports.names[i]);
  exports.names[0] = exports.names[found];
  exports.nr_names = 1;
  return 0;
}

static int
start_archive (const struct exports_source *source, struct vmdk_error *err)
{
  char **names;
  size_t count;

  if (source->rules->lone_extent)
    return fail (err, ERR_ARGUMENT, "lone-extent= is not for archives");
  if (disk_list (exports.store, &names, &count, err) == -1
      || use_names (names, count, err) == -1)
    return -1;
  return source->disk ? pick_disk (source->disk, err) : 0;
}

static int
start_disk (const char *name, const struct exports_source *source,
            struct vmdk_error *err)
{
  char *const names[1] = { (char *) name };

  if (source->disk)
    return fail (err, ERR_ARGUMENT,
                 "this is no archive: disk= has nothing to choose from");
  return copy_names (names, 1, &exports.names, &exports.nr_names, err);
}

/* Whether there is something at PATH; -1 if it cannot be a disk. */
static int
is_there (const char *path, struct vmdk_error *err)
{
  struct stat st;

  if (stat (path, &st) == -1)
    return errno == ENOENT ? 0 : fail_errno (err, errno, "cannot be opened");
  if (S_ISDIR (st.st_mode))
    return fail (err, ERR_ARGUMENT, "this is a folder: serve it with dir=");
  return 1;
}

/* A file that is there is never replaced: creating fails. */
static int
start_path (const struct exports_source *source, struct vmdk_error *err)
{
  CLEANUP_PLACE struct place place = { 0 };
  const int there = is_there (source->file, err);
  bool archive;

  if (there == -1)
    return -1;
  if (!there && !source->create)
    return fail_errno (err, ENOENT, "cannot be opened");
  if (place_open (&place, source->file, source->rules->open.lock, err) == -1)
    return -1;
  archive = place.folder;
  exports.flags = place.flags;
  exports.store = steal_ptr (&place.store);
  exports.folder = archive ? steal_ptr (&place.folder) : exports.store;
  exports.archive = archive ? exports.store : NULL;
  if (source->create
      && disk_create (exports.folder, strrchr (source->file, '/') + 1,
                      source->create, err)
           == -1)
    return -1;
  return archive ? start_archive (source, err)
                 : start_disk (place.name, source, err);
}

/* Make the child that is written in FILE's place. */
static int
make_overlay (const struct place *overlay, const struct exports_source *source,
              struct vmdk_error *err)
{
  const struct place file = { .store = exports.folder,
                              .name = exports.names[0] };
  struct chain_rules rules = *source->rules;
  CLEANUP_DISK struct disk *parent = NULL;
  CLEANUP_FREE char *hint = place_hint (overlay, &file, err);

  rules.parent = NULL;
  if (hint)
    parent = disk_open (file.store, file.name, STORE_FROM_USER, &rules, err);
  return parent ? disk_create_child (overlay->store, overlay->name, parent,
                                     hint, source->overlay_rules, err)
                : -1;
}

/* Serve the child from its own folder; FILE is only its parent. */
static int
start_overlay (const struct exports_source *source, struct vmdk_error *err)
{
  CLEANUP_PLACE struct place place = { 0 };
  const int there = is_there (source->overlay, err);

  if (there == -1)
    return -1;
  if (exports.archive)
    return fail (err, ERR_ARGUMENT, "a disk in an archive has no overlays");
  if (place_open (&place, source->overlay, false, err) == -1)
    return -1;
  if (place.folder)
    return fail (err, ERR_ARGUMENT, "this is an archive, and no overlay");
  if (!there && make_overlay (&place, source, err) == -1)
    return -1;
  exports.store = exports.overlay = steal_ptr (&place.store);
  free (exports.names[0]);
  exports.names[0] = steal_ptr (&place.name);
  return 0;
}

/* A new overlay is as it was asked for, and one that was there may not be. */
static int
check_overlay (struct disk *disk, const struct exports_source *source,
               struct vmdk_error *err)
{
  const struct child_rules *rules = source->overlay_rules;
  const char *wanted = disk_type_name (rules->type);
  const struct descriptor *d = chain_link (disk_chain (disk), 0)->descriptor;
  const char *type = descriptor_create_type (d);
  const uint64_t grain_size = disk_grain_size (disk);

  if (descriptor_parent_cid (d) == CID_NONE)
    return fail (err, ERR_ARGUMENT,
                 "this is there and is no overlay but a disk of its own: name "
                 "another file, or serve it with file=");
  if (source->overlay_type_given && strcasecmp (type, wanted) != 0)
    return fail (err, ERR_ARGUMENT,
                 "this overlay is there and is a %s disk, not a %s one: leave "
                 "out overlay-type=, or name another file",
                 NAME (type), wanted);
  if (rules->grain_size && rules->grain_size != grain_size)
    return fail (err, ERR_ARGUMENT,
                 "this overlay is there and has grains of %" PRIu64
                 " bytes, not %" PRIu64
                 ": leave out overlay-grain-size=, or name another file",
                 grain_size, rules->grain_size);
  return 0;
}

static int
start_folder (const char *path, struct vmdk_error *err)
{
  exports.is_folder = true;
  exports.flags = STORE_FROM_FILE;
  exports.folder = exports.store = store_dir_new (path, err);
  return exports.folder ? 0 : fail_prefix (err, "%s", NAME (path));
}

/* Nothing is opened: that would be done to the server, and undone again. */
static int
start_remote (const struct exports_source *source, struct vmdk_error *err)
{
  char *const names[1] = { (char *) source->file };

  exports.is_remote = true;
  exports.wildcard = source->remote->remote.wildcard;
  if (remote_exports_start (source->remote, &source->rules->open.log, err)
      == -1)
    return -1;
  return exports.wildcard
           ? 0
           : copy_names (names, 1, &exports.names, &exports.nr_names, err);
}

int
exports_start (const struct exports_source *source, struct vmdk_error *err)
{
  struct export *export;
  int r;

  exports.rules = source->rules;
  if (source->remote)
    return start_remote (source, err);
  if (source->dir)
    return start_folder (source->dir, err);
  if (start_path (source, err) == -1)
    return fail_prefix (err, "%s", NAME (source->file));
  if (source->overlay && start_overlay (source, err) == -1)
    return fail_prefix (err, "%s", NAME (source->overlay));
  export = export_acquire ("", true, err);
  if (!export)
    return -1;
  r = source->overlay ? check_overlay (export->disk, source, err) : 0;
  export_release (export);
  return r == -1 ? fail_prefix (err, "%s", NAME (source->overlay)) : 0;
}

/* Not before the fork: the other process would hold the locks as well. */
int
exports_keep (struct vmdk_error *err)
{
  struct vmdk_error ignored;

  if (exports.is_remote)
    return remote_exports_watch (err);
  if (!exports.is_folder)
    exports.kept = export_acquire ("", true, &ignored);
  return 0;
}

/* A server that is told to end closes no connection: what is still open is
 * finished here.
 */
void
exports_stop (void)
{
  exports.kept = NULL; /* it is in the list */
  while (exports.list)
    close_export (exports.list);
  remote_exports_stop ();
  disk_list_free (exports.names, exports.nr_names);
  store_close (exports.overlay);
  store_close (exports.archive);
  store_close (exports.folder); /* the archive's file belongs to it */
  exports.names = NULL;
  exports.archive = exports.folder = exports.store = NULL;
}
