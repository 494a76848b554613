/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of disks on a host share: the host, and what its disk should
 * hold.  A test program defines SIZE first, and fills contents in a group's
 * setup that ends with host_start.
 */

#ifndef VMDKIT_NFC_DISK_HELPER_H
#define VMDKIT_NFC_DISK_HELPER_H

#include "nfc-helper.h"
#include "nfc-host.h"

static struct host host;
static uint8_t *contents; /* SIZE bytes */

/* Of a group. */
static inline int
teardown (void **state)
{
  (void) state;
  host_stop (&host);
  free (contents);
  return 0;
}

/* Of a test: nothing is left of what the one before wanted of the host. */
static inline int
clear (void **state)
{
  (void) state;
  host_clear (&host);
  return 0;
}

static inline struct nfc_disk *
must_open (const struct nfc_settings *settings, bool writable)
{
  enum nfc_reason reason;
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = host_open (&host, settings, writable, &reason, &err);

  if (!disk)
    fprintf (stderr, "%s\n", err.text);
  assert_non_null (disk);
  assert_true (nfc_disk_size (disk) == SIZE);
  return disk;
}

/* What the host's file holds is what we think. */
static inline void
assert_contents (void)
{
  uint8_t *buf = malloc (SIZE);

  assert_int_equal (pread (host.fd, buf, SIZE, 0), SIZE);
  assert_memory_equal (buf, contents, SIZE);
  free (buf);
}

#endif /* VMDKIT_NFC_DISK_HELPER_H */
