"""The mask solid: what all masks together leave of space, as a mesh of voxel faces.

The visual hull of Laurentini 1994 (10.1109/34.273735), on a grid coarse enough to take a second.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from walkaround.geometry import project
from walkaround.types import BoolArray, FloatArray, IntArray, View

NUM_CELLS = 56
"""Along the longest side."""
_MAX_MISSES = 0.08
"""Share of the views that see a cell outside their mask although it is part of the solid (masks err)."""
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
_SIDES = {
    (-1, 0, 0): (0, 4, 7, 3),
    (1, 0, 0): (1, 2, 6, 5),
    (0, -1, 0): (0, 1, 5, 4),
    (0, 1, 0): (3, 7, 6, 2),
    (0, 0, -1): (0, 3, 2, 1),
    (0, 0, 1): (4, 5, 6, 7),
}


def carve(
    masks: Iterable[tuple[View, BoolArray]], low: FloatArray, high: FloatArray
) -> tuple[BoolArray, float]:
    """Return which cells (X, Y, Z) of a box are in the masks of nearly all views that see them; their size.

    Parameters
    ----------
    masks
        Views and their masks, at any size.
    low, high
        Corners (3,) of the box in the world.
    """
    size = float((high - low).max()) / NUM_CELLS
    counts = np.maximum(np.ceil((high - low) / size).astype(int), 1)
    grid = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in counts), indexing="ij"), axis=-1)
    centres = (low + grid.reshape(-1, 3) * size).astype(np.float64)
    seen, outside = (np.zeros(len(centres), np.int32) for _ in range(2))
    for view, mask in masks:
        visible, inside = _inside(view, _grown(mask, view, size), centres)
        seen += visible
        outside += visible & ~inside
    solid = (seen >= 2) & (outside <= _MAX_MISSES * seen)
    return solid.reshape(tuple(counts)), size


def mesh_of(solid: BoolArray, low: FloatArray, size: float) -> tuple[FloatArray, IntArray]:
    """Return vertices (V, 3) and triangles (F, 3) of the faces between solid cells and empty ones."""
    padded = np.pad(solid, 1)
    quads = []
    for step, corners in _SIDES.items():
        inner = tuple(slice(1 + s, padded.shape[a] - 1 + s) for a, s in enumerate(step))
        cells = np.argwhere(solid & ~padded[inner])
        quads.append(cells[:, None, :] + _CORNERS[list(corners)])
    corners_of = np.concatenate(quads).reshape(-1, 3)
    unique, index = np.unique(corners_of, axis=0, return_inverse=True)
    index = index.reshape(-1, 4)
    triangles = np.concatenate([index[:, [0, 1, 2]], index[:, [0, 2, 3]]])
    return low + unique * size, triangles.astype(np.int64)


def _inside(view: View, mask: BoolArray, points: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Return which points a view sees, and which of these lie in its mask."""
    in_cam = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    front = in_cam[:, 2] > 1e-6
    camera = view.camera.scaled(mask.shape[1], mask.shape[0])
    pixels = np.full((len(points), 2), -1.0)
    pixels[front] = project(camera, in_cam[front])
    x, y = np.floor(np.clip(np.nan_to_num(pixels, nan=-1.0), -1, 1e6)).astype(int).T
    visible = front & (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    inside = np.zeros(len(points), bool)
    inside[visible] = mask[y[visible], x[visible]]
    return visible, inside


def _grown(mask: BoolArray, view: View, size: float) -> BoolArray:
    """Grow a mask by about half a cell, so that cells cut by the outline stay."""
    distance = max(float(np.linalg.norm(view.centre)), 1e-6)
    radius = round(0.5 * size * view.camera.K[0, 0] / distance * mask.shape[1] / view.camera.width)
    if radius < 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * min(radius, 15) + 1,) * 2)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
