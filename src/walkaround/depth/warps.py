"""How the pixels of one view reach the others: warps, stacked sources, patches, steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkaround.depth._matching import SAMPLES
from walkaround.depth.store import Maps
from walkaround.depth.views import StereoView
from walkaround.types import Float32Array, IntArray

OFFSETS_COARSE = 2, 1
"""Half width in samples, step in px: 5 x 5 samples over 5 px."""
OFFSETS_FINE = 2, 2
"""5 x 5 samples over 9 px."""


@dataclass(frozen=True, kw_only=True)
class Warps:
    """How reference pixels of one level reach the sources, and back (see ``_kernels``)."""

    A: Float32Array
    b: Float32Array
    A_back: Float32Array
    b_back: Float32Array


def warps(views: list[StereoView], index: int, level: int, others: IntArray | None = None) -> Warps:
    """Return the warps from view ``index`` to its sources (or to ``others``) at a pyramid level."""
    ref = views[index]
    K = ref.levels[level].K
    rows = []
    for s in ref.sources if others is None else others:
        Ks = views[s].levels[level].K
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


def stack_maps(maps: Maps, indices: IntArray) -> tuple[Float32Array, IntArray]:
    """Stack some (h, w) maps of maybe different sizes into one zero-padded array, and their sizes."""
    sizes = np.array([maps[int(s)].shape for s in indices], dtype=np.int64)
    out = np.zeros((len(indices), sizes[:, 0].max(), sizes[:, 1].max()), dtype=np.float32)
    for k, s in enumerate(indices):
        m = maps[int(s)]
        out[k, : m.shape[0], : m.shape[1]] = m
    return out, sizes


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the kernels need of a view's sources (see ``_matching``)."""

    packed: Any  # (sources, pixels) uint32, the corners of each pixel
    geometry: Float32Array  # (sources, GEOMETRY_COLUMNS)
    maps: Float32Array  # (sources, h, w) inverse depth; (sources, 1, 1) when there is none yet

    @property
    def arrays(self) -> tuple[Any, Float32Array, Float32Array]:
        """In the order of the kernels' arguments."""
        return self.packed, self.geometry, self.maps


def make_scene(views: list[StereoView], index: int, level: int, neighbour_maps: Maps | None = None) -> Scene:
    """Stack images, warps and depth maps of a view's sources."""
    ref = views[index]
    warp = warps(views, index, level)
    levels = [views[s].levels[level] for s in ref.sources]
    sizes = np.array([item.size_hw for item in levels], dtype=np.int64)
    packed = np.zeros((len(levels), int(sizes.prod(axis=1).max())), dtype=np.uint32)
    for k, item in enumerate(levels):
        corners = item.corners
        packed[k, : corners.size] = corners
    maps = np.zeros((len(levels), 1, 1), np.float32)
    map_scale = np.ones((len(levels), 2), np.float32)
    if neighbour_maps is not None:
        maps, map_sizes = stack_maps(neighbour_maps, ref.sources)
        map_scale = (map_sizes[:, ::-1] / sizes[:, ::-1]).astype(np.float32)
    n = len(levels)
    columns = (
        warp.A.reshape(n, 9), warp.b, sizes[:, ::-1], map_scale, warp.A_back.reshape(n, 9), warp.b_back,
    )  # fmt: skip
    geometry = np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float32)
    return Scene(packed=packed, geometry=geometry, maps=maps)


def scratch(scene: Scene) -> tuple[Any, ...]:
    """Return the kernels' working memory: patch, landing, costs, trust, chosen (see ``_kernels``)."""
    n, f = len(scene.packed), np.float32
    return (
        np.empty((2, SAMPLES), f),
        np.empty((n, 3), f),
        np.empty(n, f),
        np.empty(n, f),
        np.empty(n, np.int64),
    )


def patch_offsets(half: int, step: int) -> Float32Array:
    """Return (3, SAMPLES): du, dv and the spatial part of the bilateral weight's exponent.

    A square grid; the samples that a patch of fixed length has to spare weigh nothing.
    """
    axis = np.arange(-half, half + 1, dtype=np.float32) * step
    du, dv = np.meshgrid(axis, axis)
    reach = half * step
    out = np.zeros((3, SAMPLES), dtype=np.float32)
    out[2] = 16.0  # the weight's approximation is zero from here on
    out[:, : du.size] = np.stack([du.ravel(), dv.ravel(), ((du**2 + dv**2) / (2.0 * reach * reach)).ravel()])
    return out


def disc_offsets(radius: float) -> Float32Array:
    """Return (3, SAMPLES) for all pixels within ``radius``: small, since a flat patch cuts off bumps."""
    axis = np.arange(-math.floor(radius), math.floor(radius) + 1, dtype=np.float32)
    du, dv = (grid.ravel() for grid in np.meshgrid(axis, axis))
    inside = du**2 + dv**2 <= radius * radius + 1e-3
    if inside.sum() > SAMPLES:
        raise ValueError(f"a disc of radius {radius} holds {inside.sum()} pixels, a patch {SAMPLES}")
    out = np.zeros((3, SAMPLES), dtype=np.float32)
    out[2] = 16.0
    du, dv = du[inside], dv[inside]
    out[:, : du.size] = np.stack([du, dv, 0.5 * (du**2 + dv**2) / (radius * radius)])
    return out


def best_count(view: StereoView) -> np.int64:
    """Return how many of the sources, the best matching, make up a pixel's cost."""
    return np.int64(max(1, min(len(view.sources), 2)))


def disparity_step(views: list[StereoView], index: int, level: int) -> float:
    """Return the change of inverse depth that moves the match by one pixel (median over the sources)."""
    ref, warp = views[index], warps(views, index, level)
    height, width = ref.levels[level].size_hw
    w = 1.0 / max(float(np.linalg.norm(ref.view.centre)), 1e-6)
    p = np.array([0.5 * width, 0.5 * height, 1.0])
    slopes = []
    for A, b in zip(warp.A.astype(np.float64), warp.b.astype(np.float64), strict=True):
        q0, q1 = A @ p + w * b, A @ p + 1.01 * w * b
        if q0[2] > 0 and q1[2] > 0:
            slopes.append(float(np.linalg.norm(q1[:2] / q1[2] - q0[:2] / q0[2])) / (0.01 * w))
    return 1.0 / max(float(np.median(slopes)) if slopes else width / w, 1e-9)
