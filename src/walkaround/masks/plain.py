"""Evidence of a plain background: before a wall or a cloth of one colour, colour tells what geometry cannot.

Thin stems and smooth surfaces get no depth; before a background of one colour they still differ from it.
"""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.masks.solid import MaskView, Solid, central_component, count_inside, support_plane
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray

BORDER = 0.06
"""Share of the width and height on each side in which the background is looked at."""
MIN_LEVELS = 10.0
"""Colours nearer than this are the background's, whatever its noise."""
MAX_LEVELS = 24.0
"""A background that needs more is not plain."""
PLAIN_SHARE = 0.85
"""Of a view's border that must have the background's colour; an object may be cut by the rest."""
PLAIN_VIEWS = 0.9
HULL_SHARE = 0.9
"""Of the views that show a voxel, so many must have another colour than the background there."""
FOREGROUND = (0.0004, 0.7)
"""Share of the pictures that may differ from a plain background."""


def plain_probabilities(images: list[ByteArray]) -> list[Float32Array] | None:
    """Return each picture's foreground probability (h, w) before a plain background, None before any other.

    Parameters
    ----------
    images
        (h, w, 3) each; the background's colour may drift from one to the next.
    """
    found = [foreground(image) for image in images]
    plain = [probability for probability in found if probability is not None]
    if len(plain) < PLAIN_VIEWS * len(images):
        return None
    share = float(np.median([(probability > 0.5).mean() for probability in plain]))
    if not FOREGROUND[0] <= share <= FOREGROUND[1]:
        return None
    unknown = [np.full(image.shape[:2], 0.5, np.float32) for image in images]
    return [u if p is None else p for p, u in zip(found, unknown, strict=True)]


def foreground(image: ByteArray) -> Float32Array | None:
    """Return how surely pixels differ from the colour of the border: 0 the same, 1 twice the tolerance away.

    None when the border is not of one colour.
    """
    height, width = image.shape[:2]
    top, left = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    border = np.ones((height, width), bool)
    border[top:-top, left:-left] = False
    values = image[border].astype(np.float32)
    centre = np.median(values, axis=0)
    distance = np.abs(values - centre).max(axis=1)
    tolerance = max(MIN_LEVELS, 4.0 * float(np.median(distance)))
    if tolerance > MAX_LEVELS or float((distance < tolerance).mean()) < PLAIN_SHARE:
        return None
    away = np.abs(image.astype(np.float32) - centre).max(axis=2)
    return np.asarray(np.clip(away / tolerance - 0.5, 0.0, 1.0), np.float32)


def open_background(probability: Float32Array) -> BoolArray:
    """Return the background that reaches the border; dark places inside the object are left undecided."""
    background = probability < 0.25
    _, labels = cv2.connectedComponents(background.astype(np.uint8), connectivity=4)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(background & np.isin(labels, edge[edge > 0]))


def plain_masks(views: list[MaskView]) -> tuple[list[BoolArray], list[BoolArray]] | None:
    """Return what surely differs from a plain background, and the background around it, (h, w) each."""
    probabilities = plain_probabilities([view.image_srgb for view in views])
    if probabilities is None:
        return None
    return [p > 0.5 for p in probabilities], [open_background(p) for p in probabilities]


def find_coloured(views: list[MaskView], differs: list[BoolArray], count: int, radius: float) -> Solid | None:
    """Find the object before a plain background by its visual hull (Laurentini 1994, 10.1109/34.273735).

    Parameters
    ----------
    differs
        (h, w) each: what surely differs from the background.
    count
        Voxels along the longest side of the grid.
    radius
        Half the side of the cube in which the object is sought.
    """
    measured = any((view.depth > 0).any() for view in views)
    plane = support_plane(views, radius, disc=True) if measured else None
    low, high = np.full(3, -radius), np.full(3, radius)
    solid = None
    for _ in range(3):
        found = _hull(views, differs, low, high, count, plane)
        if found is None:
            return solid
        solid = found
        low, high = found.box
    return solid


def _hull(
    views: list[MaskView],
    differs: list[BoolArray],
    low: FloatArray,
    high: FloatArray,
    count: int,
    plane: FloatArray | None,
) -> Solid | None:
    voxel = float((high - low).max()) / (count - 1)
    shape = tuple(int(n) for n in np.ceil((high - low) / voxel).astype(int) + 1)
    grid = np.stack(np.meshgrid(*(low[a] + voxel * np.arange(shape[a]) for a in range(3)), indexing="ij"), -1)
    points = grid.reshape(-1, 3)
    grown = [_grown(view, mask, voxel) for view, mask in zip(views, differs, strict=True)]
    inside, seen = count_inside(views, points, grown)
    kept = (inside >= HULL_SHARE * seen) & (seen >= 0.5 * len(views))
    if plane is not None:
        kept &= points @ plane[:3] + plane[3] > max(0.006, 0.75 * voxel)
    part = central_component(kept.reshape(shape), grid, 0.5 * float((high - low).max()), reach=2)
    return None if part is None else Solid(occupied=part, origin=low, voxel=voxel, plane=plane)


def _grown(view: MaskView, mask: BoolArray, voxel: float) -> BoolArray:
    """Grow a mask by half a voxel at the world's origin: a stem is thinner than a voxel."""
    half = int(np.ceil(0.5 * voxel * view.K[0, 0] / max(float(np.linalg.norm(view.view.centre)), 1e-6)))
    kernel = np.ones((2 * half + 1, 2 * half + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
