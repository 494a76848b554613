/* SPDX-License-Identifier: BSD-3-Clause */

/* Until when to wait for a condition that goes by CLOCK_MONOTONIC. */

#ifndef VMDKIT_DEADLINE_H
#define VMDKIT_DEADLINE_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000L
#define NS_PER_SECOND (1000 * NS_PER_MS)

static inline struct timespec
deadline_after (uint64_t milliseconds)
{
  struct timespec until;

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t) (milliseconds / 1000);
  until.tv_nsec += (long) (milliseconds % 1000) * NS_PER_MS;
  if (until.tv_nsec >= NS_PER_SECOND) {
    until.tv_nsec -= NS_PER_SECOND;
    until.tv_sec++;
  }
  return until;
}

#endif /* VMDKIT_DEADLINE_H */
