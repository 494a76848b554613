/* SPDX-License-Identifier: BSD-3-Clause */

/* The index of a tar archive: list it, open every member, read its ends. */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>

#include "checked.h"
#include "link.h"
#include "media.h"
#include "store.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static int
visit (void *opaque, const char *name, struct vmdk_error *err)
{
  struct store *store = opaque;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, err);
  uint8_t buf[64];

  if (!media)
    return 0; /* compressed or sparse members are refused here */
  if (media->size > 0) {
    const size_t n = min_u64 (sizeof buf, media->size);

    if (media_pread (media, buf, n, 0, err) == -1
        || media_pread (media, buf, n, media->size - n, err) == -1)
      abort (); /* the index said that this lies in the archive */
  }
  link_probe (media);
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct vmdk_error err = { 0 };
  struct media *archive = media_memory_new ("fuzz.ova", data, size, &err);
  struct store *store;

  if (!archive)
    abort ();
  store_tar_probe (archive);
  store = store_tar_new (archive, &err);
  if (!store) {
    if (err.kind == ERR_NONE || err.text[0] == '\0')
      abort ();
    return 0;
  }
  if (store_list (store, visit, store, &err) == -1)
    abort ();
  store_close (store);
  return 0;
}
