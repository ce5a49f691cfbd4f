"""Captures full of what must not survive: every field of metadata that a camera or an editor writes.

Each secret is a word of its own, so that a test that finds one knows where it came from.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from walkaround.types import ByteArray

PERSON = "Jolanda Quistorp"
"""In file and folder names."""
TEXTS = {
    "exif make": "Zyxelcam Werke",
    "exif model": "Zyx-9000 Qpro",
    "exif software": "Fotobude 7.31q",
    "exif artist": "Wendelin Artistoff",
    "exif copyright": "Copyrightia Qumbold",
    "exif date": "1987:11:23 04:05:06",
    "exif comment": "Kommentar-Xylophon",
    "exif owner": "Besitzerin Ottokara",
    "exif body serial": "SN-4711-QX-0815",
    "exif lens": "Linsenmodell F0.95qq",
    "exif lens serial": "LS-99-KWRT-1",
    "exif unique id": "c0ffee00deadbeef11223344556677aa",
    "exif maker note": "MakerNote-Geheimnis-Qwx",
    "exif windows title": "Titelchen-Wqz",
    "gps date": "1987:11:22",
    "xmp": "xmp-Ersteller-Zwackelmann",
    "iptc": "iptc-Byline-Murkelfritz",
    "icc": "Icc-Profil-Hubertine",
    "jpeg comment": "com-Segment-Plauderei",
    "png text": "png-Text-Schnabulix",
    "png zipped text": "png-zText-Kraxelhuber",
    "png international": "png-iText-Müßigbrodt",
    "after the end": "Anhang-nach-EOI-Trulla",
    "video title": "Videotitel-Pumpernickel",
    "video artist": "Filmer-Abendroth-Q",
    "video location": "+52.5163+013.3777/",
    "video apple location": "+48.1372+011.5755+519.000/",
    "video make": "Camfabrik-Oberammer",
    "video model": "Modell-Zett-77q",
    "video comment": "Videokommentar-Flausenberg",
    "video date": "1999-04-01T12:34:56",
    "video track name": "Spurname-Rumpelhold",
    "video free atom": "Atom-frei-Wackernagel",
    "video xmp atom": "Atom-uuid-Lebkuchner",
}
GPS = ((52, 1), (31, 1), (123457, 9973)), ((13, 1), (24, 1), (765433, 9973))
"""Latitude and longitude as EXIF's rationals."""
MARKER = bytes(np.random.default_rng(7).integers(0, 256, 24, np.uint8))
"""Random bytes within the maker note and the thumbnail."""

_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 2, 3, 4, 5, 7
_SIZES = {1: 1, _ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}


def _directory(entries: dict[int, tuple[int, bytes]], at: int, following: int = 0) -> bytes:
    """Return a little-endian TIFF directory that begins at offset ``at``, its long values behind it."""
    body, behind = struct.pack("<H", len(entries)), b""
    start = at + 2 + 12 * len(entries) + 4
    for tag, (kind, value) in sorted(entries.items()):
        body += struct.pack("<HHI", tag, kind, len(value) // _SIZES[kind])
        if len(value) <= 4:
            body += value.ljust(4, b"\0")
        else:
            body += struct.pack("<I", start + len(behind))
            behind += value + b"\0" * (len(value) % 2)
    return body + struct.pack("<I", following) + behind


def _text(name: str) -> tuple[int, bytes]:
    return _ASCII, TEXTS[name].encode() + b"\0"


def _rationals(values: tuple[tuple[int, int], ...]) -> tuple[int, bytes]:
    return _RATIONAL, b"".join(struct.pack("<II", *value) for value in values)


def thumbnail() -> bytes:
    """Return a small JPEG with the marker in it."""
    small = np.random.default_rng(8).integers(0, 256, (40, 60, 3), np.uint8)
    data = cv2.imencode(".jpg", small)[1].tobytes()
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(MARKER) + 2) + MARKER + data[2:]


