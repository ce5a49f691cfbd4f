"""Video in: what a file holds, its frames in order, and a frame as correct 8-bit sRGB.

A :class:`VideoReader` decodes without converting: a :class:`DecodedFrame` gives its luma plane almost
for free and its colours only when asked, so that the frames nobody keeps cost their decoding and no more.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from walkaround.errors import InputError
from walkaround.io.image import MAX_PIXELS
from walkaround.io.video_frame import (
    DecodedFrame,
    bit_depth,
    orientation,
    primaries,
    square_pixel_hw,
    transfer,
)

logger = logging.getLogger(__name__)

# Real containers and raw streams only: a playlist or a script that is named .mp4 must not make libav
# open other files, and nothing may reach the network.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,ivf,h264,hevc,obu,m4v,mjpeg,gif"
MAX_FRAMES = 100_000
"""A video of which more are read is not read further."""
_REMEDY = "Pass a video that plays, for example an .mp4 or .mov from a phone, or a folder of photos."


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video file holds. Sizes are of the picture as shown: rotated, with square pixels."""

    codec: str
    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation_deg: int
    """Clockwise turn from the coded to the shown picture: 0, 90, 180 or 270."""
    frame_rate: float
    variable_frame_rate: bool
    duration_s: float
    num_frames: int
    """Packets that can be read: what a truncated file still has, not what its header promises."""
    promised_frames: int
    """What the header says; 0 when it says nothing."""
    promised_s: float
    """Duration that the header says; 0 when it says nothing."""
    cut_off: bool
    """Whether the file ends before its header says, or in the middle of a packet."""
    bit_depth: int
    transfer: str
    primaries: str


@dataclass(frozen=True, kw_only=True)
class PacketScan:
    """What all readable packets of a file say, without decoding."""

    times_s: list[float]
    """Presentation times of the picture's packets, ascending."""
    end_s: float
    """Where the last packet of picture or sound ends."""
    torn: bool
    """Whether reading ended with an error, or the last packet of the picture is incomplete."""


