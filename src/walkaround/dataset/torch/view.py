"""One view: its pixels read, decoded no larger than needed, and cut, with its camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.dataset.shards.gather import box_of
from walkaround.dataset.shards.layout import BoxXywh
from walkaround.dataset.shards.read import ShardFiles
from walkaround.dataset.torch.crop import (
    Crop,
    cut,
    cut_nearest,
    cut_undistorted,
    place_crop,
    reduced,
    undistorted_box,
)
from walkaround.dataset.torch.options import ViewOptions
from walkaround.dataset.torch.source import PosedScene
from walkaround.errors import FormatError
from walkaround.io.image import decode_stored
from walkaround.io.image_size import stated_size_wh
from walkaround.io.png_grey import decode_grey_png, decode_mask
from walkaround.types import BoolArray, ByteArray, Camera, Float32Array, FloatArray

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True, kw_only=True)
class LoadedView:
    """A square image and what is known of its pixels."""

    image_bgr: ByteArray  # (S, S, 3)
    K: FloatArray  # (3, 3)
    distortion: FloatArray  # (4,) k1 k2 p1 p2; zeros when the lens is undone
    crop: Crop
    mask: ByteArray | None  # (S, S), 255 for object
    depth: Float32Array | None  # (S, S)
    depth_valid: BoolArray | None  # (S, S)


def load_view(posed: PosedScene, number: int, options: ViewOptions, rng: np.random.Generator) -> LoadedView:
    """Read one view.

    Raises
    ------
    FormatError
        A file is missing or broken, does not fit its camera, or something asked for is not there.
    """
    image = posed.images[number]
    data = posed.scene.image_bytes(image)
    size_wh = stated_size_wh(data)
    if size_wh is None:
        raise FormatError(f"images/{image} is not a readable image")
    camera = _fitted(posed.cameras[number], size_wh, image)
    bends = bool(camera.distortion.any())
    if bends and options.distortion == "refuse":
        raise FormatError(f"the lens of images/{image} is distorted ({camera.model}), and that is refused")
    undo = bends and options.distortion == "undistort"
    needs_box = options.crop == "object"
    box = _known_box(posed, number, size_wh) if needs_box else None
    mask = _read_mask(posed, number, size_wh) if options.masks or (needs_box and box is None) else None
    if needs_box and box is None:
        box = None if mask is None else box_of(mask)
        if box is None:
            raise FormatError(f"the mask of images/{image} is empty, so there is nothing to cut out")
    wanted = None if box is None else undistorted_box(camera, box) if undo else _floats(box)
    crop = place_crop(size_wh, wanted, options, rng, can_reduce=data[:2] == b"\xff\xd8")
    pixels = _decode(data, crop.reduction, image)
    depth, valid = _cut_depth(posed, image, camera, crop, undo) if options.depth else (None, None)
    return LoadedView(
        image_bgr=_cut(pixels, camera, crop, crop.reduction, undo),
        K=crop.intrinsics(camera.K),
        distortion=np.zeros(4) if undo else camera.distortion,
        crop=crop,
        mask=_cut_mask(mask, camera, crop, undo) if options.masks and mask is not None else None,
        depth=depth,
        depth_valid=valid,
    )


def _cut(pixels: Any, camera: Camera, crop: Crop, reduction: int, undo: bool) -> Any:
    return cut_undistorted(pixels, camera, crop, reduction) if undo else cut(pixels, crop, reduction)


def _cut_mask(mask: ByteArray, camera: Camera, crop: Crop, undo: bool) -> Any:
    """Cut a mask; to undo the lens, it is reduced as the image was, whose map then serves both."""
    if not undo:
        return cut(mask, crop, 1)
    return cut_undistorted(reduced(mask, crop.reduction), camera, crop, crop.reduction)


def _floats(box: BoxXywh) -> tuple[float, float, float, float]:
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _fitted(camera: Camera, size_wh: tuple[int, int], image: str) -> Camera:
    """Return the camera for the image's size, when it is that of a smaller or larger copy."""
    width, height = size_wh
    if (camera.width, camera.height) == size_wh:
        return camera
    sx, sy = width / camera.width, height / camera.height
    if abs(sx * camera.height - height) > 1 and abs(sy * camera.width - width) > 1:
        raise FormatError(
            f"images/{image} has {width} x {height} pixels, its camera {camera.width} x {camera.height}"
        )
    K = camera.K
    params = (K[0, 0] * sx, K[1, 1] * sy, K[0, 2] * sx, K[1, 2] * sy, *camera.distortion)
    return Camera(model="OPENCV", width=width, height=height, params=tuple(map(float, params)))


def _known_box(posed: PosedScene, number: int, size_wh: tuple[int, int]) -> BoxXywh | None:
    """Return the box that the shards know, if it is one of this image's pixels."""
    camera = posed.cameras[number]
    if posed.boxes_xywh is None or (camera.width, camera.height) != size_wh:
        return None
    box = posed.boxes_xywh[number]
    if box is None:
        raise FormatError(f"images/{posed.images[number]} has no mask, or an empty one")
    return box


def _decode(data: bytes, reduction: int, image: str) -> ByteArray:
    pixels = decode_stored(data, _FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise FormatError(f"images/{image} is not a readable image")
    return pixels


def _read_mask(posed: PosedScene, number: int, size_wh: tuple[int, int]) -> ByteArray:
    """Return a mask (H, W), 0..255, in the image's size."""
    scene, image = posed.scene, posed.images[number]
    if isinstance(scene.files, ShardFiles):
        packed = scene.files.read_packed_mask(number)
        if packed is not None and packed.shape[1::-1] == size_wh:
            return packed
    name = scene.mask_name(image)
    if name is None:
        raise FormatError(f"images/{image} has no mask")
    mask = decode_mask(scene.files.read(f"masks/{name}"))
    if mask is None:
        raise FormatError(f"masks/{name} is not a readable image")
    if mask.shape[1::-1] != size_wh:
        mask = np.asarray(cv2.resize(mask, size_wh, interpolation=cv2.INTER_LINEAR))
    return np.asarray(mask, dtype=np.uint8)


def _cut_depth(
    posed: PosedScene, image: str, camera: Camera, crop: Crop, undo: bool
) -> tuple[Float32Array, BoolArray]:
    path = f"depth/{PurePosixPath(image).stem}.png"
    if posed.depth_scale is None or posed.scene.files.size(path) is None:
        raise FormatError(f"images/{image} has no depth map")
    data = posed.scene.files.read(path)
    values = decode_grey_png(data)
    if values is None:
        values = decode_stored(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise FormatError(f"{path} is not a 16-bit grey depth map")
    if values.shape != (camera.height, camera.width):
        raise FormatError(f"{path} has another size than its image")
    if undo:
        part: NDArray[Any] = cut_undistorted(values, camera, crop, 1, nearest=True)
    else:
        part = cut_nearest(values, crop)
    return part.astype(np.float32) * np.float32(posed.depth_scale), part > 0
