"""Depth: multi-view stereo for every registered view."""

from walkaround.depth.estimate import (
    BACKENDS,
    DepthBackend,
    DepthMap,
    DepthResult,
    estimate_depth,
    write_depth_maps,
)
from walkaround.depth.options import DepthOptions
from walkaround.io.depth import DEPTH_SCALE

__all__ = [
    "BACKENDS",
    "DEPTH_SCALE",
    "DepthBackend",
    "DepthMap",
    "DepthOptions",
    "DepthResult",
    "estimate_depth",
    "write_depth_maps",
]
