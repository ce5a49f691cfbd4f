"""Numba kernels that draw Gaussian splats, and take the gradient of a picture back to them.

Kerbl et al. 2023 (arXiv:2308.04079), on a CPU: tiles of the picture, each with its splats from near to far.
Within a tile a splat touches only the pixels of its own box, and the gradient runs from near to far as well,
with what is still to come as the picture less what was. The kernels run without Python's lock, some tiles a
thread; each writes to places of its own, so threads change no bit.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

TILE = 16
LEAST_ALPHA = 1 / 255
MOST_ALPHA = 0.99
LEAST_PASSED = 1e-4
"""Of the light: a pixel that lets less through is finished."""
NUM_GRADIENTS = 9
"""Of a splat in a tile: place (2), conic (3), colour (3), opacity."""


@njit(cache=True, nogil=True)
def count_tiles(boxes, columns, counts):  # type: ignore[no-untyped-def]
    """Count the splats of each tile; boxes (N, 4) of tiles: first column and row, behind the last."""
    for splat in range(len(boxes)):
        for row in range(boxes[splat, 1], boxes[splat, 3]):
            for column in range(boxes[splat, 0], boxes[splat, 2]):
                counts[row * columns + column] += 1


@njit(cache=True, nogil=True)
def fill_tiles(boxes, order, columns, filled, entries):  # type: ignore[no-untyped-def]
    """List the splats of each tile, in the given order; ``filled`` starts where the tile's list starts."""
    for number in range(len(order)):
        splat = order[number]
        for row in range(boxes[splat, 1], boxes[splat, 3]):
            for column in range(boxes[splat, 0], boxes[splat, 2]):
                tile = row * columns + column
                entries[filled[tile]] = splat
                filled[tile] += 1


@njit(inline="always")
def _span(middle, reach, first, end):  # type: ignore[no-untyped-def]
    """Return the pixels of a tile's side that a splat touches: the first, and the one behind the last."""
    return max(first, int(middle - reach)), min(end, int(middle + reach) + 1)


@njit(inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]
    """Return the product of two colours."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def draw_tiles(first, last, starts, entries, splats, reach, image, passed):  # type: ignore[no-untyped-def]
    """Draw some tiles.

    ``splats`` (N, 9): x, y, conic (a, b, c), colour, opacity; ``reach`` (N, 2): pixels to both sides;
    ``image`` (H, W, 3) and ``passed`` (H, W), the light that came through, are written.
    """
    height, width = passed.shape
    columns = (width + TILE - 1) // TILE
    f = np.float32
    for tile in range(first, last):
        top, left = tile // columns * TILE, tile % columns * TILE
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        image[top:bottom, left:right] = f(0)
        passed[top:bottom, left:right] = f(1)
        for entry in range(starts[tile], starts[tile + 1]):
            g = entries[entry]
            x0, y0, a, b, c = splats[g, 0], splats[g, 1], splats[g, 2], splats[g, 3], splats[g, 4]
            red, green, blue, opacity = splats[g, 5], splats[g, 6], splats[g, 7], splats[g, 8]
            limit = math.log(opacity * f(255))
            x_first, x_end = _span(x0, reach[g, 0], left, right)
            y_first, y_end = _span(y0, reach[g, 1], top, bottom)
            for y in range(y_first, y_end):
                dy = f(y) + f(0.5) - y0
                for x in range(x_first, x_end):
                    dx = f(x) + f(0.5) - x0
                    power = f(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    through = passed[y, x]
                    if power > limit or power < f(0) or through < f(LEAST_PASSED):
                        continue
                    alpha = min(f(MOST_ALPHA), opacity * math.exp(-power))
                    weight = alpha * through
                    image[y, x, 0] += weight * red
                    image[y, x, 1] += weight * green
                    image[y, x, 2] += weight * blue
                    passed[y, x] = through - weight


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def trace_tiles(  # type: ignore[no-untyped-def]
    first, last, starts, entries, splats, reach, image, passed, of_image, of_passed, found
):
    """Take the gradients of image (H, W, 3) and passed light (H, W) back: ``found`` (entries, 9)."""
    height, width = passed.shape
    columns = (width + TILE - 1) // TILE
    f = np.float32
    through = np.empty((TILE, TILE), np.float32)
    ahead = np.empty((TILE, TILE), np.float32)  # what the splats still to come add to the loss
    for tile in range(first, last):
        top, left = tile // columns * TILE, tile % columns * TILE
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        through[:] = f(1)
        for y in range(top, bottom):
            for x in range(left, right):
                ahead[y - top, x - left] = _dot(image[y, x], of_image[y, x])
        for entry in range(starts[tile], starts[tile + 1]):
            g = entries[entry]
            x0, y0, a, b, c = splats[g, 0], splats[g, 1], splats[g, 2], splats[g, 3], splats[g, 4]
            red, green, blue, opacity = splats[g, 5], splats[g, 6], splats[g, 7], splats[g, 8]
            limit = math.log(opacity * f(255))
            gx, gy, ga, gb, gc = f(0), f(0), f(0), f(0), f(0)
            gr, gg, gl, go = f(0), f(0), f(0), f(0)
            x_first, x_end = _span(x0, reach[g, 0], left, right)
            y_first, y_end = _span(y0, reach[g, 1], top, bottom)
            for y in range(y_first, y_end):
                dy = f(y) + f(0.5) - y0
                for x in range(x_first, x_end):
                    dx = f(x) + f(0.5) - x0
                    power = f(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    here = through[y - top, x - left]
                    if power > limit or power < f(0) or here < f(LEAST_PASSED):
                        continue
                    fall = math.exp(-power)
                    alpha = min(f(MOST_ALPHA), opacity * fall)
                    weight = alpha * here
                    of_red, of_green, of_blue = of_image[y, x, 0], of_image[y, x, 1], of_image[y, x, 2]
                    own = red * of_red + green * of_green + blue * of_blue
                    gr += weight * of_red
                    gg += weight * of_green
                    gl += weight * of_blue
                    left_over = ahead[y - top, x - left] - weight * own
                    ahead[y - top, x - left] = left_over
                    through[y - top, x - left] = here - weight
                    if opacity * fall > f(MOST_ALPHA):
                        continue
                    stopped = f(1) / (f(1) - alpha)
                    of_alpha = here * own - (left_over + passed[y, x] * of_passed[y, x]) * stopped
                    go += of_alpha * fall
                    of_power = -of_alpha * alpha
                    ga += of_power * f(0.5) * dx * dx
                    gb += of_power * dx * dy
                    gc += of_power * f(0.5) * dy * dy
                    gx -= of_power * (a * dx + b * dy)
                    gy -= of_power * (c * dy + b * dx)
            found[entry, 0], found[entry, 1] = gx, gy
            found[entry, 2], found[entry, 3], found[entry, 4] = ga, gb, gc
            found[entry, 5], found[entry, 6], found[entry, 7] = gr, gg, gl
            found[entry, 8] = go


@njit(cache=True, nogil=True)
def add_up(entries, found, total):  # type: ignore[no-untyped-def]
    """Add the gradients of each splat over its tiles: (entries, 9) to (N, 9)."""
    for entry in range(len(entries)):
        for k in range(NUM_GRADIENTS):
            total[entries[entry], k] += found[entry, k]
