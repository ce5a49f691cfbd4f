"""Write a capture's stills: one pass over the video, colours converted only for what is kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.frames.blur import Blur
from walkaround.frames.measure import SHARPNESS_LONG_SIDE_PX, focus, sharpness
from walkaround.frames.motion import TRACK_LONG_SIDE_PX, MotionMeter, is_near_duplicate
from walkaround.frames.options import FramesOptions
from walkaround.io.atomic import output_error
from walkaround.io.image import MAX_PIXELS, decode_photo, read_file, shrink, write_jpeg
from walkaround.io.video import VideoReader
from walkaround.io.video_frame import DecodedFrame
from walkaround.types import ByteArray, CaptureInfo, Frame, Progress, no_progress

logger = logging.getLogger(__name__)

_MIDDLE_SHARE = 0.6
"""Of an interval: candidates come from its middle, so that neighbours do not meet at the border."""
_CANDIDATES = 16
"""At most so many frames of an interval are measured, evenly; long videos have hundreds."""


@dataclass(frozen=True, kw_only=True)
class FramesResult:
    """The kept stills, in order, and what was measured on them."""

    frames: tuple[Frame, ...]
    scores: dict[str, float]
    focal_prior_px: float | None = None
    """The capture's focal prior, for the images as written."""
    notes: dict[str, Any] = field(default_factory=dict)
    """With blur models: ``blurred_regions`` and ``blurred_frames``, both numbers."""
    warnings: tuple[str, ...] = ()


@dataclass
class _Written:
    """What is known of a still once it is on disk."""

    sharpness: float
    brightness: float


def extract_frames(
    source: Path,
    capture: CaptureInfo,
    image_dir: Path,
    *,
    options: FramesOptions,
    progress: Progress = no_progress,
    num_threads: int = 0,
    every: tuple[int, int] = (1, 0),
) -> FramesResult:
    """Write ``image_dir/001.jpg`` ... and return what they are.

    A video's time is cut into ``num_frames`` equal intervals by its real time stamps; the sharpest frame
    in each interval's middle is kept unless it is nearly the one before. Photos are all kept.
    JPEG files of an earlier run in ``image_dir`` are removed first.

    Parameters
    ----------
    source
        The video; for photos ``capture.photo_paths`` is read instead.
    num_threads
        For decoding; 0 takes all cores.
    every
        Period and phase: of a video only the frames phase, phase + period, ... are looked at.

    Returns
    -------
    FramesResult
        Scores: ``num_frames``; ``sharpness`` (median, 0..1); ``brightness`` (mean luma, 0..1); for videos
        those of :class:`walkaround.frames.motion.MotionMeter` where they could be measured.

    Raises
    ------
    InputError
        Nothing can be decoded.
    OutputError
        ``image_dir`` is read-only or the disk is full.
    UsageError
        A blur model cannot be used.
    """
    _clear(image_dir)
    motion: dict[str, float] = {}
    warnings: list[str] = []
    with _Writer(image_dir, options) as writer:
        if capture.kind == "photos":
            frames = _copy_photos(capture, writer, progress)
        else:
            frames, motion, warnings = _pick_frames(
                source, capture, writer, options, progress, num_threads, every
            )
        written = writer.finish()
    return FramesResult(
        frames=tuple(frames),
        scores={**_scores_of(written), **motion},
        focal_prior_px=_focal_of_stills(capture, options.long_side_px),
        notes=writer.notes(),
        warnings=tuple(warnings),
    )


def _scores_of(written: list[_Written]) -> dict[str, float]:
    """Return how many stills there are, how sharp and how bright."""
    return {
        "num_frames": float(len(written)),
        "sharpness": float(np.median([w.sharpness for w in written])),
        "brightness": float(np.mean([w.brightness for w in written])),
    }


def _focal_of_stills(capture: CaptureInfo, long_side_px: int) -> float | None:
    """Return the focal length of the stills, in their pixels; None when the capture's is unknown."""
    if capture.focal_prior_px is None:
        return None
    return capture.focal_prior_px * min(1.0, long_side_px / max(capture.width, capture.height))


class _Writer:
    """Converts and writes stills beside the decoding, in one thread, at most two waiting."""

    def __init__(self, image_dir: Path, options: FramesOptions) -> None:
        self._dir = image_dir
        self._options = options
        self._pool = ThreadPoolExecutor(1, "frames")
        self._jobs: list[Future[_Written]] = []
        self._blur: Blur | None = None
        if options.blur_models:
            self._blur = Blur(options.blur_models, min_score=options.blur_min_score)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, picture: DecodedFrame | Path) -> str:
        """Queue a picture and return the name it gets."""
        if len(self._jobs) >= 2:
            self._jobs[-2].result()
        name = f"{len(self._jobs) + 1:03d}.jpg"
        self._jobs.append(self._pool.submit(self._write, picture, self._dir / name))
        return name

    def finish(self) -> list[_Written]:
        """Wait for all stills; raises what went wrong."""
        return [job.result() for job in self._jobs]

    def notes(self) -> dict[str, Any]:
        """Say how much was blurred."""
        if self._blur is None:
            return {}
        return {"blurred_regions": self._blur.num_regions, "blurred_frames": self._blur.num_frames}

    def _write(self, picture: DecodedFrame | Path, path: Path) -> _Written:
        if isinstance(picture, Path):
            # the capture stage has seen its size, and what the user allows
            image = decode_photo(read_file(picture), str(picture), max_pixels=None).image_srgb
            image = shrink(image, self._options.long_side_px)
        else:
            image = picture.image_srgb(self._options.long_side_px)
        if self._blur is not None:
            image = self._blur(image)
        write_jpeg(path, image, self._options.jpeg_quality)
        gray = shrink(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), SHARPNESS_LONG_SIDE_PX)
        return _Written(sharpness(gray), float(gray.mean()) / 255.0)


