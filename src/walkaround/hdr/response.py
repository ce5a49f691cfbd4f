"""Camera response: from what a camera recorded to light, and back.

A response is a table over the recorded value 0..1; 1, where the sensor saturates, always means light 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.hdr.clip import Exposed
from walkaround.io.color import linear_from_srgb, nits_from_pq, scene_from_hlg
from walkaround.types import Float32Array, FloatArray

RESPONSES = ("srgb", "gamma", "linear", "hlg", "pq", "debevec", "robertson")
"""Curves that are known, and two that are estimated from the clip."""
ESTIMATED = ("debevec", "robertson")
GAMMA = 2.2
_CODES = 65536
_MIN_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Response:
    """A camera's curve.

    Attributes
    ----------
    name
        One of :data:`RESPONSES`.
    table
        (N, 3) light 0..1 of each channel at N recorded values evenly spread over 0..1, rising.
    """

    name: str
    table: Float32Array

    def linear(self, image: Float32Array) -> Float32Array:
        """Return the light 0..1 that an image (..., 3) 0..1 records."""
        if self.name == "linear":
            return np.clip(image, 0.0, 1.0)
        if self.name == "gamma":
            return np.asarray(cv2.pow(np.clip(image, 0.0, 1.0), GAMMA), np.float32)
        codes = np.rint(np.clip(image, 0.0, 1.0) * np.float32(_CODES - 1)).astype(np.uint16)
        fine = _fine_table(self.table.tobytes(), len(self.table))
        return np.stack([fine[..., c][codes[..., c]] for c in range(3)], axis=-1)

    def recorded(self, linear: Float32Array) -> Float32Array:
        """Return the values 0..1 recorded for light (..., 3); the inverse of :meth:`linear`."""
        light = np.clip(linear, 0.0, 1.0)
        if self.name == "linear":
            return light
        values = np.linspace(0.0, 1.0, len(self.table), dtype=np.float32)
        channels = [np.interp(light[..., c], self.table[:, c], values) for c in range(3)]
        return np.stack(channels, axis=-1).astype(np.float32)

    def slope(self, samples: int = 256) -> Float32Array:  # (samples, 3)
        """Return by how much light rises with the recorded value, at ``samples`` values over 0..1."""
        at = np.linspace(0.0, 1.0, samples)
        table = np.stack([np.interp(at, np.linspace(0, 1, len(self.table)), t) for t in self.table.T], axis=1)
        return np.asarray(np.gradient(table, at, axis=0), np.float32)


@lru_cache(maxsize=4)
def _fine_table(table: bytes, length: int) -> Float32Array:  # (65536, 3)
    rows = np.frombuffer(table, np.float32).reshape(length, 3)
    at, coarse = np.linspace(0.0, 1.0, _CODES), np.linspace(0.0, 1.0, length)
    return np.stack([np.interp(at, coarse, row) for row in rows.T], axis=1).astype(np.float32)


def known_response(name: str) -> Response:
    """Return a known response: ``srgb``, ``gamma`` (2.2), ``linear``, ``hlg`` or ``pq``."""
    values = np.linspace(0.0, 1.0, 4096)
    curves: dict[str, Callable[[FloatArray], FloatArray]] = {
        "srgb": linear_from_srgb,
        "gamma": lambda v: v**GAMMA,
        "linear": lambda v: v,
        "hlg": scene_from_hlg,
        "pq": lambda v: nits_from_pq(v) / 10000.0,
    }
    light = curves[name](values)
    return Response(name=name, table=np.repeat(light[:, None], 3, axis=1).astype(np.float32))


def estimate_response(frames: Sequence[Exposed], method: str) -> Response:
    """Estimate the response from frames of one scene, laid over each other.

    Parameters
    ----------
    frames
        At least two exposures; the same pixel shows the same point (see
        :func:`walkaround.hdr.alignment.aligned_bracket`).
    method
        ``debevec`` (Debevec and Malik 1997, doi:10.1145/258734.258884) or ``robertson``
        (Robertson et al. 2003, doi:10.1117/1.1557695), both as OpenCV has them.

    Raises
    ------
    InputError
        All frames have one exposure, or the curve that comes out does not rise.
    """
    exposures = np.array([frame.exposure for frame in frames], np.float32)
    if len(frames) < _MIN_FRAMES or len(set(exposures.tolist())) < _MIN_FRAMES:
        raise InputError(
            f"A response cannot be estimated from {len(set(exposures.tolist()))} exposure; two are needed. "
            "Pass --response srgb, gamma or linear."
        )
    pictures = [np.rint(np.clip(frame.image, 0, 1) * 255).astype(np.uint8) for frame in frames]
    if method == "debevec":
        curve: Any = cv2.createCalibrateDebevec(samples=400, lambda_=100.0, random=False)
    else:
        curve = cv2.createCalibrateRobertson(max_iter=30)
    found = np.asarray(curve.process(pictures, exposures), np.float64).reshape(256, 3)
    return Response(name=method, table=_rising(found, method))


def _rising(curve: FloatArray, method: str) -> Float32Array:  # (256, 3) -> (256, 3)
    """Fit a curve that starts at 0 and ends at 1 to an estimated one.

    Near the usual gamma y = light^(1/2.2) is almost a line of the recorded value v. It is fitted as
    s (v + a v (1 - v) + b v^2 (1 - v)); both ends of the estimate rest on few pixels and are left out.
    """
    values, inner = np.linspace(0.0, 1.0, 256), slice(16, 240)
    basis = np.stack([values, values * (1 - values), values**2 * (1 - values)], axis=1)
    hat = np.minimum(values, 1 - values)[inner, None]
    light = np.where(np.isfinite(curve), np.maximum(curve, 0.0), 0.0) ** (1 / GAMMA)
    scales, *_ = np.linalg.lstsq(hat * basis[inner], hat * light[inner], rcond=None)  # (3, 3)
    fitted = basis @ scales / np.where(scales[0] > 0, scales[0], np.nan)
    fitted = np.clip(np.maximum.accumulate(fitted, axis=0), 0.0, 1.0)
    if not np.all(np.isfinite(fitted)) or np.any(np.diff(fitted[::32], axis=0) < 1e-3):
        raise InputError(
            f"The response estimated by {method} does not rise: the frames share too few well exposed "
            "pixels. Pass another --response: srgb, gamma, linear or the other estimate."
        )
    return (fitted**GAMMA).astype(np.float32)
