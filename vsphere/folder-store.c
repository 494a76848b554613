/* SPDX-License-Identifier: BSD-3-Clause */

/* Folders of datastores over HTTPS.  See folder-store.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "datastore-path.h"
#include "folder-store.h"

/* No kernel has such a device; that of memory is UINT64_MAX. */
#define FOLDER_DEVICE (UINT64_MAX - 1)

struct folder_server {
  struct http_pool *pool;
  struct range_cache *cache;
  char *datacenter; /* or NULL */
  char *(*locate) (void *opaque, const char *path, struct vmdk_error *err);
  void *opaque;
  const char *const *datastores; /* borrowed */
  size_t nr_datastores;

  /* Some servers want what stands behind "?" escaped twice: found out with
   * the first file that has something to escape.
   */
  atomic_bool escape_twice;
};

struct folder_store {
  struct store store;
  struct folder_server *server;
  char *datastore, *directory; /* owned; directory may be "" */
};

struct folder_media {
  struct media media;
  struct folder_server *server;
  char *target; /* what is asked for; owned */
  struct range_file *file;
};

/* --------------------------------------------------------------------- */
/* URLs. */

static bool
is_plain (unsigned char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
         || (c >= '0' && c <= '9') || (c != '\0' && strchr ("-._~", c));
}

static bool
needs_escape (const char *text)
{
  for (; *text; text++)
    if (!is_plain ((unsigned char) *text))
      return true;
  return false;
}

/* LEAVE: one more character that stands for itself, or '\0'. */
static void
print_escaped (FILE *out, const char *text, char leave, bool twice)
{
  for (; *text; text++) {
    const unsigned char c = (unsigned char) *text;

    if (is_plain (c) || (leave && *text == leave))
      fputc (c, out);
    else
      fprintf (out, twice ? "%%25%02X" : "%%%02X", c);
  }
}

static char *
target_of (const struct folder_store *folder, const char *name, bool twice,
           struct vmdk_error *err)
{
  const char *datacenter = folder->server->datacenter;
  CLEANUP_FREE char *text = NULL;
  size_t len;
  FILE *out = open_memstream (&text, &len);

  if (!out) {
    fail_memory (err);
    return NULL;
  }
  fputs ("/folder/", out);
  if (*folder->directory) {
    print_escaped (out, folder->directory, '/', false);
    fputc ('/', out);
  }
  print_escaped (out, name, '/', false);
  fputc ('?', out);
  if (datacenter) {
    fputs ("dcPath=", out);
    print_escaped (out, datacenter, '\0', twice);
    fputc ('&', out);
  }
  fputs ("dsName=", out);
  print_escaped (out, folder->datastore, '\0', twice);
  if (fclose (out) != 0) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&text);
}

/* --------------------------------------------------------------------- */
/* Media. */

static int
fetch (void *file, void *buf, size_t count, uint64_t offset,
       struct vmdk_error *err)
{
  const struct folder_media *media = file;

  return http_read (media->server->pool, media->target, buf, count, offset,
                    media->media.size, err);
}

static int
media_read (struct media *media, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  return range_file_read (((struct folder_media *) media)->file, buf, count,
                          offset, err);
}

static void
media_advise (struct media *media, uint64_t offset, uint64_t count)
{
  range_file_advise (((struct folder_media *) media)->file, offset, count);
}

static void
media_end (struct media *media)
{
  struct folder_media *m = (struct folder_media *) media;

  range_file_free (m->file);
  free (m->target);
  free (media->name);
  free (m);
}

static const struct media_ops media_ops = {
  .pread = media_read,
  .readahead = media_advise,
  .close = media_end,
};

/* The same file has the same number, whatever store it was opened from. */
static uint64_t
number_of (const char *target)
{
  uint64_t hash = UINT64_C (0xcbf29ce484222325); /* FNV-1a */

  for (; *target; target++)
    hash = (hash ^ (unsigned char) *target) * UINT64_C (0x100000001b3);
  return hash;
}

static char *
full_name (const struct folder_store *folder, const char *name)
{
  char *text;

  return asprintf (&text, "[%s] %s%s%s", folder->datastore, folder->directory,
                   *folder->directory ? "/" : "", name)
             == -1
           ? NULL
           : text;
}

/* Find the file's size.  *TARGET is what the server knows it by, owned by the
 * caller.
 */
