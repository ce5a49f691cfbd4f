"""Image files without what a camera or a program wrote beside the pixels: no EXIF, GPS, text, previews.

The pixels stay as they are stored, bit by bit; nothing is turned as EXIF says, since cameras that come with
an image refer to the pixels that are stored.
"""

from __future__ import annotations

import struct

import cv2

from walkaround.errors import FormatError
from walkaround.io.image import decode_stored

_JPEG_KEPT = frozenset({0xE0, 0xEE})
"""JFIF, and Adobe's mark that says how colours are stored."""
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def strip_metadata(data: bytes, where: str) -> tuple[bytes, str]:
    """Return an image file without metadata, and its suffix: ``.jpg`` or ``.png`` (also of other formats).

    Raises
    ------
    FormatError
        It is no image, or a cut-off one.
    """
    if data.startswith(b"\xff\xd8"):
        return _stripped_jpeg(data, where), ".jpg"
    if data.startswith(_PNG_HEAD):
        return _stripped_png(data, where), ".png"
    pixels = decode_stored(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise FormatError(f"{where} is not a readable image.")
    ok, png = cv2.imencode(".png", pixels)
    if not ok:
        raise FormatError(f"{where} cannot be written as PNG.")
    return bytes(png), ".png"


def _stripped_jpeg(data: bytes, where: str) -> bytes:
    """Walk the segments up to the end mark: what follows it (previews, trailers) is left out too."""
    out, at = [b"\xff\xd8"], 2
    while True:
        if at + 2 > len(data) or data[at] != 0xFF:
            raise FormatError(f"{where} is a damaged or cut-off JPEG.")
        mark = data[at + 1]
        if mark == 0xFF:  # padding
            at += 1
            continue
        if mark == 0xD9:
            return b"".join([*out, b"\xff\xd9"])
        if at + 4 > len(data):
            raise FormatError(f"{where} is a damaged or cut-off JPEG.")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if mark == 0xDA:
            end = _end_of_scan(data, end)
        is_extra = 0xE0 <= mark <= 0xEF or mark == 0xFE
        if not is_extra or mark in _JPEG_KEPT:
            out.append(data[at:end])
        at = end


def _end_of_scan(data: bytes, at: int) -> int:
    """Return where the next mark after coded pixels stands."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
        else:
            return at


def _stripped_png(data: bytes, where: str) -> bytes:
    out, at = [_PNG_HEAD], len(_PNG_HEAD)
    while True:
        if at + 12 > len(data):
            raise FormatError(f"{where} is a damaged or cut-off PNG.")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise FormatError(f"{where} is a damaged or cut-off PNG.")
        if kind in _PNG_KEPT:
            out.append(data[at:end])
        if kind == b"IEND":
            return b"".join(out)
        at = end
