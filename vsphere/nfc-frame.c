/* SPDX-License-Identifier: BSD-3-Clause */

/* Encoding and decoding of NFC messages.  See nfc-frame.h. */

#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "nfc-frame.h"

/* --------------------------------------------------------------------- */
/* Classic messages. */

void
nfc_classic_encode (uint8_t out[NFC_CLASSIC_SIZE], enum nfc_classic_type type,
                    uint32_t first, uint32_t second)
{
  memset (out, 0, NFC_CLASSIC_SIZE);
  le32_store (out, type);
  le32_store (out + 4, first);
  le32_store (out + 8, second);
}

void
nfc_classic_encode_tag (uint8_t out[NFC_CLASSIC_SIZE], const char *tag)
{
  const size_t len = strlen (tag);

  assert (len <= NFC_TAG_SIZE);
  nfc_classic_encode (out, NFC_CLASSIC_TAG, 0, 0);
  memcpy (out + 4, tag, len);
}

size_t
nfc_classic_encode_names (uint8_t out[NFC_NAMES_SIZE], const char *name,
                          const char *purpose)
{
  const size_t name_len = strlen (name), purpose_len = strlen (purpose);

  assert (name_len <= NFC_MAX_CLIENT_NAME
          && purpose_len <= NFC_MAX_CLIENT_NAME);
  nfc_classic_encode (out, NFC_CLASSIC_NAMES, (uint32_t) name_len,
                      (uint32_t) purpose_len);
  memcpy (out + NFC_CLASSIC_SIZE, name, name_len);
  memcpy (out + NFC_CLASSIC_SIZE + name_len, purpose, purpose_len);
  return NFC_CLASSIC_SIZE + name_len + purpose_len;
}

void
nfc_classic_decode (struct nfc_classic *message,
                    const uint8_t in[NFC_CLASSIC_SIZE])
{
  message->type = le32_load (in);
  for (size_t i = 0; i < 5; i++)
    message->words[i] = le32_load (in + 4 + 4 * i);
}

/* --------------------------------------------------------------------- */
/* Headers. */

static const char *
name_of (uint32_t type)
{
  switch (type) {
  case NFC_ERROR:
    return "error";
  case NFC_OPEN_SESSION:
    return "open session";
  case NFC_CLOSE_SESSION:
    return "close session";
  case NFC_OPEN_FILE:
    return "open file";
  case NFC_CLOSE_FILE:
    return "close file";
  case NFC_IO:
    return "io";
  case NFC_SOCKET_OPTIONS:
    return "socket options";
  case NFC_DDB_GET:
    return "ddb get";
  case NFC_ALLOCATED:
    return "allocated";
  case NFC_RESOURCE_POOL:
    return "resource pool";
  }
  return NULL;
}

const char *
nfc_type_name (uint32_t type)
{
  const char *name = name_of (type);

  return name ? name : "?";
}

bool
nfc_type_is_known (uint32_t type)
{
  return name_of (type) != NULL;
}

void
nfc_header_encode (uint8_t out[NFC_HEADER_SIZE],
                   const struct nfc_header *header)
{
  le32_store (out, NFC_MAGIC);
  le32_store (out + 4, header->type);
  le32_store (out + 8, header->size);
  le32_store (out + 12, header->id);
}

