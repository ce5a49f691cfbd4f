"""Moving radiance that was filmed or rendered: LDR videos made linear, folders of radiance frames."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import InputError
from walkaround.hdr.synthesis.sources import linearise
from walkaround.io.image import natural_order
from walkaround.io.radiance import RADIANCE_SUFFIXES, read_radiance
from walkaround.io.video import VideoReader
from walkaround.types import ByteArray, Float32Array

LONG_SIDE_PX = 400
"""LDR videos are shrunk to this: their noise and compression go with the pixels."""
_MOST_FRAMES = 150


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Frames of radiance in time order."""

    name: str
    num_frames: int
    read: Callable[[int], Float32Array]
    """Return frame n: (h, w, 3) radiance in any unit."""


def open_footage(path: Path) -> Footage:
    """Open a video (linearised) or a folder of ``.exr`` or ``.hdr`` frames (in natural order).

    Raises
    ------
    InputError
        It is neither, or has fewer than 6 frames.
    """
    if path.is_dir():
        files = natural_order(file for file in path.iterdir() if file.suffix.lower() in RADIANCE_SUFFIXES)
        found = Footage(name=path.name, num_frames=len(files), read=lambda n: read_radiance(files[n]))
    else:
        pictures = _decoded(path)
        found = Footage(name=path.stem, num_frames=len(pictures), read=lambda n: linearise(pictures[n]))
    if found.num_frames < 6:
        raise InputError(f"{path} has {found.num_frames} frames to train on; at least 6 are needed.")
    return found


def _decoded(path: Path) -> list[ByteArray]:
    """Return the first 150 frames, shrunk."""
    with VideoReader(path, num_threads=1) as reader:
        return [frame.image_srgb(LONG_SIDE_PX) for frame in itertools.islice(reader.frames(), _MOST_FRAMES)]
