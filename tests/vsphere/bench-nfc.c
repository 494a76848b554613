/* SPDX-License-Identifier: BSD-3-Clause */

/* How fast a disk of a host far away is read: 20 ms before each answer, by one
 * thread, 256 KiB at a time.
 *
 *   bench-nfc [nbd|nbdssl [COMPRESSION [MILLISECONDS]]]
 *
 * Once with reads that do not follow one another, so that one is in flight;
 * once from the beginning to the end.
 */

#include <config.h>

#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "nfc-host.h"
#include "nfc-pack.h"

#define MIB (1024 * 1024)
#define SIZE (256 * MIB)
#define PIECE (256 * 1024)

static double
seconds (clockid_t clock)
{
  struct timespec now;

  clock_gettime (clock, &now);
  return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Piece by piece, STEP pieces from one to the next. */
static double
read_disk (struct nfc_disk *disk, size_t pieces, size_t step, const char *what)
{
  const double began = seconds (CLOCK_MONOTONIC);
  const double cpu = seconds (CLOCK_PROCESS_CPUTIME_ID);
  static uint8_t buf[PIECE];
  struct vmdk_error err;
  double speed;

  for (size_t i = 0; i < pieces; i++)
    if (nfc_disk_read (disk, buf, PIECE,
                       (uint64_t) (i * step % (SIZE / PIECE)) * PIECE, &err)
        == -1) {
      fprintf (stderr, "%s\n", err.text);
      exit (EXIT_FAILURE);
    }
  speed = (double) pieces * PIECE / MIB / (seconds (CLOCK_MONOTONIC) - began);
  printf ("%s: %.0f MiB/s, %.2f s of CPU for a GiB\n", what, speed,
          (seconds (CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1024
            / ((double) pieces * PIECE / MIB));
  return speed;
}

int
main (int argc, char **argv)
{
  struct nfc_settings settings =
    host_settings (argc < 2 || strcmp (argv[1], "nbd") != 0);
  uint8_t *contents = malloc (SIZE);
  enum nfc_reason reason;
  struct vmdk_error err;
  struct nfc_disk *disk;
  struct host host;
  double one, many;
  char delay[32];

  settings.compression = NFC_PLAIN;
  if (argc > 2 && nfc_compression_parse (&settings.compression, argv[2]) == -1)
    return EXIT_FAILURE;
  for (size_t i = 0; contents && i < SIZE; i++)
    contents[i] = (uint8_t) (i * 7 ^ i >> 8);
  if (!contents || host_start (&host, contents, SIZE, SIZE) == -1)
    return EXIT_FAILURE;
  snprintf (delay, sizeof delay, "%g",
            (argc > 3 ? atof (argv[3]) : 20) / 1000);
  host_set (&host, "delay", delay);
  disk = host_open (&host, &settings, false, &reason, &err);
  if (!disk) {
    fprintf (stderr, "%s\n", err.text);
    return EXIT_FAILURE;
  }
  one = read_disk (disk, 128, 333, "one at a time");
  many = read_disk (disk, SIZE / PIECE, 1, "in sequence");
  printf ("ratio %.1f, at most %ld MiB in flight\n", many / one,
          host_counted (&host, "most_outstanding") / MIB);
  nfc_disk_close (disk);
  host_stop (&host);
  free (contents);
  return EXIT_SUCCESS;
}
