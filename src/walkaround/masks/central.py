"""The central part of a rough mask, without holes, its outline moved to the image's edges."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import BoolArray, ByteArray


def central_part(mask: BoolArray) -> BoolArray:
    """Return the connected part of an (h, w) mask with the most area near the image's centre."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    if count <= 2:
        return mask
    height, width = mask.shape
    y, x = np.mgrid[:height, :width]
    near = np.exp(-((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / (2 * 0.3**2))
    weights = np.bincount(labels.ravel(), near.ravel(), minlength=count)
    weights[0] = 0
    return np.asarray(labels == weights.argmax())


def fill_holes(mask: BoolArray, share: float = 0.02) -> BoolArray:
    """Fill holes smaller than ``share`` of the mask; a larger one is a handle's or an arm's."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < share * mask.sum()
    small[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = False
    small[0] = False
    return np.asarray(mask | small[labels]) if count > 1 else mask


def move_outline(
    image_srgb: ByteArray, mask: BoolArray, inner: float = 0.05, outer: float = 0.1
) -> BoolArray:
    """Move the outline of an (h, w) mask to the edges of the (h, w, 3) image by GrabCut within a band.

    ``inner`` and ``outer`` are the band's widths in square roots of the mask's area.
    """
    root = float(np.sqrt(mask.sum()))
    core = cv2.erode(mask.astype(np.uint8), _disc(max(3, round(inner * root)))) > 0
    if not core.any():
        return mask
    labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(mask.astype(np.uint8), _disc(max(6, round(outer * root)))) > 0] = cv2.GC_PR_BGD
    labels[mask] = cv2.GC_PR_FGD
    labels[core] = cv2.GC_FGD
    if not (labels == cv2.GC_BGD).any():
        return mask
    cv2.setRNGSeed(0)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(image_srgb[..., ::-1])
    cv2.grabCut(bgr, labels, None, background, foreground, 3, cv2.GC_INIT_WITH_MASK)
    return fill_holes(central_part((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)))


def _disc(radius: int) -> ByteArray:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
