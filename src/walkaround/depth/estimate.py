"""The depth stage: choose a backend, check the views against each other, write the maps."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from walkaround.depth import _kernels
from walkaround.depth.complete import complete_holes
from walkaround.depth.consensus import correct_all
from walkaround.depth.fill import fill_holes
from walkaround.depth.options import DepthOptions
from walkaround.depth.patchmatch import compute_planes
from walkaround.depth.sources import select_sources
from walkaround.depth.store import ArrayStore, Maps, StoredMaps
from walkaround.depth.views import StereoView, load_views
from walkaround.depth.warps import stack_maps, warps
from walkaround.errors import SequenceRejected, UsageError
from walkaround.geometry import normalised_rays
from walkaround.io.depth import encode_confidence, write_depth, write_grey
from walkaround.threads import usable_cores
from walkaround.types import BoolArray, Camera, Float32Array, Progress, SparseModel, no_progress


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Depth of one view at the size of its image, lens distortion included."""

    depth: Float32Array  # (H, W) z in the camera, world units
    depth_valid: BoolArray  # (H, W) measured
    confidence: Float32Array  # (H, W) 0..1
    depth_filled: BoolArray | None = None  # (H, W) not measured, taken from around; None: nothing was filled


@dataclass(frozen=True, kw_only=True)
class DepthResult:
    """What the stage reports beside the files."""

    scores: dict[str, float]
    notes: dict[str, Any] = field(default_factory=dict)


class DepthBackend(Protocol):
    """A way to compute depth: yields (index of the view, its map) in order."""

    def __call__(
        self,
        image_dir: Path,
        model: SparseModel,
        options: DepthOptions,
        num_threads: int,
        progress: Progress,
        scratch_dir: Path | None,
    ) -> Iterator[tuple[int, DepthMap]]: ...


def estimate_depth(
    image_dir: Path,
    model: SparseModel,
    *,
    options: DepthOptions,
    num_threads: int = 0,
    progress: Progress = no_progress,
    scratch_dir: Path | None = None,
) -> Iterator[tuple[int, DepthMap]]:
    """Yield the depth map of every view of ``model``.

    Parameters
    ----------
    num_threads
        0 uses every core.
    scratch_dir
        Where the work on many or large views waits while it does not fit into memory
        (``store.MEMORY_BUDGET``); the system's temporary folder when None.

    Raises
    ------
    UsageError
        The backend is unknown or cannot run on this machine.
    SequenceRejected
        Fewer than two registered views.
    """
    name = options.backend
    if name == "auto":
        from walkaround.depth.colmap_cuda import cuda_available

        name = "colmap_cuda" if cuda_available() else "patchmatch"
    if name not in BACKENDS:
        raise UsageError(f"--depth.backend {name!r} is unknown; choose one of {', '.join(sorted(BACKENDS))}.")
    if name != "patchmatch":
        for wanted in options.asked_filling:
            raise UsageError(f"{wanted} works with --depth.backend patchmatch, not with {name}.")
    if options.weights is not None and name != "learned":
        raise UsageError(f"--depth.weights goes with --depth.backend learned, not with {name}.")
    if len(model.views) < 2:
        raise SequenceRejected("no_depth", "Depth needs at least two registered views.", {"depth_share": 0.0})
    return BACKENDS[name](image_dir, model, options, num_threads or usable_cores(), progress, scratch_dir)


def write_depth_maps(
    image_dir: Path,
    model: SparseModel,
    depth_dir: Path,
    confidence_dir: Path,
    *,
    options: DepthOptions,
    num_threads: int = 0,
    progress: Progress = no_progress,
) -> DepthResult:
    """Compute and write ``<stem>.png`` depth (16 bit) and confidence (8 bit) for every view.

    Scores: ``depth_share``, the mean share of pixels with valid depth; ``depth_confidence``, their mean
    confidence; with ``options.fill`` or ``options.complete``, ``depth_filled_share``, the mean share of
    filled pixels.
    """
    shares, confidences, fills = [], [], []
    maps = estimate_depth(
        image_dir, model, options=options, num_threads=num_threads, progress=progress,
        scratch_dir=depth_dir.parent,
    )  # fmt: skip
    for index, result in maps:
        name = Path(model.views[index].frame.image).stem + ".png"
        filled = result.depth_filled
        written = result.depth_valid if filled is None else result.depth_valid | filled
        write_depth(depth_dir / name, result.depth, written)
        values = encode_confidence(result.confidence, result.depth_valid, filled)
        write_grey(confidence_dir / name, values)
        fills.append(0.0 if filled is None else float(filled.mean()))
        shares.append(float(result.depth_valid.mean()))
        if result.depth_valid.any():
            confidences.append(float(result.confidence[result.depth_valid].mean()))
    scores = {
        "depth_share": float(np.mean(shares)) if shares else 0.0,
        "depth_confidence": float(np.mean(confidences)) if confidences else 0.0,
    }
    if options.asked_filling:
        scores["depth_filled_share"] = float(np.mean(fills)) if fills else 0.0
    return DepthResult(scores=scores, notes={"backend": options.backend})


