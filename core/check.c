/* SPDX-License-Identifier: BSD-3-Clause */

/* The check of a disk: opens all that can be opened, and goes through it.
 * See check.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "chain.h"
#include "check-parts.h"
#include "checked.h"
#include "link-text.h"
#include "log.h"
#include "sparse-header.h"

/* What is read at once when all is read. */
#define READ_SIZE ((uint64_t) 1 << 20)

const char *
check_kind_name (enum check_kind kind)
{
  static const char *const names[] = {
#define CHECK_KIND_NAME_(id, name) name,
    CHECK_KINDS (CHECK_KIND_NAME_)
#undef CHECK_KIND_NAME_
  };

  return names[kind];
}

const char *
check_severity_name (enum check_severity severity)
{
  return severity == CHECK_ERROR  ? "error"
         : severity == CHECK_LEAK ? "leak"
                                  : "note";
}

/* -- Findings ----------------------------------------------------------- */

static void
count_finding (struct check_result *result, enum check_kind kind,
               enum check_severity severity, enum check_mending mending)
{
  result->nr_of_kind[kind]++;
  result->nr_mendable += mending != CHECK_STAYS;
  result->nr_mended += mending == CHECK_MENDED;
  switch (severity) {
  case CHECK_ERROR:
    result->nr_errors++;
    result->nr_errors_left += mending != CHECK_MENDED;
    break;
  case CHECK_LEAK:
    result->nr_leaks++;
    result->nr_leaks_left += mending != CHECK_MENDED;
    break;
  case CHECK_NOTE:
    result->nr_notes++;
    break;
  }
}

void
check_tell (struct checker *checker, enum check_kind kind,
            enum check_severity severity, enum check_mending mending,
            uint64_t offset, const char *fmt, ...)
{
  struct check_result *result = checker->result;
  char raw[ERROR_TEXT_SIZE], text[ERROR_TEXT_SIZE];
  va_list args;

  if (checker->silent)
    return;
  count_finding (result, kind, severity, mending);
  if (!checker->options->found || result->nr_of_kind[kind] > CHECK_MAX_TOLD)
    return;
  va_start (args, fmt);
  vsnprintf (raw, sizeof raw, fmt, args);
  va_end (args);
  text_escape (text, sizeof text, raw);

  const struct check_finding finding = {
    .kind = kind,
    .severity = severity,
    .mending = mending,
    .link = checker->link,
    .extent = checker->file,
    .offset = offset,
    .text = text,
  };
  checker->options->found (checker->options->opaque, &finding);
}

int
check_advance (struct checker *checker, uint64_t nr, struct vmdk_error *err)
{
  const uint64_t before = checker->done;

  checker->done += nr;
  checker->total = max_u64 (checker->total, checker->done);
  if (before / 256 == checker->done / 256)
    return 0;
  return operation_progress (checker->operation, checker->done, checker->total,
                             err);
}

/* TEXT without "NAME: " at its start. */
static const char *
without_name (const char *text, const char *name)
{
  char buf[NAME_TEXT_SIZE];
  const char *shown = name_text (buf, name);
  const size_t len = strlen (shown);

  return strncmp (text, shown, len) == 0 && strncmp (text + len, ": ", 2) == 0
           ? text + len + 2
           : text;
}

/* -- What does not open ------------------------------------------------- */

/* What we do not understand is not therefore wrong. */
static bool
is_damage (const struct vmdk_error *err)
{
  return err->kind != ERR_UNSUPPORTED && err->kind != ERR_DENIED;
}

static void
tell_error (struct checker *checker, enum check_kind kind, const char *link,
            const struct vmdk_error *err)
{
  const bool damage = is_damage (err);

  checker->link = link;
  checker->file = NULL;
  checker->result->nr_unchecked += !damage;
  check_tell (checker, damage ? kind : CHECK_NOT_CHECKED,
              damage ? CHECK_ERROR : CHECK_NOTE, CHECK_STAYS, CHECK_NOWHERE,
              "%s", without_name (err->text, link));
}

