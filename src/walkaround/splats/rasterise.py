"""Draw projected splats, differentiably."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from walkaround.splats._kernels import (
    NUM_GRADIENTS,
    TILE,
    add_up,
    count_tiles,
    draw_tiles,
    fill_tiles,
    trace_tiles,
)
from walkaround.types import Float32Array, IntArray

_BANDS = 4
"""Parts of the tiles for each thread: some are fuller than others."""


def rasterise(
    splats: Tensor, reach: Tensor, depths: Tensor, size_hw: tuple[int, int], num_threads: int = 1
) -> tuple[Tensor, Tensor]:
    """Draw splats from near to far.

    Parameters
    ----------
    splats
        (N, 9) float32 on the CPU: x, y in pixels (the first pixel's centre is 0.5), conic (a, b, c: the
        inverse of the covariance), colour, opacity of 0..1 above 1/255.
    reach
        (N, 2) pixels to both sides in which a splat can be seen.
    depths
        (N,) what they are sorted by.

    Returns
    -------
    image, passed
        (H, W, 3) before black, and (H, W): the share of the background's light that comes through.
    """
    image, passed = _Rasterise.apply(splats, reach, depths, size_hw, num_threads)
    return image, passed


class _Rasterise(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, splats: Tensor, reach: Tensor, depths: Tensor, size_hw: tuple[int, int], num_threads: int
    ) -> tuple[Tensor, Tensor]:
        height, width = size_hw
        table, far = _array(splats), _array(reach)
        starts, entries = tile_lists(table, far, _array(depths), size_hw)
        image = np.empty((height, width, 3), np.float32)
        passed = np.empty((height, width), np.float32)
        _in_bands(
            len(starts) - 1,
            num_threads,
            lambda first, last: draw_tiles(first, last, starts, entries, table, far, image, passed),
        )
        ctx.kept = (table, far, starts, entries, image, passed, num_threads)
        return torch.from_numpy(image), torch.from_numpy(passed)

    @staticmethod
    def backward(ctx: Any, of_image: Tensor, of_passed: Tensor) -> tuple[Tensor | None, ...]:
        table, far, starts, entries, image, passed, num_threads = ctx.kept
        found = np.empty((len(entries), NUM_GRADIENTS), np.float32)
        above = _array(of_image), _array(of_passed)
        _in_bands(
            len(starts) - 1,
            num_threads,
            lambda first, last: trace_tiles(
                first, last, starts, entries, table, far, image, passed, *above, found
            ),
        )
        total = np.zeros((len(table), NUM_GRADIENTS), np.float32)
        add_up(entries, found, total)
        return torch.from_numpy(total), None, None, None, None


def tile_lists(
    splats: Float32Array, reach: Float32Array, depths: Float32Array, size_hw: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Return where each tile's list starts, (tiles + 1,), and the lists, near splats first."""
    rows, columns = (-(-side // TILE) for side in size_hw)
    low = np.floor((splats[:, :2] - reach) / TILE)
    high = np.floor((splats[:, :2] + reach) / TILE) + 1
    boxes = np.concatenate([low, high], axis=1).clip(0, np.tile([columns, rows], 2)).astype(np.int64)
    counts = np.zeros(rows * columns, np.int64)
    count_tiles(boxes, columns, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    entries = np.empty(starts[-1], np.int64)
    fill_tiles(boxes, np.argsort(depths, kind="stable"), columns, starts[:-1].copy(), entries)
    return starts, entries


def _array(tensor: Tensor) -> Float32Array:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _in_bands(tiles: int, num_threads: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(first, last)`` for parts of the tiles, in threads."""
    if num_threads < 2:
        work(0, tiles)
        return
    ends = np.linspace(0, tiles, num_threads * _BANDS + 1).round().astype(int)
    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(work, ends[:-1], ends[1:]))
