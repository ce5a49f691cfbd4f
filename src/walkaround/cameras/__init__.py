"""Cameras: features, matches, structure from motion, checks, normalisation."""

from walkaround.cameras.estimate import estimate_cameras
from walkaround.cameras.options import CamerasOptions, CamerasResult

__all__ = ["CamerasOptions", "CamerasResult", "estimate_cameras"]
