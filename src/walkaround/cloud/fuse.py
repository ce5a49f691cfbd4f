"""Fuse the object's depth of all views into one cloud.

Every masked pixel with depth becomes a point with a normal from its neighbours. Points that too few views
confirm, or that a view sees through, are dropped; the rest is averaged in cells of about one pixel, stray
points are removed by their distance to their neighbours, and the others smoothed along their normals.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numba import njit, prange
from scipy import ndimage
from scipy.spatial import cKDTree

from walkaround.cloud.options import CloudOptions
from walkaround.errors import InputError
from walkaround.geometry import normalised_rays
from walkaround.geometry.pinhole import MIN_DEPTH, pack_intrinsics, project_point
from walkaround.io.depth import read_grey, read_measured_depth
from walkaround.io.pointcloud import write_pcd, write_ply
from walkaround.threads import use_numba_threads
from walkaround.types import (
    BoolArray,
    ByteArray,
    Float32Array,
    FloatArray,
    PointCloud,
    Progress,
    SparseModel,
    View,
    no_progress,
)

_MAX_SAMPLES = 3_000_000


@dataclass(frozen=True, kw_only=True)
class CloudResult:
    """The cloud and what the stage reports beside it."""

    cloud: PointCloud
    scores: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CloudView:
    """One view's part in the fusion."""

    view: View
    depth: Float32Array  # (H, W), 0 = invalid
    mask: BoolArray  # (H, W)
    image: ByteArray  # (H, W, 3) sRGB


def write_cloud(
    image_dir: Path,
    model: SparseModel,
    depth_dir: Path,
    mask_dir: Path,
    ply_path: Path,
    pcd_path: Path,
    *,
    options: CloudOptions,
    num_threads: int = 0,
    progress: Progress = no_progress,
) -> CloudResult:
    """Fuse and write the object's cloud as PLY and PCD.

    Scores: ``num_points``; ``cloud_views``, the mean number of views that agree on a point;
    ``cloud_spacing``, the cell size in world units.
    """
    threads = use_numba_threads(num_threads)
    views = []
    with ThreadPoolExecutor(threads) as pool:
        for view in pool.map(lambda view: load_view(image_dir, depth_dir, mask_dir, view), model.views):
            views.append(view)
            progress(0.3 * len(views) / len(model.views))
        result = fuse_cloud(views, options=options, run=pool.map, num_threads=threads)
    progress(0.8)
    write_ply(ply_path, result.cloud)
    write_pcd(pcd_path, result.cloud)
    progress(1.0)
    return result


def load_view(image_dir: Path, depth_dir: Path, mask_dir: Path, view: View) -> CloudView:
    """Read what the earlier stages left of one view.

    Raises
    ------
    InputError
        The image cannot be read.
    """
    name = Path(view.frame.image).stem + ".png"
    depth, _ = read_measured_depth(depth_dir / name)
    mask = read_grey(mask_dir / name) > 127
    image = cv2.imread(str(image_dir / view.frame.image), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"{image_dir / view.frame.image} cannot be read; run again with --overwrite.")
    return CloudView(view=view, depth=depth, mask=mask, image=np.ascontiguousarray(image[..., ::-1]))


