/* SPDX-License-Identifier: BSD-3-Clause */

/* Tries an operation of maintenance.  See maintenance.h.
 *
 * What is wrong becomes a text and a return value, not an assertion, so that
 * the rig can be shown operations that it must not accept.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extent-helper.h"
#include "maintenance.h"

/* Sanitizers make all this ten times as slow. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define DEFAULT_MOMENTS 50
#else
#define DEFAULT_MOMENTS 400
#endif

#define NR_STEPS 4
#define MANY_CALLS 100
#define SEEDS_OF_A_CUT 2

/* What a disk reads as. */
struct contents {
  uint8_t *bytes;
  uint64_t size;
};

/* What it is like; a disk that the operation does not change is both. */
enum state {
  AS_BEFORE = 1,
  AS_AFTER = 2,
};

struct trial {
  const struct maintenance *op;
  uint64_t seed;
  struct built built; /* all of it durable, and nothing recorded */
  struct contents before, after;
  char where[500]; /* what was done to the disk, for messages */
  char *text;      /* MAINTENANCE_TEXT_SIZE */
  uint64_t nr_cuts, nr_faults;
};

static int
broken (const struct trial *t, const char *what, const char *why)
{
  snprintf (t->text, MAINTENANCE_TEXT_SIZE,
            "%s of %s, seed %" PRIu64 ": %s\n%s: %s", t->op->name,
            t->op->flavour ? t->op->flavour : t->built.top, t->seed, t->where,
            what, why);
  return -1;
}

static const char *
name_after (const struct trial *t)
{
  return t->op->top_after ? t->op->top_after : t->built.top;
}

/* -- What the disk reads as --------------------------------------------- */

static struct contents
contents_copy (const struct contents *from, uint64_t size)
{
  struct contents to = { calloc (1, size), size };

  if (!to.bytes)
    abort ();
  memcpy (to.bytes, from->bytes, min_u64 (from->size, size));
  return to;
}

static void
contents_reset (struct contents *c)
{
  free (c->bytes);
  *c = (struct contents){ 0 };
}

#define CLEANUP_CONTENTS __attribute__ ((cleanup (contents_reset)))

/* Which states one sector fits. */
static unsigned
judge_sector (const struct trial *t, const uint8_t *bytes, uint64_t offset)
{
  unsigned states = 0;

  if (offset < t->before.size
      && memcmp (bytes, t->before.bytes + offset, SECTOR_SIZE) == 0)
    states |= AS_BEFORE;
  if (offset < t->after.size
      && memcmp (bytes, t->after.bytes + offset, SECTOR_SIZE) == 0)
    states |= AS_AFTER;
  return states;
}

/* Read sector by sector what could not be read at once. */
static int
judge_damaged (const struct trial *t, struct rig *rig, const char *why)
{
  for (uint64_t at = 0; at < rig->end; at += SECTOR_SIZE) {
    uint8_t sector[SECTOR_SIZE];
    struct vmdk_error err;

    if (disk_read (rig->disk, sector, sizeof sector, at, &err) == -1) {
      if (!t->op->damaged_before || err.kind != ERR_DAMAGED)
        return broken (t, "read", why);
    }
    else if (judge_sector (t, sector, at) == 0)
      return broken (t, "contents",
                     "a readable sector of a damaged disk is "
                     "wrong");
  }
  return AS_BEFORE;
}

static int
wrong_sector (const struct trial *t, const uint8_t *bytes, uint64_t offset)
{
  char why[200];

  snprintf (why, sizeof why,
            "sector %" PRIu64 " begins with %016" PRIx64
            ", which is neither as before nor as after, or not what the "
            "sectors in front of it are",
            offset / SECTOR_SIZE, le64_load (bytes + offset));
  return broken (t, "contents", why);
}

