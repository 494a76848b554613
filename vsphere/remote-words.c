/* SPDX-License-Identifier: BSD-3-Clause */

/* One table, one function a kind of value.  See remote-words.h. */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "checked.h"
#include "remote-words.h"

struct word {
  const char *key;
  int (*set) (void *target, const char *key, const char *value,
              struct vmdk_error *err);
  size_t offset; /* in struct remote_words */
  enum remote_word_kind kind;
  bool means_server; /* whoever says it means a server */
};

/* --------------------------------------------------------------------- */
/* Values. */

static int
set_text (void *target, const char *key, const char *value,
          struct vmdk_error *err)
{
  char **text = target;

  if (*text)
    return fail (err, ERR_ARGUMENT, "%s= was given more than once", key);
  if (*value == '\0')
    return fail (err, ERR_ARGUMENT, "%s= is empty", key);
  *text = strdup (value);
  return *text ? 0 : fail_memory (err);
}

/* A whole number that is all of TEXT, and at most MAX. */
static int
parse_number (const char *key, const char *text, uint64_t max, uint64_t *n,
              struct vmdk_error *err)
{
  char *end;

  errno = 0;
  *n =
    isdigit ((unsigned char) *text) ? strtoull (text, &end, 10) : UINT64_MAX;
  if (errno != 0 || *n > max || *end != '\0')
    return fail (err, ERR_ARGUMENT, "%s=%s is no number from 0 to %llu", key,
                 NAME (text), (unsigned long long) max);
  return 0;
}

static int
set_port (void *target, const char *key, const char *value,
          struct vmdk_error *err)
{
  uint64_t port;

  if (parse_number (key, value, 65535, &port, err) == -1)
    return -1;
  if (port == 0)
    return fail (err, ERR_ARGUMENT, "%s=0 is no port", key);
  *(unsigned *) target = (unsigned) port;
  return 0;
}

static int
set_seconds (void *target, const char *key, const char *value,
             struct vmdk_error *err)
{
  uint64_t seconds;

  if (parse_number (key, value, 7 * 24 * 3600, &seconds, err) == -1)
    return -1;
  *(unsigned *) target = (unsigned) seconds;
  return 0;
}

/* As nbdkit takes them. */
static int
set_bool (void *target, const char *key, const char *value,
          struct vmdk_error *err)
{
  static const char *const words[][2] = {
    { "0", "1" }, { "n", "y" },        { "no", "yes" },
    { "f", "t" }, { "false", "true" }, { "off", "on" }
  };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    for (int yes = 0; yes <= 1; yes++)
      if (strcasecmp (value, words[i][yes]) == 0) {
        *(bool *) target = yes;
        return 0;
      }
  return fail (err, ERR_ARGUMENT, "%s=%s is not true or false", key,
               NAME (value));
}

static int
set_prepare (void *target, const char *key, const char *value,
             struct vmdk_error *err)
{
  static const char *const words[] = {
    [REMOTE_TRY] = "try",
    [REMOTE_REQUIRE] = "require",
    [REMOTE_OFF] = "off",
  };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp (value, words[i]) == 0) {
      *(enum remote_prepare *) target = (enum remote_prepare) i;
      return 0;
    }
  return fail (err, ERR_ARGUMENT, "%s=%s is not require, try or off", key,
               NAME (value));
}

/* For callers of nbdkit's vddk plugin, who change one word. */
static int
pass_over (void *target, const char *key, const char *value,
           struct vmdk_error *err)
{
  (void) target;
  (void) key;
  (void) value;
  (void) err;
  return 0;
}

/* --------------------------------------------------------------------- */
/* Secrets. */

#define MAX_SECRET 4096

/* One line without its end; BUF has room for MAX_SECRET and a NUL. */
static int
read_line (int fd, char *buf, struct vmdk_error *err)
{
  size_t len = 0;

  for (;;) {
    char c;
    const ssize_t r = read (fd, &c, 1);

    if (r == -1 && errno == EINTR)
      continue;
    if (r == -1)
      return fail_errno (err, errno, "cannot be read");
    if (r == 0 || c == '\n')
      break;
    if (c == '\0' || len == MAX_SECRET)
      return fail (err, ERR_ARGUMENT, "is no line of text of at most %d bytes",
                   MAX_SECRET);
    buf[len++] = c;
  }
  buf[len] = '\0';
  return 0;
}