int
nfc_header_decode (struct nfc_header *header,
                   const uint8_t in[NFC_HEADER_SIZE], struct vmdk_error *err)
{
  const uint32_t magic = le32_load (in);

  if (magic != NFC_MAGIC)
    return fail (err, ERR_SYSTEM,
                 "the host sent 0x%08" PRIx32 " where a message begins",
                 magic);
  header->type = le32_load (in + 4);
  header->size = le32_load (in + 8);
  header->id = le32_load (in + 12);
  if (header->size > NFC_MAX_PAYLOAD)
    return fail (err, ERR_SYSTEM,
                 "the host announced a message of type %" PRIu32
                 " with %" PRIu32 " bytes; the limit is %d",
                 header->type, header->size, NFC_MAX_PAYLOAD);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Requests. */

/* A frame with a payload of zeros; returns where the payload begins. */
static uint8_t *
begin (uint8_t *out, enum nfc_type type, uint32_t size, uint32_t id)
{
  const struct nfc_header header = { .type = type, .size = size, .id = id };

  nfc_header_encode (out, &header);
  memset (out + NFC_HEADER_SIZE, 0, size);
  return out + NFC_HEADER_SIZE;
}

size_t
nfc_encode_open_session (uint8_t *out, uint32_t id, uint32_t buffer_size,
                         uint32_t buffer_count)
{
  uint8_t *payload = begin (out, NFC_OPEN_SESSION, 16, id);

  le32_store (payload + 4, buffer_size);
  le32_store (payload + 8, buffer_count);
  return NFC_HEADER_SIZE + 16;
}

size_t
nfc_encode_socket_options (uint8_t *out, uint32_t id)
{
  begin (out, NFC_SOCKET_OPTIONS, 12, id);
  return NFC_HEADER_SIZE + 12;
}

size_t
nfc_encode_resource_pool (uint8_t *out, uint32_t id)
{
  le32_store (begin (out, NFC_RESOURCE_POOL, 4, id), 1);
  return NFC_HEADER_SIZE + 4;
}

/* Of the flags only the difference, 4, is known for sure: read-only. */
#define OPEN_READ_ONLY 0x1e
#define OPEN_WRITABLE 0x1a
#define FILE_TYPE_DISK 2

size_t
nfc_encode_open_file (uint8_t *out, uint32_t id, const char *path,
                      bool writable)
{
  const size_t len = strlen (path);
  uint8_t *payload = begin (out, NFC_OPEN_FILE, 60, id);

  assert (len <= NFC_MAX_PATH);
  le32_store (payload, (uint32_t) len);
  le32_store (payload + 16, FILE_TYPE_DISK);
  le32_store (payload + 20, writable ? OPEN_WRITABLE : OPEN_READ_ONLY);
  memcpy (payload + 60, path, len);
  return NFC_HEADER_SIZE + 60 + len;
}

size_t
nfc_encode_ddb_get (uint8_t *out, uint32_t id, uint64_t handle,
                    const char *key)
{
  const size_t len = strlen (key);
  uint8_t *payload = begin (out, NFC_DDB_GET, 16, id);

  assert (len <= NFC_MAX_KEY);
  le64_store (payload, handle);
  le32_store (payload + 8, (uint32_t) len);
  memcpy (payload + 16, key, len);
  return NFC_HEADER_SIZE + 16 + len;
}

size_t
nfc_encode_close_file (uint8_t *out, uint32_t id, uint64_t handle)
{
  le64_store (begin (out, NFC_CLOSE_FILE, 8, id), handle);
  return NFC_HEADER_SIZE + 8;
}

size_t
nfc_encode_close_session (uint8_t *out, uint32_t id)
{
  begin (out, NFC_CLOSE_SESSION, 4, id);
  return NFC_HEADER_SIZE + 4;
}

size_t
nfc_encode_allocated (uint8_t *out, uint32_t id, uint64_t handle,
                      uint64_t offset, uint64_t chunk, uint64_t nr_chunks)
{
  uint8_t *payload = begin (out, NFC_ALLOCATED, 48, id);

  le64_store (payload, handle);
  le64_store (payload + 16, chunk);
  le64_store (payload + 24, offset);
  le64_store (payload + 32, nr_chunks);
  return NFC_HEADER_SIZE + 48;
}

size_t
nfc_encode_io (uint8_t *out, uint32_t id, const struct nfc_io *io)
{
  uint8_t *payload = begin (out, NFC_IO, NFC_IO_PAYLOAD_SIZE, id);

  le64_store (payload, io->handle);
  le32_store (payload + 8, io->read);
  le32_store (payload + 12, io->compression);
  le64_store (payload + 16, io->offset);
  /* what follows total in a whole request to read is zero, too */
  le32_store (payload + 24, (uint32_t) io->total);
  le32_store (payload + 28, io->start);
  le32_store (payload + 32, io->length);
  le32_store (payload + 36, io->extra);
  return NFC_IO_SIZE;
}

/* --------------------------------------------------------------------- */
/* Answers. */

static int
too_short (enum nfc_type type, size_t size, size_t need,
           struct vmdk_error *err)
{
  return fail (err, ERR_SYSTEM,
               "the host answered (%s) with %zu bytes instead of %zu",
               nfc_type_name (type), size, need);
}

int
nfc_decode_error (struct nfc_error_answer *answer, const uint8_t *in,
                  size_t size, struct vmdk_error *err)
{
  if (size < 16)
    return too_short (NFC_ERROR, size, 16, err);
  answer->code = le64_load (in);
  answer->text_size = le32_load (in + 12);
  return 0;
}

int
nfc_decode_opened (struct nfc_opened *answer, const uint8_t *in, size_t size,
                   struct vmdk_error *err)
{
  if (size < 52)
    return too_short (NFC_OPEN_FILE, size, 52, err);
  answer->status = le64_load (in);
  answer->handle = le64_load (in + 8);
  answer->file_type = le32_load (in + 16);
  answer->flags = le32_load (in + 20);
  answer->capacity = le64_load (in + 28);
  answer->sector_size = le32_load (in + 36);
  answer->cylinders = le32_load (in + 40);
  answer->heads = le32_load (in + 44);
  answer->sectors = le32_load (in + 48);
  return 0;
}

int
nfc_decode_io (struct nfc_io *io, const uint8_t *in, size_t size,
               struct vmdk_error *err)
{
  if (size < 40)
    return too_short (NFC_IO, size, 40, err);
  io->handle = le64_load (in);
  io->read = le32_load (in + 8) != 0;
  io->compression = le32_load (in + 12);
  io->offset = le64_load (in + 16);
  io->total = le32_load (in + 24);
  io->start = le32_load (in + 28);
  io->length = le32_load (in + 32);
  io->extra = le32_load (in + 36);
  return 0;
}

int
nfc_decode_allocated (uint64_t *status, uint64_t *nr_chunks, const uint8_t *in,
                      size_t size, struct vmdk_error *err)
{
  if (size < 40)
    return too_short (NFC_ALLOCATED, size, 40, err);
  *status = le64_load (in);
  *nr_chunks = le64_load (in + 32);
  return 0;
}

uint64_t
nfc_allocated_bytes (uint64_t nr_chunks)
{
  /* whole 32-bit words */
  return div_round_up (nr_chunks, 32) * 4;
}

int
nfc_decode_extra (uint64_t *extra, uint32_t type, const uint8_t *in,
                  size_t size, struct vmdk_error *err)
{
  struct nfc_error_answer error;
  struct nfc_io io;
  uint64_t status = 0, nr_chunks = 0;

  *extra = 0;
  switch (type) {
  case NFC_ERROR:
    if (nfc_decode_error (&error, in, size, err) == -1)
      return -1;
    *extra = error.text_size;
    return 0;
  case NFC_IO:
    if (nfc_decode_io (&io, in, size, err) == -1)
      return -1;
    *extra = io.read && io.handle == 0 ? io.extra : 0;
    return 0;
  case NFC_DDB_GET:
    if (size < 16)
      return too_short (NFC_DDB_GET, size, 16, err);
    *extra = le32_load (in + 12);
    return 0;
  case NFC_ALLOCATED:
    if (nfc_decode_allocated (&status, &nr_chunks, in, size, err) == -1)
      return -1;
    *extra = status == 0 ? nfc_allocated_bytes (nr_chunks) : 0;
    return 0;
  }
  return 0;
}
