/* SPDX-License-Identifier: BSD-3-Clause */

/* The options that all commands understand, and what they stand for.
 *
 * Those that say how disks are opened are named after the plugin's
 * parameters.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "create.h"
#include "resources.h"
#include "server.h"
#include "tool.h"

struct settings settings = { .lock = true };

static struct {
  int json, quiet, verbose;
  char *progress, *color, *lock;

  int single_link, ignore_cid, allow_outside;
  int lone_extent, recover, accept_journal;
  char *parent, **search, **devices;
} given;

static const struct command *command; /* the one that runs */
static enum progress_mode progress_mode;
static struct resources *resources;

enum { OPTION_HELP = -100 };

static const struct poptOption common_options[] = {
  { "json", 0, POPT_ARG_NONE, &given.json, 0, "Print JSON", NULL },
  { "progress", 0, POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL, &given.progress, 0,
    "auto, always (plain --progress), never or json", "WHEN" },
  { "color", 0, POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL, &given.color, 0,
    "auto, always (plain --color) or never", "WHEN" },
  { "quiet", 'q', POPT_ARG_NONE, &given.quiet, 0, "No warnings, no progress",
    NULL },
  { "verbose", 'v', POPT_ARG_NONE, &given.verbose, 0, "Say what is opened",
    NULL },
  { "help", 0, POPT_ARG_NONE, NULL, OPTION_HELP, "Show this", NULL },
  POPT_TABLEEND
};

/* OPEN_OPTIONS_HELP has them in less room. */
#define HIDDEN POPT_ARGFLAG_DOC_HIDDEN
static const struct poptOption open_options[] = {
  { "parent", 0, POPT_ARG_STRING | HIDDEN, &given.parent, 0, NULL, "PATH" },
  { "search", 0, POPT_ARG_ARGV | HIDDEN, &given.search, 0, NULL, "FOLDER" },
  { "single-link", 0, POPT_ARG_NONE | HIDDEN, &given.single_link, 0, NULL,
    NULL },
  { "ignore-cid", 0, POPT_ARG_NONE | HIDDEN, &given.ignore_cid, 0, NULL,
    NULL },
  { "allow-outside", 0, POPT_ARG_NONE | HIDDEN, &given.allow_outside, 0, NULL,
    NULL },
  { "allow-device", 0, POPT_ARG_ARGV | HIDDEN, &given.devices, 0, NULL,
    "NAME" },
  { "lone-extent", 0, POPT_ARG_NONE | HIDDEN, &given.lone_extent, 0, NULL,
    NULL },
  { "recover", 0, POPT_ARG_NONE | HIDDEN, &given.recover, 0, NULL, NULL },
  { "accept-journal", 0, POPT_ARG_NONE | HIDDEN, &given.accept_journal, 0,
    NULL, NULL },
  { "lock", 0, POPT_ARG_STRING | HIDDEN, &given.lock, 0, NULL, "on|off" },
  POPT_TABLEEND
};

#define OPEN_OPTIONS_HELP                                              \
  "\n"                                                                 \
  "How disks are opened (see vmdkit(1)): --parent=PATH "               \
  "--search=FOLDER\n"                                                  \
  "  --single-link --ignore-cid --allow-outside --allow-device=NAME\n" \
  "  --lone-extent --recover --accept-journal --lock=on|off\n"

/* --------------------------------------------------------------------- */
/* Parsing. */

/* popt would take the next argument for the value of an option that may have
 * none.
 */
static const char *
whole_word (const char *word)
{
  if (strcmp (word, "--progress") == 0)
    return "--progress=always";
  if (strcmp (word, "--color") == 0)
    return "--color=always";
  return word;
}

/* ARGV as popt shall see it: with the name that its help shows. */
static const char **
copy_arguments (int argc, const char **argv)
{
  static char name[64];
  const char **copy = calloc ((size_t) argc + 1, sizeof *copy);
  bool options = true;

  if (!copy)
    return NULL;
  snprintf (name, sizeof name, "vmdkit %s", command->name);
  copy[0] = name;
  for (int i = 1; i < argc; i++) {
    options = options && strcmp (argv[i], "--") != 0;
    copy[i] = options ? whole_word (argv[i]) : argv[i];
  }
  return copy;
}

int
usage_error (const char *format, ...)
{
  char text[ERROR_TEXT_SIZE], safe[ERROR_TEXT_SIZE];
  va_list args;

  va_start (args, format);
  vsnprintf (text, sizeof text, format, args);
  va_end (args);
  text_escape (safe, sizeof safe, text);
  fprintf (stderr,
           "vmdkit %s: %s\n"
           "Usage: vmdkit %s [OPTION...] %s\n",
           command->name, safe, command->name, command->arguments);
  return EXIT_USAGE;
}

