/* SPDX-License-Identifier: BSD-3-Clause */

/* nbdkit's callbacks, and nothing else: what nbdkit asks is handed to the
 * core, what the core says is handed to nbdkit.  Parameters are in
 * parameters.c, the names of disks in exports.c.
 *
 * Every request is safe beside every other, so that the thread model is the
 * freest and any number of connections may share a disk.
 */

#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "called.h"
#include "chain.h"
#include "compress.h"
#include "disk.h"
#include "error.h"
#include "exports.h"
#include "log.h"
#include "media.h"
#include "parameters.h"
#include "resources.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct resources *resources;
static struct chain_rules rules;

/* One connection. */
struct handle {
  struct export *export;
  char description[256];
};

/* --------------------------------------------------------------------- */
/* What the core says. */

static bool
wants (void *opaque, enum log_topic topic)
{
  (void) opaque;
  switch (topic) {
  case LOG_WARNING:
    return true;
  case LOG_OPEN:
    return vmdk_debug_open;
  case LOG_TABLES:
    return vmdk_debug_tables;
  case LOG_GRAINS:
    return vmdk_debug_grains;
  }
  return false;
}

/* The disk is opened again, and what it deserves was said the first time. */
static atomic_bool opening_again;

static void
sink (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  if (topic == LOG_WARNING && !opening_again)
    nbdkit_error ("warning: %s", text);
  else
    nbdkit_debug ("%s", text);
}

/* Tell the operator and the client.  Always returns -1. */
static int
told (const struct vmdk_error *err)
{
  nbdkit_error ("%s", err->text);
  nbdkit_set_error (err->errnum);
  return -1;
}

/* The same for a request.  Of damage the log was told when it was found,
 * once for each place; a client that asks again and again must not fill it.
 */
static int
request_failed (const struct vmdk_error *err)
{
  if (err->kind != ERR_DAMAGED)
    return told (err);
  nbdkit_debug ("%s", err->text);
  nbdkit_set_error (err->errnum);
  return -1;
}

/* --------------------------------------------------------------------- */
/* The server's life. */

static int
vmdk_config (const char *key, const char *value)
{
  return parameter_set (key, value);
}

static int
vmdk_config_complete (void)
{
  return parameters_complete ();
}

/* Before nbdkit goes to the background: what is wrong with the disk is said
 * on the terminal, and the server does not start.
 */
static int
vmdk_get_ready (void)
{
  const struct exports_source source = {
    .file = parameters.file,
    .dir = parameters.dir,
    .disk = parameters.disk,
    .overlay = parameters.overlay,
    .overlay_rules = &parameters.overlay_rules,
    .overlay_type_given = parameters.overlay_type_given,
    .create = parameters.create ? &parameters.create_rules : NULL,
    .remote = parameters.is_remote ? &parameters : NULL,
    .rules = &rules,
  };
  struct vmdk_error err;
  int r;

  resources =
    resources_new (parameters.table_budget, parameters.grain_budget, &err);
  if (!resources)
    return told (&err);
  media_file_unbuffered (parameters.remote.words.unbuffered);
  parameters_to_rules (&rules);
  rules.open.resources = resources;
  rules.open.log.sink = sink;
  rules.open.log.wants = wants;
  rules.open.log.how = called_for_log ();
  r = exports_start (&source, &err);
  parameters_forget_secrets ();
  return r == -1 ? told (&err) : 0;
}

static int
vmdk_after_fork (void)
{
  struct vmdk_error err;
  int r;

  opening_again = true;
  r = exports_keep (&err);
  opening_again = false;
  return r == -1 ? told (&err) : 0;
}

static void
vmdk_unload (void)
{
  exports_stop ();
  resources_free (resources);
  parameters_free ();
}

static void
vmdk_dump_plugin (void)
{
  printf ("vmdk_version=%s\n", PACKAGE_VERSION);
  printf ("vmdk_compress=%s\n", compress_library ());
  printf ("vmdk_formats=flat,vmfs,zero,sparse,streamOptimized,cowd,sesparse,"
          "ova\n");
#if HAVE_VSPHERE
  printf ("vmdk_vsphere=yes\n");
#else
  printf ("vmdk_vsphere=no\n");
#endif
  printf ("vmdk_parameters=");
  parameters_print_names ();
  printf ("\n");
  if (strcmp (called_name (), "vddk") == 0) /* callers ask */
    printf ("vddk_default_libdir=\nvddk_has_nfchostport=1\n");
}

