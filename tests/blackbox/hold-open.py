# SPDX-License-Identifier: BSD-3-Clause

# hold-open.py URI FILE [write]: connect, perhaps write a byte, create FILE,
# and stay connected until killed.  Prints why it cannot connect, with status
# 1.

import signal
import sys

import nbd

uri, ready, *what = sys.argv[1:]
h = nbd.NBD()
try:
    h.connect_uri(uri)
    if what:
        h.pwrite(b"w", 0)
        h.flush()
except nbd.Error as e:
    print(e)
    raise SystemExit(1)
open(ready, "w").close()
signal.pause()
