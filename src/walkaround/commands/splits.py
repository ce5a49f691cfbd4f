"""``walkaround splits``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, EXIT_REJECTED, parse, say, show
from walkaround.commands.printable import printable
from walkaround.dataset.splits_options import SplitsOptions

if TYPE_CHECKING:
    from walkaround.dataset.splits import Leak, Splits

_MAX_SHOWN = 20
_LEAKS = {
    "twice": "is listed more than once",
    "source": "come from one source",
    "duplicate": "show one object",
    "unknown": "is not in the catalogue",
    "rejected": "was rejected by hand since",
}


@dataclass(frozen=True, kw_only=True)
class SplitsCommand:
    """Divide the accepted sequences of a dataset for training, validation and test.

    By objects, never between duplicates (run `walkaround duplicates` first), every class in its share.
    Sequences that are divided already stay where they are.
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of the dataset; splits/*.json are written there."""
    division: Annotated[SplitsOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=SplitsOptions
    )
    check: bool = False
    """Write nothing; look for leaks between the splits that are there."""
    overwrite: bool = False
    """Forget the division that is there and divide anew."""
    json: bool = False
    """Print JSON."""


def run(arguments: list[str]) -> int:
    """Divide, or check a division; return 3 when it leaks."""
    command = parse(SplitsCommand, "splits", arguments)
    from walkaround.dataset.review_writer import take_in_decisions
    from walkaround.dataset.splits import find_leaks, make_splits, write_splits

    splits = None
    if not command.check:
        take_in_decisions(command.root)
        splits = make_splits(command.root, options=command.division, overwrite=command.overwrite)
        write_splits(command.root, splits, options=command.division)
    leaks = find_leaks(command.root)
    if command.json:
        members = splits.members if splits else None
        value = {"splits": members, "leaks": [dataclasses.asdict(leak) for leak in leaks]}
        show(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        if splits is not None:
            _tell(command.root, splits)
        _tell_leaks(leaks)
    return EXIT_REJECTED if leaks else EXIT_ACCEPTED


def _tell(root: Path, splits: Splits) -> None:
    from walkaround.dataset.splits import sizes_by_class

    total = sum(map(len, splits.members.values())) or 1
    classes = list(sizes_by_class(splits))
    for name, members in splits.members.items():
        reached = sum(name in counts for _, counts in classes)
        show(f"{name:<6} {len(members):>8,} sequences {len(members) / total:>6.1%}  of {reached:,} classes")
    if splits.num_kept:
        show(f"{splits.num_kept:,} stayed where they were")
    if splits.num_moved:
        show(f"{splits.num_moved:,} moved to a duplicate of theirs")
    if not splits.has_duplicates:
        say("note: objects that were filmed twice are not known; run `walkaround duplicates` before")
    say(f"splits: {root / 'splits'}")


def _tell_leaks(leaks: tuple[Leak, ...]) -> None:
    if not leaks:
        show("no leaks")
        return
    show(f"{len(leaks):,} {'leak' if len(leaks) == 1 else 'leaks'}")
    for leak in leaks[:_MAX_SHOWN]:
        show(f"  {printable(', '.join(leak.names))} {_LEAKS[leak.kind]} ({', '.join(leak.splits)})")
    if len(leaks) > _MAX_SHOWN:
        show(f"  and {len(leaks) - _MAX_SHOWN:,} more; --json lists all")
