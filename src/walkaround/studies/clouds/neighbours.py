"""Farthest points and neighbours in batches of clouds, without a CUDA extension.

On the CPU farthest points and balls are compiled loops (numba); on a GPU, and for nearest neighbours
everywhere, whole-tensor operations of torch. Both give the same indices, ties included: the lowest wins.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from walkaround.errors import UsageError

Tensor = Any
_Kernel = Callable[..., None]


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Choose points that lie far from each other, greedily, starting with the first.

    Parameters
    ----------
    points
        (B, N, 3) float32.
    count
        How many to choose of each cloud, at most N.

    Returns
    -------
    Tensor
        (B, count) int64 indices.

    Raises
    ------
    UsageError
        ``count`` is not 1 to N.

    Notes
    -----
    Eldar et al. 1997, 10.1109/83.623193; as a layer Qi et al. 2017, arXiv:1706.02413.
    """
    _check_count(points, count, "farthest points")
    if points.device.type == "cpu":
        chosen = torch.empty(points.shape[0], count, dtype=torch.int64)
        _farthest_kernel()(_array(points), chosen.numpy())
        return chosen
    return _farthest_by_torch(points, count)


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Find the first ``count`` points (in the cloud's order) within ``radius`` of each centre.

    Fewer are filled up with the first found; a ball without any point takes the nearest one.

    Parameters
    ----------
    points
        (B, N, 3) float32.
    centres
        (B, M, 3) float32.
    radius
        In the clouds' unit.

    Returns
    -------
    Tensor
        (B, M, count) int64 indices.

    Raises
    ------
    UsageError
        ``count`` is not 1 to N.
    """
    _check_count(points, count, "points a ball")
    if points.device.type == "cpu":
        found = torch.empty(*centres.shape[:2], count, dtype=torch.int64)
        _ball_kernel()(_array(points), _array(centres), np.float32(radius**2), found.numpy())
        return found
    return _ball_by_torch(points, centres, radius, count)


def nearest_points(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """Find the ``count`` points nearest to each centre, nearest first.

    Parameters
    ----------
    points
        (B, N, 3) float32.
    centres
        (B, M, 3) float32.

    Returns
    -------
    Tensor
        (B, M, count) int64 indices.

    Raises
    ------
    UsageError
        ``count`` is not 1 to N.
    """
    _check_count(points, count, "neighbours")
    with torch.no_grad():
        return _squared_distances(centres, points).topk(count, dim=-1, largest=False).indices


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Take rows of each cloud: values (B, N, C) at index (B, ...) give (B, ..., C)."""
    flat = index.reshape(index.shape[0], -1, 1).expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).reshape(*index.shape, values.shape[-1])


def _check_count(points: Tensor, count: int, what: str) -> None:
    if not 1 <= count <= points.shape[1]:
        raise UsageError(
            f"{count} {what} are wanted of clouds with {points.shape[1]} points; take clouds of more points,"
            " or a smaller network."
        )


def _array(points: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(points.detach().numpy(), dtype=np.float32)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, M, 3) and (B, N, 3) -> (B, M, N), summed by axis: exact where a dot product would cancel."""
    total = (a[:, :, None, 0] - b[:, None, :, 0]).square_()
    for axis in (1, 2):
        total += (a[:, :, None, axis] - b[:, None, :, axis]).square_()
    return total


def _farthest_by_torch(points: Tensor, count: int) -> Tensor:
    with torch.no_grad():
        batch = torch.arange(points.shape[0], device=points.device)
        chosen = torch.zeros(points.shape[0], count, dtype=torch.int64, device=points.device)
        nearest = torch.full(points.shape[:2], torch.inf, device=points.device)
        for i in range(1, count):
            last = points[batch, chosen[:, i - 1]][:, None]
            nearest = torch.minimum(nearest, _squared_distances(last, points)[:, 0])
            chosen[:, i] = nearest.argmax(dim=1)
        return chosen


def _ball_by_torch(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    with torch.no_grad():
        total = points.shape[1]
        distances = _squared_distances(centres, points)
        order = torch.arange(total, device=points.device).expand_as(distances)
        order = order.masked_fill(distances > np.float32(radius**2), total)
        found = order.topk(count, dim=-1, largest=False, sorted=True).values
        first = found[..., :1]
        first = torch.where(first == total, distances.argmin(dim=-1, keepdim=True), first)
        return torch.where(found == total, first, found)


@functools.cache
def _farthest_kernel() -> _Kernel:
    from numba import njit

    kernel: _Kernel = njit(cache=True)(_farthest)
    return kernel


@functools.cache
def _ball_kernel() -> _Kernel:
    from numba import njit

    kernel: _Kernel = njit(cache=True)(_ball)
    return kernel


def _farthest(points: NDArray[np.float32], chosen: NDArray[np.int64]) -> None:
    batch, total = points.shape[:2]
    nearest = np.empty(total, np.float32)
    for b in range(batch):
        nearest[:] = np.inf
        last = 0
        for i in range(chosen.shape[1]):
            chosen[b, i] = last
            x, y, z = points[b, last, 0], points[b, last, 1], points[b, last, 2]
            best, best_at = np.float32(-1.0), 0
            for n in range(total):
                dx, dy, dz = x - points[b, n, 0], y - points[b, n, 1], z - points[b, n, 2]
                distance = min(nearest[n], dx * dx + dy * dy + dz * dz)
                nearest[n] = distance
                if distance > best:
                    best, best_at = distance, n
            last = best_at


def _ball(
    points: NDArray[np.float32],
    centres: NDArray[np.float32],
    radius2: np.float32,
    found: NDArray[np.int64],
) -> None:
    batch, total = points.shape[:2]
    count = found.shape[2]
    for b in range(batch):
        for m in range(centres.shape[1]):
            x, y, z = centres[b, m, 0], centres[b, m, 1], centres[b, m, 2]
            number, best, best_at = 0, np.float32(np.inf), 0
            for n in range(total):
                dx, dy, dz = x - points[b, n, 0], y - points[b, n, 1], z - points[b, n, 2]
                distance = dx * dx + dy * dy + dz * dz
                if distance < best:
                    best, best_at = distance, n
                if distance <= radius2:
                    found[b, m, number] = n
                    number += 1
                    if number == count:
                        break
            first = found[b, m, 0] if number > 0 else best_at
            for k in range(number, count):
                found[b, m, k] = first
