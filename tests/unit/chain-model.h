/* SPDX-License-Identifier: BSD-3-Clause */

/* Chains of random links in memory, and what they must read as.
 * Include after extent-helper.h and sparse-image.h.
 */

#ifndef VMDKIT_TESTS_CHAIN_MODEL_H
#define VMDKIT_TESTS_CHAIN_MODEL_H

#include <inttypes.h>

#include "disk.h"
#include "store.h"

enum sector_state { SECTOR_ABSENT, SECTOR_ZERO, SECTOR_DATA };

/* The merged contents of the links added so far, base first. */
struct chain_model {
  struct store *store;
  uint64_t seed;
  size_t nr_links;
  uint64_t nr_sectors;
  uint8_t *bytes;
  enum sector_state *states;
  char top[32];
};

/* Resize the merged contents to a new top's capacity. */
static inline void
chain_model_resize (struct chain_model *m, uint64_t nr_sectors)
{
  uint8_t *bytes = calloc (nr_sectors, SECTOR_SIZE);
  enum sector_state *states = calloc (nr_sectors, sizeof *states);
  const uint64_t n = min_u64 (nr_sectors, m->nr_sectors);

  assert_non_null (bytes);
  assert_non_null (states);
  if (m->nr_sectors) {
    memcpy (bytes, m->bytes, sectors_to_bytes (n));
    memcpy (states, m->states, n * sizeof *states);
  }
  free (m->bytes);
  free (m->states);
  m->bytes = bytes;
  m->states = states;
  m->nr_sectors = nr_sectors;
}

static inline void
chain_model_names (const struct chain_model *m, char *name, char *text,
                   size_t size, uint64_t nr_sectors, const char *extents)
{
  sprintf (name, "link%zu.vmdk", m->nr_links);
  snprintf (text, size,
            "# Disk DescriptorFile\nversion=1\nCID=%08zx\nparentCID=%08zx\n"
            "createType=\"custom\"\n%s%s%s# Extent description\n"
            "%s",
            m->nr_links + 1, m->nr_links ? m->nr_links : (size_t) UINT32_MAX,
            m->nr_links ? "parentFileNameHint=\"" : "",
            m->nr_links ? m->top : "", m->nr_links ? "\"\n" : "", extents);
  (void) nr_sectors;
}

static inline void
chain_model_add_file (struct chain_model *m, const char *name,
                      const void *bytes, size_t count)
{
  struct vmdk_error err;

  assert_int_equal (store_memory_add (m->store, name, bytes, count, &err), 0);
}

/* A flat base of random bytes. */
static inline void
chain_model_add_flat (struct chain_model *m, uint64_t nr_sectors)
{
  char text[1000], extents[100], name[32];

  chain_model_resize (m, nr_sectors);
  for (uint64_t i = 0; i < sectors_to_bytes (nr_sectors); i += 8)
    le64_store (m->bytes + i, random_next (&m->seed));
  for (uint64_t i = 0; i < nr_sectors; i++)
    m->states[i] = SECTOR_DATA;
  snprintf (extents, sizeof extents, "RW %" PRIu64 " FLAT \"base-flat\" 0\n",
            nr_sectors);
  chain_model_names (m, name, text, sizeof text, nr_sectors, extents);
  chain_model_add_file (m, name, text, strlen (text));
  chain_model_add_file (m, "base-flat", m->bytes,
                        sectors_to_bytes (nr_sectors));
  strcpy (m->top, name);
  m->nr_links++;
}

/* One sparse extent of a link: random grains of data and zeros over what is
 * merged so far.
 */
