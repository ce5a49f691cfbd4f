"""``walkaround shard``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.dataset.shards.options import ShardOptions


@dataclass(frozen=True, kw_only=True)
class ShardCommand:
    """Pack a dataset into WebDataset tars with an index, for training and for moving it.

    The same command continues after a kill and does nothing when all is there. Equal input gives equal bytes.
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, a dataset: ours, MVImgNet, MVImgNet 2.0, MVPNet, in folders or zip archives."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """OUT, a new or empty folder; gets shard-000000.tar ..., index.parquet and shards.json."""
    packing: Annotated[ShardOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=ShardOptions)
    statuses: tuple[str, ...] = ("accepted",)
    """Of our own datasets, which sequences."""
    where: str | None = None
    """Which scenes, as a condition of SQL: "class_name = 'bottle' AND has_cameras"."""
    masks: Path | None = None
    """MVImgNet's masks when their tree is not beside ROOT."""
    overwrite: bool = False
    """Remove shards of other scenes or options that lie in OUT."""
    json: bool = False
    """Print JSON."""


def run(arguments: list[str]) -> int:
    """Pack, and say what was packed."""
    command = parse(ShardCommand, "shard", arguments)
    set_up_logging(verbose=False)
    from walkaround.dataset.readers import Dataset
    from walkaround.dataset.review_writer import take_in_decisions
    from walkaround.dataset.shards.write import write_shards

    take_in_decisions(command.root)
    dataset = Dataset(command.root, statuses=command.statuses, masks=command.masks or "auto")
    if command.where is not None:
        dataset = dataset.query(command.where)
    with progress() as report:
        written = write_shards(
            dataset,
            command.out,
            options=command.packing,
            overwrite=command.overwrite,
            progress=lambda share: report("pack", share),
        )
    if command.json:
        show(json.dumps(dataclasses.asdict(written), indent=2))
        return EXIT_ACCEPTED
    shards = "shard" if written.num_shards == 1 else "shards"
    scenes = "scene" if written.num_scenes == 1 else "scenes"
    size = f"{written.num_bytes / 1e6:,.1f} MB"
    show(f"{written.num_scenes:,} {scenes} in {written.num_shards:,} {shards}, {size}")
    if written.num_with_problems:
        say(f"{written.num_with_problems:,} with broken cameras or records: packed, but without views")
    say(f"shards: {command.out}")
    return EXIT_ACCEPTED
