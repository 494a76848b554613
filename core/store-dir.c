/* SPDX-License-Identifier: BSD-3-Clause */

/* The names in a local directory.  See store.h.
 *
 * A name from a file is reached one component at a time from the directory's
 * descriptor, never through a symbolic link.  Since such a name has no ".."
 * in it (store_open has checked), this stays inside, and it does so on every
 * kernel; openat2 would add nothing.  What the name leads to is looked at
 * before it is opened, because opening alone can act (a tape rewinds) or
 * wait (a FIFO), and again afterwards, because it can have been exchanged in
 * between.
 *
 * store_flush knows only of the folder itself.  A change in one below it is
 * made durable at once; such names are rare.
 *
 * VMware's hosted products lock FILE by a folder FILE.lck, in which each
 * user of FILE has a member.  We look and change nothing there.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include "store.h"

/* Searching needs no permission to read the directory. */
#ifndef O_PATH
#define O_PATH O_RDONLY
#endif
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

struct store_dir {
  struct store store;
  int fd;
};

static void
cleanup_fd (int *fd)
{
  const int saved = errno;

  if (*fd != -1)
    close (*fd);
  errno = saved;
}
#define CLEANUP_FD CLEANUP (fd)

static void
cleanup_dir (DIR **dir)
{
  const int saved = errno;

  if (*dir)
    closedir (*dir);
  errno = saved;
}
#define CLEANUP_DIR CLEANUP (dir)

static inline int
steal_fd (int *fd)
{
  const int stolen = *fd;

  *fd = -1;
  return stolen;
}

static int
fail_open (struct vmdk_error *err, int errnum)
{
  if (errnum == ENOENT || errnum == ENOTDIR)
    return fail (err, ERR_MISSING, "no such file");
  if (errnum == EMFILE)
    return fail_errno (err, errnum,
                       "cannot be opened (raise the limit: ulimit -n)");
  return fail_errno (err, errnum, "cannot be opened");
}

/* EACCES is not for want of a way to the file: we have just looked at it. */
static int
fail_open_writable (struct vmdk_error *err, int errnum)
{
  switch (errnum) {
  case EROFS:
    return fail (err, ERR_READ_ONLY,
                 "is on a read-only file system; open it read-only or mount "
                 "that writable");
  case EACCES:
    return fail (err, ERR_READ_ONLY,
                 "its permissions do not let us write it; change them or open "
                 "it read-only");
  case EPERM:
    return fail (err, ERR_READ_ONLY,
                 "is marked as immutable or append-only (see lsattr); change "
                 "that or open it read-only");
  case ETXTBSY:
    return fail (err, ERR_LOCKED,
                 "is being run as a program or used as swap space");
  }
  return fail_open (err, errnum);
}

static int
check_type (const struct stat *st, enum store_open_flags flags,
            struct vmdk_error *err)
{
  const char *what = "is of an unknown kind";

  switch (st->st_mode & S_IFMT) {
  case S_IFREG:
    return 0;
  case S_IFBLK:
    if (flags & STORE_FROM_USER)
      return 0;
    what = "is a block device";
    break;
  case S_IFLNK:
    what = "is a symbolic link";
    break;
  case S_IFIFO:
    what = "is a FIFO";
    break;
  case S_IFSOCK:
    what = "is a socket";
    break;
  case S_IFCHR:
    what = "is a character device";
    break;
  case S_IFDIR:
    what = "is a directory";
    break;
  }
  return fail (err, ERR_DENIED, "%s, not a regular file", what);
}

/* Files in /proc and /sys are called regular, but what they hold is made
 * when they are read, and reading some of them acts.
 */
static int
check_file_system (int fd, struct vmdk_error *err)
{
#ifdef __linux__
  struct statfs fs;

  if (fstatfs (fd, &fs) == 0
      && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC))
    return fail (err, ERR_DENIED, "is a file of the kernel's (/proc or /sys)");
#else
  (void) fd;
  (void) err;
#endif
  return 0;
}

/* Open BASE in the directory PARENT; returns the descriptor or -1. */
static int
open_base (int parent, const char *base, enum store_open_flags flags,
           struct vmdk_error *err)
{
  const bool follow = flags & STORE_FROM_USER;
  const bool writable = flags & STORE_WRITABLE;
  CLEANUP_FD int fd = -1;
  struct stat before, after;

