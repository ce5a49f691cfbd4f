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
    height, width = image.shape[:2]
    reach = NLM_REACH_PX
    padded = cv2.copyMakeBorder(image, *(reach,) * 4, cv2.BORDER_REFLECT_101).reshape(
        height + 2 * reach, width + 2 * reach, -1
    )
    total = np.zeros(image.shape, np.float32)
    weights, largest = np.zeros((height, width), np.float32), np.full((height, width), 1e-3, np.float32)
    for rows, columns in _neighbours(reach):
        other = padded[rows : rows + height, columns : columns + width]
        squared = cv2.blur(np.square(image - other).mean(2), (5, 5))
        near = np.maximum(squared - 2 * sigma**2, 0) * (-1 / (strength * sigma) ** 2)
        weight = cv2.blur(np.exp(near), (5, 5))
        np.maximum(largest, weight, out=largest)
        total += weight[..., None] * other
        weights += weight
    return np.asarray((total + largest[..., None] * image) / (weights + largest)[..., None], np.float32)


def _neighbours(reach: int) -> Iterator[tuple[int, int]]:
    for rows in range(2 * reach + 1):
        for columns in range(2 * reach + 1):
            if (rows, columns) != (reach, reach):
                yield rows, columns


def fill_missing(image: Float32Array, known: BoolArray) -> Float32Array:
    """Fill missing pixels: linear between the nearest known ones; where none are near, a smooth average.

    Parameters
    ----------
    known
        (H, W); at least one is.
    """
    filled = np.asarray(_push_pull(image, known), np.float32)
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


def _push_pull(image: Float32Array, known: BoolArray) -> Float32Array:
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
    below = _push_pull(small.astype(np.float32), small_weight > 0)
    large = cv2.resize(below, (2 * half[0], 2 * half[1]), interpolation=cv2.INTER_LINEAR)
    large = large.reshape(2 * half[1], 2 * half[0], -1)[: known.shape[0], : known.shape[1]]
    return np.where(known[..., None], image, large).astype(np.float32)
