"""The words of the project as frozen dataclasses. No behaviour beyond small derived values.

Conventions (docs/conventions.md): OpenCV camera axes, ``cam_from_world``, the centre of the top-left
pixel at (0.5, 0.5), COLMAP camera model names, ``depth`` is z in the camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

Progress = Callable[[float], None]
"""Called by a stage with the share done, 0..1."""


def no_progress(share: float) -> None:
    """Ignore progress."""


CAMERA_MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
"""COLMAP camera models that :class:`Camera` knows."""

_FOCALS = {"SIMPLE_PINHOLE": 1, "SIMPLE_RADIAL": 1, "RADIAL": 1, "PINHOLE": 2, "OPENCV": 2}


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Intrinsics, with COLMAP's model names and parameter order.

    Models: SIMPLE_PINHOLE (f, cx, cy), PINHOLE (fx, fy, cx, cy), SIMPLE_RADIAL (f, cx, cy, k),
    RADIAL (f, cx, cy, k1, k2), OPENCV (fx, fy, cx, cy, k1, k2, p1, p2). Pixels.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def K(self) -> FloatArray:  # (3, 3)
        """The 3x3 matrix of focal lengths and principal point, in pixels."""
        n = _FOCALS[self.model]
        fx, fy = self.params[0], self.params[n - 1]
        cx, cy = self.params[n], self.params[n + 1]
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @property
    def distortion(self) -> FloatArray:  # (4,)
        """k1, k2, p1, p2 with OpenCV's meaning; zeros where the model has none."""
        n = _FOCALS[self.model]
        rest = self.params[n + 2 :]
        return np.array([*rest, *([0.0] * (4 - len(rest)))])

    def scaled(self, width: int, height: int) -> Camera:
        """Return the same camera for the image resized to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        n = _FOCALS[self.model]
        params: tuple[float, ...]
        if n == 1:
            params = (self.params[0] * 0.5 * (sx + sy), self.params[1] * sx, self.params[2] * sy)
        else:
            params = (self.params[0] * sx, self.params[1] * sy, self.params[2] * sx, self.params[3] * sy)
        return Camera(model=self.model, width=width, height=height, params=params + self.params[n + 2 :])


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One still of a sequence: ``images/<image>``."""

    index: int
    """1-based position in the sequence; the number in the file name."""
    image: str
    """File name, for example ``001.jpg``."""
    source_index: int
    """0-based frame number in the video, or position in the folder's natural order."""
    timestamp_s: float | None
    """Presentation time in the video; None for photos."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A registered frame: where its camera stood."""

    frame: Frame
    camera: Camera
    cam_from_world: FloatArray  #: (4, 4)

    @property
    def centre(self) -> FloatArray:  # (3,)
        """Where the camera stands: (3,) in the world."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]


@dataclass(frozen=True, kw_only=True)
class SparseModel:
    """What structure from motion found: registered views and sparse points."""

    views: tuple[View, ...]
    points_in_world: FloatArray  #: (P, 3)
    colors: ByteArray  #: (P, 3) sRGB
    errors_px: FloatArray  #: (P,) mean reprojection error
    observations: tuple[IntArray, ...]  #: one a view: indices of the points it sees


@dataclass(frozen=True, kw_only=True)
class PointCloud:
    """Points with optional attributes."""

    points_in_world: Float32Array  #: (N, 3)
    colors: ByteArray | None = None  #: (N, 3) sRGB
    normals: Float32Array | None = None  #: (N, 3) unit
    num_views: ByteArray | None = None  #: (N,) views that saw the point


@dataclass(frozen=True, kw_only=True)
class CaptureInfo:
    """What probing a video or a photo folder tells, before any frame is kept."""

    kind: str
    """``video`` or ``photos``."""
    sha256: str
    """Of the video's bytes, or of the photos' names' order and bytes."""
    width: int
    """After rotation, of the frames as they will be shown."""
    height: int
    num_frames: int
    codec: str = ""
    rotation_deg: int = 0
    frame_rate: float = 0.0
    """Mean, in frames a second; 0 for photos."""
    variable_frame_rate: bool = False
    duration_s: float = 0.0
    bit_depth: int = 8
    transfer: str = "srgb"
    """``srgb`` (also BT.709/601 display-referred), ``hlg`` or ``pq``."""
    primaries: str = "bt709"
    focal_prior_px: float | None = None
    """From EXIF (35-mm equivalent), for images of ``width`` x ``height``; None when unknown."""
    photo_paths: tuple[Path, ...] = ()
    """Photos in natural order; empty for a video. Never written to any output."""
    warnings: tuple[str, ...] = ()
    """Plain sentences: what was broken and how it was handled (a truncated file, a skipped photo)."""
    scores: dict[str, float] = field(default_factory=dict)
