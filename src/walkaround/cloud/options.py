"""What a user can set about the object's cloud."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """Fusion of the masked depth into one cloud."""

    min_views: int = 2
    """Views whose depth must agree on a point."""
    max_relative_difference: float = 0.006
    """Relative depth difference under which two views agree."""
    spacing_px: float = 0.8
    """Smallest distance between points, in pixels of the median view."""
    max_points: int = 1_000_000
    """Points beyond this number are thinned by a wider spacing."""
