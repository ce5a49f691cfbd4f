"""``walkaround import``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from walkaround.commands.console import exit_code, parse, progress, say, set_up_logging, show
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.dataset.schema import record_to_dict


@dataclass(frozen=True, kw_only=True)
class ImportCommand:
    """Take images that come with cameras into a dataset; build depth, masks and cloud on top if wanted.

    Images keep their pixels and lose their names and metadata. docs/exchange.md lists what is read.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A folder (or JSON file) with images and cameras."""
    out: Path
    """ROOT, the folder of the dataset; made when missing."""
    from_: Annotated[
        Literal["auto", "colmap", "transforms", "truth", "arkit", "matrices"], tyro.conf.arg(name="from")
    ] = "auto"
    """The format: transforms is nerfstudio's and instant-ngp's, arkit Polycam's and other scanners'."""
    build: bool = False
    """Go on with depth, masks (unless the source has some), cloud and report."""
    class_label: str = "unlabelled"
    """What the object is; names the folder of its class."""
    instance_id: str | None = None
    """Names the sequence's folder; None takes the first 12 hex digits of a hash of images and cameras."""
    licence: str | None = None
    """The licence of this capture, kept in the record."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads of what is built; 0 means all cores."""
    overwrite: bool = False
    """Forget what an earlier import of the same source left."""
    json: bool = False
    """Print the record as JSON."""
    verbose: bool = False
    """Log more."""
    options: Annotated[ImportOptions, tyro.conf.arg(name="")] = field(default_factory=ImportOptions)


def run(arguments: list[str]) -> int:
    """Import one capture and say what came of it."""
    command = parse(ImportCommand, "import", arguments)
    set_up_logging(verbose=command.verbose)
    from walkaround.importing import import_sequence
    from walkaround.pipeline import BuildOptions, sequence_folder

    build = BuildOptions(
        class_label=command.class_label,
        instance_id=command.instance_id,
        licence=command.licence,
        seed=command.seed,
        threads=command.threads,
        overwrite=command.overwrite,
    )
    with progress() as report:
        record = import_sequence(
            command.source,
            command.out,
            format_name=command.from_,
            options=command.options,
            build=build,
            only_given=not command.build,
            progress=report,
        )
    if command.json:
        show(json.dumps(record_to_dict(record), indent=2, ensure_ascii=False))
    registered = sum(frame.registered for frame in record.frames)
    say(f"{record.status}: {registered} of {len(record.frames)} images with a camera")
    for code in record.reasons:
        say(f"  {code}")
    if record.message:
        say(f"  {record.message}")
    for text in record.warnings:
        say(f"  note: {text}")
    say(f"sequence: {sequence_folder(command.out, record)}")
    return exit_code(record)
