/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to the descriptor's files: descriptor-parse.c (text to model),
 * descriptor-check.c (what the keys say) and descriptor.c (look-up, editing
 * and printing).
 *
 * The text that came is kept as it is, and a copy of it is carved into
 * NUL-terminated keys, values and names.  A line points into the two, so
 * parsing allocates nothing per line; only lines that were edited own
 * memory.  Runs of blank lines and comments are kept as one "line": nobody
 * asks for them singly, and a hostile text of a million empty lines costs
 * nothing.
 */

#ifndef VMDKIT_DESCRIPTOR_MODEL_H
#define VMDKIT_DESCRIPTOR_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "descriptor.h"
#include "vector.h"

enum line_kind { LINE_OTHER, LINE_EXTENT, LINE_ASSIGNMENT };

struct line {
  enum line_kind kind;
  const char *text; /* as it is printed, without its (last) end of line */
  const char *eol;  /* "\n", "\r\n", or "" at the very end */
  const char *key, *value; /* of an assignment, else NULL */
  char *own;               /* what to free for an edited line, else NULL */
  uint32_t len;            /* of text */
  uint32_t number;         /* 1-based in the text that came; 0: added later */
};

DEFINE_VECTOR (line_list, struct line);
DEFINE_VECTOR (extent_list, struct extent_line);

struct descriptor {
  char *text;
  char *strings;
  struct line_list lines;
  struct extent_list extents;
  size_t nr_keys; /* assignments among the lines */

  /* What follows from the lines. */
  uint64_t nr_sectors;
  bool has_cid;
  uint32_t cid, parent_cid;
  const char *parent_hint; /* NULL when there is none or it is empty */
  const char *create_type;
};

/* The header keys that mean something to us or to the order of lines, in
 * canonical order.
 */
enum header_key {
  KEY_VERSION,
  KEY_ENCODING,
  KEY_CID,
  KEY_PARENT_CID,
  KEY_NATIVE_SNAPSHOT,
  KEY_CREATE_TYPE,
  KEY_PARENT_HINT,
  NR_HEADER_KEYS,
};

/* NR_HEADER_KEYS for a key that is not one of them. */
extern enum header_key header_key_find (const char *key)
  __attribute__ ((nonnull (1)));
extern const char *header_key_name (enum header_key key);

/* Whether VALUE is well formed for KEY.  Errors do not name the line. */
extern int header_value_check (enum header_key key, const char *value,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 3)));

/* Digits only.  What does not fit becomes UINT64_MAX, which no limit allows.
 */
extern bool decimal_parse (const char *text, uint64_t *number)
  __attribute__ ((nonnull (1, 2)));

/* 1 to 8 hexadecimal digits, perhaps after "0x". */
extern bool cid_parse (const char *text, uint32_t *cid)
  __attribute__ ((nonnull (1, 2)));

/* RW, RDONLY or NOACCESS, in any case, of LEN bytes. */
extern bool access_word (const char *text, size_t len,
                         enum extent_access *access)
  __attribute__ ((nonnull (1, 3)));

/* Check what the parsed lines say, and set the typed header fields. */
extern int descriptor_check (struct descriptor *descriptor,
                             const struct vmdk_log *log,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Bring the typed header fields up to date with the lines, whose values
 * were checked.
 */
extern void descriptor_refresh (struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* Comparisons without case, of ASCII letters only: strcasecmp follows the
 * locale, and in Turkish "I" and "i" are different letters.
 */
static inline char
ascii_lower (char c)
{
  return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* As strcmp. */
static inline int
text_compare (const char *a, const char *b)
{
  while (*a && ascii_lower (*a) == ascii_lower (*b))
    a++, b++;
  return (unsigned char) ascii_lower (*a) - (unsigned char) ascii_lower (*b);
}

static inline bool
text_equal (const char *a, const char *b)
{
  return text_compare (a, b) == 0;
}

static inline bool
text_starts (const char *text, const char *prefix)
{
  while (*prefix && ascii_lower (*text) == ascii_lower (*prefix))
    text++, prefix++;
  return *prefix == '\0';
}

static inline bool
text_contains (const char *text, const char *part)
{
  for (; *text; text++)
    if (text_starts (text, part))
      return true;
  return false;
}

static inline bool
text_has_control (const char *text)
{
  for (; *text; text++)
    if ((unsigned char) *text < 0x20 || *text == 0x7f)
      return true;
  return false;
}

static inline bool
key_is_ddb (const char *key)
{
  return text_starts (key, "ddb.");
}

#endif /* VMDKIT_DESCRIPTOR_MODEL_H */
