"""Families of shapes for simulated datasets: each a class, its proportions drawn for each instance.

A shape stands on z = 0 with its front towards +x, about 1 high or wide; :func:`make_instance` scales it to
metres. Parts are at least a twentieth of the whole, so that a coarse mesh keeps them. One long file, because
it is a table of shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from walkaround.simulate.solids import (
    above,
    box,
    disc,
    ellipsoid,
    lathe,
    melt,
    minus,
    ring,
    rod,
    tube,
    union,
)
from walkaround.simulate.surface import Field, TriangleMesh, mesh_field
from walkaround.types import FloatArray

_REACH = 1.3
"""No shape reaches further from the z axis, nor higher than twice that."""


class Draw:
    """Proportions of one instance."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __call__(self, low: float, high: float) -> float:
        """Return a number between two."""
        return float(self._rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """Return True in a share of the instances."""
        return bool(self._rng.uniform() < share)

    def count(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        return int(self._rng.integers(low, high + 1))


def make_instance(family: str, seed: int, *, resolution: int = 56) -> TriangleMesh:
    """Mesh an instance of a family, centred over the origin, standing on z = 0; metres.

    Parameters
    ----------
    seed
        The same seed gives the same shape.
    resolution
        Cells along the longest side.

    Raises
    ------
    KeyError
        There is no such family.
    """
    number = sorted(FAMILIES).index(family)
    rng = np.random.default_rng([seed, number, 71])
    shape = FAMILIES[family](Draw(rng))

    def standing(p: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(shape(p), -p[:, 2]))

    low, high = _bounds(standing)
    mesh = mesh_field(standing, low, high, resolution=resolution)
    bottom, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    middle = np.array([*(0.5 * (bottom + top)[:2]), bottom[2]])
    radius = 0.5 * float(np.linalg.norm(top - bottom))
    scale = rng.uniform(0.09, 0.14) / radius
    return TriangleMesh(vertices=(mesh.vertices - middle) * scale, faces=mesh.faces, normals=mesh.normals)


def _bounds(field: Field) -> tuple[FloatArray, FloatArray]:
    """Return the corners of a box around a shape, found on a coarse grid."""
    axis = np.linspace(-_REACH, _REACH, 41)
    up = np.linspace(-0.05, 2 * _REACH, 42)
    points = np.stack(np.meshgrid(axis, axis, up, indexing="ij"), axis=-1).reshape(-1, 3)
    step = axis[1] - axis[0]
    near = points[field(points) < 0.8 * step]
    return near.min(axis=0) - 0.8 * step, near.max(axis=0) + 0.8 * step


def _mug(d: Draw) -> Field:
    r, h = d(0.3, 0.42), d(0.65, 1.0)
    wall, size = d(0.06, 0.08), d(0.17, 0.26)
    handle = ring((0.0, r + 0.3 * size, d(0.45, 0.58) * h), 0, size, d(0.05, 0.075))
    body = lathe([(0.0, r * d(0.8, 1.05)), (0.5 * h, r), (h, r * d(0.95, 1.15))])
    return minus(melt(0.06, body, handle), lathe([(0.1, r - wall), (0.5 * h, r - wall), (h + 0.1, r - wall)]))


def _bottle(d: Draw) -> Field:
    r, h, neck = d(0.17, 0.26), d(1.0, 1.4), d(0.065, 0.1)
    shoulder = d(0.5, 0.66) * h
    body = lathe([(0, r * 0.96), (0.06, r), (shoulder, r * d(0.9, 1)), (0.82 * h, neck), (h, neck)])
    return union(body, disc((0, 0, h - 0.05), 2, neck + d(0.02, 0.045), 0.05))


def _bowl(d: Draw) -> Field:
    r, h, foot = d(0.5, 0.7), d(0.28, 0.5), d(0.4, 0.6)
    outer = [(0.0, r * foot), (0.35 * h, r * d(0.72, 0.86)), (h, r)]
    inner = [(0.1, r * foot * 0.7), (0.35 * h + 0.06, outer[1][1] - 0.09), (h + 0.05, r - 0.07)]
    return minus(lathe(outer), lathe(inner))


def _chair(d: Draw) -> Field:
    w, deep, seat, back = d(0.3, 0.4), d(0.28, 0.38), d(0.45, 0.6), d(0.45, 0.75)
    leg, thick = d(0.035, 0.05), d(0.04, 0.06)
    legs = [
        rod((x, y, seat), (x * (1 + splay), y * (1 + splay), 0), leg)
        for splay in (d(0, 0.25),)
        for x in (deep - leg, -deep + leg)
        for y in (w - leg, leg - w)
    ]
    parts = [box((0, 0, seat), (deep, w, thick)), *legs]
    if d.chance(0.5):
        parts.append(box((-deep, 0, seat + 0.5 * back), (thick, w, 0.5 * back)))
    else:
        rails = d.count(2, 3)
        parts += [
            rod((-deep, s * (w - leg), seat), (-deep - 0.06, s * (w - leg), seat + back), leg)
            for s in (1, -1)
        ]
        parts += [
            box((-deep - 0.04, 0, seat + back * (n + 1) / rails - 0.05), (0.04, w, 0.055))
            for n in range(rails)
        ]
    return union(*parts)


def _table(d: Draw) -> Field:
    w, deep, h, leg = d(0.55, 0.8), d(0.35, 0.55), d(0.5, 0.75), d(0.04, 0.06)
    if d.chance(0.4):  # round, on one foot
        return union(
            disc((0, 0, h), 2, w, d(0.04, 0.06)),
            rod((0, 0, 0), (0, 0, h), d(0.06, 0.1)),
            disc((0, 0, 0.03), 2, d(0.25, 0.4), 0.05),
        )
    feet = [
        box((x, y, 0.5 * h), (leg, leg, 0.5 * h), 0.015)
        for x in (deep - leg, leg - deep)
        for y in (w - leg, leg - w)
    ]
    return union(box((0, 0, h), (deep, w, d(0.04, 0.06))), *feet)


def _shoe(d: Draw) -> Field:
    long, wide, heel = d(0.55, 0.7), d(0.17, 0.23), d(0.0, 0.12)
    sole = box((0, 0, 0.05 + 0.5 * heel), (long, wide, 0.06 + 0.5 * heel), 0.05)
    toe = ellipsoid((0.45 * long, 0, 0.14 + heel), (0.55 * long, wide, d(0.13, 0.19)))
    shaft = d(0.3, 0.75)
    upper = ellipsoid((-0.4 * long, 0, 0.2 + heel), (0.55 * long, wide, 0.28))
    leg = rod((-0.5 * long, 0, 0.2), (-0.52 * long, 0, 0.15 + shaft), wide * 0.95)
    hole = rod((-0.5 * long, 0, 0.25 + heel), (-0.53 * long, 0, 1.2), wide * 0.62)
    body = melt(0.12, sole, toe, upper, leg)
    return minus(body, hole, box((0, 0, 1.2 + shaft), (1.2, 1.2, 0.95)))


def _lamp(d: Draw) -> Field:
    h, low, high = d(0.95, 1.3), d(0.32, 0.45), d(0.12, 0.26)
    start = h - d(0.35, 0.5)
    shade = minus(
        lathe([(start, low), (h, high)]),
        lathe([(start - 0.05, low - 0.06), (h - 0.09, max(0.05, high - 0.06))]),
    )
    pole = tube([(0, 0, 0), (d(-0.1, 0.1), 0, 0.5 * h), (0, 0, h - 0.04)], d(0.035, 0.06))
    return union(shade, pole, disc((0, 0, 0.04), 2, d(0.2, 0.32), 0.05))


def _teapot(d: Draw) -> Field:
    r, h = d(0.33, 0.42), d(0.5, 0.68)
    body = ellipsoid((0, 0, 0.5 * h), (r, r, 0.53 * h))
    spout = tube([(0, -0.7 * r, 0.3 * h), (0, -r - 0.2, 0.5 * h), (0, -r - d(0.28, 0.4), h)], 0.1, 0.05)
    handle = ring((0, r, 0.5 * h), 0, d(0.2, 0.27), d(0.045, 0.06))
    knob = ellipsoid((0, 0, 1.05 * h + 0.03), (0.08, 0.08, 0.08))
    return melt(0.05, body, spout, handle, knob)


def _goblet(d: Draw) -> Field:
    h, r, stem = d(0.95, 1.25), d(0.22, 0.36), d(0.35, 0.5)
    top = stem * h
    profile = [
        (0, d(0.22, 0.3)), (0.06, 0.14), (0.14, 0.055), (top, 0.06),
        (top + 0.2 * h, r), (h, r * d(0.75, 1.05)),
    ]  # fmt: skip
    hole = lathe([(top + 0.1, 0.02), (top + 0.2 * h + 0.05, r - 0.07), (h + 0.06, r * 0.75 - 0.06)])
    return minus(lathe(profile), hole)


def _car(d: Draw) -> Field:
    long, wide, h = d(0.6, 0.75), d(0.25, 0.32), d(0.14, 0.2)
    wheel = d(0.12, 0.17)
    body = box((0, 0, wheel + h), (long, wide, h), 0.07)
    cabin = box((d(-0.22, 0.02), 0, wheel + 2 * h + 0.08), (d(0.25, 0.45), wide * 0.88, d(0.13, 0.2)), 0.09)
    wheels = [disc((x, y, wheel), 1, wheel, 0.06) for x in (0.62 * long, -0.6 * long) for y in (wide, -wide)]
    return union(melt(0.08, body, cabin), *wheels)


def _aeroplane(d: Draw) -> Field:
    r, span, h = d(0.08, 0.12), d(0.6, 0.9), 0.2
    swept, at = d(0.05, 0.35), d(0.0, 0.15)
    fuselage = rod((0.65, 0, h), (-0.65, 0, h + 0.06), r, 0.6 * r)
    wings = [rod((at, 0, h), (at - swept, s * span, h + d(0.02, 0.08)), 0.1, 0.05) for s in (1, -1)]
    tail = [rod((-0.6, 0, h + 0.05), (-0.75, s * 0.3, h + 0.08), 0.06, 0.04) for s in (1, -1)]
    fin = rod((-0.6, 0, h + 0.05), (-0.75, 0, h + d(0.28, 0.4)), 0.07, 0.045)
    feet = [rod((x, y, h), (x, y * 1.3, 0.03), 0.04) for x, y in ((0.45, 0.0), (-0.1, 0.1), (-0.1, -0.1))]
    return melt(0.04, fuselage, *wings, *tail, fin, *feet)


def _hammer(d: Draw) -> Field:
    long, r, half = d(0.55, 0.75), d(0.045, 0.06), d(0.2, 0.3)
    head = union(
        box((0, long, 0.12), (half, d(0.07, 0.1), 0.1)), disc((half, long, 0.12), 0, d(0.1, 0.14), 0.08)
    )
    return union(rod((0, -long, 0.12), (0, long, 0.12), r * 1.4, r), head)


def _headphones(d: Draw) -> Field:
    r, cup = d(0.36, 0.46), d(0.17, 0.24)
    h = cup + 0.02
    arc = [(0.0, r * np.cos(a), h + 1.15 * r * np.sin(a)) for a in np.linspace(0, np.pi, 13)]
    cups = [disc((0, s * (r - 0.03), h), 1, cup, d(0.06, 0.1)) for s in (1, -1)]
    return melt(0.04, tube([(float(x), float(y), float(z)) for x, y, z in arc], d(0.045, 0.07)), *cups)


def _pan(d: Draw) -> Field:
    r, h, long = d(0.4, 0.52), d(0.13, 0.26), d(0.5, 0.75)
    dish = minus(
        lathe([(0, r * d(0.8, 0.95)), (h, r)]), lathe([(0.07, r * 0.78 - 0.03), (h + 0.04, r - 0.065)])
    )
    handle = rod((0, r - 0.02, h - 0.05), (0, r + long, h + d(-0.03, 0.15)), d(0.045, 0.06))
    return union(dish, handle)


def _guitar(d: Draw) -> Field:
    low, high, thick = d(0.3, 0.37), d(0.21, 0.28), d(0.07, 0.1)
    body = melt(
        0.12,
        disc((0, 0, low), 0, low, thick),
        disc((0, 0, low + high + d(0.12, 0.2)), 0, high, thick),
    )
    top = 2 * low + 2 * high + d(0.3, 0.5)
    neck = box((0.02, 0, 0.5 * top + low), (0.045, 0.05, 0.5 * top - low))
    head = box((0.0, 0, top + 0.07), (0.05, 0.09, 0.11))
    hole = disc((thick, 0, low + 0.5 * high + 0.05), 0, d(0.08, 0.12), 0.06)
    return union(minus(body, hole), neck, head)


def _hat(d: Draw) -> Field:
    r, h, brim = d(0.3, 0.4), d(0.28, 0.62), d(0.14, 0.32)
    if d.chance(0.5):  # a cap: the brim to the front alone
        dome = above(ellipsoid((0, 0, 0.03), (r, r, h)), 0.0)
        return melt(0.04, dome, ellipsoid((r, 0, 0.05), (brim + 0.15, r * 0.75, 0.05)))
    crown = lathe([(0, r), (0.6 * h, r * d(0.8, 0.95)), (h, r * d(0.55, 0.85))])
    return melt(0.05, crown, disc((0, 0, 0.04), 2, r + brim, 0.045))


def _cactus(d: Draw) -> Field:
    h, r = d(0.75, 1.15), d(0.12, 0.18)
    pot = lathe([(0, 0.2), (0.28, 0.29), (0.32, 0.29)])
    parts = [rod((0, 0, 0.25), (0, 0, h), r, r * 0.85)]
    for n in range(d.count(1, 3)):
        side, z, out = (-1) ** n, d(0.45, 0.65) * h, d(0.26, 0.36)
        up = (0.1 * n, side * out, z + d(0.15, 0.3))
        parts.append(tube([(0, 0, z), (0.1 * n, side * out, z), up], 0.6 * r))
    return union(pot, melt(0.05, *parts))


def _bear(d: Draw) -> Field:
    r, head, ear = d(0.25, 0.33), d(0.2, 0.26), d(0.07, 0.1)
    top = 1.75 * r + 0.6 * head
    parts = [
        ellipsoid((0, 0, r), (r * 0.9, r, r * 1.05)),
        ellipsoid((0.03, 0, top), (head, head * 1.05, head)),
    ]
    parts += [ellipsoid((0, s * 0.75 * head, top + 0.8 * head), (ear, ear, ear)) for s in (1, -1)]
    parts.append(ellipsoid((head, 0, top - 0.05), (0.1, 0.09, 0.08)))
    parts += [
        rod((0.05, s * 0.8 * r, 1.4 * r), (d(0.2, 0.4), s * (r + 0.1), d(0.9, 1.7) * r), 0.09)
        for s in (1, -1)
    ]
    parts += [rod((0.1, s * 0.5 * r, 0.12), (r + d(0.1, 0.25), s * 0.7 * r, 0.12), 0.11) for s in (1, -1)]
    return melt(0.05, *parts)


def _camera(d: Draw) -> Field:
    w, h, deep, lens = d(0.4, 0.52), d(0.22, 0.3), d(0.11, 0.17), d(0.14, 0.2)
    body = box((0, 0, h), (deep, w, h), 0.04)
    barrel = minus(
        disc((deep + 0.1, d(-0.1, 0.1), h), 0, lens, d(0.12, 0.26)),
        disc((deep + 0.5, 0, h), 0, lens * 0.6, 0.18),
    )
    hump = box((0, d(-0.05, 0.05), 2 * h), (deep * 0.8, d(0.1, 0.16), d(0.07, 0.12)), 0.03)
    return union(body, barrel, hump, disc((0, -0.7 * w, 2 * h + 0.03), 2, 0.06, 0.05))


def _bag(d: Draw) -> Field:
    w, deep, h = d(0.36, 0.5), d(0.14, 0.22), d(0.28, 0.42)
    body = box((0, 0, h), (deep, w, h), 0.1)
    reach, rise = d(0.2, 0.28), d(0.25, 0.42)
    angles = np.linspace(0, np.pi, 11)
    arc = [(0.0, float(reach * np.cos(a)), float(2 * h - 0.03 + rise * np.sin(a))) for a in angles]
    return union(body, tube(arc, d(0.04, 0.055)), box((deep, 0, 1.2 * h), (0.05, 0.5 * w, 0.35 * h), 0.04))


def _banana(d: Draw) -> Field:
    bend, r, long = d(0.25, 0.5), d(0.11, 0.16), d(0.6, 0.8)
    line = [
        (float(bend * (s * s) - 0.3 * bend), float(long * s), float(r + 0.12 * abs(s)))
        for s in np.linspace(-1, 1, 9)
    ]
    middle = tube(line[1:-1], r * 0.95)
    return melt(0.1, middle, rod(line[0], line[1], 0.05, r * 0.9), rod(line[-2], line[-1], r * 0.9, 0.055))


def _apple(d: Draw) -> Field:
    r, squash = d(0.4, 0.5), d(0.8, 1.1)
    z = r * squash * 0.93
    body = ellipsoid((0, 0, z), (r, r * d(0.93, 1.05), r * squash))
    dent = ellipsoid((0, 0, z + 1.02 * r * squash), (0.22, 0.22, d(0.12, 0.2)))
    lean = d(-0.1, 0.1)
    stem = rod((0, 0, z + 0.6 * r * squash), (lean, 0.05, z + r * squash + d(0.08, 0.2)), 0.04)
    return union(minus(body, dent), stem)


def _rocket(d: Draw) -> Field:
    h, r = d(1.0, 1.35), d(0.15, 0.22)
    body = lathe([(0.15, r * 0.75), (0.4 * h, r), (0.75 * h, r * 0.8), (0.92 * h, r * 0.4), (h, 0.03)])
    count = d.count(3, 4)
    out, top = d(0.3, 0.42), d(0.4, 0.55)
    fins = []
    for n in range(count):
        c, s = np.cos(2 * np.pi * n / count), np.sin(2 * np.pi * n / count)
        fins.append(
            rod((float(c * 0.6 * r), float(s * 0.6 * r), top), (float(c * out), float(s * out), 0.04), 0.05)
        )
        fins.append(rod((float(c * r), float(s * r), 0.25), (float(c * out), float(s * out), 0.05), 0.05))
    return union(body, *fins)


def _duck(d: Draw) -> Field:
    long, wide, head = d(0.42, 0.52), d(0.28, 0.36), d(0.18, 0.24)
    neck = 0.35 + d(0.12, 0.3)
    return melt(
        0.08,
        ellipsoid((0, 0, 0.27), (long, wide, 0.28)),
        rod((0.5 * long, 0, 0.3), (0.6 * long, 0, neck + 0.1), 0.13),
        ellipsoid((0.62 * long, 0, neck + 0.16), (head, head * 0.9, head)),
        ellipsoid((0.62 * long + head + 0.07, 0, neck + 0.13), (0.15, 0.1, 0.05)),
        rod((-0.8 * long, 0, 0.35), (-long - d(0.08, 0.2), 0, 0.5), 0.09, 0.05),
    )


def _dumbbell(d: Draw) -> Field:
    r, half, bar, count = d(0.2, 0.3), d(0.35, 0.55), d(0.05, 0.08), d.count(1, 2)
    plates = [
        disc((0, s * (half + 0.15 * n), r), 1, r * (1 - 0.25 * n), 0.07)
        for s in (1, -1)
        for n in range(count)
    ]
    return union(rod((0, -half - 0.15, r), (0, half + 0.15, r), bar), *plates)


def _doughnut(d: Draw) -> Field:
    thick = d(0.15, 0.24)
    dough = ring((0, 0, thick * 0.9), 2, d(0.34, 0.48), thick)
    return dough


FAMILIES: dict[str, Callable[[Draw], Field]] = {
    "mug": _mug,
    "bottle": _bottle,
    "bowl": _bowl,
    "chair": _chair,
    "shoe": _shoe,
    "table": _table,
    "lamp": _lamp,
    "teapot": _teapot,
    "goblet": _goblet,
    "car": _car,
    "aeroplane": _aeroplane,
    "hammer": _hammer,
    "headphones": _headphones,
    "pan": _pan,
    "guitar": _guitar,
    "hat": _hat,
    "cactus": _cactus,
    "bear": _bear,
    "camera": _camera,
    "bag": _bag,
    "banana": _banana,
    "apple": _apple,
    "rocket": _rocket,
    "duck": _duck,
    "dumbbell": _dumbbell,
    "doughnut": _doughnut,
}
"""Class label -> how its shape is drawn; a dataset of n classes takes the first n."""
