/* SPDX-License-Identifier: BSD-3-Clause */

/* The words that name a server, and access.  See server.h. */

#include <config.h>

#include <string.h>

#include "access.h"
#include "datastore-path.h"
#include "remote-words.h"
#include "server-parts.h"

static struct remote_words words = REMOTE_WORDS_DEFAULT;
static bool given;

/* --------------------------------------------------------------------- */
/* Words. */

static bool
is_wanted (int argc, const char **argv)
{
  for (int i = 1; i < argc && strcmp (argv[i], "--") != 0; i++)
    if (strncmp (argv[i], "server=", 7) == 0)
      return true;
  return false;
}

/* Secrets are blanked where they stand, which is where ps looks. */
static int
take_all (int *argc, const char **argv)
{
  struct vmdk_error err;
  int kept = 1;
  bool options = true;

  for (int i = 1; i < *argc; i++) {
    options = options && strcmp (argv[i], "--") != 0;
    if (!options || !remote_word_is_known (argv[i]))
      argv[kept++] = argv[i];
    else if (remote_words_add (&words, (char *) argv[i], &err) == -1)
      return usage_error ("%s", err.text);
  }
  argv[kept] = NULL;
  *argc = kept;
  if (remote_words_check (&words, &err) == -1)
    return usage_error ("%s", err.text);
  return -1;
}

int
server_words_take (const struct command *command, int *argc, const char **argv)
{
  if (!is_wanted (*argc, argv))
    return -1;
  if (command->server == LOCAL_ONLY)
    return usage_error ("this is for local disks; serve a server's disk with "
                        "nbdkit's vmdk plugin, or convert it");
  given = true;
  return take_all (argc, argv);
}

bool
server_given (void)
{
  return given;
}

bool
server_has (const char *text)
{
  return server_given () && datastore_path_looks_so (text);
}

int
server_set_vm (const char *vm, struct vmdk_error *err)
{
  if (words.settings.vm)
    return fail (err, ERR_ARGUMENT, "the machine was named twice");
  words.settings.vm = strdup (vm);
  return words.settings.vm ? 0 : fail_memory (err);
}

static bool
is_stopped (void *opaque)
{
  (void) opaque;
  return progress_signal () != 0;
}

/* From here on something may be to be undone at the server. */
struct remote *
server_remote (const struct operation *operation, struct vmdk_error *err)
{
  struct remote *remote;

  progress_catch ();
  words.settings.log = operation->rules.open.log;
  words.settings.stopped = is_stopped;
  remote = remote_new (&words.settings, err);
  if (remote)
    remote_words_reset (&words); /* a copy is kept where dumps do not reach */
  return remote;
}

const char *
server_type (enum disk_type type)
{
  return type == DISK_VMFS_THIN   ? "thin"
         : type == DISK_VMFS_FLAT ? "preallocated"
                                  : NULL;
}

bool
server_makes (enum disk_type type)
{
  return server_type (type) != NULL;
}

const char *
server_adapter (const char *adapter)
{
  return !adapter || strcmp (adapter, "lsilogic") == 0 ? "lsiLogic"
         : strcmp (adapter, "buslogic") == 0           ? "busLogic"
         : strcmp (adapter, "ide") == 0                ? "ide"
                                                       : NULL;
}

/* --------------------------------------------------------------------- */
/* Who keeps machines from being moved. */

/* A server's text, as a terminal may have it. */
static const char *
safe_id (char buf[NAME_TEXT_SIZE], const struct vim_ref *vm)
{
  text_escape (buf, NAME_TEXT_SIZE, NAME (vm->id));
  return buf;
}

static int
list_one (void *opaque, const struct vim_ref *vm, const char *name,
          struct vmdk_error *err)
{
  json_t *list = opaque;
  char id[NAME_TEXT_SIZE];

  (void) err;
  if (list)
    json_array_append_new (list,
                           json_pack ("{s:o, s:o}", "vm", json_text (vm->id),
                                      "name", json_text (name)));
  else
    print_field (safe_id (id, vm), "%s", name);
  return 0;
}

static int
list (struct remote *remote, struct vmdk_error *err)
{
  struct session *session = remote_session (remote, err);
  json_t *all = settings.json ? json_array () : NULL;

  if (!session || access_list (session, list_one, all, err) == -1) {
    json_decref (all);
    return tell_failure (NULL, err);
  }
  return all ? print_json (all) : print_finish ();
}

static int
print_release (const struct vim_ref *vm, bool held)
{
  struct vmdk_error err;
  char id[NAME_TEXT_SIZE];

  if (settings.json)
    return print_json (
             json_pack ("{s:o, s:b}", "vm", json_text (vm->id), "held", held))
               || held
             ? EXIT_FAILED
             : EXIT_DONE;
  if (!held) {
    if (!settings.quiet)
      printf ("%s: can be moved again\n", safe_id (id, vm));
    return print_finish ();
  }
  fail (&err, ERR_LOCKED,
        "%s still cannot be moved: another program may hold it under another "
        "identity (identity=, or --anyone), or its state forbids it",
        NAME (vm->id));
  return tell_failure (NULL, &err);
}

static int
release (struct remote *remote, bool anyone, struct vmdk_error *err)
{
  struct session *session = remote_session (remote, err);
  const char *said = remote_identity (remote);
  char identity[ACCESS_IDENTITY_SIZE];
  struct vim_ref vm;
  bool held;

  if (!session || remote_vm (remote, &vm, err) == -1)
    return tell_failure (NULL, err);
  access_identity (identity, &vm);
  if (access_release (session, &vm,
                      anyone ? NULL
                      : said ? said
                             : identity,
                      &held, err)
      == -1)
    return tell_failure (NULL, err);
  return print_release (&vm, held);
}

int
server_access_list (struct operation *operation)
{
  struct vmdk_error err;
  struct remote *remote = server_remote (operation, &err);
  const int status = remote ? list (remote, &err) : tell_failure (NULL, &err);

  remote_free (remote);
  return status;
}

int
server_access_release (const char *vm, bool anyone,
                       struct operation *operation)
{
  struct vmdk_error err;
  struct remote *remote = NULL;
  int status;

  if (vm && server_set_vm (vm, &err) == -1)
    return tell_failure (NULL, &err);
  remote = server_remote (operation, &err);
  status = remote ? release (remote, anyone, &err) : tell_failure (NULL, &err);
  remote_free (remote);
  return status;
}
