"""Numba kernels of the PatchMatch stereo: slanted planes in inverse depth, checkerboard propagation.

A hypothesis at pixel (u, v) is ``(w, wu, wv)``: inverse depth and its slopes over the image, so that
the plane's inverse depth at (u + du, v + dv) is ``w + wu*du + wv*dv`` (planes are affine in inverse
depth). A sample of the patch lands in source ``s`` at ``A_s (u, v, 1) + w b_s``, with
``A = K_s R K_r^-1`` and ``b = K_s t``: nine multiplications a sample, no homography inverse.

Sources: Bleyer et al. 2011 (10.5244/C.25.14), Galliani et al. 2015 (10.1109/ICCV.2015.106, the
checkerboard), Schoenberger et al. 2016 (10.1007/978-3-319-46487-9_31, bilateral NCC and geometric
consistency), Xu and Tao 2019 (10.1109/CVPR.2019.00563, candidates by direction).

The slow, plain twin of :func:`_plane_cost` is in tests/test_depth.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

_FAR = 2.0  # the cost of a hypothesis that cannot be compared


@njit(inline="always")
def _hash_uniform(a: int, b: int, c: int) -> Any:
    """Return a number in [-1, 1) that depends on the three integers alone."""
    full = np.int64(0xFFFFFFFF)  # Numba computes in 64 bits: cut back to 32 after every product
    h = (a * np.int64(0x9E3779B1) + b * np.int64(0x85EBCA77) + c * np.int64(0x42B2AE3D)) & full
    h = ((h ^ (h >> 15)) * np.int64(0x2C1B3C6D)) & full
    h = ((h ^ (h >> 12)) * np.int64(0x297A2D39)) & full
    h = h ^ (h >> 15)
    return np.float32(h) * np.float32(2.0 / 4294967296.0) - np.float32(1.0)


@njit(fastmath=True, cache=True)
def _ncc_cost(source, height, width, h, offsets, weights, values, mean, variance):  # type: ignore[no-untyped-def]
    """Return 1 - weighted NCC of the reference patch with its warp into one source image."""
    f = np.float32
    xc = h[2] / h[8]
    yc = h[5] / h[8]
    if h[8] <= f(1e-6) or xc < f(1.0) or yc < f(1.0) or xc > f(width - 1) or yc > f(height - 1):
        return f(_FAR)
    total = f(0.0)
    square = f(0.0)
    product = f(0.0)
    x_limit = f(width) - f(1.001)
    y_limit = f(height) - f(1.001)
    for i in range(values.shape[0]):
        du = offsets[i, 0]
        dv = offsets[i, 1]
        inverse = f(1.0) / (h[8] + h[6] * du + h[7] * dv)
        # (0.5, 0.5) is the centre of the first pixel: half a pixel back for the array index
        x = (h[2] + h[0] * du + h[1] * dv) * inverse - f(0.5)
        y = (h[5] + h[3] * du + h[4] * dv) * inverse - f(0.5)
        x = min(max(x, f(0.0)), x_limit)
        y = min(max(y, f(0.0)), y_limit)
        x0 = np.int32(x)
        y0 = np.int32(y)
        fx = x - f(x0)
        fy = y - f(y0)
        base = y0 * width + x0
        p00 = source[base]
        p01 = source[base + 1]
        p10 = source[base + width]
        p11 = source[base + width + 1]
        top = p00 + fx * (p01 - p00)
        bottom = p10 + fx * (p11 - p10)
        value = top + fy * (bottom - top)
        wv = weights[i] * value
        total += wv
        square += wv * value
        product += wv * values[i]
    spread = square - total * total
    if spread < f(1e-6):
        return f(1.0)
    ncc = (product - total * mean) / np.sqrt(spread * variance)
    return f(1.0) - max(f(-1.0), min(f(1.0), ncc))


@njit(fastmath=True, cache=True)
def _plane_cost(  # type: ignore[no-untyped-def]
    sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
    w, wu, wv, best, costs, chosen, geometric, all_sources
):  # fmt: skip
    """Return the cost of one plane: the mean of the ``best`` lowest source costs, plus consistency.

    ``pixel``: u, v, the patch's mean and variance. ``all_sources``: compare with every source and leave the
    best ones in ``chosen``; otherwise compare with the ``chosen`` ones only. (Arrays one by one: Numba
    copies a tuple of arrays on every call, half as fast.)
    """
    u, v, mean, variance = pixel
    f = np.float32
    n = sources.shape[0] if all_sources else best
    h = np.empty(9, np.float32)
    for k in range(n):
        s = k if all_sources else chosen[k]
        for row in range(3):
            h[3 * row] = A[s, row, 0] + wu * b[s, row]
            h[3 * row + 1] = A[s, row, 1] + wv * b[s, row]
            h[3 * row + 2] = A[s, row, 0] * u + A[s, row, 1] * v + A[s, row, 2] + w * b[s, row]
        cost = _ncc_cost(sources[s], sizes[s, 0], sizes[s, 1], h, offsets, weights, values, mean, variance)
        if geometric > f(0.0) and cost < f(_FAR):
            cost += geometric * _backward_distance(maps[s], map_scale[s], h, w, A_back[s], b_back[s], u, v)
        costs[k] = cost
    if not all_sources:
        total = f(0.0)
        for k in range(best):
            total += costs[k]
        return total / f(best)
    for s in range(n):
        chosen[s] = s
    # selection of the lowest costs: a handful of sources, a plain partial selection sort
    total = f(0.0)
    for k in range(best):
        at = k
        for s in range(k + 1, n):
            if costs[s] < costs[at]:
                at = s
        lowest = costs[at]
        costs[at] = costs[k]
        costs[k] = lowest
        index = chosen[at]
        chosen[at] = chosen[k]
        chosen[k] = index
        total += lowest
    return total / f(best)


@njit(inline="always")
def _backward_distance(inverse_map, scale, h, w, A_back, b_back, u, v):  # type: ignore[no-untyped-def]
    """Return how far (px, at most 3) the source's own depth sends the pixel from where it came."""
    f = np.float32
    x = h[2] / h[8]
    y = h[5] / h[8]
    ix = np.int32(x * scale[0])
    iy = np.int32(y * scale[1])
    if ix < 0 or iy < 0 or ix >= inverse_map.shape[1] or iy >= inverse_map.shape[0]:
        return f(3.0)
    ws = inverse_map[iy, ix]
    if ws <= f(0.0):
        return f(3.0)
    z = A_back[2, 0] * x + A_back[2, 1] * y + A_back[2, 2] + ws * b_back[2]
    if z <= f(1e-9):
        return f(3.0)
    dx = (A_back[0, 0] * x + A_back[0, 1] * y + A_back[0, 2] + ws * b_back[0]) / z - u
    dy = (A_back[1, 0] * x + A_back[1, 1] * y + A_back[1, 2] + ws * b_back[1]) / z - v
    return min(f(3.0), np.sqrt(dx * dx + dy * dy))


