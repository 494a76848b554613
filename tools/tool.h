/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands of vmdkit share.
 *
 * A command is one file, cmd-NAME.c, with one struct command: its options
 * (popt), a check of what they say together, and its work, which is to call
 * one function of core and to print what came of it.  If a loop over grains
 * appears here, it belongs below.
 *
 * main.c finds the command and runs it; options.c has the options that all
 * commands understand; server.c has the words that name a server; open.c turns
 * what a user writes into a store and a name; output.c prints for people and
 * as JSON; progress.c draws the bar.
 */

#ifndef VMDKIT_TOOL_H
#define VMDKIT_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <popt.h>

#include "cleanup.h"
#include "error.h"
#include "media.h"
#include "operation.h"
#include "place.h"
#include "store.h"

/* What the program ends with.  Scripts rely on these. */
enum exit_code {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,  /* the operation failed; stderr says why */
  EXIT_USAGE = 2,   /* the command line is wrong */
  EXIT_DAMAGED = 3, /* check: errors were found (and not all repaired) */
  EXIT_LEAKS = 4,   /* check: only room that nothing uses was found */
};

struct command {
  const char *name;
  const char *arguments; /* "[-t TYPE] DISK SIZE" */
  int min, max;          /* how many of them there are */
  const char *summary;   /* one line, no full stop */

  /* Its own, beside those of all commands; ends with POPT_TABLEEND.  What
   * they point to should be static: strings that popt makes are never freed.
   * Options that come more than once: POPT_ARG_ARGV.  NULL: none.
   */
  const struct poptOption *options;

  /* Whether options and operands make sense.  Returns -1 to go on, or what
   * usage_error returned; nothing was opened yet.  What it makes of them is
   * as static as they are.  NULL: they do.
   */
  int (*check) (const char **arguments);

  /* The work: returns an exit code.  ARGUMENTS end with NULL. */
  int (*run) (const char **arguments, struct operation *operation);
  const char *title; /* see operation_show; NULL: that is for run to say */

  enum { LOCAL_ONLY, SERVER_DISK, SERVER } server; /* see server.h */
};

/* In the order of vmdkit --help; ends with NULL.  main.c has the list, one
 * row a command; the row X (info) stands for command_info.
 */
extern const struct command *const commands[];

/* -- Options ------------------------------------------------------------ */

/* Parse ARGV: the command's options and the common ones, --json, --progress,
 * --color, --quiet, --verbose, --help, and how disks are opened,
 * --parent, --search, --ignore-cid, --allow-outside, ...  *arguments gets the
 * operands, NULL-terminated; they live until the program ends.
 * Returns -1 to go on, or an exit code: usage errors and --help are dealt
 * with.
 */
extern int options_parse (const struct command *command, int argc,
                          const char **argv, const char ***arguments);

/* A wrong command line: "vmdkit info: TEXT", and how to get help.  Returns
 * EXIT_USAGE.
 */
extern int usage_error (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

/* WORD is no type that a new disk can have; says which there are.  RAW: that
 * is one, too.
 */
extern int type_error (const char *word, bool raw);

/* What the common options said. */
struct settings {
  bool json, quiet, verbose;
  bool lock;
  int dry_run; /* only with OPTION_DRY_RUN */
};
extern struct settings settings;

/* For the options of a command. */
#define OPTION_DRY_RUN(help)                                        \
  {                                                                 \
    "dry-run", 'n', POPT_ARG_NONE, &settings.dry_run, 0, help, NULL \
  }

/* An operation as the common options want it, with messages to stderr: a quick
 * look without progress, which signals just kill.  Valid until operation_end.
 */
extern int operation_begin (struct operation *operation,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result));
extern void operation_end (struct operation *operation);

/* It takes long: show a progress bar titled TITLE where one is wanted.  From
 * then on Ctrl-C (and SIGTERM, SIGHUP) asks the operation to stop, through its
 * progress callback, so that it can clean up; the second one kills.
 * operation_end takes the bar away; progress_hide does, too, until there is
 * more progress: before anything is printed.
 */
extern void operation_show (struct operation *operation, const char *title);
extern void progress_hide (void);

/* "10G", "512M", "1T", "4096s" (sectors), "1000000" (bytes).  ERR_ARGUMENT
 * says what is wrong with TEXT.
 */
extern int size_parse (const char *text, uint64_t *bytes,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* "9.3 GiB" for people; BUF of 32 bytes is enough. */
extern const char *size_text (uint64_t bytes, char *buf, size_t size);

/* -- Names -------------------------------------------------------------- */

/* A disk as the user named it (place.h): FOLDER/DISK.vmdk, which need not be
 * there yet, or ARCHIVE.ova/MEMBER, or ARCHIVE.ova for the first disk in it.
 * With the locks that --lock says.
 */
extern int place_find (struct place *place, const char *text,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* NAME, from a descriptor in STORE, as the user would write it from where he
 * is; owned by the caller.
 */
extern char *file_path (const struct store *store, const char *name);

/* -- Output ------------------------------------------------------------- */

/* With --json, stdout has one JSON value and stderr one JSON object a line:
 * {"warning": TEXT}, {"error": {...}}, and {"progress": {...}} where that was
 * asked for.
 */

/* "vmdkit: FOLDER/a.vmdk: ...", to stderr.  WHERE is what the user wrote, or
 * NULL; it takes the place of the bare name with which the core's text begins.
 * Returns EXIT_FAILED.
 */
extern int tell_failure (const char *where, const struct vmdk_error *err);

/* Print VALUE (stolen) on stdout.  Returns EXIT_DONE, or EXIT_FAILED when
 * stdout cannot be written.
 */
extern int print_json (json_t *value);

/* How JSON is printed on stdout: escaped for a terminal. */
extern size_t json_flags (void);

/* For output piece by piece: whether all of it reached stdout.  As print_json.
 */
extern int print_finish (void);

/* "Key:   value" with keys lined up and coloured on a terminal.  What could
 * move the cursor is escaped.
 */
extern void print_field (const char *key, const char *format, ...)
  __attribute__ ((format (printf, 2, 3)));

/* A string from a file: bytes that are no UTF-8 are escaped. */
extern json_t *json_text (const char *text);

/* Something the user should know that is not the result: to stderr, unless
 * --quiet.
 */
extern void tell_note (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

/* -- Between options.c, output.c, progress.c and main.c ------------------- */

enum when { WHEN_AUTO, WHEN_ALWAYS, WHEN_NEVER };

/* Colours on stdout and stderr. */
extern void output_setup (enum when colour);

/* The core speaks of the plugin's parameters: "single-link=true" becomes
 * "--single-link".
 */
extern void text_options (char *dst, size_t size, const char *src);

/* The sink of operations' messages. */
extern void output_log (void *opaque, enum log_topic topic, const char *text);

/* One line for stderr, after the bar, if any, was taken away. */
extern void stderr_line (const char *line);

/* A JSON object (stolen) as one line of stderr. */
extern void stderr_json (json_t *object);

enum progress_mode {
  PROGRESS_AUTO,
  PROGRESS_ALWAYS,
  PROGRESS_NEVER,
  PROGRESS_JSON
};
extern void progress_begin (struct operation *operation, const char *title,
                            enum progress_mode mode);
extern void progress_end (void);

/* Signals are as after progress_begin, without a bar: whoever waits asks
 * progress_signal.
 */
extern void progress_catch (void);

/* The signal that asked an operation to stop; 0: none. */
extern int progress_signal (void);

#endif /* VMDKIT_TOOL_H */