/* --------------------------------------------------------------------- */
/* Exports. */

/* nbdkit takes no more. */
#define EXPORTS_MAX 10000

static int
vmdk_list_exports (int readonly, int is_tls, struct nbdkit_exports *list)
{
  struct vmdk_error err;
  char **names;
  size_t i, count;
  int r = 0;

  (void) readonly;
  (void) is_tls;
  if (exports_list (&names, &count, &err) == -1)
    return told (&err);
  for (i = 0; r == 0 && i < count && i < EXPORTS_MAX; i++)
    r = nbdkit_add_export (list, names[i], NULL);
  disk_list_free (names, count);
  return r;
}

static const char *
vmdk_default_export (int readonly, int is_tls)
{
  struct vmdk_error err;
  CLEANUP_FREE char *name = exports_default (&err);

  (void) readonly;
  (void) is_tls;
  if (name)
    return nbdkit_strdup_intern (name);
  nbdkit_debug ("%s", err.text);
  return NULL;
}

static void *
vmdk_open (int readonly)
{
  const char *name = nbdkit_export_name ();
  struct vmdk_error err;
  struct handle *h;

  h = calloc (1, sizeof *h);
  if (!h) {
    nbdkit_error ("out of memory");
    return NULL;
  }
  h->export = export_acquire (name ? name : "", readonly, &err);
  if (!h->export) {
    told (&err);
    free (h);
    return NULL;
  }
  disk_describe (export_disk (h->export), h->description,
                 sizeof h->description);
  return h;
}

static void
vmdk_close (void *handle)
{
  struct handle *h = handle;

  export_release (h->export);
  free (h);
}

static struct disk *
disk_of (void *handle)
{
  const struct handle *h = handle;

  return export_disk (h->export);
}

static const char *
vmdk_export_description (void *handle)
{
  const struct handle *h = handle;

  return h->description;
}

/* --------------------------------------------------------------------- */
/* What a disk is. */

static int64_t
vmdk_get_size (void *handle)
{
  return (int64_t) disk_size (disk_of (handle)); /* below 2^63: the core */
}

static int
vmdk_can_write (void *handle)
{
  const struct handle *h = handle;

  return export_is_writable (h->export);
}

static int
vmdk_can_fast_zero (void *handle)
{
  (void) handle;
  return 1;
}

static int
vmdk_can_multi_conn (void *handle)
{
  (void) handle;
  return 1;
}

static int
vmdk_can_extents (void *handle)
{
  (void) handle;
  return 1;
}

static int
vmdk_can_cache (void *handle)
{
  (void) handle;
  return NBDKIT_CACHE_NATIVE;
}

static int
vmdk_is_rotational (void *handle)
{
  (void) handle;
  return 0;
}

/* Any request is served; one of a whole grain (a power of two) costs least.
 * The protocol allows 512 bytes to 32 MiB; less than a page helps nobody.
 */
static int
vmdk_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                 uint32_t *maximum)
{
  const uint64_t grain = disk_grain_size (disk_of (handle));

  *minimum = 1;
  *preferred = 4096;
  while (*preferred < grain && *preferred < 32u << 20)
    *preferred *= 2;
  *maximum = 0xffffffff;
  return 0;
}

/* --------------------------------------------------------------------- */
/* Requests. */

static int
vmdk_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
            uint32_t flags)
{
  struct vmdk_error err;

  (void) flags;
  if (disk_read (disk_of (handle), buf, count, offset, &err) == -1)
    return request_failed (&err);
  return 0;
}

static int
vmdk_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  struct vmdk_error err;

  (void) flags;
  if (disk_readahead (disk_of (handle), offset, count, &err) == -1)
    return request_failed (&err);
  return 0;
}

static int
vmdk_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
             uint32_t flags)
{
  struct vmdk_error err;

  (void) flags;
  if (disk_write (disk_of (handle), buf, count, offset, &err) == -1)
    return request_failed (&err);
  return 0;
}