/* Which states an open disk fits: at least one, or -1. */
static int
judge_contents (const struct trial *t, struct rig *rig)
{
  unsigned states = AS_BEFORE | AS_AFTER;
  struct vmdk_error err;
  CLEANUP_FREE uint8_t *bytes = rig_read_all (rig, &err);

  if (rig->end != t->before.size)
    states &= ~AS_BEFORE;
  if (rig->end != t->after.size)
    states &= ~AS_AFTER;
  if (states == 0)
    return broken (t, "size", "neither that before the operation nor after");
  if (!bytes)
    return states & AS_BEFORE ? judge_damaged (t, rig, err.text)
                              : broken (t, "read", err.text);
  for (uint64_t at = 0; at < rig->end; at += SECTOR_SIZE) {
    const unsigned fits = judge_sector (t, bytes + at, at);

    if (fits == 0)
      return wrong_sector (t, bytes, at);
    states &= fits;
    if (states == 0 && !t->op->mixed)
      return wrong_sector (t, bytes, at);
  }
  return states ? states : AS_BEFORE; /* mixed: not yet done */
}

/* The disk was opened, and may be like ALLOWED. */
static int
judge_open (const struct trial *t, struct rig *rig, unsigned allowed)
{
  const int states = judge_contents (t, rig);

  rig_close (rig);
  if (states == -1 || (states & allowed))
    return states == -1 ? -1 : (int) (states & allowed);
  return broken (t, "open",
                 states & AS_BEFORE
                   ? "there is a disk as before, where none should be"
                   : "there is a disk as after, where none should be");
}

/* Open the disk under the name that it has, and see what it is like; -1 when
 * that is neither.
 */
static int
judge_names (const struct trial *t, struct store *store)
{
  const struct maintenance *op = t->op;
  unsigned allowed = AS_BEFORE | AS_AFTER;
  struct vmdk_error err, later;
  struct rig rig;

  if (op->error_before != ERR_NONE)
    allowed &= ~AS_BEFORE;
  if (op->top_after)
    allowed &= ~AS_AFTER;
  if (rig_open (&rig, store, t->built.top, false, t->seed, &err) == 0)
    return judge_open (t, &rig, allowed);
  if (op->top_after
      && rig_open (&rig, store, op->top_after, false, t->seed, &later) == 0)
    return judge_open (t, &rig, AS_AFTER);
  if (op->error_before != ERR_NONE && err.kind == op->error_before)
    return AS_BEFORE;
  return broken (t, "open", err.text);
}

static int
judge (const struct trial *t, struct store *store)
{
  const size_t nr_ops = store_fault_nr_ops (store);
  const int states = judge_names (t, store);

  if (states != -1 && store_fault_nr_ops (store) != nr_ops)
    return broken (t, "open for reading", "something was written");
  return states;
}

/* -- Names -------------------------------------------------------------- */

struct name_sum {
  size_t nr;
  uint64_t sum;
};

static int
sum_name (void *opaque, const char *name, struct vmdk_error *err)
{
  struct name_sum *s = opaque;
  uint64_t hash = 1;

  (void) err;
  for (; *name; name++)
    hash = (hash + (uint8_t) *name) * UINT64_C (0x9e3779b97f4a7c15);
  s->nr++;
  s->sum += hash;
  return 0;
}

static struct name_sum
sum_names (struct store *store)
{
  struct name_sum s = { 0 };
  struct vmdk_error err;

  if (store_list (store, sum_name, &s, &err) == -1)
    abort ();
  return s;
}

/* -- Running ------------------------------------------------------------ */

/* Run the operation on a disk that is like STATES; afterwards it is done. */
static int
run_well (const struct trial *t, struct store *store, int states,
          const char *what)
{
  struct vmdk_error err = { 0 };
  int r = t->op->run (store, t->built.top, &err);

  if (r == -1
      && !((states & AS_AFTER) && t->op->errnum_again != 0
           && err.errnum == t->op->errnum_again))
    return broken (t, what, err.text);
  states = judge (t, store);
  if (states == -1)
    return -1;
  if (!(states & AS_AFTER))
    return broken (t, what, r == -1 ? err.text : "the disk is as before");
  if (t->op->after && t->op->after (store, name_after (t), &err) == -1)
    return broken (t, what, err.text);
  return 0;
}

