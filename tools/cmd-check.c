/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit check: is a disk sound?  Repairs it, or undoes a repair, if that is
 * wanted.  The work is done in check.h, check-chain.h and repair.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "check-chain.h"
#include "check.h"
#include "repair.h"
#include "tool.h"

/* Findings of one kind that are printed, without --all. */
#define FEW 20

static int repair, data, accept_loss, all, look_at_chain, force, undo;

static const struct poptOption options[] = {
  { "repair", 'r', POPT_ARG_NONE, &repair, 0,
    "Mend what can be mended without guessing", NULL },
  OPTION_DRY_RUN ("Only say what --repair or --undo would do"),
  { "data", 0, POPT_ARG_NONE, &data, 0,
    "Read all that is stored, too, and inflate it", NULL },
  { "accept-loss", 0, POPT_ARG_NONE, &accept_loss, 0,
    "With --repair: zeros for what was cut off a stream", NULL },
  { "all", 0, POPT_ARG_NONE, &all, 0, "Print every finding, not only a few",
    NULL },
  { "chain", 0, POPT_ARG_NONE, &look_at_chain, 0,
    "Only look at how links and parents fit", NULL },
  { "force", 0, POPT_ARG_NONE, &force, 0,
    "Mend a chain though the parent has changed", NULL },
  { "undo", 0, POPT_ARG_NONE, &undo, 0,
    "DISK is a repair's backup: put its bytes back", NULL },
  POPT_TABLEEND
};

/* Where findings go. */
struct report {
  const struct place *place;
  json_t *findings; /* with --json */
  uint64_t told[CHECK_NR_KINDS];
  bool failed; /* for want of memory */
};

static int
status_of (const struct check_result *result)
{
  return result->nr_errors_left > 0  ? EXIT_DAMAGED
         : result->nr_leaks_left > 0 ? EXIT_LEAKS
                                     : EXIT_DONE;
}

static const char *
mending_name (enum check_mending mending)
{
  return mending == CHECK_MENDED     ? "mended"
         : mending == CHECK_MENDABLE ? "mendable"
                                     : "stays";
}

static void
add (struct report *report, json_t *array, json_t *value)
{
  if (json_array_append_new (array, value) == -1)
    report->failed = true;
}

/* -- Findings ----------------------------------------------------------- */

static void
add_finding (struct report *report, const struct check_finding *finding)
{
  json_t *object = json_pack (
    "{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "severity",
    check_severity_name (finding->severity), "kind",
    check_kind_name (finding->kind), "repair", mending_name (finding->mending),
    "link", json_text (finding->link), "file",
    finding->extent ? json_text (finding->extent) : json_null (), "offset",
    finding->offset == CHECK_NOWHERE
      ? json_null ()
      : json_integer ((json_int_t) finding->offset),
    "text", json_text (finding->text));

  add (report, report->findings, object);
}

/* "FOLDER/a.vmdk: error: grain 7 ... (byte 2048, mended)" */
static void
print_finding (const struct report *report,
               const struct check_finding *finding)
{
  CLEANUP_FREE char *path = file_path (
    report->place->store, finding->extent ? finding->extent : finding->link);
  const char *how = finding->mending == CHECK_STAYS    ? NULL
                    : finding->mending == CHECK_MENDED ? "mended"
                                                       : "--repair mends it";
  const bool placed = finding->offset != CHECK_NOWHERE;

  progress_hide ();
  printf ("%s: %s: %s", NAME (path ? path : finding->link),
          check_severity_name (finding->severity), finding->text);
  if (placed || how)
    printf (" (");
  if (placed)
    printf ("byte %" PRIu64 "%s", finding->offset, how ? ", " : "");
  printf ("%s%s\n", how ? how : "", placed || how ? ")" : "");
}

static void
found (void *opaque, const struct check_finding *finding)
{
  struct report *report = opaque;
  const bool many = report->told[finding->kind]++ >= FEW;
  struct check_finding ours = *finding;
  char text[ERROR_TEXT_SIZE];

  if (settings.quiet && finding->severity == CHECK_NOTE)
    return;
  text_options (text, sizeof text, finding->text);
  ours.text = text;
  if (report->findings)
    add_finding (report, &ours);
  else if (!many || all)
    print_finding (report, &ours);
}

