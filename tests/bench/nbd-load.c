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

static struct {
  const char *socket;
  unsigned connections, depth;
  size_t request;
  bool random, sample;
  uint64_t seed, bytes;
  double seconds, warmup;
} opt = { .connections = 1, .depth = 1, .request = 4096 };

/* What the threads share.  The times are constant once STARTED is passed. */
static struct {
  pthread_barrier_t started;
  double warm_at, end_at;
  uint64_t size, piece, nr_pieces;
  atomic_uint_fast64_t next_piece;
} run;

struct connection;

struct slot {
  struct connection *owner;
  uint8_t *buf;
  bool busy;
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

/* The next place to read, or false when there is none. */
static bool
next_request (struct connection *c, uint64_t *offset, size_t *count)
{
  *count = opt.request;
  if (opt.random) {
    *offset = random_next (&c->rng) % (run.size / opt.request) * opt.request;
    return true;
  }
  if (c->offset == c->piece_end) {
    const uint64_t piece = atomic_fetch_add (&run.next_piece, 1);

    if (piece >= run.nr_pieces) {
      if (now () >= run.end_at)
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
};

static int
finished (void *opaque, int *error)
{
  struct completion *done = opaque;
  struct connection *c = done->slot->owner;

  if (*error)
    die ("read failed: %s", strerror (*error));
  done->slot->busy = false;
  c->nr_busy--;
  c->all_bytes += done->count;
  if (now () >= run.warm_at) {
    c->requests++;
    c->bytes += done->count;
  }
  return 1; /* retire the command */
}

static void
issue (struct connection *c, struct slot *slot)
{
  struct completion *done;
  uint64_t offset;
  size_t count;

  if (((opt.random || c->again) && now () >= run.end_at)
      || !next_request (c, &offset, &count)) {
    c->done = true;
    return;
  }
  done = malloc (sizeof *done);
  if (done == NULL)
    die ("out of memory");
  *done = (struct completion){ slot, count };
  slot->busy = true;
  c->nr_busy++;
  if (nbd_aio_pread (c->nbd, slot->buf, count, offset,
                     (nbd_completion_callback){
                       .callback = finished, .user_data = done, .free = free },
                     0)
      == -1)
    die ("%s", nbd_get_error ());
}

static void *
drive (void *opaque)
{
  struct connection *c = opaque;

  pthread_barrier_wait (&run.started); /* all are connected */
  pthread_barrier_wait (&run.started); /* the clock is set */
  for (;;) {
    for (unsigned i = 0; i < c->nr_slots && !c->done; i++)
      if (!c->slots[i].busy)
        issue (c, &c->slots[i]);
    if (c->nr_busy == 0)
      return NULL;
    if (nbd_poll (c->nbd, -1) == -1)
      die ("%s", nbd_get_error ());
  }
}

static void
connection_start (struct connection *c, unsigned i)
{
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
    memset (c->slots[s].buf, 0, opt.request); /* no page faults when timed */
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
}

static void
load (void)
{
  static struct connection connections[MAX_CONNECTIONS];
  uint64_t requests = 0, bytes = 0, all_bytes = 0;
  double start, cpu, seconds;

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
  cpu = cpu_seconds () - cpu;
  for (unsigned i = 0; i < opt.connections; i++) {
    requests += connections[i].requests;
    bytes += connections[i].bytes;
    all_bytes += connections[i].all_bytes;
    connection_end (&connections[i]);
  }
  printf ("{\"bytes\": %" PRIu64 ", \"seconds\": %.6f, \"requests\": %" PRIu64
          ", \"iops\": %.1f, \"mib_per_second\": %.2f"
          ", \"all_bytes\": %" PRIu64 ", \"client_cpu\": %.3f}\n",
          bytes, seconds, requests, (double) requests / seconds,
          (double) bytes / seconds / 1048576, all_bytes, cpu);
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
         "  -d, --depth=N        reads in flight, over all connections\n"
         "  -r, --request=BYTES  size of a read\n"
         "  -R, --random         read at random places\n"
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
  if (opt.random && opt.seconds <= 0)
    die ("--random needs --seconds");
  if (opt.depth < opt.connections)
    die ("--depth must be at least --connections");
}

int
main (int argc, char **argv)
{
  parse (argc, argv);
  if (opt.sample)
    sample ();
  else
    load ();
  return EXIT_SUCCESS;
}
