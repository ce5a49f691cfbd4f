"""What can be chosen about the stills."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FramesOptions:
    """Which stills are kept of a video, and how they are written."""

    num_frames: int = 30
    """Stills of a video; the time is cut into as many equal intervals. Photo folders keep all photos."""
    long_side_px: int = 1920
    """Larger pictures are shrunk to this long side; smaller ones stay."""
    jpeg_quality: int = 95
    """Of the written JPEG files, 1 to 100."""
    blur_models: tuple[Path, ...] = ()
    """ONNX detectors of faces, licence plates, ...: what they find is blurred beyond recovery in every still.
    docs/trust.md says which files fit."""
    blur_min_score: float = 0.3
    """Least score, 0 to 1, of what is blurred. Lower blurs more."""