static inline void
chain_model_add_extent (struct chain_model *m, const char *name,
                        uint64_t start, uint64_t nr_sectors, uint64_t grain)
{
  struct sparse_image s;
  uint8_t *bytes = malloc (sectors_to_bytes (grain));

  sparse_image_init (&s, nr_sectors, grain);
  s.h.flags |= SPARSE_ZERO_GRAIN_ENTRY;
  sparse_image_put_header (&s);
  for (uint64_t g = 0; g * grain < nr_sectors; g++) {
    const uint64_t dice = random_next (&m->seed) % 16;
    const uint64_t first = start + g * grain;
    const uint64_t n = min_u64 (grain, nr_sectors - g * grain);

    if (dice > 2)
      continue;
    for (uint64_t i = 0; i < sectors_to_bytes (grain); i += 8)
      le64_store (bytes + i, dice == 0 ? 0 : random_next (&m->seed));
    if (dice == 0)
      sparse_image_set_entry (&s, g, 1);
    else
      sparse_image_add (&s, g, bytes);
    memcpy (m->bytes + sectors_to_bytes (first), bytes, sectors_to_bytes (n));
    for (uint64_t i = 0; i < n; i++)
      m->states[first + i] = dice == 0 ? SECTOR_ZERO : SECTOR_DATA;
  }
  chain_model_add_file (m, name, s.image.bytes, s.image.size);
  image_free (&s.image);
  free (bytes);
}

/* A link of two sparse extents, the first ending at any sector. */
static inline void
chain_model_add_sparse (struct chain_model *m, uint64_t nr_sectors)
{
  static const uint64_t grains[] = { 8, 16, 64, 128 };
  const uint64_t first = 1 + random_next (&m->seed) % (nr_sectors - 1);
  char text[1000], extents[200], name[32], a[32], b[32];

  chain_model_resize (m, nr_sectors);
  sprintf (a, "a%zu", m->nr_links);
  sprintf (b, "b%zu", m->nr_links);
  chain_model_add_extent (m, a, 0, first, grains[random_next (&m->seed) % 4]);
  chain_model_add_extent (m, b, first, nr_sectors - first,
                          grains[random_next (&m->seed) % 4]);
  snprintf (extents, sizeof extents,
            "RW %" PRIu64 " SPARSE \"%s\"\nRW %" PRIu64 " SPARSE \"%s\"\n",
            first, a, nr_sectors - first, b);
  chain_model_names (m, name, text, sizeof text, nr_sectors, extents);
  chain_model_add_file (m, name, text, strlen (text));
  strcpy (m->top, name);
  m->nr_links++;
}

/* DEPTH links over each other, whose capacities differ from time to time. */
static inline void
chain_model_init (struct chain_model *m, uint64_t seed, size_t depth)
{
  struct vmdk_error err;
  uint64_t nr_sectors = 3000 + seed % 7;

  print_message ("chain of %zu links, seed %" PRIu64 "\n", depth, seed);
  *m = (struct chain_model){ .seed = seed * 2 + 1 };
  m->store = store_memory_new ("memory", &err);
  assert_non_null (m->store);
  if (seed % 2)
    chain_model_add_flat (m, nr_sectors);
  while (m->nr_links < depth) {
    if (random_next (&m->seed) % 4 == 0)
      nr_sectors = 2000 + random_next (&m->seed) % 3000;
    chain_model_add_sparse (m, nr_sectors);
  }
}

static inline struct disk *
chain_model_open (struct chain_model *m, struct fixture *f)
{
  const struct chain_rules rules = { .open = f->rules };
  struct disk *disk =
    disk_open (m->store, m->top, STORE_FROM_FILE, &rules, &f->err);

  if (!disk)
    print_error ("%s\n", f->err.text);
  assert_non_null (disk);
  assert_int_equal (disk_size (disk), sectors_to_bytes (m->nr_sectors));
  return disk;
}

static inline void
chain_model_free (struct chain_model *m)
{
  store_close (m->store);
  free (m->bytes);
  free (m->states);
}

/* One read of a random range, odd offsets and sizes. */
static inline void
chain_model_read (const struct chain_model *m, struct disk *disk,
                  uint64_t *seed)
{
  const uint64_t size = sectors_to_bytes (m->nr_sectors);
  const uint64_t offset = random_next (seed) % size;
  const uint64_t most = random_next (seed) % 8 ? 9000 : 600000;
  const uint64_t count =
    1 + random_next (seed) % min_u64 (most, size - offset);
  uint8_t *buf = malloc (count);
  struct vmdk_error err;

  assert_int_equal (disk_read (disk, buf, count, offset, &err), 0);
  assert_memory_equal (buf, m->bytes + offset, count);
  free (buf);
}

#endif /* VMDKIT_TESTS_CHAIN_MODEL_H */
