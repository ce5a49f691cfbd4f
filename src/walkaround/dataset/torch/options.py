"""What a sample is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Options of :class:`ViewDataset` and :class:`ViewStream`."""

    num_views: int = 4
    """Views of an object in a sample."""
    choose: Literal["random", "even", "nearest", "pairs"] = "random"
    """random: any. even: evenly along the capture, starting anywhere. nearest: one at random, then those
    whose directions of view are nearest to its own, nearest first. pairs: a source at random, then targets at
    random whose directions differ from its own by ``pair_angle_deg``."""
    pair_angle_deg: tuple[float, float] = (5.0, 60.0)
    """Least and largest angle between the optical axes of source and target."""
    size_px: int = 224
    """Side of the square images."""
    crop: Literal["object", "centre", "whole"] = "object"
    """object: a square around the mask. centre: the largest square in the middle. whole: all of the image,
    its short side filled up with black."""
    margin: float = 0.1
    """Of ``object``: room on each side, as a share of the mask's longer side."""
    jitter: float = 0.0
    """Changes the crop's side by up to this share, and moves it by up to half of that share of its side."""
    distortion: Literal["undistort", "keep", "refuse"] = "undistort"
    """undistort: images are those of a pinhole camera. keep: they are as they are, and ``distortion`` of the
    sample says how. refuse: a lens with distortion counts as something missing."""
    masks: bool = False
    """Give ``fg_probability``."""
    depth: bool = False
    """Give ``depth`` and ``depth_valid``."""
    rays: bool = False
    """Give ``ray_origins_in_world`` and ``ray_directions_in_world``."""
    normalise: bool = False
    """Move and scale the world: the point nearest to all optical axes of the scene becomes its origin, the
    median distance of the cameras 1."""
    missing: Literal["skip", "error"] = "skip"
    """What happens to a scene that lacks something asked for, or is broken."""
    seed: int = 0
    """Of views and jitter."""
    cache_scenes: int = 64
    """Scenes whose cameras each process remembers."""

    def __post_init__(self) -> None:
        if self.num_views < 1:
            raise UsageError(f"num_views is {self.num_views}; a sample has 1 or more.")
        if self.choose == "pairs" and self.num_views < 2:
            raise UsageError("Pairs are a source and targets: num_views must be 2 or more.")
        low, high = self.pair_angle_deg
        if not 0 <= low <= high <= 180:
            raise UsageError(
                f"pair_angle_deg is {self.pair_angle_deg}; give (least, largest) within 0 to 180."
            )
        if not 8 <= self.size_px <= 8192:
            raise UsageError(f"size_px is {self.size_px}; give 8 to 8192.")
        if not 0 <= self.margin <= 10:
            raise UsageError(f"margin is {self.margin}; give a share from 0 to 10.")
        if not 0 <= self.jitter < 1:
            raise UsageError(f"jitter is {self.jitter}; give a share from 0 to below 1.")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; give 0 or more.")
