/* SPDX-License-Identifier: BSD-3-Clause */

/* Byte locks on files: which of other programs' refuse us, and which we hold
 * while we read or write.
 */

#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "folder-helper.h"
#include "media-helper.h"

#ifdef F_OFD_SETLK

#include "lock-helper.h"

static const int writer[] = { 100, 101, 103, 201, 203, 0 };
static const int reader[] = { 100, 201, 203, 0 };
static const int resizer[] = { 103, 0 };
static const int hermit[] = { 100, 200, 0 };
#define WRITES "another program has it open for writing"
#define USES "another program uses it and lets nobody else write it"
#define ALONE "another program lets nobody else read it"

/* -- Reading ------------------------------------------------------------ */

static const struct {
  const int *bytes;
  const char *text;
} reading[] = {
  { writer, WRITES },
  { resizer, WRITES },
  { hermit, ALONE },
  { reader, NULL },
};

static void
test_reader_refused (void **state)
{
  size_t i;

  (void) state;
  write_file ("locked", "0123456789", 10);
  for (i = 0; i < sizeof reading / sizeof reading[0]; i++) {
    struct vmdk_error err;
    CLEANUP_MEDIA struct media *media = open_file ("locked", O_RDONLY, i % 2);
    const struct holder holder =
      start_holder ("locked", F_OFD_SETLK, F_RDLCK, reading[i].bytes);

    if (reading[i].text) {
      assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), -1);
      assert_error (&err, ERR_LOCKED, reading[i].text);
    }
    else
      assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
    stop_holder (holder);
    /* What was refused is not held. */
    assert_int_equal (is_held ("locked", 201), !reading[i].text);
    assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  }
}

/* The kernel names the holder of a lock that belongs to a process. */
static void
test_process_is_named (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL;
  struct holder holder;
  char text[128];

  (void) state;
  write_file ("locked", "0123456789", 10);
  media = open_file ("locked", O_RDONLY, false);
  holder = start_holder ("locked", F_SETLK, F_RDLCK, writer);
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), -1);
  snprintf (text, sizeof text,
            "another program (process %d) has it open for writing",
            (int) holder.pid);
  assert_error (&err, ERR_LOCKED, text);
  stop_holder (holder);
}

/* Asking who holds a lock takes none, and does not find our own. */
static void
test_holder (void **state)
{
  static const struct {
    int bytes[4];
    const char *text;
  } cases[] = {
    { { 100 }, "" },
    { { 100, 201, 203 }, USES },
    { { 100, 101, 103 }, WRITES },
    { { 200, 101 }, "another program lets nobody else read it" },
  };
  struct vmdk_error err;
  char text[128];

  (void) state;
  write_file ("locked", "0123456789", 10);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CLEANUP_MEDIA struct media *media = open_file ("locked", O_RDONLY, i % 2);
    CLEANUP_MEDIA struct media *slice =
      media_slice_new (media, "slice", 1, 2, &err);
    const struct holder holder =
      start_holder ("locked", F_OFD_SETLK, F_RDLCK, cases[i].bytes);

    media_lock_holder (media, text, sizeof text);
    assert_string_equal (text, cases[i].text);
    media_lock_holder (slice, text, sizeof text);
    assert_string_equal (text, cases[i].text);
    stop_holder (holder);
    assert_false (is_held ("locked", 100));
    assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
    media_lock_holder (media, text, sizeof text);
    assert_string_equal (text, "");
  }
}

static void
test_reader_holds (void **state)
{
  static const int others[] = { 0, 99, 101, 102, 103, 104, 200, 202, 204 };
  struct vmdk_error err;
  struct media *media;
  size_t i;

  (void) state;
  write_file ("locked", "0123456789", 10);
  media = open_file ("locked", O_RDONLY, false);
  assert_false (is_held ("locked", 100));
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  for (i = 0; reader[i]; i++)
    assert_true (is_held ("locked", reader[i]));
  for (i = 0; i < sizeof others / sizeof others[0]; i++)
    assert_false (is_held ("locked", others[i]));
  media_close (media);
  assert_false (is_held ("locked", 100));
}

/* Two of ours read one file; a slice locks what it is cut from. */
static void
test_readers_share (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *a = NULL, *b = NULL, *slice = NULL;

  (void) state;
  write_file ("locked", "0123456789", 10);
  a = open_file ("locked", O_RDONLY, false);
  b = open_file ("locked", O_RDONLY, true);
  slice = media_slice_new (b, "slice", 2, 3, &err);
  assert_int_equal (media_lock (a, MEDIA_LOCK_READ, &err), 0);
  assert_int_equal (media_lock (slice, MEDIA_LOCK_READ, &err), 0);
  media_close (steal_ptr (&a));
  assert_true (is_held ("locked", 201));
}

/* -- Writing ------------------------------------------------------------ */

