/* SPDX-License-Identifier: BSD-3-Clause */

/* The threads of a copy.  See copy.h.
 *
 * The pieces are numbered in ascending order of their offsets; piece N has
 * slot N modulo the number of slots, and must wait until that is free.  Each
 * thread takes what there is to do: rather store than place, rather place
 * than begin another piece, so that slots become free.
 *
 * The lock guards the states and the counters.  It is held across nothing:
 * whoever looks for the next piece, or places one, has raised a flag that
 * keeps the others from doing the same.
 */

#include <config.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checked.h"
#include "cleanup.h"
#include "copy.h"
#include "deadline.h"

/* More threads than that only get in each other's way. */
#define MAX_THREADS 64

/* For each thread, when pieces are placed in order: one to work on and one
 * that waits for an earlier one; and some more, for few threads.
 */
#define SLOTS_PER_THREAD 2
#define MORE_SLOTS 4

#define ZERO_AT_ONCE (UINT64_C (1) << 30)

/* Progress is told so often. */
#define TICK_MS 100

enum slot_state {
  SLOT_FREE,
  SLOT_BUSY,   /* somebody fills, places or stores it */
  SLOT_FILLED, /* waits for its turn to be placed */
  SLOT_PLACED, /* waits to be stored */
};

struct slot {
  enum slot_state state;
  struct copy_piece piece;
};

struct copy {
  const struct copy_source *source;
  const struct copy_target *target;

  pthread_mutex_t lock;   /* guards what follows */
  pthread_cond_t changed; /* there may be something to do */
  pthread_cond_t ended;   /* nr_running is 0 */
  struct slot *slots;
  size_t nr_slots;
  uint64_t next;     /* number of the next piece to begin */
  uint64_t head;     /* number of the next to be placed */
  uint64_t position; /* everything before it was begun */
  bool searching;    /* somebody looks for the next piece */
  bool placing;      /* somebody places a piece */
  bool all_begun;
  unsigned nr_busy; /* slots that are not free */
  unsigned nr_running;
  _Atomic bool failed;   /* also looked at without the lock */
  struct vmdk_error err; /* the first one */

  /* Only of whoever has raised searching. */
  uint64_t data_stop; /* from position to there all is data */
};

/* -- Slots -------------------------------------------------------------- */

static int
make_slots (struct copy *copy, size_t nr, struct vmdk_error *err)
{
  const struct copy_target *target = copy->target;

  copy->slots = calloc (nr, sizeof *copy->slots);
  if (!copy->slots)
    return fail_memory (err);
  copy->nr_slots = nr;
  for (size_t i = 0; i < nr; i++) {
    struct copy_piece *piece = &copy->slots[i].piece;

    /* Sectors of direct I/O and vectors of zeros like that. */
    if (posix_memalign ((void **) &piece->bytes, 4096, COPY_PIECE_SIZE) != 0)
      piece->bytes = NULL;
    piece->lengths = calloc (COPY_PIECE_SIZE / target->unit, sizeof (size_t));
    piece->extra = target->extra_size ? malloc (target->extra_size) : NULL;
    if (!piece->bytes || !piece->lengths
        || (target->extra_size && !piece->extra))
      return fail_memory (err);
  }
  return 0;
}

static void
free_slots (struct copy *copy)
{
  for (size_t i = 0; i < copy->nr_slots; i++) {
    free (copy->slots[i].piece.bytes);
    free (copy->slots[i].piece.lengths);
    free (copy->slots[i].piece.extra);
  }
  free (copy->slots);
}

/* With the lock held. */
static struct slot *
slot_of (struct copy *copy, uint64_t number)
{
  return &copy->slots[number % copy->nr_slots];
}

static struct slot *
find_placed (struct copy *copy)
{
  for (size_t i = 0; copy->target->store && i < copy->nr_slots; i++)
    if (copy->slots[i].state == SLOT_PLACED)
      return &copy->slots[i];
  return NULL;
}

/* -- What a thread does ------------------------------------------------- */

/* With the lock held, as all that follow; they give it up meanwhile. */
static void
end_step (struct copy *copy, struct slot *slot, enum slot_state state, int r,
          const struct vmdk_error *err)
{
  pthread_mutex_lock (&copy->lock);
  if (slot) {
    slot->state = state;
    copy->nr_busy -= state == SLOT_FREE;
  }
  if (r == -1 && !copy->failed) {
    copy->failed = true;
    copy->err = *err;
  }
  pthread_cond_broadcast (&copy->changed);
}

