/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks among a machine's devices.  See inventory.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "datastore-path.h"
#include "inventory-parts.h"
#include "properties.h"

/* VMware makes chains of 32. */
#define MAX_LINKS 255

/* A SCSI controller takes 64 at most, and a machine a few controllers. */
#define MAX_DISKS 1024

static size_t
count_links (const struct xml_node *backing)
{
  size_t count = 0;

  for (; backing; backing = xml_child (backing, "parent"))
    count++;
  return count;
}

static int
read_links (struct vm_disk *disk, const struct xml_node *backing,
            struct vmdk_error *err)
{
  const size_t count = count_links (backing);

  if (count == 0 || count > MAX_LINKS)
    return fail (err, ERR_CORRUPT,
                 "disk %" PRId32 " has %zu files in its chain, limits are 1 "
                 "and %d",
                 disk->key, count, MAX_LINKS);
  disk->links = calloc (count, sizeof *disk->links);
  if (!disk->links)
    return fail_memory (err);
  disk->nr_links = count;
  for (size_t i = 0; i < count; i++, backing = xml_child (backing, "parent")) {
    struct disk_link *link = &disk->links[i];

    link->file = xml_text (backing, "fileName");
    link->content_id = xml_text (backing, "contentId");
    link->change_id = xml_text (backing, "changeId");
    link->uuid = xml_text (backing, "uuid");
    link->object_id = xml_text (backing, "backingObjectId");
    soap_ref (xml_child (backing, "datastore"), &link->datastore);
  }
  return 0;
}

static int
read_capacity (struct vm_disk *disk, const struct xml_node *device,
               struct vmdk_error *err)
{
  uint64_t kib;

  if (xml_u64 (xml_child (device, "capacityInBytes"), &disk->capacity) == -1) {
    if (xml_u64 (xml_child (device, "capacityInKB"), &kib) == -1
        || mul_overflow (kib, 1024, &disk->capacity))
      return fail (err, ERR_CORRUPT,
                   "disk %" PRId32 ": its capacity is \"%s\"", disk->key,
                   NAME (xml_text (device, "capacityInKB")));
  }
  if (disk->capacity > sectors_to_bytes (MAX_SECTORS))
    return fail (err, ERR_CORRUPT,
                 "disk %" PRId32 ": its capacity is %" PRIu64 " bytes",
                 disk->key, disk->capacity);
  return 0;
}

static int
read_disk (struct vm_disk *disk, const struct xml_node *device,
           struct vmdk_error *err)
{
  const struct xml_node *backing = xml_child (device, "backing");

  if (xml_s32 (xml_child (device, "key"), &disk->key) == -1)
    return fail (err, ERR_CORRUPT, "a disk has the key \"%s\"",
                 NAME (xml_text (device, "key")));
  disk->label = xml_text (xml_child (device, "deviceInfo"), "label");
  disk->backing = backing ? backing->type : "";
  disk->mode = xml_text (backing, "diskMode");
  disk->independent = strncmp (disk->mode, "independent", 11) == 0;
  disk->raw_physical =
    strcmp (xml_text (backing, "compatibilityMode"), "physicalMode") == 0;
  return read_capacity (disk, device, err) == -1
             || read_links (disk, backing, err) == -1
           ? -1
           : 0;
}

static const struct xml_node *
next_disk (const struct xml_node *device)
{
  while (device && strcmp (device->type, "VirtualDisk") != 0)
    device = device->next;
  return device;
}

int
disk_list_read (struct disk_list *list, const struct xml_node *devices,
                struct vmdk_error *err)
{
  const struct xml_node *first = devices ? devices->first : NULL;
  size_t count = 0;

  *list = (struct disk_list){ 0 };
  for (const struct xml_node *d = next_disk (first); d;
       d = next_disk (d->next))
    count++;
  if (count > MAX_DISKS)
    return fail (err, ERR_CORRUPT,
                 "the machine has %zu disks, the limit is %d", count,
                 MAX_DISKS);
  list->ptr = calloc (count ? count : 1, sizeof *list->ptr);
  if (!list->ptr)
    return fail_memory (err);
  for (const struct xml_node *d = next_disk (first); d;
       d = next_disk (d->next))
    if (read_disk (&list->ptr[list->len++], d, err) == -1)
      return -1;
  return 0;
}

void
disk_list_reset (struct disk_list *list)
{
  for (size_t i = 0; i < list->len; i++)
    free (list->ptr[i].links);
  free (list->ptr);
  *list = (struct disk_list){ 0 };
}

const struct vm_disk *
disk_by_key (const struct disk_list *disks, int32_t key)
{
  for (size_t i = 0; i < disks->len; i++)
    if (disks->ptr[i].key == key)
      return &disks->ptr[i];
  return NULL;
}

/* Servers write one blank behind the bracket, people perhaps none.  Which
 * bracket it is does not matter here: both texts have the same.
 */
static bool
same_file (const char *a, const char *b)
{
  while (*a && *a == *b) {
    if (*a == ']') {
      a += a[1] == ' ';
      b += b[1] == ' ';
    }
    a++, b++;
  }
  return *a == *b;
}

static int
fail_find (const struct disk_list *disks, const char *path,
           struct vmdk_error *err)
{
  char known[600] = "";
  size_t used = 0;

  for (size_t i = 0; i < disks->len && used < sizeof known - 220; i++)
    used +=
      (size_t) snprintf (known + used, sizeof known - used, "%s\"%s\"",
                         i ? ", " : "", NAME (disks->ptr[i].links[0].file));
  return fail (err, ERR_MISSING,
               "\"%s\" is not a disk of the virtual machine; it has %s",
               NAME (path), used ? known : "none");
}

const struct vm_disk *
disk_find (const struct disk_list *disks, const char *path, size_t *link,
           struct vmdk_error *err)
{
  for (size_t i = 0; i < disks->len; i++)
    for (size_t j = 0; j < disks->ptr[i].nr_links; j++)
      if (same_file (disks->ptr[i].links[j].file, path)) {
        *link = j;
        return &disks->ptr[i];
      }
  fail_find (disks, path, err);
  return NULL;
}

int
frozen_disks_read (struct session *session, const struct vim_ref *snapshot,
                   struct frozen_disks *frozen, struct vmdk_error *err)
{
  static const char *const names[] = { "config.hardware.device", NULL };

  *frozen = (struct frozen_disks){ 0 };
  if (properties_read (session, snapshot, names, &frozen->answer, err) == 0
      && disk_list_read (
           &frozen->disks,
           property (properties_object (&frozen->answer), names[0]), err)
           == 0)
    return 0;
  frozen_disks_reset (frozen);
  return -1;
}

void
frozen_disks_reset (struct frozen_disks *frozen)
{
  disk_list_reset (&frozen->disks);
  soap_answer_reset (&frozen->answer);
}
