"""Depth and confidence maps on disk.

Depth: 16-bit PNG, depth = value * DEPTH_SCALE, 0 = invalid. Confidence: 8-bit PNG, 0 = no depth, FILLED =
depth that was not measured, from 2 on measured.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.io.image import read_stored
from walkaround.types import BoolArray, ByteArray, Float32Array

DEPTH_SCALE = 1e-4
"""World units a step. The orbit's radius is 1, so the object's depth is quantised to about 0.01 %."""
FILLED = 1
"""Confidence of a pixel that was filled from its surroundings."""


def write_depth(path: Path, depth: Float32Array, depth_valid: BoolArray) -> None:
    """Write (H, W) depth; what is invalid or deeper than 6.55 becomes 0."""
    steps = np.rint(depth / DEPTH_SCALE)
    ok = depth_valid & (steps >= 1) & (steps <= 65535)
    values = np.where(ok, steps, 0).astype(np.uint16)
    write_bytes(path, _png(values, path))


def encode_depth_steps(depth: Float32Array, depth_valid: BoolArray, step: float) -> bytes:
    """Return a 16-bit PNG of (H, W) depth in units of ``step``; what is invalid or too deep becomes 0."""
    steps = np.rint(depth.astype(np.float64) / step)
    ok = depth_valid & (steps >= 1) & (steps <= 65535)
    return _png(np.where(ok, steps, 0).astype(np.uint16), Path("depth.png"))


def read_depth(path: Path, scale: float = DEPTH_SCALE) -> tuple[Float32Array, BoolArray]:
    """Return ``depth`` (H, W) float32 and ``depth_valid``.

    Raises
    ------
    FormatError
        The file is not a 16-bit grey PNG.
    """
    values = read_stored(path, cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise FormatError(f"{path} is not a 16-bit grey depth map.")
    return (values * scale).astype(np.float32), values > 0


def read_measured_depth(path: Path, scale: float = DEPTH_SCALE) -> tuple[Float32Array, BoolArray]:
    """Return ``depth`` and ``depth_valid`` without filled pixels.

    Those are told by the map of the same name in the folder ``confidence`` beside the depth's, if there is
    one.

    Raises
    ------
    FormatError
        A map cannot be read, or the two differ in size.
    """
    depth, valid = read_depth(path, scale)
    beside = path.parent.parent / "confidence" / path.name
    if beside.is_file():
        confidence = read_grey(beside)
        if confidence.shape != valid.shape:
            raise FormatError(f"{beside} has the size {confidence.shape}, its depth map {valid.shape}.")
        valid &= confidence != FILLED
        depth[~valid] = 0
    return depth, valid


def encode_confidence(
    confidence: Float32Array, depth_valid: BoolArray, depth_filled: BoolArray | None
) -> ByteArray:
    """Return confidence 0..1 as (H, W) uint8: measured pixels from 2 on, filled ones FILLED, others 0."""
    values = np.where(depth_valid, np.clip(np.rint(confidence * 255), FILLED + 1, 255), 0)
    if depth_filled is not None:
        values[depth_filled] = FILLED
    return values.astype(np.uint8)


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
    values = read_stored(path, cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise FormatError(f"{path} is not a readable image.")
    return np.asarray(values, dtype=np.uint8)


def _png(values: np.ndarray, path: Path) -> bytes:
    ok, data = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise FormatError(f"{path} could not be encoded as PNG.")
    return data.tobytes()
