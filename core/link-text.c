/* SPDX-License-Identifier: BSD-3-Clause */

/* Finding a link's descriptor.  See link-text.h.
 *
 * A file is known by its first bytes, never by its name.  A file that is an
 * extent and not a disk (a common mistake: the biggest file of a folder is
 * the one without the descriptor) is refused with the name of the file to
 * open.
 */

#include <config.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "link-text.h"
#include "link.h"
#include "sparse-header.h"

/* Enough for every header and for descriptor_probe. */
#define START_SIZE 4096

enum file_kind {
  FILE_TEXT,
  FILE_KDMV,
  FILE_COWD,
  FILE_SESPARSE,
  FILE_CHANGE_TRACKING,
  FILE_UNKNOWN,
};

struct start {
  uint8_t bytes[START_SIZE]; /* zeros behind LEN */
  size_t len;
  enum file_kind kind;
};

static enum file_kind
kind_of (const struct start *start)
{
  switch (le32_load (start->bytes)) {
  case SPARSE_MAGIC:
  case SPARSE_MAGIC_UNFINISHED:
    return FILE_KDMV;
  case UINT32_C (0x44574f43):
    return FILE_COWD;
  case UINT32_C (0xcafebabe):
    /* In the other byte order this is a Java class. */
    return le32_load (start->bytes + 4) == 0 ? FILE_SESPARSE : FILE_UNKNOWN;
  case UINT32_C (0xf61972a2):
    return FILE_CHANGE_TRACKING;
  }
  return descriptor_probe ((const char *) start->bytes, start->len)
           ? FILE_TEXT
           : FILE_UNKNOWN;
}

static int
read_start (struct media *media, struct start *start, struct vmdk_error *err)
{
  start->len = min_u64 (media->size, START_SIZE);
  memset (start->bytes + start->len, 0, START_SIZE - start->len);
  if (start->len < 4)
    return fail (err, ERR_NOT_VMDK, "is too small to be a VMDK: %zu bytes",
                 start->len);
  if (media_pread (media, start->bytes, start->len, 0, err) == -1)
    return -1;
  start->kind = kind_of (start);
  return 0;
}

/* -- Mistaken files ----------------------------------------------------- */

/* The name of the descriptor that NAME, an extent's, is made from by the
 * products' rules; false if it is not.
 */
static bool
guess_descriptor (const char *name, char *out, size_t size)
{
  static const char *const words[] = { "-flat", "-delta", "-sesparse", "-ctk",
                                       "-rdm",  "-rdmp",  "-pt" };
  const char *dot = strrchr (name, '.');
  const char *dash = dot;

  if (!dot)
    return false;
  while (dash > name && *dash != '-')
    dash--;
  if (*dash != '-' || dash == name)
    return false;

  const size_t len = dot - dash;
  bool known = false;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strlen (words[i]) == len && strncmp (dash, words[i], len) == 0)
      known = true;
  if (len >= 5 && (dash[1] == 's' || dash[1] == 'f')
      && strspn (dash + 2, "0123456789") == len - 2)
    known = true;
  if (!known || (size_t) (dash - name) + strlen (dot) >= size)
    return false;
  snprintf (out, size, "%.*s%s", (int) (dash - name), name, dot);
  return true;
}

/* "open disk.vmdk, ..." if that is there, and something general if not. */
static int
fail_extent (struct store *store, const char *name, const char *what,
             struct vmdk_error *err)
{
  char guess[DESCRIPTOR_MAX_NAME];
  struct vmdk_error ignored;

  if (guess_descriptor (name, guess, sizeof guess)) {
    CLEANUP_MEDIA struct media *media =
      store_open (store, guess, STORE_FROM_FILE, &ignored);

    if (media)
      return fail (err, ERR_NOT_VMDK,
                   "is %s, not a disk: open its descriptor %s", what,
                   NAME (guess));
  }
  return fail (err, ERR_NOT_VMDK,
               "is %s, not a disk: open the descriptor that names it, or "
               "pass lone-extent=true to read it alone",
               what);
}