static int
vmdk_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  const unsigned how =
    (flags & NBDKIT_FLAG_MAY_TRIM ? DISK_ZERO_MAY_FREE : DISK_ZERO_KEEP)
    | (flags & NBDKIT_FLAG_FAST_ZERO ? DISK_ZERO_FAST : 0);
  struct vmdk_error err;

  if (disk_zero (disk_of (handle), count, offset, how, &err) == -1) {
    /* Not worth a word: the client writes the zeros itself. */
    if (err.errnum == ENOTSUP) {
      nbdkit_set_error (ENOTSUP);
      return -1;
    }
    return request_failed (&err);
  }
  return 0;
}

static int
vmdk_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  struct vmdk_error err;

  (void) flags;
  if (disk_trim (disk_of (handle), count, offset, &err) == -1)
    return request_failed (&err);
  return 0;
}

/* A flush on one connection covers all of them: they share the disk. */
static int
vmdk_flush (void *handle, uint32_t flags)
{
  struct vmdk_error err;

  (void) flags;
  if (disk_flush (disk_of (handle), &err) == -1)
    return told (&err);
  return 0;
}

/* The pieces of one reply.  A client asks on from where a reply ends, so the
 * bound costs it nothing but keeps a disk that alternates by the sector from
 * filling the memory.
 */
#define PIECES_MAX 100000

struct reply {
  struct nbdkit_extents *extents;
  const struct export *export;
  unsigned left;
  bool failed;
};

static bool
add_piece (void *opaque, const struct disk_piece *piece)
{
  struct reply *reply = opaque;
  const uint32_t type = (piece->hole ? NBDKIT_EXTENT_HOLE : 0)
                        | (piece->zero ? NBDKIT_EXTENT_ZERO : 0);

  uint64_t done = 0, length;

  for (; done < piece->length; done += length) {
    const uint64_t offset = piece->offset + done;
    const bool changed = export_changed (reply->export, offset, &length);

    if (length > piece->length - done)
      length = piece->length - done;
    if (nbdkit_add_extent (reply->extents, offset, length,
                           changed ? type : NBDKIT_EXTENT_HOLE)
        == -1) {
      reply->failed = true;
      return false;
    }
    if (--reply->left == 0)
      return false;
  }
  return true;
}

static int
vmdk_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
              struct nbdkit_extents *extents)
{
  struct reply reply = {
    .extents = extents,
    .export = ((const struct handle *) handle)->export,
    .left = flags & NBDKIT_FLAG_REQ_ONE ? 1 : PIECES_MAX,
  };
  struct vmdk_error err;

  if (disk_map (disk_of (handle), offset, count, add_piece, &reply, &err)
      == -1)
    return request_failed (&err);
  return reply.failed ? -1 : 0;
}

/* --------------------------------------------------------------------- */

static struct nbdkit_plugin plugin = {
  .name = "vmdk",
  .longname = "nbdkit VMware disk plugin",
  .version = PACKAGE_VERSION,
  .description = "Serve VMware VMDK disks without VMware's libraries.",
  .magic_config_key = "file",
  .config_help = PARAMETERS_HELP,

  .unload = vmdk_unload,
  .dump_plugin = vmdk_dump_plugin,
  .config = vmdk_config,
  .config_complete = vmdk_config_complete,
  .get_ready = vmdk_get_ready,
  .after_fork = vmdk_after_fork,

  .list_exports = vmdk_list_exports,
  .default_export = vmdk_default_export,
  .open = vmdk_open,
  .close = vmdk_close,
  .export_description = vmdk_export_description,

  .get_size = vmdk_get_size,
  .can_write = vmdk_can_write,
  .can_multi_conn = vmdk_can_multi_conn,
  .can_extents = vmdk_can_extents,
  .can_cache = vmdk_can_cache,
  .is_rotational = vmdk_is_rotational,
  .block_size = vmdk_block_size,

  .can_fast_zero = vmdk_can_fast_zero,

  .pread = vmdk_pread,
  .pwrite = vmdk_pwrite,
  .zero = vmdk_zero,
  .trim = vmdk_trim,
  .flush = vmdk_flush,
  .cache = vmdk_cache,
  .extents = vmdk_extents,
};

/* Before nbdkit asks. */
static void __attribute__ ((constructor)) choose_name (void)
{
  plugin.name = called_name ();
}

/* nbdkit's macro defines it without having declared it. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
