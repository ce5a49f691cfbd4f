"""What lies in a shard: one WebDataset sample a scene, its head first.

A shard is a plain tar. A scene's members share the name up to the first dot, ``<class>/<instance>``, which
makes them one sample for the package ``webdataset``::

    17/0b00c3.scene.json           the head: cameras, poses, boxes of the masks, where each file lies
    17/0b00c3.images.001.jpg       the scene's files, as they are
    17/0b00c3.masks.001.png
    17/0b00c3.sparse.0.images.bin
    17/0b00c3.masks.packed         the masks once more, quicker to read; not of resized images

Whoever has the head's offset (the index has it) reads any file of the scene with one seek. Paths and check
sums are in the head, so the members' names need not be taken apart again.
"""

from __future__ import annotations

import json
import string
import tarfile
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from walkaround.errors import FormatError
from walkaround.types import CAMERA_MODELS, Camera, FloatArray

SHARD_VERSION = 1
HEAD_SUFFIX = "scene.json"
MASKS_SUFFIX = "masks.packed"
INDEX_NAME = "index.parquet"
DESCRIPTION_NAME = "shards.json"
ROOT_FOLDER = "root"
"""Holds the dataset's own files: ``dataset.json``, ``splits``, the catalogue of what was packed."""
_BLOCK = 512
_PLAIN = frozenset(string.ascii_letters + string.digits + "_-")
_PLAIN_SUFFIX = frozenset(string.ascii_lowercase + string.digits + "_-.")

BoxXywh = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the image as stored."""

INDEX_COLUMNS = {
    "class_label": "VARCHAR",
    "class_id": "VARCHAR",
    "class_name": "VARCHAR",
    "instance_id": "VARCHAR",
    "shard": "INTEGER",
    "sample_offset": "BIGINT",
    "sample_bytes": "BIGINT",
    "head_offset": "BIGINT",
    "head_bytes": "INTEGER",
    "num_images": "INTEGER",
    "num_views": "INTEGER",
    "num_masks": "INTEGER",
    "num_boxes": "INTEGER",
    "num_depth": "INTEGER",
    "files": "STRUCT(path VARCHAR, start BIGINT, size BIGINT)[]",
}
"""Name -> DuckDB's type of each column of the index; ``start`` counts from the beginning of the shard."""


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """One file of a scene."""

    path: str
    """In the scene: ``images/001.jpg``."""
    offset: int
    """Of its first byte, counted from the end of the head's last block."""
    size: int
    crc: int
    """CRC-32."""


@dataclass(frozen=True, kw_only=True)
class PackedMask:
    """A view's mask once more, quicker to read than a PNG: the values of its box above zero, by zlib."""

    offset: int
    """As in :class:`PackedFile`."""
    size: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the first member of a sample says."""

    class_label: str
    instance_id: str
    class_id: str | None
    class_name: str | None
    depth_scale: float | None
    cameras: tuple[Camera, ...]
    """One a view; equal ones are one object."""
    images: tuple[str, ...]
    """File names of the images with cameras; the views."""
    cam_from_world: FloatArray  # (V, 4, 4)
    boxes_xywh: tuple[BoxXywh | None, ...]
    """Of the mask's pixels above one half, a view; None without a mask or such pixels."""
    masks: tuple[PackedMask | None, ...]
    """One a view; None where the mask's own file has to do."""
    files: tuple[PackedFile, ...]
    problem: str = ""
    """Why there are no views, when the scene has broken ones."""


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.tar"


def sample_key(class_label: str, instance_id: str) -> str:
    """Return the name that a scene's members begin with: no dots, so that ``webdataset`` splits it right."""
    return f"{_escaped(class_label)}/{_escaped(instance_id)}"


def member_suffixes(paths: list[str]) -> list[str]:
    """Return what follows the key in the members' names: dots for slashes, lower case, all different."""
    taken = {HEAD_SUFFIX, MASKS_SUFFIX}
    suffixes = []
    for path in paths:
        plain = path.replace("/", ".").lower()
        plain = "".join(letter if letter in _PLAIN_SUFFIX else "_" for letter in plain).strip(".") or "file"
        suffix, number = plain, 2
        while suffix in taken:
            suffix, number = f"{number}.{plain}", number + 1
        taken.add(suffix)
        suffixes.append(suffix)
    return suffixes


