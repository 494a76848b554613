/* SPDX-License-Identifier: BSD-3-Clause */

/* Tickets for port 902, which a vCenter or a host gives for one disk of one
 * machine: to read, for any of its files, or where that is not permitted for
 * the disk with a key; to write, for that disk.
 */

#ifndef VMDKIT_TICKET_OFFICE_H
#define VMDKIT_TICKET_OFFICE_H

#include <stdint.h>

#include "nfc-ticket.h"
#include "session.h"

struct ticket_office {
  struct session *session; /* borrowed */
  struct vim_ref vm;
  int32_t disk_key;
  struct vim_ref service; /* found with the first ticket */
};

/* What struct nfc_ticket_office wants: OPAQUE is a struct ticket_office. */
extern int ticket_office_ask (void *opaque, bool writable,
                              struct nfc_ticket *ticket,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

#endif /* VMDKIT_TICKET_OFFICE_H */
