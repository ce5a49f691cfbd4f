"""Thin plates: surfaces through known values that bend as little as they can.

Source: Terzopoulos, 1988, doi:10.1109/34.3908.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from walkaround.geometry.plates import BENDS, differences
from walkaround.restore.classical import push_pull
from walkaround.restore.tiles import tiles
from walkaround.types import BoolArray, Float32Array

_HALO_PX = 32
_ITERATIONS = 100


def fill_smooth(image: Float32Array, known: BoolArray) -> Float32Array:
    """Fill missing pixels of (H, W, C) by thin plates; far inside large holes by averages of what is around.

    A hundred steps of conjugate gradients from averages over growing squares: enough for pixels within some
    ten of known ones, and a wide hole stays smooth.
    """
    filled = push_pull(image, known)
    for tile in tiles((image.shape[0], image.shape[1]), halo_px=_HALO_PX, tile_px=1024):
        part = _bend_least(filled[tile.outer], known[tile.outer])[tile.inner]
        filled[tile.target] = np.where(known[tile.target][..., None], filled[tile.target], part)
    return filled


def _bend_least(start: Float32Array, known: BoolArray) -> Float32Array:
    """Return (H, W, C) with less bent surfaces at missing pixels than ``start`` has."""
    region = cv2.dilate((~known).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    missing = ~known[region]
    if not missing.any():
        return start
    number = np.full(region.shape, -1)
    number[region] = np.arange(len(missing))
    terms = [differences(number, offsets, factors, 1.0) for offsets, factors in BENDS]
    matrix = sparse.vstack(terms).tocsc()
    free, given = matrix[:, missing], matrix[:, ~missing]
    normal = (free.T @ free + 1e-8 * sparse.eye(free.shape[1])).tocsr()
    scale = sparse.diags(1 / normal.diagonal())
    out = start.copy()
    for channel in range(start.shape[2]):
        values = start[..., channel][region].astype(np.float64)
        right = -(free.T @ (given @ values[~missing]))
        values[missing], _ = cg(normal, right, x0=values[missing], rtol=1e-4, maxiter=_ITERATIONS, M=scale)
        out[..., channel][region] = values
    return out
