/* SPDX-License-Identifier: BSD-3-Clause */

/* Commands on a server's disk: the server itself does the work, or tells what
 * it knows.  See server.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "disk.h"
#include "link.h"
#include "server-parts.h"

/* --------------------------------------------------------------------- */
/* What the server does. */

struct job {
  struct remote *remote;
  const struct operation *operation;
  const char *text;
  struct disk_manager manager;
  char *name; /* as the server writes it; owned */
};

static void
job_end (struct job *job)
{
  free (job->name);
  remote_free (job->remote);
}

static int
job_start (struct job *job, const struct operation *operation,
           const char *text, struct vmdk_error *err)
{
  const struct task_watch watch = { operation->progress, operation->opaque };

  *job = (struct job){ .operation = operation, .text = text };
  job->remote = server_remote (operation, err);
  return job->remote ? remote_manager (job->remote, text, &watch,
                                       &job->manager, &job->name, err)
                     : -1;
}

struct wish {
  const char *title;
  const char *done;      /* what is said then */
  bool checked, removed; /* see remote_check_unused */
  int (*work) (struct job *job, const struct wish *wish,
               struct vmdk_error *err);
  uint64_t size;
  const char *new; /* name */
  const struct new_disk *disk;
};

static int
work (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  if (wish->checked
      && remote_check_unused (job->remote, job->text, wish->removed, err)
           == -1)
    return -1;
  return job->operation->dry_run ? 0 : wish->work (job, wish, err);
}

/* Returns an exit code. */
static int
do_work (const char *text, const struct wish *wish,
         struct operation *operation)
{
  struct vmdk_error err;
  struct job job;
  int r;

  operation_show (operation, wish->title);
  r = job_start (&job, operation, text, &err);
  if (r == 0)
    r = work (&job, wish, &err);
  job_end (&job);
  progress_hide ();
  return r == -1 ? tell_failure (text, &err) : EXIT_DONE;
}

static int
run (const char *text, const struct wish *wish, struct operation *operation)
{
  const int status = do_work (text, wish, operation);

  if (status != EXIT_DONE)
    return status;
  if (settings.json)
    return print_json (json_pack ("{s:o, s:s, s:b}", "file", json_text (text),
                                  "done", wish->done, "dry-run",
                                  settings.dry_run));
  if (!settings.quiet)
    printf ("%s: %s%s\n", NAME (text), settings.dry_run ? "would be " : "",
            wish->done);
  return print_finish ();
}

static int
do_create (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  return disk_manager_create (&job->manager, job->name, wish->disk, err);
}

int
server_create (const char *text, const struct create_rules *rules,
               struct operation *operation)
{
  const struct new_disk disk = {
    .capacity = rules->size,
    .type = server_type (rules->type),
    .adapter = server_adapter (rules->adapter),
  };
  const struct wish wish = {
    .title = "create",
    .work = do_create,
    .disk = &disk,
  };
  struct vmdk_error err;
  char size[32];
  int status;

  if (!disk.type || !disk.adapter) {
    fail (&err, ERR_UNSUPPORTED,
          "servers make vmfs-flat and vmfs-thin disks; make a local one of "
          "another type, and convert it");
    return tell_failure (text, &err);
  }
  status = do_work (text, &wish, operation);
  if (status != EXIT_DONE)
    return status;
  if (settings.json)
    return print_json (json_pack ("{s:o, s:s, s:I}", "file", json_text (text),
                                  "type", disk_type_name (rules->type),
                                  "capacity", (json_int_t) rules->size));
  if (!settings.quiet)
    printf ("%s: %s, %s\n", NAME (text), disk_type_name (rules->type),
            size_text (rules->size, size, sizeof size));
  return print_finish ();
}

static int
do_grow (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  return disk_manager_extend (&job->manager, job->name, wish->size, err);
}

int
server_grow (const char *text, uint64_t size, struct operation *operation)
{
  const struct wish wish = {
    .title = "grow",
    .done = "grown",
    .checked = true,
    .work = do_grow,
    .size = size,
  };

  return run (text, &wish, operation);
}

static int
do_shrink (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  (void) wish;
  return disk_manager_shrink (&job->manager, job->name, err);
}

int
server_shrink (const char *text, struct operation *operation)
{
  const struct wish wish = {
    .title = "shrink",
    .done = "shrunk",
    .checked = true,
    .work = do_shrink,
  };

  return run (text, &wish, operation);
}

