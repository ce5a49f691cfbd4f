"""A hole filled from pieces of the same picture, coarse to fine, until neighbouring pieces agree.

No network: each 7 x 7 piece that touches the hole takes the most alike known piece, every missing pixel
becomes a weighted mean of what the pieces over it say, and so on. Sources: Wexler, Shechtman, Irani,
"Space-time completion of video", TPAMI 2007, doi:10.1109/TPAMI.2007.60; the channels of texture and the order
of filling at the coarsest size are those of Newson, Almansa, Gousseau, Perez, IPOL 2017,
doi:10.5201/ipol.2017.189; the search at fine sizes is that of Barnes et al., "PatchMatch", 2009,
doi:10.1145/1531326.1531330, all pixels at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.restore.classical import push_pull
from walkaround.restore.pieces import (
    OFFSETS,
    RADIUS_PX,
    Level,
    Places,
    distances,
    most_alike,
    neighbours_and_chance,
    pieces_touching,
)
from walkaround.types import BoolArray, Float32Array

COARSE_ITERATIONS, FINE_ITERATIONS = 10, 5
"""Searches and means at a size: where all pieces are compared, and where that would take too long."""
_EXACT = 2e7
_COARSEST_DEPTH_PX = 4.0
_LEAST_SIDE_PX = 8 * RADIUS_PX
_TEXTURE = 3.0
_TEXTURE_PX = 9
_SHARP_PX = 1.0
_FADE = 1.3
_FADE_PX = 40

Watch = Callable[[float, int, float, Callable[[], Float32Array]], None]
"""Called with the share of the work done, the size at work, how unlike pieces are, and the picture so far."""


def fill_by_patches(
    image: Float32Array,
    usable: BoolArray,
    hole: BoolArray,
    *,
    seed: int = 0,
    watch: Watch = lambda *_: None,
) -> Float32Array:
    """Draw a hole and some pixels around it from known pieces.

    Parameters
    ----------
    image
        (H, W, C) 0..1; what it has in the hole does not matter.
    usable
        (H, W) pixels that pieces may be taken from.
    hole
        (H, W) pixels to draw.

    Returns
    -------
    Float32Array
        (H, W, C) the hole and the pixels around it that its pieces cover, as the pieces have them: for
        :func:`walkaround.restore.join.join`. All other pixels as they were. A smooth filling where there is
        no usable piece.
    """
    levels = _pyramid(image, usable & ~hole, hole)
    if not levels:
        return push_pull(image, ~hole)
    source, channels = np.random.default_rng(seed), image.shape[2]
    sheet = _peel(levels[0])
    nearest = most_alike(sheet, levels[0].targets, levels[0].sources)
    for number, level in enumerate(levels):
        if number:
            nearest = level.from_below(levels[number - 1], nearest)
            sheet = _mean(level, level.sheet, nearest, np.zeros(len(nearest), np.float32))
        sheet, nearest = _settle(level, sheet, nearest, source)
        unlike = distances(sheet, level.targets, nearest)
        picture = functools.partial(_shown, sheet[..., :channels], image, hole)
        watch((number + 1) / len(levels), number + 1, float(unlike.mean()) / len(OFFSETS), picture)
    drawn = _mean(levels[-1], sheet, nearest, unlike, sharp=True)
    return np.ascontiguousarray(drawn[..., :channels])


def _shown(small: Float32Array, image: Float32Array, hole: BoolArray) -> Float32Array:
    """Return (H, W, C) with the hole as the size at work has it."""
    large = cv2.resize(small, (hole.shape[1], hole.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.where(hole[..., None], large.reshape(image.shape), image)


def _settle(
    level: Level, sheet: Float32Array, nearest: Places, source: np.random.Generator
) -> tuple[Float32Array, Places]:
    """Search and average in turns."""
    exact = len(level.targets) * len(level.sources) <= _EXACT
    for _ in range(COARSE_ITERATIONS if exact else FINE_ITERATIONS):
        if exact:
            nearest = most_alike(sheet, level.targets, level.sources)
        else:
            nearest = neighbours_and_chance(level, sheet, nearest, source)
        sheet = _mean(level, sheet, nearest, distances(sheet, level.targets, nearest))
    return sheet, nearest


def _pyramid(image: Float32Array, usable: BoolArray, hole: BoolArray) -> list[Level]:
    """Return the sizes, the smallest first: there the hole is about a piece wide. None without sources."""
    sheet, levels = np.concatenate([image, _roughness(image, usable)], 2), []
    while hole.any() and min(hole.shape) > 2 * RADIUS_PX:
        near, far = pieces_touching(hole), pieces_touching(~usable)
        level = Level(sheet=sheet, hole=hole, targets=np.argwhere(near[0]), sources=np.argwhere(far[1]))
        if not len(level.sources):
            break
        levels.append(level)
        depth = cv2.distanceTransform(np.pad(hole, 1).astype(np.uint8), cv2.DIST_L2, 3).max()
        if depth <= _COARSEST_DEPTH_PX or min(hole.shape) < 2 * _LEAST_SIDE_PX:
            break
        sheet, usable, hole = _halved(sheet, usable, hole)
    return levels[::-1]


def _roughness(image: Float32Array, usable: BoolArray) -> Float32Array:
    """Return (H, W, 2): the mean absolute difference across and down of usable neighbours.

    A smooth piece is not far from any texture of its colour; these two channels keep it away.
    """
    maps = []
    for axis in (1, 0):
        step = np.abs(np.diff(image, axis=axis, append=image.take([-1], axis))).mean(2)
        both = usable & np.roll(usable, -1, axis)
        total = cv2.blur((step * both).astype(np.float32), (_TEXTURE_PX, _TEXTURE_PX))
        weight = cv2.blur(both.astype(np.float32), (_TEXTURE_PX, _TEXTURE_PX))
        maps.append(_TEXTURE * total / np.maximum(weight, 1e-6))
    return np.stack(maps, -1).astype(np.float32)


def _halved(
    sheet: Float32Array, usable: BoolArray, hole: BoolArray
) -> tuple[Float32Array, BoolArray, BoolArray]:
    """Return half the size: means of what is no hole; a hole where any of four pixels is."""
    rows, columns = (size // 2 for size in hole.shape)
    even = np.s_[: 2 * rows, : 2 * columns]

    def mean(a: NDArray[Any]) -> Float32Array:
        whole = np.ascontiguousarray(a, np.float32)
        return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)

    weight = (~hole[even]).astype(np.float32)
    share = mean(weight)
    total = mean(sheet[even] * weight[..., None]) / np.maximum(share, 1e-6)[..., None]
    return total.astype(np.float32), mean(usable[even]) > 0.999, share < 0.999


def _peel(level: Level) -> Float32Array:
    """Fill the smallest size ring by ring from outside, by what each piece already sees."""
    sheet, seen = level.sheet.copy(), ~level.hole
    wanted = np.zeros(seen.shape, bool)
    wanted[tuple(level.targets.T)] = True
    square = np.ones((3, 3), np.uint8)
    while not seen.all():
        ring = (cv2.dilate(seen.astype(np.uint8), square) > 0) & ~seen
        middles = np.argwhere((cv2.dilate(ring.astype(np.uint8), square) > 0) & wanted)
        nearest = most_alike(sheet, middles, level.sources, seen)
        total, weight = np.zeros_like(sheet), np.zeros(seen.shape, np.float32)
        for offset in OFFSETS:
            to, by = tuple((middles + offset).T), tuple((nearest + offset).T)
            share = 1 / (1 + float(offset @ offset))
            total[to] += share * level.sheet[by]
            weight[to] += share
        done = ring & (weight > 0)
        if not done.any():  # rings at the border that no piece covers
            return push_pull(sheet, seen)
        sheet[done] = total[done] / weight[done][:, None]
        seen |= done
    return sheet


def _mean(
    level: Level, sheet: Float32Array, nearest: Places, squares: Float32Array, *, sharp: bool = False
) -> Float32Array:
    """Return the sheet with the hole as the mean of what the pieces over it say.

    Alike pieces, and those near the rim, have more to say. With ``sharp`` only pieces with the pixel about
    their middle have, and the pixels around the hole are drawn as well.
    """
    shares = np.exp(-squares / max(2 * float(np.percentile(squares, 75)), 1e-9))
    depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 5)
    shares *= _FADE ** -np.minimum(depth, _FADE_PX)[tuple(level.targets.T)]
    total, weight = np.zeros_like(sheet), np.zeros(level.hole.shape, np.float32)
    for offset in OFFSETS:
        to, by = tuple((level.targets + offset).T), tuple((nearest + offset).T)
        near = np.exp(-float(offset @ offset) / (2 * _SHARP_PX**2)) if sharp else 1.0
        share = (near * shares).astype(np.float32)
        total[to] += share[:, None] * level.sheet[by]
        weight[to] += share
    drawn = (weight > 0) & (level.hole | sharp)
    out = np.where(level.hole[..., None], sheet, level.sheet)
    out[drawn] = total[drawn] / weight[drawn][:, None]
    return out
