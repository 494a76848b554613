/* SPDX-License-Identifier: BSD-3-Clause */

/* Small disks of every kind that can be written.  See rig.h. */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "create.h"
#include "sparse-image.h"
#include "rig.h"

#define MAX_LINKS 2
#define STAMP_OF_PARENTS UINT32_C (0x40000000)

struct link_kind {
  const char *type; /* of its extents: "FLAT", "VMFS", "SPARSE", "VMFSSPARSE",
                       "STREAM" */
  uint64_t nr_sectors;
  unsigned nr_extents;
  uint64_t grain_sectors;
  bool embedded;     /* the descriptor lies in the only extent */
  bool zero_entries; /* the header allows them */
  bool no_tables;    /* directory entries are 0 at first */
};

struct flavour {
  const char *name;
  struct link_kind links[MAX_LINKS]; /* the base first */
};

static const struct flavour flavours[] = {
  { "flat", { { .type = "FLAT", .nr_sectors = 2000, .nr_extents = 1 } } },
  { "split flat",
    { { .type = "VMFS", .nr_sectors = 2001, .nr_extents = 3 } } },
  { "sparse, small grains",
    { { .type = "SPARSE",
        .nr_sectors = 2052,
        .nr_extents = 1,
        .grain_sectors = 8,
        .embedded = true } } },
  { "sparse, usual grains, zero entries",
    { { .type = "SPARSE",
        .nr_sectors = 6144,
        .nr_extents = 1,
        .grain_sectors = 128,
        .embedded = true,
        .zero_entries = true } } },
  { "sparse, tables missing",
    { { .type = "SPARSE",
        .nr_sectors = 8192,
        .nr_extents = 1,
        .grain_sectors = 8,
        .embedded = true,
        .no_tables = true } } },
  { "stream, small grains",
    { { .type = "STREAM",
        .nr_sectors = 5003,
        .nr_extents = 1,
        .grain_sectors = 8,
        .embedded = true } } },
  { "split sparse",
    { { .type = "SPARSE",
        .nr_sectors = 3000,
        .nr_extents = 3,
        .grain_sectors = 16 } } },
  { "child over flat",
    { { .type = "FLAT", .nr_sectors = 2048, .nr_extents = 1 },
      { .type = "SPARSE",
        .nr_sectors = 2048,
        .nr_extents = 1,
        .grain_sectors = 16,
        .embedded = true } } },
  { "child over shorter sparse, zero entries",
    { { .type = "SPARSE",
        .nr_sectors = 2560,
        .nr_extents = 1,
        .grain_sectors = 128,
        .embedded = true },
      { .type = "SPARSE",
        .nr_sectors = 3072,
        .nr_extents = 2,
        .grain_sectors = 64,
        .zero_entries = true } } },
  { "COWD, grains of a sector, no table",
    { { .type = "VMFSSPARSE",
        .nr_sectors = 9001,
        .nr_extents = 1,
        .grain_sectors = 1,
        .no_tables = true } } },
  { "COWD child over flat",
    { { .type = "FLAT", .nr_sectors = 2051, .nr_extents = 1 },
      { .type = "VMFSSPARSE",
        .nr_sectors = 2051,
        .nr_extents = 1,
        .grain_sectors = 16 } } },
};

const size_t nr_flavours = sizeof flavours / sizeof flavours[0];

const char *
flavour_name (size_t flavour)
{
  return flavours[flavour].name;
}

bool
flavour_is_wanted (size_t flavour)
{
  const uint64_t only = number_from_environment ("FAULT_FLAVOUR", nr_flavours);

  return only == nr_flavours || flavour == only;
}

/* The disk's bytes, which grow with its links. */
static void
resize (struct built *b, uint64_t size)
{
  uint8_t *bytes = calloc (1, size);

  if (!bytes)
    abort ();
  if (b->bytes)
    memcpy (bytes, b->bytes, min_u64 (size, b->size));
  free (b->bytes);
  b->bytes = bytes;
  b->size = size;
}

/* A third of the grains has data already; in the last one only what lies
 * within the extent counts.
 */
