/* SPDX-License-Identifier: BSD-3-Clause */

/* A load generator for NBD servers.
 *
 * It opens some connections to a Unix socket, keeps a number of reads in
 * flight on them, throws the data away and prints one line of JSON.  One
 * thread drives each connection, as in any client that has several.
 *
 * The pattern is either random (each connection draws from its own seeded
 * generator) or sequential.  A sequential pass reads the whole range: the
 * connections take pieces of it in order and read each from its start to its
 * end, which is what copying tools do.  The first pass is always completed;
 * further ones follow until the time is over.
 *
 * With --write it writes instead.  What is written in a place follows from the
 * place and the seed, so that --verify, with the same options and in another
 * process, can tell whether it is there.  Random places are then those of one
 * shuffled list, which the connections share: every place comes once before
 * any comes again, and with --once none comes again.
 *
 * With --sample it reads instead the ranges named on standard input, one
 * "OFFSET COUNT" a line, and copies their bytes to standard output, so that
 * a caller can prove that servers agree before he times them.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <libnbd.h>

#define MAX_CONNECTIONS 64
#define MAX_DEPTH 4096
#define MAX_REQUEST (32U << 20) /* what every server accepts */
#define BLOCK 4096              /* each that is written has its own stamp */

static struct {
  const char *socket;
  unsigned connections, depth;
  size_t request;
  size_t stride;
  bool random, sample, write, flush_each, once;
  uint64_t seed, bytes, verify;
  double seconds, warmup;
} opt = { .connections = 1, .depth = 1, .request = 4096 };

/* What the threads share.  The times are constant once STARTED is passed. */
static struct {
  pthread_barrier_t started;
  double warm_at, end_at;
  uint64_t size, piece, nr_pieces;
  atomic_uint_fast64_t next_piece;
  uint32_t *order; /* of the places that are written at random */
  uint64_t nr_places;
  atomic_uint_fast64_t next_place;
} run;

struct connection;

struct slot {
  struct connection *owner;
  uint8_t *buf;
  bool busy;
  size_t to_flush; /* was written and counts once it is flushed */
};

struct connection {
  struct nbd_handle *nbd;
  pthread_t thread;
  unsigned nr_slots, nr_busy;
  struct slot *slots;
  uint64_t rng;
  uint64_t offset, piece_end; /* sequential: what is left of our piece */
  bool again;                 /* and it is of a pass beyond the first */
  bool done;
  uint64_t requests, bytes; /* within the timed part */
  uint64_t all_bytes;       /* with the warm-up */
};

static void __attribute__ ((noreturn, format (printf, 1, 2)))
die (const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  fputs ("nbd-load: ", stderr);
  vfprintf (stderr, fmt, args);
  fputc ('\n', stderr);
  va_end (args);
  exit (EXIT_FAILURE);
}

static double
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static double
cpu_seconds (void)
{
  struct rusage u;

  getrusage (RUSAGE_SELF, &u);
  return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec)
         + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* splitmix64: any seed is a good one. */
