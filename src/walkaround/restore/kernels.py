"""A blur kernel from what a user writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from walkaround.errors import UsageError
from walkaround.restore.operators import gaussian_kernel, motion_kernel
from walkaround.restore.picture import read_picture
from walkaround.types import Float32Array

MAX_SIDE_PX = 101
_FORMS = "gaussian:SIGMA_PX, motion:LENGTH_PX,ANGLE_DEG, unknown:SIDE_PX or the path of a grey picture"


def unknown_side(text: str) -> int | None:
    """Return the side of an unknown kernel; None when the text names a known one."""
    kind, _, value = text.partition(":")
    if kind != "unknown":
        return None
    side = _numbers(text, value, 1)[0]
    if side != int(side) or not 3 <= side <= MAX_SIDE_PX or int(side) % 2 == 0:
        raise UsageError(f"--kernel {text}: the side must be odd, from 3 to {MAX_SIDE_PX}.")
    return int(side)


def parse_kernel(text: str) -> Float32Array:  # (k, k)
    """Return the kernel that a text stands for.

    Raises
    ------
    UsageError
        It is not understood, or a number is out of range.
    InputError
        The picture cannot be read.
    """
    kind, _, value = text.partition(":")
    if kind == "gaussian":
        (sigma,) = _numbers(text, value, 1)
        if not 0.1 <= sigma <= MAX_SIDE_PX / 6.1:
            raise UsageError(f"--kernel {text}: the deviation must be from 0.1 to {MAX_SIDE_PX // 6} pixels.")
        return gaussian_kernel(sigma)
    if kind == "motion":
        length, angle = _numbers(text, value, 2)
        if not 1 <= length <= MAX_SIDE_PX - 2:
            raise UsageError(f"--kernel {text}: the length must be from 1 to {MAX_SIDE_PX - 2} pixels.")
        return motion_kernel(length, angle)
    if not text or not Path(text).exists():
        raise UsageError(f"--kernel {text!r} is no kernel. Use {_FORMS}.")
    return _from_picture(text)


def _from_picture(text: str) -> Float32Array:
    grey = read_picture(Path(text)).image.mean(2)
    odd = np.pad(grey, [(0, 1 - side % 2) for side in grey.shape])
    if max(odd.shape) > MAX_SIDE_PX or odd.sum() <= 0:
        size = f"{grey.shape[1]} x {grey.shape[0]}"
        raise UsageError(f"--kernel {text} is {size} pixels; at most {MAX_SIDE_PX}, not all black.")
    return np.asarray(odd / odd.sum(), np.float32)


def _numbers(text: str, value: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UsageError(f"--kernel {text!r} is not understood. Use {_FORMS}.")
    return numbers
