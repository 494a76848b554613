/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading ahead.  See nfc-ahead.h.
 *
 * A slot holds one block of the disk.
 *
 *   FREE ---> FLYING ---> READY ---> FREE
 *               |                      when used up, forgotten, or needed
 *               +-> FREE               when it failed or was forgotten
 *
 * Whoever waits for a flying block holds a reference; the last of them, when
 * the block has come, gives the session back.
 */

#include <config.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "nfc-ahead.h"

#define BLOCK NFC_MAX_IO
#define MAX_SLOTS 40
#define REST 1000               /* reads, after a block that was refused */
#define ENOUGH 3                /* reads in sequence that make us begin */
#define SLACK (8 * 1024 * 1024) /* requests of several threads overtake */

enum slot_state { FREE, FLYING, READY };

struct slot {
  enum slot_state state;
  bool stale; /* flying, and not to be used */
  uint64_t offset;
  uint32_t count, used;
  unsigned waiting;
  uint64_t age;
  uint8_t *bytes; /* kept from block to block */
  struct nfc_session *session;
  struct nfc_op op;
};

struct nfc_ahead {
  struct nfc_keeper *keeper;
  uint64_t disk_size, reach;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* a block is no longer waited for */
  struct slot slots[MAX_SLOTS];
  size_t nr_slots;
  uint64_t last_end, next, age;
  unsigned in_sequence;
  unsigned rest; /* so many reads go by before we begin again */
};

static void finish_flight (struct nfc_ahead *ahead, struct slot *slot);

/* --------------------------------------------------------------------- */
/* Flights. */

/* Wait for a flying block; lock is held, and let go meanwhile. */
static void
await (struct nfc_ahead *ahead, struct slot *slot)
{
  slot->waiting++;
  pthread_mutex_unlock (&ahead->lock);
  nfc_session_wait (slot->session, &slot->op);
  pthread_mutex_lock (&ahead->lock);
  if (--slot->waiting == 0)
    finish_flight (ahead, slot);
  else
    while (slot->state == FLYING)
      pthread_cond_wait (&ahead->changed, &ahead->lock);
}

static void
finish_flight (struct nfc_ahead *ahead, struct slot *slot)
{
  slot->state =
    slot->op.fault.reason == NFC_FINE && !slot->stale ? READY : FREE;
  /* a host that refuses blocks would refuse the next ones, and each refusal
   * costs a connection
   */
  if (slot->op.fault.reason != NFC_FINE && slot->op.fault.reason != NFC_LOST)
    ahead->rest = REST;
  slot->session = NULL;
  nfc_keeper_put (ahead->keeper);
  pthread_cond_broadcast (&ahead->changed);
}

/* The keeper replaces the session: let go of it. */
static void
drain (void *opaque)
{
  struct nfc_ahead *ahead = opaque;

  LOCK_FOR_SCOPE (&ahead->lock);
  for (size_t i = 0; i < ahead->nr_slots; i++)
    if (ahead->slots[i].state == FLYING)
      await (ahead, &ahead->slots[i]);
}

static struct slot *
find (struct nfc_ahead *ahead, uint64_t offset)
{
  for (size_t i = 0; i < ahead->nr_slots; i++) {
    struct slot *slot = &ahead->slots[i];

    if (slot->state != FREE && !slot->stale
        && offset - slot->offset < slot->count)
      return slot;
  }
  return NULL;
}

/* A slot for another block: a free one, or the one not used for longest. */
static struct slot *
choose (struct nfc_ahead *ahead)
{
  struct slot *oldest = NULL;

  for (size_t i = 0; i < ahead->nr_slots; i++) {
    struct slot *slot = &ahead->slots[i];

    if (slot->state == FLYING && slot->waiting == 0
        && nfc_session_is_done (slot->session, &slot->op))
      finish_flight (ahead, slot);
    if (slot->state == FREE)
      return slot;
    if (slot->state == READY && (!oldest || slot->age < oldest->age))
      oldest = slot;
  }
  return oldest;
}

/* Request the block at OFFSET; NULL: not now. */
static struct slot *
launch (struct nfc_ahead *ahead, uint64_t offset,
        enum nfc_compression compression)
{
  struct slot *slot = choose (ahead);
  struct nfc_session *session;

  /* what was fetched and not used yet is not given up for what comes later */
  if (!slot || (slot->state == READY && slot->offset >= ahead->last_end))
    return NULL;
  if (!slot->bytes)
    slot->bytes = malloc (BLOCK);
  session = slot->bytes ? nfc_keeper_try_get (ahead->keeper) : NULL;
  if (!session)
    return NULL;
  slot->state = FREE;
  slot->offset = offset;
  slot->count = (uint32_t) min_u64 (BLOCK, ahead->disk_size - offset);
  slot->used = 0;
  slot->stale = false;
  slot->age = ++ahead->age;
  slot->op = (struct nfc_op){ .type = NFC_IO,
                              .buf = slot->bytes,
                              .offset = offset,
                              .count = slot->count,
                              .compression = compression };
  if (!nfc_session_try_submit (session, &slot->op)) {
    nfc_keeper_put (ahead->keeper);
    return NULL;
  }
  slot->session = session;
  slot->state = FLYING;
  return slot;
}

