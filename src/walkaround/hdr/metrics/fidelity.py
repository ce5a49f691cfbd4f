"""PSNR and SSIM of one frame."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.errors import UsageError
from walkaround.types import FloatArray

_K1, _K2, _SIGMA, _REACH = 0.01, 0.03, 1.5, 5
MOST_DB = 100.0
"""Given for pictures that are the same."""


def psnr(result: FloatArray, truth: FloatArray, peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB, over all pixels and channels.

    Raises
    ------
    UsageError
        The pictures differ in shape.
    """
    _check(result, truth)
    error = float(np.mean(np.square(np.asarray(result, np.float64) - truth)))
    if error <= peak**2 * 10 ** (-MOST_DB / 10):
        return MOST_DB
    return float(10.0 * np.log10(peak**2 / error))


def ssim(result: FloatArray, truth: FloatArray, peak: float) -> float:
    """Return the structural similarity, the mean over channels and pixels at least 5 from the border.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861, with its Gaussian window (11x11, sigma 1.5).

    Raises
    ------
    UsageError
        The pictures differ in shape, or are smaller than the window.
    """
    _check(result, truth)
    if min(truth.shape[:2]) <= 2 * _REACH:
        raise UsageError(f"SSIM needs pictures of more than {2 * _REACH} pixels a side; got {truth.shape}.")
    x, y = np.asarray(result, np.float64), np.asarray(truth, np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    both = _window(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    scores = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    scores /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(scores[_REACH:-_REACH, _REACH:-_REACH].mean())


def _window(image: FloatArray) -> FloatArray:
    size = 2 * _REACH + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), _SIGMA), np.float64)


def _check(result: FloatArray, truth: FloatArray) -> None:
    if result.shape != truth.shape:
        raise UsageError(f"A result of shape {result.shape} cannot be compared with truth of {truth.shape}.")
