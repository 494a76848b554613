/* SPDX-License-Identifier: BSD-3-Clause */

/* Open a disk and map all of it through the core, in one process: what a
 * block status costs without NBD, nbdkit and a client around it.
 */

#include <config.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "cleanup.h"
#include "disk.h"
#include "error.h"
#include "resources.h"
#include "store.h"

struct totals {
  uint64_t pieces, data;
};

static double
clock_seconds (clockid_t clock)
{
  struct timespec ts;

  clock_gettime (clock, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static bool
count (void *opaque, const struct disk_piece *piece)
{
  struct totals *totals = opaque;

  totals->pieces++;
  if (!piece->zero)
    totals->data += piece->length;
  return true;
}

static void
warn (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  if (topic == LOG_WARNING)
    fprintf (stderr, "bench-map: %s\n", text);
}

static int
open_and_map (const char *folder, const char *name, struct resources *shared,
              struct totals *totals, struct vmdk_error *err)
{
  const struct chain_rules rules = {
    .open = { .log = { .sink = warn }, .resources = shared, .lock = true }
  };
  CLEANUP_STORE struct store *store = store_dir_new (folder, err);

  if (store == NULL)
    return -1;

  CLEANUP_DISK struct disk *disk =
    disk_open (store, name, STORE_FROM_USER, &rules, err);

  if (disk == NULL)
    return -1;
  return disk_map (disk, 0, disk_size (disk), count, totals, err);
}

int
main (int argc, char **argv)
{
  struct vmdk_error err = { 0 };
  struct resources *shared;
  struct totals totals = { 0 };
  struct rusage usage;
  double start;
  int r;

  if (argc != 3) {
    fprintf (stderr, "Usage: bench-map FOLDER NAME\n");
    return EXIT_FAILURE;
  }
  shared = resources_new (DEFAULT_TABLE_BUDGET, DEFAULT_GRAIN_BUDGET, &err);
  if (shared == NULL) {
    fprintf (stderr, "bench-map: %s\n", err.text);
    return EXIT_FAILURE;
  }
  start = clock_seconds (CLOCK_MONOTONIC);
  r = open_and_map (argv[1], argv[2], shared, &totals, &err);
  if (r == -1)
    fprintf (stderr, "bench-map: %s\n", err.text);
  else {
    getrusage (RUSAGE_SELF, &usage);
    printf ("{\"seconds\": %.6f, \"cpu\": %.6f, \"pieces\": %" PRIu64
            ", \"data\": %" PRIu64 ", \"rss\": %.2f}\n",
            clock_seconds (CLOCK_MONOTONIC) - start,
            clock_seconds (CLOCK_PROCESS_CPUTIME_ID), totals.pieces,
            totals.data, (double) usage.ru_maxrss / 1024);
  }
  resources_free (shared);
  return r == -1 ? EXIT_FAILURE : EXIT_SUCCESS;
}
