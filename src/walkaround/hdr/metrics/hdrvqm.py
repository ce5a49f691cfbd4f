"""HDR-VQM: Narwaria, Perreira Da Silva, Le Callet 2015, doi:10.1016/j.image.2015.04.009.

Both videos are encoded perceptually uniformly and split into log-Gabor subbands (5 scales, 4 orientations).
Where the magnitudes of a subband differ is an error; errors of all subbands are added. The error video is
cut into tubes: blocks of the picture over the time of one fixation (0.6 s). The spread of a tube's errors
counts, pooled first over tubes, then over time.

One thing differs from the paper: it encodes with PU08 (Aydin et al. 2008), a table; here it is PU21, by the
same authors' successor, so that numbers are not those of the authors' program to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.errors import UsageError
from walkaround.hdr.metrics.curves import pu21
from walkaround.types import Float32Array, FloatArray

_SIZE_WH = (896, 512)  # the size at which the paper works: 14 x 8 blocks
_SCALES, _ORIENTATIONS = 5, 4
_SHORTEST_PX, _STEP = 3.0, 3.0  # wavelengths 3, 9, 27, 81, 243
_RADIAL, _ANGULAR = 0.55, np.pi / _ORIENTATIONS / 1.5
_CONSTANT = 0.2
_BLOCK_PX = 64  # two degrees on a display of 1080 rows from three heights away
_FIXATION_S = 0.6
_POOLED = 0.3
_LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True, kw_only=True)
class Display:
    """What the videos are shown on."""

    peak_nits: float = 1000.0
    """Light of radiance 1, in cd/m2."""
    black_nits: float = 0.03
    """Darkest light it shows."""


def hdr_vqm(
    result: Sequence[Float32Array],
    truth: Sequence[Float32Array],
    *,
    frame_rate: float,
    display: Display | None = None,
) -> float:
    """Return the quality of a video: 1 is the truth itself, very bad ones go below 0.

    Parameters
    ----------
    result, truth
        Frames (H, W, 3) of radiance, 1 shown as the display's peak.
    frame_rate
        Frames a second. A video shorter than one fixation is one.

    Raises
    ------
    UsageError
        The videos differ in length or are empty.
    """
    if len(result) != len(truth) or not truth:
        raise UsageError(f"HDR-VQM compares videos of one length; got {len(result)} and {len(truth)} frames.")
    shown = display or Display()
    filters = _log_gabor(_SIZE_WH)
    errors = [
        _similarity(_shown(one, shown), _shown(other, shown), filters)
        for one, other in zip(result, truth, strict=True)
    ]
    length = min(max(int(np.ceil(frame_rate * _FIXATION_S)), 1), len(errors))
    starts = range(0, len(errors) - length + 1, length)
    tubes = np.stack([_spreads(np.stack(errors[start : start + length])) for start in starts], axis=1)
    return quality_of(float(_least(_least(tubes))))


def quality_of(error: float) -> float:
    """Map the pooled error, 0 and up, to a quality of 1 and down, as the authors' program does."""
    return float(4.0 / (1.0 + np.exp(error)) - 1.0)


def _shown(frame: Float32Array, display: Display) -> FloatArray:
    """Return the encoded luminance at the size at which the paper works."""
    light = np.asarray(frame, np.float64) @ np.array(_LUMINANCE) * display.peak_nits
    small = cv2.resize(
        pu21(np.clip(light, display.black_nits, display.peak_nits)), _SIZE_WH, interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(small, np.float64)


def _similarity(
    result: FloatArray, truth: FloatArray, filters: list[Float32Array]
) -> FloatArray:  # (512, 896), at most 20
    """Add up how alike the magnitudes of all subbands are, 0..1 each."""
    spectra = [np.fft.fft2(image).astype(np.complex64) for image in (result, truth)]
    total = np.zeros(truth.shape)
    for kernel in filters:
        one, other = (np.abs(_inverse(spectrum * kernel)) for spectrum in spectra)
        total += (2 * one * other + _CONSTANT) / (one**2 + other**2 + _CONSTANT)
    return total


def _inverse(spectrum: NDArray[np.complex64]) -> NDArray[np.complex128]:
    return np.asarray(np.fft.ifft2(spectrum), np.complex128)


def _log_gabor(size_wh: tuple[int, int]) -> list[Float32Array]:
    """Return 20 filters in the frequency domain (Field 1987, doi:10.1364/JOSAA.4.002379)."""
    fx, fy = np.meshgrid(np.fft.fftfreq(size_wh[0]), np.fft.fftfreq(size_wh[1]))
    radius, angle = np.hypot(fx, fy), np.arctan2(fy, fx)
    radius[0, 0] = 1.0
    filters = []
    for orientation in range(_ORIENTATIONS):
        turned = angle - orientation * np.pi / _ORIENTATIONS
        away = np.arctan2(np.sin(turned), np.cos(turned))
        directed = np.exp(-(away**2) / (2 * _ANGULAR**2))
        for scale in range(_SCALES):
            centre = 1.0 / (_SHORTEST_PX * _STEP**scale)
            band = np.exp(-(np.log(radius / centre) ** 2) / (2 * np.log(_RADIAL) ** 2))
            band[0, 0] = 0.0
            filters.append((band * directed).astype(np.float32))
    return filters


def _spreads(errors: FloatArray) -> FloatArray:  # (T, 512, 896) -> (112,)
    """Return the standard deviation of each tube."""
    length, height, width = errors.shape
    blocks = errors.reshape(length, height // _BLOCK_PX, _BLOCK_PX, width // _BLOCK_PX, _BLOCK_PX)
    return np.asarray(blocks.std(axis=(0, 2, 4), ddof=1).ravel())


def _least(values: FloatArray) -> FloatArray:
    """Average the least 30 % along the first axis, at least one value."""
    count = 1 + int(np.floor((len(values) - 1) * _POOLED + 0.5))
    return np.asarray(np.sort(values, axis=0)[:count].mean(axis=0))
