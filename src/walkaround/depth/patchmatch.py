"""Depth of every view by PatchMatch stereo on the CPU, coarse to fine.

1. Every view alone at an eighth, a quarter and half of the working size, started from the sparse points.
2. Every view at half size again, now also charged for disagreeing with its neighbours' depth.
3. Full size, only where the depth found so far lies in the space that most cameras share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.depth import _kernels
from walkaround.errors import InputError
from walkaround.geometry.plane import fit_plane
from walkaround.types import (
    BoolArray,
    Camera,
    Float32Array,
    FloatArray,
    IntArray,
    Progress,
    SparseModel,
    View,
)

_OFFSETS_COARSE = 2, 1  # half width in samples, step in px: 5 x 5 samples over 5 px
_OFFSETS_FINE = 2, 2  # 5 x 5 samples over 9 px
_SIGMA_COLOR = 30.0  # grey levels


@dataclass(kw_only=True)
class Level:
    """One view at one size of the pyramid, as a pinhole camera without distortion."""

    image: Float32Array  # (h, w) grey levels
    K: FloatArray  # (3, 3)


@dataclass(kw_only=True)
class StereoView:
    """A view while its depth is being computed."""

    view: View
    levels: list[Level]  # full, half, quarter, eighth of the working size
    sources: IntArray
    w_low: float
    w_high: float
    planes: Float32Array | None = None  # (h, w, 3) at the size last worked on
    cost: Float32Array | None = None
    texture: Float32Array | None = None
    active: BoolArray | None = None


@dataclass(frozen=True, kw_only=True)
class Warps:
    """How reference pixels of one level reach the sources, and back (see ``_kernels``)."""

    A: Float32Array
    b: Float32Array
    A_back: Float32Array
    b_back: Float32Array


def load_views(
    image_dir: Path, model: SparseModel, sources: tuple[IntArray, ...], max_size: int
) -> list[StereoView]:
    """Read, undistort and shrink the images; bound the inverse depth by the sparse points seen."""
    views = []
    for index, view in enumerate(model.views):
        path = image_dir / view.frame.image
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if grey is None:
            raise InputError(f"{path} cannot be read; run again with --overwrite to extract the frames anew.")
        camera = view.camera
        if np.any(camera.distortion):
            # half a pixel between COLMAP's (0.5, 0.5) and OpenCV's (0, 0) for the first pixel's centre
            K = camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
            grey = cv2.undistort(grey, K, camera.distortion)
        width, height = working_size(camera, max_size)
        if (width, height) != (camera.width, camera.height):
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        levels = [Level(image=grey.astype(np.float32), K=camera.scaled(width, height).K)]
        for _ in range(3):
            levels.append(_half(levels[-1]))
        low, high = _inverse_range(model, index)
        views.append(StereoView(view=view, levels=levels, sources=sources[index], w_low=low, w_high=high))
    return views


def working_size(camera: Camera, max_size: int) -> tuple[int, int]:
    """Return the (width, height) at which depth is computed."""
    scale = min(1.0, max_size / max(camera.width, camera.height))
    return max(16, round(camera.width * scale)), max(16, round(camera.height * scale))


def _half(level: Level) -> Level:
    height, width = level.image.shape
    size = max(8, (width + 1) // 2), max(8, (height + 1) // 2)
    image = cv2.resize(level.image, size, interpolation=cv2.INTER_AREA)
    K = level.K.copy()
    K[0] *= size[0] / width
    K[1] *= size[1] / height
    return Level(image=image, K=K)


def _inverse_range(model: SparseModel, index: int) -> tuple[float, float]:
    pose = model.views[index].cam_from_world
    z = model.points_in_world[model.observations[index]] @ pose[2, :3] + pose[2, 3]
    z = z[z > 1e-6]
    if len(z) < 8:
        distance = float(np.linalg.norm(model.views[index].centre))
        z = np.array([0.5 * distance, 2.0 * distance])
    low, high = np.percentile(z, [1.0, 99.0])
    return 0.5 / float(high), 1.4 / float(low)


def warps(views: list[StereoView], index: int, level: int, source_level: int | None = None) -> Warps:
    """Return the warps from view ``index`` to its sources at a pyramid level."""
    ref = views[index]
    K = ref.levels[level].K
    rows = []
    for s in ref.sources:
        Ks = views[s].levels[level if source_level is None else source_level].K
        relative = views[s].view.cam_from_world @ np.linalg.inv(ref.view.cam_from_world)
        R, t = relative[:3, :3], relative[:3, 3]
        rows.append(
            (
                Ks @ R @ np.linalg.inv(K),
                Ks @ t,
                K @ R.T @ np.linalg.inv(Ks),
                -K @ R.T @ t,
            )
        )
    A, b, A_back, b_back = (np.stack([row[k] for row in rows]).astype(np.float32) for k in range(4))
    return Warps(A=A, b=b, A_back=A_back, b_back=b_back)


def stack_maps(maps: list[Float32Array]) -> tuple[Float32Array, IntArray]:
    """Stack (h, w) maps of maybe different sizes into one zero-padded array, and their sizes."""
    sizes = np.array([m.shape for m in maps], dtype=np.int64)
    out = np.zeros((len(maps), sizes[:, 0].max(), sizes[:, 1].max()), dtype=np.float32)
    for k, m in enumerate(maps):
        out[k, : m.shape[0], : m.shape[1]] = m
    return out, sizes


def _flat_sources(views: list[StereoView], index: int, level: int) -> tuple[Float32Array, IntArray]:
    images = [views[s].levels[level].image for s in views[index].sources]
    sizes = np.array([image.shape for image in images], dtype=np.int64)
    flat = np.zeros((len(images), int(sizes.prod(axis=1).max())), dtype=np.float32)
    for k, image in enumerate(images):
        flat[k, : image.size] = image.ravel()
    return flat, sizes


def patch_offsets(half: int, step: int) -> Float32Array:
    """Return (n, 3): du, dv and the spatial part of the bilateral weight's exponent."""
    axis = np.arange(-half, half + 1, dtype=np.float32) * step
    du, dv = np.meshgrid(axis, axis)
    reach = half * step
    spatial = (du**2 + dv**2) / (2.0 * reach * reach)
    return np.stack([du.ravel(), dv.ravel(), spatial.ravel()], axis=1).astype(np.float32)


