"""How much a video's picture moves, and whether its background moves with the camera.

A walk-around moves the whole picture. Before a standing camera only the object and the hand move, and what
is behind them stays exactly where it is. Both are told apart by corners tracked over short windows.

Limits. Only textured background can be seen to stand or move: before a plain wall or a black cloth there
are too few corners, and the measure is left out, not guessed. A standing camera that pans after the object
moves its background and passes. A turntable before a textured background counts as a standing camera,
which it is. Photos are not measured: their viewpoints lie too far apart to follow corners.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray

TRACK_LONG_SIDE_PX = 320
UNIT_LONG_SIDE_PX = 640
"""All displacements are told in pixels of a picture with this long side."""
WINDOW_S = 0.5
STEP_S = 0.06
MAX_WINDOWS = 12
MOVED_PX = 5.0
"""A corner that goes this far within a window moves; a camera held still in the hand trembles less."""
STANDING_SHARE = 0.1
"""A corner stands when it goes less than this share of what the moving ones go (at least 1 px counts)."""
_GRID = 10
_BORDER_CELLS = 2
_MIN_CELLS = 4
_MIN_WINDOWS = 2
_MIN_TRACKS = 12
_MIN_MOVING = 8
_STANDING_CELLS = 2
_STANDING_CELL_SHARE = 0.1
_MIN_GRADIENT = 1.5
"""Grey levels a pixel, in a corner's weaker direction: above noise and the codec's standing blocks."""
_DUPLICATE_PX = 1.0
_DUPLICATE_LEVELS = 2.0


def find_corners(luma: ByteArray) -> Float32Array:  # (N, 1, 2)
    """Return corners spread over the picture, none weaker than an absolute limit."""
    strength = float(cv2.cornerMinEigenVal(luma, 5).max())
    # OpenCV's eigenvalue is the mean square of 2 * gradient / 255
    limit = (2.0 * _MIN_GRADIENT / 255.0) ** 2
    if strength <= limit:
        return np.zeros((0, 1, 2), np.float32)
    corners = cv2.goodFeaturesToTrack(luma, 300, limit / strength, 7, blockSize=5)
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
    settings: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 3}
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
    ten moved less than 1 px (at 640 px).
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
    luma: ByteArray
    began: Float32Array
    now: Float32Array
    alive: BoolArray
    steps: int = 0


@dataclass
class MotionMeter:
    """Fed with a video's frames in order, measures at most twelve windows of half a second.

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
    _background_moves: list[bool] = field(default_factory=list)

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
            self._window = _Window(timestamp_s, timestamp_s, luma, corners, corners.copy(), alive)
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

        ``background_motion_share`` is the share of the windows in which the background moves, among those
        in which anything does. The background is taken to be the outer fifth of the picture on each side,
        in cells of a grid of 10 x 10. It stands when two cells, and a tenth of those with corners, hold
        corners that stand while others move; an arm that reaches in may hide the rest, and in a walk no
        tenth of the border stands. Each window takes the majority of itself and its two neighbours,
        because a walk does not start and stop within a second.
        """
        if self._window is not None and self._window.steps > 0:
            self._close(self._window)
        scores: dict[str, float] = {}
        if self._motions:
            scores["motion_px"] = float(np.median(self._motions))
        if len(self._background_moves) >= _MIN_WINDOWS:
            moves = np.pad(np.array(self._background_moves, int), 1, mode="reflect")
            majority = (moves[:-2] + moves[1:-1] + moves[2:]) >= 2
            scores["background_motion_share"] = float(np.mean(majority))
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
        began, distance = window.began[followed, 0], distance[followed]
        self._motions.append(float(np.percentile(distance, 90)) * self.interval_s / span_s)
        moves = background_moves(began, distance, window.luma.shape)
        if moves is not None:
            self._background_moves.append(moves)


def background_moves(began: Float32Array, distance: FloatArray, shape: tuple[int, ...]) -> bool | None:
    """Judge one window: does the background move, given that something does?

    Parameters
    ----------
    began
        (N, 2) where each corner began.
    distance
        (N,) how far it went, in px at a long side of 640 px.
    shape
        Height and width of the picture in which ``began`` counts.

    Returns
    -------
    None where nothing moves or the border has too few corners to tell.
    """
    moving = distance[distance >= MOVED_PX]
    if len(moving) < max(_MIN_MOVING, 0.05 * len(distance)):
        return None
    limit = min(MOVED_PX, max(1.0, STANDING_SHARE * float(np.median(moving))))
    column = np.minimum(began[:, 0] * _GRID / shape[1], _GRID - 1).astype(int)
    row = np.minimum(began[:, 1] * _GRID / shape[0], _GRID - 1).astype(int)
    low, high = np.minimum(column, row), np.maximum(column, row)
    border = (low < _BORDER_CELLS) | (high >= _GRID - _BORDER_CELLS)
    cell = row * _GRID + column
    medians = np.array([np.median(distance[cell == c]) for c in np.unique(cell[border])])
    if len(medians) < _MIN_CELLS:
        return None
    standing = int(np.count_nonzero(medians < limit))
    return standing < max(_STANDING_CELLS, _STANDING_CELL_SHARE * len(medians))
