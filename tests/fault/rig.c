/* SPDX-License-Identifier: BSD-3-Clause */

/* Random requests to a disk beside its history.  See rig.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "rig.h"

#define TABLE_BUDGET ((size_t) 256 << 10)

uint64_t
number_from_environment (const char *name, uint64_t otherwise)
{
  const char *text = getenv (name);

  return text && *text ? strtoull (text, NULL, 0) : otherwise;
}

/* xorshift; the state is never 0. */
uint64_t
rig_random (uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static uint64_t
below (struct rig *rig, uint64_t limit)
{
  return rig_random (&rig->seed) % limit;
}

int
rig_open (struct rig *rig, struct store *store, const char *top, bool writable,
          uint64_t seed, struct vmdk_error *err)
{
  struct chain_rules rules = { .writable = writable };

  *rig = (struct rig){ .store = store, .top = top, .seed = seed * 2 + 1 };
  rig->resources = resources_new (TABLE_BUDGET, 1 << 20, err);
  if (!rig->resources)
    return -1;
  rules.open.resources = rig->resources;
  rules.open.lock = true;
  rules.detect_zeroes = seed % 3;
  rig->disk = disk_open (store, top, STORE_FROM_FILE, &rules, err);
  if (!rig->disk) {
    resources_free (rig->resources);
    rig->resources = NULL;
    return -1;
  }
  rig->end = disk_size (rig->disk);
  return 0;
}

void
rig_close (struct rig *rig)
{
  disk_close (rig->disk);
  resources_free (rig->resources);
  rig->disk = NULL;
  rig->resources = NULL;
}

/* -- Requests ----------------------------------------------------------- */

/* The sectors of the request that failed last. */
struct range {
  uint64_t offset, count;
};

static enum outcome
is_wrong (struct rig *rig, const char *what, const struct vmdk_error *err)
{
  snprintf (rig->text, sizeof rig->text, "%s: %s", what, err->text);
  return IS_WRONG;
}

#define SHARE (3 * SECTOR_SIZE)

/* Within one of the pieces that are this rig's share. */
static struct range
choose_shared (struct rig *rig)
{
  const uint64_t nr = rig->shared_end / SHARE / rig->nr_shares;
  const uint64_t first = below (rig, 3);
  const uint64_t piece = below (rig, nr) * rig->nr_shares + rig->share;

  return (struct range){ piece * SHARE + first * SECTOR_SIZE,
                         (1 + below (rig, 3 - first)) * SECTOR_SIZE };
}

/* Mostly small, near the start, at any byte. */
static struct range
choose_range (struct rig *rig)
{
  const uint64_t room = rig->end - rig->start;
  const uint64_t dice = below (rig, 16);
  struct range range;
  uint64_t most = 3000;

  if (rig->nr_shares > 0 && below (rig, 2))
    return choose_shared (rig);
  if (dice == 0)
    most = 300000;
  else if (dice < 4)
    most = 70000;
  range.offset = below (rig, dice % 2 ? room : room / 8 + 1);
  range.count = 1 + below (rig, min_u64 (most, room - range.offset));
  if (dice % 4 != 1 || rig->nr_shares > 0) { /* whole sectors */
    range.offset -= range.offset % SECTOR_SIZE;
    range.count =
      min_u64 (div_round_up (range.count, SECTOR_SIZE) * SECTOR_SIZE,
               room - range.offset);
  }
  range.offset += rig->start;
  return range;
}

/* What the disk has in these sectors is what the history has, or could have.
 */
static enum outcome
settle (struct rig *rig, struct range range, struct vmdk_error *err)
{
  const uint64_t start = range.offset / SECTOR_SIZE * SECTOR_SIZE;
  const uint64_t end =
    div_round_up (range.offset + range.count, SECTOR_SIZE) * SECTOR_SIZE;
  CLEANUP_FREE uint8_t *buf = malloc (end - start);

  if (!buf)
    abort ();
  if (disk_read (rig->disk, buf, end - start, start, err) == -1)
    return FAILED;
  return history_settle (rig->history, buf, end - start, start, rig->text)
             == -1
           ? IS_WRONG
           : WENT_WELL;
}

enum outcome
rig_settle (struct rig *rig)
{
  const struct range all = { rig->start, rig->end - rig->start };
  struct vmdk_error err;
  const enum outcome outcome = settle (rig, all, &err);

  return outcome == FAILED ? is_wrong (rig, "read", &err) : outcome;
}

static enum outcome
write_something (struct rig *rig, struct vmdk_error *err)
{
  const struct range range = choose_range (rig);
  CLEANUP_FREE uint8_t *buf = calloc (1, range.count);
  int r;

  if (!buf)
    abort ();
  if (below (rig, 16) != 0) /* else zeros */
    history_stamp (buf, range.count, range.offset,
                   history_next_stamp (rig->history));
  history_write_begin (rig->history, buf, range.count, range.offset,
                       store_fault_nr_ops (rig->store));
  r = disk_write (rig->disk, buf, range.count, range.offset, err);
  history_write_end (rig->history, range.count, range.offset);
  return r == -1 ? FAILED : WENT_WELL;
}

static enum outcome
zero_something (struct rig *rig, struct vmdk_error *err)
{
  const struct range range = choose_range (rig);
  const unsigned flags = below (rig, 8);
  int r;

  history_write_begin (rig->history, NULL, range.count, range.offset,
                       store_fault_nr_ops (rig->store));
  r = disk_zero (rig->disk, range.count, range.offset, flags, err);
  history_write_end (rig->history, range.count, range.offset);
  if (r == 0)
    return WENT_WELL;
  if ((flags & DISK_ZERO_FAST) && err->errnum == ENOTSUP)
    return settle (rig, range, err);
  return FAILED;
}

static enum outcome
trim_something (struct rig *rig, struct vmdk_error *err)
{
  const struct range range = choose_range (rig);
  int r;

  history_write_begin (rig->history, NULL, range.count, range.offset,
                       store_fault_nr_ops (rig->store));
  r = disk_trim (rig->disk, range.count, range.offset, err);
  history_write_end (rig->history, range.count, range.offset);
  return r == -1 ? FAILED : settle (rig, range, err);
}

static enum outcome
read_something (struct rig *rig, struct vmdk_error *err)
{
  const struct range range = choose_range (rig);
  CLEANUP_FREE uint8_t *buf = malloc (range.count);

  if (!buf)
    abort ();
  if (disk_read (rig->disk, buf, range.count, range.offset, err) == -1)
    return FAILED;
  return history_compare (rig->history, buf, range.count, range.offset,
                          rig->text)
             == -1
           ? IS_WRONG
           : WENT_WELL;
}

enum outcome
rig_flush (struct rig *rig, struct vmdk_error *err)
{
  const uint64_t began = history_flush_begin (rig->history);

  if (disk_flush (rig->disk, err) == -1)
    return FLUSH_FAILED;
  history_flush_end (rig->history, began, store_fault_nr_ops (rig->store));
  return WENT_WELL;
}

enum outcome
rig_step (struct rig *rig, struct vmdk_error *err)
{
  const uint64_t dice = below (rig, 16);

  if (dice < 8)
    return write_something (rig, err);
  if (dice < 10)
    return zero_something (rig, err);
  if (dice < 12)
    return trim_something (rig, err);
  if (dice < 14)
    return rig_flush (rig, err);
  return read_something (rig, err);
}

/* -- Threads ------------------------------------------------------------ */

struct worker {
  struct rig rig;
  unsigned nr_steps;
  enum outcome outcome;
  struct vmdk_error err;
  pthread_t thread;
};

static void *
work (void *opaque)
{
  struct worker *worker = opaque;

  for (unsigned i = 0; i < worker->nr_steps; i++) {
    worker->outcome = rig_step (&worker->rig, &worker->err);
    if (worker->outcome != WENT_WELL)
      break;
  }
  return NULL;
}

/* The first quarter is dealt out, the rest is cut into pieces. */
static void
start_worker (struct worker *worker, const struct rig *rig, unsigned i,
              unsigned nr)
{
  const uint64_t nr_sectors = bytes_to_sectors (rig->end);
  const uint64_t shared = nr_sectors / 4;
  const uint64_t rest = nr_sectors - shared;

  memset (worker, 0, sizeof *worker);
  worker->rig = *rig;
  worker->rig.seed = (rig->seed + i) * 2 + 1;
  worker->rig.share = i;
  worker->rig.nr_shares = nr;
  worker->rig.shared_end = sectors_to_bytes (shared);
  worker->rig.start = sectors_to_bytes (shared + rest * i / nr);
  worker->rig.end = sectors_to_bytes (shared + rest * (i + 1) / nr);
}

enum outcome
rig_run_threads (struct rig *rig, unsigned nr_threads, unsigned nr_steps,
                 struct vmdk_error *err)
{
  CLEANUP_FREE struct worker *workers = calloc (nr_threads, sizeof *workers);
  enum outcome outcome = WENT_WELL;

  if (!workers)
    abort ();
  for (unsigned i = 0; i < nr_threads; i++) {
    start_worker (&workers[i], rig, i, nr_threads);
    workers[i].nr_steps = nr_steps;
    if (pthread_create (&workers[i].thread, NULL, work, &workers[i]) != 0)
      abort ();
  }
  for (unsigned i = 0; i < nr_threads; i++) {
    pthread_join (workers[i].thread, NULL);
    if (workers[i].outcome == WENT_WELL)
      continue;
    outcome = workers[i].outcome;
    *err = workers[i].err;
    memcpy (rig->text, workers[i].rig.text, sizeof rig->text);
  }
  rig_random (&rig->seed);
  return outcome;
}

/* -- The whole disk ----------------------------------------------------- */

uint8_t *
rig_read_all (struct rig *rig, struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *buf = malloc (disk_size (rig->disk));

  if (!buf)
    abort ();
  if (disk_read (rig->disk, buf, disk_size (rig->disk), 0, err) == -1)
    return NULL;
  return steal_ptr (&buf);
}

enum outcome
rig_compare (struct rig *rig)
{
  struct vmdk_error err;
  CLEANUP_FREE uint8_t *buf = rig_read_all (rig, &err);

  if (!buf)
    return is_wrong (rig, "read", &err);
  return history_compare (rig->history, buf, disk_size (rig->disk), 0,
                          rig->text)
             == -1
           ? IS_WRONG
           : WENT_WELL;
}
