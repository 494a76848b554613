/* SPDX-License-Identifier: BSD-3-Clause */

/* The messages of the NFC disk protocol as bytes: no connection, no state.
 *
 * Two shapes follow one another on a connection:
 *
 *   classic   264 bytes: a type, a few words, zeros; some are followed by
 *             text.  Used for the handshake only.
 *   frames    a header of 16 bytes, a payload whose size the header tells,
 *             and extra bytes (a path, data, bits) whose number follows from
 *             the payload, not from the header.
 *
 * Numbers are little-endian and fields are not aligned.  Names are ours: they
 * say what a message does here.  Encoders write what a client sends; decoders
 * take what a host answers, and believe none of it.  What is sent one way is
 * never decoded here: the tests' host does that.
 */

#ifndef VMDKIT_NFC_FRAME_H
#define VMDKIT_NFC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* --------------------------------------------------------------------- */
/* Classic messages. */

#define NFC_CLASSIC_SIZE 264
#define NFC_TAG_SIZE 16
#define NFC_MAX_CLIENT_NAME 32

enum nfc_classic_type {
  NFC_CLASSIC_COMPLETE = 4,    /* the end, or a refusal */
  NFC_CLASSIC_ERROR = 20,      /* followed by text */
  NFC_CLASSIC_PARAMETERS = 33, /* session parameters */
  NFC_CLASSIC_STATUS = 36,     /* the answer to them */
  NFC_CLASSIC_TAG = 43,        /* what was sent with THUMBPRINT_SHA2 */
  NFC_CLASSIC_VERSION = 51,
  NFC_CLASSIC_FRAMES = 52, /* frames follow */
  NFC_CLASSIC_NAMES = 54,  /* followed by two texts */
  NFC_CLASSIC_FEATURES = 55,
};

struct nfc_classic {
  uint32_t type;
  uint32_t words[5]; /* at 4, 8, 12, 16, 20 */
};

/* A message with two words; the rest is zeros. */
extern void nfc_classic_encode (uint8_t out[NFC_CLASSIC_SIZE],
                                enum nfc_classic_type type, uint32_t first,
                                uint32_t second) __attribute__ ((nonnull (1)));

extern void nfc_classic_encode_tag (uint8_t out[NFC_CLASSIC_SIZE],
                                    const char *tag)
  __attribute__ ((nonnull (1, 2)));

/* The client's name, at most NFC_MAX_CLIENT_NAME bytes, and what it wants;
 * returns how many bytes were written.
 */
#define NFC_NAMES_SIZE (NFC_CLASSIC_SIZE + 2 * NFC_MAX_CLIENT_NAME)
extern size_t nfc_classic_encode_names (uint8_t out[NFC_NAMES_SIZE],
                                        const char *name, const char *purpose)
  __attribute__ ((nonnull (1, 2, 3)));

extern void nfc_classic_decode (struct nfc_classic *message,
                                const uint8_t in[NFC_CLASSIC_SIZE])
  __attribute__ ((nonnull (1, 2)));

/* --------------------------------------------------------------------- */
/* Frames. */

#define NFC_MAGIC UINT32_C (0xA100DA7A)
#define NFC_HEADER_SIZE 16
#define NFC_MAX_PAYLOAD (64 * 1024) /* the largest known is 60 */
#define NFC_MAX_TEXT (64 * 1024)    /* of an error, of an entry's value */
#define NFC_MAX_PATH 4096
#define NFC_MAX_KEY 256

enum nfc_type {
  NFC_ERROR = 1,
  NFC_OPEN_SESSION = 2,
  NFC_CLOSE_SESSION = 3,
  NFC_OPEN_FILE = 4,
  NFC_CLOSE_FILE = 5,
  NFC_IO = 7,
  NFC_SOCKET_OPTIONS = 9,
  NFC_DDB_GET = 11,
  NFC_ALLOCATED = 13,
  NFC_RESOURCE_POOL = 22,
};

/* Its name for the log; "?" for a type that we do not know. */
extern const char *nfc_type_name (uint32_t type);
extern bool nfc_type_is_known (uint32_t type);

struct nfc_header {
  uint32_t type, size, id;
};

extern void nfc_header_encode (uint8_t out[NFC_HEADER_SIZE],
                               const struct nfc_header *header)
  __attribute__ ((nonnull (1, 2)));

/* Refuses a wrong magic and a payload above NFC_MAX_PAYLOAD: there is no way
 * to find where the next frame begins.
 */
