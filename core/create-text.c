/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor of a new link.
 *
 * It is written the way that all known readers take: CID, directly followed
 * by parentCID, both with eight digits; no blank line before an extent line
 * (qemu would count the extent twice); header, extents, disk database in
 * this order (VirtualBox takes no other).  Our own parser has the last word:
 * what it would refuse, or read otherwise, is not written.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "checked.h"
#include "cleanup.h"
#include "create-parts.h"
#include "log.h"

#define MAX_HINT_BYTES 4095

/* What an extent line has beside the name. */
#define EXTENT_LINE_EXTRA strlen ("RW 18014398509481983 VMFSSPARSE \"\" 0\n")

/* -- Random numbers ----------------------------------------------------- */

/* For telling disks apart, not for secrets: where the kernel has none, the
 * time must do.
 */
static void
random_bytes (void *buf, size_t count)
{
  uint8_t *p = buf;
  struct timespec now;

  while (count > 0) {
    const ssize_t r = getrandom (p, count, 0);

    if (r == -1 && errno != EINTR)
      break;
    if (r > 0) {
      p += r;
      count -= (size_t) r;
    }
  }
  for (; count > 0; count--) {
    clock_gettime (CLOCK_MONOTONIC, &now);
    *p++ = (uint8_t) (now.tv_nsec ^ now.tv_nsec >> 8 ^ getpid ());
  }
}

uint32_t
random_cid (uint32_t avoid)
{
  static const uint32_t never_written = UINT32_C (0xfffffffe);
  uint32_t cid;

  do
    random_bytes (&cid, sizeof cid);
  while (cid == 0 || cid == never_written || cid == CID_NONE || cid == avoid);
  return cid;
}

/* -- Geometry ----------------------------------------------------------- */

struct disk_geometry
disk_geometry_for (uint64_t nr_sectors, const char *adapter)
{
  static const uint64_t gib = UINT64_C (1) << 30;
  struct disk_geometry g = { .heads = 255, .sectors = 63 };

  if (strcmp (adapter, "ide") == 0)
    g.heads = 16;
  else if (nr_sectors < bytes_to_sectors (gib)) {
    g.heads = 64;
    g.sectors = 32;
  }
  else if (nr_sectors < bytes_to_sectors (2 * gib)) {
    g.heads = 128;
    g.sectors = 32;
  }
  g.cylinders = max_u64 (nr_sectors / (g.heads * g.sectors), 1);
  if (g.heads == 16)
    g.cylinders = min_u64 (g.cylinders, 16383);
  return g;
}

/* -- Names -------------------------------------------------------------- */

static bool
has_quote_or_control (const char *text)
{
  for (; *text; text++)
    if ((unsigned char) *text < 0x20 || *text == 0x7f || *text == '"')
      return true;
  return false;
}

/* The files of a link lie beside each other, and a descriptor has no way to
 * write a quote.
 */
static int
check_name (const struct new_link *link, const char *name,
            struct vmdk_error *err)
{
  CLEANUP_FREE char *last =
    new_link_extent_name (link, name, new_link_nr_extents (link) - 1);

  if (!last)
    return fail_memory (err);
  if (!store_name_is_inside (name) || strchr (name, '/')
      || has_quote_or_control (name))
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" cannot be the name of a disk: no slash, backslash, "
                 "quote, control byte or drive letter is allowed",
                 NAME (name));
  if (!store_name_is_inside (last))
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" cannot be the name of a disk: those of its extents "
                 "would be too long",
                 NAME (name));
  return 0;
}

static int
check_hint (const char *hint, struct vmdk_error *err)
{
  const size_t len = strlen (hint);

  if (len == 0)
    return fail (err, ERR_ARGUMENT, "the name of the parent is empty");
  if (len > MAX_HINT_BYTES)
    return fail (err, ERR_ARGUMENT,
                 "the name of the parent, \"%s\", has %zu bytes, at most %d "
                 "are allowed",
                 NAME (hint), len, MAX_HINT_BYTES);
  if (has_quote_or_control (hint))
    return fail (err, ERR_ARGUMENT,
                 "the name of the parent, \"%s\", has a quote or control "
                 "byte, which a descriptor cannot hold",
                 NAME (hint));
  return 0;
}

/* -- Text --------------------------------------------------------------- */

static void
print_header (FILE *out, const struct new_link *link)
{
  fprintf (out,
           "# Disk DescriptorFile\n"
           "version=1\n"
           "encoding=\"UTF-8\"\n"
           "CID=%08" PRIx32 "\n"
           "parentCID=%08" PRIx32 "\n"
           "isNativeSnapshot=\"no\"\n"
           "createType=\"%s\"\n",
           link->cid, link->parent_cid, link->kind->create_type);
  if (link->hint)
    fprintf (out, "parentFileNameHint=\"%s\"\n", link->hint);
}

/* qemu wants an offset after FLAT and none after anything else. */
static int
print_extents (FILE *out, const struct new_link *link, const char *name,
               struct vmdk_error *err)
{
  const char *type = extent_type_name (link->kind->line);
  const char *offset = link->kind->line == EXTENT_FLAT ? " 0" : "";

  fprintf (out, "\n# Extent description\n");
  for (size_t i = 0; i < new_link_nr_extents (link); i++) {
    CLEANUP_FREE char *extent = new_link_extent_name (link, name, i);

    if (!extent)
      return fail_memory (err);
    fprintf (out, "RW %" PRIu64 " %s \"%s\"%s\n",
             new_link_extent_sectors (link, i), type, extent, offset);
  }
  return 0;
}

