/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of a host that behaves: reading and writing in every way, over TLS and
 * in clear, with every compression and order of fragments.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#define MIB (1024 * 1024)
#define SIZE (24 * MIB + 3 * 512)

#include "nfc-disk-helper.h"

/* Data, zeros, noise, so that all ways of packing have something to do. */
static void
fill_contents (void)
{
  uint32_t seed = 5;

  for (size_t i = 0; i < SIZE; i++) {
    seed = seed * UINT32_C (1664525) + UINT32_C (1013904223);
    switch (i / (192 * 1024) % 4) {
    case 0:
      contents[i] = (uint8_t) (i * 7 ^ i >> 8);
      break;
    case 1:
      contents[i] = (uint8_t) (i % 4096 < 64 ? seed >> 24 : 0);
      break;
    case 2:
      contents[i] = (uint8_t) (seed >> 24);
      break;
    }
  }
}

static int
setup (void **state)
{
  (void) state;
  contents = calloc (1, SIZE);
  fill_contents ();
  return host_start (&host, contents, SIZE, SIZE);
}

static void
must_read (struct nfc_disk *disk, uint64_t offset, size_t count)
{
  uint8_t *buf = malloc (count + 1);
  struct vmdk_error err = { 0 };

  memset (buf, 0xa5, count + 1);
  if (nfc_disk_read (disk, buf, count, offset, &err) == -1)
    fprintf (stderr, "%s\n", err.text);
  assert_int_equal (err.kind, ERR_NONE);
  assert_memory_equal (buf, contents + offset, count);
  assert_int_equal (buf[count], 0xa5);
  free (buf);
}

static void
must_write (struct nfc_disk *disk, uint64_t offset, size_t count, uint8_t salt)
{
  struct vmdk_error err = { 0 };

  for (size_t i = 0; i < count; i++)
    contents[offset + i] = (uint8_t) (i % 5 == 0 ? 0 : i * salt);
  if (nfc_disk_write (disk, contents + offset, count, offset, &err) == -1)
    fprintf (stderr, "%s\n", err.text);
  assert_int_equal (err.kind, ERR_NONE);
}

static void
must_finish (struct nfc_disk *disk)
{
  struct vmdk_error err = { 0 };

  assert_int_equal (nfc_disk_finish (disk, &err), 0);
  assert_true (host_is_content (&host));
}

static void
read_in_many_ways (struct nfc_disk *disk)
{
  static const struct {
    uint64_t offset;
    size_t count;
  } ranges[] = {
    { 0, 512 },          { 1, 1 },
    { 511, 2 },          { 513, 4096 },
    { 0, SIZE },         { 65535, 65538 },
    { 512, 66048 },      { MIB - 512, 3 * MIB + 1024 },
    { SIZE - 1, 1 },     { SIZE - 512, 512 },
    { SIZE - 700, 700 },
  };

  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    must_read (disk, ranges[i].offset, ranges[i].count);
}

static void
test_reading (void **state)
{
  static const char *const orders[] = { "straight", "reversed", "mixed" };
  static const char *const packs[] = { "asked", "plain", "labelled" };

  (void) state;
  for (int tls = 0; tls < 2; tls++)
    for (int kind = NFC_PLAIN; kind <= NFC_SKIPZ; kind++)
      for (size_t i = 0; i < 3; i++) {
        struct nfc_settings settings = host_settings (tls);
        struct nfc_disk *disk;

        host_set (&host, "order", orders[i]);
        host_set (&host, "pack", kind == NFC_SKIPZ ? packs[i] : packs[i % 2]);
        settings.compression = (enum nfc_compression) kind;
        disk = must_open (&settings, false);
        read_in_many_ways (disk);
        must_finish (disk);
      }
}

/* Hosts cut where they like. */
static void
test_any_fragments (void **state)
{
  static const char *const sizes[] = { "1000", "512", "65535", "24" };

  (void) state;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct nfc_settings settings = host_settings (i % 2);
    struct nfc_disk *disk;

    host_set (&host, "fragment", sizes[i]);
    host_set (&host, "order", i % 2 ? "straight" : "mixed");
    settings.compression = i % 2 ? NFC_SKIPZ : NFC_ZLIB;
    disk = must_open (&settings, false);
    must_read (disk, 0, 66048);
    must_read (disk, MIB - 512, 2 * MIB + 1024);
    must_read (disk, SIZE - 1, 1);
    must_finish (disk);
  }
}