/* All that was written is durable, and nothing is recorded. */
static struct store *
settled (struct store *store)
{
  struct replay *replay = replay_new (store);
  struct store *copy;

  replay_to (replay, store_fault_nr_ops (store));
  copy = replay_cut (replay, CUT_KEEPS_ALL, 0);
  replay_free (replay);
  return copy;
}

/* Write to the disk; READS_AS is what it holds then. */
static int
use (const struct trial *t, struct store *store, const char *top,
     uint64_t seed, struct contents *reads_as)
{
  struct vmdk_error err = { 0 };
  CLEANUP_FREE uint8_t *bytes = NULL;
  struct rig rig;
  int r = 0;

  if (rig_open (&rig, store, top, true, seed, &err) == -1)
    return broken (t, "open for writing", err.text);
  bytes = rig_read_all (&rig, &err);
  if (!bytes) {
    rig_close (&rig);
    return broken (t, "read while writable", err.text);
  }
  rig.history = history_new (bytes, rig.end);
  for (int i = 0; i < NR_STEPS && r == 0; i++)
    if (rig_step (&rig, &err) != WENT_WELL)
      r = broken (t, "request", *rig.text ? rig.text : err.text);
  if (r == 0
      && (rig_flush (&rig, &err) != WENT_WELL
          || rig_compare (&rig) != WENT_WELL
          || (seed % 2 && disk_finish (rig.disk, &err) == -1)))
    r = broken (t, "use", *rig.text ? rig.text : err.text);
  if (r == 0) {
    *reads_as = (struct contents){ rig_read_all (&rig, &err), rig.end };
    if (!reads_as->bytes)
      r = broken (t, "read", err.text);
  }
  history_free (rig.history);
  rig_close (&rig);
  return r;
}

/* It opens again with these contents. */
static int
check_reads_as (const struct trial *t, struct store *store,
                const struct contents *wanted)
{
  struct trial u = *t;

  u.before = u.after = *wanted;
  return judge (&u, store) == -1 ? -1 : 0;
}

/* Use a disk on which the operation is done. */
static int
use_afterwards (const struct trial *t, struct store *store, uint64_t seed)
{
  CLEANUP_CONTENTS struct contents now = { 0 };
  struct trial u = *t;
  struct maintenance done = *t->op;

  if (t->op->not_written)
    return 0;
  if (use (t, store, name_after (t), seed, &now) == -1)
    return -1;
  done.error_before = ERR_NONE;
  done.damaged_before = done.mixed = false;
  u.op = &done;
  return check_reads_as (&u, store, &now);
}

/* Use the disk as the crash left it, and run the operation only then. */
static int
use_between (const struct trial *t, struct store *store, int states,
             uint64_t seed)
{
  const bool renamed = t->op->top_after && (states & AS_AFTER);
  CLEANUP_CONTENTS struct contents now = { 0 }, later = { 0 };
  struct trial u = *t;
  int r;

  if (t->op->not_written || t->op->change || t->op->damaged_before
      || (t->op->error_before != ERR_NONE && !(states & AS_AFTER)))
    return 0;
  if (use (t, store, renamed ? name_after (t) : t->built.top, seed, &now)
      == -1)
    return -1;
  later = contents_copy (&now, t->after.size);
  u.before = now;
  u.after = later;
  snprintf (u.where + strlen (u.where), sizeof u.where - strlen (u.where),
            "; then the disk is used");
  r = judge (&u, store);
  return r == -1 ? -1 : run_well (&u, store, r, "next run");
}

/* -- Power cuts --------------------------------------------------------- */

static const char *const cuts[] = { "loses all", "keeps all", "by sectors",
                                    "by files" };

