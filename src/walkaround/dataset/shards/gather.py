"""What goes into a shard of one scene: its files and its head, as they are or smaller."""

from __future__ import annotations

import dataclasses
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.dataset.readers.files import SceneFiles
from walkaround.dataset.readers.scan import FILES, IMAGE_SUFFIXES, PARTS
from walkaround.dataset.readers.scene import Scene
from walkaround.dataset.shards.layout import BoxXywh, Head, PackedFile, PackedMask, padding
from walkaround.dataset.shards.options import ShardOptions
from walkaround.errors import FormatError, WalkaroundError
from walkaround.io.colmap import write_sparse_model
from walkaround.io.image import decode_stored
from walkaround.io.png_grey import decode_mask
from walkaround.types import ByteArray, Camera, SparseModel, View

_MAX_DEPTH = 8
_NOT_RESIZED = ("sparse/", "report.html")
_INTERPOLATION = {
    "images": cv2.INTER_AREA,
    "masks": cv2.INTER_AREA,
    "depth": cv2.INTER_NEAREST_EXACT,
    "confidence": cv2.INTER_NEAREST_EXACT,
}
"""Of the folders that hold pictures. Distances are not averaged across edges."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One scene, ready to be written."""

    head: Head
    contents: tuple[bytes, ...]
    """Of ``head.files``. Their offsets are set when it is known how long the members' headers are."""
    masks: bytes
    """Of ``head.masks``, whose offsets count in it until then."""

    @property
    def num_bytes(self) -> int:
        """About what it takes in a shard."""
        return sum(1024 + len(data) + padding(len(data)) for data in (*self.contents, self.masks))


def gather(scene: Scene, options: ShardOptions) -> Gathered:
    """Read a scene.

    A broken model, mask or depth map does not stop it: such a scene has no views or boxes and says why.

    Raises
    ------
    FormatError
        A file cannot be read.
    """
    contents = {path: scene.files.read(path) for path in scene_paths(scene.files)}
    views, problem = _views(scene)
    decoded = (_decoded_mask(scene, view, contents) for view in views)
    boxes, masks, packed = _boxes_and_masks(decoded, pack=options.resize is None)
    depth_scale, record_problem = _depth_scale(scene)
    if options.resize is not None:
        views, boxes, contents = _resized(views, boxes, contents, options)
    files = tuple(
        PackedFile(path=path, offset=0, size=len(data), crc=zlib.crc32(data))
        for path, data in contents.items()
    )
    head = Head(
        class_label=scene.class_label,
        instance_id=scene.instance_id,
        class_id=scene.class_id,
        class_name=scene.class_name,
        depth_scale=depth_scale,
        cameras=tuple(view.camera for view in views),
        images=tuple(view.frame.image for view in views),
        cam_from_world=np.stack([view.cam_from_world for view in views]) if views else np.zeros((0, 4, 4)),
        boxes_xywh=boxes,
        masks=masks,
        files=files,
        problem=" ".join(text for text in (problem, record_problem) if text),
    )
    return Gathered(head=head, contents=tuple(contents.values()), masks=packed)


def scene_paths(files: SceneFiles) -> list[str]:
    """Return the paths of all files of a scene, sorted; hidden ones are no part of it."""
    roots = {*files.folders(""), *PARTS}
    found = set(files.names(""))
    found |= {name for name in FILES if files.size(name) is not None}
    pending = [(folder, 1) for folder in roots]
    while pending:
        folder, depth = pending.pop()
        found.update(f"{folder}/{name}" for name in files.names(folder))
        if depth < _MAX_DEPTH:
            pending += [(f"{folder}/{name}", depth + 1) for name in files.folders(folder)]
    return sorted(found)


def box_of(mask: NDArray[np.uint8]) -> BoxXywh | None:
    """Return the box of an (H, W) mask's values above one half; None without any."""
    above = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
    x, y, width, height = cv2.boundingRect(above)
    return (int(x), int(y), int(width), int(height)) if width else None


def _views(scene: Scene) -> tuple[tuple[View, ...], str]:
    """Return the views whose images are there; why not, if the model is broken."""
    try:
        names = set(scene.image_names)
        return tuple(view for view in scene.views if view.frame.image in names), ""
    except WalkaroundError as error:
        return (), str(error)


def _depth_scale(scene: Scene) -> tuple[float | None, str]:
    try:
        return (None if scene.record is None else scene.record.depth_scale), ""
    except WalkaroundError as error:
        return None, str(error)


def _decoded_mask(scene: Scene, view: View, contents: dict[str, bytes]) -> ByteArray | None:
    """Return a view's mask in the size of its camera; None without one that can be read."""
    name = scene.mask_name(view.frame.image)
    data = None if name is None else contents.get(f"masks/{name}")
    mask = None if data is None else decode_mask(data)
    size_wh = (view.camera.width, view.camera.height)
    if mask is not None and mask.shape[1::-1] != size_wh:
        mask = np.asarray(cv2.resize(mask, size_wh, interpolation=cv2.INTER_LINEAR))
    return mask