def disparity_step(views: list[StereoView], index: int, level: int, warp: Warps) -> float:
    """Return the change of inverse depth that moves the match by one pixel (median over the sources)."""
    ref = views[index]
    height, width = ref.levels[level].image.shape
    w = 1.0 / max(float(np.linalg.norm(ref.view.centre)), 1e-6)
    p = np.array([0.5 * width, 0.5 * height, 1.0])
    slopes = []
    for A, b in zip(warp.A.astype(np.float64), warp.b.astype(np.float64), strict=True):
        q0, q1 = A @ p + w * b, A @ p + 1.01 * w * b
        if q0[2] > 0 and q1[2] > 0:
            slopes.append(float(np.linalg.norm(q1[:2] / q1[2] - q0[:2] / q0[2])) / (0.01 * w))
    return 1.0 / max(float(np.median(slopes)) if slopes else width / w, 1e-9)


def initial_planes(model: SparseModel, views: list[StereoView], index: int, level: int) -> Float32Array:
    """Start the quarter size: the nearest sparse point on one colour of the board, random on the other."""
    ref = views[index]
    height, width = ref.levels[level].image.shape
    pose = ref.view.cam_from_world
    points = model.points_in_world[model.observations[index]] @ pose[:3, :3].T + pose[:3, 3]
    points = points[points[:, 2] > 1e-6]
    rng = np.random.default_rng(index)
    planes = np.zeros((height, width, 3), dtype=np.float32)
    planes[..., 0] = rng.uniform(ref.w_low, ref.w_high, (height, width))
    if len(points):
        uv = points @ ref.levels[level].K.T
        xy = np.floor(uv[:, :2] / uv[:, 2:]).astype(int)
        inside = (xy >= 0).all(axis=1) & (xy[:, 0] < width) & (xy[:, 1] < height)
        if inside.any():
            empty = np.ones((height, width), dtype=np.uint8)
            value = np.zeros((height, width), dtype=np.float32)
            empty[xy[inside, 1], xy[inside, 0]] = 0
            value[xy[inside, 1], xy[inside, 0]] = 1.0 / points[inside, 2]
            _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
            table = np.zeros(labels.max() + 1, dtype=np.float32)
            table[labels[empty == 0]] = value[empty == 0]
            yy, xx = np.mgrid[:height, :width]
            chosen = (xx + yy) % 2 == 0
            planes[..., 0][chosen] = table[labels][chosen]
    np.clip(planes[..., 0], ref.w_low, ref.w_high, out=planes[..., 0])
    return planes


