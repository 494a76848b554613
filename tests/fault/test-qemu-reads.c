/* SPDX-License-Identifier: BSD-3-Clause */

/* What qemu makes of disks as power cuts leave them: its check finds leaks at
 * most, and it reads what we read.
 *
 * FAULT_QEMU is how many cuts there are of each kind of disk, FAULT_SEED the
 * first workload's seed, FAULT_FLAVOUR the only kind of disk.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "folder-helper.h"
#undef fail /* the name is error.h's */
#include "checked.h"
#include "rig.h"

#define DEFAULT_CUTS 6
#define NR_STEPS 40
#define SKIPPED 77
#define LEAKS 3 /* qemu-img check's exit status */

/* One cut, for messages. */
struct sample {
  size_t flavour;
  uint64_t seed;
  size_t at; /* changes */
  enum power_cut cut;
};

static void __attribute__ ((noreturn))
broken (const struct sample *s, const char *what, const char *text)
{
  print_error ("%s, seed %" PRIu64 ", cut after %zu changes, kind %u\n"
               "%s: %s\n",
               flavour_name (s->flavour), s->seed, s->at, s->cut, what, text);
  _fail (__FILE__, __LINE__);
  abort ();
}

/* -- qemu --------------------------------------------------------------- */

/* The exit status of a shell command in the folder; what it says is in the
 * file "said".
 */
static int
run (const char *command)
{
  char text[500];
  int r;

  snprintf (text, sizeof text, "cd %s && { %s; } > said 2>&1", folder,
            command);
  r = system (text);
  return WIFEXITED (r) ? WEXITSTATUS (r) : -1;
}

/* The file NAME of the folder, one byte longer, the last one 0. */
static uint8_t *
read_file (const char *name, size_t *size)
{
  char path[300];
  uint8_t *bytes;
  FILE *file;

  snprintf (path, sizeof path, "%s/%s", folder, name);
  file = fopen (path, "rb");
  assert_non_null (file);
  assert_int_equal (fseek (file, 0, SEEK_END), 0);
  *size = (size_t) ftell (file);
  rewind (file);
  bytes = calloc (1, *size + 1);
  assert_non_null (bytes);
  assert_int_equal (fread (bytes, 1, *size, file), *size);
  fclose (file);
  return bytes;
}

static void
ask_qemu (const struct sample *s, const char *what, const char *command,
          int also)
{
  const int r = run (command);
  size_t size;

  if (r != 0 && r != also)
    broken (s, what, (const char *) read_file ("said", &size));
}

/* -- Files -------------------------------------------------------------- */

static int
put_out (void *opaque, const char *name, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media =
    store_open (opaque, name, STORE_FROM_FILE, err);
  CLEANUP_FREE uint8_t *bytes = NULL;

  if (!media)
    return -1;
  bytes = malloc (media->size + 1);
  assert_non_null (bytes);
  if (media_pread (media, bytes, media->size, 0, err) == -1)
    return -1;
  write_file (name, bytes, media->size);
  return 0;
}

/* What we read of the disk, without changing it. */
static uint8_t *
read_disk (const struct sample *s, struct store *store, const char *top,
           uint64_t *size)
{
  struct vmdk_error err;
  struct rig rig;
  uint8_t *bytes;

  if (rig_open (&rig, store, top, false, s->seed, &err) == -1)
    broken (s, "open", err.text);
  *size = rig.end;
  bytes = rig_read_all (&rig, &err);
  if (!bytes)
    broken (s, "read", err.text);
  rig_close (&rig);
  return bytes;
}

/* Flat disks have nothing that could be checked. */
static bool
has_check (size_t flavour)
{
  const char *name = flavour_name (flavour);

  return strcmp (name, "flat") != 0 && strcmp (name, "split flat") != 0;
}

/* Without its footer, which is written last, qemu cannot read one. */
static bool
is_stream (size_t flavour)
{
  return strncmp (flavour_name (flavour), "stream", 6) == 0;
}

