/* SPDX-License-Identifier: BSD-3-Clause */

/* Hosted sparse images in memory, for tests of everything above the drivers.
 * Include after extent-helper.h.
 */

#ifndef VMDKIT_TESTS_SPARSE_IMAGE_H
#define VMDKIT_TESTS_SPARSE_IMAGE_H

#include "sparse-header.h"

#define DESCRIPTOR_SECTORS 20

struct sparse_image {
  struct image image;
  struct sparse_header h;
  uint64_t nr_tables, gd_sectors, gt_sectors;
  uint64_t next; /* sector where the next grain goes */
};

static inline void
sparse_image_put_header (struct sparse_image *s)
{
  image_grow (&s->image, SPARSE_HEADER_SIZE);
  sparse_header_encode (&s->h, s->image.bytes);
}

/* The layout that VMware and qemu write: descriptor area, redundant
 * directory and tables, primary directory and tables, grains.
 */
static inline void
sparse_image_init (struct sparse_image *s, uint64_t nr_sectors,
                   uint64_t grain_sectors)
{
  *s = (struct sparse_image){ 0 };
  s->h = (struct sparse_header){
    .magic = SPARSE_MAGIC,
    .version = 1,
    .flags = SPARSE_NEWLINE_TEST | SPARSE_REDUNDANT_TABLES,
    .capacity = nr_sectors,
    .grain_size = grain_sectors,
    .descriptor_offset = 1,
    .descriptor_size = DESCRIPTOR_SECTORS,
    .nr_gtes_per_gt = 512,
    .newline_test = { '\n', ' ', '\r', '\n' },
  };
  s->nr_tables = sparse_header_nr_tables (&s->h);
  s->gd_sectors = div_round_up (s->nr_tables * 4, SECTOR_SIZE);
  s->gt_sectors = 4;
  s->h.rgd_offset = 1 + DESCRIPTOR_SECTORS;
  s->h.gd_offset =
    s->h.rgd_offset + s->gd_sectors + s->gt_sectors * s->nr_tables;
  s->h.overhead = div_round_up (s->h.gd_offset + s->gd_sectors
                                  + s->gt_sectors * s->nr_tables,
                                grain_sectors)
                  * grain_sectors;
  s->next = s->h.overhead;
  image_grow (&s->image, sectors_to_bytes (s->h.overhead));
  for (uint64_t t = 0; t < s->nr_tables; t++) {
    image_put32 (&s->image, sectors_to_bytes (s->h.rgd_offset) + t * 4,
                 s->h.rgd_offset + s->gd_sectors + t * s->gt_sectors);
    image_put32 (&s->image, sectors_to_bytes (s->h.gd_offset) + t * 4,
                 s->h.gd_offset + s->gd_sectors + t * s->gt_sectors);
  }
  sparse_image_put_header (s);
}

static inline void
sparse_image_descriptor (struct sparse_image *s, const char *text)
{
  memset (s->image.bytes + SECTOR_SIZE, 0, DESCRIPTOR_SECTORS * SECTOR_SIZE);
  memcpy (s->image.bytes + SECTOR_SIZE, text, strlen (text));
}

/* Where the entry of GRAIN is, in the primary or the redundant table. */
static inline size_t
sparse_image_entry (const struct sparse_image *s, uint64_t grain, bool mirror)
{
  const uint64_t directory = mirror ? s->h.rgd_offset : s->h.gd_offset;

  return sectors_to_bytes (directory + s->gd_sectors
                           + grain / 512 * s->gt_sectors)
         + grain % 512 * 4;
}

static inline void
sparse_image_set_entry (struct sparse_image *s, uint64_t grain, uint32_t entry)
{
  image_put32 (&s->image, sparse_image_entry (s, grain, false), entry);
  image_put32 (&s->image, sparse_image_entry (s, grain, true), entry);
}

/* Append a grain with these bytes. */
static inline void
sparse_image_add (struct sparse_image *s, uint64_t grain, const uint8_t *bytes)
{
  const uint64_t offset = sectors_to_bytes (s->next);
  const uint64_t size = sectors_to_bytes (s->h.grain_size);

  image_grow (&s->image, offset + size);
  memcpy (s->image.bytes + offset, bytes, size);
  sparse_image_set_entry (s, grain, s->next);
  s->next += s->h.grain_size;
}

#endif /* VMDKIT_TESTS_SPARSE_IMAGE_H */