/* -- Results ------------------------------------------------------------ */

static json_t *
kinds_json (const struct check_result *result)
{
  json_t *object = json_object ();

  for (int i = 0; object && i < CHECK_NR_KINDS; i++)
    if (result->nr_of_kind[i] > 0)
      json_object_set_new (object, check_kind_name ((enum check_kind) i),
                           json_integer ((json_int_t) result->nr_of_kind[i]));
  return object;
}

static int
print_result_json (const struct report *report,
                   const struct check_result *result)
{
#define COUNT(value) ((json_int_t) (value))
  return print_json (json_pack (
    "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, "
    "s:o, s:O}",
    "disk", json_text (report->place->text), "errors",
    COUNT (result->nr_errors), "leaks", COUNT (result->nr_leaks), "notes",
    COUNT (result->nr_notes), "errors-left", COUNT (result->nr_errors_left),
    "leaks-left", COUNT (result->nr_leaks_left), "mendable",
    COUNT (result->nr_mendable), "mended", COUNT (result->nr_mended),
    "leaked-bytes", COUNT (result->leaked), "links", COUNT (result->nr_links),
    "extents", COUNT (result->nr_extents), "tables", COUNT (result->nr_tables),
    "grains", COUNT (result->nr_grains), "backup",
    result->backup ? json_text (result->backup) : json_null (), "kinds",
    kinds_json (result), "findings", report->findings));
#undef COUNT
}

static void
print_more (const struct check_result *result)
{
  for (int i = 0; i < CHECK_NR_KINDS; i++) {
    const uint64_t shown = all ? CHECK_MAX_TOLD : FEW;

    if (result->nr_of_kind[i] > shown)
      printf ("%" PRIu64 " more of the kind %s%s\n",
              result->nr_of_kind[i] - shown,
              check_kind_name ((enum check_kind) i),
              all ? "" : " (--all prints them)");
  }
}

static const char *
plural (uint64_t n)
{
  return n == 1 ? "" : "s";
}

static int
print_result (const struct report *report, const struct check_result *result)
{
  const char *text = report->place->text;
  char leaked[32];

  progress_hide ();
  print_more (result);
  if (result->nr_errors == 0 && result->nr_leaks == 0)
    printf ("%s: no errors%s\n", NAME (text),
            result->nr_unchecked > 0 ? " in what could be checked" : "");
  else
    printf ("%s: %" PRIu64 " error%s, %" PRIu64 " leak%s (%s)\n", NAME (text),
            result->nr_errors, plural (result->nr_errors), result->nr_leaks,
            plural (result->nr_leaks),
            size_text (result->leaked, leaked, sizeof leaked));
  if (result->nr_mended > 0)
    printf ("%s: %" PRIu64 " mended, %" PRIu64 " error%s and %" PRIu64
            " leak%s left\n",
            NAME (text), result->nr_mended, result->nr_errors_left,
            plural (result->nr_errors_left), result->nr_leaks_left,
            plural (result->nr_leaks_left));
  if (result->backup)
    tell_note ("the bytes before the repair are in %s; vmdkit check --undo "
               "puts them back",
               NAME (result->backup));
  return print_finish ();
}

static int
tell_unchecked (const struct place *place)
{
  struct vmdk_error err;

  fail (&err, ERR_UNSUPPORTED, "not all of it could be checked");
  return tell_failure (place->text, &err);
}

static int
check (const struct place *place, const struct operation *operation)
{
  struct report report = { .place = place };
  const struct check_options how = {
    .data = data,
    .repair = repair,
    .accept_loss = accept_loss,
    .found = found,
    .opaque = &report,
  };
  struct check_result result = { 0 };
  struct vmdk_error err;
  int status;

  if (settings.json) {
    report.findings = json_array ();
    report.failed = !report.findings;
  }
  if (disk_check (place->store, place->name, place->flags, operation, &how,
                  &result, &err)
      == -1) {
    status = tell_failure (place->text, &err);
    if (result.backup)
      tell_note ("the bytes that were changed before that are in %s",
                 NAME (result.backup));
  }
  else if (report.failed) {
    fail_memory (&err);
    status = tell_failure (place->text, &err);
  }
  else {
    status = settings.json ? print_result_json (&report, &result)
                           : print_result (&report, &result);
    if (status == EXIT_DONE)
      status = status_of (&result);
    if (result.nr_unchecked > 0 && status != EXIT_DAMAGED)
      status = tell_unchecked (place);
  }
  json_decref (report.findings);
  free (result.backup);
  return status;
}

