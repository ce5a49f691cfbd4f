"""Thin plates: surfaces through known values that bend as little as they can.

Source: Terzopoulos, 1988, doi:10.1109/34.3908.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from walkaround.restore.classical import push_pull
from walkaround.restore.tiles import tiles
from walkaround.types import BoolArray, Float32Array, IntArray

BENDS = (
    (((0, -1), (0, 0), (0, 1)), (1.0, -2.0, 1.0)),
    (((-1, 0), (0, 0), (1, 0)), (1.0, -2.0, 1.0)),
    (((0, 0), (0, 1), (1, 0), (1, 1)), (2**0.5, -(2**0.5), -(2**0.5), 2**0.5)),
)
SLOPES = ((((0, 0), (0, 1)), (1.0, -1.0)), (((0, 0), (1, 0)), (1.0, -1.0)))
_LEAST_WEIGHT = 0.02
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


def differences(
    number: IntArray,
    offsets: tuple[tuple[int, int], ...],
    factors: tuple[float, ...],
    weight: float,
    *,
    colours: Float32Array | None = None,
    edge: float = 0.0,
) -> sparse.csr_matrix:
    """Return one weighted difference a row, wherever all its pixels have a number.

    Parameters
    ----------
    number
        (H, W) the column of each pixel; -1 for none.
    offsets, factors
        Of the difference: (row, column) from its pixel.
    colours
        (H, W, C) 0..1: differences across a contrast weigh exp(-edge contrast).
    """
    height, width = number.shape
    top, left = (-min(0, *(offset[axis] for offset in offsets)) for axis in (0, 1))
    bottom, right = (max(0, *(offset[axis] for offset in offsets)) for axis in (0, 1))
    windows = [(slice(top + r, height - bottom + r), slice(left + c, width - right + c)) for r, c in offsets]
    used = np.all([number[window] >= 0 for window in windows], axis=0)
    count = int(used.sum())
    weights = np.full(count, weight)
    if colours is not None and edge > 0:
        seen = [colours[window][used] for window in windows]
        contrast = np.max([np.abs(a - b).max(1) for a, b in pairwise(seen)], axis=0)
        weights *= np.exp(-edge * contrast) + _LEAST_WEIGHT
    return sparse.csr_matrix(
        (
            np.concatenate([factor * weights for factor in factors]),
            (
                np.tile(np.arange(count), len(windows)),
                np.concatenate([number[window][used] for window in windows]),
            ),
        ),
        shape=(count, int(number.max()) + 1),
    )
