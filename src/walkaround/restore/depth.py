"""Holes of a depth map, filled as the smoothest surface whose bends follow the picture's edges.

No network here: on measured surfaces second-order smoothness of inverse depth is what carries.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from walkaround.errors import UsageError
from walkaround.restore.plate import BENDS, SLOPES, differences
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """How holes of a depth map are filled."""

    edge: float = 5.0
    """How much a difference of colours (0..1) lets the surface bend: weights are exp(-edge difference)."""
    slope: float = 0.1
    """Weight of a slope against a bend: keeps what is cut off from running away."""
    rim_px: int = 4
    """Known pixels around a hole that it continues."""


def complete_depth(
    depth: Float32Array,
    depth_valid: BoolArray,
    holes: BoolArray,
    image_srgb: ByteArray,
    *,
    options: CompletionOptions | None = None,
) -> Float32Array:
    """Fill ``holes`` of a depth map, guided by the image.

    In inverse depth a plane is affine whatever the camera, so a surface without bends is a plane there.
    Minimises the squared second differences (a thin plate: Terzopoulos, 1988, doi:10.1109/34.3908), each
    weighted by how alike the colours are that it spans. Only pixels that are valid or holes are looked at:
    what lies beside the object does not pull.

    Parameters
    ----------
    depth, depth_valid
        (H, W) z in the camera, and where it was measured.
    holes
        (H, W) what to fill; a pixel that is neither valid nor a hole stays as it is.
    image_srgb
        (H, W, 3).

    Returns
    -------
    Float32Array
        (H, W) the depth with its holes filled; 0 where a hole has no measured pixel near it. What was
        filled is ``holes & (result > 0)``: mark it, it was not measured.

    Raises
    ------
    UsageError
        The sizes differ.
    """
    options = options or CompletionOptions()
    if not depth.shape == depth_valid.shape == holes.shape == image_srgb.shape[:2]:
        shapes = [array.shape for array in (depth, depth_valid, holes, image_srgb)]
        raise UsageError(f"Depth, validity, holes and image have the sizes {shapes}. Make them equal.")
    out = np.where(holes, 0, depth).astype(np.float32)
    known = depth_valid & ~holes & (depth > 0)
    near = cv2.dilate(holes.astype(np.uint8), np.ones((2 * options.rim_px + 1,) * 2, np.uint8)) > 0
    region = near & (known | holes)
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)
    anchored = region & np.isin(labels, np.unique(labels[known & region]))
    if not (anchored & holes).any():
        return out
    inverse = np.where(known, 1 / np.maximum(depth, 1e-9), 0).astype(np.float64)
    rows, columns = np.nonzero(anchored)
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    colours = image_srgb[box].astype(np.float32) / np.float32(255)
    filled = _solve(inverse[box], known[box], anchored[box], colours, options)
    bounds = _bounds(inverse[known])
    values = 1 / np.clip(filled, *bounds)
    wanted = (anchored & holes)[box]
    out[box][wanted] = values[wanted]
    return out


def _bounds(inverse: FloatArray) -> tuple[float, float]:
    """Return what an inverse depth may be: a little beyond what was measured."""
    least, most = float(inverse.min()), float(inverse.max())
    return least * 0.9, most * 1.1


def _solve(
    inverse: FloatArray,
    known: BoolArray,
    region: BoolArray,
    colours: Float32Array,
    options: CompletionOptions,
) -> FloatArray:
    """Return the inverse depth of the region, its known pixels as they are."""
    number = np.full(region.shape, -1)
    number[region] = np.arange(int(region.sum()))
    weighted = [(1.0, bend) for bend in BENDS] + [(options.slope, slope) for slope in SLOPES]
    terms = [
        differences(number, offsets, factors, weight, colours=colours, edge=options.edge)
        for weight, (offsets, factors) in weighted
    ]
    matrix = sparse.vstack(terms).tocsc()
    given = known[region]
    middle = float(inverse[known].mean())
    values = inverse[region] - middle
    free = matrix[:, ~given]
    right = -(matrix[:, given] @ values[given])
    normal = (free.T @ free + 1e-10 * sparse.eye(free.shape[1])).tocsc()
    values[~given] = spsolve(normal, free.T @ right)
    out = inverse.copy()
    out[region] = values + middle
    return out
