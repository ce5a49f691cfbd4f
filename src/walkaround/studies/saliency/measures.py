"""How near maps are to true masks: MAE, F-beta, S-measure, E-measure, IoU.

The same numbers as PySODMetrics (a test compares them where that package is there), which cannot be installed
beside this project: its releases want NumPy below 2.3.5 and OpenCV below 5.
"""

from __future__ import annotations

import numpy as np

from walkaround.types import BoolArray, FloatArray

BETA_SQUARED = 0.3
_LEVELS = 256
_TINY = np.finfo(np.float64).eps


class Measures:
    """Collects the measures of images, one after the other."""

    def __init__(self) -> None:
        self._mae: list[float] = []
        self._iou: list[float] = []
        self._s: list[float] = []
        self._f: list[FloatArray] = []
        self._e: list[FloatArray] = []

    def add(self, probability: FloatArray, mask: BoolArray) -> None:
        """Take in a map (H, W), 0..1, and what is true (H, W). Nothing is stretched to 0..1."""
        self._mae.append(float(np.abs(probability - mask).mean()))
        found = probability > 0.5
        union = int((found | mask).sum())
        self._iou.append(float((found & mask).sum()) / union if union else 1.0)
        self._s.append(s_measure(probability, mask))
        hits, claimed = _counts(probability, mask)
        self._f.append(_f_curve(hits, claimed, int(mask.sum())))
        self._e.append(_e_curve(hits, claimed, int(mask.sum()), mask.size))

    def results(self) -> dict[str, float]:
        """Return means over the images.

        ``f_beta``: the largest value of the curve of F over 256 thresholds, averaged over images first (the
        maxF of U2-Net's paper). ``e_measure``: mean of the curve of E over the thresholds.
        """
        return {
            "mae": float(np.mean(self._mae)),
            "f_beta": float(np.mean(self._f, axis=0).max()),
            "s_measure": float(np.mean(self._s)),
            "e_measure": float(np.mean(self._e)),
            "iou": float(np.mean(self._iou)),
        }


def _counts(probability: FloatArray, mask: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return how many pixels are at or above each level, 255 down to 0: true ones, and all."""
    level = (probability * (_LEVELS - 1)).astype(np.uint8)
    all_of = np.bincount(level.ravel(), minlength=_LEVELS)
    true_of = np.bincount(level[mask], minlength=_LEVELS)
    return np.cumsum(true_of[::-1]).astype(float), np.cumsum(all_of[::-1]).astype(float)


def _f_curve(hits: FloatArray, claimed: FloatArray, true: int) -> FloatArray:
    """F with beta^2 = 0.3 (Achanta et al. 2009, doi:10.1109/CVPR.2009.5206596), at each level."""
    # (1 + b) p r / (b p + r) with p = hits / claimed, r = hits / true
    return np.asarray((1 + BETA_SQUARED) * hits / np.maximum(BETA_SQUARED * true + claimed, 1))


def _e_curve(hits: FloatArray, claimed: FloatArray, true: int, size: int) -> FloatArray:
    """Enhanced alignment (Fan et al. 2018, arXiv:1805.10421) at each level.

    All pixels of one kind (found or not, true or not) have the same alignment, so four counts are enough.
    Like the authors' code it divides by the number of pixels less one.
    """
    if true == 0:
        return np.asarray((size - claimed) / (size - 1 + _TINY))
    if true == size:
        return np.asarray(claimed / (size - 1 + _TINY))
    mean_found, mean_true = claimed / size, true / size
    total = np.zeros(_LEVELS)
    kinds = (
        (hits, 1, 1),
        (claimed - hits, 1, 0),
        (true - hits, 0, 1),
        (size - claimed - true + hits, 0, 0),
    )
    for count, is_found, is_true in kinds:
        a, b = is_found - mean_found, is_true - mean_true
        alignment = 2 * a * b / (a**2 + b**2 + _TINY)
        total += count * (1 + alignment) ** 2 / 4
    return np.asarray(total / (size - 1 + _TINY))


def s_measure(probability: FloatArray, mask: BoolArray) -> float:
    """Structure measure (Fan et al. 2017, arXiv:1708.00786): half objects, half regions."""
    share = float(mask.mean())
    if share == 0:
        return 1 - float(probability.mean())
    if share == 1:
        return float(probability.mean())
    objects = share * _evenness(probability[mask]) + (1 - share) * _evenness(1 - probability[~mask])
    return max(0.0, 0.5 * objects + 0.5 * _regions(probability, mask))


def _evenness(values: FloatArray) -> float:
    """1 when all values are 1; less for lower or uneven ones."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + _TINY)


def _regions(probability: FloatArray, mask: BoolArray) -> float:
    """Structural similarity of the four parts around the true object's centre, weighted by their size."""
    row, column = (int(middle) + 1 for middle in np.argwhere(mask).mean(axis=0).round())
    total = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            found, true = probability[rows, columns], mask[rows, columns].astype(float)
            if found.size:
                total += found.size / mask.size * _similarity(found, true)
    return total


def _similarity(a: FloatArray, b: FloatArray) -> float:
    mean_a, mean_b = float(a.mean()), float(b.mean())
    count = a.size - 1 + _TINY
    spread = float(((a - mean_a) ** 2).sum() + ((b - mean_b) ** 2).sum()) / count
    together = float(((a - mean_a) * (b - mean_b)).sum()) / count
    above = 4 * mean_a * mean_b * together
    below = (mean_a**2 + mean_b**2) * spread
    if above == 0:
        return 1.0 if below == 0 else 0.0
    return above / (below + _TINY)