static void
add_grains (struct built *b, struct sparse_image *s, uint64_t start,
            uint64_t nr_sectors, uint64_t *seed)
{
  const uint64_t grain = s->h.grain_size;
  uint8_t *bytes = malloc (sectors_to_bytes (grain));

  if (!bytes)
    abort ();
  for (uint64_t g = 0; g * grain < nr_sectors; g++) {
    const uint64_t offset = sectors_to_bytes (start + g * grain);
    const uint64_t n = min_u64 (grain, nr_sectors - g * grain);

    if (random_next (seed) % 3 != 0)
      continue;
    history_stamp (bytes, sectors_to_bytes (grain), offset,
                   STAMP_OF_PARENTS + g);
    sparse_image_add (s, g, bytes);
    memcpy (b->bytes + offset, bytes, sectors_to_bytes (n));
  }
  free (bytes);
}

static void
drop_tables (struct sparse_image *s)
{
  const size_t size = sectors_to_bytes (s->gd_sectors);

  memset (s->image.bytes + sectors_to_bytes (s->h.gd_offset), 0, size);
  memset (s->image.bytes + sectors_to_bytes (s->h.rgd_offset), 0, size);
}

static void
add_sparse (struct built *b, const struct link_kind *kind, const char *name,
            const char *descriptor, uint64_t start, uint64_t nr_sectors,
            uint64_t *seed)
{
  struct sparse_image s;

  sparse_image_init (&s, nr_sectors, kind->grain_sectors);
  if (kind->zero_entries)
    s.h.flags |= SPARSE_ZERO_GRAIN_ENTRY;
  if (kind->embedded)
    sparse_image_descriptor (&s, descriptor);
  else
    s.h.descriptor_offset = s.h.descriptor_size = 0;
  sparse_image_put_header (&s);
  if (kind->no_tables)
    drop_tables (&s);
  else
    add_grains (b, &s, start, nr_sectors, seed);
  store_fault_add (b->store, name, s.image.bytes, s.image.size);
  image_free (&s.image);
}

static void
add_flat (struct built *b, const char *name, uint64_t start,
          uint64_t nr_sectors)
{
  const uint64_t offset = sectors_to_bytes (start);
  const uint64_t size = sectors_to_bytes (nr_sectors);

  history_stamp (b->bytes + offset, size, offset, STAMP_OF_PARENTS);
  store_fault_add (b->store, name, b->bytes + offset, size);
}

static void
extent_name (const struct link_kind *kind, unsigned link, unsigned extent,
             char name[32])
{
  if (kind->embedded)
    snprintf (name, 32, "link%u.vmdk", link);
  else
    snprintf (name, 32, "link%u-s%u.vmdk", link, extent + 1);
}

/* Extents are equally long, but for what the last one gets more. */
static uint64_t
extent_start (const struct link_kind *kind, unsigned extent)
{
  return extent == kind->nr_extents
           ? kind->nr_sectors
           : kind->nr_sectors / kind->nr_extents * extent;
}

/* createType; qemu takes no other words. */
static const char *
type_name (const struct link_kind *kind)
{
  if (strcmp (kind->type, "VMFS") == 0)
    return "vmfs";
  if (strcmp (kind->type, "VMFSSPARSE") == 0)
    return "vmfsSparse";
  if (strcmp (kind->type, "FLAT") == 0)
    return "monolithicFlat";
  return kind->embedded ? "monolithicSparse" : "twoGbMaxExtentSparse";
}

static void
describe (const struct link_kind *kind, unsigned link, char *text, size_t size)
{
  size_t n = snprintf (text, size,
                       "# Disk DescriptorFile\nversion=1\nCID=%08x\n"
                       "parentCID=%08x\ncreateType=\"%s\"\n",
                       link + 1, link ? link : UINT32_MAX, type_name (kind));

  if (link)
    n += snprintf (text + n, size - n, "parentFileNameHint=\"link%u.vmdk\"\n",
                   link - 1);
  for (unsigned e = 0; e < kind->nr_extents; e++) {
    char name[32];

    extent_name (kind, link, e, name);
    n += snprintf (text + n, size - n, "RW %" PRIu64 " %s \"%s\"%s\n",
                   extent_start (kind, e + 1) - extent_start (kind, e),
                   kind->type, name,
                   strcmp (kind->type, "FLAT") == 0 ? " 0" : "");
  }
  n += snprintf (text + n, size - n, "ddb.adapterType = \"lsilogic\"\n");
  if (n >= size)
    abort ();
}

/* The content ID is set to what built_cid says. */
static void
put_cid (struct image *image, uint32_t cid)
{
  char *at = memmem (image->bytes, 4096, "\nCID=", 5);
  char text[9];

  if (!at)
    abort ();
  snprintf (text, sizeof text, "%08" PRIx32, cid);
  memcpy (at + 5, text, 8);
}

