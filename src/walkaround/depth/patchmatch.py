"""Depth of every view by PatchMatch stereo on the CPU, coarse to fine.

1. Every view alone at an eighth, a quarter and half of the working size, started from the sparse points.
2. Every view at half size again, now also charged for disagreeing with its neighbours' depth.
3. Full size, only where the depth found so far lies in the space that most cameras share.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np

from walkaround.depth import _kernels
from walkaround.depth._matching import MAX_COST
from walkaround.depth.region import (
    confirmed,
    settle_on_plane,
    shared_region,
    support_plane,
    support_points,
)
from walkaround.depth.store import ArrayStore, Maps, StoredMaps
from walkaround.depth.views import StereoView, enlarge
from walkaround.depth.warps import (
    OFFSETS_COARSE,
    OFFSETS_FINE,
    best_count,
    disc_offsets,
    disparity_step,
    make_scene,
    patch_offsets,
    scratch,
)
from walkaround.types import BoolArray, Float32Array, FloatArray, Progress, SparseModel

_T = TypeVar("_T")
_MIN_TEXTURE = 1.0  # grey levels: below it the patch holds only noise


def initial_planes(model: SparseModel, views: list[StereoView], index: int, level: int) -> Float32Array:
    """Start the quarter size: the nearest sparse point on one colour of the board, random on the other."""
    ref = views[index]
    height, width = ref.levels[level].size_hw
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
    spread: float,
    geometric: float = 0.0,
    neighbour_maps: Maps | None = None,
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
    scene = make_scene(views, index, level, neighbour_maps)
    cost = np.full((height, width), 2.0, dtype=np.float32)
    mask = np.ones((height, width), dtype=np.bool_) if active is None else active
    step = disparity_step(views, index, level)
    offsets = patch_offsets(*(OFFSETS_COARSE if level >= 2 else OFFSETS_FINE))
    best = best_count(ref)
    f = np.float32
    slope_limit = f(4.0 / ref.levels[level].K[0, 0])
    for iteration in range(iterations):
        size = f(spread * 0.6**iteration)
        for color in (0, 1):
            _kernels.sweep(
                image, *scene.arrays, planes, cost, mask, color, iteration, seed + 97 * level, offsets, best,
                f(ref.w_low), f(ref.w_high), f(step), slope_limit, size, iteration == 0,
                f(geometric), level < 3, *scratch(scene),
            )  # fmt: skip
    if finish:
        ref.texture = np.zeros((height, width), np.float32)
        _kernels.polish(
            image, *scene.arrays, planes, cost, mask, offsets, disc_offsets(3.0), best, f(step), 4,
            ref.texture, *scratch(scene),
        )  # fmt: skip
    ref.cost = cost


class _Steps:
    """What each step does with one view, and what it leaves in the store for the next step."""

    def __init__(self, model: SparseModel, views: list[StereoView], store: ArrayStore, sweeps: int) -> None:
        self.model, self.views, self.store, self.sweeps = model, views, store, sweeps
        self.alone, self.settled = StoredMaps(store, "alone"), StoredMaps(store, "settled")
        self.trusted, self.costs = StoredMaps(store, "trusted"), StoredMaps(store, "cost")
        self.plane: FloatArray | None = None

    def start(self, i: int) -> None:
        start_view(self.model, self.views, i, self.sweeps)
        self.alone.put(i, _inverse_map(self.views[i]))
        self.views[i].wait(self.store)

    def agree(self, i: int) -> FloatArray:
        self.views[i].resume(self.store)
        agree_with_neighbours(self.views, i, self.alone, self.sweeps)
        points = support_points(self.views[i])
        self.views[i].wait(self.store)
        return points

    def settle(self, i: int) -> None:
        self.views[i].resume(self.store)
        if self.plane is not None:
            settle_on_plane(self.views, i, self.plane)
        self.settled.put(i, _inverse_map(self.views[i]))
        self.views[i].wait(self.store)

    def finish(self, i: int) -> None:
        self.views[i].resume(self.store)
        finish_view(self.views, i, self.settled, self.plane, self.sweeps)
        self.trusted.put(i, trusted_inverse(self.views[i]))
        self.costs.put(i, _cost_map(self.views[i]))
        self.views[i].forget()


def compute_planes(
    model: SparseModel,
    views: list[StereoView],
    store: ArrayStore,
    progress: Progress,
    num_threads: int = 1,
    *,
    sweeps: int = 1,
) -> tuple[StoredMaps, StoredMaps]:
    """Run all three steps; return each view's inverse depth, 0 where it is not to be trusted, and costs.

    ``sweeps``: passes over the board at full size, and one fewer at half size.
    A view a thread: the kernels run without Python's lock, and a view only reads what all others had at
    the end of the step before, so that the result does not depend on the threads. A view that no thread
    works on waits in the store.
    """
    steps = _Steps(model, views, store, sweeps)
    with ThreadPoolExecutor(max(1, num_threads)) as pool:

        def each(work: Callable[[int], _T], start: float, end: float) -> list[_T]:
            results = []
            for result in pool.map(work, range(len(views))):
                results.append(result)
                progress(start + (end - start) * len(results) / len(views))
            return results

        each(steps.start, 0.0, 0.4)
        steps.plane = support_plane(np.concatenate(each(steps.agree, 0.4, 0.6)))
        steps.alone.drop(range(len(views)))
        each(steps.settle, 0.6, 0.65)
        each(steps.finish, 0.65, 1.0)
        steps.settled.drop(range(len(views)))
    return steps.trusted, steps.costs


def start_view(model: SparseModel, views: list[StereoView], index: int, sweeps: int) -> None:
    """Step 1: the view alone, at an eighth, a quarter and half of the working size."""
    view = views[index]
    view.planes = initial_planes(model, views, index, 3)
    run_level(views, index, 3, iterations=3, spread=4.0)
    view.planes = enlarge_planes(view.planes, view.levels[2].size_hw)
    run_level(views, index, 2, iterations=3, spread=2.0)
    size_hw = view.levels[1].size_hw
    view.active = enlarge(shared_region(views, index, 2, 0.5), size_hw)
    coarse_cost = view.cost
    view.planes = enlarge_planes(view.planes, size_hw)
    run_level(views, index, 1, iterations=max(1, sweeps - 1), spread=1.5, active=view.active)
    keep_cost_outside(view, coarse_cost)


def agree_with_neighbours(views: list[StereoView], index: int, maps: Maps, sweeps: int) -> None:
    """Step 2: half size again, charged for disagreeing with the neighbours' ``maps``."""
    view = views[index]
    coarse_cost = view.cost
    run_level(
        views, index, 1, iterations=max(1, sweeps - 1), spread=1.0, geometric=0.15,
        neighbour_maps=maps, active=view.active, seed=1000,
    )  # fmt: skip
    keep_cost_outside(view, coarse_cost)


