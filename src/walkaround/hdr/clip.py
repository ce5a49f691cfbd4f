"""What every method of HDR video takes and gives: a window of exposed frames, one frame of radiance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """One frame of an alternating-exposure clip.

    Attributes
    ----------
    image
        (H, W, 3) RGB as recorded, 0..1, in the camera's curve: 1 is saturated.
    exposure
        Exposure relative to the clip's shortest: 1, 8 or 1, 4, 16.
    """

    image: Float32Array
    exposure: float


@dataclass(frozen=True, kw_only=True)
class Fused:
    """One frame of radiance.

    Attributes
    ----------
    radiance
        (H, W, 3) linear RGB, not negative, ``H = linear(image) / exposure``: the shortest exposure saturates
        at 1, the longest at 1 / exposure.
    confidence
        (H, W) 0..1: how far a pixel is supported by well exposed frames that agree; 0 is a guess.
    """

    radiance: Float32Array
    confidence: Float32Array


FuseWindow = Callable[[Sequence[Exposed]], Fused]
"""An odd window in time order with the reference in the middle: 3 frames for two exposures, 5 for three.
Frames before the first and after the last repeat the nearest of the same exposure."""
