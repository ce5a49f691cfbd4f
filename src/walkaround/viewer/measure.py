"""From a click to a point, and from two points to a length."""

from __future__ import annotations

import numpy as np

from walkaround.types import Float32Array, FloatArray

_CONE_DEG = 1.5
"""A click means points this near to its ray."""


def point_at_ray(points: Float32Array, origin: FloatArray, direction: FloatArray) -> FloatArray | None:
    """Return the point of a cloud (N, 3) that a click means; None when none is near its ray.

    Of the points within a narrow cone around the ray, those of the nearest surface count (within a fiftieth
    of its distance); of them, the one nearest to the ray.
    """
    offsets = np.asarray(points, dtype=np.float64) - origin
    direction = direction / np.linalg.norm(direction)
    along = offsets @ direction
    across = np.linalg.norm(offsets - along[:, None] * direction, axis=1)
    near = (along > 0) & (across < along * np.tan(np.radians(_CONE_DEG)))
    if not near.any():
        return None
    tight = near & (across < along * np.tan(np.radians(_CONE_DEG / 4)))
    front = float(along[tight if tight.any() else near].min())
    surface = near & (along < front * 1.02)
    best = np.flatnonzero(surface)[np.argmin(across[surface] / along[surface])]
    return np.asarray(points[best], dtype=np.float64)


def length_text(first: FloatArray, second: FloatArray, *, metric: bool) -> str:
    """Say how far two points are apart: metric, or in units of the world (cameras stand at distance 1)."""
    length = float(np.linalg.norm(second - first))
    if not metric:
        return f"{length:.4f} units"
    return f"{length * 1000:.1f} mm" if length < 1 else f"{length:.3f} m"