def finish_view(
    views: list[StereoView], index: int, maps: Maps, plane: FloatArray | None, sweeps: int
) -> None:
    """Step 3: full size, where most cameras look, less the support ``plane``."""
    view = views[index]
    if view.planes is None:
        raise RuntimeError("start_view first")
    size_hw = view.levels[0].size_hw
    region = shared_region(views, index, 1, 0.7, plane, confirmed(views, index, 1, maps))
    view.active = enlarge(region, size_hw)
    coarse_cost = view.cost
    view.planes = enlarge_planes(view.planes, size_hw)
    run_level(
        views, index, 0, iterations=sweeps, spread=0.7, geometric=0.1, neighbour_maps=maps,
        active=view.active, seed=5000, finish=True,
    )  # fmt: skip
    keep_cost_outside(view, coarse_cost)


def _inverse_map(view: StereoView) -> Float32Array:
    if view.planes is None:
        raise RuntimeError("no planes yet")
    return np.ascontiguousarray(view.planes[..., 0])


def _cost_map(view: StereoView) -> Float32Array:
    if view.cost is None:
        raise RuntimeError("no costs yet")
    return view.cost


def trusted_inverse(view: StereoView) -> Float32Array:
    """Return the (h, w) inverse depth, 0 where the match is poor or the patch has no texture."""
    if view.planes is None or view.cost is None or view.texture is None or view.active is None:
        raise RuntimeError("finish_view first")
    textured = (view.texture > _MIN_TEXTURE) | ~view.active
    keep = (view.cost < MAX_COST) & textured
    inverse = np.where(keep, view.planes[..., 0], 0).astype(np.float32)
    border = 2
    inverse[:border] = inverse[-border:] = 0
    inverse[:, :border] = inverse[:, -border:] = 0
    return inverse


def keep_cost_outside(view: StereoView, coarse_cost: Float32Array | None) -> None:
    """Where the finer size was not worked on, the coarser size's cost stands."""
    if view.cost is None or coarse_cost is None or view.active is None:
        return
    height, width = view.cost.shape
    rest = cv2.resize(coarse_cost, (width, height), interpolation=cv2.INTER_NEAREST)
    view.cost[~view.active] = rest[~view.active]
