/* SPDX-License-Identifier: BSD-3-Clause */

/* Fuzz streamOptimized extents: open, map and read whatever it is.
 *
 * The first byte of the input chooses the rules, the rest is the file.
 */

#include <config.h>

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "checked.h"
#include "extent.h"
#include "sparse-header.h"

/* What is read of each disk, and the size of grains that is tried at all:
 * larger ones only cost time.
 */
#define MOST ((uint64_t) 1 << 20)
#define MOST_GRAIN_SECTORS 256

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
ignore (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  (void) topic;
  for (; *text; text++)
    assert ((unsigned char) *text >= 0x20 && *text != 0x7f);
}

/* Walk over the runs of [start, MOST), reading those that can be read. */
static void
walk (struct extent *extent, uint64_t start, enum map_detail detail,
      size_t piece, uint8_t *buf)
{
  const uint64_t end = min_u64 (extent->size, MOST);
  uint64_t offset = start;

  while (offset < end) {
    const uint64_t count = min_u64 (end - offset, piece);
    struct vmdk_error err;
    struct run run;

    if (extent_map (extent, offset, count, detail, &run, &err) == -1)
      return;
    assert (run.length > 0 && run.length <= count);
    assert (run.state != RUN_DATA);
    if (run.state == RUN_PACKED || run.state == RUN_DAMAGED) {
      const int r = extent_read (extent, buf, run.length, offset, &err);

      assert (run.state == RUN_PACKED || r == -1);
      assert (r == 0 || err.errnum != 0);
    }
    offset += run.length;
  }
}

/* Without and with room for grains.  Made once: making them costs more than
 * most inputs.
 */
static struct resources *
shared_resources (bool room)
{
  static struct resources *shared[2];
  struct vmdk_error err;

  if (!shared[room])
    shared[room] = resources_new (64 << 10, room ? 1 << 20 : 0, &err);
  return shared[room];
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct sparse_header header;
  struct vmdk_error err;
  struct open_rules rules = { .log.sink = ignore };
  struct extent_line line = { .type = EXTENT_SPARSE, .name = "x.vmdk" };
  struct extent_source source = { .rules = &rules, .line = &line };
  struct extent *extent;
  uint8_t *buf;

  if (size < 1 + SPARSE_HEADER_SIZE)
    return 0;
  sparse_header_decode (data + 1, &header);
  if (header.capacity == 0 || header.capacity > MAX_SECTORS
      || header.grain_size > MOST_GRAIN_SECTORS)
    return 0;

  line.nr_sectors = header.capacity;
  rules.recover_stream = data[0] & 1;
  source.single = !(data[0] & 2);
  source.disk_offset = data[0] & 4 ? 0 : UINT64_C (1) << 30;
  rules.resources = shared_resources (data[0] & 8);
  source.media = media_memory_new ("x.vmdk", data + 1, size - 1, &err);
  buf = malloc (MOST);
  assert (rules.resources && source.media && buf);

  extent = extent_open (&source, &err);
  if (extent && !extent->ops->readahead)
    extent_close (extent); /* another driver's */
  else if (extent) {
    walk (extent, 0, MAP_WHERE, MOST, buf);
    walk (extent, 512, MAP_STATE, 3 * extent->grain_size, buf);
    extent->ops->readahead (extent, 0, min_u64 (extent->size, MOST));
    walk (extent, 0, MAP_WHERE, 2560, buf);
    extent_close (extent);
  }
  free (buf);
  return 0;
}