static void
say_cut (struct trial *t, struct store *store, size_t at, enum power_cut cut,
         const char *what)
{
  const size_t len = strlen (t->where);
  char op[200] = "nothing";

  if (at > 0)
    store_fault_describe (store, at - 1, op, sizeof op);
  snprintf (t->where + len, sizeof t->where - len,
            "%sthe power goes after %zu changes (last: %s), %s", what, at, op,
            cuts[cut]);
}

/* STORE recorded a second run; cut the power at some moment of it. */
static int
check_second_cut (const struct trial *t, struct store *store, uint64_t seed)
{
  const size_t at = rig_random (&seed) % (store_fault_nr_ops (store) + 1);
  const enum power_cut cut = rig_random (&seed) % 4;
  struct replay *replay = replay_new (store);
  CLEANUP_STORE struct store *again = NULL;
  struct trial u = *t;
  int states;

  say_cut (&u, store, at, cut, "; at the next run ");
  replay_to (replay, at);
  again = replay_cut (replay, cut, seed);
  replay_free (replay);
  states = judge (&u, again);
  return states == -1 ? -1 : run_well (&u, again, states, "third run");
}

static int
check_names (const struct trial *t, struct store *store,
             const struct name_sum *wanted)
{
  const struct name_sum names = sum_names (store);

  return t->op->leaves_nothing && memcmp (&names, wanted, sizeof names) != 0
           ? broken (t, "names", "others than after an undisturbed run")
           : 0;
}

static int
check_cut (struct trial *t, const struct replay *replay, enum power_cut cut,
           uint64_t seed, const struct name_sum *names)
{
  CLEANUP_STORE struct store *store = replay_cut (replay, cut, seed);
  CLEANUP_STORE struct store *other = NULL;
  uint64_t state = seed * 2 + 1;
  const int states = judge (t, store);

  t->nr_cuts++;
  if (states == -1 || run_well (t, store, states, "second run") == -1
      || check_names (t, store, names) == -1
      || check_second_cut (t, store, state) == -1)
    return -1;
  other = replay_cut (replay, cut, seed);
  if (rig_random (&state) % 2)
    return use_between (t, other, states, seed);
  return use_afterwards (t, store, seed);
}

static int
check_moment (struct trial *t, struct store *store,
              const struct replay *replay, size_t at,
              const struct name_sum *names)
{
  for (enum power_cut cut = CUT_LOSES_ALL; cut <= CUT_BY_FILES; cut++) {
    const unsigned nr = cut >= CUT_BY_SECTORS ? SEEDS_OF_A_CUT : 1;

    if (cut != CUT_LOSES_ALL && !replay_has_unflushed (replay))
      break;
    for (unsigned i = 0; i < nr; i++) {
      *t->where = '\0';
      say_cut (t, store, at, cut, "");
      if (check_cut (t, replay, cut, t->seed * 7919 + at * 8 + i, names) == -1)
        return -1;
    }
  }
  return 0;
}

/* STORE recorded a good run. */
static int
check_cuts (struct trial *t, struct store *store, const struct name_sum *names)
{
  const size_t nr = store_fault_nr_ops (store);
  const uint64_t wanted =
    number_from_environment ("MAINTENANCE_MOMENTS", DEFAULT_MOMENTS);
  const size_t stride = max_u64 (1, div_round_up (nr, max_u64 (1, wanted)));
  struct replay *replay = replay_new (store);
  int r = 0;

  for (size_t at = 0; at <= nr && r == 0; at++) {
    replay_to (replay, at);
    if (at % stride == t->seed % stride || at == nr)
      r = check_moment (t, store, replay, at, names);
  }
  replay_free (replay);
  return r;
}

/* -- Failing calls ------------------------------------------------------ */

