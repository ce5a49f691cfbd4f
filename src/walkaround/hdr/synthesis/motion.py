"""Paths: where a layer is in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class Path:
    """A similarity for each frame: shift (pixels), turn (radians) and size about the layer's middle."""

    shifts: FloatArray  # (T, 2)
    turns: FloatArray  # (T,)
    sizes: FloatArray  # (T,)

    def layer_from_clip(
        self, frame: int, clip_centre: tuple[float, float], layer_centre: tuple[float, float]
    ) -> FloatArray:
        """Return the (2, 3) matrix from the clip's pixels to the layer's in that frame (OpenCV's indices)."""
        c, s = np.cos(-self.turns[frame]), np.sin(-self.turns[frame])
        linear = np.array([[c, -s], [s, c]]) / self.sizes[frame]
        offset = np.array(layer_centre) - linear @ (np.array(clip_centre) + self.shifts[frame])
        return np.column_stack([linear, offset])


def draw_path(
    rng: np.random.Generator, num_frames: int, *, motion_px: float, rotation_deg: float, zoom: float
) -> Path:
    """Draw a path whose speeds drift smoothly; the middle frame is near the layer's own place.

    Speeds are at most the given numbers from frame to frame, plus a tenth for a hand's tremor.
    """
    time = np.arange(num_frames) - 0.5 * (num_frames - 1)
    direction = rng.uniform(0, 2 * np.pi)
    speed = motion_px * np.sqrt(rng.uniform(0, 1))
    bend = rng.uniform(-0.15, 0.15)
    heading = direction + bend * time
    steps = speed * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    shifts = np.cumsum(steps, axis=0)
    shifts = shifts - shifts[num_frames // 2] + 0.05 * motion_px * rng.uniform(-1, 1, (num_frames, 2))
    turns = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg)) * time
    sizes = np.power(1.0 + rng.uniform(-zoom, zoom), time)
    return Path(shifts=shifts, turns=turns, sizes=np.asarray(sizes, np.float64))
