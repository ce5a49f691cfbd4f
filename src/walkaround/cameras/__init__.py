"""Cameras: features, matches, structure from motion, checks, normalisation."""

from typing import TYPE_CHECKING

from walkaround.cameras.options import CamerasOptions, CamerasResult
from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.cameras.estimate import estimate_cameras
else:
    __getattr__ = lazy_names(__name__, {"walkaround.cameras.estimate": ("estimate_cameras",)})

__all__ = ["CamerasOptions", "CamerasResult", "estimate_cameras"]
