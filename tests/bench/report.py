# SPDX-License-Identifier: BSD-3-Clause

"""The table: medians, paired ratios, the servers' CPU and memory."""

import statistics


def number(x, digits=3):
    """Three significant digits, and never an exponent."""
    if x is None:
        return "-"
    whole = len(str(int(x))) if x >= 1 else 0
    return "%.*f" % (max(0, digits - whole), x)


class Results:
    """The runs of one row: a dict for each round, from contender to run."""

    def __init__(self, row, rounds):
        self.row, self.rounds = row, rounds

    def runs(self, who):
        return [r[who] for r in self.rounds if who in r]

    def median(self, who, what):
        """CPU comes in ticks of 10 ms, so that is summed before dividing."""
        runs = self.runs(who)
        if not runs:
            return None
        if what == "cpu" and self.row.unit != "s":
            gib = sum(r["all_bytes"] for r in runs) / (1 << 30)
            return sum(r["cpu"] for r in runs) / gib if gib else None
        values = [r[what] for r in runs if r.get(what) is not None]
        return statistics.median(values) if values else None

    def ratios(self, a, b, what="value"):
        """How many times as fast A is as B, round by round."""
        out = []
        for r in self.rounds:
            if a in r and b in r:
                x, y = r[a][what], r[b][what]
                if x and y:
                    out.append(y / x if self.row.unit == "s" else x / y)
        return out

    def gave_up(self, who):
        return any(r.get("gave_up") for r in self.runs(who))

    def value(self, who):
        text = number(self.median(who, "value"))
        return ">" + text if self.gave_up(who) else text

    def ratio(self, a, b):
        ratios = self.ratios(a, b)
        if not ratios or self.gave_up(a):
            return "-"
        text = "%.2f" % statistics.median(ratios)
        return ">" + text if self.gave_up(b) else text

    def noise(self):
        """The A/A row: the median, and how far any round was from 1."""
        for a in "vmdk", "file", "null":
            ratios = self.ratios(a, a + "'")
            if ratios:
                return "%.2f ±%.0f%%" % (
                    statistics.median(ratios),
                    100 * max(abs(x - 1) for x in ratios))
        return "-"

    def limit(self):
        return "null" if self.row.unit == "s" else "file"

    def cells(self):
        limit = self.limit()
        who = ["vmdk", "qemu", limit]
        alone = self.ratio("vmdk", "alone")
        return ([self.row.name, self.row.unit] +
                [self.value(w) for w in who + ["alone"]] +
                [self.ratio("vmdk", limit), self.ratio("vmdk", "qemu"),
                 alone, self.noise()] +
                [number(self.median(w, "cpu")) for w in who] +
                [number(self.median(w, "rss")) for w in who])


HEAD = [["", "", "median", "", "", "", "vmdk/", "", "", "", "cpu s/GiB", "",
         "", "peak MiB", "", ""],
        ["row", "unit", "vmdk", "qemu", "limit", "alone", "limit", "qemu",
         "alone", "A/A", "vmdk", "qemu", "limit", "vmdk", "qemu", "limit"]]


def table(results, head=HEAD):
    rows = head + [r.cells() for r in results]
    widths = [max(len(r[i]) for r in rows[1:]) for i in range(len(head[0]))]
    lines = []
    for r in rows:
        cells = [c.ljust(w) if i < 2 else c.rjust(w)
                 for i, (c, w) in enumerate(zip(r, widths))]
        if r is head[0]:  # these run on over the columns they stand above
            line = ""
            for i, c in enumerate(r):
                at = sum(widths[:i]) + 2 * i
                line = line.ljust(at) + c if c else line
            cells = [line]
        lines.append("  ".join(cells).rstrip())
    lines.insert(2, "-" * max(map(len, lines)))
    return "\n".join(lines)
