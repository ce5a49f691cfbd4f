"""How well a plane explains a pixel: the matching cost at the heart of the PatchMatch stereo.

A hypothesis at pixel (u, v) is ``(w, wu, wv)``: inverse depth and its slopes over the image, so that
the plane's inverse depth at (u + du, v + dv) is ``w + wu*du + wv*dv`` (planes are affine in inverse
depth). The pixel lands in source ``s`` at ``A_s (u, v, 1) + w b_s``, with ``A = K_s R K_r^-1`` and
``b = K_s t``; the patch around it follows by that map's derivative, since over a patch of a few pixels
the perspective of the plane itself moves no sample by a hundredth of a pixel.

Made for SIMD: a patch has a fixed number of samples, the four grey levels that bilinear interpolation
needs lie in one 32-bit word, so that a sample costs one gather, and nothing in the loop branches. The
compiler turns it into vector code (8 samples at once with AVX2, 16 with AVX-512).

Source: bilateral NCC after Schoenberger et al. 2016 (10.1007/978-3-319-46487-9_31). The slow, plain twin
of :func:`plane_cost` is in tests/test_depth.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from walkaround.types import Float32Array

SAMPLES = 32
"""Samples of a patch; a constant, so that the compiler can unroll."""
FAR = 2.0
"""The cost of a hypothesis that cannot be compared."""
MAX_COST = 0.75
"""1 - NCC above which a match is chance."""
MIN_VARIANCE = 0.05
"""Grey levels squared, under which a patch holds nothing to compare."""
SIGMA_COLOR = 30.0
"""Grey levels of the bilateral weight."""

# columns of a source's row in ``geometry``: A and b, width and height, scale of its depth map, A and b back
_A, _B, _SIZE, _SCALE, _A_BACK, _B_BACK, GEOMETRY_COLUMNS = 0, 9, 12, 14, 16, 25, 28


def pack_corners(image: Float32Array) -> Any:
    """Return (h * w,) uint32: each pixel's grey level and those right, below and below right, a byte each."""
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint32)
    grey = np.pad(grey, ((0, 1), (0, 1)), mode="edge")
    packed = grey[:-1, :-1] | grey[:-1, 1:] << 8 | grey[1:, :-1] << 16 | grey[1:, 1:] << 24
    return np.ascontiguousarray(packed.ravel().astype(np.uint32))


