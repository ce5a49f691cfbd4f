"""Fill small holes of a depth map, on request, and say where: a filled pixel was not measured.

Only a hole that one smooth surface surrounds on all sides is filled, with a quadratic surface in inverse
depth fitted to its rim: planes are affine there, and gently curved bodies nearly quadratic. A depth edge at
the rim, or a neighbouring view that saw past the surface, leaves the hole as it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.depth.store import Maps
from walkaround.depth.views import StereoView
from walkaround.depth.warps import warps
from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray

_LARGEST = 0.02
"""Side of a square as large as the largest hole that is filled, as a share of the map's long side."""
_RIM_PX = 4
_MISFIT = 0.005
"""Relative difference from the fitted surface that 95 % of the rim must keep; twice that, all of it."""
_PAST = 0.02
"""A view whose depth lies relatively this much behind a filled point saw past it."""


def fill_holes(
    views: list[StereoView], maps: Maps, index: int, inverse: Float32Array, valid: BoolArray
) -> Float32Array:
    """Return the inverse depth of the filled pixels, (h, w), 0 where nothing was filled.

    Parameters
    ----------
    maps
        Inverse depth of all views, 0 = none, for the views that may have seen past a hole.
    inverse, valid
        The view's own (h, w) measured inverse depth.
    """
    height, width = valid.shape
    filled = np.zeros((height, width), np.float32)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~valid).astype(np.uint8), connectivity=8)
    for label in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[label])
        if (
            area > (_LARGEST * max(height, width)) ** 2
            or x == 0
            or y == 0
            or x + w == width
            or y + h == height
        ):
            continue
        box = (
            slice(max(0, y - _RIM_PX), min(height, y + h + _RIM_PX)),
            slice(max(0, x - _RIM_PX), min(width, x + w + _RIM_PX)),
        )
        hole = labels[box] == label
        near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * _RIM_PX + 1,) * 2, np.uint8)) > 0
        surface = fit_rim(inverse[box], near & valid[box], hole)
        if surface is not None:
            filled[box][hole] = surface
    return np.where(seen_past(views, maps, index, filled, labels), np.float32(0), filled)


def fit_rim(inverse: Float32Array, rim: BoolArray, hole: BoolArray) -> FloatArray | None:
    """Return the quadratic through the ``rim`` inside the ``hole``; None when it does not fit."""
    rows, columns = np.nonzero(rim)
    if len(rows) < 24:
        return None
    middle = np.array([rows.mean(), columns.mean()])
    size = max(float(np.ptp(rows)), float(np.ptp(columns)), 1.0)

    def terms(rows: IntArray, columns: IntArray) -> FloatArray:
        a, b = (rows - middle[0]) / size, (columns - middle[1]) / size
        return np.stack([np.ones_like(a), a, b, a * a, a * b, b * b], axis=1)

    A, target = terms(rows, columns), inverse[rows, columns].astype(np.float64)
    # sums of NumPy's own: a threaded BLAS may round otherwise from run to run
    normal = np.einsum("ni,nj->ij", A, A) + 1e-6 * len(rows) * np.eye(6)
    coefficients = np.linalg.solve(normal, np.einsum("ni,n->i", A, target))
    misfit = np.abs(np.einsum("ni,i->n", A, coefficients) / target - 1)
    if np.percentile(misfit, 95) > _MISFIT or misfit.max() > 2 * _MISFIT:
        return None
    inner_rows, inner_columns = np.nonzero(hole)
    inside = np.asarray(np.einsum("ni,i->n", terms(inner_rows, inner_columns), coefficients))
    if inside.min() < 0.99 * target.min() or inside.max() > 1.01 * target.max():
        return None  # the rim does not hold it
    return inside


def seen_past(
    views: list[StereoView], maps: Maps, index: int, filled: Float32Array, labels: np.ndarray
) -> BoolArray:
    """Return the pixels of the holes of which a tenth or more lies before what some neighbour measured."""
    past = np.zeros(filled.shape, np.bool_)
    rows, columns = np.nonzero(filled)
    if not len(rows):
        return past
    w = filled[rows, columns].astype(np.float64)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    view = views[index]
    warp = warps(views, index, 0, view.neighbours)
    hit = np.zeros(len(rows), np.bool_)
    for k, s in enumerate(view.neighbours):
        there = np.einsum("ni,ji->nj", pixels, warp.A[k].astype(np.float64)) + w[:, None] * warp.b[k]
        other = maps[int(s)]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.floor(there[:, :2] / there[:, 2:])
        inside = (there[:, 2] > 0) & (xy >= 0).all(axis=1) & (xy < other.shape[::-1]).all(axis=1)
        x, y = xy[inside].astype(int).T
        measured = other[y, x]
        # the point's inverse depth in that view
        expected = w[inside] / there[inside, 2]
        hit[inside] |= (measured > 0) & (measured < (1 - _PAST) * expected)
    holes = labels[rows, columns]
    share = np.bincount(holes, hit) / np.maximum(np.bincount(holes), 1)
    past[rows, columns] = share[holes] >= 0.1
    return past
