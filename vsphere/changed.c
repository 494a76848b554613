/* SPDX-License-Identifier: BSD-3-Clause */

/* QueryChangedDiskAreas, page by page.  See changed.h.
 *
 * An area that is not told of is taken as unchanged, so a page that leaves
 * anything open is an error, never the end.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "changed.h"
#include "checked.h"

struct paging {
  const struct changed_query *query;
  int (*each) (void *opaque, uint64_t offset, uint64_t count,
               struct vmdk_error *err);
  void *opaque;
  uint64_t asked; /* all before has been answered */
  uint64_t told;  /* all areas before have been told */
};

static int
tell_area (struct paging *p, const struct xml_node *area,
           struct vmdk_error *err)
{
  uint64_t start, length;

  if (xml_u64 (xml_child (area, "start"), &start) == -1
      || xml_u64 (xml_child (area, "length"), &length) == -1
      || !range_inside (start, length, p->query->capacity))
    return fail (err, ERR_CORRUPT,
                 "a changed area begins at \"%s\" and has \"%s\" bytes, the "
                 "disk has %" PRIu64,
                 NAME (xml_text (area, "start")),
                 NAME (xml_text (area, "length")), p->query->capacity);
  if (start < p->told)
    return fail (err, ERR_CORRUPT,
                 "a changed area begins at %" PRIu64 ", the one before ends "
                 "at %" PRIu64,
                 start, p->told);
  p->told = start + length;
  return length ? p->each (p->opaque, start, length, err) : 0;
}

static int
read_page (struct paging *p, const struct xml_node *page,
           struct vmdk_error *err)
{
  uint64_t start, length, end;

  if (xml_u64 (xml_child (page, "startOffset"), &start) == -1
      || xml_u64 (xml_child (page, "length"), &length) == -1
      || add_overflow (start, length, &end))
    return fail (err, ERR_CORRUPT,
                 "an answer about changed areas does not say for what");
  if (start > p->asked || end <= p->asked)
    return fail (err, ERR_CORRUPT,
                 "asked for changed areas from %" PRIu64 ", the server "
                 "answers for %" PRIu64 " to %" PRIu64,
                 p->asked, start, end);
  for (const struct xml_node *area = xml_child (page, "changedArea"); area;
       area = xml_same (area))
    if (tell_area (p, area, err) == -1)
      return -1;
  p->asked = end;
  return 0;
}

static int
ask_page (struct session *session, struct paging *p, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const struct changed_query *query = p->query;
  char key[16];

  snprintf (key, sizeof key, "%" PRId32, query->key);
  soap_begin (&request, "QueryChangedDiskAreas", &query->vm);
  soap_add_ref (&request, "snapshot", &query->snapshot);
  soap_add (&request, "deviceKey", key);
  soap_add_u64 (&request, "startOffset", p->asked);
  soap_add (&request, "changeId", query->change_id);
  if (session_call (session, &request, &answer, err) == -1) {
    if (soap_is (&answer, "FileFault"))
      fail_prefix (err, "is changed block tracking on?");
    else if (soap_is (&answer, "InvalidArgument"))
      fail_prefix (err, "is change id %s of this disk?",
                   NAME (query->change_id));
    return -1;
  }
  return read_page (p, answer.value, err);
}

int
changed_areas (struct session *session, const struct changed_query *query,
               int (*each) (void *opaque, uint64_t offset, uint64_t count,
                            struct vmdk_error *err),
               void *opaque, struct vmdk_error *err)
{
  struct paging paging = { .query = query, .each = each, .opaque = opaque };

  while (paging.asked < query->capacity)
    if (ask_page (session, &paging, err) == -1)
      return -1;
  return 0;
}