static void
bad_extent (void *opaque, const char *link, size_t i,
            const struct vmdk_error *err)
{
  (void) i;
  tell_error (opaque, CHECK_EXTENT, link, err);
}

/* Two users of one file would both have to be right about it. */
static void
bad_chain (void *opaque, const char *link, const struct vmdk_error *err)
{
  struct checker *checker = opaque;

  if (err->kind == ERR_CORRUPT)
    checker->may_repair = false;
  tell_error (checker, CHECK_CHAIN, link, err);
}

/* -- Data --------------------------------------------------------------- */

static int
read_run (const struct run *run, uint8_t *buf, uint64_t count,
          struct vmdk_error *err)
{
  if (run->state == RUN_DATA)
    return media_pread (run->media, buf, count, run->media_offset, err);
  return extent_read (run->extent, buf, count, run->extent_offset, err);
}

static void
tell_unreadable (struct checker *checker, const struct extent *extent,
                 uint64_t offset, const struct run *run,
                 const struct vmdk_error *err)
{
  const char *text = without_name (err->text, extent->name);

  check_tell (checker, CHECK_DATA, CHECK_ERROR, CHECK_STAYS,
              run->state == RUN_DATA ? run->media_offset : CHECK_NOWHERE,
              "byte %" PRIu64 " of the extent cannot be read: %s", offset,
              text);
}

/* Bytes that count as one step of progress. */
static uint64_t
work_unit (const struct extent *extent)
{
  return max_u64 (extent->grain_size, 65536);
}

/* Read a run that starts at OFFSET, of bytes or packed. */
static int
check_run (struct checker *checker, struct extent *extent, uint64_t offset,
           struct run run, uint8_t *buf, struct vmdk_error *err)
{
  const uint64_t end = offset + run.length;

  /* Packed grains are told singly. */
  for (uint64_t count; offset < end; offset += count) {
    count =
      run.state == RUN_DATA ? min_u64 (READ_SIZE, end - offset) : end - offset;
    if (read_run (&run, buf, count, err) == -1) {
      if (err->errnum == ENOMEM)
        return -1;
      tell_unreadable (checker, extent, offset, &run, err);
    }
    run.media_offset += count;
    if (check_advance (checker, div_round_up (count, work_unit (extent)), err)
        == -1)
      return -1;
  }
  return 0;
}

/* Read all that is stored. */
static int
check_data (struct checker *checker, struct extent *extent,
            struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *buf = malloc (max_u64 (READ_SIZE, extent->grain_size));
  struct run run = { 0 };

  if (!buf)
    return fail_memory (err);
  for (uint64_t offset = 0; offset < extent->size; offset += run.length) {
    if (extent_map (extent, offset, extent->size - offset, MAP_WHERE, &run,
                    err)
        == -1)
      return -1;
    if ((run.state == RUN_DATA || run.state == RUN_PACKED)
        && check_run (checker, extent, offset, run, buf, err) == -1)
      return -1;
  }
  return 0;
}

/* -- Extents ------------------------------------------------------------ */

static int
mend32 (struct extent_check *check, uint64_t offset, uint32_t value,
        uint64_t count, struct vmdk_error *err)
{
  uint8_t bytes[4];

  if (!check->checker->repairer)
    return 0;
  le32_store (bytes, value);
  return repair_write (check->checker->repairer, check->extent->media,
                       check->file, offset, bytes, count, err);
}