@njit(inline="always")
def _decay(x):  # type: ignore[no-untyped-def]
    """Return about exp(-x) for x >= 0, in operations that a vector unit has."""
    y = max(np.float32(0.0), np.float32(1.0) - x * np.float32(1.0 / 16.0))
    y *= y
    y *= y
    y *= y
    return y * y


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def fill_patch(reference, y, x, offsets, patch):  # type: ignore[no-untyped-def]
    """Read the reference patch; return its weighted variance.

    ``offsets`` (3, SAMPLES): du, dv and the spatial part of the weight's exponent. ``patch`` (2, SAMPLES)
    receives the bilateral weights, which sum to 1, and the weights times the grey levels less their mean.
    """
    f = np.float32
    height, width = reference.shape
    centre = reference[y, x]
    total = f(0.0)
    mean = f(0.0)
    for i in range(SAMPLES):
        yy = min(max(np.int32(y) + np.int32(offsets[1, i]), np.int32(0)), np.int32(height - 1))
        xx = min(max(np.int32(x) + np.int32(offsets[0, i]), np.int32(0)), np.int32(width - 1))
        value = reference[np.uint32(yy), np.uint32(xx)]
        weight = _decay(abs(value - centre) * f(1.0 / SIGMA_COLOR) + offsets[2, i])
        patch[0, i] = weight
        patch[1, i] = value
        total += weight
        mean += weight * value
    mean /= total
    share = f(1.0) / total
    variance = f(0.0)
    for i in range(SAMPLES):
        weight = patch[0, i] * share
        centred = patch[1, i] - mean
        patch[0, i] = weight
        patch[1, i] = weight * centred
        variance += weight * centred * centred
    return variance


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def land_pixel(geometry, u, v, landing):  # type: ignore[no-untyped-def]
    """Fill ``landing`` (sources, 3) with ``A_s (u, v, 1)``, which all planes at the pixel share."""
    for s in range(geometry.shape[0]):
        for row in range(3):
            a = geometry[s, 3 * row] * u + geometry[s, 3 * row + 1] * v + geometry[s, 3 * row + 2]
            landing[s, row] = a


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _land_plane(geometry, landing, s, w, wu, wv):  # type: ignore[no-untyped-def]
    """Return where a plane puts the pixel in source ``s``, (x, y), and the derivative of that by (u, v).

    The first value is the inverse of the depth ratio, 0 where the pixel falls outside.
    """
    f = np.float32
    b0, b1, b2 = geometry[s, _B], geometry[s, _B + 1], geometry[s, _B + 2]
    z = landing[s, 2] + w * b2
    inverse = f(1.0) / max(z, f(1e-6))
    x = (landing[s, 0] + w * b0) * inverse
    y = (landing[s, 1] + w * b1) * inverse
    x_limit, y_limit = geometry[s, _SIZE] - f(1.0), geometry[s, _SIZE + 1] - f(1.0)
    if z <= f(1e-6) or x < f(1.0) or y < f(1.0) or x > x_limit or y > y_limit:
        inverse = f(0.0)
    zu, zv = geometry[s, _A + 6] + wu * b2, geometry[s, _A + 7] + wv * b2
    xu = (geometry[s, _A] + wu * b0 - x * zu) * inverse
    xv = (geometry[s, _A + 1] + wv * b0 - x * zv) * inverse
    yu = (geometry[s, _A + 3] + wu * b1 - y * zu) * inverse
    yv = (geometry[s, _A + 4] + wv * b1 - y * zv) * inverse
    return inverse, x, y, xu, xv, yu, yv


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _read_corners(packed, s, row, x_limit, y_limit, x, y):  # type: ignore[no-untyped-def]
    """Return the four grey levels around (x, y), array coordinates, and the place between them."""
    f = np.float32
    x = min(max(x, f(0.0)), x_limit)
    y = min(max(y, f(0.0)), y_limit)
    x0 = np.int32(x)
    y0 = np.int32(y)
    word = packed[s, np.uint32(y0 * row + x0)]
    byte = np.uint32(255)
    p00 = f(np.int32(word & byte))
    p01 = f(np.int32((word >> np.uint32(8)) & byte))
    p10 = f(np.int32((word >> np.uint32(16)) & byte))
    p11 = f(np.int32(word >> np.uint32(24)))
    return p00, p01, p10, p11, x - f(x0), y - f(y0)


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def source_cost(packed, geometry, maps, landing, offsets, patch, s, u, v, variance, w, wu, wv, geometric):  # type: ignore[no-untyped-def]
    """Return 1 - NCC of the reference patch with its image in source ``s``, plus inconsistency."""
    f = np.float32
    inverse, x, y, xu, xv, yu, yv = _land_plane(geometry, landing, s, w, wu, wv)
    if inverse <= f(0.0):
        return f(FAR)
    width, height = geometry[s, _SIZE], geometry[s, _SIZE + 1]
    # (0.5, 0.5) is the centre of the first pixel: half a pixel back for the array index
    xi, yi = x - f(0.5), y - f(0.5)
    total = f(0.0)
    square = f(0.0)
    product = f(0.0)
    for i in range(SAMPLES):
        p00, p01, p10, p11, fx, fy = _read_corners(
            packed, s, np.int32(width), width - f(1.001), height - f(1.001),
            xi + xu * offsets[0, i] + xv * offsets[1, i], yi + yu * offsets[0, i] + yv * offsets[1, i],
        )  # fmt: skip
        top = p00 + fx * (p01 - p00)
        bottom = p10 + fx * (p11 - p10)
        value = top + fy * (bottom - top)
        weighted = patch[0, i] * value
        total += weighted
        square += weighted * value
        product += patch[1, i] * value
    spread = square - total * total
    if spread < f(1e-6):
        cost = f(1.0)
    else:
        cost = f(1.0) - max(f(-1.0), min(f(1.0), product / np.sqrt(spread * variance)))
    if geometric > f(0.0):
        cost += geometric * _backward_distance(geometry, maps, s, x, y, u, v)
    return cost


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _backward_distance(geometry, maps, s, x, y, u, v):  # type: ignore[no-untyped-def]
    """Return how far (px, at most 3) the source's own depth at (x, y) lands from pixel (u, v)."""
    f = np.float32
    ix = np.int32(x * geometry[s, _SCALE])
    iy = np.int32(y * geometry[s, _SCALE + 1])
    if ix < 0 or iy < 0 or ix >= maps.shape[2] or iy >= maps.shape[1]:
        return f(3.0)
    ws = maps[s, iy, ix]
    if ws <= f(0.0):
        return f(3.0)
    g = _A_BACK
    z = geometry[s, g + 6] * x + geometry[s, g + 7] * y + geometry[s, g + 8] + ws * geometry[s, _B_BACK + 2]
    if z <= f(1e-9):
        return f(3.0)
    xb = geometry[s, g] * x + geometry[s, g + 1] * y + geometry[s, g + 2] + ws * geometry[s, _B_BACK]
    yb = geometry[s, g + 3] * x + geometry[s, g + 4] * y + geometry[s, g + 5] + ws * geometry[s, _B_BACK + 1]
    dx, dy = xb / z - u, yb / z - v
    return min(f(3.0), np.sqrt(dx * dx + dy * dy))


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def plane_cost(  # type: ignore[no-untyped-def]
    packed, geometry, maps, landing, offsets, patch, costs, chosen, u, v, variance,
    w, wu, wv, best, geometric, all_sources
):  # fmt: skip
    """Return the cost of one plane: the mean of the ``best`` lowest source costs.

    ``all_sources``: compare with every source and leave the best ones first in ``chosen``; otherwise
    compare with the first ``best`` of ``chosen`` only.
    """
    f = np.float32
    total = f(0.0)
    if not all_sources:
        for k in range(best):
            total += source_cost(
                packed, geometry, maps, landing, offsets, patch, chosen[k], u, v, variance,
                w, wu, wv, geometric
            )  # fmt: skip
        return total / f(best)
    n = packed.shape[0]
    for s in range(n):
        costs[s] = source_cost(
            packed, geometry, maps, landing, offsets, patch, s, u, v, variance, w, wu, wv, geometric
        )
        chosen[s] = s
    # a handful of sources: a plain partial selection sort
    for k in range(best):
        at = k
        for s in range(k + 1, n):
            if costs[s] < costs[at]:
                at = s
        costs[k], costs[at] = costs[at], costs[k]
        chosen[k], chosen[at] = chosen[at], chosen[k]
        total += costs[k]
    return total / f(best)


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def _system_sums(packed, geometry, offsets, patch, s, x, y, xu, xv, yu, yv, xw, yw):  # type: ignore[no-untyped-def]
    """Return the weighted sums over a patch that :func:`source_system` solves with.

    Of the grey level, its square, its product with the reference; of J, of J times grey level and times
    reference (3 each); of JJ' (6). ``xw``, ``yw``: how far the unit step of w moves the pixel.
    """
    f = np.float32
    zero = f(0.0)
    width, height = geometry[s, _SIZE], geometry[s, _SIZE + 1]
    xi, yi = x - f(0.5), y - f(0.5)
    total, square, product = zero, zero, zero
    j0, j1, j2, v0, v1, v2, q0, q1, q2 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    h00, h01, h02, h11, h12, h22 = zero, zero, zero, zero, zero, zero
    for i in range(SAMPLES):
        du, dv = offsets[0, i], offsets[1, i]
        p00, p01, p10, p11, fx, fy = _read_corners(
            packed, s, np.int32(width), width - f(1.001), height - f(1.001),
            xi + xu * du + xv * dv, yi + yu * du + yv * dv,
        )  # fmt: skip
        top = p00 + fx * (p01 - p00)
        bottom = p10 + fx * (p11 - p10)
        value = top + fy * (bottom - top)
        slope_x = (p01 - p00) + fy * ((p11 - p10) - (p01 - p00))
        jw = slope_x * xw + (bottom - top) * yw
        ju, jv = jw * du * f(0.25), jw * dv * f(0.25)
        weight = patch[0, i]
        q = patch[1, i]
        weighted = weight * value
        total += weighted
        square += weighted * value
        product += q * value
        j0 += weight * jw
        j1 += weight * ju
        j2 += weight * jv
        v0 += weighted * jw
        v1 += weighted * ju
        v2 += weighted * jv
        q0 += q * jw
        q1 += q * ju
        q2 += q * jv
        h00 += weight * jw * jw
        h01 += weight * jw * ju
        h02 += weight * jw * jv
        h11 += weight * ju * ju
        h12 += weight * ju * jv
        h22 += weight * jv * jv
    return total, square, product, j0, j1, j2, v0, v1, v2, q0, q1, q2, h00, h01, h02, h11, h12, h22


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def source_system(packed, geometry, landing, offsets, patch, s, deviation, w, wu, wv, unit):  # type: ignore[no-untyped-def]
    """Return 1 - NCC in source ``s`` with the Gauss-Newton system that lowers it.

    The unknowns are the steps of w, wu and wv, in units that each move the patch's rim by about a pixel:
    ``unit`` (inverse depth) for w, ``unit / 4`` for the slopes. The residual of a sample is the difference
    of the normalised grey levels, so that gain and offset between the images drop out: with the normalised
    source n, reference q, and J the change of a source's grey level with the unknowns, the system is
    ``(E[JJ'] - E[J]E[J]' - E[nJ]E[nJ]') / var  x  step = (E[qJ] - NCC E[nJ]) / std``, E the weighted mean.
    ``deviation``: the reference patch's standard deviation. Returns (cost, 3 right sides, 6 matrix entries).

    Source: least squares matching, Gruen 1985.
    """
    f = np.float32
    zero = f(0.0)
    inverse, x, y, xu, xv, yu, yv = _land_plane(geometry, landing, s, w, wu, wv)
    if inverse <= zero:
        return (f(FAR), zero, zero, zero, zero, zero, zero, zero, zero, zero)
    xw = (geometry[s, _B] - x * geometry[s, _B + 2]) * inverse * unit
    yw = (geometry[s, _B + 1] - y * geometry[s, _B + 2]) * inverse * unit
    (
        total, square, product, j0, j1, j2, v0, v1, v2, q0, q1, q2, h00, h01, h02, h11, h12, h22
    ) = _system_sums(packed, geometry, offsets, patch, s, x, y, xu, xv, yu, yv, xw, yw)  # fmt: skip
    spread = square - total * total
    if spread < f(MIN_VARIANCE):
        return (f(1.0), zero, zero, zero, zero, zero, zero, zero, zero, zero)
    share = f(1.0) / spread
    std = np.sqrt(share)
    ncc = product * std / deviation
    c0, c1, c2 = (v0 - total * j0) * std, (v1 - total * j1) * std, (v2 - total * j2) * std
    return (
        f(1.0) - max(f(-1.0), min(f(1.0), ncc)),
        (q0 / deviation - ncc * c0) * std,
        (q1 / deviation - ncc * c1) * std,
        (q2 / deviation - ncc * c2) * std,
        (h00 - j0 * j0 - c0 * c0) * share,
        (h01 - j0 * j1 - c0 * c1) * share,
        (h02 - j0 * j2 - c0 * c2) * share,
        (h11 - j1 * j1 - c1 * c1) * share,
        (h12 - j1 * j2 - c1 * c2) * share,
        (h22 - j2 * j2 - c2 * c2) * share,
    )


