/* SPDX-License-Identifier: BSD-3-Clause */

/* Building a tar archive in memory. */

#ifndef VMDKIT_TESTS_TAR_HELPER_H
#define VMDKIT_TESTS_TAR_HELPER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_SIZE 512

/* The archive that a test builds: room that the test has obtained, all zeros,
 * and how much of it is taken.
 */
static uint8_t *bytes;
static size_t used;

/* Make the checksum of the header at P right. */
static inline void
seal (uint8_t *p)
{
  unsigned sum = 0, i;

  memset (p + 148, ' ', 8);
  for (i = 0; i < BLOCK_SIZE; i++)
    sum += p[i];
  snprintf ((char *) p + 148, 8, "%06o", sum);
}

/* Returns where the header is. */
static inline uint8_t *
put_header (const char *name, char type, uint64_t size)
{
  uint8_t *p = bytes + used;
  char octal[24];

  for (size_t i = 0; i < 100 && name[i]; i++)
    p[i] = (uint8_t) name[i];
  memcpy (p + 100, "0000644", 8);
  snprintf (octal, sizeof octal, "%011llo", (unsigned long long) size);
  memcpy (p + 124, octal, 12);
  p[156] = (uint8_t) type;
  memcpy (p + 257, "ustar\00000", 8);
  seal (p);
  used += BLOCK_SIZE;
  return p;
}

static inline void
put_data (const void *data, size_t size)
{
  memcpy (bytes + used, data, size);
  used += (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static inline uint8_t *
put_member (const char *name, char type, const char *data)
{
  uint8_t *p = put_header (name, type, strlen (data));

  put_data (data, strlen (data));
  return p;
}

static inline void
put_end (void)
{
  used += 2 * BLOCK_SIZE;
}

#endif /* VMDKIT_TESTS_TAR_HELPER_H */
