"""``walkaround unshard``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show


@dataclass(frozen=True, kw_only=True)
class UnshardCommand:
    """Unpack shards: every file under its name again, with the same bytes.

    Each file is checked against its checksum. The same command continues after a kill.
    """

    shards: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SHARDS")]
    """What `walkaround shard` wrote (without --resize): a folder or URL."""
    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, a new or empty folder for the dataset."""
    json: bool = False
    """Print JSON."""


def run(arguments: list[str]) -> int:
    """Unpack, and say what was unpacked."""
    command = parse(UnshardCommand, "unshard", arguments)
    set_up_logging(verbose=False)
    from walkaround.dataset.shards.unpack import unpack_shards

    with progress() as report:
        done = unpack_shards(command.shards, command.root, progress=lambda share: report("unpack", share))
    if command.json:
        show(json.dumps(dataclasses.asdict(done), indent=2))
    else:
        scenes = "scene" if done.num_scenes == 1 else "scenes"
        files = "file" if done.num_files == 1 else "files"
        show(f"{done.num_scenes:,} {scenes}, {done.num_files:,} {files}")
        say(f"dataset: {command.root}")
    return EXIT_ACCEPTED