static void
test_writing (void **state)
{
  (void) state;
  for (int tls = 0; tls < 2; tls++)
    for (int kind = NFC_PLAIN; kind <= NFC_SKIPZ; kind++) {
      struct nfc_settings settings = host_settings (tls);
      const uint8_t salt = (uint8_t) (7 * kind + tls + 1);
      struct nfc_disk *disk;

      settings.compression = (enum nfc_compression) kind;
      disk = must_open (&settings, true);
      must_write (disk, 0, 512, salt);
      must_write (disk, MIB, 66048, salt);
      must_write (disk, 5, 3, salt);
      must_write (disk, 1000, 70000, salt);
      must_write (disk, 3 * MIB + 511, 5 * MIB + 2, salt);
      must_write (disk, SIZE - 1, 1, salt);
      must_read (disk, 0, 10 * MIB);
      must_finish (disk);
      assert_contents ();
    }
}

static void
test_zeros (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk = must_open (&settings, true);
  struct vmdk_error err = { 0 };

  (void) state;
  assert_int_equal (nfc_disk_zero (disk, 3 * MIB + 17, 2 * MIB + 100, &err),
                    0);
  memset (contents + 2 * MIB + 100, 0, 3 * MIB + 17);
  must_read (disk, 2 * MIB, 4 * MIB);
  must_finish (disk);
  assert_contents ();
}

static void
test_larger_buffers (void **state)
{
  static const uint32_t sizes[] = { 512, 128 * 1024, 2 * MIB };

  (void) state;
  for (size_t i = 0; i < 3; i++) {
    struct nfc_settings settings = host_settings (true);
    struct nfc_disk *disk;

    settings.buffer_size = sizes[i];
    disk = must_open (&settings, true);
    must_write (disk, 7 * MIB + 512, 2 * MIB, (uint8_t) (i + 3));
    must_read (disk, 7 * MIB, 3 * MIB);
    must_finish (disk);
    assert_contents ();
  }
}

static void
test_settings_refused (void **state)
{
  struct nfc_settings bad[5];
  static const char *const texts[] = {
    HOST_PATH
    ": the size of a host's buffer must be whole sectors, at most 2 MiB",
    HOST_PATH ": a host's buffers must not take more than 16 MiB",
    HOST_PATH ": requests in flight must be 1 to 64",
    HOST_PATH ": bytes in flight must be 1 MiB to 32 MiB",
    HOST_PATH ": a client's name must have 1 to 32 letters",
  };
  enum nfc_reason reason;
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < 5; i++)
    bad[i] = host_settings (true);
  bad[0].buffer_size = 1000;
  bad[1].buffer_size = 2 * MIB;
  bad[1].buffer_count = 9;
  bad[2].requests = 65;
  bad[3].bytes = 512;
  bad[4].client = "";
  for (size_t i = 0; i < 5; i++) {
    assert_null (host_open (&host, &bad[i], false, &reason, &err));
    assert_int_equal (err.kind, ERR_ARGUMENT);
    assert_string_equal (err.text, texts[i]);
  }
}

static void
test_ranges_refused (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk = must_open (&settings, false);
  struct vmdk_error err;
  uint8_t byte = 0;

  (void) state;
  assert_int_equal (nfc_disk_read (disk, &byte, 1, SIZE, &err), -1);
  assert_string_equal (err.text, HOST_PATH ": 1 bytes at 25167360 are not "
                                           "within the disk (25167360 bytes)");
  assert_int_equal (nfc_disk_read (disk, &byte, 1, UINT64_MAX, &err), -1);
  assert_int_equal (nfc_disk_read (disk, &byte, 0, SIZE, &err), 0);
  assert_int_equal (nfc_disk_write (disk, &byte, 1, 0, &err), -1);
  assert_int_equal (err.kind, ERR_READ_ONLY);
  assert_string_equal (err.text, HOST_PATH ": opened for reading only");
  must_finish (disk);
}

