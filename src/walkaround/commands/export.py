"""``walkaround export``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, EXIT_REJECTED, parse, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.types import Progress, no_progress

Format = Literal[
    "nerfstudio", "instant-ngp", "colmap", "colmap-text", "3dgs", "openmvs", "mvsnet", "llff", "co3d",
    "mvpnet", "huggingface", "croissant",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a scene, or a whole dataset scene by scene, in the format of another tool.

    docs/exchange.md lists the formats, their conventions and what is lost in each.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A sequence's folder, ROOT/class/instance, or a dataset (ours, MVImgNet, MVPNet, as folders or zip)."""
    to: Format
    """The format."""
    out: Path
    """The folder of the export: for croissant usually the dataset's own."""
    where: str | None = None
    """Only the scenes of a dataset that a condition of SQL holds for, as in `Dataset.query`."""
    overwrite: bool = False
    """Write into a folder that is not empty."""
    json: bool = False
    """Print what was written as JSON."""
    verbose: bool = False
    """Log more."""
    options: Annotated[ExportOptions, tyro.conf.arg(name="")] = field(default_factory=ExportOptions)


def run(arguments: list[str]) -> int:
    """Export; return 3 when scenes had to be left out."""
    command = parse(ExportCommand, "export", arguments)
    set_up_logging(verbose=command.verbose)
    from walkaround.dataset.exchange.export import export_scenes
    from walkaround.dataset.review_writer import take_in_decisions

    take_in_decisions(command.source)
    with _bar() as progress:
        result = export_scenes(
            command.source,
            command.out,
            command.to,
            options=command.options,
            where=command.where,
            overwrite=command.overwrite,
            progress=progress,
        )
    if command.json:
        left_out = [{"scene": key, "reason": reason} for key, reason in result.left_out]
        show(json.dumps({"exported": result.keys, "left_out": left_out}, indent=2, ensure_ascii=False))
    else:
        count = len(result.keys)
        say(f"{count:,} {'scene' if count == 1 else 'scenes'} as {command.to}: {printable(str(command.out))}")
        if result.left_out:
            say(f"{len(result.left_out):,} left out; the reasons are above")
    return EXIT_REJECTED if result.left_out else EXIT_ACCEPTED


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show one bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("scenes", total=1.0)
        yield lambda share: bars.update(task, completed=share)
