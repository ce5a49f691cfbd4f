"""Depth and confidence maps on disk: 16-bit PNG, depth = value * DEPTH_SCALE, 0 = invalid."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.types import BoolArray, ByteArray, Float32Array

DEPTH_SCALE = 1e-4
"""World units a step. The orbit's radius is 1, so the object's depth is quantised to about 0.01 %."""


def write_depth(path: Path, depth: Float32Array, depth_valid: BoolArray) -> None:
    """Write (H, W) depth; what is invalid or deeper than 6.55 becomes 0."""
    steps = np.rint(depth / DEPTH_SCALE)
    ok = depth_valid & (steps >= 1) & (steps <= 65535)
    values = np.where(ok, steps, 0).astype(np.uint16)
    write_bytes(path, _png(values, path))


def read_depth(path: Path, scale: float = DEPTH_SCALE) -> tuple[Float32Array, BoolArray]:
    """Return ``depth`` (H, W) float32 and ``depth_valid``.

    Raises
    ------
    FormatError
        The file is not a 16-bit grey PNG.
    """
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise FormatError(f"{path} is not a 16-bit grey depth map.")
    return (values * scale).astype(np.float32), values > 0


def write_grey(path: Path, values: ByteArray) -> None:
    """Write an (H, W) 8-bit PNG (masks, confidence)."""
    write_bytes(path, _png(values, path))


def read_grey(path: Path) -> ByteArray:
    """Read an (H, W) 8-bit PNG.

    Raises
    ------
    FormatError
        The file cannot be decoded.
    """
    values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise FormatError(f"{path} is not a readable image.")
    return np.asarray(values, dtype=np.uint8)


def _png(values: np.ndarray, path: Path) -> bytes:
    ok, data = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise FormatError(f"{path} could not be encoded as PNG.")
    return data.tobytes()
