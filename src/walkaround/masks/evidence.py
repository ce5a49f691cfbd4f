"""What one view alone says about its pixels: by its depth where it has one, by colour where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from walkaround.masks.silhouettes import ELSEWHERE, ON_SOLID, tell_apart
from walkaround.masks.solid import MaskView, Solid
from walkaround.types import BoolArray, ByteArray, Float32Array, IntArray

BINS = 16
"""Colours a channel in the histograms."""
LIKE_BACKGROUND = 0.8
"""A pixel without depth is background when its colour is this surely the background's."""
_MIN_PIXELS = 50


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one view says, (h, w) each."""

    on_object: BoolArray
    """The depth lies on the solid, or, before a plain background, the colour is another."""
    elsewhere: BoolArray
    """The depth lies elsewhere."""
    like_background: BoolArray
    """No depth, and the colours of the background, as seen through a handle or between stems."""

    @property
    def not_object(self) -> BoolArray:
        return self.elsewhere | self.like_background


def gather_evidence(
    view: MaskView, solid: Solid, plain: tuple[BoolArray, BoolArray] | None = None
) -> Evidence:
    """Tell the pixels on the solid from those elsewhere.

    Parameters
    ----------
    plain
        What surely differs from a plain background, and that background, (h, w) each; None before any other.
    """
    told = tell_apart(view, solid)
    elsewhere = (told == ELSEWHERE).astype(np.uint8)
    found, other = told == ON_SOLID, cv2.erode(elsewhere, np.ones((3, 3), np.uint8)) > 0
    if plain is not None:
        differs, background = plain
        return Evidence(
            on_object=(found & ~background) | (differs & ~other), elsewhere=other, like_background=background
        )
    known = other | view.void
    probability = background_probability(view.image_srgb, found, known)
    alike = (probability > LIKE_BACKGROUND) & ~found & ~known
    opened = cv2.morphologyEx(alike.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return Evidence(on_object=found, elsewhere=other, like_background=opened)


def background_probability(image: ByteArray, found: BoolArray, known: BoolArray) -> Float32Array:
    """Return how much likelier (h, w) a pixel's colour is in the background beside the object than on it.

    Histograms in Lab of what is known of both; 0.5 where neither has the colour or too little is known.

    Parameters
    ----------
    image
        (h, w, 3), blue first.
    found, known
        (h, w) pixels of the object, and of the background.
    """
    even = np.full(image.shape[:2], 0.5, np.float32)
    if found.sum() < _MIN_PIXELS:
        return even
    beside = known & _around(found)
    if beside.sum() < _MIN_PIXELS:
        return even
    lab = (cv2.cvtColor(image, cv2.COLOR_BGR2LAB) // (256 // BINS)).astype(np.int32)
    color = (lab[..., 0] * BINS + lab[..., 1]) * BINS + lab[..., 2]
    on, off = (_histogram(color[where])[color] + np.float32(1e-6) for where in (found, beside))
    return np.asarray(cv2.GaussianBlur((off / (on + off)).astype(np.float32), (0, 0), 1.5))


def _around(found: BoolArray) -> BoolArray:
    """Return the box around some pixels, a third larger on each side."""
    rows, columns = np.nonzero(found)
    out = np.zeros_like(found)
    up, left = int(np.ptp(rows)) // 3 + 8, int(np.ptp(columns)) // 3 + 8
    out[max(0, rows.min() - up) : rows.max() + up, max(0, columns.min() - left) : columns.max() + left] = True
    return out


def _histogram(colors: IntArray) -> Float32Array:  # (BINS ** 3,)
    counts = np.bincount(colors, minlength=BINS**3).astype(np.float32)
    smooth = ndimage.gaussian_filter(counts.reshape(BINS, BINS, BINS), 0.7).ravel()
    return np.asarray(smooth / max(float(smooth.sum()), 1e-9), np.float32)
