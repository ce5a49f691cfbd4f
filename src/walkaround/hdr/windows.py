"""From a clip to the windows that a method takes (:data:`walkaround.hdr.clip.FuseWindow`)."""

from __future__ import annotations

from collections.abc import Sequence

from walkaround.errors import UsageError
from walkaround.hdr.clip import Exposed


def window_indices(index: int, num_frames: int, period: int) -> tuple[int, ...]:
    """Return the frames around frame ``index``: 3 for two exposures, 5 for three, 2 * period - 1 in general.

    A frame before the first or after the last is replaced by the nearest of the same exposure, which is a
    whole number of periods away.

    Raises
    ------
    UsageError
        The clip is shorter than one period, or ``index`` is not in it.
    """
    if num_frames < period:
        raise UsageError(
            f"A clip of {num_frames} frames does not hold each of {period} exposures once. Take a longer one."
        )
    if not 0 <= index < num_frames:
        raise UsageError(f"There is no frame {index} in a clip of {num_frames}; the first is 0.")
    found = []
    for place in range(index - period + 1, index + period):
        while place < 0:
            place += period
        while place >= num_frames:
            place -= period
        found.append(place)
    return tuple(found)


def window_around(frames: Sequence[Exposed], index: int, period: int) -> tuple[Exposed, ...]:
    """Return the window whose reference is ``frames[index]``."""
    return tuple(frames[place] for place in window_indices(index, len(frames), period))
