"""Where the hand holds the camera, at any time of the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial import ConvexHull

from walkaround.simulate.options import SimulateOptions
from walkaround.types import FloatArray

_INSIDE = 0.94
"""Share of the image's width and height that the object may span when the hand is still."""


class Poses(Protocol):
    """Where camera and object are at any time."""

    def cam_from_room(self, time_s: float) -> FloatArray:
        """4x4 pose of the camera in the room."""

    def object_from_room(self, time_s: float) -> FloatArray:
        """3x3 rotation of the room into the object's own frame."""


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """A walk around the object at about constant height, with sway (under 1 Hz) and tremor (3 to 9 Hz)."""

    options: SimulateOptions
    centre: FloatArray  # (3,) where the camera aims
    distance_m: float
    waves: FloatArray  # (7, 8, 3): channel, wave, (frequency Hz, phase, size)
    start_rad: float

    def sway(self, time_s: float) -> FloatArray:
        """Seven smooth numbers of about unit size: angle, height, distance, aim x y, roll, walk."""
        w = self.waves
        out: FloatArray = (w[..., 2] * np.sin(2 * np.pi * w[..., 0] * time_s + w[..., 1])).sum(axis=1)
        return out

    def object_from_room(self, time_s: float) -> FloatArray:
        """3x3 rotation of the room into the object's own frame (identity unless the object moves)."""
        if not self.options.moving_object:
            return np.eye(3)
        angle = np.radians(self.options.arc_deg) * time_s / self.options.duration_s
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    def cam_from_room(self, time_s: float) -> FloatArray:
        """4x4 pose of the camera in the room."""
        o = self.options
        sway = self.sway(time_s) * o.jitter
        walk = 0.0 if o.moving_object else np.radians(o.arc_deg) * time_s / o.duration_s
        angle = self.start_rad + walk + 0.02 * sway[0] + (0.0 if o.moving_object else 0.03 * sway[6])
        elevation = np.clip(np.radians(o.elevation_deg) + 0.03 * sway[1], 0.02, 1.5)
        distance = self.distance_m * (1 + 0.04 * sway[2])
        away = np.array(
            [np.cos(angle) * np.cos(elevation), np.sin(angle) * np.cos(elevation), np.sin(elevation)]
        )
        position = self.centre + distance * away
        right = np.array([-np.sin(angle), np.cos(angle), 0.0])
        aim = self.centre + 0.025 * distance * (sway[3] * right + sway[4] * np.array([0.0, 0.0, 1.0]))
        forward = (aim - position) / np.linalg.norm(aim - position)
        side = np.cross(forward, [0.0, 0.0, 1.0])
        side /= np.linalg.norm(side)
        down = np.cross(forward, side)
        roll = 0.02 * sway[5]
        c, s = np.cos(roll), np.sin(roll)
        out = np.eye(4)
        out[:3, :3] = np.stack([c * side + s * down, c * down - s * side, forward])
        out[:3, 3] = -out[:3, :3] @ position
        return out


def make_path(options: SimulateOptions, vertices: FloatArray, focal_px: float) -> CameraPath:
    """Draw a hand's motion from the seed and stand off so that the object fills what it should."""
    rng = np.random.default_rng([options.seed, 23])
    hull = vertices[ConvexHull(vertices).vertices]
    heights = vertices[:, 2].max() * np.linspace(0.3, 0.6, 13)
    nearest = [standoff(options, hull - [0.0, 0.0, z], focal_px) for z in heights]
    centre = np.array([0.0, 0.0, heights[int(np.argmin(nearest))]])
    radius = float(np.linalg.norm(vertices - centre, axis=1).max())
    waves = np.empty((7, 8, 3))
    waves[:, :4, 0] = rng.uniform(0.08, 0.7, (7, 4))
    waves[:, 4:, 0] = rng.uniform(3.0, 9.0, (7, 4))
    waves[..., 1] = rng.uniform(0, 2 * np.pi, (7, 8))
    waves[:, :4, 2] = rng.uniform(0.2, 0.5, (7, 4))
    waves[:, 4:, 2] = rng.uniform(0.005, 0.03, (7, 4))
    half = 0.5 * options.fill * min(options.size) / focal_px
    distance = radius * float(np.hypot(1.0, half)) / half
    return CameraPath(
        options=options,
        centre=centre,
        distance_m=max(distance, min(nearest)) * options.nearness,
        waves=waves,
        start_rad=float(rng.uniform(0, 2 * np.pi)),
    )


def standoff(options: SimulateOptions, around: FloatArray, focal_px: float) -> float:
    """Nearest distance in metres that shows the whole object from everywhere, with room for the sway."""
    half = 0.5 * _INSIDE * np.array(options.size) / focal_px
    elevation = np.radians(options.elevation_deg)
    distance = 0.0
    for angle in np.arange(24) * (2 * np.pi / 24):
        c, s = np.cos(angle), np.sin(angle)
        away = np.array([c * np.cos(elevation), s * np.cos(elevation), np.sin(elevation)])
        right = np.array([-s, c, 0.0])
        up = np.cross(away, right)
        across = np.abs(np.stack([around @ right, around @ up], axis=1))
        distance = max(distance, float((across / half + (around @ away)[:, None]).max()))
    return distance
