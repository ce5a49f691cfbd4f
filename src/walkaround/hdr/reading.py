"""A clip of alternating exposures as it lies on disk: a video, or a folder of images in natural order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.io.exif import read_exif
from walkaround.io.image import PHOTO_SUFFIXES, decode_stored, natural_order, read_file, turned_upright
from walkaround.io.radiance import RADIANCE_SUFFIXES, read_exposure_ev, read_radiance
from walkaround.io.video import VideoReader, probe_video
from walkaround.types import Float32Array

_OVER_WHITE = 1e-3
"""Share of a linear image that may lie above 1."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """What is known of a clip before its frames are read."""

    path: Path
    kind: str
    """``video`` or ``images``."""
    num_frames: int
    frame_rate: float
    """0 for images."""
    response: str
    """The curve that the files state or imply: ``srgb``, ``linear``, ``hlg`` or ``pq``."""
    image_paths: tuple[Path, ...] = ()
    exif_ev: tuple[float | None, ...] = ()
    """A number a frame, from EXIF or OpenEXR's expTime; empty for a video, and for linear images without."""
    sha256: str = ""

    def frames(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, Float32Array]]:
        """Read frames in order: their number from 0 and (H, W, 3) RGB 0..1 as recorded.

        Parameters
        ----------
        wanted
            Only these; None for all. Of a video, what is not wanted is decoded but not converted.

        Raises
        ------
        InputError
            A frame cannot be read, or has another size than the first.
        """
        numbers = None if wanted is None else frozenset(wanted)
        shape: tuple[int, ...] | None = None
        pairs = self._video_frames(numbers) if self.kind == "video" else self._images(numbers)
        for number, image in pairs:
            if shape is not None and image.shape != shape:
                raise InputError(
                    f"Frame {number + 1} of {self.path} has {image.shape[1]} x {image.shape[0]} pixels, "
                    f"those before it {shape[1]} x {shape[0]}. Pass frames of one size."
                )
            shape = image.shape
            yield number, image

    def _video_frames(self, wanted: frozenset[int] | None) -> Iterator[tuple[int, Float32Array]]:
        with VideoReader(self.path) as reader:
            for frame in reader.frames():
                if frame.source_index >= self.num_frames:
                    return
                if wanted is None or frame.source_index in wanted:
                    yield frame.source_index, frame.signal().astype(np.float32) * np.float32(1 / 65535)

    def _images(self, wanted: frozenset[int] | None) -> Iterator[tuple[int, Float32Array]]:
        for number, path in enumerate(self.image_paths):
            if wanted is None or number in wanted:
                yield number, read_recorded(path)


def open_clip(path: Path, *, image_paths: tuple[Path, ...] = ()) -> ClipSource:
    """Find out what a clip is.

    Parameters
    ----------
    image_paths
        The images, when they are known already.

    Raises
    ------
    InputError
        Nothing that can be read lies there, or images of different kinds.
    """
    if path.is_dir():
        return _open_images(path, image_paths or _list_images(path))
    info = probe_video(path)
    response = info.transfer if info.transfer in ("hlg", "pq") else "srgb"
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return ClipSource(
        path=path,
        kind="video",
        num_frames=info.num_frames,
        frame_rate=info.frame_rate,
        response=response,
        sha256=sha256,
    )


def _list_images(folder: Path) -> tuple[Path, ...]:
    known = PHOTO_SUFFIXES | set(RADIANCE_SUFFIXES)
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be opened ({error.strerror}). Check its rights.") from error
    paths = natural_order(path for path in files if path.suffix.lower() in known)
    if not paths:
        raise InputError(
            f"{folder} holds no images ({', '.join(sorted(known))}). Pass a video or a folder of them."
        )
    return tuple(paths)


def _open_images(folder: Path, paths: tuple[Path, ...]) -> ClipSource:
    linear = [path for path in paths if path.suffix.lower() in RADIANCE_SUFFIXES]
    if linear and len(linear) < len(paths):
        raise InputError(
            f"{folder} holds {len(linear)} linear images (.exr, .hdr) among {len(paths)}; "
            "a clip is of one kind."
        )
    digest = hashlib.sha256()
    evs: list[float | None] = []
    for path in paths:
        data = read_file(path)
        digest.update(hashlib.sha256(data).digest())
        evs.append(read_exposure_ev(path) if linear else read_exif(data).exposure_ev)
    if linear and all(ev is None for ev in evs):
        evs = []  # usual there, nothing to be told
    return ClipSource(
        path=folder,
        kind="images",
        num_frames=len(paths),
        frame_rate=0.0,
        response="linear" if linear else "srgb",
        image_paths=paths,
        exif_ev=tuple(evs),
        sha256=digest.hexdigest(),
    )


def read_recorded(path: Path) -> Float32Array:
    """Read an image as recorded: (H, W, 3) RGB 0..1 from 8 or 16 bits or linear floats, turned upright.

    Raises
    ------
    InputError
        It is missing, damaged, of another kind, or linear with values above 1, where a sensor saturates.
    """
    if path.suffix.lower() in RADIANCE_SUFFIXES:
        return _below_white(read_radiance(path), path)
    data = read_file(path)
    image = decode_stored(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} is damaged or not an image. Export it again as PNG, TIFF or JPEG.")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    rgb = image[..., 2::-1] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if image.dtype not in (np.uint8, np.uint16):
        return _below_white(np.ascontiguousarray(rgb, np.float32), path)
    scale = np.float32(1 / np.iinfo(image.dtype).max)
    return np.ascontiguousarray(turned_upright(rgb, read_exif(data).orientation), np.float32) * scale


def _below_white(light: Float32Array, path: Path) -> Float32Array:
    over = float((light > 1.0).mean())
    if over > _OVER_WHITE:
        raise InputError(
            f"{path} has linear values up to {float(light.max()):.3g}, {100 * over:.1f} % above 1. "
            "An exposure saturates at 1: divide the frames by the sensor's white level."
        )
    return np.clip(light, 0.0, 1.0)
