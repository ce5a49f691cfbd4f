"""``walkaround evaluate``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, set_up_logging, show
from walkaround.quality.evaluate import evaluate_sequence, format_evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Compare a sequence with the truth: cameras, masks, depth, cloud."""

    sequence: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SEQUENCE")]
    """A sequence folder (it holds sequence.json)."""
    truth: Path
    """A folder in the truth format (docs/format.md)."""
    json: bool = False
    """Print JSON instead of a table."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Compare one sequence with its truth."""
    command = parse(EvaluateCommand, "evaluate", arguments)
    set_up_logging(verbose=command.verbose)
    evaluation = evaluate_sequence(command.sequence, command.truth)
    if command.json:
        show(json.dumps(dataclasses.asdict(evaluation), indent=2))
    else:
        show(format_evaluation(evaluation))
    return EXIT_ACCEPTED
