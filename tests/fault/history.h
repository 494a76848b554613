/* SPDX-License-Identifier: BSD-3-Clause */

/* What a disk may hold after a crash, sector by sector.
 *
 * Each sector of 512 bytes has versions: what the disk held at first, and
 * then what each write left there.  Time is counted in changes that the
 * store recorded.  After a crash at a moment K a sector may be its last
 * version that a flush had promised before K, or any later one whose write
 * had begun before K (contract C3); a sector that nobody wrote has one
 * version for ever.
 *
 * What is written are stamps, which tell sector and version, so that a wrong
 * sector can be explained.
 *
 * Several threads may use one history if each changes sectors of its own.
 */

#ifndef VMDKIT_TESTS_HISTORY_H
#define VMDKIT_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history;

/* BYTES is what the disk holds at first; SIZE is whole sectors. */
extern struct history *history_new (const uint8_t *bytes, uint64_t size);
extern void history_free (struct history *history);
extern uint64_t history_size (const struct history *history);

/* A number for the next write's stamps. */
extern uint32_t history_next_stamp (struct history *history);

/* Fill BUF, which is to be written at OFFSET, with stamps. */
extern void history_stamp (uint8_t *buf, size_t count, uint64_t offset,
                           uint32_t stamp);

/* A write (NULL: of zeros) begins, AT is the number of changes that the store
 * has recorded so far; and it ended, well or not.  After one that failed the
 * sectors have the old bytes or the new ones.
 */
extern void history_write_begin (struct history *history, const uint8_t *buf,
                                 uint64_t count, uint64_t offset, size_t at);
extern void history_write_end (struct history *history, uint64_t count,
                               uint64_t offset);

/* Around a flush.  The history's clock goes on with each end of a write; a
 * flush promises what had ended when it began.
 */
extern uint64_t history_flush_begin (struct history *history);
extern void history_flush_end (struct history *history, uint64_t began,
                               size_t at);

/* The range, whole sectors, was read as BUF, in which each must be the present
 * version or one that the last write, which failed or was a mere advice,
 * could have left.  From now on that is the present one.  Returns -1 and
 * sets TEXT.
 */
#define HISTORY_TEXT_SIZE 1000
extern int history_settle (struct history *history, const uint8_t *buf,
                           uint64_t count, uint64_t offset,
                           char text[HISTORY_TEXT_SIZE]);

/* Compare with the present versions. */
extern int history_compare (struct history *history, const uint8_t *buf,
                            uint64_t count, uint64_t offset,
                            char text[HISTORY_TEXT_SIZE]);

/* Compare the whole disk, as read after a crash at the moment AT. */
extern int history_check (struct history *history, const uint8_t *buf,
                          size_t at, char text[HISTORY_TEXT_SIZE]);

#endif /* VMDKIT_TESTS_HISTORY_H */