static int
do_defragment (struct job *job, const struct wish *wish,
               struct vmdk_error *err)
{
  (void) wish;
  return disk_manager_defragment (&job->manager, job->name, err);
}

int
server_defragment (const char *text, struct operation *operation)
{
  const struct wish wish = {
    .title = "defragment",
    .done = "defragmented",
    .checked = true,
    .work = do_defragment,
  };

  return run (text, &wish, operation);
}

static int
do_rename (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  return disk_manager_move (&job->manager, job->name, wish->new, err);
}

int
server_rename (const char *old, const char *new, struct operation *operation)
{
  const struct wish wish = {
    .title = "rename",
    .done = "renamed",
    .checked = true,
    .removed = true,
    .work = do_rename,
    .new = new,
  };

  return run (old, &wish, operation);
}

static int
do_unlink (struct job *job, const struct wish *wish, struct vmdk_error *err)
{
  (void) wish;
  return disk_manager_delete (&job->manager, job->name, err);
}

int
server_unlink (const char *text, struct operation *operation)
{
  const struct wish wish = {
    .title = "unlink",
    .done = "removed",
    .checked = true,
    .removed = true,
    .work = do_unlink,
  };

  return run (text, &wish, operation);
}

/* --------------------------------------------------------------------- */
/* info. */

/* The disk database, as far as there are names to ask for. */
static const char *const keys[] = {
  "adapterType",    "virtualHWVersion", "toolsVersion",
  "uuid",           "longContentID",    "geometry.cylinders",
  "geometry.heads", "geometry.sectors", "thinProvisioned",
};
#define NR_KEYS (sizeof keys / sizeof keys[0])

struct look {
  struct remote_about about;
  const char *transport; /* NULL: the disk was not opened */
  char *values[NR_KEYS]; /* owned, or NULL */
};

static void
look_reset (struct look *look)
{
  remote_about_reset (&look->about);
  for (size_t i = 0; i < NR_KEYS; i++)
    free (look->values[i]);
}

/* From the descriptor itself, where that is what was opened. */
static int
read_descriptor (struct look *look, const struct remote_disk *opened,
                 const struct operation *operation, struct vmdk_error *err)
{
  struct chain_rules rules = operation->rules;
  CLEANUP_DISK struct disk *disk = NULL;
  const struct descriptor *descriptor;

  rules.open.lock = false;
  rules.single_link = true; /* its own entries are all that is wanted */
  disk = disk_open (opened->store, opened->name, opened->flags, &rules, err);
  if (!disk)
    return -1;
  descriptor = chain_link (disk_chain (disk), 0)->descriptor;
  for (size_t i = 0; i < NR_KEYS; i++) {
    char key[64];
    const char *value;

    snprintf (key, sizeof key, "ddb.%s", keys[i]);
    value = descriptor_get (descriptor, key);
    look->values[i] = value ? strdup (value) : NULL;
  }
  return 0;
}

static int
read_entries (struct look *look, struct remote *remote, const char *text,
              const struct operation *operation, struct vmdk_error *err)
{
  CLEANUP (remote_disk)
  struct remote_disk *opened = remote_disk_open (remote, text, false, err);

  if (!opened)
    return -1;
  look->transport = opened->transport;
  if (strcmp (opened->transport, "https") == 0)
    return read_descriptor (look, opened, operation, err);
  for (size_t i = 0; i < NR_KEYS; i++)
    if (remote_disk_entry (opened, keys[i], &look->values[i], err) == -1)
      return -1;
  return 0;
}

static json_t *
text_or_null (const char *text)
{
  return text && *text ? json_text (text) : json_null ();
}

static json_t *
files_json (const struct remote_about *about)
{
  json_t *list = json_array ();

  for (size_t i = 0; i < about->nr_files; i++) {
    const struct remote_file *f = &about->files[i];

    json_array_append_new (
      list,
      json_pack ("{s:o, s:o, s:o, s:o}", "file", json_text (f->file),
                 "content-id", text_or_null (f->content_id), "change-id",
                 text_or_null (f->change_id), "uuid", text_or_null (f->uuid)));
  }
  return list;
}

static json_t *
entries_json (const struct look *look)
{
  json_t *entries = json_object ();

  for (size_t i = 0; i < NR_KEYS; i++)
    if (look->values[i])
      json_object_set_new (entries, keys[i], json_text (look->values[i]));
  return entries;
}

