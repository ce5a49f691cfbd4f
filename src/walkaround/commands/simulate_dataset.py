"""``walkaround simulate-dataset``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging
from walkaround.errors import UsageError
from walkaround.simulate.dataset_options import SimulateDatasetOptions


@dataclass(frozen=True, kw_only=True)
class SimulateDatasetCommand:
    """Render a dataset of many classes of objects: images, cameras, masks, depth and clouds, all exact.

    The same command goes on with the objects that are missing, and may ask for more of them.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Folder of the dataset; made when missing."""
    options: Annotated[SimulateDatasetOptions, tyro.conf.arg(name="")] = field(
        default_factory=SimulateDatasetOptions
    )
    workers: int = 0
    """Processes that render; 0: one a core."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Render a dataset."""
    command = parse(SimulateDatasetCommand, "simulate-dataset", arguments)
    if command.workers < 0:
        raise UsageError(f"--workers is {command.workers}; give 0 (one a core) or more.")
    set_up_logging(verbose=command.verbose)
    from walkaround.simulating import simulate_dataset

    with progress() as report:
        made = simulate_dataset(
            command.out,
            options=command.options,
            workers=command.workers,
            progress=lambda share: report("simulate", share),
        )
    say(
        f"{made.num_sequences:,} objects of {command.options.classes} classes, {made.num_images:,} images"
        f" ({made.num_made:,} objects are new): {made.root}"
    )
    return EXIT_ACCEPTED