static const char *
kind_name (unsigned kinds)
{
  switch (kinds) {
  case FAULT_READ:
    return "reading";
  case FAULT_WRITE:
    return "writing";
  case FAULT_FLUSH:
    return "flushing";
  case FAULT_TRUNCATE:
    return "truncating";
  case FAULT_PUNCH:
    return "punching";
  case FAULT_RESERVE:
    return "reserving";
  case FAULT_NAMES:
    return "of names";
  default:
    return "of any kind";
  }
}

/* What a call that failed must not keep to itself. */
static int
check_told (const struct trial *t, struct store *store,
            const struct fault *fault, int r, const struct vmdk_error *err)
{
  const unsigned silent =
    t->op->may_ignore | FAULT_PUNCH | FAULT_RESERVE | FAULT_READ;

  if (r == -1 && store_fault_hits (store) == 0)
    return broken (t, "failed without a fault", err->text);
  if (r == -1 && !(fault->kinds & FAULT_READ) && err->errnum != fault->errnum)
    return broken (t, "failed in another way", err->text);
  if (r == 0 && store_fault_hits (store) > 0 && !(fault->kinds & silent))
    return broken (t, "the failure", "nobody was told");
  return 0;
}

/* After the failure: the power goes. */
static int
check_fault_cuts (const struct trial *t, struct store *store, uint64_t seed)
{
  struct replay *replay = replay_new (store);
  struct trial u = *t;
  int r = 0;

  replay_to (replay, store_fault_nr_ops (store));
  for (enum power_cut cut = CUT_LOSES_ALL; cut <= CUT_BY_FILES && r == 0;
       cut++) {
    CLEANUP_STORE struct store *later = replay_cut (replay, cut, seed);
    int states;

    memcpy (u.where, t->where, sizeof u.where);
    say_cut (&u, store, store_fault_nr_ops (store), cut, "; ");
    states = judge (&u, later);
    r = states == -1 ? -1 : run_well (&u, later, states, "next run");
  }
  replay_free (replay);
  return r;
}

/* 1 when the fault was met, 0 when there are not so many calls. */
static int
check_fault (struct trial *t, const struct fault *fault,
             const struct name_sum *names)
{
  CLEANUP_STORE struct store *store = settled (t->built.store);
  const struct fault none = { 0 };
  struct vmdk_error err = { 0 };
  bool met;
  int r, states;

  snprintf (t->where, sizeof t->where, "call %" PRIu64 " %s fails: %s%s",
            fault->nth, kind_name (fault->kinds), strerror (fault->errnum),
            fault->lasting ? ", and so do all that follow" : "");
  store_fault_set (store, fault);
  r = t->op->run (store, t->built.top, &err);
  met = store_fault_hits (store) > 0;
  if (check_told (t, store, fault, r, &err) == -1)
    return -1;
  store_fault_set (store, &none);
  if (!met)
    return 0;
  t->nr_faults++;
  states = judge (t, store);
  if (states == -1)
    return -1;
  if (r == 0 && !(states & AS_AFTER))
    return broken (t, "it succeeded", "and the disk is as before");
  if (check_fault_cuts (t, store, t->seed * 31 + fault->nth) == -1
      || run_well (t, store, states, "next run") == -1
      || check_names (t, store, names) == -1
      || use_afterwards (t, store, t->seed + fault->nth) == -1)
    return -1;
  return 1;
}

/* For n = 1, 2, 3 ... or every so many; when there are many, a growing step.
 */
static int
check_every_call (struct trial *t, struct fault fault,
                  const struct name_sum *names)
{
  const uint64_t stride = number_from_environment ("FAULT_STRIDE", 1);
  int r = 1;

  for (fault.nth = 1; r == 1; fault.nth += stride + fault.nth / MANY_CALLS)
    r = check_fault (t, &fault, names);
  return r;
}

