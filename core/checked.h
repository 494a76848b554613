/* SPDX-License-Identifier: BSD-3-Clause */

/* Arithmetic on numbers that somebody else chose.
 *
 * The *_overflow functions return true and leave *result unspecified when
 * the true result does not fit.  Sectors are 512 bytes, always, also on
 * disks that advertise 4096-byte sectors (VMDK counts in 512-byte sectors
 * everywhere).
 */

#ifndef VMDKIT_CHECKED_H
#define VMDKIT_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define SECTOR_SIZE 512

/* NBD, off_t and 63-bit arithmetic all end here, so no sector number that
 * we accept may exceed it.
 */
#define MAX_SECTORS ((UINT64_C (1) << 54) - 1)

static inline bool
add_overflow (uint64_t a, uint64_t b, uint64_t *result)
{
  return __builtin_add_overflow (a, b, result);
}

static inline bool
mul_overflow (uint64_t a, uint64_t b, uint64_t *result)
{
  return __builtin_mul_overflow (a, b, result);
}

/* Whether [offset, offset+count) lies within [0, size). */
static inline bool
range_inside (uint64_t offset, uint64_t count, uint64_t size)
{
  return offset <= size && count <= size - offset;
}

/* Whether [a, a+na) and [b, b+nb) share a byte; an empty range shares none. */
static inline bool
ranges_overlap (uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
  return na > 0 && nb > 0 && (a < b ? b - a < na : a - b < nb);
}

static inline bool
is_power_of_2 (uint64_t n)
{
  return n != 0 && (n & (n - 1)) == 0;
}

static inline uint64_t
div_round_up (uint64_t n, uint64_t d)
{
  return n / d + (n % d != 0);
}

static inline bool
round_up_overflow (uint64_t n, uint64_t multiple, uint64_t *result)
{
  return mul_overflow (div_round_up (n, multiple), multiple, result);
}

static inline uint64_t
min_u64 (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static inline uint64_t
max_u64 (uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* The only two places where sectors become bytes and back.  The caller has
 * checked that SECTORS <= MAX_SECTORS.
 */
static inline uint64_t
sectors_to_bytes (uint64_t sectors)
{
  return sectors * SECTOR_SIZE;
}

static inline uint64_t
bytes_to_sectors (uint64_t bytes)
{
  return bytes / SECTOR_SIZE;
}

#endif /* VMDKIT_CHECKED_H */
