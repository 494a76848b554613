/* SPDX-License-Identifier: BSD-3-Clause */

/* The threads of a copy: what is read and what is not, that pieces are placed
 * in order, one at a time, and all of them stored; failures and stops at each
 * step; media and pipes as targets.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#include "extent-helper.h"
#include "copy.h"
#include "media-memory.h"
#include "media-pipe.h"
#include "store.h"

#define MIB (UINT64_C (1) << 20)

/* -- A source that is data here and there ------------------------------- */

struct source {
  uint64_t size;
  const uint64_t (*data)[2]; /* from, to; ascending */
  size_t nr;
  uint64_t window; /* find_data stops at multiples of it; 0: never */
  _Atomic uint64_t nr_read;
  uint64_t fails_at; /* reading this byte fails */
};

static uint8_t
byte_at (uint64_t offset)
{
  return (uint8_t) (1 + (offset ^ offset >> 8 ^ offset >> 16) % 255);
}

/* What it has at [offset, offset+count). */
static void
make_bytes (const struct source *s, uint8_t *p, size_t count, uint64_t offset)
{
  memset (p, 0, count);
  for (size_t i = 0; i < s->nr; i++)
    for (uint64_t at = max_u64 (offset, s->data[i][0]);
         at < min_u64 (offset + count, s->data[i][1]); at++)
      p[at - offset] = byte_at (at);
}

static int
source_read (void *opaque, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  struct source *s = opaque;

  if (s->fails_at >= offset && s->fails_at - offset < count)
    return fail_errno (err, EIO, "byte %" PRIu64, s->fails_at);
  s->nr_read += count;
  make_bytes (s, buf, count, offset);
  return 0;
}

static int
source_find (void *opaque, uint64_t offset, uint64_t end, uint64_t *start,
             uint64_t *stop, struct vmdk_error *err)
{
  const struct source *s = opaque;

  (void) err;
  if (s->window)
    end = min_u64 (end, (offset / s->window + 1) * s->window);
  *start = *stop = end;
  for (size_t i = 0; i < s->nr; i++)
    if (s->data[i][1] > offset && s->data[i][0] < end) {
      *start = max_u64 (offset, s->data[i][0]);
      *stop = min_u64 (end, s->data[i][1]);
      break;
    }
  return 0;
}

static struct copy_source
copy_source_of (struct source *s)
{
  return (struct copy_source){
    .size = s->size, .opaque = s, .read = source_read, .find_data = source_find
  };
}

static const uint64_t some_data[][2] = {
  { 0, 1 },
  { 100000, 100001 },
  { MIB - 1, MIB + 1 },
  { 3 * MIB + 77, 8 * MIB },
  { 9 * MIB, 9 * MIB + 4096 },
  { 20 * MIB + 4999, 20 * MIB + 5000 },
};
#define SOME_SIZE (20 * MIB + 5000)

static struct source
some_source (void)
{
  return (struct source){
    .size = SOME_SIZE, .data = some_data, .nr = 6, .fails_at = UINT64_MAX
  };
}

/* -- A target that looks closely ---------------------------------------- */

enum step { FILL, PLACE, STORE, ZERO, NR_STEPS };

struct target {
  uint8_t *bytes;
  size_t unit;
  uint64_t size;
  uint64_t placed_end; /* of the last piece that was placed */
  atomic_int placing;
  _Atomic uint64_t nr[NR_STEPS];
  enum step fails; /* at its third call */
  const char *wrong;
};

static int
count_step (struct target *t, enum step step, struct vmdk_error *err)
{
  if (++t->nr[step] == 3 && t->fails == step)
    return fail_errno (err, ENOSPC, "told to fail");
  return 0;
}

static void
check_piece (struct target *t, const struct copy_piece *piece)
{
  const size_t whole = div_round_up (piece->count, t->unit) * t->unit;

  if (piece->offset % t->unit != 0 || piece->count == 0
      || piece->count > COPY_PIECE_SIZE
      || piece->offset + piece->count > t->size)
    t->wrong = "a piece of the wrong size";
  if (!bytes_are_zero (piece->bytes + piece->count, whole - piece->count))
    t->wrong = "no zeros behind the end";
}

static int
target_fill (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct target *t = opaque;

  check_piece (t, piece);
  memcpy (piece->extra, &piece->offset, sizeof piece->offset);
  copy_find_zeros (piece, t->unit);
  return count_step (t, FILL, err);
}

static int
target_place (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct target *t = opaque;

  if (t->placing++ != 0)
    t->wrong = "two at once are placed";
  if (piece->offset < t->placed_end)
    t->wrong = "out of order";
  t->placed_end = piece->offset + piece->count;
  piece->where = piece->offset;
  t->placing--;
  return count_step (t, PLACE, err);
}

static int
target_store (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct target *t = opaque;
  uint64_t offset;

  memcpy (&offset, piece->extra, sizeof offset);
  if (offset != piece->offset || piece->where != piece->offset)
    t->wrong = "what a step left is lost";
  memcpy (t->bytes + piece->offset, piece->bytes, piece->count);
  return count_step (t, STORE, err);
}

