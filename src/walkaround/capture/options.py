"""What can be chosen about reading the input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """How the input is read."""

    max_photos: int = 200
    """Photos to keep of a folder; a larger folder is thinned evenly."""
    max_duration_s: float = 600.0
    """Longest video; a longer one is rejected."""
    max_frames: int = 100_000
    """Most frames of a video; one with more is rejected."""
    max_size_mb: float = 10_000.0
    """Largest video file, download or unpacked archive, in MB."""
    max_pixels: int = 120_000_000
    """Largest picture, width times height; a larger one is not decoded."""
