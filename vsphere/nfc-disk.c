/* SPDX-License-Identifier: BSD-3-Clause */

/* Managed disks over port 902.  See nfc-disk.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "nfc-ahead.h"
#include "nfc-bitmap.h"
#include "nfc-disk.h"
#include "nfc-keeper.h"
#include "nfc-ranges.h"
#include "nfc-transfer.h"

struct nfc_disk {
  struct nfc_settings settings;
  struct vmdk_log log;
  char *path;
  bool writable;
  uint64_t size;
  struct nfc_keeper *keeper;
  struct nfc_transfer transfer;
  bool has_transfer;
  struct nfc_ahead *ahead;
  struct nfc_bitmap *bitmap;
  struct nfc_ranges ranges;
};

/* What a request tells: EIO, unless a better number is known. */
static int
failed (const struct nfc_disk *disk, const struct nfc_fault *fault,
        struct vmdk_error *err)
{
  *err = fault->error;
  if (err->kind == ERR_SYSTEM && err->errnum != ENOMEM)
    err->errnum = EIO;
  return fail_prefix (err, "%s", NAME (disk->path));
}

/* --------------------------------------------------------------------- */
/* Opening and closing. */

static int
check_settings (const struct nfc_settings *settings, const char *path,
                struct nfc_fault *fault)
{
  const char *wrong = NULL;

  if (settings->buffer_size < 512 || settings->buffer_size % 512 != 0
      || settings->buffer_size > 2 * 1024 * 1024)
    wrong = "the size of a host's buffer must be whole sectors, at most 2 MiB";
  else if (settings->buffer_count == 0
           || (uint64_t) settings->buffer_size * settings->buffer_count
                > 16 * 1024 * 1024)
    wrong = "a host's buffers must not take more than 16 MiB";
  else if (settings->requests == 0 || settings->requests > NFC_MAX_REQUESTS)
    wrong = "requests in flight must be 1 to 64";
  else if (settings->bytes < NFC_MAX_IO || settings->bytes > NFC_MAX_IN_FLIGHT)
    wrong = "bytes in flight must be 1 MiB to 32 MiB";
  else if (settings->client[0] == '\0'
           || strlen (settings->client) > NFC_MAX_CLIENT_NAME)
    wrong = "a client's name must have 1 to 32 letters";
  else if (path[0] == '\0' || strlen (path) > NFC_MAX_PATH)
    wrong = "a path must have 1 to 4096 bytes";
  return wrong ? NFC_FAIL (fault, NFC_FAILED, ERR_ARGUMENT, "%s", wrong) : 0;
}

/* A question that is no transfer; again when the connection was lost
 * meanwhile.
 */
static int
ask (struct nfc_disk *disk, struct nfc_op *op, struct nfc_fault *fault)
{
  for (int attempt = 0; attempt < 3; attempt++) {
    struct nfc_session *session = nfc_keeper_get (disk->keeper, fault);
    int r;

    if (!session)
      return nfc_blame (fault, NFC_FAILED);
    nfc_session_submit (session, op);
    r = nfc_session_wait (session, op);
    nfc_keeper_put (disk->keeper);
    if (r == 0)
      return 0;
    *fault = op->fault;
    if (fault->reason != NFC_LOST)
      return -1;
  }
  return -1;
}

/* The bitmap's question. */
static int
ask_allocated (void *opaque, uint64_t offset, uint64_t nr_chunks,
               uint8_t *bits, size_t size, struct vmdk_error *err)
{
  struct nfc_disk *disk = opaque;
  struct nfc_op op = { .type = NFC_ALLOCATED,
                       .offset = offset,
                       .chunk = NFC_CHUNK_SIZE,
                       .nr_chunks = nr_chunks,
                       .extra = bits,
                       .extra_size = size };
  struct nfc_fault fault;

  if (ask (disk, &op, &fault) == 0)
    return 0;
  if (fault.reason == NFC_FAILED)
    return failed (disk, &fault, err);
  log_debug (&disk->log, LOG_OPEN,
             "%s: the host does not tell what is allocated: %s", disk->path,
             fault.error.text);
  return 1;
}