  if (fstatat (parent, base, &before, follow ? 0 : AT_SYMLINK_NOFOLLOW) == -1)
    return fail_open (err, errno);
  if (check_type (&before, flags, err) == -1)
    return -1;
  fd = media_file_openat (
    parent, base, (writable ? O_RDWR : O_RDONLY) | (follow ? 0 : O_NOFOLLOW));
  if (fd == -1)
    return writable ? fail_open_writable (err, errno) : fail_open (err, errno);
  if (fstat (fd, &after) == -1)
    return fail_errno (err, errno, "fstat");
  if (before.st_dev != after.st_dev || before.st_ino != after.st_ino
      || before.st_mode != after.st_mode)
    return fail (err, ERR_DENIED, "was replaced while it was being opened");
  if (check_file_system (fd, err) == -1)
    return -1;
  return steal_fd (&fd);
}

/* Replace *PARENT by its folder NAME. */
static int
step_down (int *parent, const char *name, struct vmdk_error *err)
{
  const int fd = openat (*parent, name, FOLDER_FLAGS | O_NOFOLLOW);
  const int errnum = errno;
  struct stat st;

  if (fd != -1) {
    close (*parent);
    *parent = fd;
    return 0;
  }
  if (fstatat (*parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0
      && S_ISLNK (st.st_mode))
    return fail (err, ERR_DENIED, "its folder %s is a symbolic link",
                 NAME (name));
  return fail_open (err, errnum);
}

/* Walk down to the last component of NAME, which is inside.  *BASE is that
 * component.  Returns a descriptor of its own.
 */
static int
walk_down (const struct store_dir *dir, char *name, const char **base,
           struct vmdk_error *err)
{
  CLEANUP_FD int parent = openat (dir->fd, ".", FOLDER_FLAGS);
  char *slash;

  if (parent == -1)
    return fail_open (err, errno);
  while ((slash = strchr (name, '/'))) {
    *slash = '\0';
    if (step_down (&parent, name, err) == -1)
      return -1;
    name = slash + 1;
  }
  *base = name;
  return steal_fd (&parent);
}

static int
open_inside (const struct store_dir *dir, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  CLEANUP_FREE char *path = NULL;
  CLEANUP_FD int parent = -1;
  const char *base = NULL;

  if (!strchr (name, '/'))
    return open_base (dir->fd, name, flags, err);
  path = strdup (name);
  if (!path)
    return fail_memory (err);
  parent = walk_down (dir, path, &base, err);
  if (parent == -1)
    return -1;
  return open_base (parent, base, flags, err);
}

/* A file that was reached through the operator's links cannot be had back
 * without them, and there are few of those, so it stays open.
 */
static struct media *
dir_open (struct store *store, const char *name, enum store_open_flags flags,
          struct vmdk_error *err)
{
  const struct store_dir *dir = (struct store_dir *) store;
  const bool from_user = flags & STORE_FROM_USER;
  struct media_file_source source = { .dirfd = from_user ? -1 : dir->fd };
  CLEANUP_FREE char *copy = strdup (name);
  int fd;

  if (!from_user)
    source.path = strdup (name);
  if (!copy || (!from_user && !source.path)) {
    free (source.path);
    fail_memory (err);
    return NULL;
  }
  fd = from_user ? open_base (dir->fd, name, flags, err)
                 : open_inside (dir, name, flags, err);
  if (fd == -1) {
    free (source.path);
    return NULL;
  }
  return media_file_new (fd, steal_ptr (&copy), source, err);
}

/* Where a name that is to change lives. */
struct place {
  int parent; /* the folder's descriptor; owned */
  bool below; /* it is not the store's own */
  char *path; /* owned */
  const char *base;
};
#define PLACE_EMPTY \
  {                 \
    .parent = -1    \
  }

static void
cleanup_place (struct place *place)
{
  cleanup_fd (&place->parent);
  cleanup_free (&place->path);
}
#define CLEANUP_PLACE CLEANUP (place)

static int
find_place (const struct store_dir *dir, const char *name, struct place *place,
            struct vmdk_error *err)
{
  place->below = strchr (name, '/');
  place->path = strdup (name);
  if (!place->path)
    return fail_memory (err);
  place->parent = walk_down (dir, place->path, &place->base, err);
  if (place->parent != -1)
    return 0;
  return err->kind == ERR_MISSING
           ? fail (err, ERR_MISSING, "its folder is not there")
           : -1;
}

/* FOLDER cannot be used itself: it is open for searching only. */
static int
sync_folder (int folder, struct vmdk_error *err)
{
  CLEANUP_FD int fd = media_file_openat (folder, ".", O_RDONLY | O_DIRECTORY);
  int r;

  if (fd == -1)
    return fail_errno (err, errno, "its folder cannot be opened to flush it");
  do
    r = fsync (fd);
  while (r == -1 && errno == EINTR);
  if (r == -1)
    return fail_errno (err, errno, "flushing its folder");
  return 0;
}

static int
place_changed (const struct place *place, struct vmdk_error *err)
{
  return place->below ? sync_folder (place->parent, err) : 0;
}

static int
fail_change (struct vmdk_error *err, int errnum, const char *what)
{
  if (errnum == ENOENT)
    return fail (err, ERR_MISSING, "no such file");
  if (errnum == EROFS)
    return fail (err, ERR_READ_ONLY, "%s: its file system is read-only", what);
  return fail_errno (err, errnum, "%s", what);
}

static int
fail_create (struct vmdk_error *err, int errnum)
{
  if (errnum != EEXIST)
    return fail_change (err, errnum, "cannot be created");
  fail (err, ERR_ARGUMENT, "exists already");
  err->errnum = EEXIST;
  return -1;
}

#define CREATE_FLAGS \
  (O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY)

static struct media *
dir_create (struct store *store, const char *name, unsigned mode,
            struct vmdk_error *err)
{
  const struct media_file_source source = { .dirfd = -1 };
  CLEANUP_PLACE struct place place = PLACE_EMPTY;
  CLEANUP_FREE char *copy = strdup (name);
  struct media *media = NULL;
  int fd;

  if (!copy) {
    fail_memory (err);
    return NULL;
  }
  if (find_place ((struct store_dir *) store, name, &place, err) == -1)
    return NULL;
  fd = openat (place.parent, place.base, CREATE_FLAGS, mode & 0777);
  if (fd == -1) {
    fail_create (err, errno);
    return NULL;
  }
  if (place_changed (&place, err) == 0)
    media = media_file_new (fd, steal_ptr (&copy), source, err);
  else
    close (fd);
  if (!media)
    unlinkat (place.parent, place.base, 0);
  return media;
}

static int
dir_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  CLEANUP_PLACE struct place place = PLACE_EMPTY;

  if (find_place ((struct store_dir *) store, name, &place, err) == -1)
    return -1;
  if (unlinkat (place.parent, place.base, 0) == -1)
    return fail_change (err, errno, "cannot be removed");
  return place_changed (&place, err);
}

