"""Rays through keypoints, lens distortion undone."""

from __future__ import annotations

import numpy as np

from walkaround.types import Camera, FloatArray


def keypoint_rays(camera: Camera, pixels: FloatArray) -> FloatArray:
    """Return (x/z, y/z) of the rays through (N, 2) pixels, by fixed-point iteration on the distortion."""
    K = camera.K
    distorted = (pixels - K[[0, 1], [2, 2]]) / K[[0, 1], [0, 1]]
    k1, k2, p1, p2 = camera.distortion
    if not np.any(camera.distortion):
        return np.asarray(distorted)
    rays = distorted.copy()
    for _ in range(20):
        x, y = rays[:, 0], rays[:, 1]
        r2 = np.minimum(x * x + y * y, 4.0)
        radial = np.maximum(1.0 + r2 * (k1 + r2 * k2), 0.2)
        shift = np.stack(
            [2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], axis=1
        )
        rays = (distorted - shift) / radial[:, None]
    return np.asarray(rays)
