# SPDX-License-Identifier: BSD-3-Clause
"""Large images, made only when a test asks for them by name."""

from casebook import case
from good_cases import mono
from vmdkgen import Layer, Sparse, descriptor, extent, join


def long_chain(c, links):
    seen = None
    for i in range(links):
        name = "disk" if i == links - 1 else "disk-%d" % i
        layer = Layer(16)
        if i in (0, links // 2, links - 1):
            layer.write(8 * (i % 2), c.rng.randbytes(8 * 512))
        relation = {} if not i else dict(parent=i,
                                         hint="disk-%d.vmdk" % (i - 1))
        c.put(name + ".vmdk", mono(layer, dict(cid=i + 1, ddb=(), **relation),
                                   grain=8, area=2))
        seen = layer.over(seen) if seen else layer
    return seen


@case("limit-links-255")
def links_255(c):
    c.warn("disk.vmdk", long_chain(c, 255), "255")


@case("limit-links-256")
def links_256(c):
    long_chain(c, 256)
    c.reject("disk.vmdk", "255")


@case("limit-extents-%s", "flat", "sparse")
def extents(c, value):
    layers, lines = [], []
    for i in range(5000 if value == "flat" else 1000):
        layer = Layer(1 + i % 3).fill(c.rng)
        name = "disk-%03d.vmdk" % (i + 1)
        if value == "flat":
            c.put(name, layer.data)
            lines.append(extent("RW", layer.sectors, "FLAT", name, 0))
        else:
            c.put(name, Sparse(layer, grain=8))
            lines.append(extent("RW", layer.sectors, "SPARSE", name))
        layers.append(layer)
    c.put("disk.vmdk", descriptor("twoGbMaxExtentFlat" if value == "flat"
                                  else "twoGbMaxExtentSparse", lines))
    c.good("disk.vmdk", join(*layers))


@case("limit-capacity-62-tib")
def capacity(c):
    # Nothing but a header and an empty directory of 8 MiB: opened at once.
    sectors = 62 << 31
    layer = Layer(128)
    image = mono(layer, capacity=128)
    image.set(capacity=sectors, gdOffset=64, flags=1, rgdOffset=0,
              overHead=128)
    text = descriptor("monolithicSparse", [
        extent("RW", sectors, "SPARSE", "disk.vmdk")])
    image.put(1, text)
    image.cut(32768)
    image.pad_to(64 + (sectors // 65536 * 4) // 512)
    c.put("disk.vmdk", image)
    c.size_only("disk.vmdk", sectors * 512)
