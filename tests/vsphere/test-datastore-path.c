/* SPDX-License-Identifier: BSD-3-Clause */

/* "[datastore] path", with and without a list of names. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "datastore-path.h"

#include <cmocka.h> /* last: it has a macro called fail */

static const char *const names[] = { "ds", "ds] x", "ds [old] 2", "ds [old]" };

static void
test_taken (void **state)
{
  static const struct {
    const char *text;
    size_t nr_names;
    const char *datastore, *path, *again;
  } cases[] = {
    { "[ds] a/b.vmdk", 0, "ds", "a/b.vmdk", "[ds] a/b.vmdk" },
    { "[ds]a/b.vmdk", 0, "ds", "a/b.vmdk", "[ds] a/b.vmdk" },
    { "[ds]  a", 0, "ds", " a", "[ds]  a" },
    { "[other] ..a/b..", 0, "other", "..a/b..", "[other] ..a/b.." },
    { "[ds] a", 4, "ds", "a", "[ds] a" },
    { "[ds] x] a", 4, "ds] x", "a", "[ds] x] a" },
    { "[ds [old] 2] a", 4, "ds [old] 2", "a", "[ds [old] 2] a" },
    { "[ds [old]] a", 4, "ds [old]", "a", "[ds [old]] a" },
    { "[ds] [x] a", 4, "ds", "[x] a", "[ds] [x] a" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CLEANUP_DATASTORE_PATH struct datastore_path path = { 0 };
    CLEANUP_FREE char *text = NULL;
    struct vmdk_error err = { 0 };

    assert_int_equal (datastore_path_parse (&path, cases[i].text, names,
                                            cases[i].nr_names, &err),
                      0);
    assert_string_equal (path.datastore, cases[i].datastore);
    assert_string_equal (path.path, cases[i].path);
    text = datastore_path_text (&path, &err);
    assert_string_equal (text, cases[i].again);
  }
}

static void
test_refused (void **state)
{
  static const struct {
    const char *text;
    size_t nr_names;
    enum vmdk_error_kind kind;
    const char *error;
  } cases[] = {
    { "a/b.vmdk", 0, ERR_ARGUMENT,
      "\"a/b.vmdk\" is not a path in a datastore: write \"[datastore] "
      "folder/file\"" },
    { "", 0, ERR_ARGUMENT,
      "\"\" is not a path in a datastore: write \"[datastore] "
      "folder/file\"" },
    { "[ds a", 0, ERR_MISSING, "\"[ds a\" begins with no datastore's name" },
    { "[] a", 0, ERR_MISSING, "\"[] a\" begins with no datastore's name" },
    { "[no] a", 4, ERR_MISSING, "\"[no] a\" begins with no datastore's name" },
    { "[ds]", 0, ERR_ARGUMENT,
      "\"[ds]\" names no file: write \"[datastore] folder/file\"" },
    { "[ds] ", 0, ERR_ARGUMENT,
      "\"[ds] \" names no file: write \"[datastore] folder/file\"" },
    { "[ds] /a", 0, ERR_ARGUMENT,
      "\"[ds] /a\": the path begins with '/': paths within a datastore do "
      "not" },
    { "[ds] ../a", 0, ERR_DENIED, "\"[ds] ../a\" has \"..\" in it" },
    { "[ds] a/../b", 0, ERR_DENIED, "\"[ds] a/../b\" has \"..\" in it" },
    { "[ds] a/..", 0, ERR_DENIED, "\"[ds] a/..\" has \"..\" in it" },
    { "[ds] a\nb", 0, ERR_ARGUMENT,
      "\"[ds] a\\x0ab\" has control characters in it" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct datastore_path path;
    struct vmdk_error err = { 0 };

    assert_int_equal (datastore_path_parse (&path, cases[i].text, names,
                                            cases[i].nr_names, &err),
                      -1);
    assert_string_equal (err.text, cases[i].error);
    assert_int_equal (err.kind, cases[i].kind);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_taken),
    cmocka_unit_test (test_refused),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