def enlarge_planes(planes: Float32Array, size_hw: tuple[int, int]) -> Float32Array:
    """Carry planes to the next finer size: each pixel takes its coarse pixel's plane, evaluated at itself."""
    height, width = size_hw
    sy, sx = planes.shape[0] / height, planes.shape[1] / width
    y = (np.arange(height) + 0.5) * sy
    x = (np.arange(width) + 0.5) * sx
    iy = np.minimum(y.astype(int), planes.shape[0] - 1)
    ix = np.minimum(x.astype(int), planes.shape[1] - 1)
    out = planes[iy][:, ix].copy()
    out[..., 0] += out[..., 1] * (x - ix - 0.5)[None, :].astype(np.float32)
    out[..., 0] += out[..., 2] * (y - iy - 0.5)[:, None].astype(np.float32)
    out[..., 1] *= sx
    out[..., 2] *= sy
    return np.ascontiguousarray(out, dtype=np.float32)


def run_level(
    views: list[StereoView],
    index: int,
    level: int,
    *,
    iterations: int,
    far: bool,
    spread: float,
    geometric: float = 0.0,
    neighbour_maps: list[Float32Array] | None = None,
    active: BoolArray | None = None,
    seed: int = 0,
    finish: bool = False,
) -> None:
    """Improve ``views[index].planes`` in place at one pyramid level."""
    ref = views[index]
    planes = ref.planes
    if planes is None:
        raise RuntimeError("run_level needs planes to start from")
    image = ref.levels[level].image
    height, width = image.shape
    warp = warps(views, index, level)
    flat, sizes = _flat_sources(views, index, level)
    if neighbour_maps is not None:
        maps, map_sizes = stack_maps([neighbour_maps[s] for s in ref.sources])
        map_scale = (map_sizes[:, ::-1] / sizes[:, ::-1]).astype(np.float32)
    else:
        maps, map_scale = (
            np.zeros((len(ref.sources), 1, 1), np.float32),
            np.ones((len(ref.sources), 2), np.float32),
        )
    scene = (flat, sizes, warp.A, warp.b, maps, map_scale, warp.A_back, warp.b_back)
    cost = np.full((height, width), 2.0, dtype=np.float32)
    mask = np.ones((height, width), dtype=np.bool_) if active is None else active
    step = disparity_step(views, index, level, warp)
    offsets = patch_offsets(*(_OFFSETS_COARSE if level >= 2 else _OFFSETS_FINE))
    best = np.int64(max(1, min(len(ref.sources), 2)))
    f = np.float32
    slope_limit = f(4.0 / ref.levels[level].K[0, 0])
    for iteration in range(iterations):
        size = f(spread * 0.6**iteration)
        for color in (0, 1):
            _kernels.sweep(
                image, scene, planes, cost, mask, color, iteration, seed + 97 * level, offsets,
                f(_SIGMA_COLOR), best, f(ref.w_low), f(ref.w_high), f(step), slope_limit, 1 if far else 0,
                size, iteration == 0, f(geometric), level < 3,
            )  # fmt: skip
    if finish:
        ref.texture = _kernels.polish(
            image, scene, planes, cost, mask, offsets, f(_SIGMA_COLOR), best, f(step)
        )
    ref.cost = cost


def compute_planes(model: SparseModel, views: list[StereoView], progress: Progress) -> None:
    """Run all three steps; leaves planes and costs at full size in ``views``."""
    n = len(views)
    for i, view in enumerate(views):
        view.planes = initial_planes(model, views, i, 3)
        run_level(views, i, 3, iterations=4, far=True, spread=4.0)
        view.planes = enlarge_planes(view.planes, view.levels[2].image.shape)
        run_level(views, i, 2, iterations=2, far=False, spread=2.0)
        size_hw = view.levels[1].image.shape
        view.active = enlarge(shared_region(views, i, 2, 0.5), size_hw)
        coarse_cost = view.cost
        view.planes = enlarge_planes(view.planes, size_hw)
        run_level(views, i, 1, iterations=1, far=False, spread=1.5, active=view.active)
        keep_cost_outside(view, coarse_cost)
        progress(0.35 * (i + 1) / n)
    for step in range(1):
        maps = [_inverse_map(view) for view in views]
        for i in range(n):
            coarse_cost = views[i].cost
            run_level(
                views, i, 1, iterations=1, far=False, spread=1.0, geometric=0.15, neighbour_maps=maps,
                active=views[i].active, seed=1000 * (step + 1),
            )  # fmt: skip
            keep_cost_outside(views[i], coarse_cost)
            progress(0.35 + 0.15 * (step + (i + 1) / n))
    maps = [_inverse_map(view) for view in views]
    plane = support_plane(views)
    for i, view in enumerate(views):
        if view.planes is None:
            continue
        size_hw = view.levels[0].image.shape
        region = shared_region(views, i, 1, 0.7, plane, confirmed(views, i, 1, maps))
        view.active = enlarge(region, size_hw)
        coarse_cost = view.cost
        view.planes = enlarge_planes(view.planes, size_hw)
        run_level(
            views, i, 0, iterations=1, far=False, spread=0.7, geometric=0.1, neighbour_maps=maps,
            active=view.active, seed=5000, finish=True,
        )  # fmt: skip
        keep_cost_outside(view, coarse_cost)
        progress(0.65 + 0.35 * (i + 1) / n)