/* --------------------------------------------------------------------- */
/* What is read. */

static bool
goes_on (const struct nfc_ahead *ahead, uint64_t offset)
{
  const uint64_t end = ahead->last_end;

  return offset <= end + SLACK && offset + SLACK >= end;
}

void
nfc_ahead_note (struct nfc_ahead *ahead, uint64_t offset, uint64_t count,
                enum nfc_compression compression)
{
  LOCK_FOR_SCOPE (&ahead->lock);
  if (ahead->rest > 0) {
    ahead->rest--;
    return;
  }
  if (!goes_on (ahead, offset)) {
    ahead->in_sequence = 0;
    ahead->last_end = ahead->next = offset + count;
    return;
  }
  if (offset + count > ahead->last_end) {
    ahead->last_end = offset + count;
    ahead->in_sequence++;
  }
  if (ahead->in_sequence < ENOUGH)
    return;
  ahead->next = max_u64 (ahead->next, ahead->last_end);
  while (ahead->next < ahead->disk_size
         && ahead->next < ahead->last_end + ahead->reach) {
    const struct slot *slot = find (ahead, ahead->next);

    if (!slot)
      slot = launch (ahead, ahead->next, compression);
    if (!slot)
      return;
    ahead->next = slot->offset + slot->count;
  }
}

/* How far it is to the next block that is here or on its way. */
static size_t
until_next (struct nfc_ahead *ahead, size_t count, uint64_t offset)
{
  for (size_t i = 0; i < ahead->nr_slots; i++) {
    const struct slot *slot = &ahead->slots[i];

    if (slot->state != FREE && !slot->stale && slot->offset > offset
        && slot->offset - offset < count)
      count = slot->offset - offset;
  }
  return count;
}

size_t
nfc_ahead_take (struct nfc_ahead *ahead, void *buf, size_t count,
                uint64_t offset, size_t *missing)
{
  struct slot *slot;

  LOCK_FOR_SCOPE (&ahead->lock);
  while ((slot = find (ahead, offset)) && slot->state == FLYING)
    await (ahead, slot);
  if (!slot) {
    *missing = until_next (ahead, count, offset);
    return 0;
  }
  count = min_u64 (count, slot->offset + slot->count - offset);
  /* a memory copy of at most a block: not worth letting others in */
  memcpy (buf, slot->bytes + (offset - slot->offset), count);
  slot->used += (uint32_t) count;
  slot->age = ++ahead->age;
  if (slot->used >= slot->count)
    slot->state = FREE;
  return count;
}

void
nfc_ahead_forget (struct nfc_ahead *ahead, uint64_t offset, uint64_t count)
{
  LOCK_FOR_SCOPE (&ahead->lock);
  for (size_t i = 0; i < ahead->nr_slots; i++) {
    struct slot *slot = &ahead->slots[i];

    if (!ranges_overlap (slot->offset, slot->count, offset, count))
      continue;
    if (slot->state == READY)
      slot->state = FREE;
    else if (slot->state == FLYING)
      slot->stale = true;
  }
}

/* --------------------------------------------------------------------- */

struct nfc_ahead *
nfc_ahead_new (struct nfc_keeper *keeper, uint64_t disk_size, uint64_t bytes,
               struct nfc_fault *fault)
{
  struct nfc_ahead *ahead = calloc (1, sizeof *ahead);

  if (!ahead) {
    fail_memory (&fault->error);
    fault->reason = NFC_FAILED;
    return NULL;
  }
  ahead->keeper = keeper;
  ahead->disk_size = disk_size;
  ahead->reach = bytes;
  ahead->last_end = ahead->next = UINT64_MAX / 2; /* nothing goes on there */
  /* a few more than can fly: those that are being used */
  ahead->nr_slots = min_u64 (bytes / BLOCK + 4, MAX_SLOTS);
  pthread_mutex_init (&ahead->lock, NULL);
  pthread_cond_init (&ahead->changed, NULL);
  nfc_keeper_set_hook (keeper, (struct nfc_keeper_hook){ drain, ahead });
  return ahead;
}

void
nfc_ahead_free (struct nfc_ahead *ahead)
{
  if (!ahead)
    return;
  nfc_keeper_set_hook (ahead->keeper, (struct nfc_keeper_hook){ 0 });
  drain (ahead);
  for (size_t i = 0; i < MAX_SLOTS; i++)
    free (ahead->slots[i].bytes);
  pthread_cond_destroy (&ahead->changed);
  pthread_mutex_destroy (&ahead->lock);
  free (ahead);
}
