/* SPDX-License-Identifier: BSD-3-Clause */

/* Descriptors that change, in every kind of place, while calls fail and the
 * power goes away: contract C8, and beyond it
 *
 *  - the text is the old one or the new one, byte for byte, at every moment;
 *  - in the end it is where qemu looks for it, and nothing is left behind.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "link-text.h"
#include "maintenance.h"
#include "sparse-header.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])
#define LONG_VALUE 1200

/* Sanitizers make all this ten times as slow. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define NR_SEEDS 3
#else
#define NR_SEEDS 16
#endif
#define SMALL_GRAIN 4096

/* -- Disks -------------------------------------------------------------- */

static void
must (int r, const struct vmdk_error *err)
{
  if (r == -1)
    print_error ("%s\n", err->text);
  assert_int_equal (r, 0);
}

static struct media *
open_top (struct store *store, const char *top)
{
  struct vmdk_error err = { 0 };
  struct media *media =
    store_open (store, top, STORE_FROM_FILE | STORE_WRITABLE, &err);

  must (media ? 0 : -1, &err);
  return media;
}

static void
read_header (struct media *media, struct sparse_header *h)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];
  struct vmdk_error err;

  must (media_pread (media, bytes, sizeof bytes, 0, &err), &err);
  sparse_header_decode (bytes, h);
}

static void
write_header (struct media *media, const struct sparse_header *h)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];
  struct vmdk_error err;

  sparse_header_encode (h, bytes);
  must (media_pwrite (media, bytes, sizeof bytes, 0, &err), &err);
}

static void
build_named (struct built *built, const char *flavour, uint64_t seed)
{
  size_t i = 0;

  while (strcmp (flavour_name (i), flavour) != 0)
    i++;
  build (built, i, seed);
}

/* The text at SECTOR, with these lines behind it. */
static void
add_lines (struct media *media, uint64_t sector, const char *lines)
{
  const uint64_t offset = sectors_to_bytes (sector);
  struct vmdk_error err;
  char text[512] = "";
  size_t room = min_u64 (sizeof text - 1, media->size - offset);

  must (media_pread (media, text, room, offset, &err), &err);
  must (
    media_pwrite (media, lines, strlen (lines), offset + strlen (text), &err),
    &err);
}

/* The text of a "tracked" disk: more than a sector. */
#define TRACKED_LINES                                        \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "changeTrackPath=\"ctk.vmdk\"\n"                           \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "# ----------------------------------------------------\n" \
  "ddb.longContentID = \"0123456789abcdef0123456701234567\"\n"

static void
add_to_built (struct built *built, uint64_t sector)
{
  CLEANUP_MEDIA struct media *media = open_top (built->store, built->top);
  struct vmdk_error err;

  add_lines (media, sector, TRACKED_LINES);
  must (media_flush (media, &err), &err);
}

static void
prepare_tracked_sparse (struct built *built, uint64_t seed)
{
  build_named (built, "sparse, small grains", seed);
  add_to_built (built, 1);
}

static void
prepare_tracked_stream (struct built *built, uint64_t seed)
{
  build_named (built, "stream, small grains", seed);
  add_to_built (built, 1);
}

static void
prepare_tracked_split (struct built *built, uint64_t seed)
{
  build_named (built, "split sparse", seed);
  add_to_built (built, 0);
}

/* Three digits of the content ID in one sector, five in the next. */
static void
prepare_straddling (struct built *built, uint64_t seed)
{
  char text[2 * SECTOR_SIZE + 1] = "", moved[2 * SECTOR_SIZE + 1];
  CLEANUP_MEDIA struct media *media = NULL;
  struct vmdk_error err;
  int pad;

  build_named (built, "sparse, small grains", seed);
  media = open_top (built->store, built->top);
  must (media_pread (media, text, sizeof text - 1, SECTOR_SIZE, &err), &err);
  pad = SECTOR_SIZE - 3 - (int) (strstr (text, "\nCID=") + 5 - text);
  assert_true (strlen (text) + (size_t) pad < sizeof text);
  snprintf (moved, sizeof moved, "#%*s\n%s", pad - 2, "", text);
  must (media_pwrite (media, moved, strlen (moved), SECTOR_SIZE, &err), &err);
  must (media_flush (media, &err), &err);
}