static int
read_terminal (const char *key, char *buf, struct vmdk_error *err)
{
  struct termios before, quiet;
  const bool terminal = tcgetattr (STDIN_FILENO, &before) == 0;
  int r;

  if (!terminal)
    return read_line (STDIN_FILENO, buf, err);
  quiet = before;
  quiet.c_lflag &= ~(tcflag_t) ECHO;
  dprintf (STDERR_FILENO, "%s: ", key);
  tcsetattr (STDIN_FILENO, TCSAFLUSH, &quiet);
  r = read_line (STDIN_FILENO, buf, err);
  tcsetattr (STDIN_FILENO, TCSAFLUSH, &before);
  dprintf (STDERR_FILENO, "\n");
  return r;
}

static int
read_file (const char *path, char *buf, struct vmdk_error *err)
{
  const int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  int r;

  if (fd == -1)
    return fail_errno (err, errno, "cannot be opened");
  r = read_line (fd, buf, err);
  close (fd);
  return r;
}

/* The descriptor is somebody else's gift, and used up. */
static int
read_fd (const char *key, const char *text, char *buf, struct vmdk_error *err)
{
  uint64_t fd;
  int r;

  if (parse_number (key, text, 65535, &fd, err) == -1)
    return -1;
  r = read_line ((int) fd, buf, err);
  if (fd > STDERR_FILENO)
    close ((int) fd);
  return r;
}

static int
fetch_secret (const char *key, char *value, char *buf, struct vmdk_error *err)
{
  int r;

  if (strcmp (value, "-") == 0)
    r = read_terminal (key, buf, err);
  else if (*value == '+')
    r = read_file (value + 1, buf, err);
  else if (*value == '-')
    r = read_fd (key, value + 1, buf, err);
  else {
    if (strlen (value) > MAX_SECRET)
      return fail (err, ERR_ARGUMENT, "%s= is too long", key);
    strcpy (buf, value);
    memset (value, 'x', strlen (value));
    return 0;
  }
  return r == -1 ? fail_prefix (err, "%s=%s", key, NAME (value)) : 0;
}

/* --------------------------------------------------------------------- */
/* The table. */

#define IN(field) offsetof (struct remote_words, settings.field)
#define NOWHERE offsetof (struct remote_words, ignored)

static const struct word table[] = {
  { "server", set_text, IN (server), REMOTE_WORD_PLAIN, true },
  { "user", set_text, IN (user), REMOTE_WORD_PLAIN, true },
  { "password", set_text, IN (password), REMOTE_WORD_SECRET, true },
  { "cookie", set_text, IN (cookie), REMOTE_WORD_SECRET, true },
  { "vm", set_text, IN (vm), REMOTE_WORD_PLAIN, true },
  { "thumbprint", set_text, IN (thumbprint), REMOTE_WORD_PLAIN, true },
  { "cafile", set_text, IN (ca_file), REMOTE_WORD_PATH, true },
  { "insecure", set_bool, IN (insecure), REMOTE_WORD_PLAIN, false },
  { "port", set_port, IN (port), REMOTE_WORD_PLAIN, true },
  { "nfchostport", set_port, IN (nfc_port), REMOTE_WORD_PLAIN, true },
  { "transports", set_text, IN (transports), REMOTE_WORD_PLAIN, false },
  { "compression", set_text, IN (compression), REMOTE_WORD_PLAIN, false },
  { "snapshot", set_text, IN (snapshot), REMOTE_WORD_PLAIN, true },
  { "quiesce", set_bool, IN (quiesce), REMOTE_WORD_PLAIN, false },
  { "prepare", set_prepare, IN (prepare), REMOTE_WORD_PLAIN, false },
  { "prepare-timeout", set_seconds, IN (prepare_seconds), REMOTE_WORD_PLAIN,
    false },
  { "identity", set_text, IN (identity), REMOTE_WORD_PLAIN, false },
  { "config", set_text, IN (config), REMOTE_WORD_PATH, false },
  { "single-link", set_bool, IN (single_link), REMOTE_WORD_PLAIN, false },
  { "libdir", pass_over, NOWHERE, REMOTE_WORD_PLAIN, false },
  { "unbuffered", set_bool, offsetof (struct remote_words, unbuffered),
    REMOTE_WORD_PLAIN, false },
  { "vimapiver", pass_over, NOWHERE, REMOTE_WORD_PLAIN, false },
};

