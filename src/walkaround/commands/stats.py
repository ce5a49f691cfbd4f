"""``walkaround stats``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, say, show
from walkaround.commands.printable import printable
from walkaround.errors import UsageError
from walkaround.sizes import size_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from walkaround.dataset.stats import Counts, DatasetStats

_WIDTH = 110
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class StatsCommand:
    """Show what a dataset holds: classes, scores, reasons, time, size."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of the dataset."""
    top: int = 20
    """Classes to list; the others are summed up."""
    plot: Path | None = None
    """Draw all of it as one page: OUT.html or OUT.svg."""
    json: bool = False
    """Print JSON instead, with all classes and the histograms of all scores."""


def run(arguments: list[str]) -> int:
    """Print or draw the statistics of a dataset."""
    command = parse(StatsCommand, "stats", arguments)
    if command.top < 1:
        raise UsageError(f"--top {command.top} is out of range: at least 1.")
    if command.plot is not None and command.plot.suffix.lower() not in (".html", ".svg"):
        raise UsageError(
            f"--plot {command.plot} is neither .html nor .svg. Any browser shows and prints both."
        )
    from walkaround.dataset.stats import read_stats

    stats = read_stats(command.root)
    if command.json:
        show(json.dumps(dataclasses.asdict(stats), indent=2, ensure_ascii=False))
    else:
        _print(stats, command)
    if command.plot is not None:
        from walkaround.dataset.stats_page import write_stats_page

        write_stats_page(command.plot, stats, title=command.root.resolve().name)
        say(f"plot: {command.plot}")
    return EXIT_ACCEPTED


def _print(stats: DatasetStats, command: StatsCommand) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(_headline(stats))
    tables = (_classes(stats, command.top), _reasons(stats, console.width), _stages(stats), _scores(stats))
    for part in tables:
        if part is not None:
            console.print(part)


def _headline(stats: DatasetStats) -> RenderableType:
    from rich.text import Text

    total = max(stats.counts.total, 1)
    line = Text.assemble(
        (f"{stats.counts.total:,}", "bold"), f" sequences of {stats.num_classes:,} classes   ",
        (f"{stats.counts.accepted:,} accepted", "green"), f" ({stats.counts.accepted / total:.0%})   ",
        (f"{stats.counts.rejected:,} rejected", "red"), f" ({stats.counts.rejected / total:.0%})",
    )  # fmt: skip
    if stats.counts.incomplete:
        line.append(f"   {stats.counts.incomplete:,} incomplete", "yellow")
    reviews = stats.reviews
    if reviews.total:
        line.append(
            f"\n{reviews.total:,} decided by hand: {reviews.accepted:,} accepted,"
            f" {reviews.rejected:,} rejected, {reviews.relabelled:,} relabelled"
        )
    cpu_h = sum(stage.total_cpu_s for stage in stats.stages) / 3600
    line.append(
        f"\n{stats.num_frames:,} frames, {stats.num_registered:,} with a camera;"
        f" {size_text(stats.num_bytes)},"
        f" {size_text(stats.num_bytes / total)} a sequence; {cpu_h:,.1f} CPU-hours,"
        f" {3600 * cpu_h / total:,.0f} CPU-s a sequence\n"
    )
    return line


def _table(title: str, *columns: str, left: int = 1) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=True)
    return table


def _classes(stats: DatasetStats, top: int) -> Table | None:
    from rich.text import Text

    if not stats.classes:
        return None
    table = _table("Classes", "class", "id", "sequences", "accepted", "rejected", "size")
    table.add_column("")
    most = stats.classes[0].counts.total
    for item in stats.classes[:top]:
        cells = _counted(item.counts, item.num_bytes)
        table.add_row(
            Text(printable(item.label)), printable(item.class_id or ""), *cells, _bar(item.counts, most)
        )
    rest = stats.classes[top:]
    if rest:
        accepted, rejected, incomplete = (
            sum(getattr(item.counts, name) for item in rest)
            for name in ("accepted", "rejected", "incomplete")
        )
        cells = [f"{number:,}" for number in (accepted + rejected + incomplete, accepted, rejected)]
        size = size_text(sum(item.num_bytes for item in rest))
        table.add_row(Text(f"{len(rest):,} more", "dim"), "", *cells, size, "")
    return table


def _counted(counts: Counts, num_bytes: int) -> list[str]:
    return [f"{counts.total:,}", f"{counts.accepted:,}", f"{counts.rejected:,}", size_text(num_bytes)]


def _bar(counts: Counts, most: int, width: int = 30) -> RenderableType:
    """Draw accepted and rejected sequences side by side."""
    from rich.text import Text

    ends = [round(width * part / most) for part in (counts.accepted, counts.accepted + counts.rejected)]
    return Text.assemble(("█" * ends[0], "green"), ("▒" * (ends[1] - ends[0]), "red"))


def _reasons(stats: DatasetStats, width: int) -> Table | None:
    from rich.text import Text

    if not stats.reasons:
        return None
    table = _table("Reasons", "code", "verdict", "sequences", "share", left=2)
    room = width - max(len(item.code) for item in stats.reasons) - 37
    table.add_column("what it means", overflow="ellipsis", no_wrap=True, max_width=max(room, 10))
    for item in stats.reasons:
        tint = {"reject": "red", "warn": "yellow"}.get(item.verdict, "")
        share = f"{item.count / stats.counts.total:.1%}"
        table.add_row(
            printable(item.code), Text(item.verdict, tint), f"{item.count:,}", share, Text(item.text, "dim")
        )
    return table


def _stages(stats: DatasetStats) -> Table | None:
    from rich.text import Text

    if not stats.stages:
        return None
    table = _table("Time", "stage", "sequences", "median s", "95 % s", "CPU-hours", "share")
    table.add_column("")
    whole = sum(stage.total_cpu_s for stage in stats.stages) or 1.0
    for stage in stats.stages:
        share = stage.total_cpu_s / whole
        table.add_row(
            printable(stage.name), f"{stage.count:,}", f"{stage.median_s:.1f}", f"{stage.p95_s:.1f}",
            f"{stage.total_cpu_s / 3600:,.2f}", f"{share:.0%}", Text("█" * round(30 * share), "blue"),
        )  # fmt: skip
    return table


def _scores(stats: DatasetStats) -> Table | None:
    if not stats.scores:
        return None
    table = _table("Scores", "score", "sequences", "5 %", "median", "95 %")
    table.add_column("1 % to 99 %")
    for item in stats.scores:
        values: list[Any] = [f"{value:.4g}" for value in (item.p5, item.median, item.p95)]
        table.add_row(printable(item.name), f"{item.count:,}", *values, _spark(item.bins))
    return table


def _spark(bins: tuple[int, ...]) -> str:
    most = max(bins, default=0) or 1
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // most)] for count in bins)
