/* SPDX-License-Identifier: BSD-3-Clause */

/* New IDs are put in the place of the old ones wherever those have their form,
 * and nothing else of the file is touched.
 */

#include <config.h>

#include <ctype.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "link-change-helper.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* Which digits of the content ID may differ: "x"; the others must stay. */
struct id_case {
  const char *before; /* the key and what follows it, up to the digits */
  const char *digits, *behind;
  size_t at; /* where in the file the digits are; 0: anywhere */
  const char *may_change;
};

static void
make_id_text (const struct id_case *c, char *text, size_t size)
{
  const size_t at = c->at ? c->at - strlen (c->before) : 0;
  size_t len = 0;

  if (at > 0) {
    memset (text, '#', at);
    text[at - 1] = '\n';
    len = at;
  }
  snprintf (text + len, size - len,
            "%s%s%s\nversion=1\nparentCID=ffffffff\ncreateType=\"custom\"\n"
            "RW 64 FLAT \"d-flat.vmdk\"\n",
            c->before, c->digits, c->behind);
}

static bool
has_capital (const char *digits, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (isupper ((unsigned char) digits[i]))
      return true;
  return false;
}

static void
check_digits (const struct id_case *c, const char *old, const char *new)
{
  const size_t n = strlen (c->digits);
  const uint32_t before = strtoul (old, NULL, 16);
  const uint32_t after = strtoul (new, NULL, 16);
  const char *const all =
    has_capital (old, n) ? "0123456789ABCDEF" : "0123456789abcdef";

  for (size_t i = 0; i < n; i++) {
    if (c->may_change[i] == '.')
      assert_int_equal (new[i], old[i]);
    assert_non_null (memchr (all, new[i], 16));
  }
  assert_true (after != before && after != 0 && after < 0xfffffffe);
  if (n < 8 && c->may_change[0] == 'x')
    assert_int_not_equal (new[0], '0');
}

/* As many digits as before, in the same case, and not a byte beside them. */
static void
test_ids_in_place (void **state)
{
  static const struct id_case cases[] = {
    { "CID=", "0123abcd", "", 0, "xxxxxxxx" },
    { "CID=", "7", "", 0, "x" },
    { "CID=", "0", "", 0, "x" },
    { "CID=", "883ac20", "", 0, "xxxxxxx" },
    { "CID=", "fffffffe", "", 0, "xxxxxxxx" },
    { "  cid \t= ", "AB12", "  ", 0, "xxxx" },
    { "CID=\"", "AB12", "\"", 0, "xxxx" },
    { "CID=0x", "12ab", "", 0, "xxxx" },
    { "CID=", "0123abcd", "", 505, "xxxxxxx." },
    { "CID=", "0123abcd", "", 508, "xxxx...." },
    { "CID=", "0123abcd", "", 509, "...xxxxx" },
    { "CID=", "fffffffe", "", 511, ".xxxxxxx" },
    { "CID=", "0123abcd", "", 512, "xxxxxxxx" },
    { "CID=", "883ac20", "", 1022, "..xxxxx" },
    { "CID=", "ab", "", 511, "x." },
    { "CID=", "fffffff1", "", 505, "xxxxxxx." },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    const struct id_case *c = &cases[i];
    const size_t n = strlen (c->digits);
    char text[2000], *digits;

    make_id_text (c, text, sizeof text);
    digits = strstr (text, c->before) + strlen (c->before);
    put_flat (text);
    for (int round = 0; round < 40; round++) {
      struct disk *disk = open_from (&rec.store, "d.vmdk", true);
      struct image image;

      rec.text[0] = '\0';
      must_write (disk, 5);
      disk_close (disk);
      assert_string_equal (rec.text,
                           "write:d.vmdk flush:d.vmdk write:d-flat.vmdk ");
      image = read_file (rec.inner, "d.vmdk");
      assert_int_equal (image.size, strlen (text));
      check_digits (c, digits, (char *) image.bytes + (digits - text));
      memcpy (digits, image.bytes + (digits - text), n);
      assert_string_equal ((char *) image.bytes, text);
      image_free (&image);
    }
  }
}

/* The other IDs: what has their form changes in its place, what is empty
 * stays, what is something else makes a new text.
 */
static void
test_other_ids (void **state)
{
#define LONG "ddb.longContentID"
#define UUID "ddb.uuid.modification"
  static const struct {
    const char *before, *after; /* "X" for a digit */
    bool in_place;
  } cases[] = {
    { "", "", true },
    { LONG " = \"\"\n", LONG " = \"\"\n", true },
    { LONG "=\"0123456789ABCDEF0123456789abcdef\"\n",
      LONG "=\"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\"\n", true },
    { LONG " = \"0123456789abcdef0123456789abcde\"\n",
      LONG " = \"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\"\n", false },
    { LONG " = \"1\"\n" LONG " = \"0123456789abcdef0123456789abcdef\"\n",
      LONG " = \"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\"\n", false },
    { UUID "=\"55555555-6666-7777-8888-99999999999A\"  \n",
      UUID "=\"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX\"  \n", true },
    { UUID "=\"55555555x6666-7777-8888-99999999999A\"\n",
      UUID " = \"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX\"\n", false },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    char text[2000], wanted[2000];
    struct image image;
    struct disk *disk;
    char *p;

    snprintf (text, sizeof text, "%s%s", HEAD, cases[i].before);
    snprintf (wanted, sizeof wanted, "%s%s", HEAD, cases[i].after);
    put_flat (text);
    disk = open_from (&rec.store, "d.vmdk", true);
    rec.text[0] = '\0';
    must_write (disk, 5);
    disk_close (disk);
    assert_int_equal (!strstr (rec.text, "rename"), cases[i].in_place);
    image = read_file (rec.inner, "d.vmdk");
    p = (char *) image.bytes;
    blot (wanted, "\nCID=", 8);
    blot (p, "\nCID=", 8);
    assert_int_equal (strlen (p), strlen (wanted));
    for (size_t k = 0; wanted[k]; k++)
      if (wanted[k] == 'X' && p[k] != 'X') {
        assert_true (isxdigit ((unsigned char) p[k]));
        p[k] = 'X';
      }
    assert_string_equal (p, wanted);
    image_free (&image);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_ids_in_place, setup, teardown),
    cmocka_unit_test_setup_teardown (test_other_ids, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