static int
make_disk (struct nfc_disk *disk, const struct nfc_ticket_office *office,
           struct nfc_fault *fault)
{
  const struct nfc_settings *settings = &disk->settings;

  if (check_settings (settings, disk->path, fault) == -1)
    return -1;
  if (!settings->tls)
    log_warning (&disk->log,
                 "%s: the contents of the disk cross the network in clear "
                 "(nbd); nbdssl hides them",
                 disk->path);
  disk->keeper = nfc_keeper_open (settings, office, disk->path, disk->writable,
                                  &disk->log, fault);
  if (!disk->keeper)
    return -1;
  disk->size = nfc_keeper_opened (disk->keeper)->capacity;
  nfc_transfer_init (&disk->transfer, disk->keeper, settings, &disk->log);
  disk->has_transfer = true;
  disk->ahead =
    nfc_ahead_new (disk->keeper, disk->size, settings->bytes, fault);
  if (!disk->ahead)
    return -1;
  disk->bitmap = nfc_bitmap_new (
    disk->size, (struct nfc_bitmap_source){ ask_allocated, disk },
    &fault->error);
  return disk->bitmap ? 0 : nfc_blame (fault, NFC_FAILED);
}

static int
free_disk (struct nfc_disk *disk, struct nfc_fault *fault)
{
  int r;

  nfc_ahead_free (disk->ahead);
  nfc_bitmap_free (disk->bitmap);
  if (disk->has_transfer)
    nfc_transfer_destroy (&disk->transfer);
  r = nfc_keeper_close (disk->keeper, fault);
  nfc_ranges_destroy (&disk->ranges);
  free (disk->path);
  free (disk);
  return r;
}

struct nfc_disk *
nfc_disk_open (const struct nfc_settings *settings,
               const struct nfc_ticket_office *office, const char *path,
               bool writable, const struct vmdk_log *log,
               enum nfc_reason *reason, struct vmdk_error *err)
{
  struct nfc_disk *disk = calloc (1, sizeof *disk);
  struct nfc_fault fault = { .reason = NFC_FINE };

  *reason = NFC_FAILED;
  if (disk)
    disk->path = strdup (path);
  if (!disk || !disk->path) {
    free (disk);
    fail_memory (err);
    return NULL;
  }
  disk->settings = *settings;
  disk->log = *log;
  disk->writable = writable;
  nfc_ranges_init (&disk->ranges);
  if (make_disk (disk, office, &fault) == 0) {
    *reason = NFC_FINE;
    return disk;
  }
  *reason = fault.reason;
  *err = fault.error;
  fail_prefix (err, "%s", NAME (path));
  free_disk (disk, NULL);
  return NULL;
}

int
nfc_disk_finish (struct nfc_disk *disk, struct vmdk_error *err)
{
  char path[NAME_TEXT_SIZE];
  struct nfc_fault fault;

  name_text (path, disk->path);
  if (free_disk (disk, &fault) == 0)
    return 0;
  *err = fault.error;
  return fail_prefix (err, "%s: closing", path);
}

void
nfc_disk_close (struct nfc_disk *disk)
{
  if (disk)
    free_disk (disk, NULL);
}

void
nfc_disk_cancel (struct nfc_disk *disk)
{
  nfc_keeper_cancel (disk->keeper);
}

uint64_t
nfc_disk_size (const struct nfc_disk *disk)
{
  return disk->size;
}

struct nfc_geometry
nfc_disk_geometry (const struct nfc_disk *disk)
{
  const struct nfc_opened *opened = nfc_keeper_opened (disk->keeper);

  return (struct nfc_geometry){ opened->cylinders, opened->heads,
                                opened->sectors };
}

