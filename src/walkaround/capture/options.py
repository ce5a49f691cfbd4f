"""What can be chosen about reading the input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """How the input is read."""

    max_photos: int = 200
    """Photos to keep of a folder; a larger folder is thinned evenly."""