/* COWD: a writer that trusts freeSector must not overwrite what is there. */
static int
check_free_sector (struct extent_check *check, struct vmdk_error *err)
{
  const struct extent_layout *layout = &check->layout;
  const uint64_t size = div_round_up (check->extent->media->size, SECTOR_SIZE);
  const uint64_t used =
    div_round_up (max_u64 (check->used_end, layout->start), SECTOR_SIZE);

  if (layout->free_sector_at == 0
      || (layout->free_sector >= used && layout->free_sector <= size))
    return 0;

  const bool mends = check->nr_bad == 0;
  check_tell (
    check->checker, CHECK_HEADER, layout->unclean ? CHECK_NOTE : CHECK_ERROR,
    mends ? check_mends (check->checker) : CHECK_STAYS, layout->free_sector_at,
    "freeSector is %" PRIu64 ", and has to be from %" PRIu64
    ", the end of what is used, to %" PRIu64 ", the end of the file",
    layout->free_sector, used, size);
  if (!mends)
    return 0;
  return mend32 (check, layout->free_sector_at, (uint32_t) used, 4, err);
}

/* Taken off last. */
static int
check_unclean (struct extent_check *check, struct vmdk_error *err)
{
  const struct extent_layout *layout = &check->layout;
  struct checker *checker = check->checker;
  const bool mends = check->nr_bad == 0 && layout->unclean_size > 0;

  if (!layout->unclean)
    return 0;
  if (!layout->header && layout->unclean_size == 0) {
    check_tell (checker, CHECK_UNCLEAN, CHECK_ERROR, CHECK_STAYS,
                CHECK_NOWHERE,
                "the journal was not replayed: tables and data may be out of "
                "date; open the disk once on ESXi, or clone it there");
    return 0;
  }
  check_tell (checker, CHECK_UNCLEAN, CHECK_NOTE,
              mends ? check_mends (checker) : CHECK_STAYS, layout->unclean_at,
              "was not closed cleanly%s",
              layout->unclean_size == 0
                ? ": opening it for writing and closing it puts that right"
                : "");
  if (!mends || !checker->repairer)
    return 0;
  if (repair_commit (checker->repairer, err) == -1)
    return -1;
  return mend32 (check, layout->unclean_at, 0, layout->unclean_size, err);
}

static void
check_header (struct extent_check *check)
{
  const struct extent_layout *layout = &check->layout;
  const struct sparse_header *h = layout->header;
  const uint64_t line = bytes_to_sectors (check->extent->size);

  if (h && check->index && (h->flags & SPARSE_REDUNDANT_TABLES)
      && check->index->mirror_offset == 0) {
    check_tell (check->checker, CHECK_HEADER, CHECK_ERROR, CHECK_STAYS,
                CHECK_NOWHERE,
                "rgdOffset %" PRIu64
                " cannot be right: nothing is known of the redundant "
                "directory; copy the disk with vmdkit convert",
                h->rgd_offset);
    check->nr_bad++;
  }
  /* Told with the descriptor; what is behind the end is no leak. */
  check->nr_bad +=
    layout->capacity > line
    && layout->capacity - line >= bytes_to_sectors (check->extent->grain_size);
}

static void
tell_not_checked (struct extent_check *check)
{
  if (check->layout.end == 0)
    check_tell (check->checker, CHECK_NOT_CHECKED, CHECK_NOTE, CHECK_STAYS,
                CHECK_NOWHERE,
                "the journal, the free bitmap and the back map are not "
                "checked: their formats are not known");
}

static int
check_grains (struct extent_check *check, struct vmdk_error *err)
{
  const struct check_result before = *check->checker->result;

  check_header (check);
  if (check->layout.check_grain && check_stream (check, err) == -1)
    return -1;
  if (!check->index)
    return 0;
  if (check_tables (check, err) == -1 || check_rooms (check, err) == -1
      || (check->layout.check_grain
          && check_stream_tables (check, &before, &check->is_new, err) == -1)
      || check_free_sector (check, err) == -1
      || check_unclean (check, err) == -1)
    return -1;
  tell_not_checked (check);
  return check->checker->repairer
           ? repair_commit (check->checker->repairer, err)
           : 0;
}

/* What the file of extent I is called: an embedded descriptor's own name for
 * it is often stale.
 */
