"""How much a video's picture moves (here), and what of it stands (:mod:`walkaround.frames.background`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from walkaround.frames.background import Scene, moving_share
from walkaround.types import BoolArray, ByteArray, Float32Array

TRACK_LONG_SIDE_PX = 320
UNIT_LONG_SIDE_PX = 640
"""All displacements are told in pixels of a picture with this long side."""
WINDOW_S = 0.5
STEP_S = 0.09
MAX_WINDOWS = 10
MOVED_PX = 5.0
"""A corner that goes this far within a window moves; a camera held still in the hand trembles less."""
_MAX_CORNERS = 200
_MIN_TRACKS = 12
_MIN_MOVING = 8
_MIN_GRADIENT = 1.5
"""Grey levels a pixel, in a corner's weaker direction: above noise and the codec's standing blocks."""
_DUPLICATE_PX = 0.5
_DUPLICATE_LEVELS = 2.0


def find_corners(luma: ByteArray) -> Float32Array:  # (N, 1, 2)
    """Return corners spread over the picture, none weaker than an absolute limit."""
    strength = float(cv2.cornerMinEigenVal(luma, 5).max())
    # OpenCV's eigenvalue is the mean square of 2 * gradient / 255
    limit = (2.0 * _MIN_GRADIENT / 255.0) ** 2
    if strength <= limit:
        return np.zeros((0, 1, 2), np.float32)
    corners = cv2.goodFeaturesToTrack(luma, _MAX_CORNERS, limit / strength, 7, blockSize=5)
    return np.zeros((0, 1, 2), np.float32) if corners is None else np.asarray(corners, np.float32)


def track(before: ByteArray, after: ByteArray, points: Float32Array) -> tuple[Float32Array, BoolArray]:
    """Follow points from one picture to the next, and back again to be sure (pyramidal Lucas-Kanade).

    Returns
    -------
    points : (N, 1, 2) in ``after``
    reliable : (N,) found, inside, and back within half a pixel of where they began
    """
    if len(points) == 0:
        return points, np.zeros(0, bool)
    settings: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 3, "criteria": (3, 12, 0.02)}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, **settings)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None, **settings)
    error = np.linalg.norm((back - points)[:, 0], axis=1)
    size = np.array([before.shape[1], before.shape[0]])
    inside = np.all((moved[:, 0] >= 1) & (moved[:, 0] < size - 1), axis=1)
    reliable = (found[:, 0] == 1) & (found_back[:, 0] == 1) & (error < 0.5) & inside
    return moved, reliable


def is_near_duplicate(before: ByteArray, after: ByteArray) -> bool:
    """Return True when hardly anything changed between two small luma pictures of one video.

    Both must hold: the mean difference is under 2 grey levels, and where corners can be tracked, nine of
    ten moved less than half a pixel (at 640 px).
    """
    if before.shape != after.shape or float(cv2.mean(cv2.absdiff(before, after))[0]) >= _DUPLICATE_LEVELS:
        return False
    corners = find_corners(before)
    moved, reliable = track(before, after, corners)
    if np.count_nonzero(reliable) < _MIN_TRACKS:
        return True
    steps = np.linalg.norm((moved - corners)[reliable, 0], axis=1) * UNIT_LONG_SIDE_PX / max(before.shape)
    return float(np.percentile(steps, 90)) < _DUPLICATE_PX


@dataclass
class _Window:
    """Corners under way: where they began, where they are, and which are still followed."""

    start_s: float
    last_s: float
    first_luma: ByteArray
    luma: ByteArray
    began: Float32Array
    now: Float32Array
    alive: BoolArray
    steps: int = 0


@dataclass
class MotionMeter:
    """Fed with a video's frames in order, measures at most ten windows of half a second.

    Parameters
    ----------
    duration_s
        Of the video; the windows are spread over it.
    interval_s
        Mean time between kept frames, to which ``motion_px`` refers.
    """

    duration_s: float
    interval_s: float
    _next: int = 0
    _window: _Window | None = None
    _motions: list[float] = field(default_factory=list)
    _scenes: list[Scene] = field(default_factory=list)

    def wants(self, timestamp_s: float) -> bool:
        """Return True when the frame at this time should be given to :meth:`add`."""
        if self._window is not None:
            return timestamp_s - self._window.last_s >= STEP_S
        return timestamp_s >= self._start_of(self._next)

    def add(self, timestamp_s: float, luma: ByteArray) -> None:
        """Take a small luma picture (long side about 320 px)."""
        window = self._window
        if window is None:
            corners = find_corners(luma)
            alive = np.ones(len(corners), bool)
            self._window = _Window(timestamp_s, timestamp_s, luma, luma, corners, corners.copy(), alive)
            return
        live = np.flatnonzero(window.alive)
        moved, reliable = track(window.luma, luma, window.now[live])
        window.now[live[reliable]] = moved[reliable]
        window.alive[live[~reliable]] = False
        window.luma, window.last_s, window.steps = luma, timestamp_s, window.steps + 1
        if timestamp_s - window.start_s >= WINDOW_S - 1e-6:
            self._close(window)

    def scores(self) -> dict[str, float]:
        """Return ``motion_px`` and ``background_motion_share``, each only where it could be measured.

        ``motion_px`` is the median over the windows of the 90th percentile of the corners' displacements,
        in px at a long side of 640 px, for the mean time between kept frames.

        ``background_motion_share`` is told in :func:`walkaround.frames.background.moving_share`.
        """
        if self._window is not None and self._window.steps > 0:
            self._close(self._window)
        scores: dict[str, float] = {}
        if self._motions:
            scores["motion_px"] = float(np.median(self._motions))
        share = moving_share(self._scenes)
        if share is not None:
            scores["background_motion_share"] = share
        return scores

    def _start_of(self, index: int) -> float:
        count = max(1, min(MAX_WINDOWS, int(self.duration_s / WINDOW_S)))
        return index * self.duration_s / count if index < count else np.inf

    def _close(self, window: _Window) -> None:
        self._window = None
        while self._start_of(self._next) <= window.last_s:
            self._next += 1
        span_s = window.last_s - window.start_s
        to_unit = UNIT_LONG_SIDE_PX / max(window.luma.shape)
        distance = np.linalg.norm((window.now - window.began)[:, 0], axis=1).astype(float) * to_unit
        followed = window.alive | (distance > MOVED_PX)  # lost after it had moved: still moved
        if span_s <= 0 or np.count_nonzero(followed) < _MIN_TRACKS:
            return
        distance = distance[followed]
        self._motions.append(float(np.percentile(distance, 90)) * self.interval_s / span_s)
        moving = np.count_nonzero(distance >= MOVED_PX)
        if moving >= max(_MIN_MOVING, 0.05 * len(distance)):
            self._scenes.append(Scene(luma=window.first_luma, corners=window.began[:, 0]))
