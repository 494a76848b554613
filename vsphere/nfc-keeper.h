/* SPDX-License-Identifier: BSD-3-Clause */

/* Keeps one session open: makes it, and makes another when it was lost, is
 * worn, or nobody can tell what the host still sends.
 *
 * All rules about trying again to connect are here: how often, how long to
 * wait in between, what is not tried again.  Rules about trying an operation
 * again are nfc-disk's.
 *
 * There is one session at a time.  The old one is closed before the new one
 * is opened, because a disk that is written lets nobody else in.
 */

#ifndef VMDKIT_NFC_KEEPER_H
#define VMDKIT_NFC_KEEPER_H

#include "nfc-session.h"

struct nfc_keeper;

/* Called when the session is about to be replaced: whoever holds it without
 * a thread that would give it back does so now.
 */
struct nfc_keeper_hook {
  void (*drain) (void *opaque);
  void *opaque;
};

/* Connects.  What is pointed to is copied; the office stays the caller's. */
extern struct nfc_keeper *
nfc_keeper_open (const struct nfc_settings *settings,
                 const struct nfc_ticket_office *office, const char *path,
                 bool writable, const struct vmdk_log *log,
                 struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6)));

extern void nfc_keeper_set_hook (struct nfc_keeper *keeper,
                                 struct nfc_keeper_hook hook)
  __attribute__ ((nonnull (1)));

/* As the host told when the disk was first opened. */
extern const struct nfc_opened *
nfc_keeper_opened (const struct nfc_keeper *keeper)
  __attribute__ ((nonnull (1)));

/* The session, to be given back with nfc_keeper_put; connects if need be,
 * which can take minutes.  Who holds it must not ask again.
 */
extern struct nfc_session *nfc_keeper_get (struct nfc_keeper *keeper,
                                           struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The same if there is one at once, or NULL. */
extern struct nfc_session *nfc_keeper_try_get (struct nfc_keeper *keeper)
  __attribute__ ((warn_unused_result, nonnull (1)));
extern void nfc_keeper_put (struct nfc_keeper *keeper)
  __attribute__ ((nonnull (1)));

/* How many operations at most are in flight, in all sessions to come too. */
extern void nfc_keeper_limit (struct nfc_keeper *keeper, unsigned requests)
  __attribute__ ((nonnull (1)));

/* Close the disk and open it again, without an operation in between.  -1 when
 * the host had something against the closing.
 */
extern int nfc_keeper_reopen (struct nfc_keeper *keeper,
                              struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* How often a session was replaced. */
extern unsigned nfc_keeper_replaced (struct nfc_keeper *keeper)
  __attribute__ ((nonnull (1)));

/* Wait that long; -1, at once, when everything is to end. */
extern int nfc_keeper_pause (struct nfc_keeper *keeper, int milliseconds)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* From now on everything fails, soon; from any thread. */
extern void nfc_keeper_cancel (struct nfc_keeper *keeper)
  __attribute__ ((nonnull (1)));

/* Nobody holds the session.  As nfc_session_close. */
extern int nfc_keeper_close (struct nfc_keeper *keeper,
                             struct nfc_fault *fault);

#endif /* VMDKIT_NFC_KEEPER_H */
