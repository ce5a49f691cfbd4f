"""``walkaround report``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.errors import UsageError
from walkaround.site.options import SiteOptions


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write a static site about a dataset: overview, classes, a page a sequence, a dataset card."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of the dataset."""
    out: Path | None = None
    """The site's folder; ROOT/report unless given. What did not change since the last time is kept."""
    threads: int = 0
    """Sequences to work on at once; 0 means all cores."""
    site: Annotated[SiteOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SiteOptions)
    json: bool = False
    """Print what was done as JSON."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Write the site and say where it is."""
    command = parse(ReportCommand, "report", arguments)
    set_up_logging(verbose=command.verbose)
    if command.threads < 0:
        raise UsageError(f"--threads {command.threads} is out of range: 0 (all cores) or more.")
    command.site.check()
    from walkaround.dataset.review_writer import take_in_decisions
    from walkaround.site.build import write_site

    take_in_decisions(command.root)
    with progress() as report:
        done = write_site(
            command.root,
            command.out,
            options=command.site,
            num_threads=command.threads,
            progress=lambda share: report("report", share),
        )
    if command.json:
        show(json.dumps({**dataclasses.asdict(done), "index": str(done.index)}, indent=2))
    else:
        kept = done.num_sequences - done.num_written - done.num_unreadable
        show(
            f"{done.num_sequences:,} sequences: {done.num_drawn:,} drawn,"
            f" {done.num_written - done.num_drawn:,} more pages written, {kept:,} unchanged"
        )
    if done.num_unreadable:
        listed = ", ".join(printable(name) for name in done.unreadable)
        more = ", ..." if done.num_unreadable > len(done.unreadable) else ""
        say(f"{done.num_unreadable:,} cannot be read and have no page: {listed}{more}")
    say(f"report: {done.index}")
    return EXIT_ACCEPTED