static const struct {
  short type;
  int bytes[6];
  const char *text; /* NULL: we may write */
} writing[] = {
  { F_RDLCK, { 100, 101, 103, 201, 203 }, WRITES }, /* a writer */
  { F_RDLCK, { 100, 201, 203 }, USES },             /* a reader */
  { F_RDLCK, { 101 }, WRITES },
  { F_RDLCK, { 103 }, WRITES },
  { F_RDLCK, { 201 }, USES },
  { F_RDLCK, { 203 }, USES },
  { F_RDLCK, { 200 }, ALONE },
  { F_RDLCK, { 100, 102, 104, 202, 204 }, NULL }, /* shares all we need */
  { F_WRLCK, { 201 }, "another program has locked it" },
};

static void
test_writer_refused (void **state)
{
  size_t i, k;

  (void) state;
  write_file ("locked", "0123456789", 10);
  for (i = 0; i < sizeof writing / sizeof writing[0]; i++) {
    struct vmdk_error err;
    CLEANUP_MEDIA struct media *media = open_file ("locked", O_RDWR, false);
    const struct holder holder =
      start_holder ("locked", F_OFD_SETLK, writing[i].type, writing[i].bytes);
    const int r = media_lock (media, MEDIA_LOCK_WRITE, &err);

    assert_int_equal (r, writing[i].text ? -1 : 0);
    if (writing[i].text)
      assert_error (&err, ERR_LOCKED, writing[i].text);
    stop_holder (holder);
    /* What was refused is not held. */
    for (k = 0; writer[k]; k++)
      assert_int_equal (is_held ("locked", writer[k]), !writing[i].text);
    assert_int_equal (media_lock (media, MEDIA_LOCK_WRITE, &err), 0);
  }
}

static void
test_writer_holds (void **state)
{
  static const int others[] = {
    0, 99, 102, 104, 105, 199, 200, 202, 204, 205
  };
  struct vmdk_error err;
  struct media *media;
  size_t i;

  (void) state;
  write_file ("locked", "0123456789", 10);
  media = open_file ("locked", O_RDWR, false);
  assert_int_equal (media_lock (media, MEDIA_LOCK_WRITE, &err), 0);
  assert_int_equal (media_lock (media, MEDIA_LOCK_WRITE, &err), 0);
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  for (i = 0; writer[i]; i++)
    assert_true (is_held ("locked", writer[i]));
  for (i = 0; i < sizeof others / sizeof others[0]; i++)
    assert_false (is_held ("locked", others[i]));
  media_close (media);
  for (i = 0; writer[i]; i++)
    assert_false (is_held ("locked", writer[i]));
}

/* Our own kinds, each against each; the first keeps what it has. */
static void
test_each_other (void **state)
{
  static const struct {
    enum media_lock first, second;
    const char *text;
  } pairs[] = {
    { MEDIA_LOCK_READ, MEDIA_LOCK_READ, NULL },
    { MEDIA_LOCK_READ, MEDIA_LOCK_WRITE, USES },
    { MEDIA_LOCK_WRITE, MEDIA_LOCK_READ, WRITES },
    { MEDIA_LOCK_WRITE, MEDIA_LOCK_WRITE, WRITES },
  };
  size_t i;

  (void) state;
  write_file ("locked", "0123456789", 10);
  for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    struct vmdk_error err;
    CLEANUP_MEDIA struct media *a = open_file ("locked", O_RDWR, false);
    CLEANUP_MEDIA struct media *b = open_file ("locked", O_RDWR, false);

    assert_int_equal (media_lock (a, pairs[i].first, &err), 0);
    assert_int_equal (media_lock (b, pairs[i].second, &err),
                      pairs[i].text ? -1 : 0);
    if (pairs[i].text)
      assert_error (&err, ERR_LOCKED, pairs[i].text);
    assert_true (is_held ("locked", 201));
    assert_int_equal (is_held ("locked", 101),
                      pairs[i].first == MEDIA_LOCK_WRITE);
  }
}

static void
test_reader_becomes_no_writer (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL;

  (void) state;
  write_file ("locked", "0123456789", 10);
  media = open_file ("locked", O_RDWR, false);
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  assert_int_equal (media_lock (media, MEDIA_LOCK_WRITE, &err), -1);
  assert_error (&err, ERR_ARGUMENT, "is locked for reading already");
  assert_true (is_held ("locked", 201));
  assert_false (is_held ("locked", 101));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_reader_refused),
    cmocka_unit_test (test_process_is_named),
    cmocka_unit_test (test_holder),
    cmocka_unit_test (test_reader_holds),
    cmocka_unit_test (test_readers_share),
    cmocka_unit_test (test_writer_refused),
    cmocka_unit_test (test_writer_holds),
    cmocka_unit_test (test_each_other),
    cmocka_unit_test (test_reader_becomes_no_writer),
  };

  return cmocka_run_group_tests (tests, make_folder, remove_folder);
}

#else

int
main (void)
{
  return 77;
}

#endif