def _patchmatch(
    image_dir: Path,
    model: SparseModel,
    options: DepthOptions,
    num_threads: int,
    progress: Progress,
    scratch_dir: Path | None,
) -> Iterator[tuple[int, DepthMap]]:
    ranked = select_sources(model, max(options.num_sources, options.num_neighbours))
    with ArrayStore(scratch_dir) as store:
        views = load_views(
            image_dir, model, [order[: options.num_sources] for order in ranked],
            [order[: options.num_neighbours] for order in ranked], options.max_size, store,
        )  # fmt: skip
        maps, costs = compute_planes(model, views, store, progress, num_threads, sweeps=options.sweeps)
        yield from _checked(views, maps, costs, store, options, num_threads)


def _learned(
    image_dir: Path,
    model: SparseModel,
    options: DepthOptions,
    num_threads: int,
    progress: Progress,
    scratch_dir: Path | None,
) -> Iterator[tuple[int, DepthMap]]:
    from walkaround.depth.learned import infer_maps, open_network

    network = open_network(options.weights)  # what is missing is said at the call, not at the first map

    def run() -> Iterator[tuple[int, DepthMap]]:
        ranked = select_sources(model, max(options.num_sources, options.num_neighbours))
        with ArrayStore(scratch_dir) as store:
            views = load_views(
                image_dir, model, [order[: options.num_sources] for order in ranked],
                [order[: options.num_neighbours] for order in ranked], options.max_size, store,
            )  # fmt: skip
            maps, costs = infer_maps(network, views, store, progress, num_threads)
            yield from _checked(views, maps, costs, store, options, num_threads)

    return run()


def _checked(
    views: list[StereoView],
    maps: StoredMaps,
    costs: StoredMaps,
    store: ArrayStore,
    options: DepthOptions,
    num_threads: int,
) -> Iterator[tuple[int, DepthMap]]:
    """Correct the views' maps by each other and yield what is confirmed."""
    with ThreadPoolExecutor(num_threads) as pool:
        maps = correct_all(views, maps, costs, store, pool.map, options.max_relative_difference)

        def check(index: int) -> DepthMap:
            return check_view(views, maps, costs, index, options)

        for start in range(0, len(views), num_threads):  # no more maps in memory than threads
            batch = range(start, min(start + num_threads, len(views)))
            yield from zip(batch, pool.map(check, batch), strict=True)


def check_view(
    views: list[StereoView], maps: Maps, costs: Maps, index: int, options: DepthOptions
) -> DepthMap:
    """Keep what the neighbours confirm, average it with what they measured, bring it to the image's size."""
    view = views[index]
    warp = warps(views, index, 0, view.neighbours)
    stack, sizes = stack_maps(maps, view.neighbours)
    f = np.float32
    count, mean = _kernels.count_agreement(
        maps[index], stack, sizes, warp.A, warp.b, warp.A_back, warp.b_back,
        f(options.max_reprojection_px), f(options.max_relative_difference),
    )  # fmt: skip
    valid = count >= options.min_consistent_views
    valid = remove_specks(valid, mean)
    confidence = np.clip(1.0 - costs[index], 0, 1) * (1.0 - np.exp(count.astype(np.float64) / -1.5))
    depth = np.where(valid, 1.0 / np.maximum(mean, 1e-9), 0).astype(np.float32)
    confidence = np.where(valid, confidence, 0).astype(np.float32)
    measured = to_image(view.view.camera, depth, valid, confidence)
    if not options.asked_filling:
        return measured
    inverse, covered = filled_in(views, maps, index, np.where(valid, mean, 0).astype(np.float32), options)
    depth = np.where(covered & ~valid, 1.0 / np.maximum(inverse, 1e-9), depth).astype(np.float32)
    return add_filled(measured, to_image(view.view.camera, depth, covered, confidence))


