"""The methods that turn a window of exposures into a frame of radiance, by name."""

from __future__ import annotations

from collections.abc import Callable

from walkaround.hdr.clip import FuseWindow
from walkaround.hdr.fusion import FusionOptions, make_fusion, naive_merge
from walkaround.hdr.response import Response

METHODS: dict[str, Callable[[Response, FusionOptions], FuseWindow]] = {
    "fusion": make_fusion,
    "naive": naive_merge,
}
"""Each takes the camera's response and what is known of the camera's noise."""