static int
dir_rename (struct store *store, const char *from, const char *to,
            struct vmdk_error *err)
{
  const struct store_dir *dir = (struct store_dir *) store;
  CLEANUP_PLACE struct place source = PLACE_EMPTY, target = PLACE_EMPTY;
  struct stat st;

  if (find_place (dir, from, &source, err) == -1)
    return -1;
  if (find_place (dir, to, &target, err) == -1)
    return fail_prefix (err, "new name %s", NAME (to));
  if (fstatat (source.parent, source.base, &st, AT_SYMLINK_NOFOLLOW) == -1)
    return fail_open (err, errno);
  if (check_type (&st, STORE_FROM_FILE, err) == -1)
    return -1;
  if (renameat (source.parent, source.base, target.parent, target.base) == -1)
    return fail_change (err, errno, "cannot be renamed");
  /* The new name first, lest the file have none. */
  if (place_changed (&target, err) == -1)
    return -1;
  return place_changed (&source, err);
}

/* What file systems that have no second names say. */
static int
fail_link (struct vmdk_error *err, int errnum)
{
  if (errnum != EPERM && errnum != EOPNOTSUPP && errnum != ENOSYS
      && errnum != EINVAL && errnum != EXDEV)
    return fail_create (err, errnum);
  fail (err, ERR_UNSUPPORTED, "%s",
        errnum == EXDEV ? "the new name is on another file system"
                        : "its file system has no hard links");
  err->errnum = errnum;
  return -1;
}

/* Where the file NAME is, and where it is to be. */
static int
find_both (struct store *store, const char *name, struct store *to,
           const char *to_name, struct place *source, struct place *target,
           struct vmdk_error *err)
{
  struct stat st;

  if (find_place ((struct store_dir *) store, name, source, err) == -1)
    return -1;
  if (find_place ((struct store_dir *) to, to_name, target, err) == -1)
    return fail_prefix (err, "new name %s", NAME (to_name));
  if (fstatat (source->parent, source->base, &st, AT_SYMLINK_NOFOLLOW) == -1)
    return fail_open (err, errno);
  return check_type (&st, STORE_FROM_FILE, err);
}