/* Its extents end within grains, of which qemu reads all, though what follows
 * belongs to the next extent.
 */
static bool
is_misread (size_t flavour)
{
  return strcmp (flavour_name (flavour), "split sparse") == 0;
}

static void
compare (const struct sample *s, struct store *store, const char *top)
{
  CLEANUP_FREE uint8_t *ours = NULL, *theirs = NULL;
  char command[200];
  uint64_t size;
  size_t their_size;
  struct vmdk_error err;

  assert_int_equal (run ("rm -f *"), 0);
  if (store_list (store, put_out, store, &err) == -1)
    broken (s, "export", err.text);
  snprintf (command, sizeof command, "qemu-img check -f vmdk %s", top);
  if (has_check (s->flavour))
    ask_qemu (s, "check", command, LEAKS);
  snprintf (command, sizeof command, "qemu-img convert -f vmdk -O raw %s raw",
            top);
  ask_qemu (s, "convert", command, 0);
  ours = read_disk (s, store, top, &size);
  theirs = read_file ("raw", &their_size);
  if (their_size != size)
    broken (s, "size", "qemu has another");
  for (uint64_t at = 0; at < size && !is_misread (s->flavour);
       at += SECTOR_SIZE)
    if (memcmp (ours + at, theirs + at, SECTOR_SIZE) != 0) {
      snprintf (command, sizeof command,
                "qemu reads something else than we do in sector %" PRIu64,
                at / SECTOR_SIZE);
      broken (s, "contents", command);
    }
}

/* -- Cuts --------------------------------------------------------------- */

static void
run_workload (const struct sample *s, struct built *b)
{
  struct vmdk_error err = { 0 };
  struct rig rig;

  if (rig_open (&rig, b->store, b->top, true, s->seed, &err) == -1)
    broken (s, "open", err.text);
  rig.history = history_new (b->bytes, b->size);
  for (int i = 0; i < NR_STEPS; i++)
    if (rig_step (&rig, &err) != WENT_WELL)
      broken (s, "request", *rig.text ? rig.text : err.text);
  if (s->seed % 2 && disk_finish (rig.disk, &err) == -1)
    broken (s, "finish", err.text);
  history_free (rig.history);
  rig_close (&rig);
}

/* A workload, and one cut of it. */
static void
check_sample (struct sample *s)
{
  uint64_t state = s->seed * 2 + 1;
  struct replay *replay;
  struct store *store;
  struct built b;

  build (&b, s->flavour, s->seed);
  run_workload (s, &b);
  for (int i = 0; i < 8; i++)
    rig_random (&state);
  s->at = rig_random (&state) % (store_fault_nr_ops (b.store) + 1);
  s->cut = rig_random (&state) >> 8 & 3;
  replay = replay_new (b.store);
  replay_to (replay, s->at);
  store = replay_cut (replay, s->cut, s->seed);
  compare (s, store, b.top);
  store_close (store);
  replay_free (replay);
  built_free (&b);
}

static void
test_cuts (void **state)
{
  const uint64_t first = number_from_environment ("FAULT_SEED", 1);
  const uint64_t nr = number_from_environment ("FAULT_QEMU", DEFAULT_CUTS);
  uint64_t done = 0;

  (void) state;
  for (uint64_t seed = first; seed < first + nr; seed++)
    for (size_t flavour = 0; flavour < nr_flavours; flavour++) {
      struct sample s = { .flavour = flavour, .seed = seed };

      if (!flavour_is_wanted (flavour) || is_stream (flavour))
        continue;
      check_sample (&s);
      done++;
    }
  print_message ("%" PRIu64 " power cuts\n", done);
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (test_cuts) };

  if (system ("qemu-img --version > /dev/null 2>&1") != 0) {
    printf ("skipped: this needs qemu-img\n");
    return SKIPPED;
  }
  return cmocka_run_group_tests (tests, make_folder, remove_folder);
}
