/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk of one medium.  See single-store.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "create.h"
#include "single-store.h"

#define EXTENT_NAME "disk-flat.vmdk"

struct single_store {
  struct store store;
  struct store *text;  /* has the descriptor; owned */
  struct media *media; /* owned */
};

/* What is opened under the extent's name: the medium again, whose size no
 * write can change.
 */
struct window {
  struct media media;
  struct media *whole; /* borrowed */
};

static struct media *
whole_of (struct media *media)
{
  return ((struct window *) media)->whole;
}

static int
window_pread (struct media *media, void *buf, size_t count, uint64_t offset,
              struct vmdk_error *err)
{
  return media_pread (whole_of (media), buf, count, offset, err);
}

static int
window_pwrite (struct media *media, const void *buf, size_t count,
               uint64_t offset, struct vmdk_error *err)
{
  if (!range_inside (offset, count, media->size))
    return fail (err, ERR_ARGUMENT, "this is beyond the disk's end");
  return media_pwrite (whole_of (media), buf, count, offset, err);
}

static int
window_flush (struct media *media, struct vmdk_error *err)
{
  return media_flush (whole_of (media), err);
}

static int
window_punch (struct media *media, uint64_t offset, uint64_t count,
              struct vmdk_error *err)
{
  return media_punch (whole_of (media), offset, count, err);
}

static int
window_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
            uint64_t *length, struct vmdk_error *err)
{
  return media_map (whole_of (media), offset, count, hole, length, err);
}

static void
window_readahead (struct media *media, uint64_t offset, uint64_t count)
{
  media_readahead (whole_of (media), offset, count);
}

static void
window_close (struct media *media)
{
  free (media->name);
  free (media);
}

static const struct media_ops read_ops = {
  .pread = window_pread,
  .map = window_map,
  .readahead = window_readahead,
  .close = window_close,
};

static const struct media_ops write_ops = {
  .pread = window_pread,
  .pwrite = window_pwrite,
  .flush = window_flush,
  .punch = window_punch,
  .map = window_map,
  .readahead = window_readahead,
  .close = window_close,
};

static struct media *
window_new (struct media *whole, bool writable, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct window *window = calloc (1, sizeof *window);

  if (!window) {
    fail_memory (err);
    return NULL;
  }
  window->whole = whole;
  media = &window->media;
  media->ops = writable ? &write_ops : &read_ops;
  media->size = whole->size;
  media->identity = whole->identity;
  media->is_regular = true;
  media->name = strdup (whole->name);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&media);
}

/* --------------------------------------------------------------------- */

static struct media *
single_open (struct store *store, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  struct single_store *single = (struct single_store *) store;

  if (strcmp (name, EXTENT_NAME) != 0)
    return store_open (single->text, name, flags, err);
  if ((flags & STORE_WRITABLE) && !single->media->ops->pwrite) {
    fail (err, ERR_READ_ONLY, "is open for reading only");
    return NULL;
  }
  return window_new (single->media, flags & STORE_WRITABLE, err);
}

static int
single_list (struct store *store,
             int (*visit) (void *opaque, const char *name,
                           struct vmdk_error *err),
             void *opaque, struct vmdk_error *err)
{
  return store_list (((struct single_store *) store)->text, visit, opaque,
                     err);
}

/* There is nothing to be made beside a disk, but a store without it counts as
 * one that cannot be written.
 */
static struct media *
single_create (struct store *store, const char *name, unsigned mode,
               struct vmdk_error *err)
{
  (void) store;
  (void) name;
  (void) mode;
  fail (err, ERR_UNSUPPORTED, "nothing can be made beside a remote disk");
  return NULL;
}

static void
single_close (struct store *store)
{
  struct single_store *single = (struct single_store *) store;

  store_close (single->text);
  media_close (single->media);
  free (store->name);
  free (single);
}

static const struct store_ops single_ops = {
  .open = single_open,
  .list = single_list,
  .create = single_create,
  .close = single_close,
};

static int
add_text (struct single_store *single, const struct single_disk *disk,
          struct vmdk_error *err)
{
  /* a name from the host goes nowhere unless it is a known one */
  const char *known =
    disk->adapter ? disk_adapter_parse (disk->adapter) : NULL;
  const char *adapter = known ? known : "lsilogic";
  const uint64_t nr_sectors = bytes_to_sectors (single->media->size);
  struct disk_geometry g = disk_geometry_for (nr_sectors, adapter);
  char text[1024];
  const int len = snprintf (
    text, sizeof text,
    "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
    "createType=\"vmfs\"\n\n# Extent description\n"
    "RW %" PRIu64 " VMFS \"" EXTENT_NAME "\"\n\n# The Disk Data Base\n"
    "#DDB\n\nddb.adapterType = \"%s\"\n"
    "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
    "ddb.geometry.heads = \"%u\"\nddb.geometry.sectors = \"%u\"\n"
    "ddb.virtualHWVersion = \"4\"\n",
    nr_sectors, adapter, disk->cylinders ? disk->cylinders : g.cylinders,
    disk->cylinders ? disk->heads : g.heads,
    disk->cylinders ? disk->sectors : g.sectors);

  if (len < 0 || (size_t) len >= sizeof text)
    return fail_memory (err);
  return store_memory_add (single->text, SINGLE_STORE_NAME, text, (size_t) len,
                           err);
}

struct store *
single_store_new (struct media *media, const struct single_disk *disk,
                  struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *taken = media;
  CLEANUP_STORE struct store *store = NULL;
  struct single_store *single;

  if (media->size == 0 || media->size % SECTOR_SIZE != 0) {
    fail (err, ERR_UNSUPPORTED,
          "a disk of %" PRIu64 " bytes, which are no whole sectors",
          (uint64_t) media->size);
    return NULL;
  }
  single = calloc (1, sizeof *single);
  if (!single) {
    fail_memory (err);
    return NULL;
  }
  store = &single->store;
  store->ops = &single_ops;
  single->media = steal_ptr (&taken);
  store->name = strdup (media->name);
  if (!store->name) {
    fail_memory (err);
    return NULL;
  }
  single->text = store_memory_new (media->name, err);
  if (!single->text || add_text (single, disk, err) == -1)
    return NULL;
  return steal_ptr (&store);
}