/* -- Chains ------------------------------------------------------------- */

static int64_t
modified (void *opaque, const struct store *store, const char *name)
{
  CLEANUP_FREE char *path = file_path (store, name);
  struct stat st;

  (void) opaque;
  return path && stat (path, &st) == 0 ? (int64_t) st.st_mtime : -1;
}

/* "2023-05-17 11:02:44", or "at an unknown time" */
static const char *
time_text (int64_t seconds, char *text, size_t size)
{
  const time_t time = (time_t) seconds;
  struct tm tm;

  if (seconds == -1 || !localtime_r (&time, &tm)
      || strftime (text, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
    snprintf (text, size, "an unknown time");
  return text;
}

static const char *
cause_name (enum chain_break_cause cause)
{
  static const char *const names[] = {
    [BREAK_COMMITTED] = "commit-interrupted",
    [BREAK_PARENT_NEWER] = "parent-newer",
    [BREAK_CHILD_NEWER] = "child-newer",
    [BREAK_UNKNOWN] = "unknown",
  };

  return names[cause];
}

static const char *
cause_text (enum chain_break_cause cause)
{
  static const char *const texts[] = {
    [BREAK_COMMITTED] =
      "The parent has the child's own ID: a commit of the child was "
      "interrupted.\nRun vmdkit commit once more; nothing is lost.",
    [BREAK_PARENT_NEWER] =
      "The parent was changed after the child.  Where the child has nothing "
      "of its\nown it reads what the parent has now, and that may not fit.  "
      "A copy of the\nparent as it was is what the child needs; vmdkit attach "
      "or --parent takes it.",
    [BREAK_CHILD_NEWER] =
      "The child was changed after the parent.  If it has been working so, "
      "only the\nparent's ID is new, or the child's text is wrong, and "
      "--repair puts that right.\nIf the parent was written before that, the "
      "child reads a mixture.",
    [BREAK_UNKNOWN] =
      "The times of the files do not tell which was changed last.  If the "
      "parent was\nwritten since the child was made, the child reads a "
      "mixture.",
  };

  return texts[cause];
}

static void
print_break (void *opaque, const struct chain_break *b)
{
  char cid[16] = "no CID", child[32], parent[32];

  (void) opaque;
  if (b->has_cid)
    snprintf (cid, sizeof cid, "CID %08" PRIx32, b->cid);
  printf ("%s was made on a parent with CID %08" PRIx32 ", and its parent %s "
          "has %s.\n",
          NAME (b->child), b->wanted, NAME (b->parent), cid);
  printf ("The child was changed last at %s, the parent at %s.\n%s\n",
          time_text (b->child_time, child, sizeof child),
          time_text (b->parent_time, parent, sizeof parent),
          cause_text (b->cause));
  if (b->other)
    printf ("%s has the ID that the child names: perhaps that is its parent "
            "(vmdkit attach).\n",
            NAME (b->other));
  if (b->mending == CHECK_MENDED)
    printf ("Now %s names CID %08" PRIx32 ", and opens over %s; what it reads "
            "is what the two\nhave.\n",
            NAME (b->child), b->cid, NAME (b->parent));
  else if (b->mending == CHECK_MENDABLE)
    printf ("--repair makes the child name CID %08" PRIx32 ".\n", b->cid);
  else if (repair)
    printf ("It stays as it is%s.\n",
            b->cause == BREAK_PARENT_NEWER || b->cause == BREAK_COMMITTED
              ? "; --force makes the child name the parent's ID all the same"
              : "");
}

static void
add_break (void *opaque, const struct chain_break *b)
{
  struct report *report = opaque;
  char wanted[9], cid[9];

  snprintf (wanted, sizeof wanted, "%08" PRIx32, b->wanted);
  snprintf (cid, sizeof cid, "%08" PRIx32, b->cid);
  add (report, report->findings,
       json_pack (
         "{s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:s}", "child",
         json_text (b->child), "parent", json_text (b->parent), "parent-cid",
         wanted, "cid", b->has_cid ? json_string (cid) : json_null (), "cause",
         cause_name (b->cause), "child-time", json_integer (b->child_time),
         "parent-time", json_integer (b->parent_time), "other",
         b->other ? json_text (b->other) : json_null (), "repair",
         mending_name (b->mending)));
}

static int
print_chain (const struct report *report, const struct check_result *result)
{
  if (report->findings)
    return print_json (json_pack (
      "{s:o, s:I, s:I, s:I, s:o, s:O}", "disk",
      json_text (report->place->text), "links", (json_int_t) result->nr_links,
      "errors", (json_int_t) result->nr_errors, "errors-left",
      (json_int_t) result->nr_errors_left, "backup",
      result->backup ? json_text (result->backup) : json_null (), "breaks",
      report->findings));
  if (result->nr_errors == 0)
    printf ("%s: %" PRIu64 " link%s, all made on what is their parent\n",
            NAME (report->place->text), result->nr_links,
            plural (result->nr_links));
  if (result->backup)
    tell_note ("the old ID is in %s; vmdkit check --undo puts it back",
               NAME (result->backup));
  return print_finish ();
}

static int
check_chain (const struct place *place, const struct operation *operation)
{
  struct report report = { .place = place };
  const struct chain_options how = {
    .repair = repair,
    .force = force,
    .modified = modified,
    .found = settings.json ? add_break : print_break,
    .opaque = &report,
  };
  struct check_result result = { 0 };
  struct vmdk_error err;
  int status;

  if (settings.json)
    report.findings = json_array ();
  if (disk_check_chain (place->store, place->name, place->flags, operation,
                        &how, &result, &err)
      == -1)
    status = tell_failure (place->text, &err);
  else {
    status = print_chain (&report, &result);
    if (status == EXIT_DONE)
      status = status_of (&result);
  }
  json_decref (report.findings);
  free (result.backup);
  return status;
}

/* -- Undoing ------------------------------------------------------------ */

static int
undo_repair (const struct place *place, const struct operation *operation)
{
  struct vmdk_error err;
  uint64_t nr_dropped;
  char text[32];

  if (repair_undo (place->store, place->name, operation, &nr_dropped, &err)
      == -1)
    return tell_failure (place->text, &err);
  if (nr_dropped > 0)
    tell_note ("%s, which nothing used, cannot be had back",
               size_text (nr_dropped, text, sizeof text));
  if (settings.json)
    return print_json (json_pack ("{s:I, s:b}", "dropped",
                                  (json_int_t) nr_dropped, "dry-run",
                                  settings.dry_run));
  if (!settings.dry_run)
    tell_note ("the old bytes are back; %s can be removed",
               NAME (place->text));
  return EXIT_DONE;
}

/* --------------------------------------------------------------------- */

static int
check_options (const char **arguments)
{
  (void) arguments;
  if (undo && (repair || data || accept_loss || look_at_chain || force))
    return usage_error ("--undo goes with no option but --dry-run");
  if (look_at_chain && (data || accept_loss))
    return usage_error ("--chain looks at no data");
  if (accept_loss && !repair)
    return usage_error ("--accept-loss is for --repair");
  if (force && !(look_at_chain && repair))
    return usage_error ("--force is for --chain --repair");
  if (settings.dry_run && !repair && !undo)
    return usage_error ("--dry-run is for --repair and --undo");
  return -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (place_find (&place, arguments[0], &err) == -1)
    return tell_failure (arguments[0], &err);
  if (undo)
    return undo_repair (&place, operation);
  if (look_at_chain)
    return check_chain (&place, operation);
  operation_show (operation, repair ? "Repairing" : "Checking");
  return check (&place, operation);
}

const struct command command_check = {
  .name = "check",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "Find what is wrong with a disk, and repair it",
  .options = options,
  .check = check_options,
  .run = run,
};