/* Formats that are no VMDK; NULL if START is none of them. */
static const char *
find_other (const struct start *start)
{
  static const struct {
    const char *bytes;
    size_t len;
    const char *what;
  } others[] = {
    { "QFI\xfb", 4, "a qcow2 image" },
    { "vhdxfile", 8, "a VHDX image" },
    { "conectix", 8, "a VHD image" },
    { "<<< ", 4, "a VirtualBox VDI image" },
    { "\x1f\x8b", 2, "a gzip file: unpack it first" },
    { "PK\x03\x04", 4, "a zip file: unpack it first" },
    { "\xfd"
      "7zXZ",
      5, "an xz file: unpack it first" },
    { "BZh", 3, "a bzip2 file: unpack it first" },
    { "(\xb5/\xfd", 4, "a zstd file: unpack it first" },
  };

  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (start->len >= others[i].len
        && memcmp (start->bytes, others[i].bytes, others[i].len) == 0)
      return others[i].what;
  return NULL;
}

static int
fail_unknown (struct store *store, const char *name, const struct start *start,
              struct vmdk_error *err)
{
  const char *other = find_other (start);
  char guess[DESCRIPTOR_MAX_NAME];

  if (other)
    return fail (err, ERR_NOT_VMDK, "is not a VMDK: it is %s", other);
  if (guess_descriptor (name, guess, sizeof guess)) {
    struct vmdk_error ignored;
    CLEANUP_MEDIA struct media *media =
      store_open (store, guess, STORE_FROM_FILE, &ignored);

    if (media)
      return fail (err, ERR_NOT_VMDK,
                   "is not a VMDK but raw data: open its descriptor %s",
                   NAME (guess));
  }
  return fail (err, ERR_NOT_VMDK,
               "is not a VMDK: it starts with neither a descriptor nor a "
               "known magic number");
}

int
link_text_guess (struct media *media, enum file_guess *guess,
                 struct vmdk_error *err)
{
  CLEANUP_FREE struct start *start = malloc (sizeof *start);

  if (!start)
    return fail_memory (err);
  *guess = FILE_LIKE_NOTHING;
  if (media->size < 4)
    return 0;
  if (read_start (media, start, err) == -1)
    return -1;
  if (start->kind != FILE_UNKNOWN)
    *guess = FILE_LIKE_VMDK;
  else if (find_other (start))
    *guess = FILE_LIKE_OTHER;
  return 0;
}

/* -- Texts -------------------------------------------------------------- */

static int
parse_area (struct media *media, uint64_t offset, uint64_t size,
            const struct vmdk_log *log, struct descriptor **out,
            struct vmdk_error *err)
{
  CLEANUP_FREE char *text = malloc (size + 1);

  if (!text)
    return fail_memory (err);
  if (media_pread (media, text, size, offset, err) == -1)
    return -1;
  text[size] = '\0';
  if (text[0] == '\0') {
    *out = NULL; /* qemu gives split extents an area of zeros */
    return 0;
  }
  *out = descriptor_parse (text, size, log, err);
  return *out ? 0 : -1;
}

static int
read_text_file (struct media *media, const struct vmdk_log *log,
                struct link_text *out, struct vmdk_error *err)
{
  if (media->size > DESCRIPTOR_MAX_SIZE)
    return fail (err, ERR_CORRUPT,
                 "the descriptor has %" PRIu64 " bytes, more than %zu",
                 media->size, DESCRIPTOR_MAX_SIZE);
  return parse_area (media, 0, media->size, log, &out->descriptor, err);
}

/* The embedded text is the containing file's own descriptor: its first
 * extent is that file, under whatever name (it is often stale).
 */
static int
check_embedded (const struct descriptor *descriptor, bool only_descriptor,
                bool *self, struct vmdk_error *err)
{
  const struct extent_line *first = descriptor_extent (descriptor, 0);

  *self = first->type == EXTENT_SPARSE;
  if (!*self && !only_descriptor)
    return fail (err, ERR_CORRUPT,
                 "the embedded descriptor's first extent is %s, not SPARSE",
                 extent_type_name (first->type));
  return 0;
}

static int
read_kdmv (struct media *media, const struct start *start,
           const struct vmdk_log *log, struct link_text *out,
           struct vmdk_error *err)
{
  struct sparse_header h;
  bool ignored;