def exif_block() -> bytes:
    """Return a TIFF block: main, Exif, GPS and thumbnail directories."""
    note = b"Zyx\0" + TEXTS["exif maker note"].encode() + MARKER
    detail = {
        0x9003: _text("exif date"),
        0x9286: (_UNDEFINED, b"ASCII\0\0\0" + TEXTS["exif comment"].encode()),
        0x927C: (_UNDEFINED, note),
        0xA405: (_SHORT, struct.pack("<H", 35)),
        0xA420: _text("exif unique id"),
        0xA430: _text("exif owner"),
        0xA431: _text("exif body serial"),
        0xA434: _text("exif lens"),
        0xA435: _text("exif lens serial"),
    }
    gps = {
        1: (_ASCII, b"N\0"),
        2: _rationals(GPS[0]),
        3: (_ASCII, b"E\0"),
        4: _rationals(GPS[1]),
        29: _text("gps date"),
    }
    main: dict[int, tuple[int, bytes]] = {
        0x010F: _text("exif make"),
        0x0110: _text("exif model"),
        0x0112: (_SHORT, struct.pack("<H", 1)),
        0x0131: _text("exif software"),
        0x013B: _text("exif artist"),
        0x8298: _text("exif copyright"),
        0x9C9B: (1, TEXTS["exif windows title"].encode("utf-16-le")),
        0x8769: (_LONG, bytes(4)),
        0x8825: (_LONG, bytes(4)),
    }
    detail_at = 8 + len(_directory(main, 8))
    gps_at = detail_at + len(_directory(detail, detail_at))
    small_at = gps_at + len(_directory(gps, gps_at))
    main[0x8769], main[0x8825] = (_LONG, struct.pack("<I", detail_at)), (_LONG, struct.pack("<I", gps_at))
    small = {
        0x0103: (_SHORT, struct.pack("<H", 6)),
        0x0201: (_LONG, struct.pack("<I", small_at + 2 + 12 * 3 + 4)),
        0x0202: (_LONG, struct.pack("<I", len(thumbnail()))),
    }
    parts = [
        struct.pack("<2sHI", b"II", 42, 8),
        _directory(main, 8, following=small_at),
        _directory(detail, detail_at),
        _directory(gps, gps_at),
        _directory(small, small_at),
        thumbnail(),
    ]
    return b"".join(parts)


def _icc() -> bytes:
    text = TEXTS["icc"].encode()
    tag = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(79)
    tag += bytes(-len(tag) % 4)
    head = bytearray(128)
    head[0:4], head[8:12] = struct.pack(">I", 144 + len(tag)), b"\2\0\0\0"
    head[12:24], head[36:40] = b"mntrRGB XYZ ", b"acsp"
    return bytes(head) + struct.pack(">I4sII", 1, b"desc", 144, len(tag)) + tag


def _xmp(name: str) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>{TEXTS[name]}</dc:creator></x:xmpmeta>'.encode()


def jpeg(image_srgb: ByteArray) -> bytes:
    """Encode a JPEG with EXIF, XMP, ICC, IPTC, a comment, and bytes behind its end."""
    data = cv2.imencode(".jpg", cv2.cvtColor(image_srgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    byline = TEXTS["iptc"].encode()
    record = b"\x1c\x02\x50" + struct.pack(">H", len(byline)) + byline
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    segments = [
        (0xE1, b"Exif\0\0" + exif_block()),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _xmp("xmp")),
        (0xE2, b"ICC_PROFILE\0\1\1" + _icc()),
        (0xED, resource),
        (0xFE, TEXTS["jpeg comment"].encode()),
    ]
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in segments)
    return data[:2] + head + data[2:] + TEXTS["after the end"].encode() + b"\xff\xd9"


def png(image_srgb: ByteArray) -> bytes:
    """Encode a PNG with eXIf, iCCP and the three kinds of text."""
    data = cv2.imencode(".png", cv2.cvtColor(image_srgb, cv2.COLOR_RGB2BGR))[1].tobytes()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    extra = (
        chunk(b"iCCP", b"p\0\0" + zlib.compress(_icc()))
        + chunk(b"eXIf", exif_block())
        + chunk(b"tEXt", b"Author\0" + TEXTS["png text"].encode())
        + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(TEXTS["png zipped text"].encode()))
        + chunk(b"iTXt", b"Title\0\0\0\0\0" + TEXTS["png international"].encode())
    )
    return data[:33] + extra + data[33:]


def write_photos(folder: Path, images: list[ByteArray]) -> Path:
    """Write photos with the person's name, every third a PNG; GPS in a track beside them, too."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images, start=1):
        suffix, encode = (".png", png) if number % 3 == 0 else (".JPG", jpeg)
        (folder / f"{PERSON} {number}{suffix}").write_bytes(encode(image))
    return folder


def write_video(path: Path, images: list[ByteArray]) -> Path:
    """Encode a QuickTime film with location, device and user data, as phones and editors write them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(
            {
                "title": TEXTS["video title"],
                "artist": TEXTS["video artist"],
                "location": TEXTS["video location"],
                "com.apple.quicktime.location.ISO6709": TEXTS["video apple location"],
                "com.apple.quicktime.make": TEXTS["video make"],
                "com.apple.quicktime.model": TEXTS["video model"],
                "comment": TEXTS["video comment"],
                "creation_time": TEXTS["video date"],
                "source": f"{PERSON}.mov",
            }
        )
        settings = {"preset": "ultrafast", "crf": "10", "threads": "1"}
        stream: Any = container.add_stream("libx264", rate=2, options=settings)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.metadata["handler_name"] = TEXTS["video track name"]
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    free, xmp = TEXTS["video free atom"].encode(), bytes(range(16)) + _xmp("video xmp atom")
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", len(free) + 8, b"free") + free)
        file.write(struct.pack(">I4s", len(xmp) + 8, b"uuid") + xmp)
    return path