static void
test_entries (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk = must_open (&settings, false);
  const struct nfc_geometry geometry = nfc_disk_geometry (disk);
  struct vmdk_error err;
  char *value;

  (void) state;
  assert_int_equal (geometry.cylinders, 2088);
  assert_int_equal (geometry.heads, 255);
  assert_int_equal (geometry.sectors, 63);
  assert_int_equal (nfc_disk_entry (disk, "adapterType", &value, &err), 0);
  assert_string_equal (value, "lsilogic");
  free (value);
  assert_int_equal (nfc_disk_entry (disk, "isDigest", &value, &err), 0);
  assert_null (value);
  must_finish (disk);
}

/* The host counts what was closed properly. */
static void
test_closing (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err;
  struct nfc_disk *disk;

  (void) state;
  settings.flush_closes = true;
  disk = must_open (&settings, true);
  must_write (disk, 0, 4096, 9);
  assert_int_equal (nfc_disk_flush (disk, &err), 0);
  must_write (disk, 4096, 4096, 9);
  must_finish (disk);
  assert_int_equal (host_counted (&host, "opens"), 2);
  assert_int_equal (host_counted (&host, "closes"), 2);
  assert_int_equal (host_counted (&host, "connections"), 2);
  assert_contents ();
}

/* --------------------------------------------------------------------- */
/* What is allocated. */

struct pieces {
  char text[4096];
};

static bool
add_piece (void *opaque, const struct disk_piece *piece)
{
  struct pieces *pieces = opaque;
  const size_t len = strlen (pieces->text);

  assert_true (piece->hole == piece->zero);
  snprintf (pieces->text + len, sizeof pieces->text - len, "%s%lu+%lu ",
            piece->hole ? "hole " : "", (unsigned long) piece->offset / 65536,
            (unsigned long) (piece->length + 65535) / 65536);
  return true;
}

static const char *
map_of (struct nfc_disk *disk, uint64_t offset, uint64_t count)
{
  static struct pieces pieces;
  struct vmdk_error err = { 0 };

  pieces.text[0] = '\0';
  assert_int_equal (
    nfc_disk_map (disk, offset, count, add_piece, &pieces, &err), 0);
  return pieces.text;
}

/* Zeros are a quarter of the disk, three chunks out of twelve. */
static void
make_holes (void)
{
  fill_contents ();
  assert_int_equal (pwrite (host.fd, contents, SIZE, 0), SIZE);
}

static void
test_map (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk;

  (void) state;
  make_holes ();
  disk = must_open (&settings, true);
  assert_string_equal (map_of (disk, 0, 2 * 12 * 65536),
                       "0+9 hole 9+3 12+9 hole 21+3 ");
  assert_string_equal (map_of (disk, 10 * 65536, 65536), "hole 10+1 ");
  /* the tail is no chunk */
  assert_string_equal (map_of (disk, SIZE - 1536, 1536), "384+1 ");
  assert_int_equal (host_counted (&host, "queries"), 2);
  /* our own writes are data at once */
  must_write (disk, 10 * 65536, 512, 3);
  assert_string_equal (map_of (disk, 10 * 65536, 65536), "10+1 ");
  must_finish (disk);
}

static void
test_map_refused (void **state)
{
  static const char *const ways[] = { "refuse", "unpadded", "count" };

  (void) state;
  make_holes ();
  for (size_t i = 0; i < 3; i++) {
    struct nfc_settings settings = host_settings (true);
    struct nfc_disk *disk;

    settings.times.read = 300;
    host_set (&host, "bitmap", ways[i]);
    disk = must_open (&settings, false);
    assert_string_equal (map_of (disk, 0, 2 * 12 * 65536), "0+24 ");
    must_read (disk, 0, 2 * MIB);
    must_finish (disk);
  }
}

/* --------------------------------------------------------------------- */
/* Several threads, one connection: each has its own part of the disk. */

struct worker {
  pthread_t thread;
  struct nfc_disk *disk;
  uint64_t start;
  uint32_t seed;
  bool failed;
};

#define PART (3 * MIB)

