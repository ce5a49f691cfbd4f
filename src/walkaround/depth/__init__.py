"""Depth: multi-view stereo for every registered view."""

from typing import TYPE_CHECKING

from walkaround.depth.options import DepthOptions
from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.depth.estimate import (
        BACKENDS,
        DepthBackend,
        DepthMap,
        DepthResult,
        estimate_depth,
        write_depth_maps,
    )
    from walkaround.io.depth import DEPTH_SCALE
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.depth.estimate": (
                "BACKENDS",
                "DepthBackend",
                "DepthMap",
                "DepthResult",
                "estimate_depth",
                "write_depth_maps",
            ),
            "walkaround.io.depth": ("DEPTH_SCALE",),
        },
    )

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
