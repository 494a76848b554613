/* SPDX-License-Identifier: BSD-3-Clause */

/* The plugin's parameters: one table, one function a kind of value.  See
 * parameters.h.
 */

#include <config.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "error.h"
#include "parameters.h"
#include "remote-parameters.h"
#include "resources.h"

struct parameters parameters = {
  .lock = true,
  .table_budget = DEFAULT_TABLE_BUDGET,
  .grain_budget = DEFAULT_GRAIN_BUDGET,
  .remote.words = REMOTE_WORDS_DEFAULT,

  /* As nbdkit's vddk plugin. */
  .create_rules = { .type = DISK_MONOLITHIC_SPARSE, .adapter = "buslogic" },
  .overlay_rules = { .type = DISK_MONOLITHIC_SPARSE },
};

struct parameter {
  const char *key;
  int (*set) (const struct parameter *p, const char *value);
  void *target;
  size_t *count; /* of a list */
};

/* Nobody needs more, and a script that loops should hear of it. */
#define LIST_MAX 1000

static int
set_text (const struct parameter *p, const char *value)
{
  char **target = p->target;

  if (*target) {
    nbdkit_error ("%s was given more than once", p->key);
    return -1;
  }
  if (*value == '\0') {
    nbdkit_error ("%s is empty", p->key);
    return -1;
  }
  *target = strdup (value);
  if (!*target)
    nbdkit_error ("out of memory");
  return *target ? 0 : -1;
}

/* Absolute, because the server may leave its folder when it goes to the
 * background.  No link is resolved: a disk's extents lie beside the name by
 * which it was called.
 */
static int
make_absolute (char **target)
{
  char *path = nbdkit_absolute_path (*target);

  free (*target);
  *target = path;
  return path ? 0 : -1;
}

/* What is named may be on a server, which is known later. */
static int
set_file (const struct parameter *p, const char *value)
{
  if (strcmp (value, "-") == 0) {
    nbdkit_error ("%s=-: a disk cannot be read from a pipe", p->key);
    return -1;
  }
  return set_text (p, value);
}

static int
set_path (const struct parameter *p, const char *value)
{
  return set_file (p, value) == -1 ? -1 : make_absolute (p->target);
}

static int
append (const struct parameter *p, char *value)
{
  char ***list = p->target;
  char **longer = NULL;

  if (!value)
    return -1;
  if (*p->count < LIST_MAX)
    longer = reallocarray (*list, *p->count + 1, sizeof *longer);
  if (!longer) {
    nbdkit_error ("%s was given too often", p->key);
    free (value);
    return -1;
  }
  longer[(*p->count)++] = value;
  *list = longer;
  return 0;
}

static int
add_text (const struct parameter *p, const char *value)
{
  char *text = NULL;
  const struct parameter one = { p->key, set_text, &text, NULL };

  return set_text (&one, value) == -1 ? -1 : append (p, text);
}

/* A folder that is not there would be passed over in silence, chain by
 * chain, so it is asked for here.
 */
static int
add_folder (const struct parameter *p, const char *value)
{
  char *path = NULL;
  const struct parameter one = { p->key, set_path, &path, NULL };
  struct stat st;

  if (set_path (&one, value) == -1)
    return -1;
  if (stat (path, &st) == -1 || !S_ISDIR (st.st_mode)) {
    nbdkit_error ("%s=%s: no such folder", p->key, NAME (path));
    free (path);
    return -1;
  }
  return append (p, path);
}

static int
set_bool (const struct parameter *p, const char *value)
{
  const int yes = nbdkit_parse_bool (value);

  if (yes == -1)
    return -1;
  *(int *) p->target = yes;
  return 0;
}

static int
set_size (const struct parameter *p, const char *value)
{
  const int64_t size = nbdkit_parse_size (value);

  if (size < 0)
    return -1;
  if ((uint64_t) size > SIZE_MAX / 2) {
    nbdkit_error ("%s=%s is more memory than there can be", p->key, value);
    return -1;
  }
  *(size_t *) p->target = size;
  return 0;
}

static int
set_detect_zeroes (const struct parameter *p, const char *value)
{
  static const char *const words[] = { "off", "on", "unmap" };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp (value, words[i]) == 0) {
      *(enum detect_zeroes *) p->target = (enum detect_zeroes) i;
      return 0;
    }
  nbdkit_error ("%s=%s is not off, on or unmap", p->key, NAME (value));
  return -1;
}

/* The create parameters: words and meanings of nbdkit's vddk plugin. */
static int
set_type (const struct parameter *p, const char *value)
{
  const int type = disk_type_parse (value);

  if (type == -1) {
    nbdkit_error ("%s=%s: there is no such type of disk", p->key,
                  NAME (value));
    return -1;
  }
  *(enum disk_type *) p->target = (enum disk_type) type;
  return 0;
}