static void
must (int r)
{
  if (r == -1)
    abort ();
}

/* Write a third of the disk NAME, in steps that are whole grains. */
static void
fill_created (struct built *b, const struct link_kind *kind,
              struct store *store, const char *name, uint64_t *seed)
{
  const uint64_t step = max_u64 (4096, sectors_to_bytes (kind->grain_sectors));
  struct vmdk_error err;
  struct resources *resources = resources_new (1 << 20, 1 << 20, &err);
  const struct chain_rules rules = {
    .open = { .resources = resources, .lock = true },
    .writable = true,
  };
  struct disk *disk = disk_open (store, name, STORE_FROM_FILE, &rules, &err);

  must (resources && disk ? 0 : -1);
  for (uint64_t at = 0; at < b->size; at += step) {
    const size_t n = min_u64 (step, b->size - at);

    if (random_next (seed) % 3 != 0)
      continue;
    history_stamp (b->bytes + at, n, at, STAMP_OF_PARENTS + at);
    must (disk_write (disk, b->bytes + at, n, at, &err));
  }
  must (disk_finish (disk, &err));
  disk_close (disk);
  resources_free (resources);
}

/* The file FROM of STORE becomes one of the disk's. */
static void
take_file (struct built *b, struct store *store, const char *from,
           const char *name, bool has_cid, uint32_t cid)
{
  struct vmdk_error err;
  struct media *media = store_open (store, from, STORE_FROM_FILE, &err);
  struct image image = { 0 };

  must (media ? 0 : -1);
  image_grow (&image, media->size);
  must (media_pread (media, image.bytes, image.size, 0, &err));
  media_close (media);
  if (has_cid)
    put_cid (&image, cid);
  store_fault_add (b->store, name, image.bytes, image.size);
  image_free (&image);
}

/* What we know how to create ourselves: "STREAM" and "VMFSSPARSE". */
static void
add_created (struct built *b, const struct link_kind *kind, const char *name,
             uint32_t cid, uint64_t *seed)
{
  const bool stream = strcmp (kind->type, "STREAM") == 0;
  const struct create_rules how = {
    .type = stream ? DISK_STREAM_OPTIMIZED : DISK_VMFS_SPARSE,
    .size = sectors_to_bytes (kind->nr_sectors),
    .grain_size = sectors_to_bytes (kind->grain_sectors),
  };
  struct vmdk_error err;
  struct store *store = store_memory_new ("folder", &err);

  must (store ? disk_create (store, "new", &how, &err) : -1);
  if (!kind->no_tables)
    fill_created (b, kind, store, "new", seed);
  take_file (b, store, stream ? "new" : "new-delta", name, stream, cid);
  store_close (store);
}

static void
add_link (struct built *b, const struct link_kind *kind, unsigned link,
          uint64_t *seed)
{
  char text[2000], name[32];

  describe (kind, link, text, sizeof text);
  snprintf (b->top, sizeof b->top, "link%u.vmdk", link);
  b->top_link = link;
  resize (b, sectors_to_bytes (kind->nr_sectors));
  if (!kind->embedded)
    store_fault_add (b->store, b->top, text, strlen (text));
  for (unsigned e = 0; e < kind->nr_extents; e++) {
    const uint64_t start = extent_start (kind, e);
    const uint64_t nr_sectors = extent_start (kind, e + 1) - start;

    extent_name (kind, link, e, name);
    if (strcmp (kind->type, "STREAM") == 0
        || strcmp (kind->type, "VMFSSPARSE") == 0)
      add_created (b, kind, name, link + 1, seed);
    else if (strcmp (kind->type, "SPARSE") == 0)
      add_sparse (b, kind, name, text, start, nr_sectors, seed);
    else
      add_flat (b, name, start, nr_sectors);
  }
}

void
build (struct built *b, size_t flavour, uint64_t seed)
{
  uint64_t state = seed * 2 + 1;

  *b = (struct built){ .store = store_fault_new () };
  for (unsigned i = 0; i < MAX_LINKS && flavours[flavour].links[i].type; i++)
    add_link (b, &flavours[flavour].links[i], i, &state);
}

uint32_t
built_cid (const struct built *b)
{
  return b->top_link + 1;
}

void
built_free (struct built *b)
{
  store_close (b->store);
  free (b->bytes);
}
