"""Dominant planes in point sets."""

from __future__ import annotations

import numpy as np

from walkaround.types import FloatArray


def fit_plane(
    points: FloatArray, *, tolerance: float, min_upright: float = 0.7, iterations: int = 400, seed: int = 0
) -> tuple[FloatArray, float] | None:
    """Return the plane (a, b, c, d) with the most inliers, its normal up, and their share; None if none.

    RANSAC (Fischler and Bolles 1981, 10.1145/358669.358692), then least squares on the inliers.

    Parameters
    ----------
    points
        (N, 3).
    tolerance
        Distance under which a point counts.
    min_upright
        Smallest |z| of the unit normal; 0 allows every direction.
    """
    if len(points) < 50:
        return None
    rng = np.random.default_rng(seed)
    sample = points[rng.choice(len(points), min(len(points), 4000), replace=False)]
    best, support = None, 0.0
    for _ in range(iterations):
        a, b, c = sample[rng.choice(len(sample), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < 1e-12 or abs(normal[2]) < min_upright * length:
            continue
        normal /= length
        share = float((np.abs((sample - a) @ normal) < tolerance).mean())
        if share > support:
            best, support = np.array([*normal, -normal @ a]), share
    if best is None:
        return None
    for _ in range(3):
        near = sample[np.abs(sample @ best[:3] + best[3]) < tolerance]
        centre = near.mean(axis=0)
        normal = np.linalg.svd(near - centre, full_matrices=False)[2][2]
        best = np.array([*normal, -normal @ centre])
    if best[2] < 0:
        best = -best
    return best, float((np.abs(sample @ best[:3] + best[3]) < tolerance).mean())