/* A SCSI serial number with VMware's prefix.  A child has its parent's. */
static void
print_uuid (FILE *out)
{
  uint8_t u[16];

  random_bytes (u, sizeof u);
  memcpy (u, "\x60\x00\xc2", 3);
  u[3] = 0x90 | (u[3] & 0x0f);
  fprintf (out, "ddb.uuid = \"%02X %02X %02X %02x", u[0], u[1], u[2], u[3]);
  for (size_t i = 4; i < sizeof u; i++)
    fprintf (out, "%c%02x", i == 8 ? '-' : ' ', u[i]);
  fprintf (out, "\"\n");
}

/* It ends in the CID. */
static void
print_long_content_id (FILE *out, uint32_t cid)
{
  uint8_t id[12];

  random_bytes (id, sizeof id);
  fprintf (out, "ddb.longContentID = \"");
  for (size_t i = 0; i < sizeof id; i++)
    fprintf (out, "%02x", id[i]);
  fprintf (out, "%08" PRIx32 "\"\n", cid);
}

static void
print_database (FILE *out, const struct new_link *link)
{
  fprintf (out,
           "\n# The Disk Data Base \n#DDB\n\n"
           "ddb.adapterType = \"%s\"\n"
           "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
           "ddb.geometry.heads = \"%u\"\n"
           "ddb.geometry.sectors = \"%u\"\n",
           link->adapter, link->geometry.cylinders, link->geometry.heads,
           link->geometry.sectors);
  print_long_content_id (out, link->cid);
  if (link->kind->thin)
    fprintf (out, "ddb.thinProvisioned = \"1\"\n");
  if (link->tools_version)
    fprintf (out, "ddb.toolsVersion = \"%s\"\n", link->tools_version);
  if (link->uuid)
    fprintf (out, "ddb.uuid = \"%s\"\n", link->uuid);
  else if (!link->hint)
    print_uuid (out);
  fprintf (out, "ddb.virtualHWVersion = \"%u\"\n%s", link->hw_version,
           link->rest ? link->rest : "");
}

static char *
print (const struct new_link *link, const char *name, size_t *len,
       struct vmdk_error *err)
{
  CLEANUP_FREE char *text = NULL;
  FILE *out = open_memstream (&text, len);
  int r;

  if (!out) {
    fail_memory (err);
    return NULL;
  }
  print_header (out, link);
  r = print_extents (out, link, name, err);
  print_database (out, link);
  if (fclose (out) != 0)
    r = fail_memory (err);
  return r == -1 ? NULL : steal_ptr (&text);
}

/* Before a million lines are made for nothing. */
static int
check_lines (const struct new_link *link, const char *name,
             struct vmdk_error *err)
{
  const size_t line = strlen (name) + EXTENT_LINE_EXTRA + strlen ("-s99999");
  const size_t n = new_link_nr_extents (link);

  if (n > DESCRIPTOR_MAX_EXTENTS)
    return fail (err, ERR_ARGUMENT,
                 "%zu extents are more than the %d of a descriptor", n,
                 DESCRIPTOR_MAX_EXTENTS);
  if (n > 1 && n > (DESCRIPTOR_MAX_SIZE - 8192) / line)
    return fail (err, ERR_ARGUMENT,
                 "%zu extents with so long a name do not fit in a descriptor "
                 "of %zu bytes",
                 n, DESCRIPTOR_MAX_SIZE);
  return 0;
}

static int
check_area (const struct new_link *link, size_t len, struct vmdk_error *err)
{
  const size_t area = sectors_to_bytes (DESCRIPTOR_AREA_SECTORS);

  if (!link->kind->suffix && len >= area)
    return fail (err, ERR_ARGUMENT,
                 "a descriptor of %zu bytes does not fit in the %zu that are "
                 "embedded: the names or the metadata are too long",
                 len, area);
  return 0;
}

/* Read it back. */
static int
check_text (const struct new_link *link, const char *text, size_t len,
            struct vmdk_error *err)
{
  static const struct vmdk_log silent = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *d =
    descriptor_parse (text, len, &silent, err);
  const char *hint;
  uint32_t cid = CID_NONE;

  if (!d)
    return err->kind == ERR_SYSTEM
             ? -1
             : fail (err, ERR_ARGUMENT, "such a descriptor is refused: %s",
                     err->text);
  hint = descriptor_parent_hint (d);
  if (!descriptor_cid (d, &cid) || cid != link->cid
      || descriptor_parent_cid (d) != link->parent_cid
      || strcmp (hint ? hint : "", link->hint ? link->hint : "") != 0
      || descriptor_nr_extents (d) != new_link_nr_extents (link)
      || descriptor_nr_sectors (d) != link->nr_sectors)
    return fail (err, ERR_ARGUMENT, "a descriptor cannot say that");
  return 0;
}

char *
new_link_text (const struct new_link *link, const char *name, size_t *len,
               struct vmdk_error *err)
{
  CLEANUP_FREE char *text = NULL;

  if (check_name (link, name, err) == -1
      || (link->hint && check_hint (link->hint, err) == -1)
      || check_lines (link, name, err) == -1)
    return NULL;
  text = print (link, name, len, err);
  if (!text || check_area (link, *len, err) == -1
      || check_text (link, text, *len, err) == -1)
    return NULL;
  return steal_ptr (&text);
}
