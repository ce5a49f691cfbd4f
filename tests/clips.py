"""Tiny videos and photos with known content, for the tests of capture, frames, video and image."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.types import ByteArray

# Recommendation ITU-R BT.601, BT.709 and BT.2020: weights of red and blue in luma
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def texture(height: int, width: int, seed: int = 0, cell: int = 8) -> ByteArray:
    """Return a smooth random colour picture, rich in corners."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (max(2, height // cell), max(2, width // cell), 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def walk(num_frames: int, *, height: int = 240, width: int = 320, step: int = 3) -> list[ByteArray]:
    """Return frames of a camera that passes a textured wall by ``step`` px a frame."""
    wall = texture(height, width + step * num_frames, seed=1)
    return [np.ascontiguousarray(wall[:, step * i : step * i + width]) for i in range(num_frames)]


def hand_held(num_frames: int, *, height: int = 240, width: int = 320) -> list[ByteArray]:
    """Return frames of a textured object that circles before a standing, textured background."""
    background, thing = texture(height, width, seed=2), texture(90, 110, seed=3, cell=5)
    frames = []
    for i in range(num_frames):
        frame = background.copy()
        x, y = int(105 + 40 * np.sin(i / 8)), int(75 + 20 * np.cos(i / 8))
        frame[y : y + 90, x : x + 110] = thing
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    images: Iterable[ByteArray],
    *,
    rate: int = 30,
    times: list[float] | None = None,
    rotation: tuple[float, bool] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB images as H.264; ``times`` in seconds give variable steps."""
    ticks = 600
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = None
        for i, image in enumerate(images):
            if stream is None:
                settings = {"preset": "ultrafast", "crf": "12", "threads": "1", **(options or {})}
                stream = container.add_stream("libx264", rate=rate, options=settings)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, ticks)
                if rotation is not None:
                    stream.set_display_rotation(rotation[0], hflip=rotation[1])
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = round((times[i] if times else i / rate) * ticks)
            frame.time_base = Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def yuv_code(rgb: tuple[float, float, float], *, matrix: str, bits: int, full: bool) -> tuple[int, ...]:
    """Quantise a coded R'G'B' colour 0..1 as Y'CbCr (BT.709, section 3; BT.2020, table 5)."""
    red, blue = LUMA_WEIGHTS[matrix]
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    cb, cr = (rgb[2] - luma) / (2 - 2 * blue), (rgb[0] - luma) / (2 - 2 * red)
    scale = 1 << (bits - 8)
    if full:
        top = 256 * scale - 1
        return round(luma * top), round(cb * top + 128 * scale), round(cr * top + 128 * scale)
    return (
        round((219 * luma + 16) * scale),
        round((224 * cb + 128) * scale),
        round((224 * cr + 128) * scale),
    )


def write_flat(
    path: Path,
    code: tuple[int, ...],
    *,
    codec: str,
    pixel_format: str,
    tags: dict[str, int],
    num_frames: int = 3,
) -> Path:
    """Encode frames of one flat Y'CbCr colour, tagged as ``tags`` say (numbers of ITU-T H.273)."""
    lossless = {
        "libx264": {"qp": "0", "threads": "1"},
        "libx265": {"x265-params": "lossless=1:log-level=none"},
    }
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=30, options=lossless.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for i in range(3):
            frame = av.VideoFrame(64, 64, pixel_format)
            for plane, value in zip(frame.planes, code, strict=True):
                kind: Any = np.uint16 if "10" in pixel_format else np.uint8
                samples: NDArray[Any] = np.full(plane.buffer_size // np.dtype(kind).itemsize, value, kind)
                plane.update(samples.tobytes())
            for name, value in tags.items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def exif_block(
    orientation: int,
    focal_35mm: int = 0,
    order: str = "<",
    *,
    exposure: tuple[int, int] | None = None,
    speed: int = 0,
) -> bytes:
    """Return a TIFF block with an orientation and, if given, a 35-mm focal length and an exposure time."""
    shorts = {0x8827: speed, 0xA405: focal_35mm}
    own = [struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items() if value]
    num_detail = len(own) + (exposure is not None)
    entries = [struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)]
    if num_detail:
        entries.append(struct.pack(order + "HHII", 0x8769, 4, 1, 38))
    main = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    tail = b""
    if exposure is not None:
        own.insert(0, struct.pack(order + "HHII", 0x829A, 5, 1, 38 + 2 + 12 * num_detail + 4))
        tail = struct.pack(order + "II", *exposure)
    detail = struct.pack(order + "H", num_detail) + b"".join(own) + bytes(4) + tail
    head = struct.pack(("<2sHI" if order == "<" else ">2sHI"), b"II" if order == "<" else b"MM", 42, 8)
    return head + main + (detail if num_detail else b"")


def jpeg_with_exif(image_srgb: ByteArray, block: bytes) -> bytes:
    """Encode a JPEG and put an EXIF block behind its first marker."""
    data = bytes(cv2.imencode(".jpg", cv2.cvtColor(image_srgb, cv2.COLOR_RGB2BGR))[1])
    body = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
