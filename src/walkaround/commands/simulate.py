"""``walkaround simulate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.simulate import SimulateOptions, simulate_capture


@dataclass(frozen=True, kw_only=True)
class SimulateCommand:
    """Render a hand-held walk-around of a textured object, with its truth beside the video."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder to write; made when missing."""
    options: Annotated[SimulateOptions, tyro.conf.arg(name="")] = field(default_factory=SimulateOptions)
    overwrite: bool = False
    """Replace a capture that was made with other options."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Render one capture."""
    command = parse(SimulateCommand, "simulate", arguments)
    set_up_logging(verbose=command.verbose)
    with progress() as report:
        simulate_capture(
            command.out,
            options=command.options,
            overwrite=command.overwrite,
            progress=lambda share: report("simulate", share),
        )
    say(f"written: {command.out}")
    return EXIT_ACCEPTED