static void
store_piece (struct copy *copy, struct slot *slot)
{
  const struct copy_target *target = copy->target;
  struct vmdk_error err;
  int r;

  slot->state = SLOT_BUSY;
  pthread_mutex_unlock (&copy->lock);
  r = target->store (target->opaque, &slot->piece, &err);
  end_step (copy, slot, SLOT_FREE, r, &err);
}

static void
place_piece (struct copy *copy, struct slot *slot)
{
  const struct copy_target *target = copy->target;
  struct vmdk_error err;
  int r;

  slot->state = SLOT_BUSY;
  copy->placing = true;
  pthread_mutex_unlock (&copy->lock);
  r = target->place (target->opaque, &slot->piece, &err);
  end_step (copy, slot, target->store ? SLOT_PLACED : SLOT_FREE, r, &err);
  copy->placing = false;
  copy->head++;
}

/* Find the data at or after OFFSET: from *start to copy->data_stop.  When
 * there are none, *start is the end.
 */
static int
find_data (struct copy *copy, uint64_t offset, uint64_t *start,
           struct vmdk_error *err)
{
  const struct copy_source *source = copy->source;

  *start = offset;
  if (copy->target->takes_zeros)
    copy->data_stop = source->size;
  while (*start >= copy->data_stop && *start < source->size) {
    if (source->find_data (source->opaque, *start, source->size, start,
                           &copy->data_stop, err)
        == -1)
      return -1;
    if (copy->failed)
      return fail (err, ERR_SYSTEM, "stopped");
  }
  return 0;
}

/* Not all at once: who wants to stop would have to wait for it. */
static int
zero_between (struct copy *copy, uint64_t from, uint64_t to,
              struct vmdk_error *err)
{
  const struct copy_target *target = copy->target;

  while (target->zero && from < to) {
    const uint64_t count = min_u64 (to - from, ZERO_AT_ONCE);

    if (copy->failed)
      return fail (err, ERR_SYSTEM, "stopped");
    if (target->zero (target->opaque, from, count, err) == -1)
      return -1;
    from += count;
  }
  return 0;
}

/* The next piece: whole units around the next data. */
static int
next_piece (struct copy *copy, uint64_t offset, struct copy_piece *piece,
            struct vmdk_error *err)
{
  const uint64_t unit = copy->target->unit, size = copy->source->size;
  uint64_t start, stop;

  if (find_data (copy, offset, &start, err) == -1)
    return -1;
  if (start < size)
    start = max_u64 (start / unit * unit, offset);
  stop = min_u64 (copy->data_stop, start + COPY_PIECE_SIZE);
  piece->offset = start;
  piece->count = start < size
                   ? min_u64 (div_round_up (stop, unit) * unit, size) - start
                   : 0;
  return zero_between (copy, offset, start, err);
}

static int
fill_piece (struct copy *copy, struct copy_piece *piece,
            struct vmdk_error *err)
{
  const struct copy_source *source = copy->source;
  const struct copy_target *target = copy->target;
  const size_t whole =
    div_round_up (piece->count, target->unit) * target->unit;

  if (source->read (source->opaque, piece->bytes, piece->count, piece->offset,
                    err)
      == -1)
    return -1;
  memset (piece->bytes + piece->count, 0, whole - piece->count);
  return target->fill (target->opaque, piece, err);
}

/* Find another piece, for SLOT, and fill it. */
static void
begin_piece (struct copy *copy, struct slot *slot)
{
  const uint64_t offset = copy->position;
  const bool ordered = copy->target->place;
  struct vmdk_error err;
  int r;

  copy->searching = true;
  pthread_mutex_unlock (&copy->lock);
  r = next_piece (copy, offset, &slot->piece, &err);
  end_step (copy, NULL, SLOT_FREE, r, &err);
  copy->searching = false;
  if (r == -1)
    return;
  copy->position = slot->piece.offset + slot->piece.count;
  if (slot->piece.count == 0) {
    copy->all_begun = true;
    return;
  }
  slot->state = SLOT_BUSY;
  copy->nr_busy++;
  copy->next++;
  pthread_mutex_unlock (&copy->lock);
  r = fill_piece (copy, &slot->piece, &err);
  end_step (copy, slot, ordered ? SLOT_FILLED : SLOT_FREE, r, &err);
}

