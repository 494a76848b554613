/* SPDX-License-Identifier: BSD-3-Clause */

/* Words of convert and measure.  See convert-words.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "convert-words.h"
#include "link-text.h"
#include "nbd-media.h"

static int
find_raw (struct source *source, struct vmdk_error *err)
{
  struct place *place = &source->place;

  source->media = store_open (place->store, place->name, place->flags, err);
  if (!source->media)
    return fail_prefix (err, "%s", NAME (place->name));
  source->source.media = source->media;
  return 0;
}

bool
name_ends (const char *name, const char *const *endings)
{
  const char *dot = strrchr (name, '.');

  for (; dot && *endings; endings++)
    if (strcasecmp (dot, *endings) == 0)
      return true;
  return false;
}

/* Without a format.  A guest can write anything into a raw disk, also what
 * looks like a VMDK and names other files: so the contents never make a VMDK
 * of what is called like a raw disk, nor a raw disk of what is called like a
 * VMDK.
 */
static int
guess_raw (struct source *source, const char *text, bool *raw,
           struct vmdk_error *err)
{
  static const char *const raws[] = { ".raw", ".img", ".dd",
                                      ".bin", ".iso", NULL };
  static const char *const vmdks[] = { ".vmdk", ".ova", NULL };
  const struct place *place = &source->place;
  struct stat st;
  const bool named = name_ends (place->name, raws)
                     || (stat (text, &st) == 0 && S_ISBLK (st.st_mode));
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *media = NULL;
  enum file_guess guess;

  *raw = false;
  if (place->folder || name_ends (place->name, vmdks))
    return 0;
  media = store_open (place->store, place->name, place->flags, &ignored);
  if (!media || link_text_guess (media, &guess, &ignored) == -1)
    return 0; /* opening it tells why */
  if (named && guess == FILE_LIKE_VMDK)
    return fail (err, ERR_ARGUMENT,
                 "is called like a raw disk and starts like a VMDK: say which "
                 "it is, with -f raw or -f vmdk");
  *raw = guess == FILE_LIKE_NOTHING;
  if (*raw && !named)
    tell_note ("%s: taken for a raw disk; -f raw says that it is one",
               NAME (text));
  return 0;
}

int
source_find (struct source *source, const char *text, const char *format,
             unsigned threads, struct vmdk_error *err)
{
  bool raw = format && strcmp (format, "raw") == 0;

  *source = (struct source){ 0 };
  if (nbd_is_uri (text)) {
    if (format && !raw)
      return fail (err, ERR_UNSUPPORTED,
                   "what an NBD server exports is taken as raw; to read a "
                   "VMDK, export it with nbdkit's vmdk plugin");
    source->media = nbd_media_new (text, false, threads, err);
    source->source.media = source->media;
    return source->media ? 0 : -1;
  }
  if (strcmp (text, "-") == 0)
    return fail (err, ERR_UNSUPPORTED,
                 "a disk cannot be read from a pipe: name a file, a device or "
                 "an NBD server (nbdkit can serve what a program writes)");
  if (place_find (&source->place, text, err) == -1
      || (!format && guess_raw (source, text, &raw, err) == -1))
    return -1;
  if (raw)
    return find_raw (source, err);
  source->source = (struct convert_source){
    .store = source->place.store,
    .name = source->place.name,
    .flags = source->place.flags,
  };
  return 0;
}

void
source_free (struct source *source)
{
  media_close (source->media); /* before the store it may come from */
  place_free (&source->place);
}

void
source_hint (const char *format, struct vmdk_error *err)
{
  const struct vmdk_error why = *err;

  if (format || err->kind != ERR_NOT_VMDK)
    return;
  fail (err, why.kind, "%s (if it is a raw disk, say so: -f raw)", why.text);
}

bool
type_parse (const char *word, struct convert_rules *rules)
{
  const int type = disk_type_parse (word);

  rules->raw = strcasecmp (word, "raw") == 0;
  if (type != -1)
    rules->type = (enum disk_type) type;
  return rules->raw || type != -1;
}

const char *
type_name (const struct convert_rules *rules)
{
  return rules->raw ? "raw" : disk_type_name (rules->type);
}

int
check_format (const char *format)
{
  if (!format || strcmp (format, "raw") == 0 || strcmp (format, "vmdk") == 0)
    return -1;
  return usage_error ("the source's format is vmdk or raw, not %s", format);
}

int
number_parse (const char *text, int max)
{
  char *end;
  const long n = *text >= '0' && *text <= '9' ? strtol (text, &end, 10) : -1;

  return n >= 0 && n <= max && *end == '\0' ? (int) n : -1;
}