static uint64_t
random_next (uint64_t *state)
{
  uint64_t z = *state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static struct nbd_handle *
connect_to (const char *socket)
{
  struct nbd_handle *nbd = nbd_create ();

  if (nbd == NULL)
    die ("%s", nbd_get_error ());
  /* Clearing the buffer first would be timed as if the server were slow. */
  if (nbd_set_pread_initialize (nbd, false) == -1
      || nbd_connect_unix (nbd, socket) == -1)
    die ("%s: %s", socket, nbd_get_error ());
  return nbd;
}

/* A place of the shuffled list: one request in each stride. */
static uint64_t
place_offset (uint64_t i)
{
  const uint64_t place = run.order[i];
  uint64_t state = opt.seed ^ place;

  return place * opt.stride
         + random_next (&state) % (opt.stride / opt.request) * opt.request;
}

static bool
next_place (uint64_t *offset)
{
  const uint64_t i = atomic_fetch_add (&run.next_place, 1);

  if (opt.once && i >= run.nr_places)
    return false;
  *offset = place_offset (i % run.nr_places);
  return true;
}

static void
shuffle_places (void)
{
  uint64_t state = opt.seed;

  run.nr_places = run.size / opt.stride;
  if (run.nr_places == 0 || run.nr_places > UINT32_MAX)
    die ("%" PRIu64 " places to write to", run.nr_places);
  run.order = malloc (run.nr_places * sizeof *run.order);
  if (run.order == NULL)
    die ("out of memory");
  for (uint32_t i = 0; i < run.nr_places; i++) {
    const uint64_t j = random_next (&state) % (i + 1);

    run.order[i] = run.order[j];
    run.order[j] = i;
  }
}

/* The same for all blocks but for the stamp, and free of zeros. */
static void
fill (uint8_t *buf, size_t count)
{
  uint64_t state = 1;

  for (size_t i = 0; i < count; i++) {
    if (i % BLOCK == 0)
      state = 1;
    buf[i] = (uint8_t) (random_next (&state) | 1);
  }
}

static void
stamp (uint8_t *buf, size_t count, uint64_t offset)
{
  for (size_t i = 0; i < count; i += BLOCK) {
    uint64_t state = opt.seed ^ (offset + i);
    const uint64_t value = random_next (&state);

    memcpy (buf + i, &value, sizeof value);
  }
}

/* The next place to read or write, or false when there is none. */
static bool
next_request (struct connection *c, uint64_t *offset, size_t *count)
{
  *count = opt.request;
  if (opt.random && opt.write)
    return next_place (offset);
  if (opt.random) {
    *offset = random_next (&c->rng) % (run.size / opt.request) * opt.request;
    return true;
  }
  if (c->offset == c->piece_end) {
    const uint64_t piece = atomic_fetch_add (&run.next_piece, 1);

    if (piece >= run.nr_pieces) {
      if (opt.once || now () >= run.end_at)
        return false;
      c->again = true;
    }
    c->offset = piece % run.nr_pieces * run.piece;
    c->piece_end =
      run.size - c->offset < run.piece ? run.size : c->offset + run.piece;
  }
  *offset = c->offset;
  if (*count > c->piece_end - c->offset)
    *count = c->piece_end - c->offset;
  c->offset += *count;
  return true;
}

struct completion {
  struct slot *slot;
  size_t count;
  bool flush_next;
};

static int
finished (void *opaque, int *error)
{
  struct completion *done = opaque;
  struct connection *c = done->slot->owner;

  if (*error)
    die ("a %s failed: %s", opt.write ? "write" : "read", strerror (*error));
  if (done->flush_next) { /* not from here: the handle is locked */
    done->slot->to_flush = done->count;
    return 1;
  }
  done->slot->busy = false;
  c->nr_busy--;
  c->all_bytes += done->count;
  if (now () >= run.warm_at) {
    c->requests++;
    c->bytes += done->count;
  }
  return 1; /* retire the command */
}

static struct completion *
completion_new (struct slot *slot, size_t count, bool flush_next)
{
  struct completion *done = malloc (sizeof *done);

  if (done == NULL)
    die ("out of memory");
  *done = (struct completion){ slot, count, flush_next };
  return done;
}

static nbd_completion_callback
callback_of (struct completion *done)
{
  return (nbd_completion_callback){ .callback = finished,
                                    .user_data = done,
                                    .free = free };
}

static void
send_flush (struct slot *slot)
{
  struct completion *done = completion_new (slot, slot->to_flush, false);

  slot->to_flush = 0;
  if (nbd_aio_flush (slot->owner->nbd, callback_of (done), 0) == -1)
    die ("%s", nbd_get_error ());
}

static void
issue (struct connection *c, struct slot *slot)
{
  nbd_completion_callback callback;
  uint64_t offset;
  int64_t sent;
  size_t count;

  if (((opt.random || c->again) && now () >= run.end_at)
      || !next_request (c, &offset, &count)) {
    c->done = true;
    return;
  }
  callback = callback_of (completion_new (slot, count, opt.flush_each));
  slot->busy = true;
  c->nr_busy++;
  if (opt.write) {
    stamp (slot->buf, count, offset);
    sent = nbd_aio_pwrite (c->nbd, slot->buf, count, offset, callback, 0);
  }
  else
    sent = nbd_aio_pread (c->nbd, slot->buf, count, offset, callback, 0);
  if (sent == -1)
    die ("%s", nbd_get_error ());
}

static void *
drive (void *opaque)
{
  struct connection *c = opaque;

  pthread_barrier_wait (&run.started); /* all are connected */
  pthread_barrier_wait (&run.started); /* the clock is set */
  for (;;) {
    for (unsigned i = 0; i < c->nr_slots; i++) {
      struct slot *slot = &c->slots[i];

      if (slot->to_flush)
        send_flush (slot);
      else if (!slot->busy && !c->done)
        issue (c, slot);
    }
    if (c->nr_busy == 0)
      return NULL;
    if (nbd_poll (c->nbd, -1) == -1)
      die ("%s", nbd_get_error ());
  }
}

static void
connection_start (struct connection *c, unsigned i)
{
  if (c->nbd == NULL)
    c->nbd = connect_to (opt.socket);
  c->rng = opt.seed + i * UINT64_C (0x632be59bd9b4e019);
  c->nr_slots = opt.depth / opt.connections;
  c->nr_slots += i < opt.depth % opt.connections;
  c->slots = calloc (c->nr_slots, sizeof *c->slots);
  if (c->slots == NULL)
    die ("out of memory");
  for (unsigned s = 0; s < c->nr_slots; s++) {
    c->slots[s].owner = c;
    if (posix_memalign ((void **) &c->slots[s].buf, 4096, opt.request) != 0)
      die ("out of memory");
    fill (c->slots[s].buf, opt.request); /* and no page faults when timed */
  }
  if (pthread_create (&c->thread, NULL, drive, c) != 0)
    die ("cannot start a thread");
}

static void
connection_end (struct connection *c)
{
  for (unsigned s = 0; s < c->nr_slots; s++)
    free (c->slots[s].buf);
  free (c->slots);
  if (nbd_shutdown (c->nbd, 0) == -1)
    die ("%s", nbd_get_error ());
  nbd_close (c->nbd);
}

/* How much of the disk one connection reads before it takes the next piece:
 * 128 MiB as copying tools do, less on a disk so small that the connections
 * would not share it evenly.
 */
static void
plan (struct nbd_handle *nbd)
{
  const int64_t size = nbd_get_size (nbd);

  if (size == -1)
    die ("%s", nbd_get_error ());
  run.size = (uint64_t) size;
  if (opt.bytes && opt.bytes < run.size)
    run.size = opt.bytes;
  if (run.size < opt.request)
    die ("the disk has %" PRIu64 " bytes, less than one request", run.size);
  run.piece = run.size / (4 * opt.connections);
  if (run.piece > UINT64_C (128) << 20)
    run.piece = UINT64_C (128) << 20;
  run.piece = run.piece / opt.request * opt.request;
  if (run.piece == 0)
    run.piece = opt.request;
  run.nr_pieces = (run.size + run.piece - 1) / run.piece;
  if ((opt.random && opt.write) || opt.verify)
    shuffle_places ();
}

/* Several connections may write only if the server says that a flush on one
 * is a flush of all.
 */
static void
limit_connections (struct nbd_handle *nbd)
{
  if (opt.write && nbd_can_multi_conn (nbd) != 1)
    opt.connections = 1;
}

/* Seconds that it takes until all that was written is on the disk. */
static double
flush_all (struct connection *connections)
{
  const double start = now ();

  for (unsigned i = 0; opt.write && i < opt.connections; i++)
    if (nbd_flush (connections[i].nbd, 0) == -1)
      die ("%s", nbd_get_error ());
  return now () - start;
}

static void
load (void)
{
  static struct connection connections[MAX_CONNECTIONS];
  uint64_t requests = 0, bytes = 0, all_bytes = 0;
  double start, cpu, seconds, flush_seconds;

  connections[0].nbd = connect_to (opt.socket);
  limit_connections (connections[0].nbd);
  pthread_barrier_init (&run.started, NULL, opt.connections + 1);
  for (unsigned i = 0; i < opt.connections; i++)
    connection_start (&connections[i], i);
  plan (connections[0].nbd);
  pthread_barrier_wait (&run.started);
  cpu = cpu_seconds ();
  start = now ();
  run.warm_at = start + (opt.random ? opt.warmup : 0);
  run.end_at = run.warm_at + opt.seconds;
  pthread_barrier_wait (&run.started);
  for (unsigned i = 0; i < opt.connections; i++)
    pthread_join (connections[i].thread, NULL);
  seconds = now () - run.warm_at;
  flush_seconds = flush_all (connections);
  cpu = cpu_seconds () - cpu;
  for (unsigned i = 0; i < opt.connections; i++) {
    requests += connections[i].requests;
    bytes += connections[i].bytes;
    all_bytes += connections[i].all_bytes;
    connection_end (&connections[i]);
  }
  printf ("{\"bytes\": %" PRIu64 ", \"seconds\": %.6f, \"requests\": %" PRIu64
          ", \"iops\": %.1f, \"mib_per_second\": %.2f"
          ", \"all_bytes\": %" PRIu64 ", \"client_cpu\": %.3f"
          ", \"flush_seconds\": %.6f, \"connections\": %u}\n",
          bytes, seconds, requests, (double) requests / seconds,
          (double) bytes / seconds / 1048576, all_bytes, cpu, flush_seconds,
          opt.connections);
  free (run.order);
}

/* Read the first places of the shuffled list. */
static void
verify (void)
{
  struct nbd_handle *nbd = connect_to (opt.socket);
  uint8_t *buf = malloc (opt.request), *wanted = malloc (opt.request);

  if (buf == NULL || wanted == NULL)
    die ("out of memory");
  plan (nbd);
  fill (wanted, opt.request);
  if (opt.verify > run.nr_places)
    opt.verify = run.nr_places;
  for (uint64_t i = 0; i < opt.verify; i++) {
    const uint64_t offset = place_offset (i);

    stamp (wanted, opt.request, offset);
    if (nbd_pread (nbd, buf, opt.request, offset, 0) == -1)
      die ("%s", nbd_get_error ());
    if (memcmp (buf, wanted, opt.request) != 0)
      die ("at %" PRIu64 " is not what was written", offset);
  }
  free (wanted);
  free (buf);
  free (run.order);
  nbd_shutdown (nbd, 0);
  nbd_close (nbd);
}

static void
sample (void)
{
  struct nbd_handle *nbd = connect_to (opt.socket);
  uint8_t *buf = malloc (MAX_REQUEST);
  uint64_t offset, count;

  if (buf == NULL)
    die ("out of memory");
  while (scanf ("%" SCNu64 " %" SCNu64, &offset, &count) == 2) {
    if (count > MAX_REQUEST)
      die ("%" PRIu64 " bytes at once, %u at most", count, MAX_REQUEST);
    if (nbd_pread (nbd, buf, count, offset, 0) == -1)
      die ("%s", nbd_get_error ());
    if (fwrite (buf, 1, count, stdout) != count)
      die ("standard output: %s", strerror (errno));
  }
  if (fflush (stdout) != 0)
    die ("standard output: %s", strerror (errno));
  free (buf);
  nbd_shutdown (nbd, 0);
  nbd_close (nbd);
}

static void
usage (FILE *to)
{
  fputs ("Usage: nbd-load [OPTIONS] SOCKET\n"
         "  -c, --connections=N  connections, each driven by a thread\n"
         "  -d, --depth=N        requests in flight, over all connections\n"
         "  -r, --request=BYTES  size of a request\n"
         "  -R, --random         at random places\n"
         "      --write          write\n"
         "      --flush-each     a write counts once a flush followed it\n"
         "      --once           no place twice; the run ends with the last\n"
         "      --stride=BYTES   random writes: one place in each BYTES\n"
         "      --verify=N       read N of the places that --random --write\n"
         "                       comes to first and compare\n"
         "  -s, --seed=N         seed of the random places\n"
         "  -t, --seconds=S      how long (sequential: at least one pass)\n"
         "  -w, --warmup=S       a random run's part that is not counted\n"
         "  -b, --bytes=N        stay within the disk's first N bytes\n"
         "      --sample         copy \"OFFSET COUNT\" ranges to stdout\n",
         to);
}

static uint64_t
number (const char *text, uint64_t min, uint64_t max)
{
  char *end;
  uintmax_t n;

  errno = 0;
  n = strtoumax (text, &end, 10);
  if (errno || end == text || *end || *text == '-' || n < min || n > max)
    die ("'%s' is not a number from %" PRIu64 " to %" PRIu64, text, min, max);
  return n;
}

static double
duration (const char *text)
{
  char *end;
  const double d = strtod (text, &end);

  if (end == text || *end || !(d >= 0 && d <= 86400))
    die ("'%s' is not a number of seconds", text);
  return d;
}

static void
check_options (void)
{
  if (opt.random && !opt.verify && opt.seconds <= 0)
    die ("--random needs --seconds");
  if (opt.depth < opt.connections)
    die ("--depth must be at least --connections");
  if ((opt.flush_each || opt.once) && !opt.write)
    die ("--flush-each and --once are of --write");
  if ((opt.write || opt.verify) && opt.request % BLOCK != 0)
    die ("what is written must be a multiple of %d bytes", BLOCK);
  if (opt.stride == 0)
    opt.stride = opt.request;
  if (opt.stride % opt.request != 0)
    die ("--stride must be a multiple of --request");
}

static void
parse (int argc, char **argv)
{
  static const struct option options[] = {
    { "connections", required_argument, NULL, 'c' },
    { "depth", required_argument, NULL, 'd' },
    { "request", required_argument, NULL, 'r' },
    { "random", no_argument, NULL, 'R' },
    { "seed", required_argument, NULL, 's' },
    { "seconds", required_argument, NULL, 't' },
    { "warmup", required_argument, NULL, 'w' },
    { "bytes", required_argument, NULL, 'b' },
    { "sample", no_argument, NULL, 'S' },
    { "write", no_argument, NULL, 'W' },
    { "flush-each", no_argument, NULL, 'F' },
    { "once", no_argument, NULL, 'O' },
    { "stride", required_argument, NULL, 'I' },
    { "verify", required_argument, NULL, 'V' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
  };
  int o;

  while ((o = getopt_long (argc, argv, "c:d:r:Rs:t:w:b:h", options, NULL))
         != -1) {
    switch (o) {
    case 'c':
      opt.connections = (unsigned) number (optarg, 1, MAX_CONNECTIONS);
      break;
    case 'd':
      opt.depth = (unsigned) number (optarg, 1, MAX_DEPTH);
      break;
    case 'r':
      opt.request = number (optarg, 1, MAX_REQUEST);
      break;
    case 'R':
      opt.random = true;
      break;
    case 's':
      opt.seed = number (optarg, 0, UINT64_MAX);
      break;
    case 't':
      opt.seconds = duration (optarg);
      break;
    case 'w':
      opt.warmup = duration (optarg);
      break;
    case 'b':
      opt.bytes = number (optarg, 1, INT64_MAX);
      break;
    case 'S':
      opt.sample = true;
      break;
    case 'W':
      opt.write = true;
      break;
    case 'F':
      opt.flush_each = true;
      break;
    case 'O':
      opt.once = true;
      break;
    case 'I':
      opt.stride = number (optarg, 1, MAX_REQUEST);
      break;
    case 'V':
      opt.verify = number (optarg, 1, UINT32_MAX);
      break;
    case 'h':
      usage (stdout);
      exit (EXIT_SUCCESS);
    default:
      usage (stderr);
      exit (EXIT_FAILURE);
    }
  }
  if (optind + 1 != argc) {
    usage (stderr);
    exit (EXIT_FAILURE);
  }
  opt.socket = argv[optind];
  check_options ();
}

int
main (int argc, char **argv)
{
  parse (argc, argv);
  if (opt.sample)
    sample ();
  else if (opt.verify)
    verify ();
  else
    load ();
  return EXIT_SUCCESS;
}
