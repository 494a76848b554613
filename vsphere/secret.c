/* SPDX-License-Identifier: BSD-3-Clause */

/* Secrets have pages of their own.  See secret.h. */

#include <config.h>

#include <string.h>
#include <sys/mman.h>

#include "secret.h"

struct secret {
  size_t size;
  char text[];
};

struct secret *
secret_new (const char *text)
{
  const size_t len = strlen (text);
  const size_t size = sizeof (struct secret) + len + 1;
  struct secret *secret = mmap (NULL, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (secret == MAP_FAILED)
    return NULL;
  /* neither is a condition for going on */
  (void) madvise (secret, size, MADV_DONTDUMP);
  (void) mlock (secret, size);
  secret->size = size;
  memcpy (secret->text, text, len + 1);
  return secret;
}

const char *
secret_text (const struct secret *secret)
{
  return secret->text;
}

void
secret_free (struct secret *secret)
{
  if (!secret)
    return;
  explicit_bzero (secret->text, secret->size - sizeof *secret);
  munmap (secret, secret->size);
}
