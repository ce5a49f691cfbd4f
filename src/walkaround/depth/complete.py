"""Fill larger holes of a depth map as well, on request, guided by the image; each pixel is marked as filled.

``fill.py`` takes small holes in one smooth surface. Here a hole may lie between several surfaces: they
continue into it, and the border between them follows the image (``geometry/completion.py``).
"""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.depth.fill import seen_past
from walkaround.depth.store import Maps
from walkaround.depth.views import StereoView
from walkaround.geometry.completion import complete_depth
from walkaround.types import BoolArray, Float32Array

_LARGEST = 0.06
"""Side of a square as large as the largest hole that is completed, as a share of the map's long side."""


def complete_holes(
    views: list[StereoView], maps: Maps, index: int, inverse: Float32Array, valid: BoolArray
) -> Float32Array:
    """Return the inverse depth of the completed pixels, (h, w), 0 where nothing was.

    A hole that reaches the map's border is left, and so is one that some neighbouring view saw past.

    Parameters
    ----------
    maps
        Inverse depth of all views, 0 = none, for the views that may have seen past a hole.
    inverse, valid
        The view's own (h, w) inverse depth.
    """
    labels, enclosed = enclosed_holes(valid)
    nothing = np.float32(0)
    depth = np.where(valid, 1 / np.maximum(inverse, 1e-9), nothing).astype(np.float32)
    grey = np.clip(np.rint(views[index].levels[0].image), 0, 255).astype(np.uint8)
    done = complete_depth(depth, valid, enclosed, grey[..., None])
    filled = np.where(enclosed & (done > 0), 1 / np.maximum(done, 1e-9), nothing).astype(np.float32)
    return np.where(seen_past(views, maps, index, filled, labels), nothing, filled)


def enclosed_holes(valid: BoolArray) -> tuple[np.ndarray, BoolArray]:
    """Return (h, w) the number of each hole, and which pixels lie in holes that are to be completed."""
    height, width = valid.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~valid).astype(np.uint8), connectivity=8)
    x, y, w, h, area = stats.T
    inside = (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    wanted = inside & (area <= (_LARGEST * max(height, width)) ** 2)
    wanted[0] = False
    return labels, wanted[labels]