static const char *
file_name (const struct link *link, size_t i)
{
  return i == 0 && !link->text ? link->name
                               : store_plain_name (link->extents[i]->name);
}

static int
check_extent (struct checker *checker, const struct link *link, size_t i,
              struct vmdk_error *err)
{
  struct extent *extent = link->extents[i];
  struct extent_check check = { .checker = checker, .extent = extent };

  checker->result->nr_extents++;
  if (!extent)
    return 0;
  checker->file = check.file = file_name (link, i);
  if (extent->ops->layout) {
    extent->ops->layout (extent, &check.layout);
    check.index = check.layout.index;
    if (check_grains (&check, err) == -1)
      return -1;
  }
  return checker->options->data && extent->media && !check.is_new
           ? check_data (checker, extent, err)
           : 0;
}

/* -- Links -------------------------------------------------------------- */

/* What is said of a text while it is parsed. */
static void
listen (void *opaque, enum log_topic topic, const char *text)
{
  struct checker *checker = opaque;

  if (topic == LOG_WARNING)
    check_tell (checker, CHECK_DESCRIPTOR, CHECK_NOTE, CHECK_STAYS,
                CHECK_NOWHERE, "%s", text);
}

static int
check_text (struct checker *checker, const struct link *link,
            struct vmdk_error *err)
{
  const struct vmdk_log log = { .sink = listen, .opaque = checker };
  struct media *media = link->text         ? link->text
                        : link->extents[0] ? link->extents[0]->media
                                           : NULL;
  struct link_text text = { 0 };
  int r;

  if (!media || checker->operation->rules.lone_extent)
    return 0;
  r = link_text_read (link->store, link->name, media, false, &log, &text, err);
  descriptor_free (text.descriptor);
  return r;
}

static void
check_cid (struct checker *checker, const struct link *child,
           const struct link *parent)
{
  const uint32_t wanted = descriptor_parent_cid (child->descriptor);
  uint32_t cid;

  if (!descriptor_cid (parent->descriptor, &cid))
    check_tell (checker, CHECK_CHAIN, CHECK_ERROR, CHECK_STAYS, CHECK_NOWHERE,
                "was made on a parent with CID %08" PRIx32
                ", and %s has no CID",
                wanted, NAME (parent->name));
  else if (cid != wanted)
    check_tell (checker, CHECK_CHAIN, CHECK_ERROR, CHECK_STAYS, CHECK_NOWHERE,
                "was made on a parent with CID %08" PRIx32
                ", and %s has CID %08" PRIx32
                ": it was written since, or is another disk; vmdkit check "
                "--chain tells more",
                wanted, NAME (parent->name), cid);
}

static int
check_link (struct checker *checker, struct chain *chain, size_t nr,
            struct vmdk_error *err)
{
  const struct link *link = chain_link (chain, nr);

  checker->result->nr_links++;
  checker->link = link->name;
  checker->file = NULL;
  if (check_text (checker, link, err) == -1
      || check_descriptor (checker, link, err) == -1)
    return -1;
  if (nr + 1 < chain_nr_links (chain))
    check_cid (checker, link, chain_link (chain, nr + 1));
  for (size_t i = 0; i < link->nr_extents; i++)
    if (check_extent (checker, link, i, err) == -1)
      return fail_prefix (err, "%s", NAME (link->name));
  return 0;
}

static uint64_t
estimate (const struct checker *checker, struct chain *chain)
{
  uint64_t total = 0;

  for (size_t i = 0; i < chain_nr_links (chain); i++) {
    const struct link *link = chain_link (chain, i);

    for (size_t j = 0; j < link->nr_extents; j++) {
      struct extent *extent = link->extents[j];
      struct extent_layout layout = { 0 };

      if (!extent)
        continue;
      if (extent->ops->layout)
        extent->ops->layout (extent, &layout);
      if (layout.index)
        total += 2 * layout.index->nr_tables;
      if (checker->options->data)
        total +=
          extent->size / (extent->grain_size ? extent->grain_size : READ_SIZE);
    }
  }
  return total;
}

