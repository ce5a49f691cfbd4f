"""Pictures as files: grey or colour, 8 or 16 bits, with or without transparency; turned as EXIF says."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.errors import InputError, OutputError
from walkaround.io.exif import read_exif
from walkaround.io.image import MAX_PIXELS, as_stored, read_file
from walkaround.io.image_size import stated_size_wh
from walkaround.types import Float32Array

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY_WITH_ALPHA = 4
"""The colour type of such a PNG; OpenCV reads it as colour with alpha, and cannot write it."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    image
        (H, W, 1) grey or (H, W, 3) RGB, 0..1.
    alpha
        (H, W) 0..1, or None.
    bits
        8 or 16, of a channel in the file.
    """

    image: Float32Array
    alpha: Float32Array | None
    bits: int

    def with_image(self, image: Float32Array) -> Picture:
        """Return the same kind of picture with other colours; transparency is brought to its size."""
        alpha = self.alpha
        if alpha is not None and alpha.shape != image.shape[:2]:
            size = (image.shape[1], image.shape[0])
            large = cv2.resize(alpha, size, interpolation=cv2.INTER_CUBIC)
            alpha = np.clip(large, 0, 1).astype(np.float32)
        return dataclasses.replace(self, image=image, alpha=alpha)


def decode_picture(data: bytes, name: str) -> Picture:
    """Decode a JPEG, PNG, WebP, TIFF or BMP file in full depth.

    Raises
    ------
    InputError
        It is none, is broken, has more than MAX_PIXELS, or numbers of another kind than 8 or 16 bits.
    """
    size = stated_size_wh(data)
    if size is None:
        raise InputError(f"{name} is damaged or not a JPEG, PNG, WebP, TIFF or BMP image. Export it again.")
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{name} has {size[0]} x {size[1]} pixels; at most {MAX_PIXELS} are read. Cut it.")
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None:
        raise InputError(f"{name} is damaged or not an image. Export it again as PNG or JPEG.")
    if stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{name} has {stored.dtype} numbers; 8 or 16 bits a channel are read. Convert it.")
    picture = _picture(_turned(np.asarray(stored), read_exif(data).orientation))
    grey = data[:8] == _PNG and data[25] == _GREY_WITH_ALPHA and picture.alpha is not None
    return dataclasses.replace(picture, image=picture.image[..., :1].copy()) if grey else picture


def read_picture(path: Path) -> Picture:
    """Read a picture file; see :func:`decode_picture`."""
    return decode_picture(read_file(path), str(path))


def _turned(stored: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turn as EXIF says: the inverse of :func:`walkaround.io.image.as_stored`."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    if orientation in (1, 2, 3, 4, 5, 6, 7, 8):
        return as_stored(stored, inverse)  # type: ignore[arg-type]
    return stored


def _picture(stored: NDArray[np.generic]) -> Picture:
    top = 255 if stored.dtype == np.uint8 else 65535
    values = np.asarray(stored, np.float32) / np.float32(top)
    if values.ndim == 2:
        values = values[..., None]
    alpha = values[..., 3] if values.shape[2] == 4 else None
    image = values[..., :3][..., ::-1] if values.shape[2] >= 3 else values[..., :1]
    return Picture(image=np.ascontiguousarray(image), alpha=alpha, bits=8 if top == 255 else 16)


def encode_png(picture: Picture) -> bytes:
    """Encode as PNG with the picture's depth and transparency, without metadata."""
    top = 255 if picture.bits == 8 else 65535
    image = picture.image[..., ::-1] if picture.image.shape[2] == 3 else picture.image
    if picture.alpha is not None:
        image = np.concatenate([image, picture.alpha[..., None]], 2)
    values = np.clip(np.round(image * top), 0, top).astype(np.uint8 if top == 255 else np.uint16)
    if values.shape[2] == 2:
        return _grey_with_alpha(values)
    ok, data = cv2.imencode(".png", np.ascontiguousarray(values))
    if not ok:
        raise OutputError(f"A picture of {image.shape[1]} x {image.shape[0]} px cannot be a PNG.")
    return bytes(data)


def _grey_with_alpha(values: NDArray[np.generic]) -> bytes:
    """Encode (H, W, 2) of 8 or 16 bits, rows as differences from the row above (filter 2 of the format).

    Source: PNG specification, third edition, W3C, https://www.w3.org/TR/png-3/.
    """
    height, width = values.shape[:2]
    rows = np.frombuffer(values.astype(values.dtype.newbyteorder(">")).tobytes(), np.uint8)
    rows = rows.reshape(height, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], 1)
    head = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, _GREY_WITH_ALPHA, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
