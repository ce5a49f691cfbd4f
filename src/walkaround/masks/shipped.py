"""The mask model that comes with walkaround: a small U2-Net, run by OpenCV; weights/CARD.md describes it."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.masks.models import SHIPPED
from walkaround.types import BoolArray, ByteArray, Float32Array

_MARGIN = 0.3
"""Room around what the first look has found, as a share of its longer side."""
_LEAST_SHARE = 1e-3
"""Of the image; a first look that finds less is all there is."""
_CUT_PX = 192
"""Longer side at which the outline is cut."""
_SURE = 0.1
"""Nearer to 0 or 1 than this, the network is not asked again."""
_LEAST_IOU = 0.6
"""Between the network's mask and the cut; a cut that goes further astray has followed the wrong edges."""


class ShippedModel:
    """Looks at the whole image, closer at the square around what it has found, then at the colours there.

    Raises
    ------
    InputError
        The model's file is missing or damaged: the installation is broken.
    """

    def __init__(self, name: str) -> None:
        known = SHIPPED[name]
        self._recipe, self._size = known.recipe, known.input_px
        try:
            self._network = cv2.dnn.readNetFromONNX(str(known.path))
        except cv2.error as error:
            raise InputError(
                f"{known.path} cannot be read ({error.err}). Install walkaround again, or use another model."
            ) from error

    def fg_probability(self, image_srgb: ByteArray) -> Float32Array:
        """Return (H, W) foreground probability 0..1 for an (H, W, 3) RGB image."""
        height, width = image_srgb.shape[:2]
        first = self._look(image_srgb)
        square = square_around(first > 0.5)
        if square is None:
            return first
        left, top, side = square
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(image_srgb[y0:y1, x0:x1]),
            y0 - top, top + side - y1, x0 - left, left + side - x1, cv2.BORDER_REPLICATE,
        )  # fmt: skip
        closer = sharpened(padded, self._look(padded))
        out = np.zeros((height, width), np.float32)
        out[y0:y1, x0:x1] = closer[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _look(self, image_srgb: ByteArray) -> Float32Array:
        """Run the network on a whole picture and its mirror image; return the mean at the picture's size."""
        size = (self._size, self._size)
        small = cv2.resize(image_srgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(
            255
        )
        normal = ((small - np.array(self._recipe.mean)) / np.array(self._recipe.std)).astype(np.float32)
        total = np.zeros(size, np.float32)
        for step in (1, -1):
            self._network.setInput(np.ascontiguousarray(normal[:, ::step].transpose(2, 0, 1)[None]))
            total += 0.5 * self._network.forward()[0, 0][:, ::step]
        shape = image_srgb.shape[1], image_srgb.shape[0]
        return np.asarray(cv2.resize(total, shape, interpolation=cv2.INTER_LINEAR), np.float32)


def square_around(mask: BoolArray) -> tuple[int, int, int] | None:
    """Return left, top and side of the square to look at again; it may reach beyond the image.

    It lies around the largest connected part, with some room; None when there is next to nothing.
    """
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return None
    x, y, width, height, area = (int(value) for value in stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()])
    if area < _LEAST_SHARE * mask.size:
        return None
    side = max(16, round(max(width, height) * (1 + 2 * _MARGIN)))
    return x + width // 2 - side // 2, y + height // 2 - side // 2, side


def sharpened(image_srgb: ByteArray, probability: Float32Array) -> Float32Array:
    """Move the outline to the picture's edges by GrabCut (Rother et al. 2004, doi:10.1145/1015706.1015720).

    Returns the mean of the probability (H, W) and the cut; the probability alone where they differ widely.
    """
    shape = image_srgb.shape[1], image_srgb.shape[0]
    scale = min(1.0, _CUT_PX / max(shape))
    size = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    small = cv2.resize(image_srgb, size, interpolation=cv2.INTER_AREA)
    rough = cv2.resize(probability, size, interpolation=cv2.INTER_AREA)
    labels = np.where(rough > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[rough < _SURE], labels[rough > 1 - _SURE] = cv2.GC_BGD, cv2.GC_FGD
    if not (labels % 2 == 0).any() or not (labels % 2 == 1).any():  # GrabCut wants some of both
        return probability
    cv2.setRNGSeed(0)
    cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    cut, found = labels % 2 == 1, rough > 0.5
    if (cut & found).sum() < _LEAST_IOU * (cut | found).sum():
        return probability
    soft = cv2.resize(cut.astype(np.float32), shape, interpolation=cv2.INTER_LINEAR)
    return np.asarray(0.5 * (probability + soft), np.float32)
