"""The controls beside the 3-D view: viser's widgets, and which action each of them stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from walkaround.viewer.content import Content

if TYPE_CHECKING:
    import viser

_BLANK = np.full((9, 16, 3), 235, np.uint8)
_MOST_PROBLEMS = 16
BUDGETS = (60_000, 180_000, 500_000, 1_000_000, 2_000_000, 5_000_000)


KINDS = ("cameras", "object points", "sparse points", "support plane", "axes", "arc", "mask solid")
"""What can be shown or hidden."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the controls stand; they stay so from one scene to the next."""

    follow: bool = False
    mask: float = 0.6
    depth: float = 0.0
    behind: bool = True
    shown: frozenset[str] = frozenset({"cameras", "object points", "arc"})
    budget: int = 1_000_000
    """How many points may be drawn."""
    point_size: float = 1.0


class Actions(Protocol):
    """What the controls can ask for. ``client`` is the browser that asked; None for all of them."""

    def select(self, number: int, client: viser.ClientHandle | None, *, fly: bool) -> None: ...
    def step(self, by: int, client: viser.ClientHandle | None) -> None: ...
    def repaint(self) -> None: ...
    def set_shown(self, what: str, shown: bool) -> None: ...
    def set_points(self) -> None: ...
    def set_measuring(self, on: bool) -> None: ...
    def home(self, client: viser.ClientHandle | None) -> None: ...
    def screenshot(self, client: viser.ClientHandle | None) -> None: ...


class Panel:
    """The widgets of one scene."""

    def __init__(
        self, server: viser.ViserServer, content: Content, actions: Actions, settings: Settings
    ) -> None:
        self._gui = server.gui
        self._actions = actions
        self._initial = settings
        self._gui.set_panel_label(content.title)
        self.text = self._gui.add_markdown("")
        self.write(content)
        self.has_frames = bool(content.frames)
        if self.has_frames:
            self._add_frame(content)
        self._add_show()
        self._add_measure(content)
        self._add_buttons()
        self._add_keys()

    def write(self, content: Content) -> None:
        """Write the scene's summary and what is broken of it."""
        broken = [f"**broken:** {_plain(problem)}" for problem in content.problems[:_MOST_PROBLEMS]]
        if len(content.problems) > _MOST_PROBLEMS:
            broken.append(f"and {len(content.problems) - _MOST_PROBLEMS} more")
        lines = [*map(_plain, content.summary), *broken]
        self.text.content = "  \n".join(lines)

    def _add_frame(self, content: Content) -> None:
        gui, actions = self._gui, self._actions
        with gui.add_folder("Frame"):
            last = len(content.frames)
            self.frame = gui.add_slider(
                "frame", min=1, max=max(last, 2), step=1, initial_value=1, disabled=last < 2
            )
            self.follow = gui.add_checkbox(
                "camera follows", self._initial.follow, hint="Fly along when the frame changes"
            )
            self.image = gui.add_image(_BLANK, format="jpeg", jpeg_quality=88)
            self.caption = gui.add_markdown("")
            self.mask = gui.add_slider("mask", min=0.0, max=1.0, step=0.05, initial_value=self._initial.mask)
            self.depth = gui.add_slider(
                "depth", min=0.0, max=1.0, step=0.05, initial_value=self._initial.depth
            )
            self.behind = gui.add_checkbox(
                "image behind points",
                self._initial.behind,
                hint="At a camera, its image stands behind the points",
            )
            fly = gui.add_button("Fly to this camera (F)")
        self.frame.on_update(self._slid)
        for control in (self.mask, self.depth, self.behind):
            control.on_update(lambda _: actions.repaint())
        fly.on_click(lambda event: actions.select(self.frame.value - 1, event.client, fly=True))

    def _slid(self, event: viser.GuiEvent) -> None:
        if event.client is not None:  # a person's hand, not our own setting of the slider
            self._actions.select(self.frame.value - 1, event.client, fly=self.follow.value)

    def _add_show(self) -> None:
        gui, actions = self._gui, self._actions
        self.shown: dict[str, Any] = {}
        with gui.add_folder("Show"):
            for what in KINDS:
                box = self.shown[what] = gui.add_checkbox(what, what in self._initial.shown)
                box.on_update(lambda event, what=what: actions.set_shown(what, event.target.value))
            names = [f"{budget:,}" for budget in BUDGETS]
            self.budget = gui.add_dropdown("points drawn", names, initial_value=f"{self._initial.budget:,}")
            self.size = gui.add_slider(
                "point size", min=0.2, max=4.0, step=0.1, initial_value=self._initial.point_size
            )
        for control in (self.budget, self.size):
            control.on_update(lambda _: actions.set_points())

    def set_budget(self, most: int) -> None:
        """Draw at most so many points, unless a person has chosen fewer; a person may choose more again."""
        if self.settings.budget > most:
            self.budget.value = f"{most:,}"

    @property
    def settings(self) -> Settings:
        """How the controls stand now."""
        now = replace(
            self._initial,
            shown=frozenset(what for what, box in self.shown.items() if box.value),
            budget=int(self.budget.value.replace(",", "")),
            point_size=float(self.size.value),
        )
        if not self.has_frames:
            return now
        return replace(
            now,
            follow=bool(self.follow.value),
            mask=float(self.mask.value),
            depth=float(self.depth.value),
            behind=bool(self.behind.value),
        )

    def _add_measure(self, content: Content) -> None:
        unit = "metres" if content.metric else "units (the cameras stand about 1 away)"
        with self._gui.add_folder("Measure"):
            self.measuring = self._gui.add_checkbox("click two points (M)", False)
            self.length = self._gui.add_markdown(f"in {unit}")
        self.measuring.on_update(lambda _: self._actions.set_measuring(self.measuring.value))

    def _add_buttons(self) -> None:
        home = self._gui.add_button("See all (H)")
        home.on_click(lambda event: self._actions.home(event.client))
        shot = self._gui.add_button("Screenshot (S)")
        shot.on_click(lambda event: self._actions.screenshot(event.client))

    def _add_keys(self) -> None:
        actions, add = self._actions, self._gui.add_command
        add("Next frame", hotkey="arrowright").on_trigger(lambda event: actions.step(1, event.client))
        add("Previous frame", hotkey="arrowleft").on_trigger(lambda event: actions.step(-1, event.client))
        add("See all", hotkey="H").on_trigger(lambda event: actions.home(event.client))
        add("Screenshot", hotkey="S").on_trigger(lambda event: actions.screenshot(event.client))
        add("Measure", hotkey="M").on_trigger(lambda _: self._toggle_measuring())
        if self.has_frames:
            add("Fly to the camera", hotkey="F").on_trigger(
                lambda event: actions.select(self.frame.value - 1, event.client, fly=True)
            )

    def _toggle_measuring(self) -> None:
        self.measuring.value = not self.measuring.value


def _plain(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-!<>|" else c for c in text)
