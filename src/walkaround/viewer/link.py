"""Two views whose eyes move together: what one sees from where, the other sees from there too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from walkaround.types import FloatArray
from walkaround.viewer.world import Surroundings

if TYPE_CHECKING:
    import viser

    from walkaround.viewer.window import Window

LEAD_S = 0.5
"""So long after its last move, a view still leads; what the other reports meanwhile is its echo."""
_SAME = 2e-3
"""Eyes nearer to each other than this, in distances of the cameras, are in one place."""


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Where one looks from, and at what."""

    position: FloatArray  # (3,)
    look_at: FloatArray  # (3,)
    up: FloatArray  # (3,)
    fov: float
    """Vertical, in radians."""


def carried_over(eye: Eye, source: Surroundings, target: Surroundings) -> Eye:
    """Return the eye that sees ``target`` as an eye sees ``source``: from the same side and distance.

    Two upright worlds are laid on each other as they are (two builds of one capture agree then); otherwise up
    goes to up, and the cameras' side to the cameras' side.
    """
    turned = np.eye(3)
    if not np.allclose(source.up, target.up, atol=1e-9):
        turned = _frame(target).T @ _frame(source)
    scale = target.radius / source.radius

    def moved(point: FloatArray) -> FloatArray:
        return np.asarray(target.centre + scale * turned @ (point - source.centre))

    return Eye(
        position=moved(eye.position), look_at=moved(eye.look_at), up=np.asarray(turned @ eye.up), fov=eye.fov
    )


class Leadership:
    """Which of two views leads, so that the echo of a move is not taken for a move."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leader: int | None = None
        self._until = 0.0

    def moves(self, side: int) -> bool:
        """Say whether a move reported by a side counts; from then on, it leads for a while."""
        now = self._clock()
        if self._leader not in (None, side) and now < self._until:
            return False
        self._leader, self._until = side, now + LEAD_S
        return True


class Link:
    """Keeps the eyes of two windows together while it is on."""

    def __init__(self, first: Window, second: Window) -> None:
        self._windows = (first, second)
        self._leadership = Leadership()
        self._lock = threading.Lock()
        for side, window in enumerate(self._windows):
            window.on_eye = partial(self._follow, side)
            window.beside, window.leads = self._windows[1 - side], side == 0

    def end(self) -> None:
        """Let each go its own way."""
        for window in self._windows:
            window.on_eye = window.beside = None

    def _follow(self, side: int, camera: viser.CameraHandle) -> None:
        source, target = self._windows[side], self._windows[1 - side]
        if source.content is None or target.content is None:
            return
        eye = Eye(position=camera.position, look_at=camera.look_at, up=camera.up_direction, fov=camera.fov)
        wanted = carried_over(eye, source.content.around, target.content.around)
        with self._lock:
            if target.eye_is_near(wanted, _SAME) or not self._leadership.moves(side):
                return
            target.put_eye(wanted)


def _frame(around: Surroundings) -> FloatArray:
    return np.stack([around.front, np.cross(around.up, around.front), around.up])
