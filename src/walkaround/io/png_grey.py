"""Grey PNG files, masks and depth maps, several times as fast as through libpng with plain zlib.

A mask of 1920 x 1080 is 2 MB packed into 20 KB; unpacking it takes longer than decoding the photo beside it.
With the package ``zlib-ng`` (in the extra ``torch``) that time all but goes; without it Python's zlib serves.
Source: W3C, Portable Network Graphics, section 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from walkaround.io.image import MAX_PIXELS, decode_stored
from walkaround.types import ByteArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _NOT_INTERLACED = 0, 0


def decode_grey_png(data: bytes) -> NDArray[Any] | None:
    """Return the values of an 8-bit or 16-bit grey PNG as (H, W) uint8 or uint16.

    None for anything else (another kind of PNG, another format, a broken file): OpenCV then has its say.
    """
    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height, depth, colour, *_, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if colour != _GREY or depth not in (8, 16) or interlace != _NOT_INTERLACED:
        return None
    if not 0 < width * height <= MAX_PIXELS:
        return None
    step = depth // 8
    size = height * (1 + width * step)
    try:
        raw = inflate(_image_data(data), size)
    except (struct.error, ValueError):
        return None
    if len(raw) != size:
        return None
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * step)
    out = np.empty((height, width * step), np.uint8)
    if not _unfilter(rows, out, step):
        return None
    return out if step == 1 else out.view(">u2").astype(np.uint16)


def decode_mask(data: bytes) -> ByteArray | None:
    """Return a mask file of any format as (H, W) uint8; None when it is broken."""
    values = decode_grey_png(data)
    if values is None or values.dtype != np.uint8:
        return decode_stored(data, cv2.IMREAD_GRAYSCALE)
    return values


def warm_up() -> None:
    """Load the compiled loop, so that processes forked later have it."""
    pixel = zlib.compress(b"\0\0")
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", pixel), (b"IEND", b""))
    parts = [struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in chunks]
    decode_grey_png(_SIGNATURE + b"".join(parts))


def _image_data(data: bytes) -> bytes:
    """Return what the IDAT chunks hold; a transparent colour (tRNS) is refused."""
    at, parts = 8, []
    while True:
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data) or kind == b"tRNS":
            raise ValueError("cut off, or not plain grey")
        if kind == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        elif kind == b"IEND":
            return b"".join(parts)
        at = end


def inflate(packed: bytes, size: int) -> bytes:
    """Unpack what zlib packed, no more than ``size`` bytes and one.

    Raises
    ------
    ValueError
        It is damaged.
    """
    library: Any = zlib
    try:
        from zlib_ng import zlib_ng

        library = zlib_ng
    except ImportError:
        pass
    try:
        unpacked: bytes = library.decompressobj().decompress(packed, size + 1)
    except library.error as error:
        raise ValueError(str(error)) from error
    return unpacked


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _unfilter(rows: ByteArray, out: ByteArray, step: int) -> bool:
    """Undo the filter that each row's first byte names; False for an unknown one."""
    for y in range(rows.shape[0]):
        kind = rows[y, 0]
        row, here = rows[y, 1:], out[y]
        if kind == 0 or (kind == 2 and y == 0):
            here[:] = row
        elif kind == 1 or (kind == 4 and y == 0):  # without a row above, Paeth's is the value before
            for first in range(step):
                total = np.uint32(0)
                for x in range(first, row.shape[0], step):
                    total += row[x]
                    here[x] = total
        elif kind == 2:
            above = out[y - 1]
            for x in range(row.shape[0]):
                here[x] = row[x] + above[x]
        elif kind == 3:
            for x in range(row.shape[0]):
                left = np.int32(here[x - step]) if x >= step else np.int32(0)
                up = np.int32(out[y - 1, x]) if y else np.int32(0)
                here[x] = np.int32(row[x]) + ((left + up) >> 1)
        elif kind == 4:
            for first in range(step):
                _unfilter_paeth(row[first::step], here[first::step], out[y - 1, first::step])
        else:
            return False
    return True


@njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _unfilter_paeth(row: ByteArray, here: ByteArray, above: ByteArray) -> None:
    """Add to each byte whichever of left, up and upper left is nearest to left + up - upper left."""
    left = corner = np.int32(0)
    for x in range(row.shape[0]):
        up = np.int32(above[x])
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        if to_left <= to_up and to_left <= to_corner:
            nearest = left
        elif to_up <= to_corner:
            nearest = up
        else:
            nearest = corner
        left = (np.int32(row[x]) + nearest) & np.int32(255)
        corner = up
        here[x] = left
