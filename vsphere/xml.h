/* SPDX-License-Identifier: BSD-3-Clause */

/* What a server answered, as a tree of elements.
 *
 * Whoever answers may be hostile or broken, so a document is only ever taken
 * within limits: bytes, depth, number of elements, names and namespaces,
 * length of one tag.  A document with a DTD is refused as soon as the DTD
 * begins, so there are no entities but the five of XML itself.  Nothing is
 * ever loaded from elsewhere.
 *
 * Servers choose their prefixes freely, so names here are local names; `soap`
 * says whether the namespace is that of the envelope.
 */

#ifndef VMDKIT_XML_H
#define VMDKIT_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

/* An inventory of thousands of machines comes in pages of far less. */
#define XML_MAX_BYTES (16 << 20)
#define XML_MAX_DEPTH 128
#define XML_MAX_ELEMENTS 400000
#define XML_MAX_TAG 4096
#define XML_MAX_NAMESPACES 256
#define XML_MAX_NAMES 10000 /* different ones: the API has a few thousand */

struct xml_node {
  const char *name;     /* never NULL; nor are the other texts */
  const char *type;     /* xsi:type without its prefix */
  const char *ref_type; /* the attribute type of a reference */
  const char *text;     /* what stands directly in it */
  bool soap;
  struct xml_node *first, *next; /* children, siblings */
};

struct xml_document;

/* Never NULL on success: a document has a root. */
extern struct xml_document *xml_parse (const void *bytes, size_t count,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));
extern void xml_free (struct xml_document *document);
DEFINE_CLEANUP (xml, struct xml_document *, xml_free)
#define CLEANUP_XML CLEANUP (xml)

extern const struct xml_node *xml_root (const struct xml_document *document)
  __attribute__ ((nonnull (1)));

/* Looking around.  All of these take NULL for a node and find nothing in it,
 * so that a path is a chain of calls.
 */
extern const struct xml_node *xml_child (const struct xml_node *node,
                                         const char *name)
  __attribute__ ((nonnull (2)));
/* The next sibling of the same name. */
extern const struct xml_node *xml_same (const struct xml_node *node);
/* A path of names with '/' between them. */
extern const struct xml_node *xml_path (const struct xml_node *node,
                                        const char *path)
  __attribute__ ((nonnull (2)));
/* The text of a child, "" where there is none. */
extern const char *xml_text (const struct xml_node *node, const char *name)
  __attribute__ ((nonnull (2)));

/* Numbers and truth values as they must be written; -1 when they are not. */
extern int xml_u64 (const struct xml_node *node, uint64_t *value);
extern int xml_s32 (const struct xml_node *node, int32_t *value);
extern bool xml_is_true (const struct xml_node *node);

#endif /* VMDKIT_XML_H */