@njit(fastmath=True, forceinline=True, error_model="numpy", _nrt=False)
def refine_plane(packed, geometry, landing, offsets, patch, trust, deviation, w, wu, wv, unit, steps):  # type: ignore[no-untyped-def]
    """Move a plane by ``steps`` damped Gauss-Newton steps; return the plane where the match was best.

    ``trust`` (sources,): the weight of each source, 0 leaves it out.
    """
    f = np.float32
    best_w, best_u, best_v = w, wu, wv
    lowest = f(1e9)
    for step in range(steps + 1):
        total = f(0.0)
        g0, g1, g2 = f(0.0), f(0.0), f(0.0)
        # damping, in NCC per pixel squared: what has no texture to say stays where it is
        h00, h01, h02, h11, h12, h22 = f(0.003), f(0.0), f(0.0), f(0.1), f(0.0), f(0.1)
        for s in range(packed.shape[0]):
            t = trust[s]
            if t <= f(0.0):
                continue
            cost, r0, r1, r2, a00, a01, a02, a11, a12, a22 = source_system(
                packed, geometry, landing, offsets, patch, s, deviation, w, wu, wv, unit
            )
            total += t * cost
            g0 += t * r0
            g1 += t * r1
            g2 += t * r2
            h00 += t * a00
            h01 += t * a01
            h02 += t * a02
            h11 += t * a11
            h12 += t * a12
            h22 += t * a22
        if total >= lowest:
            break
        lowest = total
        best_w, best_u, best_v = w, wu, wv
        if step == steps:
            break
        m0, m1, m2 = h11 * h22 - h12 * h12, h02 * h12 - h01 * h22, h01 * h12 - h02 * h11
        determinant = h00 * m0 + h01 * m1 + h02 * m2
        if determinant <= f(1e-12):
            break
        d0 = (m0 * g0 + m1 * g1 + m2 * g2) / determinant
        d1 = (m1 * g0 + (h00 * h22 - h02 * h02) * g1 + (h01 * h02 - h00 * h12) * g2) / determinant
        d2 = (m2 * g0 + (h01 * h02 - h00 * h12) * g1 + (h00 * h11 - h01 * h01) * g2) / determinant
        largest = max(abs(d0), max(abs(d1), abs(d2)))
        # twice the step: the images' noise is in the matrix too, and makes the plain one too short
        scale = f(2.0) * unit / max(f(1.0), largest)
        w += d0 * scale
        wu += d1 * scale * f(0.25)
        wv += d2 * scale * f(0.25)
    return best_w, best_u, best_v
