"""Render the object's voxels into a view, and move the outline to the image's edges."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit

from walkaround.geometry import normalised_rays
from walkaround.geometry.pinhole import MIN_DEPTH, pack_intrinsics, project_point
from walkaround.masks.solid import MaskView, Solid
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray


@njit(cache=True, nogil=True)
def _splat(points, rotation, translation, c, voxel, out):  # type: ignore[no-untyped-def]
    """Draw every point as a square of the voxel's projected size into ``out`` (nearest depth)."""
    height, width = out.shape
    for n in range(points.shape[0]):
        p = points[n]
        u, v, z = project_point(p[0], p[1], p[2], rotation, translation, c)
        if z <= MIN_DEPTH:
            continue
        half = 0.5 * voxel * c[0] / z
        u0, u1 = max(0, int(np.floor(u - half))), min(width - 1, int(np.floor(u + half)))
        v0, v1 = max(0, int(np.floor(v - half))), min(height - 1, int(np.floor(v + half)))
        for yy in range(v0, v1 + 1):
            for xx in range(u0, u1 + 1):
                if out[yy, xx] == 0 or z < out[yy, xx]:
                    out[yy, xx] = z


def render_silhouette(solid: Solid, points: FloatArray, view: MaskView) -> Float32Array:
    """Return the (h, w) depth of the solid in the view, 0 where it is not."""
    out = np.zeros(view.size_hw, dtype=np.float32)
    pose = view.view.cam_from_world
    c = pack_intrinsics(view.K, view.view.camera.distortion)
    rotation, translation = np.ascontiguousarray(pose[:3, :3]), np.ascontiguousarray(pose[:3, 3])
    _splat(points, rotation, translation, c, solid.voxel, out)
    return out


ON_SOLID, ELSEWHERE = 1, 2
_ABOVE_PLANE = 0.003


@njit(cache=True, nogil=True)
def _tell_apart(depth, rays, rotation, translation, grown, origin, voxel, plane):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    out = np.zeros((height, width), np.uint8)
    for v in range(height):
        for u in range(width):
            z = depth[v, u]
            if not z > 0:
                continue
            a = rays[v, u, 0] * z - translation[0]
            b = rays[v, u, 1] * z - translation[1]
            c = z - translation[2]
            x = a * rotation[0, 0] + b * rotation[1, 0] + c * rotation[2, 0]
            y = a * rotation[0, 1] + b * rotation[1, 1] + c * rotation[2, 1]
            w = a * rotation[0, 2] + b * rotation[1, 2] + c * rotation[2, 2]
            out[v, u] = ELSEWHERE
            i = int(np.rint((x - origin[0]) / voxel))
            j = int(np.rint((y - origin[1]) / voxel))
            k = int(np.rint((w - origin[2]) / voxel))
            if i < 0 or j < 0 or k < 0 or i >= grown.shape[0] or j >= grown.shape[1] or k >= grown.shape[2]:
                continue
            if grown[i, j, k] and plane[0] * x + plane[1] * y + plane[2] * w + plane[3] > _ABOVE_PLANE:
                out[v, u] = ON_SOLID
    return out


def tell_apart(view: MaskView, solid: Solid) -> ByteArray:
    """Return (h, w): :data:`ON_SOLID` where the depth lies within a voxel of the solid and above its plane.

    :data:`ELSEWHERE` at other valid depth, 0 without any.
    """
    pose = view.view.cam_from_world
    plane = np.array([0.0, 0.0, 0.0, 1.0]) if solid.plane is None else np.asarray(solid.plane, np.float64)
    camera = view.view.camera.scaled(view.depth.shape[1], view.depth.shape[0])
    rotation, translation = np.ascontiguousarray(pose[:3, :3]), np.ascontiguousarray(pose[:3, 3])
    origin = np.asarray(solid.origin, np.float64)
    told = _tell_apart(
        view.depth, normalised_rays(camera), rotation, translation, solid.grown, origin, solid.voxel, plane
    )
    return np.asarray(told)


def refine_outline(
    view: MaskView, silhouette: BoolArray, from_depth: BoolArray, not_object: BoolArray, band_px: int,
    fg_probability: Float32Array | None = None,
) -> BoolArray:  # fmt: skip
    """Return the mask: sure inside and outside a band, a graph cut on colour within it.

    Parameters
    ----------
    silhouette, from_depth, not_object
        (h, w): the rendered solid; pixels whose own depth lies on it; pixels whose own depth lies elsewhere.
    band_px
        Half width of the band around the prior outline.
    """
    core = seen_core(silhouette, from_depth, not_object, band_px)
    if core.sum() < 30:
        return tidy((silhouette & ~not_object) | from_depth)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band_px + 1, 2 * band_px + 1))
    opened = cv2.morphologyEx(core.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    inner = cv2.erode(core.astype(np.uint8), kernel, borderValue=1) > 0
    inner |= from_depth & core & ~opened  # thinner than the band: the geometry is trusted
    outer = cv2.dilate((core | (silhouette & ~not_object)).astype(np.uint8), kernel) > 0
    near = cv2.dilate(core.astype(np.uint8), kernel) > 0
    outer &= near | ~not_object
    if fg_probability is not None:
        inner |= core & (fg_probability > 0.9)
        outer &= ~((fg_probability < 0.1) & ~inner)
    labels = np.full(core.shape, cv2.GC_BGD, dtype=np.uint8)
    labels[outer] = np.where(core[outer], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels[inner] = cv2.GC_FGD
    if not inner.any():
        return core
    refined = _cut(view.image_srgb, labels, band_px)
    return tidy(refined | inner)


def seen_core(silhouette: BoolArray, from_depth: BoolArray, not_object: BoolArray, band_px: int) -> BoolArray:
    """Return the part of the silhouette that this view's own depth confirms, its holes filled.

    The solid also holds what no view can look into (behind the object, when the walk covers a short arc);
    where it sticks out beside the object, this view measured nothing on it.
    """
    size = 2 * band_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    closed = cv2.morphologyEx(from_depth.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    core = (closed & silhouette & ~not_object) | from_depth
    _, labels = cv2.connectedComponents((~core).astype(np.uint8), connectivity=4)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    inside = cv2.dilate(silhouette.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    holes = ~core & ~np.isin(labels, outside) & ~not_object & inside
    return tidy(core | holes)


def _cut(image: ByteArray, labels: ByteArray, band_px: int) -> BoolArray:
    rows, columns = np.nonzero(labels != cv2.GC_BGD)
    pad = 6 * band_px
    top, bottom = max(0, rows.min() - pad), rows.max() + pad + 1
    left, right = max(0, columns.min() - pad), columns.max() + pad + 1
    window = np.ascontiguousarray(labels[top:bottom, left:right])
    if not (window == cv2.GC_BGD).any():
        return labels == cv2.GC_FGD
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(crop, window, None, background, foreground, 2, cv2.GC_INIT_WITH_MASK)
    out = np.zeros(labels.shape, dtype=np.bool_)
    out[top:bottom, left:right] = (window == cv2.GC_FGD) | (window == cv2.GC_PR_FGD)
    return out


def tidy(mask: BoolArray) -> BoolArray:
    """Close pin holes and drop specks under 2 % of the largest part."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    if count <= 1:
        return closed > 0
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    out = (area >= 0.02 * area.max())[labels] & (closed > 0)
    holes, labels, stats, _ = cv2.connectedComponentsWithStats((~out).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < max(12, 0.002 * out.sum())
    small[0] = False
    return np.asarray(out | (small[labels] & ~out)) if holes > 1 else out
