"""What the cameras stage takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from walkaround.errors import UsageError
from walkaround.types import CAMERA_MODELS, SparseModel

DETECTORS = ("colmap", "opencv")
LEARNED = ("auto", "off", "only")


@dataclass(frozen=True, kw_only=True)
class CamerasOptions:
    """Structure from motion: from frames to cameras."""

    camera_model: str = "SIMPLE_RADIAL"
    """COLMAP camera model; one camera is shared by all frames of a size."""
    detector: str = "colmap"
    """Who finds the SIFT features: ``colmap`` (sturdier), or ``opencv`` (a third of the time)."""
    max_image_size_px: int = 1200
    """Long side at which features are found in the fast attempt; cameras keep the frames' own size."""
    max_features: int = 3500
    """Features a frame in the fast attempt."""
    overlap: int = 6
    """Each frame of a video is matched with this many following frames."""
    loop_pairs: int = 3
    """Each frame of a video is also matched with up to this many similar frames from further away."""
    max_exhaustive: int = 80
    """Photo sets up to this size are matched all with all; larger ones with the most similar photos."""
    learned: str = "auto"
    """Learned features (XFeat, LighterGlue) beside SIFT: ``auto`` tries them when SIFT alone is weak and
    walkaround[learned] is installed, ``only`` uses them at once and tries nothing else, ``off`` never."""
    learned_features: int = 1536
    """Learned features a frame; the time to match a pair grows with the square."""
    max_attempts: int = 7
    """How far down the ladder of more thorough attempts to go when the result is weak; 1 = fast path only."""
    enough_registered: float = 0.98
    """Stop climbing the ladder when at least this share of the frames is registered ..."""
    enough_consistency: float = 0.55
    """... with at least this consistency between cameras ..."""
    enough_error_px: float = 1.5
    """... and at most this mean reprojection error."""

    def __post_init__(self) -> None:
        if self.camera_model not in CAMERA_MODELS:
            raise UsageError(
                f"--cameras.camera-model {self.camera_model!r} is not known; use one of "
                f"{', '.join(CAMERA_MODELS)}."
            )
        if self.detector not in DETECTORS:
            raise UsageError(
                f"--cameras.detector {self.detector!r} is not known; use one of {', '.join(DETECTORS)} "
                "(pycolmap's ALIKED and LightGlue end the process in its wheel)."
            )
        if self.learned not in LEARNED:
            raise UsageError(
                f"--cameras.learned {self.learned!r} is not known; use one of {', '.join(LEARNED)}."
            )
        limits = {
            "max_image_size_px": 160, "max_features": 100, "learned_features": 100, "overlap": 1,
            "max_attempts": 1,
        }  # fmt: skip
        for name, low in limits.items():
            if getattr(self, name) < low:
                flag = name.replace("_", "-")
                raise UsageError(f"--cameras.{flag} is {getattr(self, name)}; it must be at least {low}.")


@dataclass(frozen=True, kw_only=True)
class CamerasResult:
    """The registered views in the normalised world, with what was measured and what was tried."""

    model: SparseModel
    scores: dict[str, float]
    notes: dict[str, Any]
