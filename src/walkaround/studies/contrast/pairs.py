"""Which other view of the same object is a positive."""

from __future__ import annotations

import numpy as np

from walkaround.studies.views.azimuth import angle_between
from walkaround.studies.views.rows import Views
from walkaround.types import IntArray

_SLACK_DEG = 15.0


def partners(views: Views, rows: IntArray, gap_deg: float) -> IntArray:
    """Return the two views whose difference in azimuth from each view is nearest to a gap.

    Around a whole circle these are one to each side. Where the second one misses the gap by 15 degrees more
    than the first one does, as at the end of an arc, it is the first one again.

    Parameters
    ----------
    rows
        (M,) of ``views``, all views of each object; an object with one view is its own partner.

    Returns
    -------
    numpy.ndarray
        (M, 2) of rows of ``views``, never the view itself unless its object has no other.
    """
    out = np.stack([rows, rows], axis=1)
    order = np.argsort(views.thing[rows], kind="stable")
    starts = np.flatnonzero(np.diff(views.thing[rows][order], prepend=-1))
    for places in np.split(order, starts[1:]):
        if len(places) < 2:
            continue
        own = rows[places]
        azimuth = views.azimuth_deg[own]
        miss = np.abs(angle_between(azimuth[:, None], azimuth[None]) - gap_deg)
        np.fill_diagonal(miss, np.inf)
        best = np.argsort(miss, axis=1, kind="stable")[:, :2]
        first, second = np.take_along_axis(miss, best, axis=1).T
        best[second > first + _SLACK_DEG, 1] = best[second > first + _SLACK_DEG, 0]
        out[places] = own[best]
    return out