/* An area of one sector, with room behind it. */
static void
shorten_area (struct built *built)
{
  CLEANUP_MEDIA struct media *media = open_top (built->store, built->top);
  struct sparse_header h;
  struct vmdk_error err;

  read_header (media, &h);
  h.descriptor_size = 1;
  write_header (media, &h);
  must (media_flush (media, &err), &err);
}

static void
prepare_short_sparse (struct built *built, uint64_t seed)
{
  build_named (built, "sparse, tables missing", seed);
  shorten_area (built);
}

static void
prepare_short_stream (struct built *built, uint64_t seed)
{
  build_named (built, "stream, small grains", seed);
  shorten_area (built);
}

/* A stream that was not closed cleanly: it has no footer. */
static void
prepare_open_stream (struct built *built, uint64_t seed)
{
  struct vmdk_error err;
  struct rig rig;

  build_named (built, "stream, small grains", seed);
  must (rig_open (&rig, built->store, built->top, true, 0, &err), &err);
  must (disk_write (rig.disk, built->bytes, SECTOR_SIZE, 0, &err), &err);
  must (disk_flush (rig.disk, &err), &err);
  rig_close (&rig);
}

/* A KDMV file for the descriptor alone. */
static void
prepare_container (struct built *built, uint64_t seed)
{
  struct sparse_header h = {
    .magic = SPARSE_MAGIC,
    .version = 1,
    .flags = SPARSE_NEWLINE_TEST,
    .descriptor_offset = 1,
    .descriptor_size = 2,
    .newline_test = { '\n', ' ', '\r', '\n' },
  };
  char text[2 * SECTOR_SIZE] = "";
  CLEANUP_MEDIA struct media *media = NULL;
  struct vmdk_error err;

  build_named (built, "split flat", seed);
  media = open_top (built->store, built->top);
  must (media_pread (media, text, media->size, 0, &err), &err);
  must (media_pwrite (media, text, sizeof text, SECTOR_SIZE, &err), &err);
  write_header (media, &h);
  must (media_flush (media, &err), &err);
}

/* -- Operations --------------------------------------------------------- */

static char long_value[LONG_VALUE + 1];

static int
replace_in (struct rig *rig, const char *value, struct vmdk_error *err)
{
  struct link *link = chain_link (disk_chain (rig->disk), 0);
  CLEANUP_DESCRIPTOR struct descriptor *d = link_text_now (link, err);

  if (!d || descriptor_set (d, "ddb.value", value, err) == -1
      || descriptor_set (d, "encoding", "UTF-8", err) == -1)
    return -1;
  return link_replace_text (link, d, err);
}

static int
replace (struct store *store, const char *top, const char *value,
         struct vmdk_error *err)
{
  struct rig rig;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = replace_in (&rig, value, err);
  if (r == 0)
    r = disk_finish (rig.disk, err);
  rig_close (&rig);
  return r;
}

static int
set_long (struct store *store, const char *top, struct vmdk_error *err)
{
  return replace (store, top, long_value, err);
}

static int
set_short (struct store *store, const char *top, struct vmdk_error *err)
{
  return replace (store, top, "1", err);
}

static int
begin (struct store *store, const char *top, struct vmdk_error *err)
{
  struct rig rig;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = link_begin_changes (chain_link (disk_chain (rig.disk), 0), err);
  if (r == 0)
    r = disk_finish (rig.disk, err);
  rig_close (&rig);
  return r;
}

/* The text as whoever opens the disk finds it; free it.  NULL with err. */
static char *
get_text (struct store *store, const char *top, bool writable,
          struct vmdk_error *err)
{
  struct descriptor *d = NULL;
  char *text = NULL;
  struct rig rig;
  size_t len;

