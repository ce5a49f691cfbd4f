"""Video out: H.264 in an mp4, 8 bits, BT.709; the same pictures give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from walkaround.errors import InputError
from walkaround.io.atomic import atomic_path
from walkaround.types import ByteArray


class Mp4Writer:
    """An mp4 that is being written. H.264 with one thread; BT.709, 4:2:0. Use it as a context manager.

    Parameters
    ----------
    size
        Width and height, both even.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, *, crf: int) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.thread_count = 1
        context.colorspace, context.color_range = 1, 1
        context.color_primaries, context.color_trc = 1, 1
        # even with one thread x264 gives other bytes now and then: with adaptive quantisation about once in
        # 30 runs; with weighted prediction and macroblock tree once in four where a side is no multiple of 16
        self._stream.options = {
            "crf": str(crf), "preset": "medium", "threads": "1",
            "x264-params": "aq-mode=0:weightp=0:mbtree=0",
        }  # fmt: skip

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
        finally:
            self._container.close()

    def add(self, image_srgb: ByteArray) -> None:
        """Append one picture (H, W, 3)."""
        frame = av.VideoFrame.from_ndarray(_to_yuv420(image_srgb), format="yuv420p")
        frame.colorspace, frame.color_range = 1, 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def write_mp4(path: Path, images_srgb: Iterable[ByteArray], *, frame_rate: float, crf: int = 16) -> None:
    """Encode pictures (H, W, 3) as a video, atomically; an odd last row or column is left out.

    Raises
    ------
    InputError
        There is no picture, or it is smaller than 2 x 2.
    OutputError
        The folder is read-only or the disk is full.
    """
    images = iter(images_srgb)
    first = next(images, None)
    if first is None or min(first.shape[:2]) < 2:
        raise InputError(f"{path.name} needs at least one picture of 2 x 2 pixels or more.")
    height, width = (side // 2 * 2 for side in first.shape[:2])
    rate = Fraction(frame_rate).limit_denominator(1001)
    with atomic_path(path) as temporary, Mp4Writer(temporary, (width, height), rate, crf=crf) as writer:
        for image in chain([first], images):
            writer.add(image[:height, :width])


def _to_yuv420(image_srgb: ByteArray) -> ByteArray:
    """Planes (3/2 H, W) of BT.709, limited range, chroma sited left.

    libswscale's result depends on where the arrays lie in memory; this one does not.
    """
    height, width = image_srgb.shape[:2]
    r, g, b = np.moveaxis(image_srgb.astype(np.float32), 2, 0)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    planes = [16 + luma * (219 / 255)]
    for channel, scale in ((b, 1.8556), (r, 1.5748)):
        chroma = (channel - luma) * (224 / 255 / scale)
        rows = 0.5 * (chroma[::2] + chroma[1::2])
        left = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
        planes.append(128 + 0.5 * rows[:, ::2] + 0.25 * (left + rows[:, 1::2]))
    flat = np.concatenate([plane.ravel() for plane in planes])
    return np.clip(np.rint(flat), 0, 255).astype(np.uint8).reshape(height * 3 // 2, width)