@njit(fastmath=True, cache=True)
def _fill_patch(reference, y, x, offsets, sigma_color, weights, values):  # type: ignore[no-untyped-def]
    """Read the reference patch with bilateral weights that sum to 1; return its mean and variance."""
    f = np.float32
    height, width = reference.shape
    centre = reference[y, x]
    n = offsets.shape[0]
    total = f(0.0)
    for i in range(n):
        yy = min(max(y + np.int32(offsets[i, 1]), 0), height - 1)
        xx = min(max(x + np.int32(offsets[i, 0]), 0), width - 1)
        value = reference[yy, xx]
        values[i] = value
        weight = np.exp(-abs(value - centre) / sigma_color - offsets[i, 2])
        weights[i] = weight
        total += weight
    mean = f(0.0)
    square = f(0.0)
    for i in range(n):
        weights[i] /= total
        mean += weights[i] * values[i]
        square += weights[i] * values[i] * values[i]
    return mean, max(square - mean * mean, f(0.0))


@njit(parallel=True, fastmath=True, cache=True)
def sweep(  # type: ignore[no-untyped-def]
    reference, scene, planes, cost, active, color, iteration, seed, offsets, sigma_color, best, w_low, w_high,
    w_step, slope_limit, reach, spread, fresh, geometric, select
):  # fmt: skip
    """One half (a checkerboard colour) of a PatchMatch iteration, in place.

    ``reach`` 0: near neighbours only; 1: far ones too. ``spread``: size of the random steps, in px of
    disparity. ``fresh``: first measure the standing hypothesis' cost. ``select``: compare candidates only
    with the sources that match the standing hypothesis best (after the first, coarse sizes).
    """
    f = np.float32
    sources, sizes, A, b, maps, map_scale, A_back, b_back = scene
    height, width = reference.shape
    for y in prange(height):
        weights = np.empty(offsets.shape[0], np.float32)
        values = np.empty(offsets.shape[0], np.float32)
        costs = np.empty(sources.shape[0], np.float32)
        chosen = np.empty(sources.shape[0], np.int32)
        for x in range((y + color) % 2, width, 2):
            if not active[y, x]:
                continue
            mean, variance = _fill_patch(reference, y, x, offsets, sigma_color, weights, values)
            if variance < f(0.05):  # grey levels squared: nothing to compare
                cost[y, x] = f(1.0)
                variance = f(0.05)
            pixel = (f(x) + f(0.5), f(y) + f(0.5), mean, variance)
            w, wu, wv = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
            c = cost[y, x]
            if fresh or select:
                c = _plane_cost(
                    sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                    w, wu, wv, best, costs, chosen, geometric, True,
                )  # fmt: skip
            for k in range(8):
                if k < 4:
                    # the cheaper neighbour along x (k = 0), along y (1), and the cheapest far ones (2, 3)
                    if k >= 2 and reach == 0:
                        continue
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
                        continue
                    xx, yy = x + sx * step, y + sy * step
                    nu, nv = planes[yy, xx, 1], planes[yy, xx, 2]
                    nw = planes[yy, xx, 0] - nu * f(sx * step) - nv * f(sy * step)
                    slope_gap = abs(nu - wu) + abs(nv - wv)
                    if abs(nw - w) < f(0.06) * w_step and slope_gap * f(4.0) < f(0.06) * w_step:
                        continue
                else:
                    scale = spread * (f(1.0) if k == 4 else f(0.3)) * w_step
                    r0 = _hash_uniform(x * 4 + k, y, iteration * 64 + seed)
                    r1 = _hash_uniform(x, y * 4 + k, iteration * 64 + seed + 17)
                    r2 = _hash_uniform(x, y, iteration * 64 + seed + 31 + 4 * k)
                    nw, nu, nv = w, wu, wv
                    if k != 6:
                        nw = w + scale * r0
                    if k >= 6:
                        nu = wu + scale * f(0.3) * r1
                        nv = wv + scale * f(0.3) * r2
                    if reach == 0 and (k == 5 or k == 7):
                        continue
                    if k == 7:
                        nw = w_low + (w_high - w_low) * (f(0.5) * r0 + f(0.5))
                        nu = slope_limit * f(0.5) * nw * r1
                        nv = slope_limit * f(0.5) * nw * r2
                limit = slope_limit * nw
                if nw < w_low or nw > w_high or abs(nu) > limit or abs(nv) > limit:
                    continue
                trial = _plane_cost(
                    sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                    nw, nu, nv, best, costs, chosen, geometric, not select
                )  # fmt: skip
                if trial < c:
                    c, w, wu, wv = trial, nw, nu, nv
            planes[y, x, 0], planes[y, x, 1], planes[y, x, 2] = w, wu, wv
            cost[y, x] = c


