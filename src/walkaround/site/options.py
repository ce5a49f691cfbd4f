"""What the report of a dataset shows."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError

MAX_POINTS = 100_000


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """What the report of a dataset shows."""

    points: int = 50_000
    """Points of each object's cloud, 16 bytes each in its page; at most 100,000. 0 leaves the clouds out."""
    thumb_px: int = 300
    """Width of a still or depth map on a sequence's page; fewer pixels where there are over 40 of them."""

    def check(self) -> None:
        """Raise UsageError when a value makes no sense."""
        if not 0 <= self.points <= MAX_POINTS:
            raise UsageError(f"--points {self.points} is out of range: 0 to {MAX_POINTS:,}.")
        if not 64 <= self.thumb_px <= 640:
            raise UsageError(f"--thumb-px {self.thumb_px} is out of range: 64 to 640.")
