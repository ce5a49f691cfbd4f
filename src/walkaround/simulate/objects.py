"""The objects: implicit surfaces whose proportions follow from a seed. Metres, standing on z = 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from walkaround.simulate.solids import capsule_distance, ellipsoid_distance, rotation, smooth_min
from walkaround.simulate.surface import Field, TriangleMesh, mesh_field
from walkaround.types import FloatArray

Bounds = tuple[FloatArray, FloatArray]
_MARGIN_M = 0.012


@lru_cache(maxsize=1)
def make_object(name: str, seed: int, symmetry: int = 1) -> TriangleMesh:
    """Mesh the named object, centred over the origin and standing on z = 0.

    With ``symmetry`` above 1 it is united with its copies turned by shares of 360 degrees about the z axis.
    """
    field, (low, high), resolution = _MAKERS[name](np.random.default_rng([seed, 11]))
    if symmetry > 1:
        field, low, high = _turned_copies(field, low, high, symmetry)

    def standing(p: FloatArray) -> FloatArray:  # a flat foot at z = 0
        return np.maximum(field(p), -p[:, 2])

    low = np.array([low[0], low[1], min(low[2], 0.0)])
    mesh = mesh_field(standing, low - _MARGIN_M, high + _MARGIN_M, resolution=resolution)
    bottom, top = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    aside = -0.5 * (bottom + top)[:2] if symmetry == 1 else np.zeros(2)
    shift = np.array([*aside, -bottom[2]])
    return TriangleMesh(vertices=mesh.vertices + shift, faces=mesh.faces, normals=mesh.normals)


def _turned_copies(
    field: Field, low: FloatArray, high: FloatArray, count: int
) -> tuple[Field, FloatArray, FloatArray]:
    turns = [rotation(np.array([0, 0, 1.0]), 2 * np.pi * n / count) for n in range(count)]

    def united(p: FloatArray) -> FloatArray:
        return np.minimum.reduce([field(p @ turn) for turn in turns])

    side = float(np.hypot(*np.maximum(np.abs(low), np.abs(high))[:2]))
    return united, np.array([-side, -side, low[2]]), np.array([side, side, high[2]])


def _vase(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    height = rng.uniform(0.20, 0.26)
    radii = np.array([0.045, 0.062, 0.078, 0.066, 0.04, 0.036, 0.05]) * rng.uniform(0.85, 1.15, 7)
    profile = PchipInterpolator(np.linspace(-1e-9, height, 7), radii, extrapolate=True)
    flutes, twist, depth = int(rng.integers(5, 9)), rng.uniform(-12, 12), rng.uniform(0.0015, 0.003)
    dent = rng.uniform(0, 2 * np.pi)

    def field(p: FloatArray) -> FloatArray:
        rho = np.hypot(p[:, 0], p[:, 1])
        theta = np.arctan2(p[:, 1], p[:, 0])
        z = np.clip(p[:, 2], 0, height)
        r = profile(z)
        relief = depth * np.cos(flutes * theta + twist * z / height) + 0.003 * np.cos(theta - dent)
        outer = np.maximum(0.75 * (rho - r - relief), p[:, 2] - height)
        inner = np.maximum(0.75 * (rho - r + 0.007), 0.6 * height - p[:, 2])
        return np.maximum(outer, -inner)

    side = float(radii.max()) + 0.01
    return field, (np.array([-side, -side, 0]), np.array([side, side, height])), 128


def _blob(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    radius = rng.uniform(0.07, 0.09)
    waves = rng.normal(size=(10, 3)) * rng.uniform(12, 30, (10, 1))
    phases, sizes = rng.uniform(0, 2 * np.pi, 10), rng.uniform(0.002, 0.0045, 10)
    squash = rng.uniform(0.85, 1.15, 3)
    centre = np.array([0, 0, 0.85 * radius * squash[2]])

    def field(p: FloatArray) -> FloatArray:
        bumps = np.sin(p @ waves.T + phases) @ sizes
        return 0.8 * (ellipsoid_distance(p, centre, radius * squash) - bumps)

    side = radius * 1.15 + 0.03
    return field, (np.array([-side, -side, 0]), np.array([side, side, 2 * side])), 112


def _mug(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    radius, height = rng.uniform(0.038, 0.046), rng.uniform(0.088, 0.115)
    wall, taper = 0.0055, rng.uniform(-0.08, 0.08)
    ring, thick = rng.uniform(0.026, 0.032), rng.uniform(0.0055, 0.007)
    middle = np.array([radius + 0.006, 0.0, 0.5 * height])

    def field(p: FloatArray) -> FloatArray:
        rho = np.hypot(p[:, 0], p[:, 1])
        r = radius * (1 + taper * (p[:, 2] / height - 0.5))
        outer = np.maximum(rho - r, p[:, 2] - height)
        q = p - middle
        around = np.hypot(np.hypot(q[:, 0], q[:, 2] * 0.85) - ring, q[:, 1]) - thick
        body = smooth_min(outer, around, 0.008)
        inner = np.maximum(rho - r + wall, 0.007 - p[:, 2])
        return np.maximum(body, -inner)

    side = radius * 1.06
    reach = middle[0] + ring + thick
    return field, (np.array([-side, -side, 0]), np.array([reach, side, height])), 128


def _figurine(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    def vary(*values: float) -> FloatArray:
        return np.array(values) * rng.uniform(0.88, 1.12, len(values))

    body, head = vary(0.06, 0.057, 0.057), vary(0.044, 0.043, 0.037)
    neck = body[2] * 1.75
    head_at = np.array([0.012, 0.0, neck + head[2] * 0.75])
    parts: list[tuple[FloatArray, FloatArray]] = [
        (np.array([0, 0, body[2] * 0.95]), body),
        (head_at, head),
        (head_at + np.array([head[0] * 0.9, 0, -0.006]), vary(0.018, 0.015, 0.013)),
        (head_at + np.array([-0.004, head[1] * 0.75, head[2] * 1.05]), vary(0.012, 0.014, 0.02)),
        (head_at + np.array([-0.004, -head[1] * 0.75, head[2] * 1.05]), vary(0.012, 0.014, 0.02)),
        (np.array([-body[0] * 1.05, 0.004, 0.028]), vary(0.02, 0.016, 0.018)),
        (np.array([body[0] * 0.8, body[1] * 0.6, 0.012]), vary(0.03, 0.018, 0.015)),
        (np.array([body[0] * 0.8, -body[1] * 0.6, 0.012]), vary(0.03, 0.018, 0.015)),
    ]
    lift = rng.uniform(-0.02, 0.05)
    arms = [
        (np.array([0.008, s * body[1] * 0.85, neck * 0.8]), np.array([0.05, s * 0.064, neck * 0.55 + up]))
        for s, up in ((1.0, lift), (-1.0, rng.uniform(-0.02, 0.05)))
    ]

    def field(p: FloatArray) -> FloatArray:
        out = np.full(len(p), 1.0)
        for centre, radii in parts:
            out = smooth_min(out, ellipsoid_distance(p, centre, radii), 0.012)
        for a, b in arms:
            out = smooth_min(out, capsule_distance(p, a, b, 0.015, 0.011), 0.01)
        return out

    top = head_at[2] + head[2] * 1.05 + 0.026
    return field, (np.array([-0.1, -0.1, 0]), np.array([0.1, 0.1, top])), 120


def _plant(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    pot_radius, pot_height = rng.uniform(0.05, 0.058), rng.uniform(0.07, 0.085)
    stems: list[tuple[FloatArray, FloatArray]] = []
    leaves: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    count = int(rng.integers(8, 11))
    for i in range(count):
        angle = 2 * np.pi * i / count + rng.uniform(-0.25, 0.25)
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        base = 0.018 * out + [0, 0, pot_height - 0.012]
        reach, rise = rng.uniform(0.03, 0.05), rng.uniform(0.05, 0.13)
        middle = base + 0.4 * reach * out + [0, 0, 0.65 * rise]
        tip = base + reach * out + [0, 0, rise]
        stems += [(base, middle), (middle, tip)]
        turn = rotation(np.array([0, 0, 1.0]), angle) @ rotation(np.array([0, 1.0, 0]), rng.uniform(0.1, 1))
        radii = np.array([rng.uniform(0.042, 0.055), rng.uniform(0.025, 0.033), 0.003])
        leaves.append((tip + turn[:, 0] * radii[0] * 0.75, turn, radii))

    def stem(ends: tuple[FloatArray, FloatArray], p: FloatArray) -> FloatArray:
        return capsule_distance(p, *ends, 0.0038, 0.0032)

    def leaf(shape: tuple[FloatArray, FloatArray, FloatArray], p: FloatArray) -> FloatArray:
        q = (p - shape[0]) @ shape[1]
        q[:, 2] += 5.0 * q[:, 0] ** 2 - 6.0 * q[:, 1] ** 2
        return 0.8 * ellipsoid_distance(q, np.zeros(3), shape[2])

    def field(p: FloatArray) -> FloatArray:
        rho = np.hypot(p[:, 0], p[:, 1])
        r = pot_radius * (0.78 + 0.22 * np.clip(p[:, 2] / pot_height, 0, 1))
        pot = np.maximum(rho - r, p[:, 2] - pot_height)
        soil = np.maximum(rho - r + 0.006, pot_height - 0.01 - p[:, 2])
        out = np.maximum(pot, -soil)
        for ends in stems:
            half = 0.5 * float(np.linalg.norm(ends[1] - ends[0]))
            _unite(out, p, 0.5 * (ends[0] + ends[1]), half + 0.004, partial(stem, ends))
        for shape in leaves:
            _unite(out, p, shape[0], float(shape[2][0]) + 0.015, partial(leaf, shape))
        return out

    side, top = 0.17, pot_height + 0.19
    return field, (np.array([-side, -side, 0]), np.array([side, side, top])), 168


def _unite(out: FloatArray, p: FloatArray, centre: FloatArray, radius: float, part: Field) -> None:
    """Lower ``out`` to ``part`` near a sphere that holds it, and to a bound of its distance elsewhere."""
    away = np.linalg.norm(p - centre, axis=1) - radius
    near = away < 0.02
    out[near] = np.minimum(out[near], part(p[near]))
    out[~near] = np.minimum(out[~near], away[~near])


def _wire(rng: np.random.Generator) -> tuple[Field, Bounds, int]:
    """A stand of bent rods: three legs, a stem, a coil and a ring, nothing thicker than a pencil."""
    height, spread, thick = rng.uniform(0.17, 0.2), rng.uniform(0.05, 0.06), rng.uniform(0.0034, 0.004)
    turn = rng.uniform(0, 2 * np.pi)
    rods: list[tuple[FloatArray, FloatArray]] = []
    hub = np.array([0, 0, 0.3 * height])
    for leg in range(3):
        angle = turn + 2 * np.pi * leg / 3
        rods.append((hub, np.array([spread * np.cos(angle), spread * np.sin(angle), 0.5 * thick])))
    rods.append((hub, np.array([0, 0, height])))
    coil, winds = rng.uniform(0.03, 0.04), rng.uniform(2.0, 3.0)
    at = [
        np.array([coil * np.cos(a), coil * np.sin(a), height * (0.45 + 0.5 * a / (2 * np.pi * winds))])
        for a in np.linspace(0, 2 * np.pi * winds, 40)
    ]
    rods += list(pairwise(at))
    rods += [(np.array([0, 0, p[2]]), p) for p in (at[0], at[-1])]

    def rod(ends: tuple[FloatArray, FloatArray], p: FloatArray) -> FloatArray:
        return capsule_distance(p, *ends, thick, thick)

    def field(p: FloatArray) -> FloatArray:
        out = np.full(len(p), 1.0)
        for ends in rods:
            half = 0.5 * float(np.linalg.norm(ends[1] - ends[0]))
            _unite(out, p, 0.5 * (ends[0] + ends[1]), half + thick, partial(rod, ends))
        return out

    side = spread + thick
    return field, (np.array([-side, -side, 0]), np.array([side, side, height + thick])), 168


_MAKERS: dict[str, Callable[[np.random.Generator], tuple[Field, Bounds, int]]] = {
    "vase": _vase,
    "blob": _blob,
    "mug": _mug,
    "figurine": _figurine,
    "plant": _plant,
    "wire": _wire,
}