@njit(parallel=True, fastmath=True, cache=True)
def prefer_plane(  # type: ignore[no-untyped-def]
    reference, scene, planes, cost, active, offsets, sigma_color, best, plane, near, margin
):
    """Put pixels on the given plane (w, wu, wv at the image's origin) where it matches about as well.

    Only pixels whose inverse depth lies within the share ``near`` of the plane's; ``margin``: how much
    worse (1 - NCC) the plane may match. Shadows at an object's foot have too little texture to tell.
    """
    f = np.float32
    sources, sizes, A, b, maps, map_scale, A_back, b_back = scene
    height, width = reference.shape
    for y in prange(height):
        weights = np.empty(offsets.shape[0], np.float32)
        values = np.empty(offsets.shape[0], np.float32)
        costs = np.empty(sources.shape[0], np.float32)
        chosen = np.empty(sources.shape[0], np.int32)
        for x in range(width):
            u, v = f(x) + f(0.5), f(y) + f(0.5)
            w = plane[0] + plane[1] * u + plane[2] * v
            if not active[y, x] or w <= f(0.0) or abs(planes[y, x, 0] - w) > near * w:
                continue
            mean, variance = _fill_patch(reference, y, x, offsets, sigma_color, weights, values)
            pixel = (u, v, mean, max(variance, f(0.05)))
            on = _plane_cost(
                sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                w, plane[1], plane[2], best, costs, chosen, f(0.0), True
            )  # fmt: skip
            if on < cost[y, x] + margin:
                planes[y, x, 0], planes[y, x, 1], planes[y, x, 2] = w, plane[1], plane[2]
                cost[y, x] = min(on, cost[y, x])


