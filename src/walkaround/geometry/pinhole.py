"""Projection of single points inside compiled loops: the one leaf under the kernels of masks and cloud.

Numba's cache of a caller does not see changes in this file: after one, remove ``__pycache__`` of the callers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from walkaround.types import FloatArray

MIN_DEPTH = 1e-6
"""Points nearer than this, or behind the camera, have no projection."""


def pack_intrinsics(K: FloatArray, distortion: FloatArray) -> FloatArray:
    """Return (fx, fy, cx, cy, k1, k2) of a camera for :func:`project_point`.

    Parameters
    ----------
    K
        (3, 3).
    distortion
        (4,): k1, k2, p1, p2; the tangential part is left out, as the kernels look for whole pixels.
    """
    return np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], distortion[0], distortion[1]])


@njit  # type: ignore[untyped-decorator, unused-ignore]
def project_point(px, py, pz, rotation, translation, intrinsics):  # type: ignore[no-untyped-def]
    """Project one world point: pixel u, v (the centre of the first pixel is 0.5) and depth z.

    u and v are 0 where z is :data:`MIN_DEPTH` or less. The slow twin over arrays is
    :func:`walkaround.geometry.project`.
    """
    R, t, c = rotation, translation, intrinsics
    z = R[2, 0] * px + R[2, 1] * py + R[2, 2] * pz + t[2]
    if z <= MIN_DEPTH:
        return 0.0, 0.0, z
    x = (R[0, 0] * px + R[0, 1] * py + R[0, 2] * pz + t[0]) / z
    y = (R[1, 0] * px + R[1, 1] * py + R[1, 2] * pz + t[1]) / z
    r2 = x * x + y * y
    radial = 1.0 + r2 * (c[4] + r2 * c[5])
    return c[0] * x * radial + c[2], c[1] * y * radial + c[3], z
