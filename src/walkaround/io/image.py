"""Stills in and out: 8-bit sRGB arrays from files, and JPEG files without metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.errors import InputError, OutputError
from walkaround.io.atomic import write_bytes
from walkaround.io.exif import read_exif
from walkaround.io.image_size import stated_size_wh
from walkaround.io.suffixes import HEIC_SUFFIXES as HEIC_SUFFIXES
from walkaround.io.suffixes import PHOTO_SUFFIXES as PHOTO_SUFFIXES
from walkaround.types import ByteArray

MAX_PIXELS = 120_000_000
"""Of one picture, unless a caller allows more: 12,000 x 10,000, of which a decoder makes 360 MB."""
_MAX_FILE_BYTES = 1 << 30
_FILM_DIAGONAL_MM = 43.2666  # of 36 mm x 24 mm


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo, turned upright."""

    image_srgb: ByteArray  # (H, W, 3)
    rotation_deg: int
    """Clockwise turn that EXIF asked for."""
    focal_prior_px: float | None
    """For this size, from EXIF's 35-mm focal length; None when there is none."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((0, int(part), "") if i % 2 else (1, 0, part) for i, part in enumerate(parts))


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by name the way people count."""
    return sorted(paths, key=lambda path: (natural_key(path.name), path.name))


def decode_photo(data: bytes, name: str, *, max_pixels: int | None = MAX_PIXELS) -> Photo:
    """Decode the bytes of a photo and turn it as its EXIF says.

    Parameters
    ----------
    max_pixels
        Decode nothing whose header states more; None when that is known already.

    Raises
    ------
    InputError
        The bytes are no JPEG, PNG, WebP, TIFF or BMP image, or the image is cut off or too large.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes). Copy it again from the camera.")
    _check_size(data, name, max_pixels)
    image = None if _is_cut_off(data) else _decode_bgr(data)
    if image is None:
        raise InputError(f"{name} is damaged or not an image. Export it again as JPEG or PNG.")
    exif = read_exif(data)
    upright: ByteArray = turned_upright(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), exif.orientation)
    focal = None
    if exif.focal_35mm:
        focal = exif.focal_35mm / _FILM_DIAGONAL_MM * float(np.hypot(*upright.shape[:2]))
    turns = {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}
    return Photo(image_srgb=upright, rotation_deg=turns.get(exif.orientation, 0), focal_prior_px=focal)


def _check_size(data: bytes, name: str, max_pixels: int | None) -> None:
    size_wh = stated_size_wh(data)
    if size_wh is None:
        raise InputError(f"{name} is damaged or not a JPEG, PNG, WebP, TIFF or BMP image. Export it again.")
    if max_pixels is not None and size_wh[0] * size_wh[1] > max_pixels:
        stated = f"{size_wh[0]} x {size_wh[1]} pixels"
        raise InputError(
            f"{name} says it has {stated}; at most {max_pixels} are decoded. Shrink it, or raise "
            "--capture.max-pixels."
        )


def read_image(path: Path) -> ByteArray:
    """Read an image file as (H, W, 3) sRGB, turned as its EXIF says.

    Raises
    ------
    InputError
        The file is missing, unreadable, or not an image.
    """
    return decode_photo(read_file(path), str(path)).image_srgb


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    InputError
        It is missing, may not be read, is no file or larger than 1 GiB.
    """
    try:
        if not path.is_file() and path.exists():
            raise InputError(f"{path} is not a file. Pass a photo.")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputError(f"{path} is larger than 1 GiB, which no photo is. Leave it out or shrink it.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check its name and rights.") from error


def shrink(image: ByteArray, long_side_px: int) -> ByteArray:
    """Return the image with its long side at most ``long_side_px`` (area average); never enlarged."""
    height, width = image.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(image_srgb: ByteArray, quality: int = 95) -> bytes:
    """Encode (H, W, 3) sRGB as a JPEG without any metadata."""
    bgr = cv2.cvtColor(image_srgb, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise OutputError(f"An image of {image_srgb.shape[1]} x {image_srgb.shape[0]} px cannot be a JPEG.")
    return bytes(data)


def write_jpeg(path: Path, image_srgb: ByteArray, quality: int = 95) -> None:
    """Write (H, W, 3) sRGB as a JPEG without any metadata, atomically.

    Raises
    ------
    OutputError
        The folder is read-only or the disk is full.
    """
    write_bytes(path, encode_jpeg(image_srgb, quality))


def decode_stored(data: bytes, flags: int) -> NDArray[Any] | None:
    """Decode an image of a dataset as ``cv2.imdecode`` does with ``flags``.

    None when it is broken, of a format that no dataset has, or states more than :data:`MAX_PIXELS`.
    """
    size_wh = stated_size_wh(data)
    if size_wh is None or size_wh[0] * size_wh[1] > MAX_PIXELS:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def read_stored(path: Path, flags: int) -> NDArray[Any] | None:
    """Read an image of a dataset; None when it is missing or :func:`decode_stored` gives None."""
    try:
        return decode_stored(path.read_bytes(), flags)
    except OSError:
        return None


def _decode_bgr(data: bytes) -> Any:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # absurd sizes
        return None


def _is_cut_off(data: bytes) -> bool:
    """Return True for a JPEG whose picture does not reach its end marker.

    Decoders fill the missing part with grey. Within a scan no byte pair can look like a marker, so the
    last end marker must come after the last start of scan (the thumbnail's come before it).
    """
    return data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def as_stored(upright: ByteArray, orientation: int) -> ByteArray:
    """Turn (H, W) or (H, W, 3) back to how the file with this EXIF orientation stores its pixels."""
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    turned = np.rot90(upright, -quarter_turns)
    return np.ascontiguousarray(turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned)


def turned_upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels (H, W, ...) as stored upright, as the EXIF orientation says."""
    if orientation in (2, 4, 5, 7):
        image = image[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