#define NR_WORDS (sizeof table / sizeof table[0])

static const struct word *
word_find (const char *key, size_t len)
{
  for (size_t i = 0; i < NR_WORDS; i++)
    if (strlen (table[i].key) == len && memcmp (key, table[i].key, len) == 0)
      return &table[i];
  return NULL;
}

/* The row of KEY=VALUE; NULL: it is none. */
static const struct word *
word_of (const char *word)
{
  const char *equals = strchr (word, '=');

  return equals ? word_find (word, (size_t) (equals - word)) : NULL;
}

const char *
remote_word_key (size_t i)
{
  return i < NR_WORDS ? table[i].key : NULL;
}

enum remote_word_kind
remote_word_kind (const char *key)
{
  const struct word *word = word_find (key, strlen (key));

  return word ? word->kind : REMOTE_WORD_NONE;
}

bool
remote_word_is_known (const char *word)
{
  return word_of (word) != NULL;
}

static int
set (struct remote_words *words, const struct word *word, const char *value,
     struct vmdk_error *err)
{
  words->meant = words->meant || word->means_server;
  return word->set ((char *) words + word->offset, word->key, value, err);
}

int
remote_words_set (struct remote_words *words, const char *key,
                  const char *value, struct vmdk_error *err)
{
  const struct word *word = word_find (key, strlen (key));

  if (!word)
    return fail (err, ERR_ARGUMENT, "'%s' is about no server", NAME (key));
  return set (words, word, value, err);
}

static int
add_secret (struct remote_words *words, const struct word *word, char *value,
            struct vmdk_error *err)
{
  char buf[MAX_SECRET + 1] = "";
  int r = fetch_secret (word->key, value, buf, err);

  if (r == 0)
    r = set (words, word, buf, err);
  explicit_bzero (buf, sizeof buf);
  return r;
}

int
remote_words_add (struct remote_words *words, char *word,
                  struct vmdk_error *err)
{
  const struct word *found = word_of (word);
  char *value;

  if (!found)
    return fail (err, ERR_ARGUMENT, "'%s' is about no server", NAME (word));
  value = word + strlen (found->key) + 1;
  return found->kind == REMOTE_WORD_SECRET
           ? add_secret (words, found, value, err)
           : set (words, found, value, err);
}

int
remote_words_check (const struct remote_words *words, struct vmdk_error *err)
{
  const struct remote_settings *s = &words->settings;
  const bool temporary = s->snapshot && strcmp (s->snapshot, "temporary") == 0;
  const char *missing = !s->server                              ? "server"
                        : s->cookie || (s->user && s->password) ? NULL
                        : s->user                               ? "password"
                                                                : "user";

  if (missing)
    return fail (err, ERR_ARGUMENT,
                 "%s= is missing: a server needs server=, and user= with "
                 "password= (or cookie=)",
                 missing);
  if (s->quiesce && !temporary)
    return fail (err, ERR_ARGUMENT, "quiesce=true needs snapshot=temporary");
  if (s->insecure && (s->thumbprint || s->ca_file))
    return fail (err, ERR_ARGUMENT,
                 "insecure=true excludes thumbprint= and cafile=");
  return 0;
}

void
remote_words_reset (struct remote_words *words)
{
  for (size_t i = 0; i < NR_WORDS; i++) {
    char **text = (char **) ((char *) words + table[i].offset);

    if (table[i].set != set_text)
      continue;
    if (*text)
      explicit_bzero (*text, strlen (*text));
    free (*text);
    *text = NULL;
  }
}
