"""Measures on single pictures: focus for choosing, sharpness and brightness for judging."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import ByteArray, Float32Array

SHARPNESS_LONG_SIDE_PX = 960
_NOISE_LEVELS = 2.0
"""Smaller steps between neighbours are noise and rounding, in flat and in blurred parts alike."""
_MIN_SEEN_SHARE = 0.001


def focus(luma: ByteArray) -> float:
    """Rank frames of one scene: mean squared Sobel gradient over squared mean luma (Tenengrad).

    Comparable between neighbouring frames only; the content sets its level. Dividing by the brightness
    keeps an exposure step from looking like focus.

    Parameters
    ----------
    luma
        (H, W).

    References
    ----------
    Krotkov, "Focusing", 1988, doi:10.1007/BF00127822.
    """
    energy = 0.0
    for dx, dy in ((1, 0), (0, 1)):
        energy += float(cv2.norm(cv2.Sobel(luma, cv2.CV_16S, dx, dy), cv2.NORM_L2SQR))
    mean = float(cv2.mean(luma)[0]) + 8.0
    return energy / (luma.size * mean * mean)


def sharpness(gray: ByteArray) -> float:
    """Return how sharp a picture is, 0 (blurred) to 1, whatever it shows.

    The picture is blurred once more; what was sharp loses most of its differences between neighbours,
    what was blurred already loses few. Crete and others, "The blur effect", 2007,
    doi:10.1117/12.702790, with a 9-px box, as 1 - blur. Measured at a long side of at most 960 px, so it
    means blur relative to the picture, not to the pixel. 0 also where the picture shows nothing at all.

    Parameters
    ----------
    gray
        (H, W), shrunk to SHARPNESS_LONG_SIDE_PX.
    """
    values = []
    image = gray.astype(np.float32)
    for kernel in ((9, 1), (1, 9)):
        differences, blurred = (_steps(x, across=kernel[0] > 1) for x in (image, cv2.blur(image, kernel)))
        seen = cv2.compare(differences, _NOISE_LEVELS, cv2.CMP_GE)
        if cv2.countNonZero(seen) < _MIN_SEEN_SHARE * seen.size:
            return 0.0
        total = cv2.norm(differences, cv2.NORM_L1, seen)
        lost = cv2.norm(cv2.max(cv2.subtract(differences, blurred), 0.0), cv2.NORM_L1, seen)
        values.append(lost / total)
    return min(values)


def _steps(image: Float32Array, *, across: bool) -> Float32Array:
    """Return the absolute differences between neighbours, left to right or top to bottom."""
    if across:
        return np.asarray(cv2.absdiff(image[:, 1:], image[:, :-1]), np.float32)
    return np.asarray(cv2.absdiff(image[1:], image[:-1]), np.float32)