static int
show_json (const char *text, const struct look *look)
{
  const struct remote_about *a = &look->about;

  return print_json (json_pack (
    "{s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:I, s:b, s:b, s:o, s:o, s:o}",
    "disk", json_text (text), "vm", json_text (a->vm), "power",
    text_or_null (a->power), "label", text_or_null (a->label), "key",
    (int) a->key, "type", text_or_null (a->backing), "mode",
    text_or_null (a->mode), "capacity", (json_int_t) a->capacity,
    "change-tracking", a->tracked, "in-use", a->in_use, "transport",
    text_or_null (look->transport), "links", files_json (a), "metadata",
    entries_json (look)));
}

static void
show_text (const char *key, const char *value)
{
  if (value && *value)
    print_field (key, "%s", value);
}

static int
show (const char *text, const struct look *look)
{
  const struct remote_about *a = &look->about;
  char size[32];

  show_text ("Disk", text);
  print_field ("Machine", "%s (%s)", a->vm, a->power);
  print_field ("Device", "%s (key %" PRId32 ")", a->label, a->key);
  show_text ("Type", a->backing);
  show_text ("Mode", a->mode);
  print_field ("Capacity", "%s (%" PRIu64 " bytes)",
               size_text (a->capacity, size, sizeof size), a->capacity);
  print_field ("Change tracking", "%s", a->tracked ? "on" : "off");
  show_text ("Transport", look->transport);
  if (a->in_use)
    print_field ("In use", "a running machine writes to it");
  for (size_t i = 0; i < NR_KEYS; i++)
    show_text (keys[i], look->values[i]);
  for (size_t i = 0; i < a->nr_files; i++) {
    putchar ('\n');
    print_field ("Link", "%zu, %s", i, a->files[i].file);
    show_text ("  Content ID", a->files[i].content_id);
    show_text ("  Change ID", a->files[i].change_id);
    show_text ("  UUID", a->files[i].uuid);
  }
  return print_finish ();
}

/* A disk that a running machine writes to is described all the same. */
static int
look_at (struct remote *remote, const char *text,
         const struct operation *operation)
{
  __attribute__ ((cleanup (look_reset))) struct look look = { .values = {
                                                                0 } };
  struct vmdk_error err;

  if (remote_describe (remote, text, &look.about, &err) == -1
      || (!look.about.in_use
          && read_entries (&look, remote, text, operation, &err) == -1))
    return tell_failure (text, &err);
  return settings.json ? show_json (text, &look) : show (text, &look);
}

int
server_info (const char *text, struct operation *operation)
{
  struct vmdk_error err;
  struct remote *remote = server_remote (operation, &err);
  const int status =
    remote ? look_at (remote, text, operation) : tell_failure (text, &err);

  remote_free (remote);
  return status;
}

/* --------------------------------------------------------------------- */
/* changed. */

struct areas {
  json_t *list;
  uint64_t total;
};

static int
add_area (void *opaque, uint64_t offset, uint64_t count,
          struct vmdk_error *err)
{
  struct areas *areas = opaque;

  areas->total += count;
  return json_array_append_new (
           areas->list, json_pack ("{s:I, s:I}", "offset", (json_int_t) offset,
                                   "length", (json_int_t) count))
             == 0
           ? 0
           : fail_memory (err);
}

static int
ask_changed (struct remote *remote, const char *text, const char *since)
{
  CLEANUP_REMOTE_ABOUT struct remote_about about = { 0 };
  struct areas areas = { .list = json_array () };
  struct vmdk_error err;

  if (remote_changed (remote, text, since, add_area, &areas, &err) == -1
      || remote_describe (remote, text, &about, &err) == -1) {
    json_decref (areas.list);
    return tell_failure (text, &err);
  }
  return print_json (
    json_pack ("{s:o, s:o, s:o, s:o, s:I, s:I, s:o}", "disk", json_text (text),
               "vm", json_text (about.vm), "since", json_text (since),
               "change-id", text_or_null (about.files[0].change_id),
               "capacity", (json_int_t) about.capacity, "changed",
               (json_int_t) areas.total, "areas", areas.list));
}

int
server_changed (const char *text, const char *since,
                struct operation *operation)
{
  struct vmdk_error err;
  struct remote *remote = server_remote (operation, &err);
  const int status =
    remote ? ask_changed (remote, text, since) : tell_failure (text, &err);

  remote_free (remote);
  return status;
}
