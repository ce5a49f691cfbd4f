"""Project points into cameras with COLMAP's models, and rays back out of pixels."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from walkaround.types import Camera, FloatArray


def transform_points(a_from_b: FloatArray, points_in_b: FloatArray) -> FloatArray:
    """Apply a 4x4 transform to (..., 3) points."""
    return points_in_b @ a_from_b[:3, :3].T + a_from_b[:3, 3]


def project(camera: Camera, points_in_cam: FloatArray) -> FloatArray:
    """Project (..., 3) camera-frame points to (..., 2) pixels, lens distortion included.

    Points with z <= 0 give NaN. The centre of the top-left pixel is (0.5, 0.5).
    """
    z = points_in_cam[..., 2]
    safe = np.where(z > 0, z, np.nan)
    x, y = points_in_cam[..., 0] / safe, points_in_cam[..., 1] / safe
    k1, k2, p1, p2 = camera.distortion
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * k2)
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    K = camera.K
    return np.stack([K[0, 0] * xd + K[0, 2], K[1, 1] * yd + K[1, 2]], axis=-1)


def normalised_rays(camera: Camera, pixels: FloatArray | None = None) -> FloatArray:
    """Return (x/z, y/z) of the rays through pixels.

    Parameters
    ----------
    pixels
        (..., 2) pixel positions; the centres of all pixels, (H, W, 2), when None.
    """
    if pixels is None:
        return _all_rays(camera)
    K = camera.K
    if not pixels.size or not np.any(camera.distortion):  # OpenCV cannot take an empty array
        return (pixels - K[[0, 1], [2, 2]]) / K[[0, 1], [0, 1]]
    flat = np.ascontiguousarray(pixels.reshape(-1, 1, 2), dtype=np.float64)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-10)
    out = cv2.undistortPoints(flat, K, camera.distortion, criteria=criteria)
    return np.asarray(out, dtype=np.float64).reshape(pixels.shape)


@functools.lru_cache(maxsize=4)
def _all_rays(camera: Camera) -> FloatArray:
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = normalised_rays(camera, np.stack([u, v], axis=-1))
    rays.flags.writeable = False
    return rays
