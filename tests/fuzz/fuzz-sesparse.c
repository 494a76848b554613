/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents.  The extent line says what the header says.  They are
 * read, and then overwritten: nothing but the region of grains may change.
 */

#include <config.h>

#include "fuzz-extent.h"
#include "store.h"

#define CAPACITY_OFFSET 16
#define GRAINS_OFFSET 192
#define GRAIN 4096

static const struct below no_parent;

/* A piece at a time, here a few bytes and there a few grains; what is there
 * afterwards is what was written, or what was there.
 */
static void
overwrite (struct extent *extent)
{
  static uint8_t buf[3 * GRAIN];
  const uint64_t end = min_u64 (extent->size, FUZZ_WINDOW);
  struct vmdk_error err;
  uint64_t count;

  memset (buf, 'w', sizeof buf);
  for (uint64_t offset = 0; offset < end; offset += GRAIN / 2 + count) {
    count = min_u64 (offset % 7 ? 100 : sizeof buf, extent->size - offset);
    if (extent_write (extent, buf, count, offset, &no_parent, &err) == 0) {
      struct run run;
      uint8_t byte;

      FUZZ_REQUIRE (extent_map (extent, offset, count, MAP_WHERE, &run, &err)
                    == 0);
      FUZZ_REQUIRE (run.state == RUN_DATA);
      FUZZ_REQUIRE (media_pread (run.media, &byte, 1, run.media_offset, &err)
                    == 0);
      FUZZ_REQUIRE (byte == 'w');
    }
    else
      FUZZ_REQUIRE (err.kind == ERR_READ_ONLY);
    if (extent_zero (extent, count, offset, 0, &no_parent, &err) == -1)
      FUZZ_REQUIRE (err.kind == ERR_READ_ONLY);
  }
  FUZZ_REQUIRE (extent->ops->flush (extent, &err) == 0);
}

/* Compare what is outside the grains with the input. */
static void
check_rest (struct media *media, const uint8_t *data, size_t size)
{
  const uint64_t first = le64_load (data + GRAINS_OFFSET);
  uint8_t *now = malloc (size);
  struct vmdk_error err;

  FUZZ_REQUIRE (now && media->size == size);
  FUZZ_REQUIRE (media_pread (media, now, size, 0, &err) == 0);
  FUZZ_REQUIRE (memcmp (now, data, min_u64 (size, sectors_to_bytes (first)))
                == 0);
  free (now);
}

static void
fuzz_overwriting (const uint8_t *data, size_t size, uint64_t nr_sectors)
{
  struct vmdk_error err = { 0 };
  struct resources resources = { .tables = cache_new (1 << 18, &err) };
  struct store *store = store_memory_new ("fuzz", &err);
  const struct open_rules rules = { .resources = &resources,
                                    .write_sesparse = true };
  const struct extent_line line = {
    .nr_sectors = nr_sectors == 0 ? 1 : min_u64 (nr_sectors, MAX_SECTORS),
    .name = "fuzz.vmdk",
  };
  struct extent_source source = {
    .rules = &rules,
    .line = &line,
    .single = true,
    .writable = true,
  };
  struct extent *extent;

  FUZZ_REQUIRE (resources.tables && store);
  FUZZ_REQUIRE (store_memory_add (store, "fuzz.vmdk", data, size, &err) == 0);
  source.media = store_open (store, "fuzz.vmdk", STORE_WRITABLE, &err);
  FUZZ_REQUIRE (source.media);
  extent = extent_sesparse_open (&source, &err);
  if (extent) {
    overwrite (extent);
    check_rest (extent->media, data, size);
  }
  extent_close (extent);
  store_close (store);
  cache_free (resources.tables);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint64_t nr_sectors =
    size >= CAPACITY_OFFSET + 8 ? le64_load (data + CAPACITY_OFFSET) : 1;
  const size_t file_size =
    size > 0 ? size - 1 + data[size - 1] * (size_t) 1024 : 0;
  uint8_t *file = calloc (1, file_size + 1);

  fuzz_extent (extent_sesparse_open, data, size, nr_sectors);
  FUZZ_REQUIRE (file);
  if (size > 0)
    memcpy (file, data, size - 1);
  fuzz_overwriting (file, file_size, nr_sectors);
  free (file);
  return 0;
}
