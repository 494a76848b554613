/* SPDX-License-Identifier: BSD-3-Clause */

/* Runs a fuzz target over files, without a fuzzer: every input that was ever
 * worth keeping is a test of every build.
 */

#include <config.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static int
replay (const char *path)
{
  FILE *file = fopen (path, "rb");
  uint8_t *data = NULL;
  long size = -1;

  if (file && fseek (file, 0, SEEK_END) == 0)
    size = ftell (file);
  if (size >= 0)
    data = malloc ((size_t) size + 1);
  if (!data || fseek (file, 0, SEEK_SET) != 0
      || fread (data, 1, size, file) != (size_t) size) {
    perror (path);
    return -1;
  }
  fclose (file);
  printf ("%s\n", path);
  fflush (stdout); /* the last one named is the one that crashed */
  LLVMFuzzerTestOneInput (data, size);
  free (data);
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc < 2) {
    fprintf (stderr, "usage: %s FILE ...\n", argv[0]);
    return EXIT_FAILURE;
  }
  for (int i = 1; i < argc; i++)
    if (replay (argv[i]) == -1)
      return EXIT_FAILURE;
  return EXIT_SUCCESS;
}
