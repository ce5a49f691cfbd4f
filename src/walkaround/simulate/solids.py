"""Solids as distance fields: negative inside, slope about 1 near the surface. Any unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from walkaround.simulate.surface import Field
from walkaround.types import FloatArray

Point = tuple[float, float, float]


def smooth_min(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """Return the union of two distances, rounded over about ``k`` where they meet."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.minimum(a, b) - h * h * k * 0.25


def ellipsoid_distance(p: FloatArray, centre: FloatArray, radii: FloatArray) -> FloatArray:
    """(N,) about the distance of points (N, 3) to an ellipsoid along the axes."""
    q = (p - centre) / radii
    k0 = np.sqrt((q**2).sum(axis=1))
    k1 = np.sqrt(((q / radii) ** 2).sum(axis=1))
    return np.where(k1 > 1e-9, k0 * (k0 - 1.0) / np.maximum(k1, 1e-9), -radii.min())


def capsule_distance(p: FloatArray, a: FloatArray, b: FloatArray, ra: float, rb: float) -> FloatArray:
    """(N,) distance of points (N, 3) to a rod with round ends of two radii."""
    ab = b - a
    share = np.clip((p - a) @ ab / (ab @ ab), 0.0, 1.0)
    return np.linalg.norm(p - a - share[:, None] * ab, axis=1) - (ra + (rb - ra) * share)


def rotation(axis: FloatArray, angle: float) -> FloatArray:
    """3x3 rotation by ``angle`` radians about ``axis``."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def ellipsoid(centre: Point, radii: Point) -> Field:
    """Ellipsoid along the axes."""
    c, r = np.array(centre), np.array(radii)
    return lambda p: ellipsoid_distance(p, c, r)


def rod(start: Point, end: Point, radius: float, end_radius: float | None = None) -> Field:
    """Rod with round ends."""
    a, b = np.array(start), np.array(end)
    return lambda p: capsule_distance(p, a, b, radius, radius if end_radius is None else end_radius)


def tube(points: Sequence[Point], radius: float, end_radius: float | None = None) -> Field:
    """Rods along a line of points, from one radius to another."""
    last = radius if end_radius is None else end_radius
    radii = np.linspace(radius, last, len(points))
    pairs = zip(points, points[1:], radii, radii[1:], strict=False)
    return union(*(rod(a, b, float(ra), float(rb)) for a, b, ra, rb in pairs))


def box(centre: Point, half: Point, edge: float = 0.02) -> Field:
    """Box along the axes, its edges rounded by ``edge``."""
    c, h = np.array(centre), np.array(half) - edge

    def field(p: FloatArray) -> FloatArray:
        q = np.abs(p - c) - h
        outside = np.linalg.norm(np.maximum(q, 0), axis=1)
        return np.asarray(outside + np.minimum(q.max(axis=1), 0) - edge)

    return field


def disc(centre: Point, axis: int, radius: float, half: float) -> Field:
    """Flat cylinder about one of the axes (0, 1, 2), ``half`` its half height."""
    c = np.array(centre)
    others = [n for n in range(3) if n != axis]

    def field(p: FloatArray) -> FloatArray:
        q = p - c
        away = np.hypot(q[:, others[0]], q[:, others[1]]) - radius
        along = np.abs(q[:, axis]) - half
        outside = np.hypot(np.maximum(away, 0), np.maximum(along, 0))
        return np.asarray(outside + np.minimum(np.maximum(away, along), 0))

    return field


def ring(centre: Point, axis: int, radius: float, thick: float) -> Field:
    """Torus about one of the axes."""
    c = np.array(centre)
    others = [n for n in range(3) if n != axis]

    def field(p: FloatArray) -> FloatArray:
        q = p - c
        return np.asarray(np.hypot(np.hypot(q[:, others[0]], q[:, others[1]]) - radius, q[:, axis]) - thick)

    return field


def lathe(profile: Sequence[tuple[float, float]]) -> Field:
    """Solid of revolution about z through (height, radius) points, smooth between them."""
    heights, radii = np.array(profile).T
    curve = PchipInterpolator(heights, radii)
    low, high = heights[0], heights[-1]

    def field(p: FloatArray) -> FloatArray:
        r = curve(np.clip(p[:, 2], low, high))
        side = 0.7 * (np.hypot(p[:, 0], p[:, 1]) - r)
        return np.asarray(np.maximum(side, np.maximum(low - p[:, 2], p[:, 2] - high)))

    return field


def union(*fields: Field) -> Field:
    """Everything in any of the solids."""
    return lambda p: np.minimum.reduce([field(p) for field in fields])


def melt(k: float, *fields: Field) -> Field:
    """Union with joints rounded over about ``k``."""

    def field(p: FloatArray) -> FloatArray:
        out = fields[0](p)
        for other in fields[1:]:
            out = smooth_min(out, other(p), k)
        return out

    return field


def minus(field: Field, *cuts: Field) -> Field:
    """Return a solid without what lies in others."""
    return lambda p: np.maximum(field(p), -union(*cuts)(p))


def above(field: Field, height: float) -> Field:
    """Return what of a solid lies above a height."""
    return lambda p: np.maximum(field(p), height - p[:, 2])
