"""What a synthetic clip looks like."""

from __future__ import annotations

from dataclasses import dataclass, field

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """The sensor: noise, saturation, curve, quantisation. Light 1 saturates it."""

    shot_noise: float = 4e-4
    """Variance of a pixel at light 1 (the inverse of the full well in electrons); grows with light."""
    read_noise: float = 1e-3
    """Standard deviation of a pixel without light."""
    gamma: float = 2.2
    """The curve: recorded = light ** (1 / gamma)."""
    bits: int = 8
    """Bits of a recorded channel; 0 does not quantise."""
    tone: float = 0.0
    """Largest |d| of a wrong curve: a frame's light is raised to exp(d), d drawn once a frame."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Motion, exposures and camera of one clip. Lengths are pixels of the clip."""

    size: tuple[int, int] = (640, 360)
    """Width and height."""
    num_frames: int = 6
    """Frames, all with truth."""
    exposures: tuple[float, ...] = (1.0, 8.0)
    """One period, relative to the shortest, in the order of the frames."""
    motion_px: float = 6.0
    """Largest shift of the background from frame to frame."""
    zoom: float = 0.01
    """Largest change of its size from frame to frame."""
    rotation_deg: float = 0.5
    """Largest turn of it from frame to frame."""
    num_layers: int = 2
    """Things that move before the background, each in its own way."""
    layer_motion_px: float = 14.0
    """Largest shift of such a thing from frame to frame."""
    saturated_share: float = 0.005
    """Share of the picture that saturates even the shortest exposure."""
    median_light: float = 0.03
    """The picture's median in the shortest exposure; contrast is raised or lowered to reach it."""
    camera: CameraOptions = field(default_factory=CameraOptions)
    """The sensor."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        width, height = self.size
        tests = (
            (min(width, height) >= 16, "size", "at least 16 pixels a side"),
            (self.num_frames >= len(self.exposures), "num_frames", "at least one period"),
            (len(self.exposures) >= 1 and min(self.exposures) == 1.0, "exposures", "numbers from 1 upwards"),
            (len(set(self.exposures)) == len(self.exposures), "exposures", "different from each other"),
            (self.num_layers >= 0, "num_layers", "0 or more"),
            (0 <= self.saturated_share < 1, "saturated_share", "0 to 1"),
            (0 < self.median_light < 1, "median_light", "between 0 and 1"),
            (self.camera.shot_noise >= 0, "camera.shot_noise", "0 or more"),
            (self.camera.read_noise >= 0, "camera.read_noise", "0 or more"),
            (0.2 <= self.camera.gamma <= 5, "camera.gamma", "0.2 to 5"),
            (0 <= self.camera.bits <= 16, "camera.bits", "0 to 16"),
        )
        for passed, name, wanted in tests:
            if not passed:
                value = getattr(self, name) if "." not in name else getattr(self.camera, name[7:])
                raise UsageError(f"synthesis: {name} is {value!r}; it must be {wanted}.")
