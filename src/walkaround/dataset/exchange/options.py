"""What can be chosen about an export or an import. No heavy imports: the command line reads this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written, and how images are undistorted for formats without lens distortion."""

    undistort: bool = False
    """Undistort for formats that know lens distortion too; the others always do."""
    crop: bool = False
    """Cut undistorted images to the largest rectangle without empty pixels; off keeps their size."""
    masks: bool = True
    """Write masks, where the format has a place for them."""
    depth: bool = True
    """Write depth maps, where the format has a place for them."""
    jpeg_quality: int = 95
    """Of images that have to be encoded again; the others are copied as they are."""
    planes: int = 192
    """MVSNet: depth planes between the nearest and the farthest point."""
    ndc: Literal["isotropic", "norm_image_bounds"] = "isotropic"
    """CO3D: the intrinsics format, ndc_isotropic (PyTorch3D 0.5 and later) or ndc_norm_image_bounds."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How a source is read, and which world the sequence gets."""

    world: Literal["normalise", "keep"] = "normalise"
    """``normalise``: z up, origin at the object, median camera distance 1; the similarity stays in the notes.
    ``keep``: the source's world."""
    first_pixel_centre: Literal["0.0", "0.5"] = "0.0"
    """Projection matrices only: where the centre of the top-left pixel lies in their pixels. Other formats
    say it themselves."""
    masks: bool = True
    """Take over the source's masks."""
