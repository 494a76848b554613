/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk on port 902 as a medium.  See nfc-media.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nfc-media.h"

struct nfc_media {
  struct media media;
  struct nfc_disk *disk;
  bool writable;
  struct vmdk_log log;
};

static struct nfc_disk *
disk_of (struct media *media)
{
  return ((struct nfc_media *) media)->disk;
}

static int
nfc_pread (struct media *media, void *buf, size_t count, uint64_t offset,
           struct vmdk_error *err)
{
  return nfc_disk_read (disk_of (media), buf, count, offset, err);
}

static int
nfc_pwrite (struct media *media, const void *buf, size_t count,
            uint64_t offset, struct vmdk_error *err)
{
  return nfc_disk_write (disk_of (media), buf, count, offset, err);
}

static int
nfc_flush (struct media *media, struct vmdk_error *err)
{
  return nfc_disk_flush (disk_of (media), err);
}

static int
nfc_punch (struct media *media, uint64_t offset, uint64_t count,
           struct vmdk_error *err)
{
  return nfc_disk_zero (disk_of (media), count, offset, err);
}

static bool
take_first (void *opaque, const struct disk_piece *piece)
{
  *(struct disk_piece *) opaque = *piece;
  return false;
}

static int
nfc_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
         uint64_t *length, struct vmdk_error *err)
{
  struct disk_piece piece = { .length = count };

  if (nfc_disk_map (disk_of (media), offset, count, take_first, &piece, err)
      == -1)
    return -1;
  *hole = piece.hole && piece.zero;
  *length = piece.length;
  return 0;
}

/* A disk that was written is finished by its flushes; what the host says when
 * it is closed comes too late for the caller, but not for the operator.
 */
static void
nfc_close (struct media *media)
{
  struct nfc_media *m = (struct nfc_media *) media;
  struct vmdk_error err;

  if (m->disk && m->writable && nfc_disk_finish (m->disk, &err) == -1)
    log_warning (&m->log, "%s: closing: %s", NAME (media->name), err.text);
  else if (m->disk && !m->writable)
    nfc_disk_close (m->disk);
  free (media->name);
  free (m);
}

static const struct media_ops read_ops = {
  .pread = nfc_pread,
  .map = nfc_map,
  .close = nfc_close,
};

static const struct media_ops write_ops = {
  .pread = nfc_pread,
  .pwrite = nfc_pwrite,
  .flush = nfc_flush,
  .punch = nfc_punch,
  .map = nfc_map,
  .close = nfc_close,
};

static int
read_known (struct nfc_disk *disk, struct single_disk *known,
            char adapter[NFC_ADAPTER_SIZE], struct vmdk_error *err)
{
  const struct nfc_geometry g = nfc_disk_geometry (disk);
  CLEANUP_FREE char *value = NULL;

  if (nfc_disk_entry (disk, "adapterType", &value, err) == -1)
    return -1;
  snprintf (adapter, NFC_ADAPTER_SIZE, "%s", value ? value : "");
  *known = (struct single_disk){
    .adapter = adapter,
    .cylinders = g.cylinders,
    .heads = g.heads,
    .sectors = g.sectors,
  };
  return 0;
}

struct media *
nfc_media_open (const struct nfc_settings *settings,
                const struct nfc_ticket_office *office, const char *path,
                bool writable, const struct vmdk_log *log,
                struct single_disk *known, char adapter[NFC_ADAPTER_SIZE],
                enum nfc_reason *reason, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct nfc_media *m = calloc (1, sizeof *m);

  *reason = NFC_FAILED;
  if (!m) {
    fail_memory (err);
    return NULL;
  }
  media = &m->media;
  media->ops = writable ? &write_ops : &read_ops;
  media->is_regular = true;
  m->writable = writable;
  m->log = *log;
  media->name = strdup (path);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  m->disk = nfc_disk_open (settings, office, path, writable, log, reason, err);
  if (!m->disk)
    return NULL;
  media->size = nfc_disk_size (m->disk);
  return read_known (m->disk, known, adapter, err) == -1 ? NULL
                                                         : steal_ptr (&media);
}

int
nfc_media_entry (struct media *media, const char *key, char **value,
                 struct vmdk_error *err)
{
  return nfc_disk_entry (disk_of (media), key, value, err);
}

void
nfc_media_cancel (struct media *media)
{
  nfc_disk_cancel (disk_of (media));
}
