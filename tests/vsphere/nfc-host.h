/* SPDX-License-Identifier: BSD-3-Clause */

/* A host for tests: fake_nfc.py in a process of its own, over a file that is
 * deleted with it; and tickets for it.
 */

#ifndef VMDKIT_TESTS_NFC_HOST_H
#define VMDKIT_TESTS_NFC_HOST_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nfc-disk.h"

struct host {
  pid_t pid;
  FILE *to, *from;
  char path[64]; /* of the raw file */
  int fd;        /* the same */
  uint64_t size;
  unsigned port;
  char sha1[64], sha256[128];

  /* tickets */
  const char *thumbprint; /* NULL: the right one */
  const char *ticket;     /* the beginning of all; NULL: the right one */
  int ticket_failures;    /* that many first */
  atomic_uint tickets;
};

/* Say a line and read the answer. */
static inline const char *__attribute__ ((unused))
host_say (struct host *host, const char *line)
{
  static char answer[4096];

  fprintf (host->to, "%s\n", line);
  fflush (host->to);
  if (!fgets (answer, sizeof answer, host->from))
    strcpy (answer, "gone");
  answer[strcspn (answer, "\n")] = '\0';
  return answer;
}

/* host_set (host, "io", "drop 3 1") */
static inline void __attribute__ ((unused))
host_set (struct host *host, const char *name, const char *value)
{
  char line[256];

  snprintf (line, sizeof line, "set %s %s", name, value);
  if (strcmp (host_say (host, line), "ok") != 0)
    abort ();
}

static inline void __attribute__ ((unused)) host_clear (struct host *host)
{
  host_say (host, "clear");
  host->thumbprint = host->ticket = NULL;
  host->ticket_failures = 0;
}

/* A number of its statistics. */
static inline long __attribute__ ((unused))
host_counted (struct host *host, const char *name)
{
  const char *answer = host_say (host, "stats");
  char key[64];
  const char *p;

  snprintf (key, sizeof key, "\"%s\": ", name);
  p = strstr (answer, key);
  return p ? atol (p + strlen (key)) : -1;
}

/* Whether the host took all that we sent for what it should be. */
static inline int __attribute__ ((unused)) host_is_content (struct host *host)
{
  const char *answer = host_say (host, "stats");

  if (strstr (answer, "\"errors\": []"))
    return 1;
  fprintf (stderr, "%s\n", answer);
  return 0;
}

/* Tests that need a host leave with this status where there can be none. */
#define HOST_SKIP 77

static inline int __attribute__ ((unused)) host_possible (void)
{
  return system ("python3 -c 'import ssl' && openssl version > /dev/null")
         == 0;
}

static inline int __attribute__ ((unused))
host_start (struct host *host, const void *contents, uint64_t count,
            uint64_t size)
{
  const char *srcdir = getenv ("srcdir");
  int to[2], from[2];
  char script[512], line[256];

  *host = (struct host){ .size = size };
  snprintf (script, sizeof script, "%s/fake_nfc.py", srcdir ? srcdir : ".");
  strcpy (host->path, "/tmp/nfc-host-XXXXXX");
  host->fd = mkstemp (host->path);
  if (host->fd == -1 || ftruncate (host->fd, (off_t) size) == -1
      || pwrite (host->fd, contents, count, 0) != (ssize_t) count
      || pipe2 (to, O_CLOEXEC) == -1 || pipe2 (from, O_CLOEXEC) == -1)
    return -1;
  host->pid = fork ();
  if (host->pid == 0) {
    dup2 (to[0], 0);
    dup2 (from[1], 1);
    execlp ("python3", "python3", script, host->path, (char *) NULL);
    _exit (127);
  }
  close (to[0]);
  close (from[1]);
  host->to = fdopen (to[1], "w");
  host->from = fdopen (from[0], "r");
  if (!fgets (line, sizeof line, host->from))
    return -1;
  return sscanf (line, "port %u sha1 %63s sha256 %127s", &host->port,
                 host->sha1, host->sha256)
             == 3
           ? 0
           : -1;
}

static inline void __attribute__ ((unused)) host_stop (struct host *host)
{
  fprintf (host->to, "quit\n");
  fclose (host->to);
  fclose (host->from);
  waitpid (host->pid, NULL, 0);
  close (host->fd);
  unlink (host->path);
}

/* --------------------------------------------------------------------- */

static inline int __attribute__ ((unused))
host_ticket (void *opaque, bool writable, struct nfc_ticket *ticket,
             struct vmdk_error *err)
{
  struct host *host = opaque;
  const char *start = host->ticket;
  char id[64];

  if (host->ticket_failures > 0) {
    host->ticket_failures--;
    return fail (err, ERR_SYSTEM, "the server gives no ticket");
  }
  if (!start)
    start = writable ? "ticket-rw-" : "ticket-";
  snprintf (id, sizeof id, "%s%d-%u", start, (int) getpid (),
            atomic_fetch_add (&host->tickets, 1));
  ticket->host = strdup ("127.0.0.1");
  ticket->port = host->port;
  ticket->service = strdup ("vpxa-nfc");
  ticket->ssl_thumbprint =
    strdup (host->thumbprint ? host->thumbprint : host->sha1);
  ticket->session_id = strdup (id);
  return 0;
}

#define HOST_PATH "[ds1] web/web.vmdk"

/* Fast where users are patient. */
static inline struct nfc_settings __attribute__ ((unused))
host_settings (bool tls)
{
  struct nfc_settings settings = NFC_SETTINGS_DEFAULT;

  settings.tls = tls;
  settings.times = (struct nfc_times){ .connect = 5000,
                                       .step = 5000,
                                       .read = 2000,
                                       .write = 2000,
                                       .idle = 60000,
                                       .pause = 10,
                                       .max_pause = 40,
                                       .budget = 200,
                                       .attempts = 5 };
  return settings;
}

/* Where the log goes: nowhere, or with VMDKIT_TEST_LOG to stderr. */
static inline void __attribute__ ((unused))
host_log_sink (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  (void) topic;
  if (getenv ("VMDKIT_TEST_LOG"))
    fprintf (stderr, "%s\n", text);
}

static inline struct nfc_disk *__attribute__ ((unused))
host_open (struct host *host, const struct nfc_settings *settings,
           bool writable, enum nfc_reason *reason, struct vmdk_error *err)
{
  const struct nfc_ticket_office office = { host_ticket, host };
  const struct vmdk_log log = { .sink = host_log_sink };

  return nfc_disk_open (settings, &office, HOST_PATH, writable, &log, reason,
                        err);
}

#endif /* VMDKIT_TESTS_NFC_HOST_H */
