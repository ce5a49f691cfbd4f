"""Make the views' depth agree: what a view measured behind surfaces that others saw is put right.

A highlight moves over the surface with the camera, and the edge of a round body is another curve from every
side; neighbouring views agree on a wrong depth there, behind the surface. Views from further around see the
surface itself, in front of it.

Source: visibility-based fusion by stability, Merrell et al. 2007 (10.1109/ICCV.2007.4408984).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from walkaround.depth import _kernels
from walkaround.depth._matching import MAX_COST
from walkaround.depth.store import ArrayStore, Maps, StoredMaps
from walkaround.depth.views import StereoView
from walkaround.depth.warps import stack_maps, warps
from walkaround.types import Float32Array

_NEEDED = 3
"""Views that must agree before their depth replaces what a view measured itself, or stands in for it."""

_TOLERANCES = 1.0, 0.6
"""Of the passes, as shares of the relative difference under which views agree: once the coarse mistakes are
gone from all views, what disagrees by less can be told."""


def correct_all(
    views: list[StereoView],
    maps: StoredMaps,
    costs: StoredMaps,
    store: ArrayStore,
    run: Callable[..., Iterable[Any]],
    max_relative_difference: float,
) -> StoredMaps:
    """Return the corrected maps of all views in place of ``maps``; ``run``: ``map``, or one with threads.

    What a view took from others gets the highest of ``costs``: it is as little sure as a match can be.
    """
    for number, share in enumerate(_TOLERANCES):
        before, after = maps, StoredMaps(store, f"corrected {number}")

        def correct(
            index: int, before: StoredMaps = before, after: StoredMaps = after, share: float = share
        ) -> None:
            corrected = correct_depth(views, before, index, share * max_relative_difference)
            after.put(index, corrected)
            changed = corrected != before[index]
            costs.put(index, np.where(changed, np.float32(MAX_COST), costs[index]))

        for _ in run(correct, range(len(views))):
            pass
        before.drop(range(len(views)))
        maps = after
    return maps


def correct_depth(
    views: list[StereoView], maps: Maps, index: int, max_relative_difference: float
) -> Float32Array:
    """Return the (h, w) inverse depth of a view after its neighbours' vote; 0 where there is none."""
    view = views[index]
    warp = warps(views, index, 0, view.neighbours)
    stack, sizes = stack_maps(maps, view.neighbours)
    own = maps[index]
    seen = np.zeros((len(stack), *own.shape), np.float32)
    _kernels.render_maps(stack, sizes, warp.A_back, warp.b_back, seen)
    corrected = np.empty_like(own)
    _kernels.settle_votes(own, seen, np.float32(max_relative_difference), np.int64(_NEEDED), corrected)
    return corrected