static void *
work (void *opaque)
{
  struct worker *worker = opaque;
  uint8_t *buf = malloc (MIB);
  struct vmdk_error err = { 0 };

  for (int i = 0; i < 60 && !worker->failed; i++) {
    const uint32_t r = worker->seed =
      worker->seed * UINT32_C (1664525) + UINT32_C (1013904223);
    const uint64_t offset = worker->start + (r >> 8) % (PART - 300000);
    const size_t count = 1 + (r >> 5) % 300000;

    if (r >> 30 == 0) {
      memset (contents + offset, (int) (r & 255), count);
      worker->failed |=
        nfc_disk_write (worker->disk, contents + offset, count, offset, &err)
        == -1;
    }
    else
      worker->failed |=
        nfc_disk_read (worker->disk, buf, count, offset, &err) == -1
        || memcmp (buf, contents + offset, count) != 0;
  }
  if (worker->failed)
    fprintf (stderr, "at %lu: %s\n", (unsigned long) worker->start, err.text);
  free (buf);
  return NULL;
}

static void
test_threads (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct worker workers[8];
  struct nfc_disk *disk;

  (void) state;
  host_set (&host, "order", "mixed");
  disk = must_open (&settings, true);
  for (size_t i = 0; i < 8; i++) {
    workers[i] = (struct worker){ .disk = disk,
                                  .start = i * PART,
                                  .seed = (uint32_t) i + 1 };
    assert_int_equal (
      pthread_create (&workers[i].thread, NULL, work, &workers[i]), 0);
  }
  for (size_t i = 0; i < 8; i++) {
    pthread_join (workers[i].thread, NULL);
    assert_false (workers[i].failed);
  }
  must_finish (disk);
  assert_int_equal (host_counted (&host, "connections"), 1);
  assert_contents ();
}

/* Reads in sequence have much in flight, reads at random only what was asked
 * for.
 */
static void
test_ahead (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk = must_open (&settings, false);

  (void) state;
  for (uint64_t i = 0; i < 16; i++)
    must_read (disk, i * 7 % 16 * 1572864, 65536);
  assert_true (host_counted (&host, "most_outstanding") <= 65536);
  assert_int_equal (host_counted (&host, "reads"), 16);
  host_set (&host, "delay", "0.05");
  for (uint64_t offset = 0; offset < SIZE; offset += 65536)
    must_read (disk, offset, SIZE - offset < 65536 ? SIZE - offset : 65536);
  assert_true (host_counted (&host, "most_outstanding") >= 8 * MIB);
  /* and nothing was read twice */
  assert_true (host_counted (&host, "read_bytes") <= SIZE + 16 * 65536);
  must_finish (disk);
}

/* Writing between: what was read ahead is not used. */
static void
test_ahead_and_writes (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk = must_open (&settings, true);

  (void) state;
  host_set (&host, "delay", "0.01");
  for (uint64_t offset = 0; offset < 20 * MIB; offset += 131072) {
    must_read (disk, offset, 131072);
    if (offset % (5 * 131072) == 0)
      must_write (disk, offset + 131072 + 512 * (offset % 7), 700000,
                  (uint8_t) (offset / 131072));
  }
  must_finish (disk);
  assert_contents ();
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup (test_reading, clear),
    cmocka_unit_test_setup (test_any_fragments, clear),
    cmocka_unit_test_setup (test_writing, clear),
    cmocka_unit_test_setup (test_zeros, clear),
    cmocka_unit_test_setup (test_larger_buffers, clear),
    cmocka_unit_test_setup (test_settings_refused, clear),
    cmocka_unit_test_setup (test_ranges_refused, clear),
    cmocka_unit_test_setup (test_entries, clear),
    cmocka_unit_test_setup (test_closing, clear),
    cmocka_unit_test_setup (test_map, clear),
    cmocka_unit_test_setup (test_map_refused, clear),
    cmocka_unit_test_setup (test_threads, clear),
    cmocka_unit_test_setup (test_ahead, clear),
    cmocka_unit_test_setup (test_ahead_and_writes, clear),
  };

  if (!host_possible ())
    return HOST_SKIP;
  return cmocka_run_group_tests (tests, setup, teardown);
}
