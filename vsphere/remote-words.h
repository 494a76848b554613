/* SPDX-License-Identifier: BSD-3-Clause */

/* The words KEY=VALUE with which a command line, or nbdkit's, says which
 * server, who we are there, and which of its machines: they become struct
 * remote_settings.  They are known in builds without the rest of vsphere, too.
 *
 * On a command line a secret is its VALUE itself, or is read from the terminal
 * or the standard input ("-"), from a file ("+FILE") or from a file descriptor
 * ("-FD"): the first line of it.  One that stands in the word itself is
 * blanked there, so that ps does not show it any longer.
 */

#ifndef VMDKIT_REMOTE_WORDS_H
#define VMDKIT_REMOTE_WORDS_H

#include "remote.h"

/* All zeros but for the defaults of struct remote_settings' numbers. */
struct remote_words {
  struct remote_settings settings; /* whose texts are owned */
  bool meant;      /* a server is meant: some words can go with local disks */
  bool unbuffered; /* media_file_unbuffered, which is of local ones only */
  int ignored;     /* private */
};
#define REMOTE_WORDS_DEFAULT                    \
  {                                             \
    .settings = { .prepare_seconds = 10 * 60 }, \
  }

/* Whether WORD is KEY=..., with a KEY that is known here. */
extern bool remote_word_is_known (const char *word) __attribute__ ((nonnull));

/* ERR_ARGUMENT says what is wrong with WORD. */
extern int remote_words_add (struct remote_words *words, char *word,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* For a program that has ways of its own to read values: */
enum remote_word_kind {
  REMOTE_WORD_NONE, /* not known here */
  REMOTE_WORD_PLAIN,
  REMOTE_WORD_PATH, /* of a local file */
  REMOTE_WORD_SECRET,
};
extern enum remote_word_kind remote_word_kind (const char *key)
  __attribute__ ((nonnull));

/* The key of word I, from 0; NULL behind the last. */
extern const char *remote_word_key (size_t i);

/* VALUE is what it says, also of a secret. */
extern int remote_words_set (struct remote_words *words, const char *key,
                             const char *value, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull));

/* When all are there: what is missing, and what does not go together. */
extern int remote_words_check (const struct remote_words *words,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Secrets are wiped. */
extern void remote_words_reset (struct remote_words *words)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_REMOTE_WORDS_H */
