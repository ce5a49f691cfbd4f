"""The dense points of one scene in a browser: a few at once, the others level by level after them.

A browser draws all that has reached it before its first picture. So the further levels wait until one has
come, and those that a browser without a graphics card could hardly turn wait until it has said what it draws
with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkaround.viewer import drawing
from walkaround.viewer.clouds import Level, num_levels_for

if TYPE_CHECKING:
    import viser

SOFTWARE_BUDGET = 180_000
"""Points that a processor alone turns at a few pictures a second."""
_PAUSE_S = 0.25
"""Between levels, so that they do not all reach the browser within one picture."""
_ANSWER_S = 3.0
"""So long a browser may take to say what it draws with."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How points are to be drawn."""

    visible: bool = True
    budget: int = 1_000_000
    size_factor: float = 1.0


@dataclass(frozen=True)
class _Drawn:
    handle: viser.PointCloudHandle
    total: int
    size: float


class Detail:
    """The levels that are drawn of a cloud.

    Parameters
    ----------
    lock
        Held while anything is drawn; whoever shows another scene holds it too.
    """

    def __init__(self, server: viser.ViserServer, wanted: Wanted, lock: threading.RLock) -> None:
        self._server = server
        self._wanted = wanted
        self._changed = threading.Condition(lock)
        self._drawn: list[_Drawn] = []
        self.first: Level | None = None
        """The first level, once it is there."""
        self._has_browser = False
        self._has_answer = False
        self._closed = False

    @property
    def totals(self) -> list[int]:
        """Points up to and with each level that is drawn."""
        return [drawn.total for drawn in self._drawn]

    @property
    def num_visible(self) -> int:
        """Points that are shown now."""
        return max((drawn.total for drawn in self._drawn if drawn.handle.visible), default=0)

    def draw(self, levels: Iterator[Level]) -> bool:
        """Draw the next level, if there is one and the scene is still shown; say whether there was."""
        level = next(levels, None)
        with self._changed:
            if level is None or self._closed:
                return False
            self.first = self.first or level
            self._changed.notify_all()
            handle = drawing.draw_level(self._server, len(self._drawn), level)
            self._drawn.append(_Drawn(handle, level.total, float(handle.point_size)))
            self._apply()
        return True

    def follow(self, levels: Iterator[Level]) -> None:
        """Draw the further levels as they are wanted; return when all are, or the scene is not shown."""
        for level in levels:
            total = level.total
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._has_browser)
                self._changed.wait_for(lambda: self._closed, timeout=_PAUSE_S)
                if total > SOFTWARE_BUDGET:
                    self._changed.wait_for(lambda: self._closed or self._has_answer, timeout=_ANSWER_S)
                while not self._closed and total > self._wanted.budget:
                    self._changed.wait()
            if not self.draw(iter((level,))):
                return

    def want(self, wanted: Wanted) -> None:
        """Change how points are drawn."""
        with self._changed:
            self._wanted = wanted
            self._apply()
            self._changed.notify_all()

    def browser_came(self) -> None:
        """Go on with the second level: a browser has come, and has the first."""
        with self._changed:
            self._has_browser = True
            self._changed.notify_all()

    def browser_answered(self) -> None:
        """Go on with all levels: what the browser draws with is known, and the budget heeds it."""
        with self._changed:
            self._has_answer = True
            self._changed.notify_all()

    def wait_for_first(self, timeout_s: float) -> Level | None:
        """Return the first level when it is there; None when there is none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.first is not None, timeout=timeout_s)
            return self.first

    def close(self) -> None:
        """Draw no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _apply(self) -> None:
        """Show as many levels as the budget allows, all with points of one size."""
        count = num_levels_for(self._wanted.budget, self.totals)
        for number, drawn in enumerate(self._drawn):
            drawn.handle.visible = self._wanted.visible and number < count
            drawn.handle.point_size = self._drawn[count - 1].size * self._wanted.size_factor