static int
target_zero (void *opaque, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  struct target *t = opaque;

  memset (t->bytes + offset, 0, count);
  return count_step (t, ZERO, err);
}

static struct target
make_target (uint64_t size, size_t unit)
{
  struct target t = {
    .bytes = malloc (size), .unit = unit, .size = size, .fails = NR_STEPS
  };

  assert_non_null (t.bytes);
  memset (t.bytes, 0xee, size);
  return t;
}

static int
run (struct source *s, struct target *t, unsigned threads,
     const struct operation *operation, struct vmdk_error *err)
{
  const struct copy_source source = copy_source_of (s);
  const struct copy_share share = { operation, 0, s->size };
  const struct copy_target target = {
    .opaque = t,
    .unit = t->unit,
    .extra_size = sizeof (uint64_t),
    .fill = target_fill,
    .place = target_place,
    .store = target_store,
    .zero = target_zero,
  };

  return copy_run (&source, &target, threads, &share, err);
}

/* BYTES are what is at [offset, offset+count). */
static void
assert_part (const struct source *s, const uint8_t *bytes, size_t count,
             uint64_t offset)
{
  uint8_t *wanted = malloc (count);

  assert_non_null (wanted);
  make_bytes (s, wanted, count, offset);
  if (memcmp (bytes, wanted, count) != 0)
    for (size_t i = 0; i < count; i++)
      assert_int_equal (bytes[i], wanted[i]);
  free (wanted);
}

static void
assert_bytes (const struct source *s, const uint8_t *bytes)
{
  assert_part (s, bytes, s->size, 0);
}

static void
test_steps (void **state)
{
  static const size_t units[] = { 512, 65536, 1 << 20 };
  static const uint64_t windows[] = { 0, 1000, 3 << 20 };
  const struct operation operation = { 0 };

  (void) state;
  for (size_t u = 0; u < 3; u++)
    for (size_t w = 0; w < 3; w++)
      for (unsigned threads = 1; threads <= 5; threads += 4) {
        struct source s = some_source ();
        struct target t = make_target (s.size, units[u]);
        struct vmdk_error err;

        s.window = windows[w];
        assert_int_equal (run (&s, &t, threads, &operation, &err), 0);
        assert_null (t.wrong);
        assert_bytes (&s, t.bytes);
        assert_int_equal (t.nr[FILL], t.nr[PLACE]);
        assert_int_equal (t.nr[FILL], t.nr[STORE]);
        /* What is known to be zeros is not read, but for parts of units. */
        assert_true (s.nr_read <= 5 * MIB + 4096 + 12 * units[u]);
        free (t.bytes);
      }
}

static void
test_empty_source (void **state)
{
  const struct operation operation = { 0 };
  struct source s = { .size = 1 << 20, .fails_at = UINT64_MAX };
  struct target t = make_target (s.size, 4096);
  struct vmdk_error err;

  (void) state;
  assert_int_equal (run (&s, &t, 3, &operation, &err), 0);
  assert_int_equal (s.nr_read, 0);
  assert_true (bytes_are_zero (t.bytes, s.size));
  s.size = 0;
  assert_int_equal (run (&s, &t, 3, &operation, &err), 0);
  free (t.bytes);
}

static void
test_failures (void **state)
{
  const struct operation operation = { 0 };

  (void) state;
  for (enum step step = FILL; step < NR_STEPS; step++)
    for (unsigned threads = 1; threads <= 8; threads += 7) {
      struct source s = some_source ();
      struct target t = make_target (s.size, 65536);
      struct vmdk_error err = { 0 };

      t.fails = step;
      assert_int_equal (run (&s, &t, threads, &operation, &err), -1);
      assert_string_equal (err.text, "told to fail: No space left on device");
      assert_null (t.wrong);
      free (t.bytes);
    }
}

static void
test_read_fails (void **state)
{
  const struct operation operation = { 0 };
  struct source s = some_source ();
  struct target t = make_target (s.size, 65536);
  struct vmdk_error err = { 0 };

  (void) state;
  s.fails_at = 5 * MIB;
  assert_int_equal (run (&s, &t, 4, &operation, &err), -1);
  assert_string_equal (err.text, "byte 5242880: Input/output error");
  free (t.bytes);
}

/* -- Progress ----------------------------------------------------------- */

struct watcher {
  pthread_t thread;
  uint64_t last;
  unsigned left; /* calls until it says stop */
  bool wrong;
};

static bool
watch (void *opaque, uint64_t done, uint64_t total)
{
  struct watcher *w = opaque;

  w->wrong = w->wrong || done < w->last || total != SOME_SIZE
             || !pthread_equal (w->thread, pthread_self ());
  w->last = done;
  return w->left-- > 0;
}

static void
test_progress (void **state)
{
  (void) state;
  for (unsigned left = 0; left < 2; left++) {
    struct watcher w = { .thread = pthread_self (),
                         .left = left ? 1000000 : 0 };
    const struct operation operation = { .progress = watch, .opaque = &w };
    struct source s = some_source ();
    struct target t = make_target (s.size, 65536);
    struct vmdk_error err;

    assert_int_equal (run (&s, &t, 2, &operation, &err), left ? 0 : -1);
    assert_false (w.wrong);
    if (left)
      assert_int_equal (w.last, SOME_SIZE);
    else
      assert_int_equal (err.errnum, ECANCELED);
    free (t.bytes);
  }
}