static int
look_up (struct folder_store *folder, const char *name, char **target,
         uint64_t *size, struct vmdk_error *err)
{
  struct folder_server *server = folder->server;
  const bool twice = server->escape_twice;
  CLEANUP_FREE char *other = NULL;
  struct vmdk_error ignored;

  *target = target_of (folder, name, twice, err);
  if (!*target)
    return -1;
  if (http_size (server->pool, *target, size, err) == 0)
    return 0;
  if (err->kind != ERR_MISSING || twice
      || !(needs_escape (folder->datastore)
           || (server->datacenter && needs_escape (server->datacenter))))
    return -1;
  other = target_of (folder, name, true, &ignored);
  if (!other || http_size (server->pool, other, size, &ignored) == -1)
    return -1;
  server->escape_twice = true;
  free (*target);
  *target = steal_ptr (&other);
  return 0;
}

static struct media *
folder_open (struct store *store, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  struct folder_store *folder = (struct folder_store *) store;
  CLEANUP_MEDIA struct media *media = NULL;
  struct folder_media *m;
  uint64_t size;

  (void) flags;
  if (!store_name_is_inside (name)) {
    fail (err, ERR_DENIED, "is not a name inside its folder");
    return NULL;
  }
  m = calloc (1, sizeof *m);
  if (!m) {
    fail_memory (err);
    return NULL;
  }
  media = &m->media;
  media->ops = &media_ops;
  m->server = folder->server;
  if (look_up (folder, name, &m->target, &size, err) == -1)
    return NULL;
  media->size = size;
  media->is_regular = true;
  media->identity.device = FOLDER_DEVICE;
  media->identity.inode = number_of (m->target);
  media->name = full_name (folder, name);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  m->file = range_file_new (m->server->cache, m, size, err);
  return m->file ? steal_ptr (&media) : NULL;
}

/* --------------------------------------------------------------------- */
/* Stores. */

/* PATH is absolute, or a datastore's, or relative to this folder. */
static struct store *
folder_other (struct store *store, const char *path, struct vmdk_error *err)
{
  const struct folder_store *folder = (struct folder_store *) store;
  CLEANUP_FREE char *place = NULL;

  if (path[0] == '[')
    return folder_store_new (folder->server, path, err);
  if (path[0] == '/') {
    if (!folder->server->locate) {
      fail (err, ERR_MISSING, "\"%s\" is on no datastore known here",
            NAME (path));
      return NULL;
    }
    place = folder->server->locate (folder->server->opaque, path, err);
  }
  else {
    if (strncmp (path, "../", 3) == 0) {
      const char *last = strrchr (folder->directory, '/');
      const size_t up = last ? (size_t) (last - folder->directory) : 0;

      if (asprintf (&place, "[%s] %.*s%s%s", folder->datastore, (int) up,
                    folder->directory, up ? "/" : "", path + 3)
          == -1)
        place = NULL;
    }
    else if (asprintf (&place, "[%s] %s%s%s", folder->datastore,
                       folder->directory, *folder->directory ? "/" : "", path)
             == -1)
      place = NULL;
    if (!place)
      fail_memory (err);
  }
  return place ? folder_store_new (folder->server, place, err) : NULL;
}

static int
folder_list (struct store *store,
             int (*visit) (void *opaque, const char *name,
                           struct vmdk_error *err),
             void *opaque, struct vmdk_error *err)
{
  (void) store;
  (void) visit;
  (void) opaque;
  return fail (err, ERR_UNSUPPORTED,
               "folders of datastores cannot be listed over HTTPS: name the "
               "disk");
}

static void
folder_end (struct store *store)
{
  struct folder_store *folder = (struct folder_store *) store;

  free (folder->datastore);
  free (folder->directory);
  free (store->name);
  free (folder);
}

static const struct store_ops folder_ops = {
  .open = folder_open,
  .folder = folder_other,
  .list = folder_list,
  .close = folder_end,
};

static int
parse (const struct folder_server *server, const char *path,
       struct datastore_path *parts, struct vmdk_error *err)
{
  if (datastore_path_parse (parts, path, server->datastores,
                            server->nr_datastores, err)
      == -1)
    return -1;
  if (store_name_is_inside (parts->path))
    return 0;
  datastore_path_reset (parts);
  return fail (err, ERR_ARGUMENT, "\"%s\" is not a path in a datastore",
               NAME (path));
}

/* Takes over DATASTORE and DIRECTORY; the latter may be NULL when there is no
 * memory.
 */
