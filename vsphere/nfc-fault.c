/* SPDX-License-Identifier: BSD-3-Clause */

/* What refusals mean.  See nfc-fault.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "nfc-fault.h"

#define CODE_MEMORY 5
#define CODE_PERMISSION 11

static bool
says (const char *text, const char *words)
{
  return strstr (text, words) != NULL;
}

int
nfc_fault_refusal (struct nfc_fault *fault, uint64_t code, const char *text,
                   bool writable)
{
  if (says (text, "multiwriter mode"))
    return NFC_FAIL (fault, NFC_IN_USE, ERR_LOCKED,
                     "the host refuses: %s: a running virtual machine uses "
                     "the disk; power it off, or take a snapshot and open "
                     "what it has frozen",
                     NAME (text));
  if (says (text, "Failed to lock the file")
      || says (text, "DiskLib error 16392"))
    return NFC_FAIL (fault, NFC_LOCKED, ERR_LOCKED,
                     "the host refuses: %s: another reader or writer has the "
                     "disk open",
                     NAME (text));
  if (says (text, "Failed to allocate")
      || (code == CODE_MEMORY && text[0] == '\0')) {
    NFC_FAIL (fault, NFC_NO_MEMORY, ERR_SYSTEM,
              "the host has no memory for more requests: %s", NAME (text));
    fault->error.errnum = ENOMEM;
    return -1;
  }
  if (says (text, "permission check failed") || code == CODE_PERMISSION)
    return NFC_FAIL (fault, NFC_NOT_ALLOWED,
                     writable ? ERR_READ_ONLY : ERR_DENIED,
                     "the host refuses: %s: the disk is not one of the "
                     "virtual machine's%s",
                     NAME (text), writable ? ", or may not be written" : "");
  return NFC_FAIL (fault, NFC_IO_ERROR, ERR_SYSTEM,
                   "the host refuses: %s (code %" PRIu64 ")", NAME (text),
                   code);
}
