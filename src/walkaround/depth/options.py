"""What a user can set about depth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """Multi-view stereo."""

    backend: str = "patchmatch"
    """``patchmatch`` (CPU), ``colmap_cuda`` (a GPU and a pycolmap built with CUDA), ``learned`` (a small
    network; extra torch, a GPU recommended; less accurate than patchmatch), or ``auto`` (the first two)."""
    weights: Path | None = None
    """Weights for ``learned``, such as ``walkaround study stereo`` leaves; the package's when not given."""
    max_size: int = 1000
    """Long side in pixels at which depth is computed; the maps are written at the images' size."""
    num_sources: int = 4
    """Neighbouring views each view is matched with."""
    num_neighbours: int = 8
    """Neighbouring views whose depth is asked to agree, and averaged with."""
    sweeps: int = 2
    """Passes at full size, and one fewer at half size; each more is a little more accurate and slower."""
    min_consistent_views: int = 2
    """Neighbouring views whose depth must agree before a pixel counts as valid."""
    max_reprojection_px: float = 1.5
    """Forward-backward distance under which two views agree."""
    max_relative_difference: float = 0.01
    """Relative depth difference under which two views agree."""
    fill: bool = False
    """Fill small holes within one smooth surface. Filled pixels carry the confidence 1 of 255; masks, cloud
    and scores go by the measured ones alone."""
    complete: bool = False
    """Fill larger holes too, guided by the image, also between several surfaces; marked in the same way."""

    @property
    def asked_filling(self) -> tuple[str, ...]:
        """The names, on the command line, of what fills holes, where it is on."""
        return tuple(f"--depth.{name}" for name in ("fill", "complete") if getattr(self, name))

    def key(self) -> dict[str, Any]:
        """Return what the maps depend on: not what came later and is off, so that older sequences stay."""
        later = ("complete", "weights")
        return {name: value for name, value in asdict(self).items() if name not in later or value}
