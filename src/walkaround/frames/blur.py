"""Make what detectors find unrecognisable, before a still is written and before anything else sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from walkaround.frames.detectors import Detector
from walkaround.types import ByteArray, FloatArray

_MARGIN = 0.25
"""Of a box's sides, added on each side."""
_CELLS = 4
"""A box is reduced to so many averages along its long side: 4 x 4 for a face, 4 x 1 for a plate."""
_LEVELS = 16
"""Colours that an average can have in each channel, so that many frames tell no more than one."""


class Blur:
    """Blurs the boxes of all models in a picture, and counts.

    Parameters
    ----------
    models
        ONNX files (:mod:`walkaround.frames.detectors`).
    min_score
        Boxes with a lower score stay.

    Raises
    ------
    UsageError
        A file is not a detector of a known kind, or onnxruntime is not installed.
    """

    def __init__(self, models: Sequence[Path], *, min_score: float) -> None:
        self._detectors = [Detector(path, min_score=min_score) for path in models]
        self.num_regions = 0
        self.num_frames = 0

    def __call__(self, image_srgb: ByteArray) -> ByteArray:
        """Return the (H, W, 3) picture with all boxes blurred."""
        boxes = np.concatenate([detector.boxes(image_srgb) for detector in self._detectors])
        self.num_regions += len(boxes)
        self.num_frames += bool(len(boxes))
        return blur_boxes(image_srgb, boxes)


def blur_boxes(image_srgb: ByteArray, boxes: FloatArray) -> ByteArray:
    """Return the picture with boxes (N, 4), x0 y0 x1 y1 in pixels, and a margin replaced by a few averages.

    What is left of a region are at most 16 averages of 16 levels a channel, smoothly joined.
    """
    blurred = image_srgb.copy()
    for left, top, right, bottom in _with_margin(boxes, image_srgb.shape[0], image_srgb.shape[1]):
        region = blurred[top:bottom, left:right]
        height, width = region.shape[:2]
        longest = max(height, width)
        cells = (max(1, round(_CELLS * width / longest)), max(1, round(_CELLS * height / longest)))
        small = cv2.resize(region, cells, interpolation=cv2.INTER_AREA).reshape(cells[1], cells[0], 3)
        step = 256 // _LEVELS
        small = (small // step * step + step // 2).astype(np.uint8)
        blurred[top:bottom, left:right] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return blurred


def _with_margin(boxes: FloatArray, height: int, width: int) -> list[list[int]]:
    """Return boxes in whole pixels, grown and cut to the picture; empty ones are left out."""
    sides = boxes[:, 2:] - boxes[:, :2]
    low = np.floor(boxes[:, :2] - _MARGIN * sides)
    high = np.ceil(boxes[:, 2:] + _MARGIN * sides)
    grown = np.column_stack([np.maximum(low, 0), np.minimum(high, [width, height])]).astype(int)
    return [row for row in grown.tolist() if row[0] < row[2] and row[1] < row[3]]
