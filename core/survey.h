/* SPDX-License-Identifier: BSD-3-Clause */

/* Figures about an open disk: what is allocated, how scattered it is, what
 * its files take, whether somebody else uses it.
 *
 * Reads every table of every link, and changes nothing.  Of a disk that is
 * being written meanwhile the figures are from different moments.
 */

#ifndef VMDKIT_SURVEY_H
#define VMDKIT_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "create.h"
#include "disk.h"
#include "error.h"
#include "operation.h"

/* How scattered grains are: of NR_PAIRS pairs of grains that are neighbours
 * on the disk and both allocated, NR_APART are no neighbours in the file.
 * Both lie in one extent, and are not compressed.
 */
struct scatter {
  uint64_t nr_pairs, nr_apart;
};

struct survey_extent {
  const struct extent *extent;
  const struct extent_line *line;
  uint64_t start; /* on the disk, bytes */

  /* Of the disk's bytes, those that are data (packed ones too), those an entry
   * says are zeros, and those that cannot be read.
   */
  uint64_t allocated, zeros, damaged;
  struct scatter scatter;
  uint64_t file_size;      /* 0 when there is none */
  uint64_t file_allocated; /* what is no hole */
  bool unclean;            /* a writer did not finish, or is at work */
};

#define SURVEY_TEXT_SIZE 512

struct survey_link {
  const struct link *link;
  struct survey_extent *extents;
  size_t nr_extents;

  /* Sums, each file being counted once, the descriptor's too. */
  uint64_t allocated, file_size, file_allocated;
  struct scatter scatter;
  bool unclean;

  /* Who uses it, "" if nobody: "FILE: another program has it open ...".  Our
   * own locks are not seen.
   */
  char user[SURVEY_TEXT_SIZE];

  const char *tracking; /* changeTrackPath, or NULL */
  bool tracking_exists;
};

struct survey {
  struct survey_link *links; /* the top first */
  size_t nr_links;
  uint64_t allocated;
  struct scatter scatter;
};

/* *survey is all zeros before.  DISK, which was opened without locks, is
 * borrowed for its life.
 */
extern int disk_survey (struct disk *disk, const struct operation *operation,
                        struct survey *survey, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Accepts all zeros, and one half made. */
extern void survey_free (struct survey *survey) __attribute__ ((nonnull (1)));
#define CLEANUP_SURVEY __attribute__ ((cleanup (survey_free)))

/* Physical is the guest's, as the disk database has it; BIOS what a BIOS may
 * be told in its place.  False when the database has none.
 */
enum geometry_kind { GEOMETRY_PHYSICAL, GEOMETRY_BIOS };
extern bool survey_geometry (const struct descriptor *descriptor,
                             enum geometry_kind kind,
                             struct disk_geometry *geometry)
  __attribute__ ((nonnull (1, 3)));

#endif /* VMDKIT_SURVEY_H */
