"""What can be chosen about an export or an import. No heavy imports: the command line reads this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written, and how images are undistorted for formats without lens distortion."""

    undistort: bool = False
    """Undistort for formats that know lens distortion too; the others always do."""
    crop: bool = False
    """Cut undistorted images to the largest rectangle without empty pixels; off keeps their size."""
    masks: bool = True
    """Masks, where the format has a place for them; --no-masks leaves them out."""
    depth: bool = True
    """Depth maps, where the format has a place for them; --no-depth leaves them out."""
    jpeg_quality: int = 95
    """Of images that have to be encoded again; the others are copied as they are."""
    planes: int = 192
    """MVSNet: depth planes between the nearest and the farthest point."""
    ndc: Literal["isotropic", "norm_image_bounds"] = "isotropic"
    """CO3D: the intrinsics format, ndc_isotropic (PyTorch3D 0.5 and later) or ndc_norm_image_bounds."""

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise UsageError(f"--jpeg-quality is {self.jpeg_quality}; use 1 to 100.")
        if not 2 <= self.planes <= 100_000:
            raise UsageError(f"--planes is {self.planes}; use 2 to 100000.")


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How a source is read, and which world the sequence gets."""

    world: Literal["normalise", "keep"] = "normalise"
    """normalise: z up, origin at the object, median camera distance 1, the similarity in the notes; keep: the
    source's world."""
    first_pixel_centre: Literal["0.0", "0.5"] = "0.0"
    """Projection matrices only: where the centre of the top-left pixel lies in their pixels."""
    masks: bool = True
    """The source's masks are taken over; --no-masks leaves them."""
