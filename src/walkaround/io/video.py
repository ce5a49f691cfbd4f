"""Video in: what a file holds, its frames in order, and a frame as correct 8-bit sRGB.

A :class:`VideoReader` decodes without converting: a :class:`DecodedFrame` gives its luma plane almost
for free and its colours only when asked, so that the frames nobody keeps cost their decoding and no more.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.errors import InputError
from walkaround.io.color import srgb_from_signal
from walkaround.types import ByteArray

logger = logging.getLogger(__name__)

# Real containers and raw streams only: a playlist or a script that is named .mp4 must not make libav
# open other files, and nothing may reach the network.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,ivf,h264,hevc,obu,m4v,mjpeg,gif"
_TRANSFERS = {16: "pq", 18: "hlg"}  # H.273 table 3; every other curve is shown as it is
_PRIMARIES = {9: "bt2020", 11: "p3", 12: "p3"}  # H.273 table 2; SD primaries are taken as BT.709
_MATRICES = {1: "ITU709", 4: "FCC", 5: "SMPTE170M", 6: "SMPTE170M", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
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
    bit_depth: int
    transfer: str
    primaries: str


class DecodedFrame:
    """A frame as the decoder left it.

    Attributes
    ----------
    source_index
        0-based, in the order of decoding.
    timestamp_s
        From the first frame of the file.
    """

    def __init__(self, frame: Any, source_index: int, timestamp_s: float, pixel_aspect: float) -> None:
        self._frame = frame
        self._pixel_aspect = pixel_aspect
        self.source_index = source_index
        self.timestamp_s = timestamp_s

    def luma(self, long_side_px: int) -> ByteArray:  # (h, w)
        """Return the luma plane, not rotated, shrunk by the whole factor that comes closest to the size.

        Whole factors take OpenCV's fast path: 1080p to 960 px costs well under a millisecond.
        """
        plane = _luma_plane(self._frame)
        factor = max(1, round(max(plane.shape) / long_side_px))
        if factor > 1:
            size = (max(1, plane.shape[1] // factor), max(1, plane.shape[0] // factor))
            whole = plane[: size[1] * factor, : size[0] * factor] if min(plane.shape) >= factor else plane
            plane = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        return plane if plane.dtype == np.uint8 else (plane >> (_bit_depth(self._frame) - 8)).astype(np.uint8)

    def image_srgb(self, long_side_px: int | None = None) -> ByteArray:  # (H, W, 3)
        """Return the picture as shown, in 8-bit sRGB, shrunk to ``long_side_px`` if it is larger."""
        frame = self._frame
        transfer, primaries = _transfer(frame), _primaries(frame)
        plain = transfer == "srgb" and primaries == "bt709"
        signal = _rgb_signal(frame, "rgb24" if plain else "rgb48le")
        signal = _resize(signal, self._pixel_aspect, long_side_px)
        image = signal if plain else srgb_from_signal(signal, transfer=transfer, primaries=primaries)
        return np.ascontiguousarray(_as_shown(image, *_orientation(frame)), dtype=np.uint8)


class VideoReader:
    """A video file, open for reading. Use it as a context manager.

    Raises
    ------
    InputError
        The file is missing, empty, not a video, or holds only sound.
    """

    def __init__(self, path: Path, *, num_threads: int = 0) -> None:
        self._path = path
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
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

    def packet_times(self) -> list[float]:
        """Return the presentation times of all readable packets in seconds, ascending; decodes nothing."""
        times: list[float] = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                stamp = packet.pts if packet.pts is not None else packet.dts
                times.append(float(stamp * packet.time_base) if stamp is not None else len(times) / 30.0)
        except av.error.FFmpegError as error:
            logger.debug("reading %s ended early: %s", self._path, error)
        self._container.seek(0)
        return sorted(times)

    def first_frame(self) -> Any:
        """Return libav's first frame that decodes."""
        for frame in self._decode():
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


