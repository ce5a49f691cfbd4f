"""Does the background move with the camera, or does the camera stand before a moving object?

A walk-around moves the whole picture. Before a standing camera only the object and the hand move, and what
is behind them looks the same, at the same place, a second later. That can be seen in a few faint scratches
of a table that show between an arm and a cup, where following them from frame to frame fails as soon as
the arm passes.

Limits. Only textured background can be seen to stand or move: before a plain wall or a black cloth there
are too few corners, and the measure is left out, not guessed. A standing camera that pans after the object
moves its background and passes. A turntable before a textured background counts as a standing camera,
which it is. Photos are not measured: a black cloth before a turntable and few views tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.types import ByteArray, Float32Array, FloatArray, IntArray

_GRID = 10
_BORDER_CELLS = 2
_MIN_CELLS = 4
_MIN_SCENES = 2
_STANDING_CELLS = 2
_STANDING_SHARE = 0.125
_SAME = 0.93
"""Normalised correlation of a patch with the same place in another scene: the same thing stands there."""
_PATCH_PX = 8
_TREMBLE_PX = 2
"""Of a camera held still in the hand, at a long side of 320 px."""
_BAR_LEVEL = 24


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A moment of the video at which something moves."""

    luma: ByteArray  # (h, w), long side about 320 px
    corners: Float32Array  # (N, 2) x, y


def moving_share(scenes: Sequence[Scene]) -> float | None:
    """Return the share of the scenes in which the background moves; None if too little can be seen.

    The background is the outer fifth of the picture on each side (black bars taken off), in the cells of
    a grid of 10 x 10. A cell stands in a scene when the patches around its corners (median) recur at the
    same place, up to a tremble, in one of the two scenes before or after. The background stands when two
    cells, and an eighth of those that have corners, do: an arm may hide the rest, and in a walk next to
    no corner recurs in its place. Each scene takes the majority of itself and its two neighbours.

    Near 1 for a walking camera; near 0 for a standing one.
    """
    if len({scene.luma.shape for scene in scenes}) != 1:
        return None
    smooth = [cv2.GaussianBlur(scene.luma, (0, 0), 1.0) for scene in scenes]
    box = _without_bars(scenes)
    verdicts: list[bool] = []
    for i, scene in enumerate(scenes):
        corners, cell = _border_corners(scene.corners, box, scene.luma.shape)
        others = [smooth[j] for j in (i - 2, i - 1, i + 1, i + 2) if 0 <= j < len(scenes)]
        cells = np.unique(cell)
        if len(cells) < _MIN_CELLS or not others:
            continue
        likeness = np.max([_likeness(smooth[i], other, corners) for other in others], axis=0)
        standing = sum(float(np.median(likeness[cell == c])) > _SAME for c in cells)
        verdicts.append(standing < max(_STANDING_CELLS, _STANDING_SHARE * len(cells)))
    if len(verdicts) < _MIN_SCENES:
        return None
    moves = np.pad(np.array(verdicts, int), 1, mode="reflect")
    return float(np.mean(moves[:-2] + moves[1:-1] + moves[2:] >= 2))


def _without_bars(scenes: Sequence[Scene]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of the picture inside black bars, which stand in every video that has them."""
    brightest = np.max([scene.luma for scene in scenes], axis=0)
    columns = np.flatnonzero(brightest.max(axis=0) > _BAR_LEVEL)
    rows = np.flatnonzero(brightest.max(axis=1) > _BAR_LEVEL)
    if len(columns) == 0:
        return 0, 0, brightest.shape[1], brightest.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _border_corners(
    corners: Float32Array, box: tuple[int, int, int, int], shape_hw: tuple[int, ...]
) -> tuple[Float32Array, IntArray]:
    """Return the border's corners and their cells. Next to a bar the bar's edge would be recognised."""
    low, high = np.array(box[:2]), np.array(box[2:])
    size = np.array([shape_hw[1], shape_hw[0]])
    reach = _PATCH_PX + _TREMBLE_PX
    first, last = low + np.where(low > 0, reach, 0), high - np.where(high < size, reach, 0)
    inside = np.all((corners >= first) & (corners < last), axis=1)
    place = np.minimum((corners - low) * _GRID / (high - low), _GRID - 1).astype(np.int64)
    border = (place.min(axis=1) < _BORDER_CELLS) | (place.max(axis=1) >= _GRID - _BORDER_CELLS)
    chosen = inside & border
    return corners[chosen], (place[:, 1] * _GRID + place[:, 0])[chosen]


def _likeness(here: ByteArray, there: ByteArray, corners: Float32Array) -> FloatArray:  # (N,)
    """Return the normalised correlation of each corner's patch with its place in another scene."""
    reach = _PATCH_PX + _TREMBLE_PX
    height, width = here.shape
    if min(height, width) <= 2 * reach:
        return np.zeros(len(corners))
    values = []
    for x, y in np.round(corners).astype(int):
        x, y = min(max(x, reach), width - reach - 1), min(max(y, reach), height - reach - 1)
        patch = here[y - _PATCH_PX : y + _PATCH_PX + 1, x - _PATCH_PX : x + _PATCH_PX + 1]
        around = there[y - reach : y + reach + 1, x - reach : x + reach + 1]
        values.append(float(cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED).max()))
    return np.array(values)
