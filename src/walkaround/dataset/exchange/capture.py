"""What an import brings: images with given cameras, before anything is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.readers.scan import IMAGE_SUFFIXES
from walkaround.dataset.schema import check_text
from walkaround.errors import FormatError
from walkaround.io.image import natural_key
from walkaround.io.image_size import stated_size_wh
from walkaround.types import ByteArray, Camera, FloatArray, IntArray

MAX_JSON_BYTES = 512 << 20
MAX_DISTANCE = 1e12
"""No camera stands farther from its world's origin; beyond, projections lose all digits."""
_LOOSE_ROTATION = 1e-2
"""How far R R^T may be from the identity: files hold few digits. It is then made a rotation."""


@dataclass(frozen=True, kw_only=True)
class GivenView:
    """One image with its camera."""

    image: Path
    camera: Camera
    cam_from_world: FloatArray  # (4, 4)
    mask: Path | None = None
    mask_is_inverted: bool = False
    """The mask says what to leave out."""
    seen: IntArray | None = None
    """Indices of the points it sees; None when the source does not say."""


@dataclass(frozen=True, kw_only=True)
class GivenCapture:
    """What was read from a source."""

    views: tuple[GivenView, ...]
    """In natural order of the images' names."""
    others: tuple[Path, ...] = ()
    """Images without a camera."""
    points_in_world: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))  # (P, 3)
    colors: ByteArray = field(default_factory=lambda: np.zeros((0, 3), np.uint8))  # (P, 3)
    errors_px: FloatArray | None = None  # (P,)
    metric: bool = False
    """The source's unit is the metre."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """How the source was understood; no names of files."""
    warnings: tuple[str, ...] = ()


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    FormatError
        It is missing, too large or no JSON.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(
                f"{path} is larger than {MAX_JSON_BYTES >> 20} MB, which no list of cameras is."
            )
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FormatError(f"{path} cannot be read as JSON: {reason}") from error


def matrix_of(value: Any, shape: tuple[int, ...], where: str) -> FloatArray:
    """Return nested or flat numbers as an array of a shape, row by row.

    Raises
    ------
    FormatError
        They are not numbers, not finite, or of another count.
    """
    array = _numbers(value, where)
    if array.size != math.prod(shape) or not np.isfinite(array).all():
        raise FormatError(f"{where} has {array.size} numbers, expected {shape}, all finite.")
    return array.reshape(shape)


def _numbers(value: Any, where: str) -> FloatArray:
    try:
        return np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{where} is not made of numbers.") from error


def number_of(value: Any, where: str, *, positive: bool = False) -> float:
    """Return a finite number.

    Raises
    ------
    FormatError
        It is none, or not positive where it must be.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{where} is {value!r:.60}, expected a number.")
    number = float(value) if abs(value) < 1e300 else math.inf
    if not math.isfinite(number) or (positive and number <= 0):
        raise FormatError(
            f"{where} is {value!r:.60}, expected a {'positive' if positive else 'finite'} number."
        )
    return number


def rigid_of(value: Any, where: str) -> FloatArray:
    """Return a 3x4 or 4x4 rotation and shift as 4x4; a rotation of few digits is made an exact one.

    Raises
    ------
    FormatError
        It is no rotation and shift: it mirrors, scales, or is not made of numbers.
    """
    array = _numbers(value, where)
    out = np.eye(4)
    out[:3] = matrix_of(array, (4, 4) if array.size == 16 else (3, 4), where)[:3]
    if np.abs(out[:3, 3]).max() > MAX_DISTANCE:
        raise FormatError(
            f"{where} has the shift {out[:3, 3]}, farther than {MAX_DISTANCE:g} from the origin."
        )
    rotation = out[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > _LOOSE_ROTATION or np.linalg.det(rotation) < 0:
        kind = "a mirror" if np.linalg.det(rotation) < 0 else f"off by {off:.3g}"
        raise FormatError(f"{where} holds no rotation ({kind}).")
    if off > 1e-12:
        u, _, vt = np.linalg.svd(rotation)
        out[:3, :3] = u @ vt
    return out


def inside(folder: Path, name: Any, where: str) -> Path:
    """Return a path below a folder that a file of the source names.

    Raises
    ------
    FormatError
        It is no text, or leads out of the folder.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise FormatError(f"{where} is {name!r:.60}, expected the path of a file.")
    check_text(name, where)
    path = folder / name.replace("\\", "/")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FormatError(
            f"{where} is {name!r:.200}, which leads out of {folder}. Move the files there, or import the "
            "folder that holds both."
        )
    return path


def image_size_wh(path: Path) -> tuple[int, int]:
    """Return width and height of an image, as its header states them.

    Raises
    ------
    FormatError
        It is missing or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"The image {path} cannot be read ({error.strerror}).") from error
    size_wh = stated_size_wh(data)
    if size_wh is None:
        raise FormatError(f"{path} is not a readable image.")
    return size_wh


def images_in(folder: Path) -> tuple[Path, ...]:
    """Return the images of a folder in natural order; empty when it is not there."""
    if not folder.is_dir():
        return ()
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return tuple(sorted(found, key=lambda path: (natural_key(path.name), path.name)))


def mask_beside(folders: tuple[Path, ...], image: Path) -> Path | None:
    """Return the mask of an image: ``001.jpg.png``, ``001.png`` or ``001.jpg`` in one of some folders."""
    for folder in folders:
        for name in (f"{image.name}.png", f"{image.stem}.png", image.name):
            if (folder / name).is_file() and folder / name != image:
                return folder / name
    return None


def pinhole_camera(K: FloatArray, size_wh: tuple[int, int]) -> Camera:
    """Return the camera of a 3x3 matrix without skew."""
    fx, fy, cx, cy = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    return Camera(model="PINHOLE", width=size_wh[0], height=size_wh[1], params=(fx, fy, cx, cy))


def in_order(views: list[GivenView]) -> tuple[GivenView, ...]:
    """Sort views by their images' names, as people count.

    Raises
    ------
    FormatError
        There are none, or an image comes twice.
    """
    if not views:
        raise FormatError("The source has no image with a camera.")
    names = [str(view.image) for view in views]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"The source gives {twice} two cameras.")
    return tuple(sorted(views, key=lambda view: (natural_key(str(view.image)), str(view.image))))
