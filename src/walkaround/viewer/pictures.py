"""Images with what the dataset says about them: thumbnails, mask and depth laid over."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError
from walkaround.io.image import decode_stored
from walkaround.types import BoolArray, ByteArray, Float32Array

THUMBNAIL_PX = 160
SHOWN_PX = 960
MASK_COLOUR = (255, 60, 160)
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One frame at the size it is shown at, with what can be laid over it."""

    image_srgb: ByteArray  # (h, w, 3)
    fg_probability: Float32Array | None  # (h, w) 0..1
    depth_srgb: ByteArray | None  # (h, w, 3)
    depth_valid: BoolArray | None  # (h, w)


def thumbnail(scene: Scene, image: str, long_side_px: int = THUMBNAIL_PX) -> ByteArray:
    """Return an image, small, as (h, w, 3) sRGB; decoded at a fraction of its size where that is enough.

    Raises
    ------
    FormatError
        It is missing or cannot be decoded.
    """
    data = scene.image_bytes(image)
    width, height = scene.image_size_wh(image)
    fraction = max((n for n in _REDUCED if max(width, height) >= n * long_side_px), default=1)
    flags = _REDUCED.get(fraction, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = decode_stored(data, flags)
    if pixels is None:
        raise FormatError(f"{scene.files.where(f'images/{image}')} is not a readable image.")
    return np.ascontiguousarray(_fitted(pixels, long_side_px)[..., ::-1], dtype=np.uint8)


def read_picture(scene: Scene, image: str, long_side_px: int = SHOWN_PX) -> Picture:
    """Read a frame, its mask and its depth, all at the size they are shown at.

    Raises
    ------
    FormatError
        One of them is broken.
    """
    shown = _fitted(scene.read_image(image), long_side_px)
    size_wh = (shown.shape[1], shown.shape[0])
    probability = scene.read_fg_probability(image)
    if probability is not None:
        probability = np.asarray(cv2.resize(probability, size_wh, interpolation=cv2.INTER_AREA))
    measured = scene.read_depth(image)
    depth_srgb = depth_valid = None
    if measured is not None:
        depth = np.asarray(cv2.resize(measured[0], size_wh, interpolation=cv2.INTER_NEAREST))
        depth_valid = depth > 0
        depth_srgb = colour_depth(depth)
    return Picture(
        image_srgb=shown, fg_probability=probability, depth_srgb=depth_srgb, depth_valid=depth_valid
    )


def laid_over(picture: Picture, *, mask_opacity: float, depth_opacity: float) -> ByteArray:
    """Return the image with depth, then the mask's outline and tint, at opacities 0..1, as (h, w, 3) sRGB."""
    out = picture.image_srgb.astype(np.float32)
    if picture.depth_srgb is not None and picture.depth_valid is not None and depth_opacity > 0:
        weight = (picture.depth_valid * np.float32(depth_opacity))[..., None]
        out = out * (1 - weight) + picture.depth_srgb * weight
    if picture.fg_probability is not None and mask_opacity > 0:
        colour = np.array(MASK_COLOUR, dtype=np.float32)
        weight = (picture.fg_probability * np.float32(0.6 * mask_opacity))[..., None]
        out = out * (1 - weight) + colour * weight
        edge = _outline(picture.fg_probability > 0.5)
        out[edge] = out[edge] * (1 - mask_opacity) + colour * mask_opacity
    return np.rint(np.clip(out, 0, 255)).astype(np.uint8)


def colour_depth(depth: Float32Array) -> ByteArray:
    """Colour (h, w) depth by its inverse, near red and far blue; 0 is invalid and black."""
    valid = depth > 0
    if not valid.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    inverse = np.zeros_like(depth)
    inverse[valid] = 1 / depth[valid]
    far, near = np.percentile(inverse[valid], [2, 98])
    level = np.clip((inverse - far) / max(float(near - far), 1e-9), 0, 1)
    out = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    out[~valid] = 0
    return np.asarray(out, dtype=np.uint8)


def _fitted(image: ByteArray, long_side_px: int) -> ByteArray:
    height, width = image.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return image
    size_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _outline(mask: BoolArray) -> BoolArray:
    """Return the mask's inner border, two pixels wide."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    return np.asarray(mask & (inner == 0))
