/* SPDX-License-Identifier: BSD-3-Clause */

/* What qemu makes of new disks and children, and of its own ones whose
 * descriptors we changed: it finds nothing wrong, reads zeros, writes into
 * them, and what it wrote is what we read.  And qemu-img itself lays out a
 * sparse disk in the same way, byte for byte.
 */

#include <config.h>

#include <ftw.h>
#include <inttypes.h>
#include <unistd.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "disk-helper.h"
#include "child.h"
#include "create.h"
#include "link-text.h"

#define MIB (UINT64_C (1) << 20)
#define GIB (UINT64_C (1) << 30)
#define COUNT(array) (sizeof (array) / sizeof (array)[0])
#define SKIPPED 77

static char folder[] = "/tmp/test-create-qemu-XXXXXX";

static int
setup (void **state)
{
  (void) state;
  strcpy (strrchr (folder, '-'), "-XXXXXX");
  if (!mkdtemp (folder))
    return -1;
  fixture_init_all (&f);
  store = store_dir_new (folder, &f.err);
  return store ? 0 : -1;
}

static int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *where)
{
  (void) st;
  (void) type;
  (void) where;
  return remove (path);
}

static int
teardown (void **state)
{
  (void) state;
  store_close (store);
  fixture_free_all (&f);
  return nftw (folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A shell command in the folder, which must succeed. */
static void __attribute__ ((format (printf, 1, 2))) run (const char *fmt, ...)
{
  char command[2000];
  size_t len;
  va_list args;
  int r;

  len = (size_t) snprintf (command, sizeof command,
                           "set -e; exec 2>&1; cd %s\n", folder);
  va_start (args, fmt);
  vsnprintf (command + len, sizeof command - len, fmt, args);
  va_end (args);
  r = system (command);
  if (r != 0)
    print_error ("status 0x%x of: %s\n", (unsigned) r, command);
  assert_int_equal (r, 0);
}

static void
create (const char *name, const struct create_rules *rules)
{
  const int r = disk_create (store, name, rules, &f.err);

  if (r == -1)
    print_error ("%s: %s\n", name, f.err.text);
  assert_int_equal (r, 0);
}

static void
create_child (const char *name, const char *parent, enum disk_type type)
{
  const struct chain_rules rules = { .open = f.rules };
  const struct child_rules child_rules = { .type = type };
  struct disk *disk =
    disk_open (store, parent, STORE_FROM_FILE, &rules, &f.err);

  assert_non_null (disk);
  assert_int_equal (
    disk_create_child (store, name, disk, parent, &child_rules, &f.err), 0);
  disk_close (disk);
}

/* What we read of NAME becomes the file NAME.raw. */
static void
copy_out (const char *name)
{
  const struct chain_rules rules = { .open = f.rules };
  struct disk *disk = disk_open (store, name, STORE_FROM_FILE, &rules, &f.err);
  char path[200];
  uint8_t *buf = malloc (MIB);
  FILE *out;

  if (!disk)
    print_error ("%s\n", f.err.text);
  assert_non_null (disk);
  snprintf (path, sizeof path, "%s/%s.raw", folder, name);
  out = fopen (path, "w");
  assert_non_null (out);
  for (uint64_t at = 0; at < disk_size (disk); at += MIB) {
    const size_t count = min_u64 (MIB, disk_size (disk) - at);

    assert_int_equal (disk_read (disk, buf, count, at, &f.err), 0);
    if (!bytes_are_zero (buf, count)) {
      assert_int_equal (fseeko (out, (off_t) at, SEEK_SET), 0);
      assert_int_equal (fwrite (buf, 1, count, out), count);
    }
  }
  assert_int_equal (fflush (out), 0);
  assert_int_equal (ftruncate (fileno (out), (off_t) disk_size (disk)), 0);
  fclose (out);
  free (buf);
  disk_close (disk);
}

/* What we read there. */
static void
assert_sector (const char *name, uint64_t offset, uint8_t byte)
{
  const struct chain_rules rules = { .open = f.rules };
  struct disk *disk = disk_open (store, name, STORE_FROM_FILE, &rules, &f.err);
  uint8_t buf[SECTOR_SIZE], wanted[SECTOR_SIZE];

  assert_non_null (disk);
  assert_int_equal (disk_read (disk, buf, sizeof buf, offset, &f.err), 0);
  memset (wanted, byte, sizeof wanted);
  assert_memory_equal (buf, wanted, sizeof buf);
  disk_close (disk);
}

static const struct {
  enum disk_type type;
  const char *create_type;
  bool split, written; /* by qemu */
} types[] = {
  { DISK_MONOLITHIC_SPARSE, "monolithicSparse", false, true },
  { DISK_MONOLITHIC_FLAT, "monolithicFlat", false, true },
  { DISK_SPLIT_SPARSE, "twoGbMaxExtentSparse", true, true },
  { DISK_SPLIT_FLAT, "twoGbMaxExtentFlat", true, true },
  { DISK_VMFS_FLAT, "vmfs", false, true },
  { DISK_VMFS_THIN, "vmfs", false, true },
  /* qemu 7.2 makes no tables in them, and writes over the header instead */
  { DISK_VMFS_SPARSE, "vmfsSparse", false, false },
  { DISK_STREAM_OPTIMIZED, "streamOptimized", false, false },
};

static void
test_types (void **state)
{
  static const uint64_t sizes[] = { 512, 3 * MIB, 34 * MIB + 1536,
                                    2 * GIB + 512 };

  (void) state;
  for (size_t i = 0; i < COUNT (types); i++)
    for (size_t s = 0; s < COUNT (sizes); s++) {
      const struct create_rules rules = {
        .type = types[i].type,
        .size = sizes[s],
        .adapter = s == 0 ? "ide" : "lsilogic",
      };
      char name[40];

      if (rules.size > GIB && !types[i].split)
        continue; /* it would take time, and show nothing new */
      snprintf (name, sizeof name, "%zu-%zu.vmdk", i, s);
      create (name, &rules);
      run ("qemu-img info --output=json %s > info\n"
           "grep -q '\"virtual-size\": %" PRIu64 ",' info\n"
           "grep -q '\"create-type\": \"%s\"' info\n"
           "grep -q '\"format\": \"vmdk\"' info",
           name, rules.size, types[i].create_type);
      run ("truncate -s %" PRIu64 " zeros\n"
           "qemu-img check -q -f vmdk %s\n"
           "qemu-img compare -q -f vmdk -F raw %s zeros",
           rules.size, name, name);
      if (types[i].written && rules.size > 3 * MIB) {
        run ("qemu-io -f vmdk -c 'write -P 1 0 64k' -c 'write -P 2 33M 1k' "
             "-c 'write -P 3 %" PRIu64 " 512' %s > log",
             rules.size - 512, name);
        assert_sector (name, 0, 1);
        assert_sector (name, 33 * MIB, 2);
        assert_sector (name, rules.size - 512, 3);
        assert_sector (name, rules.size - 1024, 0);
      }
    }
}

/* The sectors of the descriptor apart. */
static void
test_same_as_qemu (void **state)
{
  static const uint64_t sizes[] = { 512, 3 * MIB, 5 * GIB, 100 * GIB };

  (void) state;
  for (size_t s = 0; s < COUNT (sizes); s++) {
    const struct create_rules rules = { .size = sizes[s], .adapter = "ide" };

    run ("qemu-img create -q -f vmdk theirs.vmdk %" PRIu64, sizes[s]);
    create ("ours.vmdk", &rules);
    run ("cmp -n 512 ours.vmdk theirs.vmdk\n"
         "test $(stat -c %%s ours.vmdk) = $(stat -c %%s theirs.vmdk)\n"
         "cmp -i %u ours.vmdk theirs.vmdk",
         21 * 512);
    if (s == 1) /* VMware's numbers and qemu's are the same here */
      run ("for file in ours theirs; do\n"
           "  strings $file.vmdk | grep 'geometry\\|adapter' | sort > $file\n"
           "done\n"
           "test -s ours; cmp ours theirs");
    run ("rm ours.vmdk theirs.vmdk");
  }
}

/* Children of each type over each other, written by qemu one after another. */
static void
test_children (void **state)
{
  static const struct create_rules base = { .type = DISK_VMFS_THIN,
                                            .size = 4 * MIB + 1536 };
  static const enum disk_type children[] = { DISK_MONOLITHIC_SPARSE,
                                             DISK_SPLIT_SPARSE,
                                             DISK_VMFS_SPARSE,
                                             DISK_MONOLITHIC_SPARSE };
  char parent[20] = "base.vmdk", name[20];

  (void) state;
  create (parent, &base);
  run ("qemu-io -f vmdk -c 'write -P 1 0 4M' base.vmdk > log");
  for (size_t i = 0; i < COUNT (children); i++) {
    snprintf (name, sizeof name, "child%zu.vmdk", i);
    create_child (name, parent, children[i]);
    run ("qemu-img info -f vmdk --backing-chain %s > info\n"
         "test $(grep -c '^image:' info) = %zu\n"
         "qemu-img check -q -f vmdk %s\n"
         "qemu-img compare -q -f vmdk -F vmdk %s %s",
         name, i + 2, name, name, parent);
    strcpy (parent, name);
    if (children[i] == DISK_VMFS_SPARSE)
      continue; /* see above */
    run (
      "qemu-io -f vmdk -c 'write -P 0x2%zu %zuM 70k' "
      "-c 'write -P 0x3%zu 4M 1536' -c 'write -P 0x4%zu 3584k 512' %s > log",
      i, i, i, i, name);
    copy_out (name);
    run ("qemu-img compare -q -f vmdk -F raw %s %s.raw\n"
         "qemu-io -r -f raw -c 'read -P 0x2%zu %zuM 70k' -c 'read -P 1 3200k "
         "64k' "
         "%s.raw > log; ! grep -q failed log; rm %s.raw",
         name, name, i, i, name, name);
    strcpy (parent, name);
  }
}

/* Seven digits, as qemu writes one ID out of sixteen. */
static void
shorten_cid (const char *name)
{
  struct media *media =
    store_open (store, name, STORE_FROM_FILE | STORE_WRITABLE, &f.err);
  char area[20 * SECTOR_SIZE + 1] = "", *digits;

  assert_non_null (media);
  assert_int_equal (
    media_pread (media, area, sizeof area - 1, SECTOR_SIZE, &f.err), 0);
  digits = strstr (area, "\nCID=");
  assert_non_null (digits);
  digits += strlen ("\nCID=");
  memcpy (digits, "c0ffee5", 7);
  if (digits[7] != '\n')
    memmove (digits + 7, digits + 8, strlen (digits + 8) + 1);
  assert_int_equal (
    media_pwrite (media, area, sizeof area - 1, SECTOR_SIZE, &f.err), 0);
  media_close (media);
}

/* Write into NAME, or keep its contents and give it a longer text. */
static void
change (const char *name, bool contents)
{
  const struct chain_rules rules = { .open = f.rules,
                                     .writable = true,
                                     .keep_cid = !contents };
  struct disk *disk = disk_open (store, name, STORE_FROM_FILE, &rules, &f.err);
  struct descriptor *d;
  struct link *link;
  char value[1001] = "";
  int r;

  if (!disk)
    print_error ("%s\n", f.err.text);
  assert_non_null (disk);
  link = chain_link (disk_chain (disk), 0);
  if (contents)
    r = disk_write (disk, "w", 1, 5 * MIB, &f.err);
  else {
    memset (value, 'v', sizeof value - 1);
    d = link_text_now (link, &f.err);
    assert_non_null (d);
    assert_int_equal (descriptor_set (d, "ddb.comment", value, &f.err), 0);
    assert_int_equal (descriptor_set (d, "ddb.toolsVersion", "1", &f.err), 0);
    r = link_replace_text (link, d, &f.err);
    descriptor_free (d);
  }
  if (r == -1)
    print_error ("%s\n", f.err.text);
  assert_int_equal (r, 0);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);
}

/* qemu's own disks, whose IDs are short, after their texts were changed. */
static void
test_changed_texts (void **state)
{
  (void) state;
  run ("qemu-img create -q -f vmdk a.vmdk 10M\n"
       "qemu-io -f vmdk -c 'write -P 1 0 4M' a.vmdk > log");
  shorten_cid ("a.vmdk");
  change ("a.vmdk", true);
  run ("grep -a -q '^CID=[1-9a-f][0-9a-f]\\{6\\}$' a.vmdk\n"
       "! grep -a -q '^CID=c0ffee5$' a.vmdk\n"
       "qemu-img check -q -f vmdk a.vmdk\n"
       "qemu-img create -q -f vmdk -b a.vmdk -F vmdk b.vmdk\n"
       "qemu-io -f vmdk -c 'write -P 2 1M 70k' b.vmdk > log");
  shorten_cid ("b.vmdk");
  change ("b.vmdk", true);
  change ("a.vmdk", false);
  change ("b.vmdk", false);
  run ("for file in a b; do\n"
       "  qemu-img check -q -f vmdk $file.vmdk\n"
       "  grep -a -q 'ddb.comment = \"vvvv' $file.vmdk\n"
       "done\n"
       "qemu-img info -f vmdk --backing-chain b.vmdk > info\n"
       "test $(grep -c '^image:' info) = 2");
  copy_out ("b.vmdk");
  run ("qemu-img compare -q -f vmdk -F raw b.vmdk b.vmdk.raw\n"
       "qemu-io -f raw -c 'read -P 1 3M 64k' -c 'read -P 2 1M 70k' "
       "-c 'read -P 0x77 5M 1' b.vmdk.raw > log\n! grep -q failed log\n"
       "qemu-io -f vmdk -c 'write -P 4 2M 64k' b.vmdk > log\n"
       "! grep -q failed log\n");
  copy_out ("b.vmdk");
  run ("qemu-img compare -q -f vmdk -F raw b.vmdk b.vmdk.raw");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_types, setup, teardown),
    cmocka_unit_test_setup_teardown (test_same_as_qemu, setup, teardown),
    cmocka_unit_test_setup_teardown (test_children, setup, teardown),
    cmocka_unit_test_setup_teardown (test_changed_texts, setup, teardown),
  };

  if (system ("qemu-img --version > /dev/null 2>&1 "
              "&& qemu-io --version > /dev/null 2>&1")
      != 0) {
    printf ("skipped: this needs qemu-img and qemu-io\n");
    return SKIPPED;
  }
  return cmocka_run_group_tests (tests, NULL, NULL);
}
