"""Where depth is worth computing finely: the space most views share, less the support plane."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.depth import _kernels
from walkaround.depth.store import Maps
from walkaround.depth.views import StereoView, points_of
from walkaround.depth.warps import (
    OFFSETS_FINE,
    best_count,
    make_scene,
    patch_offsets,
    scratch,
    stack_maps,
    warps,
)
from walkaround.geometry.plane import fit_plane
from walkaround.types import BoolArray, FloatArray

_ASKED = 30
"""About so many views are asked what they see; of more than 60, every second or third: the cost of a view
must not grow with the number of views."""


def shared_region(
    views: list[StereoView],
    index: int,
    level: int,
    share: float,
    plane: FloatArray | None = None,
    trusted: BoolArray | None = None,
) -> BoolArray:
    """Return the pixels whose surface point lies in front of and inside at least ``share`` of the frames.

    A walk-around keeps the object in view, so this is the object and what stands or lies beside it;
    points on the support ``plane`` (a, b, c, d) and points that are not ``trusted`` are left out.
    """
    step = 2  # every second pixel is enough for a region
    world = points_of(views[index], level, step)
    count = np.zeros(world.shape[:2])
    asked = views[:: max(1, len(views) // _ASKED)]
    for other in asked:
        p = world @ other.view.cam_from_world[:3, :3].T + other.view.cam_from_world[:3, 3]
        h, w = other.levels[level].size_hw
        q = p @ other.levels[level].K.T
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = q[..., 0] / q[..., 2], q[..., 1] / q[..., 2]
        count += (p[..., 2] > 0) & (x > 0) & (y > 0) & (x < w) & (y < h)
    inside = count >= share * len(asked)
    if plane is not None:
        inside &= np.abs(world @ plane[:3] + plane[3]) > 0.006
    if trusted is not None:
        inside &= trusted[::step, ::step]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    region = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, cross)
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    height, width = views[index].levels[level].size_hw
    region = cv2.resize(region, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.dilate(region, np.ones((7, 7), np.uint8)) > 0)


def confirmed(views: list[StereoView], index: int, level: int, maps: Maps) -> BoolArray:
    """Return the pixels of ``maps[index]`` that at least one source's map agrees with."""
    warp = warps(views, index, level)
    stack, sizes = stack_maps(maps, views[index].sources)
    f = np.float32
    count, _ = _kernels.count_agreement(
        maps[index], stack, sizes, warp.A, warp.b, warp.A_back, warp.b_back, f(1.5), f(0.02)
    )
    return np.asarray(count > 0)


def support_points(view: StereoView) -> FloatArray:
    """Return the confident half-size points within 1.2 of the origin, (N, 3) in the world."""
    if view.cost is None:
        raise RuntimeError("no costs yet")
    points, cost = points_of(view, 1, 4), view.cost[::4, ::4]
    return np.asarray(points[(np.linalg.norm(points, axis=-1) < 1.2) & (cost < 0.4)])


def support_plane(points: FloatArray) -> FloatArray | None:
    """Return the plane (a, b, c, d) that the object stands on, or None when no plane dominates.

    Sought among all views' :func:`support_points`; the normal must lie within 45 degrees of the world's z
    axis.
    """
    if len(points) < 200:
        return None
    found = fit_plane(points, tolerance=0.006)
    return found[0] if found is not None and found[1] > 0.15 else None


def settle_on_plane(views: list[StereoView], index: int, plane: FloatArray) -> None:
    """Put the half-size pixels near the support plane onto it where it matches about as well."""
    ref = views[index]
    if ref.planes is None or ref.cost is None or ref.active is None:
        return
    pose, K = ref.view.cam_from_world, ref.levels[1].K
    normal = pose[:3, :3] @ plane[:3]
    offset = float(plane[3] - normal @ pose[:3, 3])
    # n . X + d = 0 with X = z K^-1 (u, v, 1): the inverse depth is affine in u and v
    inverse = -(normal @ np.linalg.inv(K)) / offset
    f = np.float32
    prior = np.array([inverse[2], inverse[0], inverse[1]], dtype=np.float32)
    scene = make_scene(views, index, 1)
    _kernels.prefer_plane(
        ref.levels[1].image, *scene.arrays, ref.planes, ref.cost, ref.active, patch_offsets(*OFFSETS_FINE),
        best_count(ref), prior, f(0.04), f(0.06), *scratch(scene),
    )  # fmt: skip
