/* SPDX-License-Identifier: BSD-3-Clause */

/* A medium that is an NBD export, by libnbd.  The core does not know. */

#ifndef VMDKIT_NBD_MEDIA_H
#define VMDKIT_NBD_MEDIA_H

#include <stdbool.h>

#include "error.h"
#include "media.h"

/* Whether TEXT is an NBD URI: "nbd://...", "nbd+unix://...". */
extern bool nbd_is_uri (const char *text);

/* Connect to it, as often as is useful for THREADS threads.
 * ERR_UNSUPPORTED when libnbd was not built in.
 */
extern struct media *nbd_media_new (const char *uri, bool writable,
                                    unsigned threads, struct vmdk_error *err)
  __attribute__ ((warn_unused_result));

#endif /* VMDKIT_NBD_MEDIA_H */
