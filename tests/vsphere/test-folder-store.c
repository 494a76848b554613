/* SPDX-License-Identifier: BSD-3-Clause */

/* Folders of datastores: which URLs are asked for, how paths are taken apart,
 * and a chain over two folders that core reads through them.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "disk.h"
#include "extent-helper.h"
#include "folder-store.h"
#include "sparse-image.h"
#include "web-helper.h"

#define SIZE (3 * 65536)

static uint8_t flat[SIZE], own[65536];
static const char child[] =
  "# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=22222222\n"
  "createType=\"monolithicSparse\"\nparentFileNameHint=\"/vmfs/volumes/5f-3a/"
  "base/b.vmdk\""
  "\n\n# Extent description\nRW 384 SPARSE \"a.vmdk\"\n";
static const char base[] =
  "# Disk DescriptorFile\nversion=1\nCID=22222222\nparentCID=ffffffff\n"
  "createType=\"vmfs\"\n\n# Extent description\nRW 384 VMFS "
  "\"b-flat.vmdk\"\n";

#define DC "dcPath=F0%2FDC%201&dsName="

static struct sparse_image image;

static struct web_file files[] = {
  { "/folder/vm%20%C3%A9/a.vmdk?" DC "ds%201", NULL, 0 }, /* the image */
  { "/folder/base/b.vmdk?" DC "ds2", (const uint8_t *) base, sizeof base - 1 },
  { "/folder/base/b-flat.vmdk?" DC "ds2", flat, SIZE },
  { "/folder/top.vmdk?" DC "ds2", (const uint8_t *) base, sizeof base - 1 },
  { "/folder/x/top.vmdk?dcPath=F0%252FDC%25201&dsName=ds%25203",
    (const uint8_t *) base, sizeof base - 1 },
};

static const char *const datastores[] = { "ds 1", "ds2", "ds 3", "d [s] x" };
static struct web web;
static struct folder_server *server;
static struct resources *resources;

static char *
locate (void *opaque, const char *path, struct vmdk_error *err)
{
  (void) opaque;
  if (strcmp (path, "/vmfs/volumes/5f-3a/base") == 0)
    return strdup ("[ds2] base");
  fail (err, ERR_MISSING, "no datastore has %s", NAME (path));
  return NULL;
}

static int
start (void **state)
{
  struct folder_settings settings = {
    .http = { .host = "127.0.0.1",
              .plain_http = true,
              .retry_ms = 1,
              .stall_seconds = 5 },
    .cache = { .block_size = 8192, .budget = 65536, .ahead = 32768 },
    .datacenter = "F0/DC 1",
    .locate = locate,
    .datastores = datastores,
    .nr_datastores = sizeof datastores / sizeof datastores[0],
  };
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < SIZE; i++)
    flat[i] = (uint8_t) (i * 7 ^ i >> 8 ^ i >> 16);
  memset (own, 0x5a, sizeof own);
  sparse_image_init (&image, SIZE / 512, 128);
  sparse_image_descriptor (&image, child);
  sparse_image_add (&image, 1, own);
  files[0].bytes = image.image.bytes;
  files[0].size = image.image.size;
  web_start (&web, files, sizeof files / sizeof files[0]);
  settings.http.port = web.port;
  server = folder_server_new (&settings, &err);
  resources = resources_new (1 << 20, 1 << 20, &err);
  return server && resources ? 0 : -1;
}

static int
stop (void **state)
{
  (void) state;
  resources_free (resources);
  folder_server_free (server);
  web_stop (&web);
  free (image.image.bytes);
  return 0;
}

static void
paths (void **state)
{
  static const struct {
    const char *path, *folder, *name; /* folder NULL: refused */
  } cases[] = {
    { "[ds2] vm/my a.vmdk", "[ds2] vm", "my a.vmdk" },
    { "[ds2]vm/b/a.vmdk", "[ds2] vm/b", "a.vmdk" },
    { "[ds2] a.vmdk", "[ds2] ", "a.vmdk" },
    { "[d [s] x] vm] y/a.vmdk", "[d [s] x] vm] y", "a.vmdk" },
    { "vm/a.vmdk", NULL, NULL },
    { "[] a.vmdk", NULL, NULL },
    { "[other] a.vmdk", NULL, NULL },
    { "[ds2] ", NULL, NULL },
    { "[ds2] vm/", NULL, NULL },
    { "[ds2] ./a.vmdk", NULL, NULL },
    { "[ds2] ../a.vmdk", NULL, NULL },
    { "[ds2] vm/../../a.vmdk", NULL, NULL },
    { "[ds2] /a.vmdk", NULL, NULL },
    { "[ds2] a\nb.vmdk", NULL, NULL },
    { "", NULL, NULL },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vmdk_error err = { 0 };
    const char *name = NULL;
    struct store *store = folder_store_of (server, cases[i].path, &name, &err);

    if (!cases[i].folder) {
      assert_null (store);
      assert_int_not_equal (err.kind, ERR_NONE);
      continue;
    }
    assert_non_null (store);
    assert_string_equal (store->name, cases[i].folder);
    assert_string_equal (name, cases[i].name);
    store_close (store);
  }
}

