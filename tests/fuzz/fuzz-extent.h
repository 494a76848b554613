/* SPDX-License-Identifier: BSD-3-Clause */

/* What the fuzz targets of single extent drivers share: open the input as an
 * extent, look at everything within limits, and stop when the answers
 * contradict one another.
 *
 * The input is the file's bytes; its last byte is no part of them and says
 * how many KiB of zeros follow.  That keeps inputs small, since tables of
 * 16 or 32 KiB are mostly zeros.
 */

#ifndef VMDKIT_FUZZ_EXTENT_H
#define VMDKIT_FUZZ_EXTENT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cache.h"
#include "checked.h"
#include "extent.h"
#include "media.h"
#include "resources.h"

/* libFuzzer's entry point. */
extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define FUZZ_WINDOW (UINT64_C (4) << 20)

#define FUZZ_REQUIRE(condition) \
  do {                          \
    if (!(condition))           \
      abort ();                 \
  } while (0)

/* Check that the run can be read, or cannot and says so. */
static inline void
fuzz_read_run (struct extent *extent, uint64_t offset, const struct run *run)
{
  const size_t count = min_u64 (run->length, 65536);
  struct vmdk_error err = { 0 };
  uint8_t *buf = malloc (count);
  int r = 0;

  FUZZ_REQUIRE (buf);
  switch (run->state) {
  case RUN_DATA:
    FUZZ_REQUIRE (run->media == extent->media);
    FUZZ_REQUIRE (run->media_offset >= SECTOR_SIZE);
    FUZZ_REQUIRE (
      range_inside (run->media_offset, run->length, extent->media->size));
    r = media_pread (run->media, buf, count, run->media_offset, &err);
    FUZZ_REQUIRE (r == 0);
    break;
  case RUN_DAMAGED:
    r = extent_read (extent, buf, 1, offset, &err);
    FUZZ_REQUIRE (r == -1);
    FUZZ_REQUIRE (err.kind == ERR_DAMAGED && err.text[0] != '\0');
    break;
  case RUN_PACKED:
    abort (); /* none of these formats has them */
  case RUN_ABSENT:
    FUZZ_REQUIRE (extent->can_be_absent);
    break;
  case RUN_HOLE:
  case RUN_ZERO:
    break;
  }
  free (buf);
}

/* Walk over [offset, end) with both details side by side. */
static inline void
fuzz_walk (struct extent *extent, uint64_t offset, uint64_t end)
{
  while (offset < end) {
    struct run where, state;
    struct vmdk_error err;

    FUZZ_REQUIRE (
      extent_map (extent, offset, end - offset, MAP_STATE, &state, &err) == 0);
    FUZZ_REQUIRE (state.length >= 1 && state.length <= end - offset);
    for (uint64_t done = 0; done < state.length; done += where.length) {
      FUZZ_REQUIRE (extent_map (extent, offset + done, state.length - done,
                                MAP_WHERE, &where, &err)
                    == 0);
      FUZZ_REQUIRE (where.length >= 1 && where.length <= state.length - done);
      FUZZ_REQUIRE (where.state == state.state);
      fuzz_read_run (extent, offset + done, &where);
    }
    offset += state.length;
  }
}

static inline struct media *
fuzz_media (const uint8_t *data, size_t size)
{
  const size_t zeros = size > 0 ? data[size - 1] * (size_t) 1024 : 0;
  const size_t length = size > 0 ? size - 1 : 0;
  uint8_t *bytes = calloc (1, length + zeros + 1);
  struct vmdk_error err;
  struct media *media;

  FUZZ_REQUIRE (bytes);
  if (length > 0)
    memcpy (bytes, data, length);
  media = media_memory_new ("fuzz.vmdk", bytes, length + zeros, &err);
  FUZZ_REQUIRE (media);
  free (bytes);
  return media;
}

typedef struct extent *fuzz_driver (const struct extent_source *source,
                                    struct vmdk_error *err);

/* Open the input as an extent of NR_SECTORS and look at its first and last
 * few MiB.
 */
static inline void
fuzz_extent (fuzz_driver *open, const uint8_t *data, size_t size,
             uint64_t nr_sectors)
{
  struct vmdk_error err = { 0 };
  struct resources resources = { .tables = cache_new (1 << 18, &err) };
  const struct open_rules rules = { .resources = &resources,
                                    .accept_journal = true };
  const struct extent_line line = {
    .nr_sectors = nr_sectors == 0 ? 1 : min_u64 (nr_sectors, MAX_SECTORS),
    .name = "fuzz.vmdk",
  };
  const struct extent_source source = {
    .rules = &rules,
    .line = &line,
    .media = fuzz_media (data, size),
  };
  struct extent *extent;

  FUZZ_REQUIRE (resources.tables);
  extent = open (&source, &err);
  if (extent) {
    const uint64_t window = min_u64 (extent->size, FUZZ_WINDOW);

    fuzz_walk (extent, 0, window);
    fuzz_walk (extent, extent->size - window, extent->size);
  }
  else
    FUZZ_REQUIRE (err.kind != ERR_NONE && err.text[0] != '\0');
  extent_close (extent);
  cache_free (resources.tables);
}

#endif /* VMDKIT_FUZZ_EXTENT_H */
