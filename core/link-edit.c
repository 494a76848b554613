/* SPDX-License-Identifier: BSD-3-Clause */

/* Changing a link's descriptor.  See link-edit.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "link-edit.h"
#include "link-text.h"

/* Locks the link and its extents. */
static struct link *
open_alone (struct store *store, const char *name, enum store_open_flags flags,
            const struct operation *operation, struct vmdk_error *err)
{
  const bool writable = !operation->dry_run;
  const struct link_source source = {
    .rules = &operation->rules.open,
    .names = &operation->rules.names,
    .store = store,
    .name = name,
    .media =
      store_open (store, name, flags | (writable ? STORE_WRITABLE : 0), err),
    .writable = writable,
  };

  if (!source.media) {
    fail_prefix (err, "%s", NAME (name));
    return NULL;
  }
  return link_open (&source, err);
}

/* The text is as it shall be: perhaps since a call that was killed before it
 * was durable.
 */
static int
make_durable (struct link *link, struct vmdk_error *err)
{
  struct media *media = link->text ? link->text : link->extents[0]->media;

  if (media_flush (media, err) == -1)
    return fail_prefix (err, "%s", NAME (link->name));
  return store_flush (link->store, err);
}

int
link_edit_open (struct link *link, bool dry_run,
                int (*change) (void *opaque, struct descriptor *descriptor,
                               struct vmdk_error *err),
                void *opaque, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = link_text_now (link, err);
  CLEANUP_FREE char *before = NULL, *after = NULL;
  size_t len;

  if (!d)
    return -1;
  before = descriptor_print (d, &len, err);
  if (!before)
    return -1;
  if (change (opaque, d, err) == -1)
    return fail_prefix (err, "%s", NAME (link->name));
  after = descriptor_print (d, &len, err);
  if (!after)
    return -1;
  if (dry_run)
    return 0;
  return strcmp (before, after) == 0 ? make_durable (link, err)
                                     : link_replace_text (link, d, err);
}

int
link_edit (struct store *store, const char *name, enum store_open_flags flags,
           const struct operation *operation,
           int (*change) (void *opaque, struct descriptor *descriptor,
                          struct vmdk_error *err),
           void *opaque, struct vmdk_error *err)
{
  CLEANUP_LINK struct link *link =
    open_alone (store, name, flags, operation, err);

  return link ? link_edit_open (link, operation->dry_run, change, opaque, err)
              : -1;
}

struct descriptor *
link_look (struct store *store, const char *name, enum store_open_flags flags,
           const struct operation *operation, bool *embedded,
           struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = store_open (store, name, flags, err);
  struct link_text text = { 0 };

  if (!media
      || link_text_read (store, name, media, operation->rules.lone_extent,
                         &operation->rules.open.log, &text, err)
           == -1) {
    fail_prefix (err, "%s", NAME (name));
    descriptor_free (text.descriptor);
    return NULL;
  }
  if (embedded)
    *embedded = text.embedded;
  return text.descriptor;
}
