"""Numba kernels of the PatchMatch stereo: checkerboard propagation, polishing, agreement between views.

Sources: Bleyer et al. 2011 (10.5244/C.25.14), Galliani et al. 2015 (10.1109/ICCV.2015.106, the
checkerboard), Schoenberger et al. 2016 (10.1007/978-3-319-46487-9_31, geometric consistency), Xu and Tao
2019 (10.1109/CVPR.2019.00563, candidates by direction).

The kernels run without Python's lock, one view a thread, and allocate nothing: with Numba's reference
counting off (``_nrt=False``) a call costs no atomic operation a pixel. Numba's own ``parallel=True`` is
avoided, since freshly compiled and cached code then round differently. Their last five arguments are
working memory (``warps.scratch``). Numba's cache does not see changes in ``_matching``: touch this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from walkaround.depth._matching import (
    MAX_COST,
    MIN_VARIANCE,
    fill_patch,
    land_pixel,
    plane_cost,
    refine_plane,
)

OWN_WEIGHT = 4 / 9
"""Of a pixel's own depth in the mean over the agreeing views: theirs are read between four pixels, which
averages their noise to 4/9 of its variance, taken over all places between them."""


@njit(inline="always")
def _hash_uniform(a: int, b: int, c: int) -> Any:
    """Return a number in [-1, 1) that depends on the three integers alone."""
    full = np.int64(0xFFFFFFFF)  # Numba computes in 64 bits: cut back to 32 after every product
    h = (a * np.int64(0x9E3779B1) + b * np.int64(0x85EBCA77) + c * np.int64(0x42B2AE3D)) & full
    h = ((h ^ (h >> 15)) * np.int64(0x2C1B3C6D)) & full
    h = ((h ^ (h >> 12)) * np.int64(0x297A2D39)) & full
    h = h ^ (h >> 15)
    return np.float32(h) * np.float32(2.0 / 4294967296.0) - np.float32(1.0)


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _neighbour_plane(planes, cost, x, y, k, w, wu, wv):  # type: ignore[no-untyped-def]
    """Return the plane of the cheapest neighbour as it passes (x, y); (w, wu, wv) where there is none.

    ``k``: 0 next to it along x, 1 along y, 2 three to eleven pixels away along x, 3 along y.
    """
    f = np.float32
    height, width = cost.shape
    sx, sy = 1 - k % 2, k % 2
    step = 0
    lowest = f(9.0)
    for d in range(-1 if k < 2 else -11, 2 if k < 2 else 12, 2):
        if k >= 2 and (d == 1 or d == -1):
            continue
        xx, yy = x + sx * d, y + sy * d
        if 0 <= xx < width and 0 <= yy < height and cost[yy, xx] < lowest:
            lowest = cost[yy, xx]
            step = d
    if step == 0:
        return w, wu, wv
    xx, yy = x + sx * step, y + sy * step
    nu, nv = planes[yy, xx, 1], planes[yy, xx, 2]
    return planes[yy, xx, 0] - nu * f(sx * step) - nv * f(sy * step), nu, nv


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _random_plane(x, y, k, seed, w, wu, wv, scale, w_low, w_high, slope_limit):  # type: ignore[no-untyped-def]
    """Return a random plane: 4 and 5 move w (much, little), 6 tilts, 7 is any plane at all."""
    f = np.float32
    if k != 4:
        scale *= f(0.3)
    r0 = _hash_uniform(x * 4 + k, y, seed)
    r1 = _hash_uniform(x, y * 4 + k, seed + 17)
    r2 = _hash_uniform(x, y, seed + 31 + 4 * k)
    if k < 6:
        return w + scale * r0, wu, wv
    if k == 6:
        return w, wu + scale * f(0.3) * r1, wv + scale * f(0.3) * r2
    w = w_low + (w_high - w_low) * (f(0.5) * r0 + f(0.5))
    return w, slope_limit * f(0.5) * w * r1, slope_limit * f(0.5) * w * r2


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy", _nrt=False)
def sweep(  # type: ignore[no-untyped-def]
    reference, packed, geometry, maps, planes, cost, active, color, iteration, seed, offsets, best,
    w_low, w_high, w_step, slope_limit, spread, fresh, geometric, select,
    patch, landing, costs, trust, chosen
):  # fmt: skip
    """One half (a checkerboard colour) of a PatchMatch iteration, in place.

    ``spread``: size of the random steps, in px of disparity. ``fresh``: first measure the standing
    hypothesis' cost. ``select``: compare candidates only with the sources that match the standing
    hypothesis best (after the first, coarse size).
    """
    f = np.float32
    height, width = reference.shape
    for y in range(height):
        for x in range((y + color) % 2, width, 2):
            if not active[y, x]:
                continue
            variance = fill_patch(reference, y, x, offsets, patch)
            if variance < f(MIN_VARIANCE):
                cost[y, x] = f(1.0)
                variance = f(MIN_VARIANCE)
            u, v = f(x) + f(0.5), f(y) + f(0.5)
            land_pixel(geometry, u, v, landing)
            w, wu, wv = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
            c = cost[y, x]
            if fresh or select:
                c = plane_cost(
                    packed, geometry, maps, landing, offsets, patch, costs, chosen, u, v, variance,
                    w, wu, wv, best, geometric, True
                )  # fmt: skip
            for k in range(8):
                if k < 4:
                    nw, nu, nv = _neighbour_plane(planes, cost, x, y, k, w, wu, wv)
                    slope_gap = abs(nu - wu) + abs(nv - wv)
                    if abs(nw - w) < f(0.06) * w_step and slope_gap * f(4.0) < f(0.06) * w_step:
                        continue  # none, or the standing one
                else:
                    nw, nu, nv = _random_plane(
                        x, y, k, iteration * 64 + seed, w, wu, wv, spread * w_step, w_low, w_high, slope_limit
                    )
                limit = slope_limit * nw
                if nw < w_low or nw > w_high or abs(nu) > limit or abs(nv) > limit:
                    continue
                trial = plane_cost(
                    packed, geometry, maps, landing, offsets, patch, costs, chosen, u, v, variance,
                    nw, nu, nv, best, geometric, not select
                )  # fmt: skip
                if trial < c:
                    c, w, wu, wv = trial, nw, nu, nv
            planes[y, x, 0], planes[y, x, 1], planes[y, x, 2] = w, wu, wv
            cost[y, x] = c


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy", _nrt=False)
def prefer_plane(  # type: ignore[no-untyped-def]
    reference, packed, geometry, maps, planes, cost, active, offsets, best, plane, near, margin,
    patch, landing, costs, trust, chosen
):  # fmt: skip
    """Put pixels on the given plane (w, wu, wv at the image's origin) where it matches about as well.

    Only pixels whose inverse depth lies within the share ``near`` of the plane's; ``margin``: how much
    worse (1 - NCC) the plane may match. Shadows at an object's foot have too little texture to tell.
    """
    f = np.float32
    height, width = reference.shape
    for y in range(height):
        for x in range(width):
            u, v = f(x) + f(0.5), f(y) + f(0.5)
            w = plane[0] + plane[1] * u + plane[2] * v
            if not active[y, x] or w <= f(0.0) or abs(planes[y, x, 0] - w) > near * w:
                continue
            variance = max(fill_patch(reference, y, x, offsets, patch), f(MIN_VARIANCE))
            land_pixel(geometry, u, v, landing)
            on = plane_cost(
                packed, geometry, maps, landing, offsets, patch, costs, chosen, u, v, variance,
                w, plane[1], plane[2], best, f(0.0), True
            )  # fmt: skip
            if on < cost[y, x] + margin:
                planes[y, x, 0], planes[y, x, 1], planes[y, x, 2] = w, plane[1], plane[2]
                cost[y, x] = min(on, cost[y, x])


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy", _nrt=False)
def polish(  # type: ignore[no-untyped-def]
    reference, packed, geometry, maps, planes, cost, active, offsets, small, best, w_step, steps, texture,
    patch, landing, costs, trust, chosen
):  # fmt: skip
    """Refine each plane to a fraction of a pixel against all sources that see it; leave pure NCC costs.

    ``offsets``: the patch that the costs are measured with; ``small``: the one that the planes are refined
    with. ``texture`` (H, W) receives the standard deviation of each patch in grey levels.
    """
    f = np.float32
    height, width = reference.shape
    for y in range(height):
        for x in range(width):
            if not active[y, x]:
                continue
            variance = fill_patch(reference, y, x, offsets, patch)
            texture[y, x] = np.sqrt(variance)
            variance = max(variance, f(MIN_VARIANCE))
            u, v = f(x) + f(0.5), f(y) + f(0.5)
            land_pixel(geometry, u, v, landing)
            w, wu, wv = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
            c = plane_cost(
                packed, geometry, maps, landing, offsets, patch, costs, chosen, u, v, variance,
                w, wu, wv, best, f(0.0), True
            )  # fmt: skip
            cost[y, x] = c
            if costs[0] >= f(MAX_COST):
                continue
            for k in range(packed.shape[0]):  # the sources that match about as well as the best one
                t = f(1.0) - (costs[k] - costs[0]) / f(0.3)
                trust[chosen[k]] = max(f(0.0), t) if costs[k] < f(MAX_COST) else f(0.0)
            variance = max(fill_patch(reference, y, x, small, patch), f(MIN_VARIANCE))
            w, wu, wv = refine_plane(
                packed, geometry, landing, small, patch, trust, np.sqrt(variance), w, wu, wv, w_step, steps
            )
            planes[y, x, 0], planes[y, x, 1], planes[y, x, 2] = w, wu, wv


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
def count_agreement(inverse, maps, sizes, A, b, A_back, b_back, max_px, max_relative):  # type: ignore[no-untyped-def]
    """Count, for each pixel, the sources whose own depth agrees (forward-backward), (H, W) uint8.

    All maps are at the resolution of their cameras; 0 is invalid. Also returns the inverse depth
    averaged over the agreeing views, as this camera sees it; its own counts ``OWN_WEIGHT``.
    """
    f = np.float32
    height, width = inverse.shape
    count = np.zeros((height, width), np.uint8)
    mean = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            w = inverse[y, x]
            if w <= f(0.0):
                continue
            u = f(x) + f(0.5)
            v = f(y) + f(0.5)
            total = f(OWN_WEIGHT) * w
            hits = 0
            for s in range(maps.shape[0]):
                z = A[s, 2, 0] * u + A[s, 2, 1] * v + A[s, 2, 2] + w * b[s, 2]
                if z <= f(1e-9):
                    continue
                xs = (A[s, 0, 0] * u + A[s, 0, 1] * v + A[s, 0, 2] + w * b[s, 0]) / z - f(0.5)
                ys = (A[s, 1, 0] * u + A[s, 1, 1] * v + A[s, 1, 2] + w * b[s, 1]) / z - f(0.5)
                x0 = np.int32(np.floor(xs))
                y0 = np.int32(np.floor(ys))
                if x0 < 0 or y0 < 0 or x0 + 1 >= sizes[s, 1] or y0 + 1 >= sizes[s, 0]:
                    continue
                fx = xs - f(x0)
                fy = ys - f(y0)
                p00, p01 = maps[s, y0, x0], maps[s, y0, x0 + 1]
                p10, p11 = maps[s, y0 + 1, x0], maps[s, y0 + 1, x0 + 1]
                low = min(min(p00, p01), min(p10, p11))
                high = max(max(p00, p01), max(p10, p11))
                if low > f(0.0) and high < low * f(1.02):
                    ws = (p00 * (1 - fx) + p01 * fx) * (1 - fy) + (p10 * (1 - fx) + p11 * fx) * fy
                else:  # an edge: the nearest pixel
                    ws = maps[s, y0 + (1 if fy > 0.5 else 0), x0 + (1 if fx > 0.5 else 0)]
                if ws <= f(0.0):
                    continue
                zb = A_back[s, 2, 0] * (xs + f(0.5)) + A_back[s, 2, 1] * (ys + f(0.5)) + A_back[s, 2, 2]
                zb += ws * b_back[s, 2]
                if zb <= f(1e-9):
                    continue
                nx = A_back[s, 0, 0] * (xs + f(0.5)) + A_back[s, 0, 1] * (ys + f(0.5)) + A_back[s, 0, 2]
                ny = A_back[s, 1, 0] * (xs + f(0.5)) + A_back[s, 1, 1] * (ys + f(0.5)) + A_back[s, 1, 2]
                dx = (nx + ws * b_back[s, 0]) / zb - u
                dy = (ny + ws * b_back[s, 1]) / zb - v
                back = ws / zb  # the source's surface as inverse depth in this camera
                if dx * dx + dy * dy < max_px * max_px and abs(back - w) < max_relative * w:
                    total += back
                    hits += 1
            count[y, x] = hits
            mean[y, x] = total / (f(OWN_WEIGHT) + f(hits))
    return count, mean


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
def render_maps(maps, sizes, A_back, b_back, seen):  # type: ignore[no-untyped-def]
    """Render the inverse depth ``maps`` of other views into this one: ``seen`` (sources, H, W), 0 = nothing.

    A pixel a sample, the nearest surface wins.
    """
    f = np.float32
    height, width = seen.shape[1], seen.shape[2]
    for s in range(maps.shape[0]):
        for y in range(sizes[s, 0]):
            for x in range(sizes[s, 1]):
                w = maps[s, y, x]
                if w <= f(0.0):
                    continue
                u, v = f(x) + f(0.5), f(y) + f(0.5)
                z = A_back[s, 2, 0] * u + A_back[s, 2, 1] * v + A_back[s, 2, 2] + w * b_back[s, 2]
                if z <= f(1e-9):
                    continue
                p = (A_back[s, 0, 0] * u + A_back[s, 0, 1] * v + A_back[s, 0, 2] + w * b_back[s, 0]) / z
                q = (A_back[s, 1, 0] * u + A_back[s, 1, 1] * v + A_back[s, 1, 2] + w * b_back[s, 1]) / z
                if p < f(0.0) or q < f(0.0) or p >= f(width) or q >= f(height):
                    continue
                column, row = np.int32(p), np.int32(q)
                seen[s, row, column] = max(seen[s, row, column], w / z)


@njit(forceinline=True, error_model="numpy", _nrt=False)
def _votes(seen, y, x, w, tolerance):  # type: ignore[no-untyped-def]
    """Return how many surfaces agree with inverse depth ``w``, how many are in front, the former's sum."""
    f = np.float32
    agree, front, total = 0, 0, f(0.0)
    for s in range(seen.shape[0]):
        other = seen[s, y, x]
        if abs(other - w) < tolerance * w:
            agree += 1
            total += other
        elif other > w:
            front += 1
    return agree, front, total


@njit(nogil=True, cache=True, error_model="numpy", _nrt=False)
def settle_votes(inverse, seen, tolerance, needed, corrected):  # type: ignore[no-untyped-def]
    """Replace depth that contradicts the other views' surfaces ``seen`` from here, in ``corrected`` (H, W).

    A ray that passes through more surfaces than agree with where it ends is wrong; it ends at the surface
    that at least ``needed`` views agree on, as does a ray without depth, or nowhere.
    """
    f = np.float32
    for y in range(inverse.shape[0]):
        for x in range(inverse.shape[1]):
            w = inverse[y, x]
            if w > f(0.0):
                agree, front, _ = _votes(seen, y, x, w, tolerance)
                if front <= agree:
                    corrected[y, x] = w
                    continue
            best, chosen = 0, f(0.0)
            for s in range(seen.shape[0]):
                if seen[s, y, x] > f(0.0):
                    agree, front, total = _votes(seen, y, x, seen[s, y, x], tolerance)
                    if agree >= needed and agree - front > best:
                        best, chosen = agree - front, total / f(agree)
            corrected[y, x] = chosen