static int
dir_link (struct store *store, const char *name, struct store *to,
          const char *to_name, struct vmdk_error *err)
{
  CLEANUP_PLACE struct place source = PLACE_EMPTY, target = PLACE_EMPTY;

  if (find_both (store, name, to, to_name, &source, &target, err) == -1)
    return -1;
  if (linkat (source.parent, source.base, target.parent, target.base, 0) == -1)
    return fail_link (err, errno);
  return place_changed (&target, err);
}

static int
dir_move (struct store *store, const char *name, struct store *to,
          const char *to_name, struct vmdk_error *err)
{
  CLEANUP_PLACE struct place source = PLACE_EMPTY, target = PLACE_EMPTY;

  if (find_both (store, name, to, to_name, &source, &target, err) == -1)
    return -1;
  if (renameat2 (source.parent, source.base, target.parent, target.base,
                 RENAME_NOREPLACE)
      == -1)
    return fail_link (err, errno);
  if (place_changed (&target, err) == -1)
    return -1;
  return place_changed (&source, err);
}

static int
dir_flush (struct store *store, struct vmdk_error *err)
{
  return sync_folder (((struct store_dir *) store)->fd, err);
}

/* Returns NULL on errors. */
static DIR *
open_list (int parent, const char *name, struct vmdk_error *err)
{
  const int fd =
    media_file_openat (parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR *list = fd == -1 ? NULL : fdopendir (fd);
  const int errnum = errno;

  if (list)
    return list;
  if (fd != -1)
    close (fd);
  fail_errno (err, errnum, "cannot be listed");
  return NULL;
}

/* The next entry that is not the folder or its parent; NULL at the end, with
 * errno 0.
 */
static const char *
next_entry (DIR *list)
{
  const struct dirent *entry;

  do {
    errno = 0;
    entry = readdir (list);
  } while (entry
           && (strcmp (entry->d_name, ".") == 0
               || strcmp (entry->d_name, "..") == 0));
  return entry ? entry->d_name : NULL;
}

static int
dir_list (struct store *store,
          int (*visit) (void *opaque, const char *name,
                        struct vmdk_error *err),
          void *opaque, struct vmdk_error *err)
{
  const struct store_dir *dir = (struct store_dir *) store;
  CLEANUP_DIR DIR *list = open_list (dir->fd, ".", err);
  const char *name;

  if (!list)
    return -1;
  while ((name = next_entry (list)))
    if (visit (opaque, name, err) == -1)
      return -1;
  return errno ? fail_errno (err, errno, "listing the folder") : 0;
}

/* How many entries of a FILE.lck we look at; in real life there are a few. */
#define LCK_MAX_ENTRIES 1024

/* A member is exactly that long: text, padded with zeros. */
#define LCK_MEMBER_SIZE 512

static void __attribute__ ((format (printf, 3, 4)))
set_holder (char *holder, size_t holder_size, const char *fmt, ...)
{
  char raw[ERROR_TEXT_SIZE];
  va_list args;

  va_start (args, fmt);
  vsnprintf (raw, sizeof raw, fmt, args);
  va_end (args);
  text_escape (holder, holder_size, raw);
}

static bool
is_lck_member (const char *name)
{
  const size_t len = strlen (name);

  return len > 5 && name[0] == 'M' && strcmp (name + len - 4, ".lck") == 0;
}

/* Read a member into TEXT, terminated.  Sets errno. */
static int
read_member (int folder, const char *member, char text[LCK_MEMBER_SIZE + 1])
{
  struct stat st;
  CLEANUP_FD int fd = -1;
  ssize_t r;

  if (fstatat (folder, member, &st, AT_SYMLINK_NOFOLLOW) == -1)
    return -1;
  if (!S_ISREG (st.st_mode)) {
    errno = EINVAL;
    return -1;
  }
  fd = media_file_openat (folder, member, O_RDONLY | O_NOFOLLOW);
  if (fd == -1)
    return -1;
  do
    r = pread (fd, text, LCK_MEMBER_SIZE, 0);
  while (r == -1 && errno == EINTR);
  if (r == -1)
    return -1;
  text[r] = '\0';
  return 0;
}

/* Set HOLDER if MEMBER is an exclusive lock, or one that we do not
 * understand.  Its text is "machine process-created clock kind ...", kind
 * S for shared and X for exclusive.
 */
static void
examine_member (int folder, const char *member, char *holder,
                size_t holder_size)
{
  char text[LCK_MEMBER_SIZE + 1];
  char machine[sizeof text], process[sizeof text], kind[sizeof text];

  if (read_member (folder, member, text) == -1) {
    if (errno != ENOENT) /* else it was released just now */
      set_holder (holder, holder_size, "locked by VMware (%s cannot be read)",
                  NAME (member));
    return;
  }
  if (sscanf (text, "%512s %512s %*s %512s", machine, process, kind) != 3) {
    set_holder (holder, holder_size, "locked by VMware (%s is not understood)",
                NAME (member));
    return;
  }
  process[strcspn (process, "-")] = '\0';
  if (strcmp (kind, "S") != 0)
    set_holder (holder, holder_size,
                "locked by VMware (machine %s, process %s)", NAME (machine),
                NAME (process));
}

static int
examine_lck (int parent, const char *lck, char *holder, size_t holder_size,
             struct vmdk_error *err)
{
  CLEANUP_DIR DIR *list = open_list (parent, lck, err);
  const char *member;
  unsigned nr;

  if (!list)
    return fail_prefix (err, "%s", NAME (lck));
  for (nr = 0; (member = next_entry (list)) && !*holder; nr++) {
    if (nr == LCK_MAX_ENTRIES)
      set_holder (holder, holder_size,
                  "locked by VMware, perhaps (%s has more than %d entries)",
                  NAME (lck), LCK_MAX_ENTRIES);
    else if (is_lck_member (member))
      examine_member (dirfd (list), member, holder, holder_size);
  }
  return 0;
}

static int
dir_lock_holder (struct store *store, const char *name, char *holder,
                 size_t holder_size, struct vmdk_error *err)
{
  const struct store_dir *dir = (struct store_dir *) store;
  CLEANUP_FREE char *lck = NULL;
  struct stat st;

  if (asprintf (&lck, "%s.lck", name) == -1) {
    lck = NULL;
    return fail_memory (err);
  }
  if (fstatat (dir->fd, lck, &st, AT_SYMLINK_NOFOLLOW) == -1) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
      return 0;
    return fail_errno (err, errno, "%s", NAME (lck));
  }
  if (S_ISDIR (st.st_mode))
    return examine_lck (dir->fd, lck, holder, holder_size, err);
  /* What old products made was a plain file. */
  set_holder (holder, holder_size, "locked by VMware (%s exists)", NAME (lck));
  return 0;
}

