/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks in a mess.  See mess.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "mess.h"

#define NR_WRITES 24
#define MOST 24576

static void __attribute__ ((noreturn)) broken (const struct vmdk_error *err)
{
  fprintf (stderr, "building a disk: %s\n", err->text);
  abort ();
}

/* One request, of whole sectors. */
static void
change (struct built *b, struct rig *rig, uint64_t *state)
{
  const uint64_t nr_sectors = b->size / SECTOR_SIZE;
  const uint64_t at = rig_random (state) % nr_sectors;
  const uint64_t n =
    min_u64 (1 + rig_random (state) % (MOST / SECTOR_SIZE), nr_sectors - at);
  const uint64_t offset = at * SECTOR_SIZE, count = n * SECTOR_SIZE;
  struct vmdk_error err;
  int r;

  switch (rig_random (state) % 4) {
  case 0:
    memset (b->bytes + offset, 0, count);
    r = disk_zero (rig->disk, count, offset, DISK_ZERO_MAY_FREE, &err);
    break;
  case 1:
    memset (b->bytes + offset, (int) (rig_random (state) | 1), count);
    r = disk_write (rig->disk, b->bytes + offset, count, offset, &err);
    break;
  default:
    memset (b->bytes + offset, 0, count);
    r = disk_write (rig->disk, b->bytes + offset, count, offset, &err);
  }
  if (r == -1)
    broken (&err);
}

void
mess_up (struct built *b, uint64_t seed)
{
  uint64_t state = seed * 2 + 1;
  struct vmdk_error err;
  struct rig rig;

  /* A multiple of 3: zeros are written as they come. */
  if (rig_open (&rig, b->store, b->top, true, seed * 3, &err) == -1)
    broken (&err);
  for (int i = 0; i < NR_WRITES; i++)
    change (b, &rig, &state);
  if (disk_finish (rig.disk, &err) == -1)
    broken (&err);
  rig_close (&rig);
}

void
build_mess (struct built *b, const char *flavour, uint64_t seed)
{
  size_t i = 0;

  while (i < nr_flavours && strcmp (flavour_name (i), flavour) != 0)
    i++;
  if (i == nr_flavours)
    abort ();
  build (b, i, seed);
  mess_up (b, seed);
}

/* -- Tidying up --------------------------------------------------------- */

static const char *const kinds[] = {
  "flat",
  "sparse, small grains",
  "sparse, usual grains, zero entries",
  "sparse, tables missing",
  "split sparse",
  "child over flat",
  "child over shorter sparse, zero entries",
  "COWD, grains of a sector, no table",
  "COWD child over flat",
};

static const char *kind; /* the one whose turn it is */

static void
prepare (struct built *built, uint64_t seed)
{
  build_mess (built, kind, seed);
}

void
mess_check (const struct maintenance *described)
{
  struct maintenance op = *described;

  op.prepare = prepare;
  op.may_ignore = FAULT_PUNCH;
  op.leaves_nothing = true;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    kind = kinds[i];
    printf ("%s\n", kind);
    maintenance_check (&op);
  }
}
