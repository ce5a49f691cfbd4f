"""What was drawn in a hole joined to what is around it: its differences are kept, its values give way."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from walkaround.geometry.plates import SLOPES, differences
from walkaround.types import BoolArray, Float32Array

_PULL = 0.02
"""Weight of a drawn value against a drawn difference: a disagreement fades over 1 / PULL pixels."""
_ITERATIONS = 1000


def join(part: Float32Array, drawn: Float32Array, visible: BoolArray) -> Float32Array:
    """Return ``part`` where ``visible``, elsewhere what has the differences of ``drawn``; no step at the rim.

    A screened Poisson equation. Source: Perez, Gangnet, Blake, "Poisson image editing", 2003,
    doi:10.1145/882262.882269; Bhat et al., 2008, doi:10.1007/978-3-540-88688-4_9, for the screen.

    Parameters
    ----------
    part, drawn
        (H, W, C). What is drawn beside the hole decides the differences across the rim.
    visible
        (H, W)
    """
    region = cv2.dilate((~visible).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    missing = ~visible[region]
    if not missing.any():
        return part
    number = np.full(region.shape, -1)
    number[region] = np.arange(len(missing))
    terms = [differences(number, offsets, factors, 1.0) for offsets, factors in SLOPES]
    matrix = sparse.vstack(terms).tocsc()
    free = matrix[:, missing]
    normal = (free.T @ free + _PULL**2 * sparse.eye(free.shape[1])).tocsr()
    rest = (part - drawn)[region].astype(np.float64)
    rest[missing] = 0
    scale, right = sparse.diags(1 / normal.diagonal()), -(free.T @ (matrix @ rest))
    lift = [cg(normal, column, rtol=1e-4, maxiter=_ITERATIONS, M=scale)[0] for column in right.T]
    out = part.copy()
    out[~visible] = drawn[~visible] + np.stack(lift, -1)
    return out
