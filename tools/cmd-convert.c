/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit convert: a copy of a disk, in another type.  See convert.h. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checked.h"
#include "convert-words.h"
#include "copy.h"
#include "deflate.h"
#include "media-pipe.h"
#include "nbd-media.h"
#include "server.h"

static char *type, *format, *level, *adapter, *hw_version;
static char *grain_size, *zero_size, *threads, *stream_version;
static int keep_metadata, overwrite, no_footer;
static struct convert_rules rules; /* what they say */

#define HIDDEN POPT_ARGFLAG_DOC_HIDDEN
static const struct poptOption options[] = {
  { "type", 't', POPT_ARG_STRING, &type, 0,
    "monolithicSparse, streamOptimized, raw, ...", "TYPE" },
  { "source-format", 'f', POPT_ARG_STRING, &format, 0, "vmdk or raw",
    "FORMAT" },
  { "level", 'l', POPT_ARG_STRING, &level, 0,
    "Of compression: fast, default, best, 1 to 12", "LEVEL" },
  { "overwrite", 0, POPT_ARG_NONE, &overwrite, 0, "Replace what is there",
    NULL },
  { "keep-metadata", 0, POPT_ARG_NONE, &keep_metadata, 0,
    "Keep uuid, adapter, geometry and the like", NULL },
  { "adapter", 'a', POPT_ARG_STRING, &adapter, 0,
    "ide, buslogic or lsilogic (default)", "ADAPTER" },
  { "hwversion", 'w', POPT_ARG_STRING, &hw_version, 0,
    "workstation5 (default), esx65, ... or a number", "VERSION" },
  { "grain-size", 0, POPT_ARG_STRING | HIDDEN, &grain_size, 0, NULL, "SIZE" },
  { "zero-size", 'S', POPT_ARG_STRING | HIDDEN, &zero_size, 0, NULL, "SIZE" },
  { "threads", 0, POPT_ARG_STRING | HIDDEN, &threads, 0, NULL, "N" },
  { "stream-version", 0, POPT_ARG_STRING | HIDDEN, &stream_version, 0, NULL,
    "1|3" },
  { "no-footer", 0, POPT_ARG_NONE | HIDDEN, &no_footer, 0, NULL, NULL },
  OPTION_DRY_RUN ("Only look and check"),
  POPT_TABLEEND
};

/* -- The target --------------------------------------------------------- */

struct target {
  struct place place;
  struct media *media; /* owned */
  int fd;              /* of a pipe; -1 */
  struct convert_target target;
  const char *usual; /* the type that it gets if none is said; NULL: none */
};

static void
target_free (struct target *target)
{
  media_close (target->media);
  place_free (&target->place);
  if (target->fd > STDERR_FILENO)
    close (target->fd);
}
#define CLEANUP_TARGET __attribute__ ((cleanup (target_free)))

static int
target_pipe (struct target *target, const char *name, struct vmdk_error *err)
{
  target->usual = "streamOptimized";
  if (isatty (target->fd))
    return fail (err, ERR_ARGUMENT,
                 "a disk is nothing for a terminal; send it into a pipe or a "
                 "file");
  target->media = media_pipe_new (target->fd, name, err);
  target->target = (struct convert_target){
    .name = "disk.vmdk",
    .media = target->media,
    .pipe = true,
  };
  return target->media ? 0 : -1;
}