def _inverse_map(view: StereoView) -> Float32Array:
    if view.planes is None:
        raise RuntimeError("no planes yet")
    return np.ascontiguousarray(view.planes[..., 0])


def enlarge(mask: BoolArray, size_hw: tuple[int, int]) -> BoolArray:
    """Resize a boolean map, nearest neighbour."""
    return np.asarray(cv2.resize(mask.astype(np.uint8), size_hw[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def keep_cost_outside(view: StereoView, coarse_cost: Float32Array | None) -> None:
    """Where the finer size was not worked on, the coarser size's cost stands."""
    if view.cost is None or coarse_cost is None or view.active is None:
        return
    height, width = view.cost.shape
    rest = cv2.resize(coarse_cost, (width, height), interpolation=cv2.INTER_NEAREST)
    view.cost[~view.active] = rest[~view.active]


def points_of(view: StereoView, level: int, step: int = 1) -> FloatArray:
    """Return every ``step``-th pixel's surface point in the world, (h, w, 3), from the current planes."""
    if view.planes is None:
        raise RuntimeError("no planes yet")
    inverse = view.planes[::step, ::step, 0]
    height, width = view.planes.shape[:2]
    u, v = np.meshgrid(np.arange(width)[::step] + 0.5, np.arange(height)[::step] + 0.5)
    z = 1.0 / np.maximum(inverse.astype(np.float64), 1e-9)
    K = view.levels[level].K
    points = np.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], axis=-1)
    return np.asarray((points - view.view.cam_from_world[:3, 3]) @ view.view.cam_from_world[:3, :3])


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
    world = points_of(views[index], level)
    count = np.zeros(world.shape[:2])
    for other in views:
        p = world @ other.view.cam_from_world[:3, :3].T + other.view.cam_from_world[:3, 3]
        h, w = other.levels[level].image.shape
        q = p @ other.levels[level].K.T
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = q[..., 0] / q[..., 2], q[..., 1] / q[..., 2]
        count += (p[..., 2] > 0) & (x > 0) & (y > 0) & (x < w) & (y < h)
    inside = count >= share * len(views)
    if plane is not None:
        inside &= np.abs(world @ plane[:3] + plane[3]) > 0.006
    if trusted is not None:
        inside &= trusted
    region = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    return np.asarray(cv2.dilate(region, np.ones((7, 7), np.uint8)) > 0)


def confirmed(views: list[StereoView], index: int, level: int, maps: list[Float32Array]) -> BoolArray:
    """Return the pixels of ``maps[index]`` that at least one source's map agrees with."""
    warp = warps(views, index, level)
    stack, sizes = stack_maps([maps[s] for s in views[index].sources])
    f = np.float32
    count, _ = _kernels.count_agreement(
        maps[index], stack, sizes, warp.A, warp.b, warp.A_back, warp.b_back, f(1.5), f(0.02)
    )
    return np.asarray(count > 0)


def support_plane(views: list[StereoView]) -> FloatArray | None:
    """Return the plane (a, b, c, d) that the object stands on, or None when no plane dominates.

    Sought among the confident half-size points within 1.2 of the origin; the normal must lie within 45
    degrees of the world's z axis.
    """
    cloud = []
    for view in views:
        if view.cost is None:
            continue
        points, cost = points_of(view, 1, 4), view.cost[::4, ::4]
        near = (np.linalg.norm(points, axis=-1) < 1.2) & (cost < 0.4)
        cloud.append(points[near])
    points = np.concatenate(cloud) if cloud else np.zeros((0, 3))
    if len(points) < 200:
        return None
    found = fit_plane(points, tolerance=0.006)
    return found[0] if found is not None and found[1] > 0.15 else None
