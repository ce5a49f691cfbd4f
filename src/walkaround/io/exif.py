"""What a photo's EXIF is good for here: how to turn it, the 35-mm focal length, how much light was let in.

A compact reader of TIFF directories (TIFF 6.0, section 2; Exif 3.0, section 4.6) for JPEG, PNG, WebP and
TIFF files. It never fails: what it cannot read, it leaves at the default.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

_ORIENTATION, _EXIF_DIRECTORY, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
_EXPOSURE_TIME, _F_NUMBER, _SENSITIVITY = 0x829A, 0x829D, 0x8827
_MAX_ENTRIES = 1000


@dataclass(frozen=True, kw_only=True)
class Exif:
    """Nothing else of a photo's metadata is ever read, so nothing else can be passed on."""

    orientation: int = 1
    """1 to 8, as EXIF numbers them."""
    focal_35mm: float | None = None
    """Focal length on a 35-mm film camera of the same diagonal angle of view, in mm."""
    exposure_ev: float | None = None
    """log2 of the light that was let in: exposure time in s, times ISO speed over 100, over f-number squared.
    Missing speed and f-number count as 100 and 1: they matter only where they differ between photos."""


def read_exif(data: bytes) -> Exif:
    """Read the orientation and focal length from an image file's bytes; defaults where there are none."""
    tiff = _tiff_block(data)
    if tiff is None or len(tiff) < 8 or tiff[:2] not in (b"II", b"MM"):
        return Exif()
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    main = _directory(tiff, order, first)
    detail = _directory(tiff, order, main[_EXIF_DIRECTORY]) if _EXIF_DIRECTORY in main else {}
    orientation = int(main.get(_ORIENTATION, 1))
    focal = detail.get(_FOCAL_35MM, 0)
    return Exif(
        orientation=orientation if 1 <= orientation <= 8 else 1,
        focal_35mm=float(focal) if 4 <= focal <= 2000 else None,
        exposure_ev=_exposure_ev(detail),
    )


def _exposure_ev(detail: dict[int, float]) -> float | None:
    return light_ev(
        detail.get(_EXPOSURE_TIME, 0.0), detail.get(_SENSITIVITY, 100.0), detail.get(_F_NUMBER, 1.0)
    )


def light_ev(time_s: float, speed: float = 100.0, f_number: float = 1.0) -> float | None:
    """Return log2 of the light that an exposure lets in; None where a number makes no sense."""
    if not (1e-7 < time_s < 1e5 and 1 <= speed < 1e8 and 0.1 < f_number < 1000):
        return None
    return math.log2(time_s * speed / 100.0 / f_number**2)


def _directory(tiff: bytes, order: str, offset: float) -> dict[int, float]:
    """Return the single numbers, whole or rational, of one directory: tag -> value."""
    values: dict[int, float] = {}
    offset = int(offset)
    if offset + 2 > len(tiff):
        return values
    (count,) = struct.unpack_from(order + "H", tiff, offset)
    for i in range(min(count, _MAX_ENTRIES)):
        at = offset + 2 + 12 * i
        if at + 12 > len(tiff):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, at)
        if number == 1 and kind == 3:  # SHORT, left-justified in its four bytes
            values.setdefault(tag, struct.unpack_from(order + "H", tiff, at + 8)[0])
        elif number == 1 and kind == 4:  # LONG
            values.setdefault(tag, struct.unpack_from(order + "I", tiff, at + 8)[0])
        elif number == 1 and kind == 5:  # RATIONAL, elsewhere
            (place,) = struct.unpack_from(order + "I", tiff, at + 8)
            if place + 8 <= len(tiff):
                above, below = struct.unpack_from(order + "II", tiff, place)
                values.setdefault(tag, above / below if below else 0.0)
    return values


def _tiff_block(data: bytes) -> bytes | None:
    if data[:2] == b"\xff\xd8":
        return _jpeg_block(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _chunk(data, 8, b"eXIf", ">I4s", trailer=4, padded=False)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        block = _chunk(data, 12, b"EXIF", "<4sI", trailer=0, padded=True)
        return block[6:] if block and block[:6] == b"Exif\0\0" else block
    return data if data[:4] in (b"II*\0", b"MM\0*") else None


def _jpeg_block(data: bytes) -> bytes | None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA or length < 2:
            return None
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + length
    return None


def _chunk(data: bytes, at: int, name: bytes, head: str, *, trailer: int, padded: bool) -> bytes | None:
    while at + 8 <= len(data):
        fields = struct.unpack_from(head, data, at)
        kind, length = (fields[1], fields[0]) if head[0] == ">" else (fields[0], fields[1])
        if kind == name:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + trailer + (length & 1 if padded else 0)
    return None