static int
check_faults (struct trial *t, const struct name_sum *names)
{
  for (unsigned kind = FAULT_READ; kind <= FAULT_NAMES; kind *= 2)
    if (check_every_call (t, (struct fault){ .kinds = kind, .errnum = EIO },
                          names)
        == -1)
      return -1;
  if (check_every_call (t,
                        (struct fault){ .kinds = FAULT_SPACE,
                                        .errnum = ENOSPC,
                                        .lasting = true },
                        names)
      == -1)
    return -1;
  return check_every_call (
    t,
    (struct fault){ .kinds = FAULT_CHANGES, .errnum = EIO, .lasting = true },
    names);
}

struct operation *
maintenance_operation (void)
{
  struct operation *operation = calloc (1, sizeof *operation);
  struct vmdk_error err;

  if (!operation)
    abort ();
  operation->rules.open.resources = resources_new (256 << 10, 1 << 20, &err);
  operation->rules.open.lock = true;
  if (!operation->rules.open.resources)
    abort ();
  return operation;
}

void
maintenance_operation_free (struct operation *operation)
{
  resources_free (operation->rules.open.resources);
  free (operation);
}

/* -- A whole disk ------------------------------------------------------- */

static size_t
flavour_number (const char *name)
{
  for (size_t i = 0; i < nr_flavours; i++)
    if (strcmp (flavour_name (i), name) == 0)
      return i;
  abort ();
}

static void
start_trial (struct trial *t)
{
  struct store *store;

  if (t->op->prepare)
    t->op->prepare (&t->built, t->seed);
  else
    build (&t->built, flavour_number (t->op->flavour), t->seed);
  store = settled (t->built.store);
  store_close (t->built.store);
  t->built.store = store;
  t->before = (struct contents){ t->built.bytes, t->built.size };
  t->after = contents_copy (&t->before, t->built.size + t->op->grows_by);
  if (t->op->change)
    t->op->change (t->after.bytes, t->after.size);
}

/* The disk is what PREPARE says. */
static int
check_start (const struct trial *t)
{
  const int states = judge (t, t->built.store);

  return states == -1 || (states & AS_BEFORE)
           ? states
           : broken (t, "at first", "the disk is as after the operation");
}

static int
check_trial (struct trial *t)
{
  CLEANUP_STORE struct store *store = settled (t->built.store);
  CLEANUP_STORE struct store *again = NULL;
  struct name_sum names;

  snprintf (t->where, sizeof t->where, "undisturbed");
  if (check_start (t) == -1 || run_well (t, store, AS_BEFORE, "run") == -1)
    return -1;
  names = sum_names (store);
  again = settled (store);
  if (run_well (t, again, AS_AFTER, "second run") == -1
      || check_names (t, again, &names) == -1
      || use_afterwards (t, again, t->seed) == -1
      || check_cuts (t, store, &names) == -1)
    return -1;
  return check_faults (t, &names);
}

static uint64_t total_cuts, total_faults;

int
maintenance_try (const struct maintenance *op, uint64_t seed,
                 char text[MAINTENANCE_TEXT_SIZE])
{
  struct trial t = { .op = op, .seed = seed, .text = text };
  int r;

  *text = '\0';
  start_trial (&t);
  r = check_trial (&t);
  contents_reset (&t.after);
  built_free (&t.built);
  total_cuts += t.nr_cuts;
  total_faults += t.nr_faults;
  return r;
}

void
maintenance_check (const struct maintenance *op)
{
  const uint64_t first = number_from_environment ("FAULT_SEED", 1);
  const uint64_t rounds = number_from_environment ("FAULT_ROUNDS", 1);
  char text[MAINTENANCE_TEXT_SIZE];

  total_cuts = total_faults = 0;
  for (uint64_t seed = first; seed < first + rounds; seed++)
    if (maintenance_try (op, seed, text) == -1) {
      print_error ("%s\n", text);
      _fail (__FILE__, __LINE__);
    }
  print_message ("%s of %s: %" PRIu64 " power cuts, %" PRIu64 " failures\n",
                 op->name, op->flavour ? op->flavour : "its own disk",
                 total_cuts, total_faults);
}