static void
read_chain (const struct chain_rules *rules)
{
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds 1] vm \xc3\xa9", &err);
  struct disk *disk =
    disk_open (store, "a.vmdk", STORE_FROM_FILE, rules, &err);
  static uint8_t buf[SIZE];

  assert_non_null (disk);
  assert_int_equal (disk_size (disk), SIZE);
  assert_int_equal (chain_nr_links (disk_chain (disk)), 2);
  assert_int_equal (disk_read (disk, buf, SIZE, 0, &err), 0);
  assert_memory_equal (buf, flat, 65536);
  assert_memory_equal (buf + 65536, own, 65536);
  assert_memory_equal (buf + 131072, flat + 131072, 65536);
  disk_close (disk);
  store_close (store);
}

/* A parent in another folder is found where its hint says, if that is
 * allowed, or in a folder that the operator (or the machine) named.
 */
static void
parents (void **state)
{
  const char *const search[] = { "[ds2] base" };
  struct chain_rules rules = { .open.resources = resources };
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds 1] vm \xc3\xa9", &err);

  (void) state;
  assert_null (disk_open (store, "a.vmdk", STORE_FROM_FILE, &rules, &err));
  assert_int_equal (err.kind, ERR_DENIED);
  store_close (store);

  rules.names.allow_outside = true;
  read_chain (&rules);
  rules.names.allow_outside = false;
  rules.search = search;
  rules.nr_search = 1;
  read_chain (&rules);
}

static void
bytes (void **state)
{
  const struct chain_rules rules = { .open.resources = resources };
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds2] base", &err);
  struct disk *disk =
    disk_open (store, "b.vmdk", STORE_FROM_USER, &rules, &err);
  static uint8_t buf[SIZE];

  (void) state;
  assert_non_null (disk);
  for (size_t count = 1; count <= SIZE; count = count * 3 + 1)
    for (uint64_t offset = 0; offset + count <= SIZE;
         offset += SIZE / 7 + count / 3) {
      assert_int_equal (disk_read (disk, buf, count, offset, &err), 0);
      assert_memory_equal (buf, flat + offset, count);
    }
  disk_close (disk);
  store_close (store);
}

static void
refused (void **state)
{
  static const struct {
    const char *name;
    enum store_open_flags flags;
    enum vmdk_error_kind kind;
  } cases[] = {
    { "none.vmdk", STORE_FROM_USER, ERR_MISSING },
    { "../base/b.vmdk", STORE_FROM_USER, ERR_DENIED },
    { "/folder/b.vmdk", STORE_FROM_USER, ERR_DENIED },
    { "../base/b.vmdk", STORE_FROM_FILE, ERR_DENIED },
    { "b.vmdk", STORE_FROM_USER | STORE_WRITABLE, ERR_READ_ONLY },
  };
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds2] base", &err);

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_null (store_open (store, cases[i].name, cases[i].flags, &err));
    assert_int_equal (err.kind, cases[i].kind);
  }
  assert_null (store_folder (store, "/vmfs/volumes/other", &err));
  assert_int_equal (err.kind, ERR_MISSING);
  assert_null (store_folder (store, "[ds2] a/../b", &err));
  assert_int_equal (err.kind, ERR_DENIED);
  assert_null (store_folder (store, "../../base", &err));
  store_close (store);
}

/* Neighbours and the datastore's own root. */
static void
folders (void **state)
{
  static const char *const others[] = { "..", "../", "[ds2]", "[ds2] " };
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds2] vm", &err);

  (void) state;
  for (size_t i = 1; i < sizeof others / sizeof others[0]; i++) {
    struct store *other = store_folder (store, others[i], &err);
    struct media *media;

    assert_non_null (other);
    media = store_open (other, "top.vmdk", STORE_FROM_FILE, &err);
    assert_non_null (media);
    assert_string_equal (media->name, "[ds2] top.vmdk");
    media_close (media);
    store_close (other);
  }
  {
    struct store *other = store_folder (store, "../base", &err);
    struct media *media = store_open (other, "b.vmdk", STORE_FROM_FILE, &err);

    assert_non_null (media);
    media_close (media);
    store_close (other);
  }
  store_close (store);
}

/* A server that wants the query escaped twice is found out, once. */
static void
escaped_twice (void **state)
{
  struct vmdk_error err = { 0 };
  struct store *store = folder_store_new (server, "[ds 3] x", &err);
  unsigned before;

  (void) state;
  for (unsigned i = 0; i < 2; i++) {
    struct media *media;

    before = web.nr_requests;
    media = store_open (store, "top.vmdk", STORE_FROM_FILE, &err);
    assert_non_null (media);
    assert_int_equal (web.nr_requests - before, i == 0 ? 2 : 1);
    media_close (media);
  }
  store_close (store);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (paths),   cmocka_unit_test (parents),
    cmocka_unit_test (bytes),   cmocka_unit_test (refused),
    cmocka_unit_test (folders), cmocka_unit_test (escaped_twice),
  };

  return cmocka_run_group_tests (tests, start, stop);
}
