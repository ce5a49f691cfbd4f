"""Where radiance comes from: files of a folder by name, dead leaves, LDR video made linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.hdr.synthesis.leaves import draw_leaves
from walkaround.io.color import linear_from_srgb
from walkaround.io.radiance import RADIANCE_SUFFIXES, read_radiance
from walkaround.types import ByteArray, Float32Array

HELD_OUT = ("Desk", "nancy_church", "Cannon", "city", "night", "studio")
"""Names of radiance images that training never sees; what is published is measured on them."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A radiance image that is read when it is needed."""

    name: str
    """The file's name without its suffix."""
    read: Callable[[], Float32Array]
    """Return (h, w, 3) radiance in any unit."""


def find_sources(folder: Path, *, held_out: bool) -> tuple[Source, ...]:
    """List the radiance images below a folder, by name.

    Parameters
    ----------
    held_out
        True lists those named in :data:`HELD_OUT`, False all others.

    Raises
    ------
    InputError
        The folder is missing, or holds none.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} of radiance images. Check the path.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in RADIANCE_SUFFIXES)
    chosen = [path for path in paths if (path.stem in HELD_OUT) == held_out]
    if not chosen:
        wanted = f"named {', '.join(HELD_OUT)}" if held_out else "for training"
        raise InputError(f"{folder} holds {len(paths)} radiance images (.exr, .hdr) and none {wanted}.")
    return tuple(Source(name=path.stem, read=_reader(path)) for path in chosen)


def leaves_source(seed: int, size: tuple[int, int] = (640, 480)) -> Source:
    """Return a picture of dead leaves as a source."""
    return Source(name=f"leaves-{seed}", read=lambda: draw_leaves(size, np.random.default_rng([seed, 73])))


def linearise(image_srgb: ByteArray, *, stretch: float = 2.0) -> Float32Array:
    """Turn an 8-bit picture into radiance: sRGB's curve undone, what is near white spread upwards.

    A video lost its highlights; ``stretch`` lets what is left of them exceed 1 by up to that factor, so
    that a short exposure has something to see (as training on LDR video in Kalantari and Ramamoorthi 2019,
    doi:10.1111/cgf.13630, where the video is taken as it is).
    """
    linear = linear_from_srgb(cv2.GaussianBlur(image_srgb, (0, 0), 0.7).astype(np.float64) / 255.0)
    over = np.clip((linear - 0.6) / 0.4, 0.0, 1.0)
    return np.asarray(linear * (1.0 + (stretch - 1.0) * over**2), np.float32)


def _reader(path: Path) -> Callable[[], Float32Array]:
    return lambda: read_radiance(path)
