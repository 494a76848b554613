/* SPDX-License-Identifier: BSD-3-Clause */

/* Any bytes as the answer to a question: read, and everything read from it
 * that rooms above read.
 *
 * Messages must be one printable line, and texts must be UTF-8 without control
 * characters that XML cannot carry.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inventory-parts.h"
#include "properties.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define must(condition) \
  do {                  \
    if (!(condition))   \
      abort ();         \
  } while (0)

static void
check_line (const char *text)
{
  for (; *text; text++)
    must ((unsigned char) *text >= 0x20 && *text != 0x7f);
}

static size_t
check_node (const struct xml_node *node, unsigned depth)
{
  size_t count = 1;

  must (depth <= XML_MAX_DEPTH);
  must (node->name && node->type && node->ref_type && node->text);
  must (node->name[0] && (!node->first || node->text[0] == '\0'));
  for (const struct xml_node *child = node->first; child; child = child->next)
    count += check_node (child, depth + 1);
  return count;
}

static void
read_objects (const struct xml_node *object)
{
  struct disk_list disks;
  struct soap_fault fault;
  struct vmdk_error err = { 0 };
  struct vim_ref ref;
  size_t link;

  for (; object; object = xml_same (object)) {
    const struct xml_node *devices =
      property (object, "config.hardware.device");

    soap_ref (object, &ref);
    if (property_refused (object, "config.hardware.device", &fault)) {
      soap_fail_fault (&err, "property", &fault);
      check_line (err.text);
    }
    if (disk_list_read (&disks, devices, &err) == -1)
      check_line (err.text);
    else {
      for (size_t i = 0; i < disks.len; i++)
        must (disks.ptr[i].nr_links > 0);
      must (!disk_find (&disks, "", &link, &err)
            || disks.ptr[0].links[0].file[0] == '\0' || disks.len > 1
            || disks.ptr[0].nr_links > 1);
    }
    disk_list_reset (&disks);
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const struct soap_request request = { .method = "Ask" };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err = { 0 };

  if (soap_answer_read (&answer, &request, 200, data, size, &err) == -1) {
    must (err.kind != ERR_NONE && err.text[0]);
    check_line (err.text);
    soap_is_unsupported (&answer);
  }
  if (answer.document)
    must (check_node (xml_root (answer.document), 1) <= XML_MAX_ELEMENTS);
  read_objects (answer.value);
  return 0;
}