class VideoReader:
    """A video file, open for reading. Use it as a context manager.

    Parameters
    ----------
    max_pixels
        Decode no larger picture, also when the size changes in the middle.

    Raises
    ------
    InputError
        The file is missing, empty, not a video, holds only sound, or its pictures are too large.
    """

    def __init__(self, path: Path, *, num_threads: int = 0, max_pixels: int = MAX_PIXELS) -> None:
        self._path = path
        self._max_pixels = max_pixels
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            self.check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self._stream.codec_context.options = {"max_pixels": str(max_pixels)}
        except InputError:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = num_threads
        aspect = self._stream.sample_aspect_ratio
        self._pixel_aspect = float(aspect) if aspect else 1.0
        self.num_damaged = 0
        """Packets that could not be decoded so far."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[DecodedFrame]:
        """Decode once, from the start. Damaged packets are skipped and counted in ``num_damaged``."""
        counter = itertools.count()
        start: float | None = None
        last = -1.0
        for frame in self._decode():
            index = next(counter)
            time = frame.time if frame.time is not None else (last + 1 / 30 if start is not None else 0.0)
            last = time
            start = time if start is None else start
            yield DecodedFrame(frame, index, time - start, self._pixel_aspect)

    def check_size(self, width: int, height: int) -> None:
        """Raise InputError when a picture of this size is too large."""
        if width * height > self._max_pixels:
            raise InputError(
                f"The pictures of {self._path} have {width} x {height} pixels; at most {self._max_pixels} "
                "are decoded. Shrink the video, or raise --capture.max-pixels."
            )

    def scan(self, *, max_frames: int = MAX_FRAMES) -> PacketScan:
        """Read all packets and decode none. Leaves the file at its end: open another reader to decode.

        Nothing more is read after ``max_frames`` and one.
        """
        times: list[float] = []
        end, torn = 0.0, False
        streams = [s for s in self._container.streams if s.type in ("video", "audio")]
        try:
            for packet in self._container.demux(streams):
                if packet.size == 0 or packet.is_discard:
                    continue
                stamp = packet.pts if packet.pts is not None else packet.dts
                time = float(stamp * packet.time_base) if stamp is not None else len(times) / 30.0
                length = float(packet.duration * packet.time_base) if packet.duration else 0.0
                end = max(end, time + length)
                if packet.stream_index == self._stream.index:
                    times.append(time)
                    torn = bool(packet.is_corrupt)
                    if len(times) > max_frames:
                        break
        except av.error.FFmpegError as error:
            torn = True
            logger.debug("reading %s ended early: %s", self._path, error)
        return PacketScan(times_s=sorted(times), end_s=end, torn=torn)

    def first_frame(self) -> Any:
        """Return libav's first frame that decodes."""
        for frame in self._decode():
            self.check_size(frame.width, frame.height)
            return frame
        raise InputError(f"No frame of {self._path} can be decoded. {_REMEDY}")

    @property
    def codec(self) -> str:
        """Libav's name of the codec."""
        return str(self._stream.codec_context.codec.canonical_name)

    @property
    def promised_frames(self) -> int:
        """The number of frames in the header; 0 when it has none."""
        return int(self._stream.frames)

    @property
    def promised_s(self) -> float:
        """The duration in the header, of the picture or else of the whole file; 0 when it has none."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        if tag:  # Matroska
            return 3600.0 * float(tag[1]) + 60.0 * float(tag[2]) + float(tag[3])
        return max(0.0, float(self._container.duration or 0) / av.time_base)

    @property
    def pixel_aspect(self) -> float:
        """Width over height of a coded pixel."""
        return self._pixel_aspect

    def _decode(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:  # the file ends in the middle of a packet
                logger.debug("reading %s ended early: %s", self._path, error)
                packet = None
            try:
                yield from self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:
                self.num_damaged += 1
                logger.debug("a packet of %s cannot be decoded: %s", self._path, error)
            if packet is None:
                return


def probe_video(path: Path, *, max_pixels: int = MAX_PIXELS, max_frames: int = MAX_FRAMES) -> VideoInfo:
    """Read what a video holds: every packet's time, but only one decoded frame.

    Parameters
    ----------
    max_pixels
        See :class:`VideoReader`.
    max_frames
        Of a video with more, ``num_frames`` is this and one, and the duration that of so many.

    Raises
    ------
    InputError
        The file is missing, empty, not a video, holds only sound, no frame decodes, or they are too large.
    """
    with VideoReader(path, num_threads=1, max_pixels=max_pixels) as reader:
        scan = reader.scan(max_frames=max_frames)
    with VideoReader(path, num_threads=1, max_pixels=max_pixels) as reader:
        frame = reader.first_frame()
        turn, _ = orientation(frame)
        shown_hw = square_pixel_hw(frame.height, frame.width, reader.pixel_aspect)
        height, width = shown_hw[::-1] if turn % 180 else shown_hw
        reader.check_size(width, height)  # a header may state pixels a thousand times as wide as high
        duration, rate, variable = _timing(scan.times_s)
        return VideoInfo(
            codec=reader.codec,
            coded_width=frame.width,
            coded_height=frame.height,
            width=width,
            height=height,
            rotation_deg=turn,
            frame_rate=rate,
            variable_frame_rate=variable,
            duration_s=duration,
            num_frames=len(scan.times_s),
            promised_frames=reader.promised_frames,
            promised_s=reader.promised_s,
            cut_off=len(scan.times_s) <= max_frames and (scan.torn or ends_early(scan, reader.promised_s)),
            bit_depth=bit_depth(frame),
            transfer=transfer(frame),
            primaries=primaries(frame),
        )


def ends_early(scan: PacketScan, promised_s: float) -> bool:
    """Return whether the packets end clearly (two pictures, 0.1 s and 1 %) before the promised duration.

    The count of frames in the header is no measure: AVI counts ticks there, and edit lists leave frames out.
    """
    if len(scan.times_s) < 2:
        return False
    step = float(np.median(np.diff(scan.times_s)))
    end = max(scan.end_s, scan.times_s[-1] + step)
    return promised_s - end > max(0.1, 1.5 * step, 0.01 * promised_s)


def _open(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the name; it must be a video or a folder of photos.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes). Copy it again from the camera.")
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder. {_REMEDY}")
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        return av.open(f"file:{path.resolve()}", options=options)
    except PermissionError as error:
        raise InputError(f"{path} may not be read (permission denied). Change its rights.") from error
    except (av.error.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} is not a video that can be read, or its index is cut off ({reason}). {_REMEDY}"
        ) from error


def _video_stream(container: Any, path: Path) -> Any:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kinds = sorted({s.type for s in container.streams}) or ["nothing"]
        raise InputError(f"{path} has no picture, only {' and '.join(kinds)}. {_REMEDY}")
    if streams[0].codec_context is None:
        raise InputError(f"{path} is in a video codec that cannot be decoded here. Convert it to H.264.")
    return streams[0]


def _timing(times: list[float]) -> tuple[float, float, bool]:
    """Return the duration in seconds, the mean frame rate, and whether the steps between frames vary.

    Variable means: over 2 % of the steps differ from the median step by more than a fifth.
    """
    if len(times) < 2:
        return 0.0, 0.0, False
    steps = np.diff(times)
    median = float(np.median(steps))
    span = times[-1] - times[0]
    if span <= 0 or median <= 0:
        return 0.0, 0.0, False
    variable = float(np.mean(np.abs(steps - median) > 0.2 * median)) > 0.02
    return span + median, (len(times) - 1) / span, variable
