"""The images of a study, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Views:
    """All images of a study by their rows in its store."""

    label: IntArray  # (N,)
    thing: IntArray  # (N,) number of the object
    azimuth_deg: FloatArray  # (N,) from the canonical view, -180 to 180
    is_train: BoolArray  # (N,) else it is for the test
    whole_circle: BoolArray  # (N,) the object was seen from all around: last and first view are neighbours