def _boxes_and_masks(
    decoded: Iterable[ByteArray | None], *, pack: bool
) -> tuple[tuple[BoxXywh | None, ...], tuple[PackedMask | None, ...], bytes]:
    """Return the box of each mask, where its packed values lie, and these."""
    boxes: list[BoxXywh | None] = []
    masks: list[PackedMask | None] = []
    packed = bytearray()
    for mask in decoded:
        box = None if mask is None else box_of(mask)
        boxes.append(box)
        if mask is None or box is None or not pack:
            masks.append(None)
            continue
        left, top, width, height = (int(number) for number in cv2.boundingRect(mask))
        data = zlib.compress(mask[top : top + height, left : left + width].tobytes())
        place = {"left": left, "top": top, "width": width, "height": height}
        masks.append(PackedMask(offset=len(packed), size=len(data), **place))
        packed += data
    return tuple(boxes), tuple(masks), bytes(packed)


def _resized(
    views: tuple[View, ...],
    boxes: tuple[BoxXywh | None, ...],
    contents: dict[str, bytes],
    options: ShardOptions,
) -> tuple[tuple[View, ...], tuple[BoxXywh | None, ...], dict[str, bytes]]:
    """Make everything that has pixels smaller; cameras and boxes follow."""
    out: dict[str, bytes] = {}
    for path, data in contents.items():
        if not path.startswith(_NOT_RESIZED):
            out[path] = _smaller_file(path, data, options)
    small_views, small_boxes = [], []
    for view, box in zip(views, boxes, strict=True):
        camera = view.camera
        width, height = _smaller_wh((camera.width, camera.height), options)
        small_views.append(dataclasses.replace(view, camera=_resized_camera(camera, width, height)))
        small_boxes.append(None if box is None else _scaled_box(box, camera, (width, height)))
    if views:
        out |= _sparse_files(small_views)
    return tuple(small_views), tuple(small_boxes), dict(sorted(out.items()))


def _smaller_wh(size_wh: tuple[int, int], options: ShardOptions) -> tuple[int, int]:
    scale = min(1.0, (options.resize or min(size_wh)) / min(size_wh))
    return max(1, round(size_wh[0] * scale)), max(1, round(size_wh[1] * scale))


def _smaller_file(path: str, data: bytes, options: ShardOptions) -> bytes:
    """Return an image, mask, depth map or confidence smaller; anything else, and what is broken, as it is."""
    suffix = PurePosixPath(path).suffix.lower()
    interpolation = _INTERPOLATION.get(path.partition("/")[0])
    if interpolation is None or suffix not in IMAGE_SUFFIXES:
        return data
    pixels = decode_stored(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return data
    size_wh = _smaller_wh(pixels.shape[1::-1], options)
    if size_wh == pixels.shape[1::-1]:
        return data
    small: Any = cv2.resize(pixels, size_wh, interpolation=interpolation)
    quality = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality] if suffix in (".jpg", ".jpeg") else []
    ok, encoded = cv2.imencode(suffix, small, quality)
    if not ok:
        raise FormatError(f"{path} cannot be written as {suffix} at {size_wh[0]} x {size_wh[1]} pixels.")
    return bytes(encoded)


def _resized_camera(camera: Camera, width: int, height: int) -> Camera:
    """Return the camera of a resized image; exact also where rounding stretched the image a little."""
    sx, sy = width / camera.width, height / camera.height
    if sx == sy:
        return camera.scaled(width, height)
    K, distortion = camera.K, camera.distortion
    params = (K[0, 0] * sx, K[1, 1] * sy, K[0, 2] * sx, K[1, 2] * sy)
    if not distortion.any():
        return Camera(model="PINHOLE", width=width, height=height, params=tuple(map(float, params)))
    params = (*params, *distortion)
    return Camera(model="OPENCV", width=width, height=height, params=tuple(map(float, params)))


def _scaled_box(box: BoxXywh, camera: Camera, size_wh: tuple[int, int]) -> BoxXywh:
    """Return the smallest box of whole pixels around a box in the smaller image."""
    sx, sy = size_wh[0] / camera.width, size_wh[1] / camera.height
    left, top = int(np.floor(box[0] * sx)), int(np.floor(box[1] * sy))
    right, bottom = int(np.ceil((box[0] + box[2]) * sx)), int(np.ceil((box[1] + box[3]) * sy))
    return left, top, right - left, bottom - top


def _sparse_files(views: list[View]) -> dict[str, bytes]:
    """Return COLMAP's files of the cameras alone."""
    numbered = tuple(
        dataclasses.replace(view, frame=dataclasses.replace(view.frame, index=number + 1))
        for number, view in enumerate(views)
    )
    model = SparseModel(
        views=numbered,
        points_in_world=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8),
        errors_px=np.zeros(0),
        observations=tuple(np.zeros(0, np.int64) for _ in views),
    )
    with tempfile.TemporaryDirectory(prefix="walkaround-shard-") as scratch:
        write_sparse_model(Path(scratch), model)
        return {f"sparse/0/{path.name}": path.read_bytes() for path in sorted(Path(scratch).glob("*.bin"))}