static int
target_fifo (struct target *target, const char *text, struct vmdk_error *err)
{
  target->fd = open (text, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (target->fd == -1)
    return fail_errno (err, errno, "cannot be opened");
  return target_pipe (target, text, err);
}

static int
target_nbd (struct target *target, const char *text, const char *from,
            unsigned nr_threads, struct vmdk_error *err)
{
  target->usual = "raw";
  if (strcmp (text, from) == 0)
    return fail (err, ERR_ARGUMENT, "source and target are the same");
  target->media = nbd_media_new (text, true, nr_threads, err);
  target->target = (struct convert_target){ .media = target->media };
  return target->media ? 0 : -1;
}

static int
target_device (struct target *target, struct vmdk_error *err)
{
  const struct place *place = &target->place;

  target->usual = "raw";
  if (!overwrite)
    return fail (err, ERR_ARGUMENT,
                 "is a device, and what is on it would be lost; if that is "
                 "meant, say --overwrite");
  target->media = store_open (place->store, place->name,
                              STORE_FROM_USER | STORE_WRITABLE, err);
  target->target = (struct convert_target){ .media = target->media };
  return target->media ? 0 : -1;
}

static int
target_file (struct target *target, struct vmdk_error *err)
{
  static const char *const raws[] = { ".raw", ".img", NULL };
  static const char *const vmdks[] = { ".vmdk", NULL };

  if (target->place.folder)
    return fail (err, ERR_READ_ONLY,
                 "is in an archive, and those are only read");
  if (name_ends (target->place.name, vmdks))
    target->usual = "monolithicSparse";
  else if (name_ends (target->place.name, raws))
    target->usual = "raw";
  target->target = (struct convert_target){
    .store = target->place.store,
    .name = target->place.name,
  };
  return 0;
}

/* Symbolic links are followed to devices and pipes, not to files. */
static int
target_find (struct target *target, const char *text, const char *from,
             unsigned nr_threads, struct vmdk_error *err)
{
  struct stat st;

  *target = (struct target){ .fd = -1 };
  if (strcmp (text, "-") == 0) {
    target->fd = STDOUT_FILENO;
    return target_pipe (target, "standard output", err);
  }
  if (nbd_is_uri (text))
    return target_nbd (target, text, from, nr_threads, err);
  if (stat (text, &st) == 0 && (S_ISFIFO (st.st_mode) || S_ISCHR (st.st_mode)))
    return target_fifo (target, text, err);
  if (place_find (&target->place, text, err) == -1)
    return -1;
  if (stat (text, &st) == 0 && S_ISBLK (st.st_mode))
    return target_device (target, err);
  return target_file (target, err);
}

/* -- The options -------------------------------------------------------- */

static int
numbers_to_rules (void)
{
  int n;

  if (threads) {
    n = number_parse (threads, 1024);
    if (n < 1)
      return usage_error ("--threads=%s is no number from 1 to 1024", threads);
    rules.nr_threads = (unsigned) n;
  }
  if (stream_version) {
    n = number_parse (stream_version, 3);
    if (n != 1 && n != 3)
      return usage_error ("--stream-version=%s is not 1 or 3", stream_version);
    rules.stream_version = (unsigned) n;
  }
  return -1;
}

static int
sizes_to_rules (void)
{
  struct vmdk_error err;
  uint64_t zero = CONVERT_ZERO_SIZE;

  if ((grain_size && size_parse (grain_size, &rules.grain_size, &err) == -1)
      || (zero_size && size_parse (zero_size, &zero, &err) == -1))
    return usage_error ("%s", err.text);
  if (zero != 0 && (!is_power_of_2 (zero) || zero < 512 || zero > 1 << 20))
    return usage_error ("--zero-size=%s is not 0 or a power of two from 512 "
                        "to 1M",
                        zero_size);
  rules.zero_size = zero;
  return -1;
}

static int
words_to_rules (void)
{
  int status = check_format (format);

  rules = (struct convert_rules){
    .keep_metadata = keep_metadata,
    .overwrite = overwrite,
    .level = DEFLATE_DEFAULT_LEVEL,
    .no_footer = no_footer,
  };
  if (status == -1)
    status = numbers_to_rules ();
  if (status == -1)
    status = sizes_to_rules ();
  if (status != -1)
    return status;
  if (type && !type_parse (type, &rules))
    return type_error (type, true);
  if (level && !deflate_level_parse (level, &rules.level))
    return usage_error ("--level=%s is not fast, default, best, or a number "
                        "from 1 to %d",
                        level, DEFLATE_BEST);
  if (adapter && !(rules.adapter = disk_adapter_parse (adapter)))
    return usage_error ("adapter %s is not ide, buslogic or lsilogic",
                        adapter);
  if (hw_version && !(rules.hw_version = disk_hw_version_parse (hw_version)))
    return usage_error ("hardware version %s is not esx65 or the like, nor a "
                        "number",
                        hw_version);
  return -1;
}

/* When the type is known. */
static int
check_rules (void)
{
  const bool stream = !rules.raw && rules.type == DISK_STREAM_OPTIMIZED;

  if (!stream && (level || stream_version || no_footer))
    return usage_error ("--level, --stream-version and --no-footer are for "
                        "streamOptimized disks, not for %s ones",
                        type_name (&rules));
  if (rules.raw && (adapter || hw_version || keep_metadata || grain_size))
    return usage_error ("raw disks have no adapter, hardware version, "
                        "metadata or grains");
  return -1;
}

/* -- The command -------------------------------------------------------- */

static int
check (const char **arguments)
{
  const int status = words_to_rules ();

  if (status != -1)
    return status;
  if (server_has (arguments[0]) && server_has (arguments[1]))
    return usage_error ("one of the two must be local: have the server copy "
                        "its own disks");
  if (server_has (arguments[1]) && (hw_version || grain_size || keep_metadata))
    return usage_error ("--hwversion, --grain-size, --keep-metadata: the "
                        "server decides that itself");
  return -1;
}

static int
print (const char *text)
{
  progress_hide ();
  if (settings.json)
    return print_json (json_pack ("{s:o, s:s, s:b}", "file", json_text (text),
                                  "type", type_name (&rules), "dry-run",
                                  settings.dry_run));
  if (settings.quiet)
    return EXIT_DONE;
  printf ("%s: %s%s\n", NAME (text), type_name (&rules),
          settings.dry_run ? " (nothing was done)" : "");
  return print_finish ();
}

static int
run (const char **arguments, struct operation *operation)
{
  const char *from = arguments[0], *to = arguments[1];
  const unsigned nr_threads = copy_threads (rules.nr_threads);
  CLEANUP_SERVER_SOURCE struct server_source server = { NULL, NULL };
  CLEANUP_SOURCE struct source source = { 0 };
  CLEANUP_TARGET struct target target = { .fd = -1 };
  struct vmdk_error err;
  int status;

  if (server_has (from)
        ? server_source_open (&server, from, operation, &source.source, &err)
            == -1
        : source_find (&source, from, format, nr_threads, &err) == -1)
    return tell_failure (from, &err);
  if (server_has (to))
    target.usual = "vmfs-flat";
  else if (target_find (&target, to, from, nr_threads, &err) == -1)
    return tell_failure (to, &err);
  if (!type && !target.usual)
    return usage_error ("which type shall %s have?  Say -t TYPE", to);
  if (!type)
    (void) type_parse (target.usual, &rules);
  status = check_rules ();
  if (status != -1)
    return status;
  if (server_has (to)
        ? server_convert (operation, &source.source, to, &rules, &err) == -1
        : disk_convert (operation, &source.source, &target.target, &rules,
                        &err)
            == -1) {
    source_hint (format, &err);
    return tell_failure (NULL, &err);
  }
  return target.fd == STDOUT_FILENO ? EXIT_DONE : print (to);
}

const struct command command_convert = {
  .name = "convert",
  .arguments = "SOURCE TARGET",
  .min = 2,
  .max = 2,
  .summary = "Copy a disk, into another type of disk",
  .options = options,
  .check = check,
  .run = run,
  .title = "convert",
  .server = SERVER_DISK,
};
