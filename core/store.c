/* SPDX-License-Identifier: BSD-3-Clause */

/* The checks that every kind of store needs, made once.  See store.h. */

#include <config.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

#define NAME_MAX_BYTES 4096

/* Whether the LEN bytes at P, up to a slash, may be a step downwards. */
static bool
component_is_down (const char *p, size_t len)
{
  return len > 0 && !(len == 1 && p[0] == '.')
         && !(len == 2 && p[0] == '.' && p[1] == '.');
}

static bool
has_drive_letter (const char *name)
{
  return ((name[0] >= 'A' && name[0] <= 'Z')
          || (name[0] >= 'a' && name[0] <= 'z'))
         && name[1] == ':';
}

bool
store_name_is_inside (const char *name)
{
  const char *p;
  size_t len;

  if (strnlen (name, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
    return false;
  for (p = name; *p; p++)
    if ((unsigned char) *p < 0x20 || *p == 0x7f || *p == '\\')
      return false;
  if (has_drive_letter (name))
    return false;
  for (p = name;; p += len + 1) {
    len = strcspn (p, "/");
    if (!component_is_down (p, len)) /* an absolute name starts with "" */
      return false;
    if (p[len] == '\0')
      return true;
  }
}

static int
check_inside (const char *name, struct vmdk_error *err)
{
  if (store_name_is_inside (name))
    return 0;
  return fail (err, ERR_DENIED, "is not a name inside its folder");
}

static int
check_changes (const struct store *store, struct vmdk_error *err)
{
  if (store->ops->create)
    return 0;
  return fail (err, ERR_READ_ONLY,
               "nothing in %s can be changed; open it read-only or copy it "
               "out",
               NAME (store->name));
}

struct media *
store_open (struct store *store, const char *name, enum store_open_flags flags,
            struct vmdk_error *err)
{
  if (!(flags & STORE_FROM_USER) && check_inside (name, err) == -1)
    return NULL;
  if (*name == '\0') {
    fail (err, ERR_MISSING, "the name is empty");
    return NULL;
  }
  if ((flags & STORE_WRITABLE) && check_changes (store, err) == -1)
    return NULL;
  return store->ops->open (store, name, flags, err);
}

struct store *
store_folder (struct store *store, const char *path, struct vmdk_error *err)
{
  if (!store->ops->folder) {
    fail (err, ERR_UNSUPPORTED, "there is no other folder beside %s",
          NAME (store->name));
    return NULL;
  }
  return store->ops->folder (store, path, err);
}

int
store_list (struct store *store,
            int (*visit) (void *opaque, const char *name,
                          struct vmdk_error *err),
            void *opaque, struct vmdk_error *err)
{
  return store->ops->list (store, visit, opaque, err);
}

int
store_lock_holder (struct store *store, const char *name, char *holder,
                   size_t holder_size, struct vmdk_error *err)
{
  assert (holder_size > 0);
  holder[0] = '\0';
  if (!store->ops->lock_holder)
    return 0;
  return store->ops->lock_holder (store, name, holder, holder_size, err);
}

struct media *
store_create (struct store *store, const char *name, unsigned mode,
              struct vmdk_error *err)
{
  if (check_inside (name, err) == -1 || check_changes (store, err) == -1)
    return NULL;
  return store->ops->create (store, name, mode, err);
}

int
store_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  if (check_inside (name, err) == -1 || check_changes (store, err) == -1)
    return -1;
  return store->ops->remove (store, name, err);
}

int
store_rename (struct store *store, const char *from, const char *to,
              struct vmdk_error *err)
{
  if (check_inside (from, err) == -1)
    return -1;
  if (check_inside (to, err) == -1)
    return fail_prefix (err, "new name %s", NAME (to));
  if (check_changes (store, err) == -1)
    return -1;
  return store->ops->rename (store, from, to, err);
}

/* A file of STORE is to be in TO. */
static int
check_both (struct store *store, const char *name, struct store *to,
            const char *to_name, struct vmdk_error *err)
{
  if (check_inside (name, err) == -1)
    return -1;
  if (check_inside (to_name, err) == -1)
    return fail_prefix (err, "new name %s", NAME (to_name));
  return check_changes (store, err) == -1 ? -1 : check_changes (to, err);
}

int
store_link (struct store *store, const char *name, struct store *to,
            const char *to_name, struct vmdk_error *err)
{
  if (check_both (store, name, to, to_name, err) == -1)
    return -1;
  if (store->ops != to->ops || !store->ops->link)
    return fail (err, ERR_UNSUPPORTED,
                 "a file in %s cannot have a second name in %s",
                 NAME (store->name), NAME (to->name));
  return store->ops->link (store, name, to, to_name, err);
}

int
store_move (struct store *store, const char *name, struct store *to,
            const char *to_name, struct vmdk_error *err)
{
  if (check_both (store, name, to, to_name, err) == -1)
    return -1;
  if (store->ops != to->ops || !store->ops->move)
    return fail (err, ERR_UNSUPPORTED, "a file in %s cannot be moved to %s",
                 NAME (store->name), NAME (to->name));
  return store->ops->move (store, name, to, to_name, err);
}

int
store_flush (struct store *store, struct vmdk_error *err)
{
  return store->ops->flush ? store->ops->flush (store, err) : 0;
}

void
store_close (struct store *store)
{
  if (store)
    store->ops->close (store);
}