/* That a type can have no parent is the core's to say. */
static int
set_overlay_type (const struct parameter *p, const char *value)
{
  parameters.overlay_type_given = true;
  return set_type (p, value);
}

static int
set_adapter (const struct parameter *p, const char *value)
{
  const char *adapter = disk_adapter_parse (value);

  if (!adapter) {
    nbdkit_error ("%s=%s is not ide, scsi-buslogic or scsi-lsilogic", p->key,
                  NAME (value));
    return -1;
  }
  *(const char **) p->target = adapter;
  return 0;
}

static int
set_hw_version (const struct parameter *p, const char *value)
{
  const unsigned version = disk_hw_version_parse (value);

  if (version == 0) {
    nbdkit_error ("%s=%s is not esx65 or the like, nor a number", p->key,
                  NAME (value));
    return -1;
  }
  *(unsigned *) p->target = version;
  return 0;
}

static int
set_disk_size (const struct parameter *p, const char *value)
{
  const int64_t size = nbdkit_parse_size (value);

  if (size < 0)
    return -1;
  *(uint64_t *) p->target = (uint64_t) size;
  return 0;
}

/* The core knows the limits, and takes 0 for "the usual size". */
static int
set_grain_size (const struct parameter *p, const char *value)
{
  uint64_t *size = p->target;

  if (set_disk_size (p, value) == -1)
    return -1;
  if (*size == 0) {
    nbdkit_error ("%s=%s: no grain is that small", p->key, NAME (value));
    return -1;
  }
  return 0;
}

/* In the order of the manual; remote-words has those of servers. */
static const struct parameter table[] = {
  { "file", set_file, &parameters.file, NULL },
  { "dir", set_path, &parameters.dir, NULL },
  { "disk", set_text, &parameters.disk, NULL },
  { "single-link", set_bool, &parameters.single_link, NULL },
  { "parent", set_path, &parameters.parent, NULL },
  { "search", add_folder, &parameters.search, &parameters.nr_search },
  { "ignore-cid", set_bool, &parameters.ignore_cid, NULL },
  { "allow-outside", set_bool, &parameters.allow_outside, NULL },
  { "allow-device", add_text, &parameters.devices, &parameters.nr_devices },
  { "lone-extent", set_bool, &parameters.lone_extent, NULL },
  { "recover", set_bool, &parameters.recover, NULL },
  { "accept-journal", set_bool, &parameters.accept_journal, NULL },
  { "cache", set_size, &parameters.table_budget, NULL },
  { "grain-cache", set_size, &parameters.grain_budget, NULL },
  { "lock", set_bool, &parameters.lock, NULL },
  { "overlay", set_path, &parameters.overlay, NULL },
  { "overlay-type", set_overlay_type, &parameters.overlay_rules.type, NULL },
  { "overlay-grain-size", set_grain_size, &parameters.overlay_rules.grain_size,
    NULL },
  { "write-sesparse", set_bool, &parameters.write_sesparse, NULL },
  { "detect-zeroes", set_detect_zeroes, &parameters.detect_zeroes, NULL },
  { "create", set_bool, &parameters.create, NULL },
  { "create-size", set_disk_size, &parameters.create_rules.size, NULL },
  { "create-type", set_type, &parameters.create_rules.type, NULL },
  { "create-adapter-type", set_adapter, &parameters.create_rules.adapter,
    NULL },
  { "create-hwversion", set_hw_version, &parameters.create_rules.hw_version,
    NULL },
  { "create-grain-size", set_grain_size, &parameters.create_rules.grain_size,
    NULL },
  { "changed-since", set_text, &parameters.remote.changed_since, NULL },
  { "export", set_text, &parameters.remote.wildcard, NULL },
  { "remote-cache", set_size, &parameters.remote.cache, NULL },
};

#define NR_PARAMETERS (sizeof table / sizeof table[0])

static const struct parameter *
parameter_find (const char *key)
{
  for (size_t i = 0; i < NR_PARAMETERS; i++)
    if (strcmp (key, table[i].key) == 0)
      return &table[i];
  return NULL;
}

int
parameter_set (const char *key, const char *value)
{
  const struct parameter *p = parameter_find (key);

  if (p)
    return p->set (p, value);
  if (remote_word_kind (key) != REMOTE_WORD_NONE)
    return remote_parameter_set (&parameters.remote.words, key, value);
  nbdkit_error ("unknown parameter '%s' (nbdkit vmdk --help lists them)",
                NAME (key));
  return -1;
}

