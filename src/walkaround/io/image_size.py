"""The size that an image's header states, before anything is decoded.

A few hundred bytes can state 60,000 x 60,000 pixels, for which a decoder would take 10 GB. Only the formats
known here are read at all, so no decoder of another one (OpenCV has a dozen) ever sees an input.
"""

from __future__ import annotations

import struct

_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""JPEG markers among those of frame headers (C0 .. CF) that are none."""


def stated_size_wh(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the header of a JPEG, PNG, WebP, TIFF or BMP file as stored.

    None when the bytes are none of them or the header is broken. Sources: ITU-T T.81 B.2.2; PNG 11.2.2;
    RFC 9649 sections 2.5 to 2.7; TIFF 6.0 section 2; BITMAPINFOHEADER.
    """
    try:
        if data[:2] == b"\xff\xd8":
            size = _jpeg(data)
        elif data[:8] == b"\x89PNG\r\n\x1a\n":
            size = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            size = _webp(data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            size = _tiff(data)
        elif data[:2] == b"BM":
            size = _bmp(data)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return size if size is not None and min(size) > 0 else None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _png(data: bytes) -> tuple[int, int] | None:
    """Read the first chunk; see that all lie within the file, for OpenCV makes room for what each states."""
    if data[12:16] != b"IHDR":
        return None
    at, name = 8, b""
    while name != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        at += 12 + length
        if at > len(data):
            return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return width, height
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        if tag in (256, 257) and number == 1 and kind in (3, 4):
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
            found[tag] = max(value, found.get(tag, 0))
    return (found[256], found[257]) if len(found) == 2 else None


def _bmp(data: bytes) -> tuple[int, int] | None:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)