  if (rig_open (&rig, store, top, writable, 0, err) == -1)
    return NULL;
  d = link_text_now (chain_link (disk_chain (rig.disk), 0), err);
  if (d)
    text = descriptor_print (d, &len, err);
  descriptor_free (d);
  rig_close (&rig);
  return text;
}

/* -- What must hold afterwards ------------------------------------------ */

/* Copies are left only in streams: as garbage between grains, after a crash.
 */
static int
check_clean (struct media *media, const struct sparse_header *h,
             struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *bytes = malloc (media->size);

  assert_non_null (bytes);
  if (h->flags & SPARSE_COMPRESSED)
    return 0;
  if (media_pread (media, bytes, media->size, 0, err) == -1)
    return -1;
  if (memmem (bytes, media->size, "vmdkit: text aside", 18))
    return fail (err, ERR_CORRUPT, "a copy was left behind");
  return 0;
}

static int
check_place (struct store *store, const char *top, const char *text,
             struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = open_top (store, top);
  const size_t len = strlen (text);
  CLEANUP_FREE char *there = malloc (len);
  struct sparse_header h;

  read_header (media, &h);
  if (h.magic != SPARSE_MAGIC)
    return 0;
  /* After a crash, an area that grows leaves the cleaning to the next open. */
  if (h.descriptor_offset != 1
      || (h.unclean_shutdown && h.descriptor_size >= 20))
    return fail (err, ERR_CORRUPT,
                 "descriptorOffset %" PRIu64 ", uncleanShutdown %u",
                 h.descriptor_offset, h.unclean_shutdown);
  assert_non_null (there);
  if (media_pread (media, there, len, SECTOR_SIZE, err) == -1)
    return -1;
  if (memcmp (there, text, len) != 0)
    return fail (err, ERR_CORRUPT, "another text is at byte 512");
  return check_clean (media, &h, err);
}

static int
after_replace (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_FREE char *text = get_text (store, top, false, err);

  if (!text)
    return -1;
  if (!strstr (text, "ddb.value = \"") || !strstr (text, "encoding=\"UTF-8\""))
    return fail (err, ERR_CORRUPT, "the old text is there");
  return check_place (store, top, text, err);
}

static int
after_straddling (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_FREE char *text = get_text (store, top, false, err);

  if (!text)
    return -1;
  if (strncmp (text + SECTOR_SIZE - 3 - 5, "\nCID=000", 8) != 0
      || strncmp (text + SECTOR_SIZE, "00001", 5) == 0)
    return fail (err, ERR_CORRUPT, "the content ID is %.8s",
                 text + SECTOR_SIZE - 3);
  return check_place (store, top, text, err);
}

static int
after_begin (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_FREE char *text = get_text (store, top, false, err);

  if (!text)
    return -1;
  if (strstr (text, "changeTrackPath") || strstr (text, "01234567\""))
    return fail (err, ERR_CORRUPT, "the old text is there");
  return check_place (store, top, text, err);
}

/* -- The tests ---------------------------------------------------------- */

#define REPLACE .run = set_long, .after = after_replace
#define BEGIN .run = begin, .after = after_begin

static const struct maintenance ops[] = {
  { .name = "long text, sparse", .flavour = "sparse, small grains", REPLACE },
  { .name = "short text, sparse",
    .flavour = "sparse, tables missing",
    .run = set_short,
    .after = after_replace },
  { .name = "long text, child", .flavour = "child over flat", REPLACE },
  { .name = "long text, stream", .flavour = "stream, small grains", REPLACE },
  { .name = "long text, open stream",
    .prepare = prepare_open_stream,
    REPLACE },
  { .name = "larger area, sparse", .prepare = prepare_short_sparse, REPLACE },
  { .name = "larger area, stream", .prepare = prepare_short_stream, REPLACE },
  { .name = "long text, own file",
    .flavour = "split sparse",
    REPLACE,
    .leaves_nothing = false },
  { .name = "long text, own KDMV file",
    .prepare = prepare_container,
    REPLACE },
  { .name = "content ID in two sectors",
    .prepare = prepare_straddling,
    .run = begin,
    .after = after_straddling },
  { .name = "no tracking, sparse", .prepare = prepare_tracked_sparse, BEGIN },
  { .name = "no tracking, stream", .prepare = prepare_tracked_stream, BEGIN },
  { .name = "no tracking, own file", .prepare = prepare_tracked_split, BEGIN },
};

