"""Differences of neighbouring pixels as rows of a sparse matrix: what smooth surfaces make small."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from walkaround.types import IntArray

BENDS = (
    (((0, -1), (0, 0), (0, 1)), (1.0, -2.0, 1.0)),
    (((-1, 0), (0, 0), (1, 0)), (1.0, -2.0, 1.0)),
    (((0, 0), (0, 1), (1, 0), (1, 1)), (2**0.5, -(2**0.5), -(2**0.5), 2**0.5)),
)
"""Second differences, (row, column) offsets and factors; their squares add up to a thin plate's energy
(Terzopoulos, 1988, doi:10.1109/34.3908)."""
SLOPES = ((((0, 0), (0, 1)), (1.0, -1.0)), (((0, 0), (1, 0)), (1.0, -1.0)))
"""First differences."""


def differences(
    number: IntArray,
    offsets: tuple[tuple[int, int], ...],
    factors: tuple[float, ...],
    weight: float,
    *,
    surface: IntArray | None = None,
) -> sparse.csr_matrix:
    """Return one weighted difference a row, wherever all its pixels have a number.

    Parameters
    ----------
    number
        (H, W) the column of each pixel; -1 for none.
    offsets, factors
        Of the difference: (row, column) from its pixel.
    surface
        (H, W) the number of the surface of each pixel, -1 for none: only differences within one surface.
    """
    height, width = number.shape
    top, left = (-min(0, *(offset[axis] for offset in offsets)) for axis in (0, 1))
    bottom, right = (max(0, *(offset[axis] for offset in offsets)) for axis in (0, 1))
    windows = [(slice(top + r, height - bottom + r), slice(left + c, width - right + c)) for r, c in offsets]
    used = np.all([number[window] >= 0 for window in windows], axis=0)
    if surface is not None:
        here = surface[windows[0]]
        used &= np.all([surface[window] == here for window in windows], axis=0) & (here >= 0)
    count = int(used.sum())
    return sparse.csr_matrix(
        (
            np.concatenate([np.full(count, factor * weight) for factor in factors]),
            (
                np.tile(np.arange(count), len(windows)),
                np.concatenate([number[window][used] for window in windows]),
            ),
        ),
        shape=(count, int(number.max()) + 1),
    )