/* --------------------------------------------------------------------- */
/* Ranges. */

static int
check_range (const struct nfc_disk *disk, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  if (range_inside (offset, count, disk->size))
    return 0;
  return fail (err, ERR_ARGUMENT,
               "%s: %" PRIu64 " bytes at %" PRIu64
               " are not within the disk (%" PRIu64 " bytes)",
               NAME (disk->path), count, offset, disk->size);
}

/* The sectors of a range, taken. */
static struct nfc_range *
take_range (struct nfc_disk *disk, struct nfc_range *range, bool write,
            uint64_t offset, uint64_t count)
{
  range->write = write;
  range->offset = offset / SECTOR_SIZE * SECTOR_SIZE;
  range->count =
    div_round_up (offset + count, SECTOR_SIZE) * SECTOR_SIZE - range->offset;
  nfc_ranges_take (&disk->ranges, range);
  return range;
}

/* --------------------------------------------------------------------- */
/* Reading.  The caller holds the range. */

static int
read_sectors (struct nfc_disk *disk, uint8_t *buf, uint64_t offset,
              uint64_t count, struct nfc_fault *fault)
{
  nfc_ahead_note (disk->ahead, offset, count,
                  nfc_transfer_compression (&disk->transfer));
  while (count > 0) {
    size_t missing = 0;
    const size_t n =
      nfc_ahead_take (disk->ahead, buf, count, offset, &missing);

    if (n == 0
        && nfc_transfer_run (&disk->transfer, false, buf, offset, missing,
                             fault)
             == -1)
      return -1;
    buf += n + missing;
    offset += n + missing;
    count -= n + missing;
  }
  return 0;
}

/* A part of a sector. */
static int
read_within (struct nfc_disk *disk, uint8_t *buf, uint64_t offset,
             size_t count, struct nfc_fault *fault)
{
  uint8_t sector[SECTOR_SIZE];
  const size_t skip = offset % SECTOR_SIZE;

  if (read_sectors (disk, sector, offset - skip, sizeof sector, fault) == -1)
    return -1;
  memcpy (buf, sector + skip, count);
  return 0;
}

static int
write_sectors (struct nfc_disk *disk, const uint8_t *buf, uint64_t offset,
               uint64_t count, struct nfc_fault *fault)
{
  int r;

  nfc_bitmap_written (disk->bitmap, offset, count);
  nfc_ahead_forget (disk->ahead, offset, count);
  r = nfc_transfer_run (&disk->transfer, true, (void *) buf, offset, count,
                        fault);
  nfc_ahead_forget (disk->ahead, offset, count);
  return r;
}

static int
write_within (struct nfc_disk *disk, const uint8_t *buf, uint64_t offset,
              size_t count, struct nfc_fault *fault)
{
  uint8_t sector[SECTOR_SIZE];
  const size_t skip = offset % SECTOR_SIZE;

  if (nfc_transfer_run (&disk->transfer, false, sector, offset - skip,
                        sizeof sector, fault)
      == -1)
    return -1;
  if (buf)
    memcpy (sector + skip, buf, count);
  else
    memset (sector + skip, 0, count);
  return write_sectors (disk, sector, offset - skip, sizeof sector, fault);
}

/* A request, cut where it does not begin or end with a sector. */
static int
run_request (struct nfc_disk *disk, bool write, uint8_t *buf, uint64_t offset,
             uint64_t count, struct nfc_fault *fault)
{
  while (count > 0) {
    const uint64_t skip = offset % SECTOR_SIZE;
    const bool within = skip != 0 || count < SECTOR_SIZE;
    const uint64_t n = within ? min_u64 (count, SECTOR_SIZE - skip)
                              : count / SECTOR_SIZE * SECTOR_SIZE;
    int r;

    if (write)
      r = within ? write_within (disk, buf, offset, n, fault)
                 : write_sectors (disk, buf, offset, n, fault);
    else
      r = within ? read_within (disk, buf, offset, n, fault)
                 : read_sectors (disk, buf, offset, n, fault);
    if (r == -1)
      return -1;
    buf = buf ? buf + n : NULL;
    offset += n;
    count -= n;
  }
  return 0;
}