static void
test_maintenance (void **state)
{
  (void) state;
  for (size_t i = 0; i < COUNT (ops); i++)
    maintenance_check (&ops[i]);
}

static void
prepare (const struct maintenance *op, struct built *built)
{
  if (op->prepare)
    op->prepare (built, 1);
  else
    build_named (built, op->flavour, 1);
}

/* The text after a cut is OLD or NEW, also once the disk has been opened for
 * writing.  0 for the old one.
 */
static int
check_cut (const struct maintenance *op, const struct replay *replay,
           const char *top, size_t at, enum power_cut cut, uint64_t seed,
           const char *old, const char *new)
{
  struct store *store = replay_cut (replay, cut, seed);
  struct vmdk_error err;
  CLEANUP_FREE char *text = get_text (store, top, false, &err);
  CLEANUP_FREE char *again = text ? get_text (store, top, true, &err) : NULL;

  if (!again || (strcmp (text, old) != 0 && strcmp (text, new) != 0)
      || strcmp (text, again) != 0)
    print_error ("%s: cut %d after %zu changes, seed %" PRIu64 ": %s\n",
                 op->name, cut, at, seed, again ? text : err.text);
  assert_non_null (again);
  assert_string_equal (text, again);
  assert_true (strcmp (text, old) == 0 || strcmp (text, new) == 0);
  store_close (store);
  return strcmp (text, old) != 0;
}

static void
check_texts (const struct maintenance *op, unsigned *nr_cuts)
{
  unsigned nr_old = 0, nr_new = 0;
  struct built built;
  struct vmdk_error err;
  struct replay *replay;
  size_t first, end;
  char *old, *new;

  prepare (op, &built);
  old = get_text (built.store, built.top, false, &err);
  must (old ? 0 : -1, &err);
  first = store_fault_nr_ops (built.store);
  must (op->run (built.store, built.top, &err), &err);
  end = store_fault_nr_ops (built.store);
  new = get_text (built.store, built.top, false, &err);
  must (new ? 0 : -1, &err);
  assert_string_not_equal (old, new);

  replay = replay_new (built.store);
  for (size_t at = first; at <= end; at++) {
    replay_to (replay, at);
    for (int cut = CUT_LOSES_ALL; cut <= CUT_BY_FILES; cut++)
      for (uint64_t seed = 0; seed < (cut == CUT_BY_SECTORS ? NR_SEEDS : 2);
           seed++) {
        if (check_cut (op, replay, built.top, at, cut, seed, old, new) == 0)
          nr_old++;
        else
          nr_new++;
      }
  }
  assert_true (nr_old > 0 && nr_new > 0);
  *nr_cuts += nr_old + nr_new;
  replay_free (replay);
  free (old);
  free (new);
  built_free (&built);
}

static void
test_texts (void **state)
{
  unsigned nr_cuts = 0;

  (void) state;
  for (size_t i = 0; i < COUNT (ops); i++)
    check_texts (&ops[i], &nr_cuts);
  print_message ("%u cuts\n", nr_cuts);
}

/* -- One session -------------------------------------------------------- */

/* Some requests; those that fail may only do so because the end of the file
 * is in the way, or the area has grown.
 */