/* Parameters that mean one disk, given for a folder of them. */
static int
check_dir (void)
{
  const char *one = parameters.disk          ? "disk"
                    : parameters.parent      ? "parent"
                    : parameters.overlay     ? "overlay"
                    : parameters.create      ? "create"
                    : parameters.lone_extent ? "lone-extent"
                                             : NULL;

  if (!one)
    return 0;
  nbdkit_error ("%s= is about one disk and cannot go with dir=", one);
  return -1;
}

/* Parameters that say how to make what is not made. */
static int
check_making (void)
{
  if (!parameters.create && parameters.create_rules.size != 0) {
    nbdkit_error ("create-size= needs create=true");
    return -1;
  }
  if (!parameters.create && parameters.create_rules.grain_size != 0) {
    nbdkit_error ("create-grain-size= needs create=true");
    return -1;
  }
  if (parameters.create && parameters.create_rules.size == 0) {
    nbdkit_error ("create=true needs create-size=");
    return -1;
  }
  if (!parameters.overlay && parameters.overlay_type_given) {
    nbdkit_error ("overlay-type= needs overlay=");
    return -1;
  }
  if (!parameters.overlay && parameters.overlay_rules.grain_size != 0) {
    nbdkit_error ("overlay-grain-size= needs overlay=");
    return -1;
  }
  return 0;
}

/* A disk of a server has rules of its own. */
static int
complete_remote (void)
{
#if HAVE_VSPHERE
  parameters.is_remote = true;
  return remote_check_parameters (&parameters);
#else
  nbdkit_error ("disks of servers (server=, vm= ...) are not served by this "
                "build: it was made without libcurl, libxml2 or OpenSSL");
  return -1;
#endif
}

int
parameters_complete (void)
{
  if (remote_is_asked_for (&parameters))
    return complete_remote ();
  if (parameters.file && make_absolute (&parameters.file) == -1)
    return -1;
  if (!parameters.file && !parameters.dir) {
    nbdkit_error ("which disk?  Say file=DISK.vmdk or dir=FOLDER");
    return -1;
  }
  if (parameters.file && parameters.dir) {
    nbdkit_error ("file= and dir= exclude each other");
    return -1;
  }
  if (parameters.parent && parameters.single_link) {
    nbdkit_error ("parent= and single-link=true exclude each other");
    return -1;
  }
  if (parameters.overlay
      && (parameters.create || parameters.parent || parameters.disk)) {
    nbdkit_error ("overlay= cannot go with create=, parent= or disk=");
    return -1;
  }
  /* A write of which a part is zeros would be two, and one of them could be
   * refused when the other is done.
   */
  if (parameters.write_sesparse && parameters.detect_zeroes != DETECT_OFF) {
    nbdkit_error ("write-sesparse=true and detect-zeroes= exclude each other");
    return -1;
  }
  if (check_making () == -1)
    return -1;
  return parameters.dir ? check_dir () : 0;
}

void
parameters_to_rules (struct chain_rules *rules)
{
  rules->open.accept_journal = parameters.accept_journal;
  rules->open.write_sesparse = parameters.write_sesparse;
  rules->open.recover_stream = parameters.recover;
  rules->open.lock = parameters.lock;
  rules->names.allow_outside = parameters.allow_outside;
  rules->names.devices = (const char *const *) parameters.devices;
  rules->names.nr_devices = parameters.nr_devices;
  rules->single_link = parameters.single_link;
  rules->ignore_cid = parameters.ignore_cid;
  rules->lone_extent = parameters.lone_extent;
  rules->detect_zeroes = parameters.detect_zeroes;
  /* An overlay's parent is the disk that the operator named. */
  rules->parent = parameters.overlay ? parameters.file : parameters.parent;
  rules->search = (const char *const *) parameters.search;
  rules->nr_search = parameters.nr_search;
}

void
parameters_print_names (void)
{
  const char *key;
  size_t i;

  for (i = 0; i < NR_PARAMETERS; i++)
    printf ("%s%s", i ? "," : "", table[i].key);
  for (i = 0; (key = remote_word_key (i)); i++)
    if (!parameter_find (key))
      printf (",%s", key);
}

static void
free_list (char **list, size_t count)
{
  size_t i;

  for (i = 0; i < count; i++)
    free (list[i]);
  free (list);
}

void
parameters_forget_secrets (void)
{
  remote_words_reset (&parameters.remote.words);
}

void
parameters_free (void)
{
  free (parameters.file);
  free (parameters.dir);
  free (parameters.disk);
  free (parameters.parent);
  free (parameters.overlay);
  remote_words_reset (&parameters.remote.words);
  free (parameters.remote.wildcard);
  free (parameters.remote.changed_since);
  free_list (parameters.search, parameters.nr_search);
  free_list (parameters.devices, parameters.nr_devices);
  memset (&parameters, 0, sizeof parameters);
}
