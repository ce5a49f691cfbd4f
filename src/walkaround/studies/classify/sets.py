"""The training sets, in our reading of the paper's words.

Every training object gives its canonical view: the one nearest to azimuth 0, or the first of a real capture.

- ``baseline``: the canonical views alone, the part that ImageNet plays in the paper.
- ``mvi-mix``: the baseline and ``extra_frames`` other frames of each object, drawn at random.
- ``mvi-gap``: the baseline and as many frames, chosen with a gap in azimuth between them.
- ``mvi-aug``: the baseline and as many copies of the canonical view, with strong 2-D augmentation.

The last three have the same number of images; all are trained for the same number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.views.azimuth import angle_between
from walkaround.studies.views.rows import Views
from walkaround.types import BoolArray, FloatArray, IntArray

ARMS = ("baseline", "mvi-mix", "mvi-gap", "mvi-aug")


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What an arm trains on."""

    rows: IntArray  # (M,) of :class:`Views`; a row may come several times
    strong: BoolArray  # (M,) with strong augmentation


def make_set(views: Views, arm: str, *, extra_frames: int, gap_deg: float, seed: int) -> TrainingSet:
    """Return what an arm trains on.

    An object with fewer views than asked for gives some of them twice, so that all arms but the baseline
    have the same size.

    Raises
    ------
    ValueError
        There is no such arm.
    """
    if arm not in ARMS:
        raise ValueError(f"There is no arm {arm!r}; there are {', '.join(ARMS)}.")
    canonical, extra = [], []
    for thing in np.unique(views.thing[views.is_train]):
        own = np.flatnonzero(views.thing == thing)
        first = own[np.argmin(np.abs(views.azimuth_deg[own]))]
        others = own[own != first]
        canonical.append(first)
        if arm == "baseline":
            continue
        rng = rng_of(seed, arm, int(thing))
        if arm == "mvi-aug" or not len(others):
            extra += [first] * extra_frames
        elif arm == "mvi-mix":
            extra += list(_cycled(rng.permutation(others), extra_frames))
        else:
            extra += list(_cycled(_spread(views.azimuth_deg, first, others, gap_deg, rng), extra_frames))
    rows = np.array([*canonical, *extra], dtype=np.int64)
    strong = np.zeros(len(rows), dtype=bool)
    strong[len(canonical) :] = arm == "mvi-aug"
    return TrainingSet(rows=rows, strong=strong)


def _cycled(rows: IntArray, count: int) -> IntArray:
    return np.resize(rows, count)


def _spread(
    azimuth_deg: FloatArray, first: int, others: IntArray, gap_deg: float, rng: np.random.Generator
) -> IntArray:
    """Return views no nearer than ``gap_deg`` to each other and to the first, in random order."""
    kept = [first]
    for row in rng.permutation(others):
        if (angle_between(azimuth_deg[kept], azimuth_deg[row]) >= gap_deg).all():
            kept.append(row)
    if len(kept) == 1:  # nothing is that far away: the farthest there is
        kept.append(others[np.argmax(angle_between(azimuth_deg[others], azimuth_deg[first]))])
    return np.array(kept[1:], dtype=np.int64)