def fuse_cloud(
    views: list[CloudView], *, options: CloudOptions, run: Callable[..., Any] = map, num_threads: int = 1
) -> CloudResult:
    """Return the fused cloud; empty when nothing agrees. ``run``: ``map``, or one that uses threads."""
    samples = sum(int((view.mask & (view.depth > 0)).sum()) for view in views)
    step = max(1, int(np.ceil(np.sqrt(samples / _MAX_SAMPLES))))
    parts = list(run(lambda view: view_points(view, step), views))
    points, normals, colors, footprint = (np.concatenate([part[k] for part in parts]) for k in range(4))
    cloud = PointCloud(points_in_world=np.zeros((0, 3), np.float32))
    spacing = 0.0
    if len(points):
        agree, pierced = check_points(views, points, options.max_relative_difference)
        keep = (agree >= options.min_views) & (pierced <= 1 + agree // 8)
        points, normals, colors, footprint = points[keep], normals[keep], colors[keep], footprint[keep]
        agree = agree[keep]
    if len(points):
        spacing = options.spacing_px * step * float(np.median(footprint))
        while True:
            cloud = average_cells(points, normals, colors, agree, spacing)
            if len(cloud.points_in_world) <= options.max_points:
                break
            spacing *= 1.3
        cloud = clean(cloud, num_threads=num_threads)
    views_mean = (
        float(cloud.num_views.mean()) if cloud.num_views is not None and len(cloud.num_views) else 0.0
    )
    scores = {
        "num_points": float(len(cloud.points_in_world)), "cloud_views": views_mean, "cloud_spacing": spacing,
    }  # fmt: skip
    return CloudResult(cloud=cloud, scores=scores)


def view_points(view: CloudView, step: int) -> tuple[FloatArray, FloatArray, ByteArray, FloatArray]:
    """Return points (N, 3) and normals (N, 3) in the world, colours (N, 3), pixel footprints (N,)."""
    camera, pose = view.view.camera, view.view.cam_from_world
    box = _box_around(view.mask & (view.depth > 0))
    rays = normalised_rays(camera)[box]
    z = view.depth[box].astype(np.float64)
    grid = np.concatenate([rays * z[..., None], z[..., None]], axis=-1)
    ok = view.mask[box] & (z > 0)
    # depth edges and the mask's rim carry mixed depth
    inner = cv2.erode(view.mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)[box] > 0
    normals, smooth = grid_normals(grid, ok)
    ok &= inner & smooth
    ok[np.arange(box[0].start, box[0].stop) % step != 0] = False
    ok[:, np.arange(box[1].start, box[1].stop) % step != 0] = False
    points = (grid[ok] - pose[:3, 3]) @ pose[:3, :3]
    return points, normals[ok] @ pose[:3, :3], view.image[box][ok], z[ok] / camera.K[0, 0]


def _box_around(mask: BoolArray, margin: int = 4) -> tuple[slice, slice]:
    """Return the rows and columns that hold all of a mask, with a margin."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(0, int(rows[0]) - margin), min(mask.shape[0], int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(mask.shape[1], int(columns[-1]) + 1 + margin)),
    )


def grid_normals(grid: FloatArray, ok: BoolArray, reach: int = 2) -> tuple[FloatArray, BoolArray]:
    """Return unit normals (H, W, 3) facing the camera, and where the surface is smooth enough to have one."""
    z = np.where(ok, grid[..., 2], np.nan)

    def difference(axis: int) -> FloatArray:
        ahead, back = np.roll(grid, -reach, axis), np.roll(grid, reach, axis)
        zero = np.roll(z, -reach, axis) * 0 + np.roll(z, reach, axis) * 0
        return (ahead - back) + zero[..., None]

    du, dv = difference(1), difference(0)
    normal = np.cross(du, dv)
    length = np.linalg.norm(normal, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = normal / length[..., None]
        facing = -(normal * grid).sum(axis=-1) / np.linalg.norm(grid, axis=-1)
        normal = np.where(facing[..., None] < 0, -normal, normal)
        jump = np.maximum(np.abs(du[..., 2]), np.abs(dv[..., 2])) / grid[..., 2]
        smooth = np.isfinite(facing) & (np.abs(facing) > 0.12) & (jump < 0.05)
    border = np.zeros_like(ok)
    border[reach:-reach, reach:-reach] = True
    return np.nan_to_num(normal), smooth & border


@njit(parallel=True, cache=True)
def _check(points, depths, sizes, rotations, translations, intrinsics, tolerance):  # type: ignore[no-untyped-def]
    agree = np.zeros(points.shape[0], np.int32)
    pierced = np.zeros(points.shape[0], np.int32)
    for n in prange(points.shape[0]):
        p = points[n]
        for s in range(rotations.shape[0]):
            x, y, z = project_point(p[0], p[1], p[2], rotations[s], translations[s], intrinsics[s])
            if z <= MIN_DEPTH:
                continue
            u, v = int(np.floor(x)), int(np.floor(y))
            if u < 0 or v < 0 or u >= sizes[s, 1] or v >= sizes[s, 0]:
                continue
            d = depths[s, v, u]
            if d <= 0:
                continue
            if abs(z - d) < tolerance * d:
                agree[n] += 1
            elif z < d * (1.0 - 3.0 * tolerance):
                pierced[n] += 1
    return agree, pierced


def check_points(views: list[CloudView], points: FloatArray, tolerance: float) -> tuple[Any, Any]:
    """Count, for each point, the views whose depth agrees and the views that see past it."""
    sizes = np.array([view.depth.shape for view in views], dtype=np.int64)
    depths = np.zeros((len(views), sizes[:, 0].max(), sizes[:, 1].max()), np.float32)
    rows = []
    for n, view in enumerate(views):
        depths[n, : sizes[n, 0], : sizes[n, 1]] = view.depth
        rows.append(pack_intrinsics(view.view.camera.K, view.view.camera.distortion))
    poses = np.stack([view.view.cam_from_world for view in views])
    return _check(
        points, depths, sizes, np.ascontiguousarray(poses[:, :3, :3]), np.ascontiguousarray(poses[:, :3, 3]),
        np.array(rows), tolerance,
    )  # fmt: skip


def average_cells(
    points: FloatArray, normals: FloatArray, colors: ByteArray, agree: Any, spacing: float
) -> PointCloud:
    """Average all that falls into one cubic cell of side ``spacing``, weighted by the views that agree."""
    cell = np.floor((points - points.min(axis=0)) / spacing).astype(np.int64)
    extent = cell.max(axis=0) + 1
    _, inverse = np.unique(
        (cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2], return_inverse=True
    )
    weight = agree.astype(np.float64)
    total = np.bincount(inverse, weight)

    def mean(values: FloatArray) -> FloatArray:
        return np.stack([np.bincount(inverse, weight * values[:, k]) / total for k in range(3)], axis=1)

    normal = mean(normals)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    most = np.zeros(len(total))
    np.maximum.at(most, inverse, weight)
    return PointCloud(
        points_in_world=mean(points).astype(np.float32),
        normals=(normal / np.maximum(length, 1e-9)).astype(np.float32),
        colors=np.clip(np.rint(mean(colors.astype(np.float64))), 0, 255).astype(np.uint8),
        num_views=np.minimum(most, 255).astype(np.uint8),
    )


def clean(cloud: PointCloud, *, neighbours: int = 12, num_threads: int = 1) -> PointCloud:
    """Drop stray points; move the others along their normals to the surface that their neighbours show."""
    points = cloud.points_in_world
    if len(points) < 4 * neighbours or cloud.normals is None or cloud.num_views is None:
        return cloud
    distances, index = cKDTree(points).query(points, k=neighbours + 1, workers=num_threads)
    keep = find_strays(distances[:, 1:])
    keep &= find_islands(points, 12.0 * float(np.median(distances[:, 1])))
    smooth = smooth_points(points, cloud.normals, cloud.num_views, distances, index)
    return PointCloud(
        points_in_world=smooth[keep], normals=cloud.normals[keep], num_views=cloud.num_views[keep],
        colors=None if cloud.colors is None else cloud.colors[keep],
    )  # fmt: skip


def find_strays(distances: FloatArray, factor: float = 6.0) -> BoolArray:
    """Return which points (N,) are near enough to their neighbours (N, K) to be kept (Rusu 2008)."""
    mean = distances.mean(axis=1)
    return np.asarray(mean < factor * np.median(mean))


def find_islands(points: Float32Array | FloatArray, cell: float, least: float = 0.005) -> BoolArray:
    """Return which points (N,) hang together with enough others, in touching cells of side ``cell``.

    What holds less than the share ``least`` of all points floats beside the object.
    """
    index = ((points - points.min(axis=0)) / max(cell, 1e-12)).astype(np.int64)
    index = index // (1 + int(index.max()) // 400)  # a stray far away must not make the grid large
    filled = np.zeros(index.max(axis=0) + 1, dtype=bool)
    filled[tuple(index.T)] = True
    labels, _ = ndimage.label(filled, np.ones((3, 3, 3)))
    mine = labels[tuple(index.T)]
    return np.asarray(np.bincount(mine)[mine] >= least * len(points))


@njit(parallel=True, cache=True)
def smooth_points(points, normals, num_views, distances, index):  # type: ignore[no-untyped-def]
    """Move points along their normals by a bilateral filter.

    As Digne and de Franchis 2017 (10.5201/ipol.2017.179), but a neighbour's distance is measured along the
    mean of both normals: two points of one sphere lie at the same height then, and nothing shrinks.

    A neighbour counts by its distance (half the farthest is one standard deviation), by how alike its normal
    is, so that edges stay, and by the views that agree on it.

    Parameters
    ----------
    distances, index
        (N, K) of the nearest points, each point itself first.

    Returns
    -------
    (N, 3) float32
    """
    out = np.empty_like(points)
    for n in prange(points.shape[0]):
        reach = max(distances[n, -1], 1e-12)
        total, shift = 0.0, 0.0
        for k in range(index.shape[1]):
            m = index[n, k]
            alike, offset = 0.0, 0.0
            for axis in range(3):
                alike += normals[n, axis] * normals[m, axis]
                middle = 0.5 * (normals[n, axis] + normals[m, axis])
                offset += middle * (points[m, axis] - points[n, axis])
            alike = max(alike, 0.0)
            weight = np.exp(-2.0 * (distances[n, k] / reach) ** 2) * alike**4 * num_views[m]
            total += weight
            shift += weight * offset
        for axis in range(3):
            out[n, axis] = points[n, axis] + normals[n, axis] * (shift / total if total > 0 else 0.0)
    return out
