/* SPDX-License-Identifier: BSD-3-Clause */

/* A link's descriptor as text: what kind of file is this, where in it is the
 * text, and how is another one put in its place?
 *
 * Media write sectors of 512 bytes whole or not at all, and nothing larger.
 * Still a text is never half old and half new:
 *
 *  - one that changes in a single sector is written in place;
 *  - a file of its own is written aside and renamed;
 *  - a text that lies in an extent's file is first written aside, at the
 *    end of that file; then the header names the copy, the text is written
 *    in its usual place (which qemu takes for granted), the header names
 *    that again, and the copy is cut off.
 *
 * After a crash in between the descriptor is whole, the old one or the new
 * one; opening the link for writing puts it back and cuts off the copy.
 */

#ifndef VMDKIT_LINK_TEXT_H
#define VMDKIT_LINK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "descriptor.h"
#include "error.h"
#include "extent.h"
#include "log.h"
#include "media.h"
#include "store.h"

struct link;

/* -- For whole-link operations ------------------------------------------ */

/* The descriptor as the medium has it now, for editing; owned by the caller.
 * LINK->descriptor is what it was when the link was opened, which differs
 * once a content ID was given or a text replaced.
 */
extern struct descriptor *link_text_now (struct link *link,
                                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Put DESCRIPTOR, which stays the caller's, in the place of the link's own,
 * durably.  Whether its lines are right for the files is the caller's
 * affair; that they parse is checked.  LINK->descriptor stays what it was.
 *
 * The link was opened for writing (ERR_READ_ONLY if not), and nobody changes
 * its contents during the call.  If it has not been written before, its
 * first write gives it a new content ID as usual.  A text that has outgrown
 * its area in an extent's file gets a larger one if there is room; the extent
 * is not written then before the link is opened again.
 *
 * ERR_READ_ONLY when there is no room for the text, or when the file is no
 * longer the one of that name; then nothing was changed.  After any other
 * error the link has its old descriptor or DESCRIPTOR, and the call can be
 * made again, now or in another process.  Errors name the link.
 */
extern int link_replace_text (struct link *link,
                              const struct descriptor *descriptor,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* What the bytes of a file that may be raw look like. */
enum file_guess {
  FILE_LIKE_VMDK,
  FILE_LIKE_OTHER,   /* an image of another format, or packed */
  FILE_LIKE_NOTHING, /* so it can only be raw */
};
extern int link_text_guess (struct media *media, enum file_guess *guess,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* -- Private to link*.c ------------------------------------------------- */

struct link_text {
  struct descriptor *descriptor; /* owned by the caller, also on failure */
  bool embedded;                 /* extent 0 is the file that holds the text */
};

/* Read the descriptor of NAME, opened as MEDIA.  With LONE_EXTENT a file
 * that has none gets a descriptor made for it, with one extent of the size
 * that the file's own header says.
 */
extern int link_text_read (struct store *store, const char *name,
                           struct media *media, bool lone_extent,
                           const struct vmdk_log *log, struct link_text *out,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6, 7)));

/* The text in the file of EXTENT becomes TEXT.  *tail, 0 at first, says from
 * which byte on the file holds a copy that could not be cut off: then
 * nothing may be appended to it before another call has succeeded.  *grown:
 * the header has another descriptorSize than it had.
 */
extern int embedded_text_replace (const struct extent *extent,
                                  const char *text, size_t len, uint64_t *tail,
                                  bool *grown, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

/* Before the extent in MEDIA is opened for writing: finish a replacement
 * that a crash ended.  Mostly there is nothing to do.  NAME is for the log.
 */
extern int embedded_text_restore (struct media *media, const char *name,
                                  const struct vmdk_log *log,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Write what differs between OLD, which is on MEDIA at OFFSET, and TEXT, both
 * LEN long, and flush.
 */
extern int text_write_difference (struct media *media, uint64_t offset,
                                  const char *old, const char *text,
                                  size_t len, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4, 6)));

/* Whether OLD and TEXT, at OFFSET of a file, differ in one sector at most. */
extern bool text_differs_in_one_sector (uint64_t offset, const char *old,
                                        const char *text, size_t len)
  __attribute__ ((nonnull (2, 3)));

#endif /* VMDKIT_LINK_TEXT_H */
