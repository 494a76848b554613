#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""random-reads.py FOLDER SEED: random reads of each image of
FOLDER/EXPECT.tsv, from several connections, compared with its contents."""

import random
import sys
import threading

from served import Server, Wrong, rows, sha256

CLIENTS, READS = 4, 150


def read_some(client, data, rng, faults):
    try:
        for _ in range(READS):
            # Mostly short; ends and starts lie anywhere.
            count = min(len(data), 1 << rng.randrange(19)) or 1
            count = rng.randint(1, count)
            offset = rng.randint(0, len(data) - count)
            if client.pread(count, offset) != data[offset:offset + count]:
                raise Wrong("wrong bytes in %d+%d" % (offset, count))
        client.shutdown()
    except Exception as fault:  # pylint: disable=broad-except
        faults.append(fault)


def check(row, seed):
    with Server(row.path, *row.params, clients=CLIENTS) as server:
        if not server.ready:
            raise Wrong("refused: %r" % server.said())
        faults = []
        clients = [server.connect() for _ in range(CLIENTS)]
        # What is compared with is read by a server that these clients have
        # not touched.
        with Server(row.path, *row.params) as other:
            data = other.copy()
        if sha256(data) != row.sha256:
            raise Wrong("WRONG CONTENTS")
        threads = [threading.Thread(target=read_some, args=(
            client, data, random.Random("%s %d" % (seed, i)), faults))
            for i, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        if server.stop() != 0:
            raise Wrong("exit status %d" % server.status)


def main(root, seed):
    print("seed %s (VMDKIT_SEED chooses another)" % seed)
    failed = 0
    for row in rows(root):
        if row.kind == "reject":
            continue
        try:
            check(row, seed)
        except Exception as wrong:  # pylint: disable=broad-except
            failed += 1
            print("%s: %s" % (row, wrong))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
