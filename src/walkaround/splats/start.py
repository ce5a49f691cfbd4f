"""The Gaussians to begin with: on the surfaces of the depth maps, and a shell around the scene."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from walkaround.errors import InputError
from walkaround.geometry import transform_points
from walkaround.radiance.views import ViewSet
from walkaround.splats.gaussians import SH_DC, Gaussians
from walkaround.types import BoolArray, FloatArray, IntArray

_SURFACE_SHARE, _SPARSE_SHARE, _AROUND_SHARE = 0.6, 0.2, 0.1
"""Of the most that there may be; the others come where the fit asks for them."""
_OPACITY_ON_SURFACE, _OPACITY_AROUND = 0.7, 0.3
_NEIGHBOURS = 3
_CANDIDATES = 50_000
_LARGEST = 0.05
"""Of the cameras' distance: no Gaussian on a surface begins larger."""


def first_gaussians(
    views: ViewSet,
    points_in_world: FloatArray,
    masks: BoolArray | None,
    *,
    most: int,
    degree: int,
    rng: np.random.Generator,
) -> Gaussians:
    """Return Gaussians where the sequence's depth maps and sparse points lie, coloured by the pictures.

    Parameters
    ----------
    points_in_world
        (P, 3), the sparse points.
    masks
        (V, H, W) of the object, to begin with it alone; None: with all, and a shell as far as rays reach.
    most
        They are fewer: there is to be room for more.

    Raises
    ------
    InputError
        There is no depth, no sparse point, and no place that the pictures (or masks) share.
    """
    distance = float(np.median(np.linalg.norm(views.centres - views.middle, axis=1)))
    surface, colours = _from_depth(views, masks, round(_SURFACE_SHARE * most), rng)
    chosen = rng.permutation(len(points_in_world))[: round(_SPARSE_SHARE * most)]
    sparse, sparse_colours = _seen(views, points_in_world[chosen], masks)
    surface, colours = np.concatenate([surface, sparse]), np.concatenate([colours, sparse_colours])
    if len(surface) < 100:  # no depth, hardly a point: anywhere around the middle
        surface = views.middle + 0.3 * distance * rng.normal(size=(_CANDIDATES, 3))
        surface, colours = (found[: most // 2] for found in _seen(views, surface, masks))
        if len(surface) <= _NEIGHBOURS:
            raise InputError(
                "There is nothing to begin with: no depth maps, no sparse points, and hardly a place that all"
                " pictures see. Build the sequence's depth with `walkaround build`."
            )
    spacing = np.clip(_spacing(surface), 1e-4 * distance, _LARGEST * distance)
    opacity = np.full(len(surface), _OPACITY_ON_SURFACE)
    if masks is None:
        around, around_colours, around_spacing = _around(views, round(_AROUND_SHARE * most), rng)
        surface, colours = np.concatenate([surface, around]), np.concatenate([colours, around_colours])
        spacing = np.concatenate([spacing, around_spacing])
        opacity = np.concatenate([opacity, np.full(len(around), _OPACITY_AROUND)])
    harmonics = np.zeros((len(surface), (degree + 1) ** 2, 3))
    harmonics[:, 0] = (colours - 0.5) / SH_DC
    turns = np.zeros((len(surface), 4))
    turns[:, 0] = 1
    return Gaussians(
        means=_tensor(surface),
        log_scales=_tensor(np.log(np.repeat(spacing[:, None], 3, axis=1))),
        rotations=_tensor(turns),
        logits=_tensor(np.log(opacity / (1 - opacity))),
        harmonics=_tensor(harmonics),
    )


def _tensor(values: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _from_depth(
    views: ViewSet, masks: BoolArray | None, count: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw pixels that have depth, evenly over the pictures: their points (N, 3) and colours (N, 3)."""
    if views.depth is None:
        return np.zeros((0, 3)), np.zeros((0, 3))
    points, colours = [], []
    for number in range(len(views)):
        usable = views.depth[number] > 0
        if masks is not None:
            usable &= masks[number]
        row, column = np.nonzero(usable)
        chosen = rng.permutation(len(row))[: _portion(count, len(views), number)]
        points.append(
            _lifted(
                views, number, row[chosen], column[chosen], views.depth[number][row[chosen], column[chosen]]
            )
        )
        colours.append(views.images_srgb[number][row[chosen], column[chosen]] / 255.0)
    return np.concatenate(points), np.concatenate(colours)


def _around(
    views: ViewSet, count: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Put pixels without depth at the end of the scene: points, colours and distances to the next."""
    height, width = views.images_srgb.shape[1:3]
    points, colours, spacing = [], [], []
    for number in range(len(views)):
        open_ = np.ones((height, width), bool) if views.depth is None else views.depth[number] <= 0
        row, column = np.nonzero(open_)
        chosen = rng.permutation(len(row))[: _portion(count, len(views), number)]
        end, far = views.depth_range[number, 2:]
        depth = 1 / rng.uniform(1 / far, 1 / (1.2 * end), len(chosen))
        points.append(_lifted(views, number, row[chosen], column[chosen], depth))
        colours.append(views.images_srgb[number][row[chosen], column[chosen]] / 255.0)
        apart_px = np.sqrt(len(row) / max(1, len(chosen)))
        spacing.append(0.5 * apart_px * depth / views.K[number, 0, 0])
    return np.concatenate(points), np.concatenate(colours), np.concatenate(spacing)


def _portion(count: int, parts: int, number: int) -> int:
    """Return how many of ``count`` fall to one of several equal parts."""
    return count * (number + 1) // parts - count * number // parts


def _lifted(views: ViewSet, number: int, row: IntArray, column: IntArray, depth: FloatArray) -> FloatArray:
    """Return the points (N, 3) in the world of pixels of one picture."""
    pixels = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], axis=1)
    in_cam = pixels @ np.linalg.inv(views.K[number]).T * np.asarray(depth, dtype=float)[:, None]
    return transform_points(np.linalg.inv(views.cam_from_world[number]), in_cam)


def _seen(views: ViewSet, points: FloatArray, masks: BoolArray | None) -> tuple[FloatArray, FloatArray]:
    """Return the points that lie in a picture, and in no picture outside a mask, with their mean colour."""
    height, width = views.images_srgb.shape[1:3]
    total, count = np.zeros((len(points), 3)), np.zeros(len(points))
    inside_all = np.ones(len(points), bool)
    for number in range(len(views)):
        in_cam = transform_points(views.cam_from_world[number], points)
        z = np.maximum(in_cam[:, 2], 1e-9)
        pixels = np.floor(
            in_cam[:, :2] / z[:, None] * views.K[number][[0, 1], [0, 1]] + views.K[number][:2, 2]
        )
        inside = (in_cam[:, 2] > 0) & ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
        column, row = pixels[inside].astype(np.int64).T
        total[inside] += views.images_srgb[number][row, column] / 255.0
        count[inside] += 1
        if masks is not None:
            inside_all[np.flatnonzero(inside)[~masks[number][row, column]]] = False
    kept = (count > 0) & inside_all
    return points[kept], total[kept] / count[kept, None]


def _spacing(points: FloatArray) -> FloatArray:
    """Return each point's mean distance to its nearest others, (N,)."""
    apart, _ = cKDTree(points).query(points, k=_NEIGHBOURS + 1)
    found: FloatArray = np.asarray(apart)[:, 1:].mean(axis=1)
    return found