def member_header(name: str, size: int) -> bytes:
    """Return the header of a tar member without owner or time: the same bytes everywhere."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> int:
    """Return how many zero bytes follow a member."""
    return -size % _BLOCK


def encode_head(head: Head) -> bytes:
    """Return a head as JSON."""
    cameras = list(dict.fromkeys(head.cameras))
    numbers = {camera: number for number, camera in enumerate(cameras)}
    value = {
        "schema_version": SHARD_VERSION,
        "class_label": head.class_label,
        "instance_id": head.instance_id,
        "class_id": head.class_id,
        "class_name": head.class_name,
        "depth_scale": head.depth_scale,
        "cameras": [
            {"model": c.model, "width": c.width, "height": c.height, "params": list(c.params)}
            for c in cameras
        ],
        "images": list(head.images),
        "camera_of": [numbers[camera] for camera in head.cameras],
        "cam_from_world": head.cam_from_world[:, :3].reshape(len(head.images), 12).tolist(),
        "boxes_xywh": [None if box is None else list(box) for box in head.boxes_xywh],
        "masks": [None if mask is None else list(astuple(mask)) for mask in head.masks],
        "files": [[file.path, file.offset, file.size, file.crc] for file in head.files],
        "problem": head.problem,
    }
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def decode_head(data: bytes, where: str) -> Head:
    """Return a head from its JSON.

    Raises
    ------
    FormatError
        It is broken, or of another version.
    """
    try:
        value = json.loads(data)
        version = value["schema_version"]
        if version != SHARD_VERSION:
            raise FormatError(
                f"{where} has schema_version {version!r:.20}, this walkaround reads {SHARD_VERSION}."
                " Pack the dataset again, or install the matching version."
            )
        return _head(value)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise FormatError(f"{where} is no head of a scene ({type(error).__name__}: {error}).") from error


def _head(value: dict[str, Any]) -> Head:
    known = [_camera(camera) for camera in value["cameras"]]
    images = tuple(str(name) for name in value["images"])
    poses = np.zeros((len(images), 4, 4))
    poses[:, 3, 3] = 1
    if images:
        poses[:, :3] = np.array(value["cam_from_world"], dtype=np.float64).reshape(len(images), 3, 4)
    boxes = tuple(None if box is None else _box(box) for box in value["boxes_xywh"])
    cameras = tuple(known[number] for number in value["camera_of"])
    masks = tuple(None if mask is None else _mask(mask) for mask in value["masks"])
    if not len(images) == len(boxes) == len(cameras) == len(masks):
        raise ValueError("images, boxes_xywh, camera_of and masks have different lengths")
    scale = value["depth_scale"]
    return Head(
        class_label=str(value["class_label"]),
        instance_id=str(value["instance_id"]),
        class_id=value["class_id"],
        class_name=value["class_name"],
        depth_scale=None if scale is None else float(scale),
        cameras=cameras,
        images=images,
        cam_from_world=poses,
        boxes_xywh=boxes,
        masks=masks,
        files=tuple(
            PackedFile(path=str(path), offset=int(offset), size=int(size), crc=int(crc))
            for path, offset, size, crc in value["files"]
        ),
        problem=str(value["problem"]),
    )


def _camera(value: dict[str, Any]) -> Camera:
    if value["model"] not in CAMERA_MODELS:
        raise ValueError(f"unknown camera model {value['model']!r:.40}")
    params = tuple(float(number) for number in value["params"])
    return Camera(model=value["model"], width=int(value["width"]), height=int(value["height"]), params=params)


def _box(value: list[int]) -> BoxXywh:
    x, y, width, height = (int(number) for number in value)
    return x, y, width, height


def _mask(value: list[int]) -> PackedMask:
    offset, size, left, top, width, height = (int(number) for number in value)
    return PackedMask(offset=offset, size=size, left=left, top=top, width=width, height=height)


def _escaped(name: str) -> str:
    """Return a name as letters, digits, ``_``, ``-`` and ``%xx``."""
    data = name.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in data)
