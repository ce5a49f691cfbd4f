"""The surface that the object stands on, from the sparse points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.types import FloatArray, SparseModel

TRIALS = 2000
MAX_TILT_DEG = 45.0
MIN_SHARE = 0.12
"""Of the points around the object that must lie on the plane."""


@dataclass(frozen=True, kw_only=True)
class SupportPlane:
    """A plane through ``point`` with the unit ``normal`` that points to the cameras."""

    point: FloatArray  # (3,)
    normal: FloatArray  # (3,)
    share: float


def find_support_plane(
    model: SparseModel, *, target: FloatArray, distance: float, camera_up: FloatArray, seed: int = 0
) -> SupportPlane | None:
    """Find the dominant plane near or below the object, or None.

    RANSAC over the points within 1.5 camera distances of the object. The plane must have the cameras above
    it, little below it, a normal within 45 degrees of the cameras' up, and must pass near or under the
    object.
    """
    points = model.points_in_world
    points = points[np.linalg.norm(points - target, axis=1) < 1.5 * distance]
    if len(points) < 50:
        return None
    centres = np.array([view.centre for view in model.views])
    tolerance = 0.012 * distance
    rng = np.random.default_rng(seed)
    best_score, best = 0.0, None
    triples = points[rng.integers(0, len(points), (TRIALS, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    length = np.linalg.norm(normals, axis=1)
    for normal, size, origin in zip(normals, length, triples[:, 0], strict=True):
        if size < 1e-9 * distance**2:
            continue
        unit = normal / size
        unit = unit if unit @ camera_up > 0 else -unit
        if unit @ camera_up < np.cos(np.radians(MAX_TILT_DEG)) or not _sits_below(
            unit, origin, target, distance
        ):
            continue
        height = (points - origin) @ unit
        score = float((np.abs(height) < tolerance).sum() - 2.0 * (height < -3 * tolerance).sum())
        if score > best_score:
            best_score, best = score, (unit, origin)
    if best is None:
        return None
    return _refit(points, best[0], best[1], tolerance, centres, target, distance)


def _sits_below(normal: FloatArray, origin: FloatArray, target: FloatArray, distance: float) -> bool:
    height = float((target - origin) @ normal)
    return -0.15 * distance < height < 0.6 * distance


def _refit(
    points: FloatArray,
    normal: FloatArray,
    origin: FloatArray,
    tolerance: float,
    centres: FloatArray,
    target: FloatArray,
    distance: float,
) -> SupportPlane | None:
    for _ in range(5):
        on = points[np.abs((points - origin) @ normal) < tolerance]
        if len(on) < 30:
            return None
        origin = on.mean(axis=0)
        _, s, vt = np.linalg.svd(on - origin, full_matrices=False)
        if s[1] < 0.15 * s[0]:  # a line of points is no plane
            return None
        normal = vt[2] * np.sign(vt[2] @ normal)
    share = len(on) / len(points)
    above = ((centres - origin) @ normal > 0).mean()
    if share < MIN_SHARE or above < 0.95 or not _sits_below(normal, origin, target, distance):
        return None
    return SupportPlane(point=target - ((target - origin) @ normal) * normal, normal=normal, share=share)
