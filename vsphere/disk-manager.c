/* SPDX-License-Identifier: BSD-3-Clause */

/* VirtualDiskManager and FileManager.  See disk-manager.h.
 *
 * A task whose answer was lost, or that the server has forgotten, may have
 * done its work: that is said, and whoever asked has to look.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "disk-manager.h"

#define KIB 1024

static void
begin (struct soap_request *request, const struct disk_manager *manager,
       enum session_service service, const char *method, const char *name)
{
  soap_begin (request, method, session_service (manager->session, service));
  soap_add (request, "name", name);
  soap_add_ref (request, "datacenter", &manager->datacenter);
}

static int
run_task (const struct disk_manager *manager,
          const struct soap_request *request, const char *name,
          struct task_result *result, struct vmdk_error *err)
{
  if (task_run (manager->session, request, &manager->watch, result, err)
      == -1) {
    if (result->unknown)
      fail_prefix (err, "it is not known whether it was done");
    return fail_prefix (err, "%s", NAME (name));
  }
  if (result->unknown)
    return fail (err, ERR_SYSTEM,
                 "%s: %s: the server has forgotten the task: it is not known "
                 "whether it was done",
                 NAME (name), request->method);
  return 0;
}

static int
run (const struct disk_manager *manager, const struct soap_request *request,
     const char *name, struct vmdk_error *err)
{
  struct task_result result;

  return run_task (manager, request, name, &result, err);
}

/* Methods that take nothing but the name. */
static int
run_plain (const struct disk_manager *manager, enum session_service service,
           const char *method, const char *name, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  begin (&request, manager, service, method, name);
  return run (manager, &request, name, err);
}

static int
check_capacity (const char *name, uint64_t capacity, struct vmdk_error *err)
{
  if (capacity == 0 || capacity % KIB != 0 || capacity > INT64_MAX)
    return fail (err, ERR_ARGUMENT,
                 "%s: the server counts in units of %d bytes, and %" PRIu64
                 " bytes cannot be had: round up",
                 NAME (name), KIB, capacity);
  return 0;
}

int
disk_manager_create (const struct disk_manager *manager, const char *name,
                     const struct new_disk *disk, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  if (check_capacity (name, disk->capacity, err) == -1)
    return -1;
  begin (&request, manager, SERVICE_DISKS, "CreateVirtualDisk_Task", name);
  soap_open (&request, "spec", "FileBackedVirtualDiskSpec");
  soap_add (&request, "diskType", disk->type);
  soap_add (&request, "adapterType", disk->adapter);
  soap_add_u64 (&request, "capacityKb", disk->capacity / KIB);
  soap_close (&request, "spec");
  return run (manager, &request, name, err);
}

int
disk_manager_extend (const struct disk_manager *manager, const char *name,
                     uint64_t capacity, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  if (check_capacity (name, capacity, err) == -1)
    return -1;
  begin (&request, manager, SERVICE_DISKS, "ExtendVirtualDisk_Task", name);
  soap_add_u64 (&request, "newCapacityKb", capacity / KIB);
  soap_add_bool (&request, "eagerZero", false);
  return run (manager, &request, name, err);
}

int
disk_manager_shrink (const struct disk_manager *manager, const char *name,
                     struct vmdk_error *err)
{
  return run_plain (manager, SERVICE_DISKS, "ShrinkVirtualDisk_Task", name,
                    err);
}

int
disk_manager_defragment (const struct disk_manager *manager, const char *name,
                         struct vmdk_error *err)
{
  return run_plain (manager, SERVICE_DISKS, "DefragmentVirtualDisk_Task", name,
                    err);
}

int
disk_manager_move (const struct disk_manager *manager, const char *name,
                   const char *new_name, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  soap_begin (&request, "MoveVirtualDisk_Task",
              session_service (manager->session, SERVICE_DISKS));
  soap_add (&request, "sourceName", name);
  soap_add_ref (&request, "sourceDatacenter", &manager->datacenter);
  soap_add (&request, "destName", new_name);
  soap_add_ref (&request, "destDatacenter", &manager->datacenter);
  soap_add_bool (&request, "force", false);
  return run (manager, &request, name, err);
}

static int
copy (const struct disk_manager *manager, const char *name,
      const char *new_name, const struct new_disk *disk,
      struct task_result *result, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  soap_begin (&request, "CopyVirtualDisk_Task",
              session_service (manager->session, SERVICE_DISKS));
  soap_add (&request, "sourceName", name);
  soap_add_ref (&request, "sourceDatacenter", &manager->datacenter);
  soap_add (&request, "destName", new_name);
  soap_add_ref (&request, "destDatacenter", &manager->datacenter);
  if (disk) {
    soap_open (&request, "destSpec", "VirtualDiskSpec");
    soap_add (&request, "diskType", disk->type);
    soap_add (&request, "adapterType", disk->adapter);
    soap_close (&request, "destSpec");
  }
  soap_add_bool (&request, "force", false);
  return run_task (manager, &request, new_name, result, err);
}

/* Servers that take no wishes say so before they have done anything. */
int
disk_manager_copy (const struct disk_manager *manager, const char *name,
                   const char *new_name, const struct new_disk *disk,
                   struct vmdk_error *err)
{
  struct task_result result;

  if (copy (manager, name, new_name, disk, &result, err) == 0)
    return 0;
  if (strcmp (result.fault.type, "NotImplemented") != 0
      && strcmp (result.fault.type, "NotSupported") != 0)
    return -1;
  return copy (manager, name, new_name, NULL, &result, err);
}

int
disk_manager_delete (const struct disk_manager *manager, const char *name,
                     struct vmdk_error *err)
{
  return run_plain (manager, SERVICE_DISKS, "DeleteVirtualDisk_Task", name,
                    err);
}

int
disk_manager_uuid (const struct disk_manager *manager, const char *name,
                   char uuid[DISK_UUID_SIZE], struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  begin (&request, manager, SERVICE_DISKS, "QueryVirtualDiskUuid", name);
  if (session_call (manager->session, &request, &answer, err) == -1)
    return fail_prefix (err, "%s", NAME (name));
  text_escape (uuid, DISK_UUID_SIZE, answer.value ? answer.value->text : "");
  return 0;
}

int
disk_manager_make_folder (const struct disk_manager *manager, const char *name,
                          struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  begin (&request, manager, SERVICE_FILES, "MakeDirectory", name);
  soap_add_bool (&request, "createParentDirectories", true);
  if (session_call (manager->session, &request, &answer, err) == 0
      || soap_is (&answer, "FileAlreadyExists"))
    return 0;
  return fail_prefix (err, "%s", NAME (name));
}

int
disk_manager_delete_file (const struct disk_manager *manager, const char *name,
                          struct vmdk_error *err)
{
  return run_plain (manager, SERVICE_FILES, "DeleteDatastoreFile_Task", name,
                    err);
}
