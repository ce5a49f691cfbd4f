"""What can be chosen about the stills."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """Which stills are kept of a video, and how they are written."""

    num_frames: int = 30
    """Stills of a video; the time is cut into as many equal intervals. Photo folders keep all photos."""
    long_side_px: int = 1920
    """Larger pictures are shrunk to this long side; smaller ones stay."""
    jpeg_quality: int = 95
    """Of the written JPEG files, 1 to 100."""