static struct store *
store_new (struct folder_server *server, char *datastore, char *directory,
           struct vmdk_error *err)
{
  CLEANUP_FREE char *d1 = datastore;
  CLEANUP_FREE char *d2 = directory;
  CLEANUP_STORE struct store *store = NULL;
  struct folder_store *folder = d2 ? calloc (1, sizeof *folder) : NULL;

  if (!folder) {
    fail_memory (err);
    return NULL;
  }
  store = &folder->store;
  store->ops = &folder_ops;
  folder->server = server;
  folder->datastore = steal_ptr (&d1);
  folder->directory = steal_ptr (&d2);
  if (asprintf (&store->name, "[%s] %s", folder->datastore, folder->directory)
      == -1) {
    store->name = NULL;
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&store);
}

struct store *
folder_store_of (struct folder_server *server, const char *path,
                 const char **name, struct vmdk_error *err)
{
  CLEANUP_DATASTORE_PATH struct datastore_path parts = { 0 };
  const char *slash;

  if (parse (server, path, &parts, err) == -1)
    return NULL;
  slash = strrchr (parts.path, '/');
  *name = path + strlen (path) - strlen (slash ? slash + 1 : parts.path);
  return store_new (
    server, steal_ptr (&parts.datastore),
    strndup (parts.path, slash ? (size_t) (slash - parts.path) : 0), err);
}

/* A datastore itself is what only becomes a path with a name in it. */
struct store *
folder_store_new (struct folder_server *server, const char *path,
                  struct vmdk_error *err)
{
  CLEANUP_DATASTORE_PATH struct datastore_path parts = { 0 };
  size_t len = strlen (path);
  CLEANUP_FREE char *folder = NULL;
  CLEANUP_FREE char *file = NULL;
  struct vmdk_error ignored;

  while (len > 0 && (path[len - 1] == '/' || path[len - 1] == ' '))
    len--;
  folder = strndup (path, len);
  if (!folder || asprintf (&file, "%s x", folder) == -1) {
    file = NULL;
    fail_memory (err);
    return NULL;
  }
  if (parse (server, folder, &parts, err) == 0)
    return store_new (server, steal_ptr (&parts.datastore),
                      steal_ptr (&parts.path), err);
  if (parse (server, file, &parts, &ignored) == -1
      || strcmp (parts.path, "x") != 0)
    return NULL;
  return store_new (server, steal_ptr (&parts.datastore), strdup (""), err);
}

/* One that wants names escaped twice says that there is no such folder. */
int
folder_upload (struct folder_server *server, const char *path,
               struct media *media,
               bool (*progress) (void *opaque, uint64_t done, uint64_t total),
               void *opaque, struct vmdk_error *err)
{
  const char *name;
  CLEANUP_STORE struct store *store =
    folder_store_of (server, path, &name, err);

  for (int twice = server->escape_twice; store && twice <= 1; twice++) {
    CLEANUP_FREE char *target =
      target_of ((struct folder_store *) store, name, twice, err);

    if (!target)
      return -1;
    if (http_write (server->pool, target, media, progress, opaque, err) == 0)
      return 0;
    if (err->kind != ERR_MISSING)
      break;
  }
  return fail_prefix (err, "%s", NAME (path));
}

/* --------------------------------------------------------------------- */
/* Servers. */

struct folder_server *
folder_server_new (const struct folder_settings *settings,
                   struct vmdk_error *err)
{
  CLEANUP_FOLDER_SERVER struct folder_server *server =
    calloc (1, sizeof *server);
  struct range_cache_settings cache = settings->cache;

  if (!server) {
    fail_memory (err);
    return NULL;
  }
  server->locate = settings->locate;
  server->opaque = settings->opaque;
  server->datastores = settings->datastores;
  server->nr_datastores = settings->nr_datastores;
  if (settings->datacenter) {
    server->datacenter = strdup (settings->datacenter);
    if (!server->datacenter) {
      fail_memory (err);
      return NULL;
    }
  }
  server->pool = http_pool_new (&settings->http, err);
  if (!server->pool)
    return NULL;
  cache.fetch = fetch;
  cache.nr_threads = http_pool_connections (server->pool);
  server->cache = range_cache_new (&cache, err);
  return server->cache ? steal_ptr (&server) : NULL;
}

void
folder_server_stop (struct folder_server *server)
{
  http_pool_stop (server->pool);
}

void
folder_server_free (struct folder_server *server)
{
  if (!server)
    return;
  if (server->pool)
    http_pool_stop (server->pool);
  range_cache_free (server->cache);
  http_pool_free (server->pool);
  free (server->datacenter);
  free (server);
}
