/* SPDX-License-Identifier: BSD-3-Clause */

/* Machines found in every way, their disks and chains, and where all that
 * lies; pages; hosts without a vCenter.
 */

#include <config.h>

#include "fake-session.h"
#include "inventory-parts.h"
#include "properties.h"

static void
test_found (void **state)
{
  static const char *const cases[][2] = {
    { "moref=vm-57", "vm-57" },
    { "moref=anything", "anything" },
    { "web", "vm-57" },
    { "name=web", "vm-57" },
    { "DC0/vm/prod/web", "vm-57" },
    { "/DC0/vm/prod/web", "vm-57" },
    { "path=F0/DC1/vm/twin", "vm-59" },
    { "42010203-0405-0607-0809-0A0B0C0D0E0F", "vm-57" },
    { "uuid=50010203-0405-0607-0809-000000000058", "vm-58" },
    { "uuid=420102030405060708090A0b0c0d0e0f", "vm-57" },
    { "uuid=42 01 02 03 04 05 06 07-08 09 0a 0b 0c 0d 0e 0f", "vm-57" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vmdk_error err = { 0 };
    struct vim_ref ref;

    if (vm_find (session, cases[i][0], &ref, &err) == -1)
      fail_msg ("%s: %s", cases[i][0], err.text);
    assert_string_equal (ref.type, "VirtualMachine");
    assert_string_equal (ref.id, cases[i][1]);
  }
}

static void
test_not_found (void **state)
{
  static const struct {
    const char *spec;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { "nobody", ERR_MISSING,
      "there is no virtual machine with the name \"nobody\"" },
    { "DC0/vm/nobody", ERR_MISSING,
      "there is no virtual machine with the path \"DC0/vm/nobody\"" },
    { "DC0/vm", ERR_ARGUMENT, "\"DC0/vm\" is not a virtual machine: Folder" },
    { "uuid=1", ERR_MISSING,
      "there is no virtual machine with the uuid \"1\"" },
    { "moref=", ERR_ARGUMENT, "is not the id of a VirtualMachine" },
    { "name=\x01", ERR_MISSING, "with the name \"\\x01\"" },
    { "twin", ERR_ARGUMENT,
      "2 virtual machines have the name \"twin\": name one by path or "
      "moref=: DC0/vm/a/twin (moref=vm-58), F0/DC1/vm/twin (moref=vm-59)" },
    { "42010203-0405-0607-0809-0a0b0c0d0eff", ERR_ARGUMENT,
      "2 virtual machines have the uuid" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vmdk_error err = { 0 };
    struct vim_ref ref;

    assert_int_equal (vm_find (session, cases[i].spec, &ref, &err), -1);
    if (!strstr (err.text, cases[i].text))
      fail_msg ("%s", err.text);
    assert_int_equal (err.kind, cases[i].kind);
  }
  assert_true (fake_has (&fake, "\"views\": 0"));
}

/* A server without FindAllByUuid. */
static void
test_uuid_one (void **state)
{
  struct vmdk_error err = { 0 };
  struct vim_ref ref;

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"FindAllByUuid\", \"do\": "
                       "\"fault\", \"type\": \"MethodNotFound\"}}");
  assert_int_equal (
    vm_find (session, "42010203-0405-0607-0809-0a0b0c0d0e0f", &ref, &err), 0);
  assert_string_equal (ref.id, "vm-57");
}

static const struct vim_ref web = { "VirtualMachine", "vm-57" };

static void
test_vm (void **state)
{
  CLEANUP_VM struct vm vm = { 0 };
  struct vmdk_error err = { 0 };
  const struct vm_disk *disk;

  (void) state;
  assert_int_equal (vm_read (session, &web, &vm, &err), 0);
  assert_string_equal (vm.name, "web");
  assert_string_equal (vm.power, "poweredOff");
  assert_false (vm.running);
  assert_true (vm.change_tracking);
  assert_false (vm.encrypted);
  assert_string_equal (vm.host.id, "host-20");
  assert_string_equal (vm.vmx_path, "[ds1] web/web.vmx");
  assert_int_equal (vm.disks.len, 3);

  disk = &vm.disks.ptr[0];
  assert_int_equal (disk->key, 2000);
  assert_string_equal (disk->label, "Hard disk 1");
  assert_true (disk->capacity == 64 << 20);
  assert_string_equal (disk->backing, "VirtualDiskFlatVer2BackingInfo");
  assert_int_equal (disk->nr_links, 2);
  assert_string_equal (disk->links[0].file, "[ds1] web/web-000001.vmdk");
  assert_string_equal (disk->links[0].change_id, "52 a1 b2/7");
  assert_string_equal (disk->links[0].datastore.id, "datastore-10");
  assert_string_equal (disk->links[1].file, "[ds1] web/web.vmdk");
  assert_string_equal (disk->links[1].change_id, "");
  assert_false (disk->independent);

  assert_true (vm.disks.ptr[1].independent);
  assert_false (vm.disks.ptr[1].raw_physical);
  assert_true (vm.disks.ptr[2].raw_physical);
  assert_ptr_equal (disk_by_key (&vm.disks, 2001), &vm.disks.ptr[1]);
  assert_null (disk_by_key (&vm.disks, 1000));
}

static void
test_disk_find (void **state)
{
  static const struct {
    const char *path;
    int32_t key;
    size_t link;
  } cases[] = {
    { "[ds1] web/web-000001.vmdk", 2000, 0 },
    { "[ds1] web/web.vmdk", 2000, 1 },
    { "[ds1]web/web.vmdk", 2000, 1 },
    { "[ds [old] 2] web/data.vmdk", 2001, 0 },
    { "[ds [old] 2]web/data.vmdk", 2001, 0 },
  };
  CLEANUP_VM struct vm vm = { 0 };
  struct vmdk_error err = { 0 };
  size_t link;

  (void) state;
  assert_int_equal (vm_read (session, &web, &vm, &err), 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct vm_disk *disk =
      disk_find (&vm.disks, cases[i].path, &link, &err);

    assert_non_null (disk);
    assert_int_equal (disk->key, cases[i].key);
    assert_int_equal (link, cases[i].link);
  }
  assert_null (disk_find (&vm.disks, "[ds1] web/no.vmdk", &link, &err));
  assert_string_equal (
    err.text, "\"[ds1] web/no.vmdk\" is not a disk of the virtual machine; "
              "it has \"[ds1] web/web-000001.vmdk\", \"[ds [old] 2] "
              "web/data.vmdk\", \"[ds1] web/raw.vmdk\"");
}

static void
test_vm_missing (void **state)
{
  const struct vim_ref nobody = { "VirtualMachine", "vm-1" };
  CLEANUP_VM struct vm vm = { 0 };
  struct vmdk_error err = { 0 };

  (void) state;
  assert_int_equal (vm_read (session, &nobody, &vm, &err), -1);
  assert_int_equal (err.kind, ERR_MISSING);
  assert_non_null (strstr (err.text, "VirtualMachine vm-1: "));
  assert_non_null (strstr (err.text, "no such object: vm-1 "
                                     "(ManagedObjectNotFound: The object has "
                                     "already been deleted)"));
}

/* Devices that no server should send. */
static void
test_bad_devices (void **state)
{
#define DISK(key, capacity, backing)                                          \
  "<val xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><VirtualDevice" \
  " xsi:type='VirtualDisk'><key>" key "</key>" backing                        \
  "<capacityInKB>" capacity "</capacityInKB></VirtualDevice></val>"
  static const char *const cases[][2] = {
    { DISK ("x", "1", "<backing/>"), "a disk has the key \"x\"" },
    { DISK ("2000", "18014398509481984", "<backing/>"),
      "disk 2000: its capacity is \"18014398509481984\"" },
    { DISK ("2000", "-1", "<backing/>"), "disk 2000: its capacity is \"-1\"" },
    { DISK ("2000", "18014398509481983", "<backing/>"),
      "disk 2000: its capacity is 18446744073709550592 bytes" },
    { DISK ("2000", "1", ""),
      "disk 2000 has 0 files in its chain, limits are 1 and 255" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct disk_list disks;
    struct vmdk_error err = { 0 };
    CLEANUP_XML struct xml_document *document =
      xml_parse (cases[i][0], strlen (cases[i][0]), &err);

    assert_non_null (document);
    assert_int_equal (disk_list_read (&disks, xml_root (document), &err), -1);
    assert_string_equal (err.text, cases[i][1]);
    disk_list_reset (&disks);
  }
}

/* What the user may not see is named beside what is there. */
static void
test_property_refused (void **state)
{
  static const char bytes[] =
    "<objects xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>"
    "<propSet><name>a</name><val>1</val></propSet>"
    "<missingSet><path>b</path><fault><fault xsi:type='NoPermission'>"
    "<privilegeId>System.Read</privilegeId></fault><localizedMessage>no"
    "</localizedMessage></fault></missingSet></objects>";
  struct vmdk_error err = { 0 };
  CLEANUP_XML struct xml_document *document =
    xml_parse (bytes, sizeof bytes - 1, &err);
  const struct xml_node *object = xml_root (document);
  struct soap_fault fault;

  (void) state;
  assert_string_equal (property_text (object, "a"), "1");
  assert_string_equal (property_text (object, "b"), "");
  assert_null (property (object, "b"));
  assert_false (property_refused (object, "a", &fault));
  assert_true (property_refused (object, "b", &fault));
  soap_fail_fault (&err, "b", &fault);
  assert_string_equal (err.text, "b: the user lacks a privilege: System.Read "
                                 "(NoPermission: no)");
}

static void
test_places (void **state)
{
  const struct vim_ref twin = { "VirtualMachine", "vm-59" };
  const struct vim_ref store = { "Datastore", "datastore-11" };
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err = { 0 };

  (void) state;
  assert_int_equal (place_read (session, &twin, &place, &err), 0);
  assert_string_equal (place.path, "F0/DC1/vm/twin");
  assert_string_equal (place.dc_path, "F0/DC1");
  assert_string_equal (place.datacenter.id, "datacenter-3");
  place_reset (&place);
  assert_int_equal (place_read (session, &store, &place, &err), 0);
  assert_string_equal (place.path, "DC0/datastore/ds [old] 2");
  assert_string_equal (place.dc_path, "DC0");
}

static void
check_datastores (void)
{
  CLEANUP_DATASTORE_LIST struct datastore_list list = { 0 };
  struct vmdk_error err = { 0 };
  const struct datastore *found;

  assert_int_equal (datastore_list_read (session, &list, &err), 0);
  assert_int_equal (list.len, 3);
  assert_string_equal (list.names[1], "ds [old] 2");
  assert_string_equal (list.ptr[0].url, "ds:///vmfs/volumes/5a1b-ds1/");
  assert_string_equal (list.ptr[0].type, "VMFS");
  found = datastore_find (session, &list, "ds3", NULL, &err);
  assert_non_null (found);
  assert_string_equal (found->ref.id, "datastore-12");
  assert_null (datastore_find (session, &list, "no", "DC0", &err));
  assert_non_null (strstr (err.text, "there is no datastore \"no\""));
}

static void
test_datastores (void **state)
{
  (void) state;
  check_datastores ();
}

/* The token alone says whether there is more. */
static void
test_pages (void **state)
{
  struct vmdk_error err = { 0 };
  struct vim_ref ref;

  (void) state;
  fake_control (&fake, "{\"switch\": {\"pageSize\": 1}}");
  check_datastores ();
  assert_int_equal (vm_find (session, "twin", &ref, &err), -1);
  assert_non_null (strstr (err.text, "2 virtual machines"));
  assert_true (fake_has (&fake, "\"views\": 0, \"pages\": 0"));
  fake_control (&fake, "{\"switch\": {\"pageSize\": 0}}");
}

static int
stop_at_once (void *opaque, const struct vim_ref *ref,
              const struct xml_node *object, struct vmdk_error *err)
{
  (void) opaque;
  (void) ref;
  (void) object;
  return (fail) (err, ERR_ARGUMENT, "enough");
}

/* What is left of a list that is not read to its end is given up. */
static void
test_pages_given_up (void **state)
{
  static const char *const names[] = { "name", NULL };
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"switch\": {\"pageSize\": 1}}");
  assert_int_equal (properties_each (session, "VirtualMachine", names,
                                     stop_at_once, NULL, &err),
                    -1);
  assert_string_equal (err.text, "enough");
  assert_true (fake_has (&fake, "\"views\": 0, \"pages\": 0"));
  fake_control (&fake, "{\"switch\": {\"pageSize\": 0}}");
}

static int
count_object (void *opaque, const struct vim_ref *ref,
              const struct xml_node *object, struct vmdk_error *err)
{
  (void) ref;
  (void) object;
  (void) err;
  ++*(size_t *) opaque;
  return 0;
}

/* The session ended between making a view and reading it. */
static void
test_view_lost (void **state)
{
  static const char *const names[] = { "name", NULL };
  struct vmdk_error err = { 0 };
  size_t nr = 0, nr_lost = 0;

  (void) state;
  assert_int_equal (properties_each (session, "VirtualMachine", names,
                                     count_object, &nr, &err),
                    0);
  fake_control (&fake, "{\"fault\": {\"method\": \"RetrievePropertiesEx\", "
                       "\"do\": \"fault\", "
                       "\"type\": \"ManagedObjectNotFound\"}}");
  assert_int_equal (properties_each (session, "VirtualMachine", names,
                                     count_object, &nr_lost, &err),
                    0);
  assert_int_equal (nr_lost, nr);
  fake_control (&fake, "{\"expire\": 0}");
}

static void
test_host (void **state)
{
  const struct vim_ref ref = { "HostSystem", "host-20" };
  CLEANUP_HOST struct host host = { 0 };
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (
    &fake, "{\"host\": {\"id\": \"host-20\", \"manager\": \"10.0.0.1\"}}");
  assert_int_equal (host_read (session, &ref, &host, &err), 0);
  assert_string_equal (host.name, "esx1.example.com");
  assert_string_equal (host.connection, "connected");
  assert_string_equal (host.thumbprint, fake.sha1);
  assert_string_equal (host.manager, "10.0.0.1");
}

static void
test_esx (void **state)
{
  struct fake esx = fake_start ("--esx", NULL);
  struct session *direct = fake_session (&esx);
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err = { 0 };
  struct vim_ref ref;

  (void) state;
  assert_int_equal (vm_find (direct, "ha-datacenter/vm/web", &ref, &err), 0);
  assert_int_equal (vm_find (direct, "twin", &ref, &err), 0);
  assert_int_equal (place_read (direct, &ref, &place, &err), 0);
  assert_string_equal (place.dc_path, "ha-datacenter");
  session_close (direct);
  fake_stop (&esx);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_found),
    cmocka_unit_test (test_not_found),
    cmocka_unit_test (test_uuid_one),
    cmocka_unit_test (test_vm),
    cmocka_unit_test (test_disk_find),
    cmocka_unit_test (test_vm_missing),
    cmocka_unit_test (test_bad_devices),
    cmocka_unit_test (test_property_refused),
    cmocka_unit_test (test_places),
    cmocka_unit_test (test_datastores),
    cmocka_unit_test (test_pages),
    cmocka_unit_test (test_pages_given_up),
    cmocka_unit_test (test_view_lost),
    cmocka_unit_test (test_host),
    cmocka_unit_test (test_esx),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, session_setup, session_teardown);
}