  if (start->len < SPARSE_HEADER_SIZE)
    return fail (err, ERR_CORRUPT,
                 "sparse header: the file has only %zu bytes", start->len);
  sparse_header_decode (start->bytes, &h);
  if (sparse_header_only_descriptor (&h)
        ? sparse_header_check_descriptor (&h, media->size, err) == -1
        : sparse_header_check (&h, media->size, &ignored, err) == -1)
    return -1;
  if (h.descriptor_offset == 0)
    return 0;
  if (parse_area (media, sectors_to_bytes (h.descriptor_offset),
                  sectors_to_bytes (h.descriptor_size), log, &out->descriptor,
                  err)
      == -1)
    return -1;
  if (!out->descriptor)
    return 0;
  return check_embedded (out->descriptor, sparse_header_only_descriptor (&h),
                         &out->embedded, err);
}

/* A descriptor for a file that has none. */
static int
make_lone (const struct start *start, const struct vmdk_log *log,
           struct link_text *out, struct vmdk_error *err)
{
  char text[200];
  uint64_t nr_sectors;
  const char *type;

  switch (start->kind) {
  case FILE_KDMV:
    nr_sectors = le64_load (start->bytes + 12);
    type = "SPARSE";
    break;
  case FILE_COWD:
    nr_sectors = le32_load (start->bytes + 12);
    type = "VMFSSPARSE";
    break;
  case FILE_SESPARSE:
    nr_sectors = le64_load (start->bytes + 16);
    type = "SESPARSE";
    break;
  default:
    return fail (err, ERR_NOT_VMDK,
                 "is not a sparse extent, so it cannot be read alone");
  }
  snprintf (text, sizeof text,
            "version=1\nCID=fffffffe\nparentCID=ffffffff\n"
            "createType=\"custom\"\nRW %" PRIu64 " %s \"lone extent\"\n",
            nr_sectors, type);
  out->descriptor = descriptor_parse (text, strlen (text), log, err);
  out->embedded = true;
  return out->descriptor ? 0 : -1;
}

int
link_text_read (struct store *store, const char *name, struct media *media,
                bool lone_extent, const struct vmdk_log *log,
                struct link_text *out, struct vmdk_error *err)
{
  CLEANUP_FREE struct start *start = malloc (sizeof *start);

  *out = (struct link_text){ 0 };
  if (!start)
    return fail_memory (err);
  if (read_start (media, start, err) == -1)
    return -1;
  if (lone_extent && start->kind != FILE_TEXT)
    return make_lone (start, log, out, err);

  switch (start->kind) {
  case FILE_TEXT:
    return read_text_file (media, log, out, err);
  case FILE_KDMV:
    if (read_kdmv (media, start, log, out, err) == -1)
      return -1;
    return out->descriptor
             ? 0
             : fail_extent (store, name,
                            "a sparse extent without a descriptor", err);
  case FILE_COWD:
    return fail_extent (store, name, "an extent of an ESX redo log (COWD)",
                        err);
  case FILE_SESPARSE:
    return fail_extent (store, name, "a seSparse extent", err);
  case FILE_CHANGE_TRACKING:
    return fail_extent (store, name, "a change tracking file", err);
  case FILE_UNKNOWN:
    break;
  }
  return fail_unknown (store, name, start, err);
}

/* Whether a KDMV file has a descriptor. */
static bool
has_embedded_text (struct media *media, const struct start *start)
{
  struct sparse_header h;
  struct vmdk_error ignored;
  uint8_t first = 0;

  if (start->len < SPARSE_HEADER_SIZE)
    return false;
  sparse_header_decode (start->bytes, &h);
  return h.descriptor_offset != 0 && h.descriptor_offset <= MAX_SECTORS
         && media_pread (media, &first, 1,
                         sectors_to_bytes (h.descriptor_offset), &ignored)
              == 0
         && first != 0;
}

bool
link_probe (struct media *media)
{
  CLEANUP_FREE struct start *start = malloc (sizeof *start);
  struct vmdk_error ignored;

  if (!start || read_start (media, start, &ignored) == -1)
    return false;
  return start->kind == FILE_TEXT
         || (start->kind == FILE_KDMV && has_embedded_text (media, start));
}
