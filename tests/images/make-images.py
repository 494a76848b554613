#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""make-images.py FOLDER [PATTERN...]

Write VMDK images into FOLDER (whose former contents are removed), one folder
for each case, and EXPECT.tsv, which says what a reader must make of them (see
casebook.py).  Without a pattern, all cases but those of "limit-*", which are
large.  The same images are made every time.
"""

import os
import sys

sys.dont_write_bytecode = True

import casebook  # noqa: E402
import bad_cases  # noqa: E402,F401
import good_cases  # noqa: E402,F401
import limit_cases  # noqa: E402,F401

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    root = sys.argv[1]
    if os.path.isdir(root) and os.listdir(root) \
       and not os.path.exists(os.path.join(root, "EXPECT.tsv")):
        sys.exit("%s: not a folder of images" % root)
    casebook.make(root, sys.argv[2:] or ["good-*", "bad-*"])