@njit(parallel=True, fastmath=True, cache=True)
def polish(reference, scene, planes, cost, active, offsets, sigma_color, best, w_step):  # type: ignore[no-untyped-def]
    """Sub-pixel step: a parabola through the costs at w - d, w, w + d; also returns pure NCC costs."""
    f = np.float32
    sources, sizes, A, b, maps, map_scale, A_back, b_back = scene
    height, width = reference.shape
    texture = np.zeros((height, width), np.float32)
    for y in prange(height):
        weights = np.empty(offsets.shape[0], np.float32)
        values = np.empty(offsets.shape[0], np.float32)
        costs = np.empty(sources.shape[0], np.float32)
        chosen = np.empty(sources.shape[0], np.int32)
        for x in range(width):
            if not active[y, x]:
                continue
            mean, variance = _fill_patch(reference, y, x, offsets, sigma_color, weights, values)
            texture[y, x] = np.sqrt(variance)
            variance = max(variance, f(0.05))
            pixel = (f(x) + f(0.5), f(y) + f(0.5), mean, variance)
            w, wu, wv = planes[y, x, 0], planes[y, x, 1], planes[y, x, 2]
            d = f(0.3) * w_step
            c0 = _plane_cost(
                sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                w, wu, wv, best, costs, chosen, f(0.0), True
            )  # fmt: skip
            cm = _plane_cost(
                sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                w - d, wu, wv, best, costs, chosen, f(0.0), False
            )  # fmt: skip
            cp = _plane_cost(
                sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                w + d, wu, wv, best, costs, chosen, f(0.0), False
            )  # fmt: skip
            curve = cm + cp - f(2.0) * c0
            cost[y, x] = c0
            if curve > f(1e-4):
                shift = f(0.5) * (cm - cp) / curve
                shift = min(max(shift, f(-1.0)), f(1.0)) * d
                cn = _plane_cost(
                    sources, sizes, A, b, maps, map_scale, A_back, b_back, offsets, weights, values, pixel,
                    w + shift, wu, wv, best, costs, chosen, f(0.0), False
                )  # fmt: skip
                if cn < c0:
                    planes[y, x, 0] = w + shift
                    cost[y, x] = cn
    return texture


@njit(parallel=True, fastmath=True, cache=True)
def count_agreement(inverse, maps, sizes, A, b, A_back, b_back, max_px, max_relative):  # type: ignore[no-untyped-def]
    """Count, for each pixel, the sources whose own depth agrees (forward-backward), (H, W) uint8.

    All maps are at the resolution of their cameras; 0 is invalid. Also returns the inverse depth
    averaged over the agreeing views, as this camera sees it.
    """
    f = np.float32
    height, width = inverse.shape
    count = np.zeros((height, width), np.uint8)
    mean = np.zeros((height, width), np.float32)
    for y in prange(height):
        for x in range(width):
            w = inverse[y, x]
            if w <= f(0.0):
                continue
            u = f(x) + f(0.5)
            v = f(y) + f(0.5)
            total = w
            hits = 1
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
            count[y, x] = hits - 1
            mean[y, x] = total / f(hits)
    return count, mean