static void
use (struct rig *rig, unsigned nr, bool may_fail)
{
  for (unsigned i = 0; i < nr; i++) {
    struct vmdk_error err = { 0 };
    const enum outcome outcome = rig_step (rig, &err);

    if (outcome != WENT_WELL && !(may_fail && err.kind == ERR_READ_ONLY))
      print_error ("%s%s\n", err.text, rig->text);
    assert_true (outcome == WENT_WELL
                 || (may_fail && err.kind == ERR_READ_ONLY));
    if (outcome != WENT_WELL) {
      assert_non_null (strstr (err.text, "open the disk again"));
      assert_int_equal (rig_settle (rig), WENT_WELL);
    }
  }
}

/* The end of the first place that is empty so far: its grain is completed
 * with what the new room has, which is zeros.
 */
static void
fill_hole (struct rig *rig, const struct built *built)
{
  uint8_t buf[SECTOR_SIZE];
  struct vmdk_error err;
  uint64_t at = 0;

  while (!bytes_are_zero (built->bytes + at, SMALL_GRAIN)) {
    at += SMALL_GRAIN;
    if (at + SMALL_GRAIN > built->size)
      return; /* flat */
  }
  at += SMALL_GRAIN - SECTOR_SIZE;
  history_stamp (buf, sizeof buf, at, history_next_stamp (rig->history));
  history_write_begin (rig->history, buf, sizeof buf, at,
                       store_fault_nr_ops (rig->store));
  if (disk_write (rig->disk, buf, sizeof buf, at, &err) == -1)
    assert_int_equal (err.kind, ERR_READ_ONLY);
  history_write_end (rig->history, sizeof buf, at);
  assert_int_equal (rig_settle (rig), WENT_WELL);
}

/* Write (or not yet: then the copy is where the next grain will be), let call
 * NTH of the replacement fail, write, replace, write.  False when there were
 * not so many calls.
 */
static bool
check_session (const struct maintenance *op, bool written, uint64_t nth)
{
  const struct fault none = { 0 };
  const struct fault fault = { .kinds = FAULT_CHANGES & ~FAULT_FLUSH,
                               .nth = nth,
                               .errnum = EIO };
  struct vmdk_error err = { 0 };
  struct built built;
  struct rig rig;
  bool met;
  int r;

  prepare (op, &built);
  must (rig_open (&rig, built.store, built.top, true, nth, &err), &err);
  rig.history = history_new (built.bytes, built.size);
  if (written)
    use (&rig, 5, false);
  assert_int_equal (rig_flush (&rig, &err), WENT_WELL);

  store_fault_set (built.store, &fault);
  r = replace_in (&rig, long_value, &err);
  met = store_fault_hits (built.store) > 0;
  store_fault_set (built.store, &none);
  assert_int_equal (r, met ? -1 : 0);
  if (!written)
    fill_hole (&rig, &built);
  use (&rig, 5, true);
  must (replace_in (&rig, long_value, &err), &err);
  use (&rig, 10, op->prepare != NULL);
  must (disk_finish (rig.disk, &err), &err);
  assert_int_equal (rig_compare (&rig), WENT_WELL);

  struct history *history = rig.history;
  rig_close (&rig);
  must (rig_open (&rig, built.store, built.top, true, nth, &err), &err);
  rig.history = history;
  assert_int_equal (rig_compare (&rig), WENT_WELL);
  use (&rig, 10, false);
  must (disk_finish (rig.disk, &err), &err);
  rig_close (&rig);
  history_free (history);
  must (after_replace (built.store, built.top, &err), &err);
  built_free (&built);
  return met;
}

/* What a failed call left at the file's end gets into no grain. */
static void
test_sessions (void **state)
{
  (void) state;
  for (size_t i = 0; i < COUNT (ops); i++) {
    uint64_t nth = 1;

    if (ops[i].run != set_long)
      continue;
    while (check_session (&ops[i], false, nth))
      nth++;
    assert_true (nth > 1);
    for (nth = 1; check_session (&ops[i], true, nth); nth++)
      ;
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_texts),
    cmocka_unit_test (test_sessions),
    cmocka_unit_test (test_maintenance),
  };

  memset (long_value, 'v', LONG_VALUE);
  return cmocka_run_group_tests (tests, NULL, NULL);
}
