"""How a batch looks on a terminal, to the one who runs it and to ``walkaround status``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from walkaround.commands.console import say
from walkaround.pipeline import STAGES
from walkaround.runners.progress import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_S = 60.0
"""Where stderr is no terminal, a batch says so often how far it is."""
_MAX_ROWS = 12


@contextmanager
def shown() -> Iterator[Callable[[Snapshot], None]]:
    """Give a function that shows snapshots: in place on a terminal, as a line a minute elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with (
        Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True) as live,
        _log_above(),
    ):
        yield lambda snapshot: live.update(board(snapshot), refresh=True)


@contextmanager
def _log_above() -> Iterator[None]:
    """Let log lines appear above the picture instead of in it: rich has put itself before stderr."""
    handlers = [
        handler
        for handler in logging.getLogger("walkaround").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream or sys.__stderr__)


class _Lines:
    """Says a line now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, snapshot: Snapshot) -> None:
        if snapshot.state == "running" and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            say(progress_line(snapshot))


def progress_line(snapshot: Snapshot) -> str:
    """Return one line: how many are done, what came of them, rate, time left, what runs."""
    parts = [f"{snapshot.done} of {snapshot.total}", counts(snapshot)]
    if snapshot.rate_per_hour:
        parts.append(f"{_rate(snapshot.rate_per_hour)}, {duration(snapshot.eta_s)} left")
    if snapshot.stages_running:
        running = " ".join(f"{stage} {number}" for stage, number in snapshot.stages_running.items())
        parts.append(f"running: {running}")
    return "; ".join(parts)


def counts(snapshot: Snapshot) -> str:
    """Return what came of the captures that are done."""
    text = f"{snapshot.accepted} accepted, {snapshot.rejected} rejected"
    if snapshot.reasons:
        text += f" ({reasons(snapshot.reasons)})"
    return f"{text}, {snapshot.failed} failed"


def reasons(numbers: Mapping[str, int], most: int = 5) -> str:
    """Return reason codes with their numbers, the most frequent first."""
    shown_codes = [f"{number} {code}" for code, number in list(numbers.items())[:most]]
    return ", ".join(shown_codes + (["..."] if len(numbers) > most else []))


def board(snapshot: Snapshot) -> RenderableType:
    """Return the whole picture: the bar, a row a stage, rejections, what runs."""
    from rich.console import Group
    from rich.table import Table

    stages = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("stage", "done", "running"):
        stages.add_column(column, justify="left" if column == "stage" else "right", style="none")
    for stage in STAGES:
        done, running = snapshot.stages_done.get(stage.name, 0), snapshot.stages_running.get(stage.name, 0)
        stages.add_row(stage.name, str(done), str(running) if running else "")
    parts: list[RenderableType] = [*_bar(snapshot), stages]
    for title, numbers in (("rejected", snapshot.reasons), ("warned", snapshot.warnings)):
        if numbers:
            parts.append(f"{title}: {reasons(numbers)}")
    if snapshot.failed_keys:
        parts.append(f"failed: {' '.join(snapshot.failed_keys[:_MAX_ROWS])}")
    if snapshot.running:
        parts.append(_running(snapshot))
    return Group(*parts)


def _bar(snapshot: Snapshot) -> list[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    row = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(snapshot.total, 1), completed=snapshot.done, width=40)
    share = snapshot.done / max(snapshot.total, 1)
    row.add_row(f"{snapshot.done:,} of {snapshot.total:,}", bar, f"{share:.1%}")
    before = f"  ({snapshot.skipped:,} of them before)" if snapshot.skipped else ""
    numbers = (
        f"[green]{snapshot.accepted:,} accepted[/]  [yellow]{snapshot.rejected:,} rejected[/]  "
        f"[red]{snapshot.failed:,} failed[/]{before}"
    )
    rate = (
        f"{_rate(snapshot.rate_per_hour)}, {duration(snapshot.eta_s)} left" if snapshot.rate_per_hour else ""
    )
    return [row, numbers, rate]


def _running(snapshot: Snapshot) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("capture", "class", "stage", "", "for"):
        table.add_column(column, no_wrap=True, overflow="ellipsis", max_width=24)
    for item in snapshot.running[:_MAX_ROWS]:
        share = f"{item.share:4.0%}" if item.stage else ""
        since = duration(max(snapshot.updated - item.since, 0.0))
        table.add_row(item.key, escape(item.class_label), item.stage or "starting", share, since)
    return table


def duration(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.1f} days"


def _rate(per_hour: float) -> str:
    return f"{per_hour:.1f} an hour" if per_hour < 100 else f"{per_hour:,.0f} an hour"