/* VMware's locks are files beside the disk's.  Whoever opens a disk to read it
 * is only warned of them; but what is being written cannot be judged.
 */
static int
check_not_used (const struct checker *checker, struct store *store,
                const char *name, struct vmdk_error *err)
{
  char holder[256];

  if (!checker->operation->rules.open.lock)
    return 0;
  if (store_lock_holder (store, name, holder, sizeof holder, err)
      == -1)
    return -1;
  return holder[0] ? fail (err, ERR_LOCKED,
                           "%s: %s (if nothing uses it any more, remove "
                           "%s.lck)",
                           NAME (name), holder, NAME (name))
                   : 0;
}

/* The first link, which may be repaired; then the others. */
static int
check_chain (struct checker *checker, struct chain *chain,
             struct vmdk_error *err)
{
  int r;

  checker->total = estimate (checker, chain);
  if (!checker->may_repair)
    checker->repairer = NULL;
  r = check_link (checker, chain, 0, err);
  checker->repairer = NULL;
  checker->is_ancestor = true;
  for (size_t i = 1; r == 0 && i < chain_nr_links (chain); i++)
    r = check_link (checker, chain, i, err);
  return r;
}

static int
open_and_check (struct checker *checker, struct store *store, const char *name,
                enum store_open_flags flags, struct vmdk_error *err)
{
  const struct operation *operation = checker->operation;
  const struct inspector inspector = {
    .bad_extent = bad_extent,
    .bad_chain = bad_chain,
    .opaque = checker,
  };
  struct chain_rules rules = operation->rules;
  CLEANUP_CHAIN struct chain *chain = NULL;

  rules.open.log.sink = NULL; /* findings say it */
  rules.open.accept_journal = rules.open.recover_stream = true;
  rules.ignore_cid = true;
  rules.writable = checker->repairer && !operation->dry_run;
  rules.inspector = &inspector;
  chain = chain_open (store, name, flags, &rules, err);
  if (!chain) {
    if (err->kind != ERR_CORRUPT && err->kind != ERR_DAMAGED)
      return -1;
    tell_error (checker, CHECK_EXTENT, name, err);
    return 0;
  }
  if (check_chain (checker, chain, err) == -1)
    return -1;
  if (operation->progress) /* too late to stop */
    operation->progress (operation->opaque, checker->total, checker->total);
  return 0;
}

/* What has lost a directory opens when that is mended, and not before. */
static int
check_all (struct checker *checker, struct store *store, const char *name,
           enum store_open_flags flags, struct vmdk_error *err)
{
  bool lost;

  if (check_not_used (checker, store, name, err) == -1
      || check_lost_directories (checker, store, name, flags, &lost, err)
           == -1)
    return -1;
  return lost && (!checker->repairer || checker->operation->dry_run)
           ? 0
           : open_and_check (checker, store, name, flags, err);
}

int
disk_check (struct store *store, const char *name, enum store_open_flags flags,
            const struct operation *operation,
            const struct check_options *options, struct check_result *result,
            struct vmdk_error *err)
{
  CLEANUP_REPAIRER struct repairer *repairer = NULL;
  struct checker checker = {
    .operation = operation,
    .options = options,
    .result = result,
    .may_repair = true,
  };
  int r;

  *result = (struct check_result){ 0 };
  if (options->repair && !operation->dry_run && !operation->rules.open.lock)
    return fail (err, ERR_READ_ONLY, "%s: cannot be repaired with lock=off",
                 NAME (name));
  if (options->repair) {
    repairer = repairer_new (store, name, operation->dry_run, err);
    if (!repairer)
      return -1;
  }
  checker.repairer = repairer;
  r = check_all (&checker, store, name, flags, err);
  if (repairer && repairer_backup (repairer)) {
    result->backup = strdup (repairer_backup (repairer));
    if (!result->backup)
      return fail_memory (err);
  }
  return r;
}
