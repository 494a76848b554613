/* SPDX-License-Identifier: BSD-3-Clause */

/* Properties of what a server manages.
 *
 * A property that is not set, or that the user may not see, is simply not
 * there; why can be asked for.
 */

#ifndef VMDKIT_PROPERTIES_H
#define VMDKIT_PROPERTIES_H

#include "session.h"

/* Read properties of one object; NAMES ends with NULL.  What comes back lives
 * in *ANSWER.
 */
extern int properties_read (struct session *session, const struct vim_ref *ref,
                            const char *const *names,
                            struct soap_answer *answer, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

/* The only object of such an answer. */
extern const struct xml_node *
properties_object (const struct soap_answer *answer)
  __attribute__ ((nonnull (1)));

/* A property's value in an object, or NULL. */
extern const struct xml_node *property (const struct xml_node *object,
                                        const char *name)
  __attribute__ ((nonnull (2)));
extern const char *property_text (const struct xml_node *object,
                                  const char *name)
  __attribute__ ((nonnull (2)));

/* The server named the property, and why it does not show it. */
extern bool property_refused (const struct xml_node *object, const char *name,
                              struct soap_fault *fault)
  __attribute__ ((nonnull (2, 3)));

/* Read properties of all objects of a type, in as many pages as the server
 * likes; EACH is called for each object, and ends the reading with -1.
 */
extern int properties_each (
  struct session *session, const char *type, const char *const *names,
  int (*each) (void *opaque, const struct vim_ref *ref,
               const struct xml_node *object, struct vmdk_error *err),
  void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 6)));

#endif /* VMDKIT_PROPERTIES_H */