def _copy_photos(capture: CaptureInfo, writer: _Writer, progress: Progress) -> list[Frame]:
    frames = []
    for i, path in enumerate(capture.photo_paths):
        frames.append(Frame(index=i + 1, image=writer.put(path), source_index=i, timestamp_s=None))
        progress((i + 1) / len(capture.photo_paths))
    return frames


def _pick_frames(
    source: Path,
    capture: CaptureInfo,
    writer: _Writer,
    options: FramesOptions,
    progress: Progress,
    num_threads: int,
    every: tuple[int, int],
) -> tuple[list[Frame], dict[str, float], list[str]]:
    interval_s = capture.duration_s / max(1, options.num_frames)
    meter = MotionMeter(duration_s=capture.duration_s, interval_s=interval_s)
    frames: list[Frame] = []
    before: ByteArray | None = None
    max_pixels = max(MAX_PIXELS, capture.width * capture.height)
    with VideoReader(source, num_threads=num_threads, max_pixels=max_pixels) as reader:
        decoded = _watched(reader, meter, capture.duration_s, progress, every)
        keep_all = capture.num_frames <= options.num_frames * every[0]
        for best in decoded if keep_all else _sharpest(decoded, interval_s, options.num_frames):
            luma = best.luma(TRACK_LONG_SIDE_PX)
            if before is not None and is_near_duplicate(before, luma):
                continue
            before = luma
            name = writer.put(best)
            frames.append(
                Frame(
                    index=len(frames) + 1,
                    image=name,
                    source_index=best.source_index,
                    timestamp_s=round(best.timestamp_s, 6),
                )
            )
        damaged = reader.num_damaged
    if not frames:
        raise InputError(f"No frame of {source} can be decoded. Pass a video that plays.")
    warnings = [f"{damaged} damaged pieces of the video were skipped."] if damaged else []
    progress(1.0)
    return frames, meter.scores(), warnings


def _watched(
    reader: VideoReader, meter: MotionMeter, duration_s: float, progress: Progress, every: tuple[int, int]
) -> Iterator[DecodedFrame]:
    """Pass the frames on, showing some of them to the motion meter."""
    for frame in reader.frames():
        if frame.source_index % every[0] != every[1]:
            continue
        if meter.wants(frame.timestamp_s):
            meter.add(frame.timestamp_s, frame.luma(TRACK_LONG_SIDE_PX))
        yield frame
        if duration_s > 0:
            progress(min(1.0, frame.timestamp_s / duration_s))


@dataclass
class _Best:
    """The best frame of an interval so far: the sharpest of its middle, else the nearest to its centre."""

    frame: DecodedFrame | None = None
    rank: tuple[int, float] = (0, 0.0)
    last_measured_s: float = field(default=-1e9)


def _sharpest(decoded: Iterator[DecodedFrame], interval_s: float, count: int) -> Iterator[DecodedFrame]:
    """Yield one frame an interval. Intervals without any frame (a gap in the video) yield none."""
    best, current = _Best(), 0
    for frame in decoded:
        place = frame.timestamp_s / interval_s if interval_s > 0 else 0.0
        index = max(current, min(count - 1, int(place)))  # time stamps may step back
        if index > current:
            if best.frame is not None:
                yield best.frame
            best, current = _Best(), index
        off_centre = abs(place - index - 0.5)
        if off_centre > _MIDDLE_SHARE / 2:
            rank = (0, -off_centre)
        elif abs(frame.timestamp_s - best.last_measured_s) < interval_s * _MIDDLE_SHARE / _CANDIDATES:
            continue
        else:
            rank = (1, focus(frame.luma(SHARPNESS_LONG_SIDE_PX)))
            best.last_measured_s = frame.timestamp_s
        if best.frame is None or rank > best.rank:
            best.frame, best.rank = frame, rank
    if best.frame is not None:
        yield best.frame


def _clear(image_dir: Path) -> None:
    """Remove the stills of an earlier run, so that none outlives a run that keeps fewer."""
    try:
        image_dir.mkdir(parents=True, exist_ok=True)
        for path in image_dir.iterdir():
            if re.fullmatch(r"\d{3,}\.jpg", path.name):
                path.unlink()
    except OSError as error:
        raise output_error(image_dir, error) from error
