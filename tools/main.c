/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit: finds the command and runs it.
 *
 * A new command is one row in COMMANDS below and its file, cmd-NAME.c, with
 * `const struct command command_NAME`.
 */

#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* In the order of --help. */
/* clang-format off */
#define COMMANDS(X) \
  X (info) \
  X (map) \
  X (chain) \
  X (check) \
  X (create) \
  X (child) \
  X (attach) \
  X (rollback) \
  X (commit) \
  X (rebase) \
  X (rename) \
  X (unlink) \
  X (meta) \
  X (shrink) \
  X (defragment) \
  X (convert) \
  X (measure) \
  X (grow) \
  X (changed) \
  X (access)
/* clang-format on */

#define DECLARE(name) extern const struct command command_##name;
COMMANDS (DECLARE)

#define POINT(name) &command_##name,
const struct command *const commands[] = { COMMANDS (POINT) NULL };

static void
print_commands (void)
{
  printf ("Usage: vmdkit COMMAND [OPTION...] [ARGUMENT...], for VMware's VMDK "
          "disks\n\n");
  for (size_t i = 0; commands[i]; i++)
    printf ("  %-10s  %s\n", commands[i]->name, commands[i]->summary);
  printf ("\n`vmdkit COMMAND --help' tells more; so do vmdkit(1) and "
          "vmdkit-COMMAND(1).\n");
}

static const struct command *
command_find (const char *name)
{
  for (size_t i = 0; commands[i]; i++)
    if (strcmp (commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

/* How many letters must be changed, added, dropped or swapped with their
 * neighbour to make B of A.  Words of no command's length are far from all.
 */
#define LONGEST_WORD 24

static unsigned
word_distance (const char *a, const char *b)
{
  unsigned d[LONGEST_WORD + 1][LONGEST_WORD + 1];
  const size_t na = strlen (a), nb = strlen (b);

  if (na > LONGEST_WORD || nb > LONGEST_WORD)
    return LONGEST_WORD;
  for (size_t i = 0; i <= na; i++)
    for (size_t j = 0; j <= nb; j++) {
      if (i == 0 || j == 0) {
        d[i][j] = (unsigned) (i + j);
        continue;
      }
      d[i][j] = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1 < d[i][j])
        d[i][j] = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < d[i][j])
        d[i][j] = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
          && d[i - 2][j - 2] + 1 < d[i][j])
        d[i][j] = d[i - 2][j - 2] + 1;
    }
  return d[na][nb];
}

/* NULL when nothing is near. */
static const struct command *
command_guess (const char *name)
{
  const struct command *nearest = NULL;
  unsigned best = 3;

  for (size_t i = 0; commands[i]; i++) {
    const unsigned distance = word_distance (name, commands[i]->name);

    if (distance < best && distance < strlen (commands[i]->name)) {
      best = distance;
      nearest = commands[i];
    }
  }
  return nearest;
}

static int
unknown_command (const char *name)
{
  const struct command *guess = command_guess (name);
  char text[NAME_TEXT_SIZE];

  text_escape (text, sizeof text, NAME (name));
  fprintf (stderr, "vmdkit: there is no command '%s'", text);
  if (guess)
    fprintf (stderr, "; did you mean '%s'?\n", guess->name);
  else
    fprintf (stderr, "; `vmdkit --help' lists them\n");
  return EXIT_USAGE;
}

static int
command_run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, argc, argv, &arguments);

  if (status == -1 && command->check)
    status = command->check (arguments);
  if (status != -1)
    return status;
  if (operation_begin (&operation, &err) == -1)
    return tell_failure (NULL, &err);
  if (command->title)
    operation_show (&operation, command->title);
  status = command->run (arguments, &operation);
  operation_end (&operation);
  return status;
}

static int
name_run (const char *name, int argc, const char **argv)
{
  const struct command *command = command_find (name);

  return command ? command_run (command, argc, argv) : unknown_command (name);
}

/* `vmdkit help NAME' is `vmdkit NAME --help'. */
static int
help (const char *name)
{
  const char *argv[] = { name, "--help", NULL };

  if (name)
    return name_run (name, 2, argv);
  print_commands ();
  return print_finish ();
}

static int
dispatch (int argc, const char **argv)
{
  const char *word = argc > 1 ? argv[1] : NULL;

  if (!word) {
    fprintf (stderr, "vmdkit: which command?  `vmdkit --help' lists them\n");
    return EXIT_USAGE;
  }
  if (strcmp (word, "--help") == 0 || strcmp (word, "-h") == 0)
    return help (NULL);
  if (strcmp (word, "help") == 0)
    return help (argv[2]);
  if (strcmp (word, "--version") == 0) {
    printf ("vmdkit %s\n", PACKAGE_VERSION);
    return print_finish ();
  }
  return name_run (word, argc - 1, argv + 1);
}

int
main (int argc, char **argv)
{
  int status;

  output_setup (WHEN_AUTO);
  status = dispatch (argc, (const char **) argv);

  /* Stopped by a signal, which whoever called us should see: a shell's loop
   * ends with it.
   */
  if (status == EXIT_FAILED && progress_signal ()) {
    signal (progress_signal (), SIG_DFL);
    raise (progress_signal ());
  }
  return status;
}