int
type_error (const char *word, bool raw)
{
  char names[256];
  size_t used = 0;

  for (int i = 0; i <= DISK_STREAM_OPTIMIZED; i++)
    used += (size_t) snprintf (names + used, sizeof names - used, "%s%s",
                               i == 0 ? "" : ", ",
                               disk_type_name ((enum disk_type) i));
  return usage_error ("there is no type '%s'; there are %s%s", word, names,
                      raw ? ", raw" : "");
}

static int
print_help (poptContext context)
{
  poptPrintHelp (context, stdout, 0);
  fputs (OPEN_OPTIONS_HELP, stdout);
  printf ("\nvmdkit-%s(1) tells more.\n", command->name);
  return print_finish ();
}

/* -1 for a word that is none of WORDS, which end with NULL; 0 for no word. */
static int
word_find (const char *word, const char *const *words)
{
  for (int i = 0; word && words[i]; i++)
    if (strcmp (word, words[i]) == 0)
      return i;
  return word ? -1 : 0;
}

static const char *const when_words[] = { "auto", "always", "never", NULL };
static const char *const progress_words[] = { "auto", "always", "never",
                                              "json", NULL };
static const char *const lock_words[] = { "on", "off", NULL };

/* What the words mean. */
static int
settings_set (void)
{
  const int color = word_find (given.color, when_words);
  const int progress = word_find (given.progress, progress_words);
  const int lock = word_find (given.lock, lock_words);

  if (color == -1)
    return usage_error ("--color=%s is not auto, always or never",
                        given.color);
  if (progress == -1)
    return usage_error ("--progress=%s is not auto, always, never or json",
                        given.progress);
  if (lock == -1)
    return usage_error ("--lock=%s is not on or off", given.lock);
  if (given.parent && given.single_link)
    return usage_error ("--parent and --single-link exclude each other");
  settings.json = given.json;
  settings.quiet = given.quiet;
  settings.verbose = given.verbose;
  settings.lock = lock == 0;
  progress_mode = (enum progress_mode) progress;
  if (given.quiet && !given.progress)
    progress_mode = PROGRESS_NEVER;
  output_setup ((enum when) color);
  return -1;
}

static int
parse (poptContext context, const char ***arguments)
{
  static const char *none[] = { NULL };
  int r, count = 0;

  while ((r = poptGetNextOpt (context)) >= 0)
    ;
  if (r == OPTION_HELP)
    return print_help (context);
  if (r < -1)
    return usage_error ("%s: %s",
                        poptBadOption (context, POPT_BADOPTION_NOALIAS),
                        poptStrerror (r));
  *arguments = poptGetArgs (context);
  if (!*arguments)
    *arguments = none;
  while ((*arguments)[count])
    count++;
  if (count < command->min)
    return usage_error ("too few arguments");
  if (count > command->max)
    return usage_error ("too many arguments: '%s'",
                        (*arguments)[command->max]);
  if (command->server == SERVER_DISK && server_given ()
      && !server_has ((*arguments)[0])
      && !(count > 1 && server_has ((*arguments)[1])))
    return usage_error ("no disk of the server is named: write "
                        "'[DATASTORE] FOLDER/DISK.vmdk'");
  return settings_set ();
}

/* The context and the tables live on: the operands are in it. */
int
options_parse (const struct command *wanted, int argc, const char **argv,
               const char ***arguments)
{
  static const struct poptOption none[] = { POPT_TABLEEND };
  static struct poptOption all[4];
  static const char **copy;
  static poptContext context;
  char usage[256];
  int status;

  command = wanted;
  all[0] = (struct poptOption){ NULL,
                                0,
                                POPT_ARG_INCLUDE_TABLE,
                                command->options ? (void *) command->options
                                                 : (void *) none,
                                0,
                                NULL,
                                NULL };
  all[1] = (struct poptOption){ NULL,
                                0,
                                POPT_ARG_INCLUDE_TABLE,
                                (void *) common_options,
                                0,
                                "Common options:",
                                NULL };
  all[2] = (struct poptOption){
    NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *) open_options, 0, NULL, NULL
  };
  all[3] = (struct poptOption) POPT_TABLEEND;
  copy = copy_arguments (argc, argv);
  status = copy ? server_words_take (command, &argc, copy) : -1;
  if (status != -1)
    return status;
  context = copy ? poptGetContext (NULL, argc, copy, all, 0) : NULL;
  if (!context) {
    fprintf (stderr, "vmdkit: out of memory\n");
    return EXIT_FAILED;
  }
  snprintf (usage, sizeof usage, "[OPTION...] %s\n%s", command->arguments,
            command->summary);
  poptSetOtherOptionHelp (context, usage);
  return parse (context, arguments);
}

/* --------------------------------------------------------------------- */
/* What the options stand for. */

static size_t
list_length (char *const *list)
{
  size_t n = 0;

  while (list && list[n])
    n++;
  return n;
}