int
nfc_disk_read (struct nfc_disk *disk, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err)
{
  struct nfc_fault fault;
  struct nfc_range range;
  int r;

  if (check_range (disk, offset, count, err) == -1)
    return -1;
  if (count == 0)
    return 0;
  take_range (disk, &range, false, offset, count);
  r = run_request (disk, false, buf, offset, count, &fault);
  nfc_ranges_give (&disk->ranges, &range);
  return r == 0 ? 0 : failed (disk, &fault, err);
}

/* --------------------------------------------------------------------- */
/* Writing. */

static int
write_request (struct nfc_disk *disk, const void *buf, uint64_t count,
               uint64_t offset, struct vmdk_error *err)
{
  struct nfc_fault fault;
  struct nfc_range range;
  int r;

  if (!disk->writable)
    return fail (err, ERR_READ_ONLY, "%s: opened for reading only",
                 NAME (disk->path));
  if (check_range (disk, offset, count, err) == -1)
    return -1;
  if (count == 0)
    return 0;
  take_range (disk, &range, true, offset, count);
  r = run_request (disk, true, (uint8_t *) buf, offset, count, &fault);
  nfc_ranges_give (&disk->ranges, &range);
  return r == 0 ? 0 : failed (disk, &fault, err);
}

int
nfc_disk_write (struct nfc_disk *disk, const void *buf, size_t count,
                uint64_t offset, struct vmdk_error *err)
{
  return write_request (disk, buf, count, offset, err);
}

int
nfc_disk_zero (struct nfc_disk *disk, uint64_t count, uint64_t offset,
               struct vmdk_error *err)
{
  return write_request (disk, NULL, count, offset, err);
}

int
nfc_disk_flush (struct nfc_disk *disk, struct vmdk_error *err)
{
  struct nfc_fault fault;

  if (!disk->writable || !disk->settings.flush_closes)
    return 0;
  if (nfc_keeper_reopen (disk->keeper, &fault) == 0)
    return 0;
  return failed (disk, &fault, err);
}

/* --------------------------------------------------------------------- */
/* What else a host can be asked. */

int
nfc_disk_map (struct nfc_disk *disk, uint64_t offset, uint64_t count,
              bool (*emit) (void *opaque, const struct disk_piece *piece),
              void *opaque, struct vmdk_error *err)
{
  if (check_range (disk, offset, count, err) == -1)
    return -1;
  return nfc_bitmap_map (disk->bitmap, offset, count, emit, opaque, err);
}

static char *
text_of (const uint8_t *bytes, size_t count)
{
  char *text = malloc (count + 1);

  if (text) {
    memcpy (text, bytes, count);
    text[count] = '\0';
  }
  return text;
}

int
nfc_disk_entry (struct nfc_disk *disk, const char *key, char **value,
                struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *bytes = malloc (NFC_MAX_TEXT);
  struct nfc_op op = {
    .type = NFC_DDB_GET, .key = key, .extra = bytes, .extra_size = NFC_MAX_TEXT
  };
  struct nfc_fault fault;

  *value = NULL;
  if (strlen (key) > NFC_MAX_KEY)
    return fail (err, ERR_ARGUMENT, "%s: a name of more than %d bytes",
                 NAME (key), NFC_MAX_KEY);
  if (!bytes)
    return fail_memory (err);
  if (ask (disk, &op, &fault) == -1)
    return fault.reason == NFC_IO_ERROR ? 0 : failed (disk, &fault, err);
  if (op.extra_count == 0)
    return 0;
  *value = text_of (bytes, op.extra_count);
  return *value ? 0 : fail_memory (err);
}
