"""Square pieces of a picture: which there are, how unlike two are, which known one is most alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.types import BoolArray, Float32Array

RADIUS_PX = 3
"""Of a piece: 7 x 7 pixels."""
OFFSETS = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1].reshape(2, -1).T  # (49, 2)
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 4), (4, 0), (0, -4), (-4, 0))
_SWEEPS = 2
_CHUNK = 4096

Places = NDArray[np.int64]
"""(N, 2) rows and columns."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One size of a picture with a hole.

    Attributes
    ----------
    sheet
        (H, W, F) colours and other channels that pieces are compared by.
    hole
        (H, W) what is to be filled.
    targets, sources
        Middles of the pieces to find, and of those to take.
    """

    sheet: Float32Array
    hole: BoolArray
    targets: Places
    sources: Places

    def from_below(self, below: Level, nearest: Places) -> Places:
        """Return, for each target, the source that the target at half the size has."""
        there = np.zeros(below.hole.shape, bool)
        there[tuple(below.targets.T)] = True
        shifts = np.zeros((*below.hole.shape, 2), np.int64)
        shifts[tuple(below.targets.T)] = nearest - below.targets
        middles = nearest_of(there, self.targets // 2)
        free = np.zeros(self.hole.shape, bool)
        free[tuple(self.sources.T)] = True
        return nearest_of(free, self.targets + 2 * shifts[tuple(middles.T)])


def pieces_touching(area: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Return two (H, W): middles of whole pieces that touch ``area``, and of those that do not."""
    size, r = 2 * RADIUS_PX + 1, RADIUS_PX
    touched = cv2.dilate(area.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    whole = np.zeros(area.shape, bool)
    whole[r : area.shape[0] - r, r : area.shape[1] - r] = True
    return touched & whole, ~touched & whole


def nearest_of(free: BoolArray, places: Places) -> Places:
    """Return the nearest True pixel of ``free`` (H, W) to each place, which may lie outside."""
    _, labels = cv2.distanceTransformWithLabels(
        (~free).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    order = np.zeros(int(labels.max()) + 1, np.int64)
    order[labels[free]] = np.flatnonzero(free)
    inside = np.clip(places, 0, np.array(free.shape) - 1)
    return np.stack(np.unravel_index(order[labels[tuple(inside.T)]], free.shape), -1)


def values_of(sheet: Float32Array, middles: Places) -> Float32Array:  # (N, 49 F)
    """Return what pieces hold."""
    flat, strides = sheet.reshape(-1, sheet.shape[2]), np.array([sheet.shape[1], 1])
    places = (middles @ strides)[:, None] + (OFFSETS @ strides)[None, :]
    return flat[places].reshape(len(middles), -1)


def distances(sheet: Float32Array, first: Places, second: Places) -> Float32Array:  # (N,)
    """Return the sums of squared differences between pieces."""
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        difference = values_of(sheet, first[part]) - values_of(sheet, second[part])
        out[part] = np.einsum("ij,ij->i", difference, difference)
    return out


def most_alike(
    sheet: Float32Array, middles: Places, sources: Places, seen: BoolArray | None = None
) -> Places:
    """Return the most alike of all sources for each piece; with ``seen`` (H, W), by its seen pixels alone."""
    taken, out = values_of(sheet, sources), np.empty_like(middles)
    squares = np.square(taken)
    whole = squares.sum(1)
    for start in range(0, len(middles), 256):
        part = middles[start : start + 256]
        wanted = values_of(sheet, part)
        if seen is None:
            scores = whole - 2 * wanted @ taken.T
        else:
            weight = np.repeat(values_of(seen[..., None].astype(np.float32), part), sheet.shape[2], 1)
            scores = weight @ squares.T - 2 * (weight * wanted) @ taken.T
        out[start : start + 256] = sources[scores.argmin(1)]
    return out


def neighbours_and_chance(
    level: Level, sheet: Float32Array, nearest: Places, source: np.random.Generator
) -> Places:
    """Return better sources: beside what the neighbours of a piece found, and at random places nearby.

    All pieces take a step at once, in place of PatchMatch's scan line by line.
    """
    shape, targets = np.array(level.hole.shape), level.targets
    free = np.zeros(level.hole.shape, bool)
    free[tuple(level.sources.T)] = True
    number = np.full(level.hole.shape, -1)
    number[tuple(targets.T)] = np.arange(len(targets))
    best, nearest = distances(sheet, targets, nearest), nearest.copy()

    def take(tried: Places, valid: BoolArray) -> None:
        valid &= ((tried >= 0) & (tried < shape)).all(1)
        valid[valid] = free[tuple(tried[valid].T)]
        found = distances(sheet, targets[valid], tried[valid])
        better = found < best[valid]
        where = np.flatnonzero(valid)[better]
        nearest[where], best[where] = tried[where], found[better]

    for step in _STEPS * _SWEEPS:
        there = number[tuple(np.clip(targets + step, 0, shape - 1).T)]
        take(nearest[there] - step, there >= 0)
    reach = int(max(shape)) // 2
    while reach >= 1:
        tried = nearest + source.integers(-reach, reach + 1, nearest.shape)
        take(tried, np.ones(len(tried), bool))
        reach //= 2
    return nearest