extern int nfc_header_decode (struct nfc_header *header,
                              const uint8_t in[NFC_HEADER_SIZE],
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Requests.  Each writes a whole frame, extra included where it is short, and
 * returns its size, which is at most NFC_REQUEST_SIZE (plus path or key).
 */
#define NFC_REQUEST_SIZE (NFC_HEADER_SIZE + 60)

extern size_t nfc_encode_open_session (uint8_t *out, uint32_t id,
                                       uint32_t buffer_size,
                                       uint32_t buffer_count)
  __attribute__ ((nonnull (1)));
extern size_t nfc_encode_socket_options (uint8_t *out, uint32_t id)
  __attribute__ ((nonnull (1)));
extern size_t nfc_encode_resource_pool (uint8_t *out, uint32_t id)
  __attribute__ ((nonnull (1)));
extern size_t nfc_encode_open_file (uint8_t *out, uint32_t id,
                                    const char *path, bool writable)
  __attribute__ ((nonnull (1, 3)));
extern size_t nfc_encode_ddb_get (uint8_t *out, uint32_t id, uint64_t handle,
                                  const char *key)
  __attribute__ ((nonnull (1, 4)));
extern size_t nfc_encode_close_file (uint8_t *out, uint32_t id,
                                     uint64_t handle)
  __attribute__ ((nonnull (1)));
extern size_t nfc_encode_close_session (uint8_t *out, uint32_t id)
  __attribute__ ((nonnull (1)));

/* NR_CHUNKS chunks of CHUNK bytes from OFFSET, a multiple of CHUNK. */
extern size_t nfc_encode_allocated (uint8_t *out, uint32_t id, uint64_t handle,
                                    uint64_t offset, uint64_t chunk,
                                    uint64_t nr_chunks)
  __attribute__ ((nonnull (1)));

/* Reading and writing share a layout.  One operation may be carried by
 * several fragments:
 *
 *   offset ........ of the operation, on the disk
 *   |<------------- total ------------->|
 *   |-- start --|<-- length -->|            this fragment
 *                extra bytes on the wire    are what it is packed to
 */
enum nfc_compression {
  NFC_PLAIN = 0,
  NFC_ZLIB = 1,
  NFC_FASTLZ = 2,
  NFC_SKIPZ = 3,
};

struct nfc_io {
  uint64_t handle; /* in an answer: status, 0 is good */
  bool read;
  uint32_t compression; /* wanted, in a request to read */
  uint64_t offset;
  uint64_t total;
  uint32_t start, length, extra;
};

/* The frame without its extra bytes: NFC_IO_SIZE bytes. */
#define NFC_IO_PAYLOAD_SIZE 44
#define NFC_IO_SIZE (NFC_HEADER_SIZE + NFC_IO_PAYLOAD_SIZE)
extern size_t nfc_encode_io (uint8_t *out, uint32_t id,
                             const struct nfc_io *io)
  __attribute__ ((nonnull (1, 3)));

/* Answers: payloads, SIZE bytes.  A payload that is longer than the layout we
 * know is fine, one that is too short is an error.
 */
struct nfc_error_answer {
  uint64_t code;
  uint32_t text_size; /* extra */
};

struct nfc_opened {
  uint64_t status, handle;
  uint32_t file_type, flags;
  uint64_t capacity; /* bytes */
  uint32_t sector_size;
  uint32_t cylinders, heads, sectors;
};

extern int nfc_decode_error (struct nfc_error_answer *answer,
                             const uint8_t *in, size_t size,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));
extern int nfc_decode_opened (struct nfc_opened *answer, const uint8_t *in,
                              size_t size, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));
extern int nfc_decode_io (struct nfc_io *io, const uint8_t *in, size_t size,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* How many extra bytes follow the payload of an answer of TYPE, whatever we
 * think of the rest of it.  Nothing is bounded but by 32 bits (and for bits of
 * allocation by 63): the caller knows how much he asked for.
 */
extern int nfc_decode_extra (uint64_t *extra, uint32_t type, const uint8_t *in,
                             size_t size, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* The number of chunks in an answer about allocation, and of the bytes that
 * carry their bits.
 */
extern int nfc_decode_allocated (uint64_t *status, uint64_t *nr_chunks,
                                 const uint8_t *in, size_t size,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));
extern uint64_t nfc_allocated_bytes (uint64_t nr_chunks);

#endif /* VMDKIT_NFC_FRAME_H */