/* -- Windows, media, pipes ---------------------------------------------- */

static void
test_window (void **state)
{
  const struct operation operation = { 0 };
  struct source s = some_source ();
  const struct copy_source whole = copy_source_of (&s);
  struct copy_window window = { &whole, 8 * MIB - 1000 };
  /* some of it, up to beyond the end */
  const struct copy_source source =
    copy_source_of_window (&window, 13 * MIB + 777);
  struct target t = make_target (source.size, 4096);
  const struct copy_share share = { &operation, 0, source.size };
  const struct copy_target target = {
    .opaque = &t,
    .unit = t.unit,
    .extra_size = 8,
    .fill = target_fill,
    .place = target_place,
    .store = target_store,
    .zero = target_zero,
  };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (copy_run (&source, &target, 3, &share, &err), 0);
  assert_null (t.wrong);
  assert_part (&s, t.bytes, source.size, window.offset);
  free (t.bytes);
}

static void
test_media (void **state)
{
  static const size_t zero_units[] = { 0, 512, 65536, 1 << 20 };
  const struct operation operation = { 0 };
  struct vmdk_error err;

  (void) state;
  for (unsigned i = 0; i < 8; i++) {
    struct source s = some_source ();
    const struct copy_source source = copy_source_of (&s);
    const struct copy_share share = { &operation, 0, s.size };
    struct store *store = store_memory_new ("memory", &err);
    struct media *media = store_create (store, "x", 0644, &err);
    struct copy_to_media to = { .media = media,
                                .start = 1000,
                                .zero_unit = zero_units[i / 2],
                                .fresh = i % 2 == 0 };
    const struct copy_target target = copy_target_of_media (&to);
    uint8_t *bytes = malloc (s.size + 2000);

    memset (bytes, 0xee, s.size + 2000);
    assert_non_null (media);
    assert_int_equal (to.fresh
                        ? media_truncate (media, s.size + 2000, &err)
                        : media_pwrite (media, bytes, s.size + 2000, 0, &err),
                      0);
    assert_int_equal (copy_run (&source, &target, 3, &share, &err), 0);
    assert_int_equal (media->size, s.size + 2000);
    assert_int_equal (media_pread (media, bytes, s.size + 2000, 0, &err), 0);
    assert_bytes (&s, bytes + 1000);
    assert_int_equal (bytes[999], to.fresh ? 0 : 0xee);
    assert_int_equal (bytes[s.size + 1000], to.fresh ? 0 : 0xee);
    free (bytes);
    media_close (media);
    store_close (store);
  }
}

struct drain {
  int fd;
  uint8_t *bytes;
  size_t count, room;
};

static void *
read_pipe (void *opaque)
{
  struct drain *d = opaque;
  ssize_t r;

  while ((r = read (d->fd, d->bytes + d->count, d->room - d->count)) > 0)
    d->count += (size_t) r;
  return NULL;
}

static void
test_pipe (void **state)
{
  const struct operation operation = { 0 };
  struct source s = some_source ();
  const struct copy_source source = copy_source_of (&s);
  const struct copy_share share = { &operation, 0, s.size };
  struct drain drain = { .room = s.size + 1, .bytes = malloc (s.size + 1) };
  struct media *media;
  struct copy_target target;
  struct vmdk_error err;
  pthread_t thread;
  int fds[2];

  (void) state;
  assert_int_equal (pipe (fds), 0);
  drain.fd = fds[0];
  assert_int_equal (pthread_create (&thread, NULL, read_pipe, &drain), 0);
  media = media_pipe_new (fds[1], "pipe", &err);
  assert_non_null (media);
  target = copy_target_of_pipe (media);
  assert_int_equal (copy_run (&source, &target, 3, &share, &err), 0);
  assert_int_equal (media_pwrite (media, "x", 1, 5, &err), -1);
  assert_error (&err, ERR_ARGUMENT,
                "cannot be written at byte 5, only at its end, 20976520");
  assert_int_equal (media_pread (media, &fds, 1, 0, &err), -1);
  media_close (media);
  close (fds[1]);
  pthread_join (thread, NULL);
  close (fds[0]);
  assert_int_equal (drain.count, s.size);
  assert_bytes (&s, drain.bytes);
  free (drain.bytes);
}

static void
test_threads (void **state)
{
  (void) state;
  assert_true (copy_threads (0) >= 1);
  assert_int_equal (copy_threads (3), 3);
  assert_int_equal (copy_threads (100000), 64);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_steps),    cmocka_unit_test (test_empty_source),
    cmocka_unit_test (test_failures), cmocka_unit_test (test_read_fails),
    cmocka_unit_test (test_progress), cmocka_unit_test (test_window),
    cmocka_unit_test (test_media),    cmocka_unit_test (test_pipe),
    cmocka_unit_test (test_threads),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
