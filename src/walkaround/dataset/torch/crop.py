"""The square of an image that becomes a view, and what it does to the camera.

Pixel positions are COLMAP's, the centre of the first pixel at 0.5, so cutting off ``left`` pixels and scaling
by ``s`` takes ``u`` to ``(u - left) * s``: no half-pixel shift.

A JPEG may be decoded at a half, a quarter or an eighth of its size, which saves most of the time. libjpeg
then computes each pixel from the same block of coefficients: pixel ``i`` is what the pixels from ``d * i`` to
``d * (i + 1)`` show, so positions are divided by ``d`` exactly, also when the width is no multiple of ``d``
(the last pixel then reaches beyond the image). Squares are put on this grid; it is chosen such that no more
than one pixel of the result is moved, and that the decoded square has at least as many pixels as the result.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.dataset.shards.layout import BoxXywh
from walkaround.dataset.torch.options import ViewOptions
from walkaround.geometry import normalised_rays
from walkaround.types import Camera, FloatArray

REDUCTIONS = (8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square in pixels of the image (of the undistorted one, if lenses are undone). It may reach beyond."""

    left: int
    top: int
    side: int
    reduction: int
    """1, 2, 4 or 8: the image is decoded at this part of its size. Divides the other three."""
    size_px: int
    """Side of the result."""

    @property
    def scale(self) -> float:
        """Pixels of the result a pixel of the image."""
        return self.size_px / self.side

    def intrinsics(self, K: FloatArray) -> FloatArray:  # (3, 3)
        """Return the intrinsics of the result."""
        out = K * self.scale
        out[0, 2] -= self.left * self.scale
        out[1, 2] -= self.top * self.scale
        out[2, 2] = 1.0
        return out


def place_crop(
    size_wh: tuple[int, int],
    box_xywh: tuple[float, float, float, float] | None,
    options: ViewOptions,
    rng: np.random.Generator,
    *,
    can_reduce: bool,
) -> Crop:
    """Return the square of an image that is wanted.

    Parameters
    ----------
    size_wh
        Of the image.
    box_xywh
        Of the mask; only for ``crop="object"``.
    can_reduce
        The image is a JPEG.
    """
    width, height = size_wh
    centre = np.array([width / 2, height / 2])
    side = float(max(width, height) if options.crop == "whole" else min(width, height))
    if box_xywh is not None:
        centre = np.array([box_xywh[0] + box_xywh[2] / 2, box_xywh[1] + box_xywh[3] / 2])
        side = max(box_xywh[2], box_xywh[3]) * (1 + 2 * options.margin)
    if options.jitter:
        side *= 1 + options.jitter * rng.uniform(-1, 1)
        centre = centre + side * options.jitter / 2 * rng.uniform(-1, 1, 2)
    step = next(r for r in REDUCTIONS if r == 1 or (can_reduce and side >= r * options.size_px))
    side_px = step * max(1, int(np.ceil(side / step)))
    left, top = (step * int(np.round((middle - side_px / 2) / step)) for middle in centre)
    return Crop(left=left, top=top, side=side_px, reduction=step, size_px=options.size_px)


def undistorted_box(camera: Camera, box: BoxXywh) -> tuple[float, float, float, float]:
    """Return the box around a box once the lens is undone (its corners and the middles of its sides)."""
    x, y, width, height = box
    steps = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    points = np.array([[x + width * i / 2, y + height * j / 2] for i, j in steps])
    K = camera.K
    moved = normalised_rays(camera, points) * K[[0, 1], [0, 1]] + K[[0, 1], [2, 2]]
    low, high = moved.min(axis=0), moved.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def cut(pixels: NDArray[Any], crop: Crop, reduction: int) -> NDArray[Any]:
    """Return the square of (H, W) or (H, W, C) pixels, averaged down or interpolated up; black beyond.

    Parameters
    ----------
    reduction
        That the pixels were decoded with; divides the crop's.
    """
    left, top, side = (value // reduction for value in (crop.left, crop.top, crop.side))
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((crop.size_px, crop.size_px, *pixels.shape[2:]), pixels.dtype)
    inside = pixels[y0:y1, x0:x1]
    if inside.shape[:2] != (side, side):
        inside = cv2.copyMakeBorder(
            inside, y0 - top, top + side - y1, x0 - left, left + side - x1, cv2.BORDER_CONSTANT, value=0
        )
    return _resize(inside, crop.size_px)


def cut_nearest(values: NDArray[np.uint16], crop: Crop) -> NDArray[np.uint16]:
    """Return the square of (H, W) values: those whose pixels hold the centres of the result's; 0 beyond."""
    steps = (np.arange(crop.size_px) + 0.5) * crop.side / crop.size_px
    columns, rows = np.floor(crop.left + steps).astype(int), np.floor(crop.top + steps).astype(int)
    height, width = values.shape
    out = values[np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
    out[(rows < 0) | (rows >= height)] = 0
    out[:, (columns < 0) | (columns >= width)] = 0
    return out


def cut_undistorted(
    pixels: NDArray[Any], camera: Camera, crop: Crop, reduction: int, *, nearest: bool = False
) -> NDArray[Any]:
    """Return the square of what a pinhole camera with the same K would have seen.

    Sampled finely enough that no pixel is passed over, then averaged.
    """
    map_x, map_y, finer = _maps(camera, crop, reduction, nearest)
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    out = cv2.remap(pixels, map_x, map_y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return out if finer == 1 else _resize(out, crop.size_px)


def reduced(pixels: NDArray[Any], reduction: int) -> NDArray[Any]:
    """Return (H, W) pixels as a JPEG decoder reduces them: each the mean of a square."""
    if reduction == 1:
        return pixels
    height, width = pixels.shape
    below, right = -height % reduction, -width % reduction
    if below or right:
        pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size_wh = (pixels.shape[1] // reduction, pixels.shape[0] // reduction)
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA))


@functools.lru_cache(maxsize=2)
def _maps(camera: Camera, crop: Crop, reduction: int, nearest: bool) -> tuple[Any, Any, int]:
    """Return where the pixels of the square lie in the stored image, and how much finer the square is made.

    Image and mask of a view share them.
    """
    ratio = crop.side / reduction / crop.size_px
    finer = 1 if nearest else max(1, int(np.ceil(ratio - 0.25)))
    size = crop.size_px * finer
    wanted = np.diag([finer, finer, 1.0]) @ crop.intrinsics(camera.K)
    stored = np.diag([1 / reduction, 1 / reduction, 1.0]) @ camera.K
    for K in (wanted, stored):
        K[:2, 2] -= 0.5  # OpenCV puts the first pixel's centre at 0
    kind = cv2.CV_32FC1 if nearest else cv2.CV_16SC2  # the latter is faster, and cannot round to the nearest
    map_x, map_y = cv2.initUndistortRectifyMap(stored, camera.distortion, None, wanted, (size, size), kind)
    return map_x, map_y, finer


def _resize(pixels: NDArray[Any], size_px: int) -> NDArray[Any]:
    if pixels.shape[0] == size_px:
        return pixels
    interpolation = cv2.INTER_AREA if pixels.shape[0] > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size_px, size_px), interpolation=interpolation))