static void
dir_close (struct store *store)
{
  struct store_dir *dir = (struct store_dir *) store;

  if (dir->fd != -1)
    close (dir->fd);
  free (store->name);
  free (dir);
}

static const struct store_ops dir_ops; /* below */

/* Takes over NAME, NULL when there was no memory for it, and FD. */
static struct store *
dir_new (char *name, int fd, struct vmdk_error *err)
{
  struct store_dir *dir = name ? calloc (1, sizeof *dir) : NULL;

  if (!dir) {
    close (fd);
    free (name);
    fail_memory (err);
    return NULL;
  }
  dir->store.ops = &dir_ops;
  dir->store.name = name;
  dir->fd = fd;
  return &dir->store;
}

/* Returns the descriptor or -1. */
static int
open_folder (int parent, const char *path, struct vmdk_error *err)
{
  const int fd = openat (parent, path, FOLDER_FLAGS);

  if (fd != -1)
    return fd;
  if (errno == ENOENT)
    return fail (err, ERR_MISSING, "no such folder");
  if (errno == ENOTDIR)
    return fail (err, ERR_MISSING, "is not a folder");
  return fail_errno (err, errno, "the folder cannot be opened");
}

static struct store *
dir_folder (struct store *store, const char *path, struct vmdk_error *err)
{
  const struct store_dir *dir = (struct store_dir *) store;
  const bool alone = path[0] == '/' || strcmp (store->name, ".") == 0;
  const int fd = open_folder (dir->fd, path, err);
  char *name;

  if (fd == -1)
    return NULL;
  if (asprintf (&name, "%s%s%s", alone ? "" : store->name, alone ? "" : "/",
                path)
      == -1)
    name = NULL;
  return dir_new (name, fd, err);
}

static const struct store_ops dir_ops = {
  .open = dir_open,
  .folder = dir_folder,
  .list = dir_list,
  .lock_holder = dir_lock_holder,
  .create = dir_create,
  .remove = dir_remove,
  .rename = dir_rename,
  .link = dir_link,
  .move = dir_move,
  .flush = dir_flush,
  .close = dir_close,
};

struct store *
store_dir_new (const char *path, struct vmdk_error *err)
{
  const int fd = open_folder (AT_FDCWD, path, err);

  return fd == -1 ? NULL : dir_new (strdup (path), fd, err);
}
