/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands convert and measure share: the words for sources and
 * types.
 */

#ifndef VMDKIT_CONVERT_WORDS_H
#define VMDKIT_CONVERT_WORDS_H

#include <stdbool.h>

#include "convert.h"
#include "tool.h"

/* A source as the user named it. */
struct source {
  struct place place;
  struct media *media; /* owned */
  struct convert_source source;
};

/* Whether NAME ends with one of ENDINGS (".vmdk", ..., NULL), in any case. */
extern bool name_ends (const char *name, const char *const *endings);

/* FORMAT is "vmdk", "raw" or NULL.  An error that a format would cure says
 * so; see source_hint.
 */
extern int source_find (struct source *source, const char *text,
                        const char *format, unsigned threads,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result));
extern void source_free (struct source *source);
#define CLEANUP_SOURCE __attribute__ ((cleanup (source_free)))

/* Say in ERR, after an operation failed on a source without a FORMAT, that it
 * may be raw.
 */
extern void source_hint (const char *format, struct vmdk_error *err);

/* "raw" or a type.  False for another word. */
extern bool type_parse (const char *word, struct convert_rules *rules);
extern const char *type_name (const struct convert_rules *rules);

/* Returns -1 to go on, or an exit code. */
extern int check_format (const char *format);

/* -1: TEXT is no number from 0 to MAX. */
extern int number_parse (const char *text, int max);

#endif /* VMDKIT_CONVERT_WORDS_H */