/* Returns whether there may be more to do. */
static bool
step (struct copy *copy)
{
  struct slot *placed = find_placed (copy);

  if (copy->failed || (copy->all_begun && copy->nr_busy == 0))
    return false;
  if (placed)
    store_piece (copy, placed);
  else if (!copy->placing && copy->target->place && copy->head < copy->next
           && slot_of (copy, copy->head)->state == SLOT_FILLED)
    place_piece (copy, slot_of (copy, copy->head));
  else if (!copy->searching && !copy->all_begun
           && slot_of (copy, copy->next)->state == SLOT_FREE)
    begin_piece (copy, slot_of (copy, copy->next));
  else
    pthread_cond_wait (&copy->changed, &copy->lock);
  return true;
}

static void *
work (void *opaque)
{
  struct copy *copy = opaque;
  LOCK_FOR_SCOPE (&copy->lock);

  while (step (copy))
    ;
  if (--copy->nr_running == 0)
    pthread_cond_signal (&copy->ended);
  return NULL;
}

/* -- The calling thread ------------------------------------------------- */

unsigned
copy_threads (unsigned wanted)
{
  long n = sysconf (_SC_NPROCESSORS_ONLN);
#ifdef CPU_COUNT
  cpu_set_t set;

  if (sched_getaffinity (0, sizeof set, &set) == 0)
    n = CPU_COUNT (&set);
#endif
  if (wanted == 0)
    wanted = n > 0 ? (unsigned) n : 1;
  return (unsigned) min_u64 (wanted, MAX_THREADS);
}

/* With the lock held.  Some threads are as good as all that were wanted. */
static int
start_threads (struct copy *copy, pthread_t *threads, unsigned wanted,
               struct vmdk_error *err)
{
  for (unsigned i = 0; i < wanted; i++) {
    const int errnum = pthread_create (&threads[i], NULL, work, copy);

    if (errnum && i == 0)
      return fail_errno (err, errnum, "starting a thread");
    if (errnum)
      break;
    copy->nr_running++;
  }
  return 0;
}

static void
wait_a_tick (struct copy *copy)
{
  const struct timespec until = deadline_after (TICK_MS);

  while (copy->nr_running > 0)
    if (pthread_cond_timedwait (&copy->ended, &copy->lock, &until) != 0)
      break;
}

static int
tell_progress (const struct copy_share *share, uint64_t done,
               struct vmdk_error *err)
{
  return operation_progress (share->operation,
                             min_u64 (share->before + done, share->total),
                             share->total, err);
}

/* With the lock held, until all threads have ended. */
static void
watch (struct copy *copy, const struct copy_share *share)
{
  while (copy->nr_running > 0) {
    const uint64_t done = copy->position;
    struct vmdk_error err;
    int r;

    pthread_mutex_unlock (&copy->lock);
    r = tell_progress (share, done, &err);
    end_step (copy, NULL, SLOT_FREE, r, &err);
    wait_a_tick (copy);
  }
}

static int
run_threads (struct copy *copy, unsigned nr_threads,
             const struct copy_share *share, struct vmdk_error *err)
{
  pthread_t threads[MAX_THREADS];
  unsigned nr;
  int r;

  pthread_mutex_lock (&copy->lock);
  r = start_threads (copy, threads, nr_threads, err);
  nr = copy->nr_running;
  watch (copy, share);
  pthread_mutex_unlock (&copy->lock);
  for (unsigned i = 0; i < nr; i++)
    pthread_join (threads[i], NULL);
  if (copy->failed)
    *err = copy->err;
  return copy->failed ? -1 : r;
}

static void
init_locks (struct copy *copy)
{
  pthread_condattr_t attributes;

  pthread_mutex_init (&copy->lock, NULL);
  pthread_cond_init (&copy->changed, NULL);
  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (&copy->ended, &attributes);
  pthread_condattr_destroy (&attributes);
}

int
copy_run (const struct copy_source *source, const struct copy_target *target,
          unsigned nr_threads, const struct copy_share *share,
          struct vmdk_error *err)
{
  struct copy copy = { .source = source, .target = target };
  const unsigned n = copy_threads (nr_threads);
  int r;

  init_locks (&copy);
  r = make_slots (&copy, target->place ? n * SLOTS_PER_THREAD + MORE_SLOTS : n,
                  err);
  if (r == 0)
    r = run_threads (&copy, n, share, err);
  free_slots (&copy);
  pthread_cond_destroy (&copy.changed);
  pthread_cond_destroy (&copy.ended);
  pthread_mutex_destroy (&copy.lock);
  return r == -1 ? -1 : tell_progress (share, source->size, err);
}
