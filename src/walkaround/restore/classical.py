"""Estimates without any network: where the fast way begins, and what it is compared with.

Pictures here are (H, W, C) float32 arrays of 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import cv2
import numpy as np

from walkaround.restore.tiles import tiles
from walkaround.types import BoolArray, Float32Array

NLM_REACH_PX = 10
_FILL_HALO_PX = 64
NLM_HALO_PX = NLM_REACH_PX + 4
"""How far a pixel's result depends on others."""


def estimate_sigma(image: Float32Array) -> float:
    """Return the deviation of white noise, from the finest diagonal detail of small, quiet parts.

    Source: the median rule of Donoho and Johnstone, 1994, doi:10.1093/biomet/81.3.425, on blocks, of which
    the quietest tenth decides (texture is no noise).
    """
    detail = (image[:-1:2, :-1:2] - image[1::2, :-1:2] - image[:-1:2, 1::2] + image[1::2, 1::2]) / 2
    deviations = []
    for rows in range(0, max(1, detail.shape[0] - 15), 16):
        for columns in range(0, max(1, detail.shape[1] - 15), 16):
            block = detail[rows : rows + 16, columns : columns + 16]
            clipped = image[2 * rows : 2 * rows + 32, 2 * columns : 2 * columns + 32]
            if 0.02 < float(clipped.mean()) < 0.98:
                deviations.append(float(np.median(np.abs(block)) / 0.6745))
    if not deviations:
        return float(np.median(np.abs(detail)) / 0.6745)
    quiet = np.sort(deviations)[: max(1, len(deviations) // 10)]
    return float(np.mean(quiet) * 1.03)  # the least of noisy numbers is a little low


def nlm(image: Float32Array, sigma: float, *, strength: float = 0.4) -> Float32Array:
    """Denoise by non-local means over 21 x 21 neighbours with 5 x 5 patches of all channels.

    Source: Buades, Coll, Morel, 2011, doi:10.5201/ipol.2011.bcm_nlm, with their patch-wise weights. One
    neighbour at a time for the whole picture, so that its cost is that of 440 box filters.

    Parameters
    ----------
    sigma
        Deviation of the noise.
    strength
        Decay of the weights, in sigmas.
    """
    if sigma <= 0:
        return image.copy()
    reach, (height, width) = NLM_REACH_PX, image.shape[:2]
    border = 2 * reach  # a neighbour's own neighbours are needed as well: weights count for both
    planes = [
        cv2.copyMakeBorder(np.ascontiguousarray(image[..., c]), *(border,) * 4, cv2.BORDER_REFLECT_101)
        for c in range(image.shape[2])
    ]
    totals = [np.zeros((height, width), np.float32) for _ in planes]
    weights, largest = np.zeros((height, width), np.float32), np.full((height, width), 1e-3, np.float32)
    here = _window(border, border, height, width)
    for rows, columns in _half_of_neighbours(reach):
        weight = _likeness(planes, rows, columns, reach, sigma, strength)
        for sign in (1, -1):
            # the weight lies at the first of two pixels: at this one, or at its neighbour
            start = (reach, reach) if sign > 0 else (reach - rows, reach - columns)
            near = weight[_window(*start, height, width)]
            there = _window(border + sign * rows, border + sign * columns, height, width)
            for total, plane in zip(totals, planes, strict=True):
                total += near * plane[there]
            weights += near
            np.maximum(largest, near, out=largest)
    channels = [
        (total + largest * plane[here]) / (weights + largest)
        for total, plane in zip(totals, planes, strict=True)
    ]
    return np.ascontiguousarray(np.stack(channels, -1), np.float32)


def _likeness(
    planes: list[Float32Array], rows: int, columns: int, reach: int, sigma: float, strength: float
) -> Float32Array:
    """Return how alike each pixel and the one (rows, columns) from it are, with ``reach`` pixels around."""
    height, width = (size - 2 * reach for size in planes[0].shape)
    first = _window(reach, reach, height, width)
    second = _window(reach + rows, reach + columns, height, width)
    squared = np.zeros((height, width), np.float32)
    for plane in planes:
        difference = plane[first] - plane[second]
        difference *= difference
        squared += difference
    squared *= 1 / len(planes)
    squared = cv2.blur(squared, (5, 5))
    squared -= np.float32(2 * sigma**2)
    np.maximum(squared, 0, out=squared)
    squared *= np.float32(-1 / (strength * sigma) ** 2)
    return np.asarray(cv2.blur(np.exp(squared, out=squared), (5, 5)), np.float32)


def _window(top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
    return slice(top, top + height), slice(left, left + width)


def _half_of_neighbours(reach: int) -> Iterator[tuple[int, int]]:
    """Yield one of each two opposite steps."""
    for rows in range(reach + 1):
        for columns in range(-reach, reach + 1):
            if rows > 0 or columns > 0:
                yield rows, columns


def fill_missing(image: Float32Array, known: BoolArray) -> Float32Array:
    """Fill missing pixels: linear between the nearest known ones; where none are near, a smooth average.

    Parameters
    ----------
    known
        (H, W); at least one is.
    """
    filled = np.asarray(push_pull(image, known), np.float32)
    for tile in tiles((image.shape[0], image.shape[1]), halo_px=_FILL_HALO_PX, tile_px=1024):
        part = _between(image[tile.outer], known[tile.outer])[tile.inner]
        target = filled[tile.target]
        target[~np.isnan(part)] = part[~np.isnan(part)]
    return filled


def _between(image: Float32Array, known: BoolArray) -> Float32Array:
    """Return (H, W, C): missing pixels linear between the nearest known ones, NaN elsewhere."""
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    values = np.full(image.shape, np.nan, np.float32)
    rim = cv2.dilate((~known).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    places, missing = np.argwhere(known & rim), np.argwhere(~known)
    if len(places) >= 4 and len(missing):
        with suppress(QhullError):  # all known pixels lie on a line
            values[tuple(missing.T)] = LinearNDInterpolator(places, image[tuple(places.T)])(missing)
    return values


def push_pull(image: Float32Array, known: BoolArray) -> Float32Array:
    """Average known pixels over ever larger squares; take the smallest square that has any."""
    weight = known.astype(np.float32)
    if min(known.shape) <= 1 or known.all():
        mean = image[known].mean(0) if known.any() else np.full(image.shape[2], 0.5, np.float32)
        return np.where(known[..., None], image, mean).astype(np.float32)
    half = (-(-known.shape[1] // 2), -(-known.shape[0] // 2))
    grown = [(0, 2 * half[1] - known.shape[0]), (0, 2 * half[0] - known.shape[1])]
    small_weight = cv2.resize(np.pad(weight, grown), half, interpolation=cv2.INTER_AREA)
    masked = np.pad(image * weight[..., None], [*grown, (0, 0)])
    small = cv2.resize(masked, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1)
    small = small / np.maximum(small_weight, 1e-6)[..., None]
    below = push_pull(small.astype(np.float32), small_weight > 0)
    large = cv2.resize(below, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)
    large = large.reshape(2 * half[1], 2 * half[0], -1)[: known.shape[0], : known.shape[1]]
    return np.where(known[..., None], image, large).astype(np.float32)
