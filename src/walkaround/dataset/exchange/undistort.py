"""Images, masks and depth maps of one camera as another camera without distortion would see them.

Both cameras stand at the same place and look the same way, so only the pixels move.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.geometry import normalised_rays, project
from walkaround.types import BoolArray, Camera, Float32Array

HALF_PIXEL = 0.5
"""OpenCV's remap puts the centre of the first pixel at 0, cameras here put it at 0.5."""
Fit = Literal["same", "centred", "single"]
"""What a format can say of a camera without distortion: ``same`` everything of K; ``centred`` a principal
point in the middle of the image; ``single`` that, and one focal length."""


def pinhole(camera: Camera, *, fit: Fit = "same", crop: bool = False) -> Camera:
    """Return the PINHOLE camera that a distorted image is turned into.

    Parameters
    ----------
    crop
        Make the image smaller until every pixel of it has a source. Otherwise size and focal lengths stay,
        and pixels without a source become black, outside of the mask and without depth.

    Returns
    -------
    Camera
        Itself, as PINHOLE, when nothing has to change.
    """
    K = camera.K
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if fit == "single":
        fx = fy = float(np.sqrt(fx * fy))
    if fit != "same":
        cx, cy = camera.width / 2, camera.height / 2
    target = Camera(
        model="PINHOLE",
        width=camera.width,
        height=camera.height,
        params=(float(fx), float(fy), float(cx), float(cy)),
    )
    return _cropped(camera, target, centred=fit != "same") if crop else target


def is_unchanged(camera: Camera, target: Camera) -> bool:
    """True when an image of ``camera`` is one of ``target`` without any work."""
    same_size = (camera.width, camera.height) == (target.width, target.height)
    return same_size and not np.any(camera.distortion) and bool(np.array_equal(camera.K, target.K))


def undistort_image(image: NDArray[Any], camera: Camera, target: Camera) -> NDArray[Any]:
    """Return (H, W, ...) pixels of ``target``, interpolated linearly; black where nothing was seen."""
    return _remap(image, camera, target, cv2.INTER_LINEAR)


def undistort_mask(mask: BoolArray, camera: Camera, target: Camera) -> BoolArray:
    """Return an (H, W) mask of ``target``, of the nearest pixels."""
    return _remap(mask.astype(np.uint8), camera, target, cv2.INTER_NEAREST) > 0


def undistort_depth(
    depth: Float32Array, depth_valid: BoolArray, camera: Camera, target: Camera
) -> tuple[Float32Array, BoolArray]:
    """Return (H, W) depth of ``target``, of the nearest pixels, and where it is valid."""
    values = _remap(np.where(depth_valid, depth, 0).astype(np.float32), camera, target, cv2.INTER_NEAREST)
    return values, values > 0


def _remap(values: NDArray[Any], camera: Camera, target: Camera, interpolation: int) -> NDArray[Any]:
    size = (target.width, target.height)
    if is_unchanged(camera, target):
        return values
    columns, rows = _source_pixels(camera, target)
    out = cv2.remap(values, columns, rows, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(out).reshape(size[1], size[0], *values.shape[2:])


@functools.lru_cache(maxsize=4)
def _source_pixels(camera: Camera, target: Camera) -> tuple[Float32Array, Float32Array]:
    """Return for each pixel of ``target`` column and row in the image of ``camera``, as OpenCV counts."""
    rays = normalised_rays(target)
    points = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1)
    pixels = project(camera, points) - HALF_PIXEL
    return pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32)


def _cropped(camera: Camera, target: Camera, *, centred: bool) -> Camera:
    """Return ``target`` cut to whole pixels that all have a source; never larger than it."""
    left, top, right, bottom = _seen_rectangle(camera, target)
    fx, fy, cx, cy = target.params
    if centred:  # the same on both sides of the principal point
        reach_x, reach_y = min(cx - left, right - cx), min(cy - top, bottom - cy)
        half_w, half_h = np.floor(2 * reach_x) / 2, np.floor(2 * reach_y) / 2
        width, height = int(2 * half_w), int(2 * half_h)
        params = (fx, fy, width / 2, height / 2)
    else:
        left, top, right, bottom = np.ceil(left), np.ceil(top), np.floor(right), np.floor(bottom)
        width, height = int(right - left), int(bottom - top)
        params = (fx, fy, float(cx - left), float(cy - top))
    return Camera(model="PINHOLE", width=max(width, 1), height=max(height, 1), params=params)


def _seen_rectangle(camera: Camera, target: Camera) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom in ``target`` of a rectangle inside of what ``camera`` sees.

    The outermost pixel centres of ``camera`` are carried over; each side takes the innermost of its edge.
    """
    u = np.linspace(HALF_PIXEL, camera.width - HALF_PIXEL, 101)
    v = np.linspace(HALF_PIXEL, camera.height - HALF_PIXEL, 101)

    def edge(columns: NDArray[Any] | float, rows: NDArray[Any] | float) -> NDArray[Any]:
        pixels = np.stack(np.broadcast_arrays(columns, rows), axis=-1).astype(np.float64)
        rays = normalised_rays(camera, pixels)
        return rays * np.array(target.params[:2]) + np.array(target.params[2:])

    left, right = edge(u[0], v)[:, 0].max(), edge(u[-1], v)[:, 0].min()
    top, bottom = edge(u, v[0])[:, 1].max(), edge(u, v[-1])[:, 1].min()
    # pixel centres: half a pixel on each side belongs to the outermost ones
    return (
        max(0.0, float(left) - HALF_PIXEL),
        max(0.0, float(top) - HALF_PIXEL),
        min(float(target.width), float(right) + HALF_PIXEL),
        min(float(target.height), float(bottom) + HALF_PIXEL),
    )
