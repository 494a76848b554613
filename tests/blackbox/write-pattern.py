# SPDX-License-Identifier: BSD-3-Clause

"""write-pattern.py URI FILE [SEED]: the same random writes and zeros to the
export and to the raw FILE, which then has what the export must read as.
"""

import random
import sys

import nbd


def main(uri, path, seed="7"):
    h = nbd.NBD()
    h.connect_uri(uri)
    size = h.get_size()
    rng = random.Random(int(seed))
    with open(path, "r+b") as raw:
        for i in range(300):
            offset = rng.randrange(size)
            count = min(rng.choice((1, 512, 4096, 70000, 300000)),
                        size - offset)
            what = rng.randrange(4)
            if what == 3:
                h.zero(count, offset, nbd.CMD_FLAG_NO_HOLE if i % 2 else 0)
                data = bytes(count)
            else:
                data = rng.randbytes(count)
                h.pwrite(data, offset, nbd.CMD_FLAG_FUA if what == 2 else 0)
            raw.seek(offset)
            raw.write(data)
    with open(path, "rb") as raw:
        if h.pread(size, 0) != raw.read():
            raise SystemExit("what is read is not what was written")
    h.flush()
    h.shutdown()


main(*sys.argv[1:])
