"""How the pixels of one view reach the others: warps, stacked sources, patches, steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkaround.depth.views import StereoView
from walkaround.types import Float32Array, IntArray

OFFSETS_COARSE = 2, 1
"""Half width in samples, step in px: 5 x 5 samples over 5 px."""
OFFSETS_FINE = 2, 2
"""5 x 5 samples over 9 px."""
SIGMA_COLOR = 30.0
"""Grey levels of the bilateral weight."""


@dataclass(frozen=True, kw_only=True)
class Warps:
    """How reference pixels of one level reach the sources, and back (see ``_kernels``)."""

    A: Float32Array
    b: Float32Array
    A_back: Float32Array
    b_back: Float32Array


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


def make_scene(
    views: list[StereoView], index: int, level: int, neighbour_maps: list[Float32Array] | None = None
) -> tuple[Any, ...]:
    """Return what the kernels need of the sources: images, sizes, warps, depth maps."""
    ref = views[index]
    warp = warps(views, index, level)
    flat, sizes = _flat_sources(views, index, level)
    maps = np.zeros((len(ref.sources), 1, 1), np.float32)
    map_scale = np.ones((len(ref.sources), 2), np.float32)
    if neighbour_maps is not None:
        maps, map_sizes = stack_maps([neighbour_maps[s] for s in ref.sources])
        map_scale = (map_sizes[:, ::-1] / sizes[:, ::-1]).astype(np.float32)
    return flat, sizes, warp.A, warp.b, maps, map_scale, warp.A_back, warp.b_back


def patch_offsets(half: int, step: int) -> Float32Array:
    """Return (n, 3): du, dv and the spatial part of the bilateral weight's exponent."""
    axis = np.arange(-half, half + 1, dtype=np.float32) * step
    du, dv = np.meshgrid(axis, axis)
    reach = half * step
    spatial = (du**2 + dv**2) / (2.0 * reach * reach)
    return np.stack([du.ravel(), dv.ravel(), spatial.ravel()], axis=1).astype(np.float32)


def best_count(view: StereoView) -> np.int64:
    """Return how many of the sources, the best matching, make up a pixel's cost."""
    return np.int64(max(1, min(len(view.sources), 2)))


def disparity_step(views: list[StereoView], index: int, level: int) -> float:
    """Return the change of inverse depth that moves the match by one pixel (median over the sources)."""
    ref, warp = views[index], warps(views, index, level)
    height, width = ref.levels[level].image.shape
    w = 1.0 / max(float(np.linalg.norm(ref.view.centre)), 1e-6)
    p = np.array([0.5 * width, 0.5 * height, 1.0])
    slopes = []
    for A, b in zip(warp.A.astype(np.float64), warp.b.astype(np.float64), strict=True):
        q0, q1 = A @ p + w * b, A @ p + 1.01 * w * b
        if q0[2] > 0 and q1[2] > 0:
            slopes.append(float(np.linalg.norm(q1[:2] / q1[2] - q0[:2] / q0[2])) / (0.01 * w))
    return 1.0 / max(float(np.median(slopes)) if slopes else width / w, 1e-9)
