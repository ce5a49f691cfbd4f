"""A cloud in levels of detail: a few points at once, the others after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from walkaround.types import ByteArray, Float32Array, PointCloud

FIRST_LEVEL = 60_000
"""Points that are shown at once."""
MAX_LEVEL = 500_000
"""Points sent in one piece at most."""
MAX_SHOWN = 5_000_000
"""Points sent at all; what a browser can hold."""
GREY = (150, 150, 150)


@dataclass(frozen=True, kw_only=True)
class Level:
    """Points that are shown in addition to those of the levels before."""

    points_in_world: Float32Array  # (N, 3)
    colors: ByteArray  # (N, 3)
    total: int
    """Points up to and with this level."""


def levels(cloud: PointCloud, *, seed: int = 0) -> Iterator[Level]:
    """Divide a cloud into levels, each an even sample of the whole.

    A random order makes every beginning of it an even sample, so that points drawn so far stay and the
    next level only adds to them. Points that are not finite are left out.
    """
    points = np.asarray(cloud.points_in_world, dtype=np.float32)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(np.isfinite(points).all(axis=1)))
    colors = cloud.colors
    if colors is None:
        colors = np.broadcast_to(np.array(GREY, dtype=np.uint8), points.shape)
    start, end = 0, FIRST_LEVEL
    total = min(len(order), MAX_SHOWN)
    while start < total:
        end = min(end, total)
        chosen = order[start:end]
        yield Level(points_in_world=points[chosen], colors=np.ascontiguousarray(colors[chosen]), total=end)
        start, end = end, end + min(2 * end, MAX_LEVEL)


def num_levels_for(budget: int, totals: list[int]) -> int:
    """Return how many levels to show for a number of points: as many as fit, at least one."""
    return max(sum(total <= budget for total in totals), min(len(totals), 1))


def point_size(points: Float32Array, num_points: int) -> float:
    """Return the width of a point that closes the surface: the mean spacing of points spread over it.

    ``points`` is an even sample of ``num_points`` on a closed surface about as large as its bounding box.
    """
    if not len(points):
        return 0.01
    extent = np.sort(np.ptp(np.percentile(points, [2, 98], axis=0), axis=0))
    area = 2 * float(extent[2] * extent[1] + extent[2] * extent[0] + extent[1] * extent[0])
    return float(np.sqrt(max(area, 1e-12) / max(num_points, 1)))
