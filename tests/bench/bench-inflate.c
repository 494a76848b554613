/* SPDX-License-Identifier: BSD-3-Clause */

/* The CPU limit of reading a streamOptimized disk: its grains inflated over
 * and over in one thread, with nothing around it.
 *
 * The grains are found by walking the markers, not through the tables, so
 * that this program shares no code with what it is a yardstick for.  It
 * trusts the file: it is for disks that the benchmark itself has made.
 *
 * With --random each grain is drawn by chance, so that the compressed bytes
 * are not in the processor's caches; the result is then one random read's
 * limit when nothing is cached.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#define LIBRARY "libdeflate"
#else
#include <zlib.h>
#define LIBRARY "zlib"
#endif

#define SECTOR 512
#define MAX_GRAIN (UINT32_C (1) << 20)

struct grain {
  const uint8_t *data;
  uint32_t size;
};

struct grains {
  struct grain *list;
  size_t nr, room;
  uint64_t sum; /* compressed bytes */
};

static void __attribute__ ((noreturn)) die (const char *name, const char *what)
{
  fprintf (stderr, "bench-inflate: %s: %s\n", name, what);
  exit (EXIT_FAILURE);
}

static uint64_t
load (const uint8_t *p, unsigned bytes)
{
  uint64_t v = 0;

  while (bytes-- > 0)
    v = v << 8 | p[bytes];
  return v;
}

static double
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
add (struct grains *g, const uint8_t *data, uint32_t size)
{
  if (g->nr == g->room) {
    g->room = g->room ? 2 * g->room : 1024;
    g->list = realloc (g->list, g->room * sizeof *g->list);
    if (g->list == NULL)
      die ("grains", "out of memory");
  }
  g->list[g->nr++] = (struct grain){ data, size };
  g->sum += size;
}

/* From the first grain marker to the end-of-stream marker or the file's end.
 */
static void
walk (const uint8_t *file, uint64_t size, struct grains *g)
{
  uint64_t at = load (file + 64, 8) * SECTOR;

  while (at <= size - SECTOR) {
    const uint64_t val = load (file + at, 8);
    const uint32_t count = (uint32_t) load (file + at + 8, 4);

    if (count != 0) { /* VAL is the grain's first sector */
      if (count > size - at - 12)
        return;
      add (g, file + at + 12, count);
      at += (12 + (uint64_t) count + SECTOR - 1) / SECTOR * SECTOR;
    }
    else if (load (file + at + 12, 4) == 0 || val > size / SECTOR)
      return;
    else /* VAL sectors of metadata follow */
      at += (1 + val) * SECTOR;
  }
}

#ifdef HAVE_LIBDEFLATE
static bool
inflate_one (const struct grain *g, uint8_t *out, size_t room)
{
  static struct libdeflate_decompressor *d;
  size_t written;

  if (d == NULL)
    d = libdeflate_alloc_decompressor ();
  return d != NULL
         && libdeflate_zlib_decompress (d, g->data, g->size, out, room,
                                        &written)
              == 0;
}
#else
static bool
inflate_one (const struct grain *g, uint8_t *out, size_t room)
{
  static z_stream z;
  static bool ready;

  if (ready ? inflateReset (&z) != Z_OK : inflateInit (&z) != Z_OK)
    return false;
  ready = true;
  z.next_in = (Bytef *) g->data;
  z.avail_in = g->size;
  z.next_out = out;
  z.avail_out = (uInt) room;
  return inflate (&z, Z_FINISH) == Z_STREAM_END;
}
#endif

static void
run (const char *name, const struct grains *g, size_t grain_size,
     double seconds, bool random)
{
  static uint8_t out[MAX_GRAIN];
  const double start = now ();
  uint64_t done = 0, packed = 0, state = 1;
  double took;

  do {
    /* Reading the clock for each grain would cost little, but not nothing. */
    for (unsigned i = 0; i < 64; i++, done++) {
      size_t n = done % g->nr;

      if (random) {
        state = state * UINT64_C (6364136223846793005) + 1;
        n = (size_t) (state >> 33) % g->nr;
      }
      if (!inflate_one (&g->list[n], out, grain_size))
        die (name, "a grain does not inflate");
      packed += g->list[n].size;
    }
    took = now () - start;
  } while (took < seconds);
  printf ("{\"library\": \"" LIBRARY "\", \"grains\": %" PRIu64
          ", \"bytes\": %" PRIu64 ", \"packed_bytes\": %" PRIu64
          ", \"seconds\": %.6f, \"iops\": %.1f, \"mib_per_second\": %.2f}\n",
          done, done * grain_size, packed, took, (double) done / took,
          (double) (done * grain_size) / took / 1048576);
}

int
main (int argc, char **argv)
{
  const bool random = argc == 4 && strcmp (argv[3], "--random") == 0;
  struct grains grains = { 0 };
  const uint8_t *file;
  struct stat st;
  uint64_t grain_size;
  int fd;

  if (argc < 3 || argc > 4 || (argc == 4 && !random)) {
    fprintf (stderr, "Usage: bench-inflate DISK SECONDS [--random]\n");
    return EXIT_FAILURE;
  }
  fd = open (argv[1], O_RDONLY | O_CLOEXEC);
  if (fd == -1 || fstat (fd, &st) == -1)
    die (argv[1], strerror (errno));
  if (st.st_size < 2 * SECTOR)
    die (argv[1], "too small");
  file = mmap (NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE,
               fd, 0);
  if (file == MAP_FAILED)
    die (argv[1], strerror (errno));
  if (memcmp (file, "KDMV", 4) != 0 || load (file + 77, 2) != 1)
    die (argv[1], "not a streamOptimized disk");
  grain_size = load (file + 20, 8) * SECTOR;
  if (grain_size == 0 || grain_size > MAX_GRAIN)
    die (argv[1], "unusual grain size");
  walk (file, (uint64_t) st.st_size, &grains);
  if (grains.nr == 0)
    die (argv[1], "no grains");
  run (argv[1], &grains, grain_size, strtod (argv[2], NULL), random);
  free (grains.list);
  return EXIT_SUCCESS;
}