def probe_video(path: Path) -> VideoInfo:
    """Read what a video holds: every packet's time, but only one decoded frame.

    Raises
    ------
    InputError
        The file is missing, empty, not a video, holds only sound, or no frame decodes.
    """
    with VideoReader(path, num_threads=1) as reader:
        times = reader.packet_times()
        frame = reader.first_frame()
        turn, _ = _orientation(frame)
        shown_hw = _square_pixel_hw(frame.height, frame.width, reader.pixel_aspect)
        height, width = shown_hw[::-1] if turn % 180 else shown_hw
        duration, rate, variable = _timing(times)
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
            num_frames=len(times),
            promised_frames=reader.promised_frames,
            bit_depth=_bit_depth(frame),
            transfer=_transfer(frame),
            primaries=_primaries(frame),
        )


def _open(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the name; it must be a video or a folder of photos.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes). Copy it again from the camera.")
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


def _bit_depth(frame: Any) -> int:
    return int(frame.format.components[0].bits)


def _transfer(frame: Any) -> str:
    return _TRANSFERS.get(int(frame.color_trc), "srgb")


def _primaries(frame: Any) -> str:
    tagged = _PRIMARIES.get(int(frame.color_primaries))
    if tagged is None and _transfer(frame) != "srgb":
        return "bt2020"  # BT.2100 knows no other
    return tagged or "bt709"


def _matrix(frame: Any) -> str:
    """Name the YCbCr matrix; where the file does not say, HDR is BT.2020, HD BT.709, the rest BT.601."""
    tagged = _MATRICES.get(int(frame.colorspace))
    if tagged is not None:
        return tagged
    if _primaries(frame) == "bt2020":
        return "BT2020"
    return "ITU709" if frame.width >= 1280 or frame.height > 576 else "SMPTE170M"


def _rgb_signal(frame: Any, pixel_format: str) -> NDArray[Any]:  # (H, W, 3)
    """Return full-range R'G'B', still coded with the video's curve and primaries."""
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    kind = av.video.reformatter.Interpolation
    flags = kind.BILINEAR | kind.ACCURATE_RND | kind.FULL_CHR_H_INT | kind.BITEXACT
    extra: dict[str, Any] = {}
    if not frame.format.is_rgb:
        matrix = av.video.reformatter.Colorspace[_matrix(frame)]
        extra = {"src_colorspace": matrix, "src_color_range": 2 if full else 1, "dst_color_range": 2}
    rgb = frame.reformat(format=pixel_format, interpolation=flags, threads=1, **extra)
    signal: NDArray[Any] = rgb.to_ndarray()
    return signal


def _luma_plane(frame: Any) -> NDArray[Any]:  # (H, W) uint8 or uint16
    """View the frame's first plane where it is luma; else convert."""
    name, depth = frame.format.name, _bit_depth(frame)
    planar = name.startswith(("yuv", "nv", "gray")) and not name.startswith("yuyv")
    if not planar or (depth > 8 and not name.endswith("le")):
        frame = frame.reformat(format="gray")
        depth = 8
    plane = frame.planes[0]
    kind = np.uint8 if depth <= 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return rows[: frame.height, : frame.width]


def _orientation(frame: Any) -> tuple[int, bool]:
    """Return the clockwise turn in degrees (0, 90, 180, 270) and whether to mirror left-right after it."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].astype(float) / 65536.0
    mirrored = a * d - b * c < 0
    if mirrored:  # undo the mirror on the output's x axis
        a, c = -a, -c
    turn = round(np.degrees(np.arctan2(b, a)) / 90.0) * 90 % 360
    return int(turn), bool(mirrored)


def _as_shown(image: ByteArray, turn: int, mirrored: bool) -> ByteArray:
    turned = np.rot90(image, -turn // 90)
    return turned[:, ::-1] if mirrored else turned


def _square_pixel_hw(height: int, width: int, pixel_aspect: float) -> tuple[int, int]:
    return height, max(1, round(width * pixel_aspect))


def _resize(image: NDArray[Any], pixel_aspect: float, long_side_px: int | None) -> NDArray[Any]:
    height, width = _square_pixel_hw(image.shape[0], image.shape[1], pixel_aspect)
    scale = min(1.0, long_side_px / max(height, width)) if long_side_px else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image
    resized: NDArray[Any] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return resized
