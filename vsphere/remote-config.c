/* SPDX-License-Identifier: BSD-3-Clause */

/* The vddk plugin's configuration file.  See remote-config.h. */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "remote-config.h"

#define MAX_FILE_BYTES (1024 * 1024)

/* A host takes no more for the buffers of one disk. */
#define MAX_BUFFER_BYTES (16 * 1024 * 1024)

static char *
trim (char *text)
{
  char *end = text + strlen (text);

  while (end > text && isspace ((unsigned char) end[-1]))
    end--;
  *end = '\0';
  while (isspace ((unsigned char) *text))
    text++;
  return text;
}

static char *
unquote (char *text)
{
  const size_t len = strlen (text);

  if (len < 2 || text[0] != '"' || text[len - 1] != '"')
    return text;
  text[len - 1] = '\0';
  return text + 1;
}

static int
parse_number (const char *name, const char *value, unsigned *number,
              struct vmdk_error *err)
{
  char *end;
  unsigned long n;

  errno = 0;
  n = strtoul (value, &end, 10);
  if (errno || !isdigit ((unsigned char) *value) || *end || n > INT_MAX)
    return fail (err, ERR_ARGUMENT, "%s = %s is not a number", NAME (name),
                 NAME (value));
  *number = (unsigned) n;
  return 0;
}

static int
set (struct nfc_settings *s, const char *name, const char *value,
     struct vmdk_error *err)
{
  const struct {
    const char *name;
    int *ms;
    uint32_t *count;
    uint32_t unit;
  } keys[] = {
    { "vixDiskLib.nfc.AcceptTimeoutMs", &s->times.connect, NULL, 0 },
    { "vixDiskLib.nfc.RequestTimeoutMs", &s->times.step, NULL, 0 },
    { "vixDiskLib.nfc.ReadTimeoutMs", &s->times.read, NULL, 0 },
    { "vixDiskLib.nfc.WriteTimeoutMs", &s->times.write, NULL, 0 },
    { "vixDiskLib.nfcAio.Session.BufSizeIn64KB", NULL, &s->buffer_size,
      65536 },
    { "vixDiskLib.nfcAio.Session.BufCount", NULL, &s->buffer_count, 1 },
  };
  unsigned n = 0;

  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (strcasecmp (name, keys[i].name) != 0)
      continue;
    if (parse_number (name, value, &n, err) == -1)
      return -1;
    if (keys[i].ms)
      *keys[i].ms = n == 0 ? INT_MAX : (int) n;
    else if (n == 0 || n > MAX_BUFFER_BYTES / keys[i].unit)
      return fail (err, ERR_ARGUMENT, "%s = %u: it can be from 1 to %u",
                   NAME (name), n, (unsigned) MAX_BUFFER_BYTES / keys[i].unit);
    else
      *keys[i].count = n * keys[i].unit;
  }
  return 0;
}

static int
parse_line (struct nfc_settings *settings, char *line, unsigned number,
            struct vmdk_error *err)
{
  char *value;

  line = trim (line);
  if (*line == '\0' || *line == '#')
    return 0;
  value = strchr (line, '=');
  if (!value)
    return fail (err, ERR_ARGUMENT, "line %u is not NAME = VALUE", number);
  *value++ = '\0';
  if (set (settings, trim (line), unquote (trim (value)), err) == -1)
    return fail_prefix (err, "line %u", number);
  return 0;
}

int
remote_config_parse (struct nfc_settings *settings, char *text,
                     struct vmdk_error *err)
{
  unsigned number = 0;
  char *line;

  while ((line = strsep (&text, "\n")))
    if (parse_line (settings, line, ++number, err) == -1)
      return -1;
  if ((uint64_t) settings->buffer_size * settings->buffer_count
      > MAX_BUFFER_BYTES)
    return fail (err, ERR_ARGUMENT,
                 "%u buffers of %u bytes are more than the %d bytes that a "
                 "host takes",
                 settings->buffer_count, settings->buffer_size,
                 MAX_BUFFER_BYTES);
  return 0;
}

DEFINE_CLEANUP (file, FILE *, fclose)

int
remote_config_read (struct nfc_settings *settings, const char *path,
                    struct vmdk_error *err)
{
  CLEANUP (file) FILE *file = fopen (path, "re");
  CLEANUP_FREE char *text = malloc (MAX_FILE_BYTES + 1);
  size_t count;

  if (!file)
    return fail_errno (err, errno, "%s", NAME (path));
  if (!text)
    return fail_memory (err);
  count = fread (text, 1, MAX_FILE_BYTES + 1, file);
  if (ferror (file))
    return fail_errno (err, errno, "%s", NAME (path));
  if (count > MAX_FILE_BYTES)
    return fail (err, ERR_ARGUMENT, "%s: has more than %d bytes", NAME (path),
                 MAX_FILE_BYTES);
  text[count] = '\0';
  if (remote_config_parse (settings, text, err) == -1)
    return fail_prefix (err, "%s", NAME (path));
  return 0;
}
