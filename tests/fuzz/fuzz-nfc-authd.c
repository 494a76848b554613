/* SPDX-License-Identifier: BSD-3-Clause */

/* The daemon's lines, and what is packed: the first byte says which. */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fastlz.h"
#include "nfc-authd.h"
#include "nfc-pack.h"
#include "skipz.h"

static void
take_line (const char *line)
{
  struct nfc_greeting greeting;
  struct vmdk_error err;
  struct tls_pin pin;
  char name[NFC_SERVICE_SIZE];
  const char *text;
  unsigned code;

  (void) !nfc_greeting_parse (&greeting, line, &err);
  if (nfc_service_name (name, line, true, &err) == 0
      && (strchr (name, '\n') || strchr (name, ' ')))
    abort ();
  if (nfc_reply_parse (&code, &text, line) == -1)
    return;
  if (code > 999)
    abort ();
  (void) !nfc_endpoint_check (text, true, &err);
  if (tls_pin_parse (&pin, text, &err) == 0 && pin.count != 20
      && pin.count != 32)
    abort ();
}

/* What unpacks is packed and unpacked again. */
static void
take_packed (uint32_t kind, const uint8_t *in, size_t in_size)
{
  static const size_t sizes[] = { 512, 4096, 65536, 131072 };
  static uint8_t out[131072], packed[131072], again[131072];
  struct vmdk_error err;

  for (size_t i = 0; i < 4; i++) {
    enum nfc_compression compression = (enum nfc_compression) (kind % 4);
    size_t n;

    if (nfc_unpack (kind, out, sizes[i], in, in_size, &err) == -1)
      continue;
    n = nfc_pack (&compression, packed, out, sizes[i]);
    if (n > sizes[i]
        || nfc_unpack (compression, again, sizes[i], packed, n, &err) == -1
        || memcmp (out, again, sizes[i]) != 0)
      abort ();
  }
}

extern int LLVMFuzzerTestOneInput (const uint8_t *input, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t size)
{
  if (size == 0)
    return 0;
  if (input[0] < 5) {
    take_packed (input[0], input + 1, size - 1);
    return 0;
  }
  {
    char *line = strndup ((const char *) input, size);

    if (!line)
      abort ();
    take_line (line);
    free (line);
  }
  return 0;
}