def filled_in(
    views: list[StereoView], maps: Maps, index: int, inverse: Float32Array, options: DepthOptions
) -> tuple[Float32Array, BoolArray]:
    """Return a view's inverse depth (0 = none) with its holes filled as asked for, and where it is."""
    steps = [
        step for step, wanted in ((fill_holes, options.fill), (complete_holes, options.complete)) if wanted
    ]
    for step in steps:
        filled = step(views, maps, index, inverse, inverse > 0)
        inverse = np.where(filled > 0, filled, inverse)
    return inverse, inverse > 0


def add_filled(measured: DepthMap, whole: DepthMap) -> DepthMap:
    """Return ``measured`` with the depth that only ``whole`` has, marked as filled."""
    filled = whole.depth_valid & ~measured.depth_valid
    return replace(measured, depth=np.where(filled, whole.depth, measured.depth), depth_filled=filled)


def remove_specks(valid: BoolArray, inverse: Float32Array, smallest: int = 24) -> BoolArray:
    """Drop connected patches of fewer than ``smallest`` pixels; depth edges (3 %) separate patches."""
    log = np.log(np.maximum(inverse, 1e-9))
    edge = np.zeros_like(valid)
    edge[:, 1:] |= np.abs(np.diff(log, axis=1)) > 0.03
    edge[1:] |= np.abs(np.diff(log, axis=0)) > 0.03
    _, labels, stats, _ = cv2.connectedComponentsWithStats((valid & ~edge).astype(np.uint8), connectivity=8)
    big = stats[:, cv2.CC_STAT_AREA] >= smallest
    big[0] = False
    core = big[labels]
    near = cv2.dilate(core.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(valid & near)


def to_image(camera: Camera, depth: Float32Array, valid: BoolArray, confidence: Float32Array) -> DepthMap:
    """Resample a pinhole map of working size to the image's own pixels and lens distortion.

    Linear where the four neighbours lie on one surface (within 1 %), the nearest pixel elsewhere.
    """
    height, width = depth.shape
    if (camera.width, camera.height) == (width, height) and not np.any(camera.distortion):
        return DepthMap(depth=depth, depth_valid=valid, confidence=confidence)
    small = camera.scaled(width, height).K
    rays = normalised_rays(camera)
    # the array index of the centre of pixel (0.5, 0.5) is 0: half a pixel back
    x = (rays[..., 0] * small[0, 0] + small[0, 2] - 0.5).astype(np.float32)
    y = (rays[..., 1] * small[1, 1] + small[1, 2] - 0.5).astype(np.float32)
    filled = np.where(valid, depth, np.nan)
    linear = cv2.remap(filled, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=np.nan)
    nearest = cv2.remap(filled, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=np.nan)
    with np.errstate(invalid="ignore"):
        smooth = np.abs(linear - nearest) < 0.01 * nearest
    out = np.where(smooth, linear, nearest)
    ok = np.isfinite(out)
    conf = cv2.remap(confidence, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return DepthMap(
        depth=np.where(ok, out, 0).astype(np.float32), depth_valid=ok, confidence=np.where(ok, conf, 0)
    )


def _colmap_cuda(
    image_dir: Path,
    model: SparseModel,
    options: DepthOptions,
    num_threads: int,
    progress: Progress,
    scratch_dir: Path | None,
) -> Iterator[tuple[int, DepthMap]]:
    from walkaround.depth.colmap_cuda import require_cuda, run_colmap_cuda

    require_cuda()  # at the call, not at the first map
    return (
        (index, to_image(model.views[index].camera, depth, valid, confidence))
        for index, depth, valid, confidence in run_colmap_cuda(image_dir, model, options, progress)
    )


BACKENDS: dict[str, DepthBackend] = {
    "patchmatch": _patchmatch,
    "colmap_cuda": _colmap_cuda,
    "learned": _learned,
}