static bool
log_wanted (void *opaque, enum log_topic topic)
{
  (void) opaque;
  return topic == LOG_WARNING ? !settings.quiet
                              : settings.verbose && topic == LOG_OPEN;
}

int
operation_begin (struct operation *operation, struct vmdk_error *err)
{
  *operation = (struct operation){ .dry_run = settings.dry_run };
  resources = resources_new (DEFAULT_TABLE_BUDGET, DEFAULT_GRAIN_BUDGET, err);
  if (!resources)
    return -1;
  operation->rules = (struct chain_rules){
    .open = { .log = { .sink = output_log,
                       .wants = log_wanted,
                       .how = "vmdkit -v" },
              .resources = resources,
              .accept_journal = given.accept_journal,
              .recover_stream = given.recover,
              .lock = settings.lock },
    .names = { .allow_outside = given.allow_outside,
               .devices = (const char *const *) given.devices,
               .nr_devices = list_length (given.devices) },
    .single_link = given.single_link,
    .ignore_cid = given.ignore_cid,
    .lone_extent = given.lone_extent,
    .parent = given.parent,
    .search = (const char *const *) given.search,
    .nr_search = list_length (given.search),
  };
  return 0;
}

void
operation_show (struct operation *operation, const char *title)
{
  progress_begin (operation, title, progress_mode);
}

void
operation_end (struct operation *operation)
{
  progress_end ();
  resources_free (resources);
  resources = NULL;
  *operation = (struct operation){ 0 };
}

/* The option that TEXT starts with, when it is followed by "="; its length
 * goes to *len.
 */
static bool
starts_option (const char *text, size_t *len)
{
  for (size_t i = 0; open_options[i].longName; i++) {
    *len = strlen (open_options[i].longName);
    if (strncmp (text, open_options[i].longName, *len) == 0
        && text[*len] == '=')
      return true;
  }
  return false;
}

void
text_options (char *dst, size_t size, const char *src)
{
  size_t len, used = 0;
  bool word = false; /* a file's name comes first */

  while (*src && used + 3 < size) {
    if (word && starts_option (src, &len) && used + 2 + len + 1 < size) {
      used += (size_t) sprintf (dst + used, "--%.*s", (int) len, src);
      src += len;
      if (strncmp (src, "=true", 5) == 0)
        src += 5;
    }
    word = *src == ' ' || *src == '(';
    if (*src)
      dst[used++] = *src++;
  }
  dst[used] = '\0';
}

/* --------------------------------------------------------------------- */
/* Sizes. */

/* log2 of the unit; -1 for an unknown one.  "KiB" and "k" are the same, and
 * "KB" is refused: it may be meant to be 1000 bytes.
 */
static int
unit_shift (const char *unit)
{
  static const char letters[] = "kmgtpe";
  const char *letter;

  if (*unit == '\0' || strcmp (unit, "b") == 0 || strcmp (unit, "B") == 0)
    return 0;
  if (strcmp (unit, "s") == 0)
    return 9;
  letter = strchr (letters, unit[0] | 0x20);
  if (!letter || !(unit[0] & 0x40)
      || (unit[1] != '\0' && strcasecmp (unit + 1, "ib") != 0))
    return -1;
  return 10 * (int) (letter - letters + 1);
}

int
size_parse (const char *text, uint64_t *bytes, struct vmdk_error *err)
{
  const char *p = text;
  uint64_t number = 0;
  int shift;

  for (; *p >= '0' && *p <= '9'; p++)
    if (mul_overflow (number, 10, &number)
        || add_overflow (number, (uint64_t) (*p - '0'), &number))
      return fail (err, ERR_ARGUMENT, "%s is too large a size", NAME (text));
  shift = p > text ? unit_shift (p) : -1;
  if (shift == -1)
    return fail (err, ERR_ARGUMENT,
                 "%s is no size: say a number of bytes, or with K, M, G, T, "
                 "P or E, or s for sectors",
                 NAME (text));
  if (mul_overflow (number, UINT64_C (1) << shift, bytes)
      || *bytes > INT64_MAX)
    return fail (err, ERR_ARGUMENT, "%s is too large a size", NAME (text));
  return 0;
}

const char *
size_text (uint64_t bytes, char *buf, size_t size)
{
  static const char letters[] = "KMGTPE";
  double value = (double) bytes;
  size_t i = 0;

  if (bytes < 1024) {
    snprintf (buf, size, "%u bytes", (unsigned) bytes);
    return buf;
  }
  for (value /= 1024; value >= 1023.95 && i < sizeof letters - 2; i++)
    value /= 1024;
  snprintf (buf, size,
            value == (double) (uint64_t) value ? "%.0f %ciB" : "%.1f %ciB",
            value, letters[i]);
  return buf;
}
