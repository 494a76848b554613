/* SPDX-License-Identifier: BSD-3-Clause */

/* The check, a repair, and undoing it, on a file that is an extent.
 *
 * Input as in fuzz-extent.h: the file's bytes, and a byte that says how many
 * KiB of zeros follow.
 *
 * Whatever the file says: what could be read before the repair can be read
 * after it, and reads the same unless a finding says that the tables by which
 * it was read are wrong; another repair finds nothing more to mend but room
 * that is given back, and undoing restores every byte.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checked.h"
#include "disk.h"
#include "repair.h"
#include "resources.h"
#include "store.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define WINDOW (UINT64_C (1) << 16)

#define REQUIRE(condition) \
  do {                     \
    if (!(condition))      \
      abort ();            \
  } while (0)

struct fuzz {
  struct store *store;
  struct operation operation;
  uint64_t nr_mendable; /* of what was found, but for leaks */
  bool tables_are_wrong;
};

static void
found (void *opaque, const struct check_finding *finding)
{
  struct fuzz *f = opaque;

  REQUIRE (finding->text[0] && !strchr (finding->text, '\n'));
  if (strstr (finding->text, "only by the redundant tables")
      || strstr (finding->text, "the tables name only 0 of"))
    f->tables_are_wrong = true;
  f->nr_mendable +=
    finding->severity != CHECK_LEAK && finding->mending == CHECK_MENDABLE;
}

static int
check (struct fuzz *f, bool repair, bool accept_loss,
       struct check_result *result)
{
  const struct check_options options = {
    .data = !repair,
    .repair = repair,
    .accept_loss = accept_loss,
    .found = found,
    .opaque = f,
  };
  struct vmdk_error err = { 0 };
  const int r = disk_check (f->store, "disk.vmdk", STORE_FROM_FILE,
                            &f->operation, &options, result, &err);

  REQUIRE (r == 0 || err.text[0]);
  REQUIRE (result->nr_errors_left <= result->nr_errors);
  return r;
}

/* -- Contents ----------------------------------------------------------- */

struct contents {
  bool opens;
  uint64_t size;
  uint8_t bytes[2][WINDOW];
  bool readable[2][WINDOW / SECTOR_SIZE];
};

static void
read_window (struct disk *disk, uint64_t start, uint8_t *bytes, bool *readable)
{
  const uint64_t size = disk_size (disk);
  struct vmdk_error err;

  for (uint64_t i = 0; i < WINDOW / SECTOR_SIZE; i++) {
    const uint64_t at = start + sectors_to_bytes (i);

    readable[i] =
      at < size
      && disk_read (disk, bytes + sectors_to_bytes (i), SECTOR_SIZE, at, &err)
           == 0;
  }
}

static struct contents *
read_contents (const struct fuzz *f)
{
  struct contents *c = calloc (1, sizeof *c);
  struct vmdk_error err;
  struct disk *disk = disk_open (f->store, "disk.vmdk", STORE_FROM_FILE,
                                 &f->operation.rules, &err);

  REQUIRE (c);
  c->opens = disk != NULL;
  if (disk) {
    c->size = disk_size (disk);
    read_window (disk, 0, c->bytes[0], c->readable[0]);
    read_window (disk, c->size - min_u64 (c->size, WINDOW), c->bytes[1],
                 c->readable[1]);
  }
  disk_close (disk);
  return c;
}

static void
require_nothing_lost (const struct contents *before,
                      const struct contents *after, bool same)
{
  if (!before->opens)
    return;
  REQUIRE (after->opens && before->size == after->size);
  for (size_t w = 0; w < 2; w++)
    for (size_t i = 0; i < WINDOW / SECTOR_SIZE; i++)
      if (before->readable[w][i])
        REQUIRE (after->readable[w][i]
                 && (!same
                     || memcmp (before->bytes[w] + i * SECTOR_SIZE,
                                after->bytes[w] + i * SECTOR_SIZE, SECTOR_SIZE)
                          == 0));
}

/* The file is as it was, but for what was dropped. */
static void
require_same_file (const struct fuzz *f, const uint8_t *bytes, uint64_t size)
{
  struct vmdk_error err;
  struct media *media =
    store_open (f->store, "disk.vmdk", STORE_FROM_FILE, &err);
  uint8_t *now;

  REQUIRE (media && media->size == size);
  now = malloc (size + 1);
  REQUIRE (now && media_pread (media, now, size, 0, &err) == 0);
  REQUIRE (memcmp (now, bytes, size) == 0);
  free (now);
  media_close (media);
}

/* -- One input ---------------------------------------------------------- */

static void
repair (struct fuzz *f, bool accept_loss, const uint8_t *bytes, uint64_t size)
{
  struct contents *before = read_contents (f), *after;
  struct check_result result, again;
  struct vmdk_error err;
  uint64_t dropped;

  f->tables_are_wrong = false;
  if (check (f, true, accept_loss, &result) == 0) {
    after = read_contents (f);
    require_nothing_lost (before, after, !f->tables_are_wrong);
    free (after);
    f->nr_mendable = 0;
    REQUIRE (check (f, false, false, &again) == 0 && f->nr_mendable == 0);
    REQUIRE (!again.backup);
  }
  if (result.backup) {
    REQUIRE (
      repair_undo (f->store, result.backup, &f->operation, &dropped, &err)
      == 0);
    if (dropped == 0)
      require_same_file (f, bytes, size);
  }
  free (result.backup);
  free (before);
}

static void
test (struct fuzz *f, const uint8_t *bytes, uint64_t size)
{
  struct check_result result;
  struct vmdk_error err;

  for (int accept_loss = 0; accept_loss < 2; accept_loss++) {
    REQUIRE (store_memory_add (f->store, "disk.vmdk", bytes, size, &err) == 0);
    if (check (f, false, false, &result) == -1)
      return;
    require_same_file (f, bytes, size);
    repair (f, accept_loss, bytes, size);
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct vmdk_error err;
  struct fuzz f = { .store = store_memory_new ("fuzz", &err) };
  const size_t zeros = size > 0 ? (size_t) data[size - 1] << 10 : 0;
  const size_t length = size > 0 ? size - 1 : 0;
  uint8_t *bytes = calloc (1, length + zeros + 1);

  f.operation.rules.open.resources = resources_new (1 << 18, 1 << 18, &err);
  f.operation.rules.open.lock = true;
  f.operation.rules.open.accept_journal = true;
  f.operation.rules.open.recover_stream = true;
  f.operation.rules.lone_extent = true;
  REQUIRE (f.store && f.operation.rules.open.resources && bytes);
  if (length > 0)
    memcpy (bytes, data, length);
  test (&f, bytes, length + zeros);
  free (bytes);
  store_close (f.store);
  resources_free (f.operation.rules.open.resources);
  return 0;
}
