"""How well, and how alike, the views of an object are classified."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from walkaround.studies.views.rows import Views
from walkaround.types import FloatArray, IntArray

ANGLE_EDGES_DEG = (0, 30, 60, 90, 120, 150, 180)


def measure(views: Views, rows: IntArray, probability: FloatArray) -> dict[str, float]:
    """Return the metrics of accuracy and consistency.

    Parameters
    ----------
    rows
        (M,) of ``views``: what was classified, all views of each object.
    probability
        (M, C) of each class.

    Returns
    -------
    dict
        ``top1``; ``confidence_variance``: variance of the true class's probability across the views of an
        object, mean over objects; ``all_right``: share of objects with every view right;
        ``agreement``: share of pairs of neighbouring views with the same prediction; ``top1_from_A_to_B``:
        accuracy of the views at A to B degrees from the canonical one, where there are any.
    """
    label, thing, azimuth = views.label[rows], views.thing[rows], views.azimuth_deg[rows]
    predicted = probability.argmax(axis=1)
    right = predicted == label
    confidence = probability[np.arange(len(rows)), label]
    variances, whole, same, pairs = [], [], 0, 0
    for number in np.unique(thing):
        own = np.flatnonzero(thing == number)
        own = own[np.argsort(azimuth[own], kind="stable")]
        variances.append(confidence[own].var())
        whole.append(right[own].all())
        beside = np.roll(own, -1)
        if not views.whole_circle[rows[own[0]]]:
            own, beside = own[:-1], beside[:-1]
        if len(np.unique(np.concatenate([own, beside]))) == 2:  # two views are one pair
            own, beside = own[:1], beside[:1]
        same += int((predicted[own] == predicted[beside]).sum())
        pairs += len(own)
    out = {
        "top1": float(right.mean()),
        "confidence_variance": float(np.mean(variances)),
        "all_right": float(np.mean(whole)),
        "agreement": same / max(pairs, 1),
    }
    return out | _by_angle(np.abs(azimuth), right)


def _by_angle(angle_deg: FloatArray, right: FloatArray) -> dict[str, float]:
    out = {}
    for low, high in pairwise(ANGLE_EDGES_DEG):
        here = (angle_deg >= low) & ((angle_deg < high) | (high == ANGLE_EDGES_DEG[-1]))
        if here.any():
            out[f"top1_from_{low}_to_{high}"] = float(right[here].mean())
    return out
