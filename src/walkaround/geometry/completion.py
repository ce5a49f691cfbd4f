"""Holes of a depth map, filled by the surfaces around them as they bend least.

Where surfaces overlap, the border between them follows the image. No network here: on measured surfaces
second-order smoothness of inverse depth is what carries.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from walkaround.errors import UsageError
from walkaround.geometry.plates import BENDS, SLOPES, differences
from walkaround.geometry.surfaces import surfaces_of
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray, IntArray

_BLUR_PX = 0.7
_SEEN_PX = 6
"""Known pixels around a hole that tell its surfaces."""
_BEYOND = 0.3
"""A filled pixel may lie beyond the known range of its surface by this share of the range."""


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """How holes of a depth map are filled."""

    colour: float = 2.0
    """How strictly a border between two surfaces follows contrasts of the image; 0 looks at no colours."""
    slope: float = 0.001
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
    Each pixel of a hole is given to one of the surfaces around it (``geometry/surfaces.py``);
    within a surface the squared second differences are made least (a thin plate: Terzopoulos, 1988,
    doi:10.1109/34.3908). Only pixels that are valid or holes are looked at: what lies beside the object does
    not pull.

    Parameters
    ----------
    depth, depth_valid
        (H, W) z in the camera, and where it was measured.
    holes
        (H, W) what to fill; a pixel that is neither valid nor a hole stays as it is.
    image_srgb
        (H, W, 3), or grey (H, W, 1).

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
    region = _grown(holes, max(options.rim_px, _SEEN_PX)) & (known | holes)
    if not (region & known).any():
        return out
    inverse = np.where(known, 1 / np.maximum(depth, 1e-9), 0).astype(np.float64)
    blurred = cv2.GaussianBlur(image_srgb, (0, 0), _BLUR_PX).reshape(image_srgb.shape)
    colours = blurred.astype(np.float32) / np.float32(255)
    surface = surfaces_of(inverse, known, region, colours, power=options.colour)
    rows, columns = np.nonzero(region)
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    used = (region & _grown(holes, options.rim_px) & (surface >= 0))[box]
    filled = _solve(inverse[box], known[box], used, surface[box], options.slope)
    wanted = used & holes[box]
    least, most = _ranges(inverse[box], known[box] & used, surface[box])
    near = surface[box][wanted]
    measured = most[near] > 0  # a surface whose known pixels are all further than the rim is left
    values = 1 / np.clip(filled[wanted][measured], least[near][measured], most[near][measured])
    wanted[wanted] = measured
    out[box][wanted] = values
    return out


def _grown(where: BoolArray, pixels: int) -> BoolArray:
    return cv2.dilate(where.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def _ranges(inverse: FloatArray, known: BoolArray, surface: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return what inverse depth each surface may have: a little beyond what was measured of it."""
    count = int(surface.max()) + 1
    least, most = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(least, surface[known], inverse[known])
    np.maximum.at(most, surface[known], inverse[known])
    beyond = np.where(np.isfinite(least), _BEYOND * (most - least), 0)
    return np.maximum(least - beyond, 0.1 * least), most + beyond


def _solve(
    inverse: FloatArray, known: BoolArray, region: BoolArray, surface: IntArray, slope: float
) -> FloatArray:
    """Return the inverse depth of the region, its known pixels as they are."""
    out = inverse.copy()
    number = np.full(region.shape, -1)
    number[region] = np.arange(int(region.sum()))
    given = known[region]
    if given.all() or not given.any():
        return out
    weighted = [(1.0, bend) for bend in BENDS] + [(slope, change) for change in SLOPES]
    terms = [
        differences(number, offsets, factors, weight, surface=surface)
        for weight, (offsets, factors) in weighted
    ]
    matrix = sparse.vstack(terms).tocsc()
    middle = float(inverse[known].mean())
    values = inverse[region] - middle
    free = matrix[:, ~given]
    right = -(matrix[:, given] @ values[given])
    normal = (free.T @ free + 1e-10 * sparse.eye(free.shape[1])).tocsc()
    values[~given] = spsolve(normal, free.T @ right)
    out[region] = values + middle
    return out
