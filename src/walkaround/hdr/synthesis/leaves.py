"""Dead leaves: pictures of overlapping shapes of all sizes, whose statistics are those of natural pictures.

Lee, Mumford and Huang, "Occlusion models for natural images", doi:10.1023/A:1011109015675. They cost
nothing, have no licence, and give a network edges, corners and textures that never repeat.
"""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import Float32Array


def draw_leaves(size: tuple[int, int], rng: np.random.Generator, *, num_shapes: int = 900) -> Float32Array:
    """Return (H, W, 3) radiance: shapes with a cubic law of sizes, log-normal light, a few lamps."""
    width, height = size
    picture = np.full((height, width, 3), 0.2, np.float32)
    smallest, largest = 4.0, 0.4 * min(size)
    chance = rng.uniform(0, 1, num_shapes)
    radii = 1.0 / np.sqrt(chance / smallest**2 + (1 - chance) / largest**2)
    for radius in np.sort(radii)[::-1]:
        light = np.exp(rng.normal(-1.5, 1.3)) * (12.0 if rng.uniform() < 0.02 else 1.0)
        color = light * np.exp(rng.normal(0, 0.25, 3))
        centre = rng.uniform(0, 1, 2) * size
        _draw_leaf(picture, centre, float(radius), color, rng)
    picture *= _uneven(size, rng, strength=0.6, cells=3)[..., None]
    picture *= _uneven(size, rng, strength=0.2, cells=int(rng.integers(20, 90)))[..., None]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.0)), np.float32)


def _draw_leaf(
    picture: Float32Array, centre: np.ndarray, radius: float, color: np.ndarray, rng: np.random.Generator
) -> None:
    axes = (max(round(radius), 1), max(round(radius * rng.uniform(0.3, 1.0)), 1))
    at, turn = (int(centre[0]), int(centre[1])), float(rng.uniform(0, 180))
    shade = tuple(float(value) for value in color)
    if rng.uniform() < 0.6:
        cv2.ellipse(picture, at, axes, turn, 0, 360, shade, thickness=-1)
        return
    corners = cv2.boxPoints(((float(at[0]), float(at[1])), (2.0 * axes[0], 2.0 * axes[1]), turn))
    cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], shade)


def _uneven(size: tuple[int, int], rng: np.random.Generator, *, strength: float, cells: int) -> Float32Array:
    """Return an (H, W) factor around 1 that changes over cells."""
    coarse = np.exp(strength * rng.standard_normal((cells, cells))).astype(np.float32)
    return np.asarray(np.maximum(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), 0.05), np.float32)
