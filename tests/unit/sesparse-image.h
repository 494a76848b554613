/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents in memory, with a model of what they hold.  Include after
 * extent-helper.h.
 */

#ifndef VMDKIT_TESTS_SESPARSE_IMAGE_H
#define VMDKIT_TESTS_SESPARSE_IMAGE_H

#define ENTRIES 4096
#define GRAIN 4096 /* bytes */
#define TABLE_SECTORS 64
#define DATA_ENTRY (UINT64_C (3) << 60)

/* Fields of the constant header. */
enum {
  MAGIC = 0,
  VERSION = 8,
  CAPACITY = 16,
  GRAIN_SIZE = 24,
  TABLE_SIZE = 32,
  FLAGS = 40,
  RESERVED = 48,
  VOLATILE_HEADER = 80,
  JOURNAL_HEADER = 96,
  JOURNAL = 112,
  DIRECTORY = 128,
  TABLES = 144,
  FREE_BITMAP = 160,
  BACK_MAP = 176,
  GRAINS = 192,
  PAD = 208,
};

/* Fields of the volatile header, in the file. */
enum {
  V_MAGIC = 512,
  V_FREE_TABLE = 512 + 8,
  V_TRANSACTION = 512 + 16,
  V_REPLAY = 512 + 24,
  V_PAD = 512 + 32,
};

/* A small layout: the volatile header at sector 1, journal header 2-3, journal
 * 4-11, directory 16-23 (512 entries), NR_TABLES tables from 64 on, bitmap
 * and back map of 8 sectors each, grains.
 */
#define DIRECTORY_SECTOR 16
#define TABLES_SECTOR 64

struct layout {
  struct image image;
  uint64_t nr_tables, next_table, grains_sector, next_number;
};

static inline void
put_region (struct image *image, size_t field, uint64_t start, uint64_t length)
{
  image_put64 (image, field, start);
  image_put64 (image, field + 8, length);
}

static inline void
layout_init (struct layout *l, uint64_t nr_sectors, uint64_t nr_tables)
{
  const uint64_t bitmap = TABLES_SECTOR + nr_tables * TABLE_SECTORS;

  *l = (struct layout){ .nr_tables = nr_tables, .grains_sector = bitmap + 16 };
  image_put64 (&l->image, MAGIC, 0xcafebabe);
  image_put64 (&l->image, VERSION, UINT64_C (0x200000001));
  image_put64 (&l->image, CAPACITY, nr_sectors);
  image_put64 (&l->image, GRAIN_SIZE, 8);
  image_put64 (&l->image, TABLE_SIZE, TABLE_SECTORS);
  put_region (&l->image, VOLATILE_HEADER, 1, 1);
  put_region (&l->image, JOURNAL_HEADER, 2, 2);
  put_region (&l->image, JOURNAL, 4, 8);
  put_region (&l->image, DIRECTORY, DIRECTORY_SECTOR, 8);
  put_region (&l->image, TABLES, TABLES_SECTOR, nr_tables * TABLE_SECTORS);
  put_region (&l->image, FREE_BITMAP, bitmap, 8);
  put_region (&l->image, BACK_MAP, bitmap + 8, 8);
  put_region (&l->image, GRAINS, l->grains_sector, nr_sectors);
  image_put64 (&l->image, V_MAGIC, 0xcafecafe);
  image_put64 (&l->image, V_FREE_TABLE, 7);
  image_put64 (&l->image, V_TRANSACTION, 99);
  image_grow (&l->image, l->grains_sector * 512);
}

static inline void
set_gde (struct image *image, uint64_t table, uint64_t entry)
{
  image_put64 (image, DIRECTORY_SECTOR * 512 + table * 8, entry);
}

/* Where the entry of GRAIN is in the file; its table gets the next place if it
 * has none.
 */
static inline size_t
place_of_gte (struct layout *l, uint64_t grain)
{
  const size_t gde = DIRECTORY_SECTOR * 512 + grain / ENTRIES * 8;
  uint64_t number;

  if (le64_load (l->image.bytes + gde) == 0) {
    assert_in_range (l->next_table, 0, l->nr_tables - 1);
    set_gde (&l->image, grain / ENTRIES,
             UINT64_C (0x10000000) << 32 | l->next_table++);
  }
  number = le64_load (l->image.bytes + gde) & 0xffffffff;
  return (TABLES_SECTOR + number * TABLE_SECTORS) * 512 + grain % ENTRIES * 8;
}

static inline void
set_gte (struct layout *l, uint64_t grain, uint64_t entry)
{
  image_put64 (&l->image, place_of_gte (l, grain), entry);
}

static inline uint64_t
entry_of_number (uint64_t number)
{
  return DATA_ENTRY | (number & 0xfff) << 48 | number >> 12;
}

/* Put a grain's bytes at NUMBER and name it. */
static inline void
put_grain (struct layout *l, struct model *model, uint64_t grain,
           uint64_t number)
{
  const size_t offset = l->grains_sector * 512 + number * GRAIN;

  image_grow (&l->image, offset + GRAIN);
  memcpy (l->image.bytes + offset, model_fill (model, grain), GRAIN);
  set_gte (l, grain, entry_of_number (number));
}

/* 20000 sectors, two tables of room; grain 0 is DATA with number 0. */
static inline void
make_base (struct layout *l, struct model *model, uint64_t nr_sectors)
{
  model_init (model, nr_sectors, 8);
  layout_init (l, nr_sectors, 2);
  put_grain (l, model, 0, 0);
}

/* Tables and grains in the order of their first use. */
static inline void
random_image (uint64_t seed, struct layout *l, struct model *model,
              uint64_t nr_sectors)
{
  uint64_t r = seed * 77;
  uint64_t grain = 0;

  model_init (model, nr_sectors, 8);
  layout_init (l, nr_sectors, div_round_up (nr_sectors, ENTRIES * 8));
  while (l->next_number < 400) {
    const uint64_t kind = random_next (&r) % 16;

    if (kind == 0)
      grain = random_next (&r) % model_nr_grains (model);
    if (++grain >= model_nr_grains (model))
      grain = 0;
    if (model->states[grain] != RUN_ABSENT)
      continue;
    switch (kind) {
    case 1:
    case 2: /* unmapped, zero */
      set_gte (l, grain, kind << 60 | random_next (&r) >> 8);
      model->states[grain] = RUN_ZERO;
      break;
    case 3:
      set_gte (l, grain, (4 + random_next (&r) % 12) << 60);
      model->states[grain] = RUN_DAMAGED;
      break;
    case 4: /* left out */
      break;
    default:
      put_grain (l, model, grain, l->next_number++);
    }
  }
}

#endif /* VMDKIT_TESTS_SESPARSE_IMAGE_H */
