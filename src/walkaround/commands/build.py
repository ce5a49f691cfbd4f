"""``walkaround build``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.cameras.options import CamerasOptions
from walkaround.capture.options import CaptureOptions
from walkaround.cloud.options import CloudOptions
from walkaround.commands.board import counts, shown
from walkaround.commands.console import (
    EXIT_ACCEPTED,
    EXIT_DIED,
    EXIT_REJECTED,
    exit_code,
    parse,
    progress,
    say,
    say_result,
    set_up_logging,
    show,
)
from walkaround.commands.status import failure_lines
from walkaround.dataset.classes import load_class_table
from walkaround.dataset.manifest import is_batch, read_captures
from walkaround.dataset.schema import record_to_dict
from walkaround.depth.options import DepthOptions
from walkaround.errors import UsageError
from walkaround.frames.options import FramesOptions
from walkaround.hdr.options import HdrOptions
from walkaround.masks.options import MasksOptions
from walkaround.pipeline import BuildOptions
from walkaround.restore.options import RestoreFramesOptions
from walkaround.runners.build import build_isolated
from walkaround.runners.journal import Outcome
from walkaround.runners.options import BatchOptions, check_batch_options
from walkaround.runners.progress import plain


@dataclass(frozen=True, kw_only=True)
class BuildCommand:
    """Turn a capture, or a whole collection of them, into ROOT/<class label>/<instance id>/."""

    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """A video, a folder of photos or a URL: one capture. A manifest (.csv, .tsv, .parquet) or a folder
    <class>/<video or folder of photos>: a batch."""
    out: Path
    """ROOT, the folder of the dataset; made when missing."""
    class_label: str | None = None
    """What the object is; names the folder of its class. In a batch, for captures that nothing else labels.
    None is ``unlabelled`` for a single capture."""
    classes: Path | None = None
    """Class table that must know the label: mvimgnet, mvimgnet2, or a CSV file with a column ``label``."""
    num_frames: int | None = None
    """Frames to keep of a video; short for --frames.num-frames."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads of a sequence; 0 means all cores, shared out among the sequences of a batch."""
    overwrite: bool = False
    """Forget what an earlier run of this input left and start afresh."""
    instance_id: str | None = None
    """Names the folder of a single capture; None takes the first 12 hex digits of its SHA-256."""
    licence: str | None = None
    """The licence of a single capture; a manifest has a column for it."""
    json: bool = False
    """Print the record on stdout as JSON; of a batch a line a capture, then one with the totals."""
    verbose: bool = False
    """Log more."""
    batch: Annotated[BatchOptions, tyro.conf.arg(name="")] = field(default_factory=BatchOptions)
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    frames: FramesOptions = field(default_factory=FramesOptions)
    hdr: bool = False
    """The capture has alternating exposures: its frames are fused, and later stages work on the result."""
    hdr_options: Annotated[HdrOptions, tyro.conf.arg(name="hdr")] = field(default_factory=HdrOptions)
    restore: RestoreFramesOptions = field(default_factory=RestoreFramesOptions)
    cameras: CamerasOptions = field(default_factory=CamerasOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    masks: MasksOptions = field(default_factory=MasksOptions)
    cloud: CloudOptions = field(default_factory=CloudOptions)

    def options(self) -> BuildOptions:
        """Return what the pipeline takes."""
        names = {item.name for item in dataclasses.fields(BuildOptions)} & vars(self).keys()
        values = {name: getattr(self, name) for name in names}
        if not self.hdr and self.hdr_options != HdrOptions():
            raise UsageError("Options of --hdr were given without --hdr. Add it, or leave them out.")
        values["hdr"] = self.hdr_options if self.hdr else None
        label = "unlabelled" if self.class_label is None else self.class_label
        options = BuildOptions(**{**values, "class_label": label})
        if self.num_frames is None:
            return options
        frames = dataclasses.replace(options.frames, num_frames=self.num_frames)
        return dataclasses.replace(options, frames=frames)


def run(arguments: list[str]) -> int:
    """Build one sequence or many, and say what came of it."""
    command = parse(BuildCommand, "build", arguments)
    _check_num_frames(command, arguments)
    check_batch_options(command.batch)
    if is_batch(command.input):
        return run_batch(command)
    if command.batch.runner != "local":
        raise UsageError(
            f"--runner {command.batch.runner} is for a batch, and {command.input} is one capture. "
            "Give a manifest or a folder of class folders, or leave --runner out."
        )
    set_up_logging(verbose=command.verbose)
    with progress() as report:
        record = build_isolated(
            command.input,
            command.out,
            options=command.options(),
            progress=report,
            timeout_s=command.batch.time_limit_s or None,
            stage_timeout_s=command.batch.stage_time_limit_s or None,
            memory_limit_mb=command.batch.memory_limit_mb or None,
        )
    if command.json:
        show(json.dumps(record_to_dict(record), indent=2, ensure_ascii=False))
    say_result(record, command.out)
    return exit_code(record)


def run_batch(command: BuildCommand) -> int:
    """Build every capture of a manifest or tree, show how far it is, and sum up.

    Returns 0 when all captures are accepted, 3 when some are rejected, 1 when some failed.
    """
    from walkaround.dataset.rows import CATALOG_NAME
    from walkaround.runners.batch import build_batch

    set_up_logging(verbose=command.verbose, stage_lines=False)
    for name in ("instance_id", "licence"):
        if getattr(command, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for one capture; in a manifest, a column {name} says it."
            )
    classes = load_class_table(command.classes) if command.classes is not None else None
    entries = read_captures(command.input, class_label=command.class_label, classes=classes)
    options = dataclasses.replace(command.options(), classes=None)  # the labels are checked
    with shown() as show_progress:
        result = build_batch(
            entries,
            command.out,
            options=command.batch,
            build=options,
            classes=classes,
            progress=show_progress,
            report=_print_outcome if command.json else None,
        )
    snapshot = result.snapshot
    if command.json:
        show(json.dumps({"total": plain(snapshot)}))
    before = f", {snapshot.skipped} of them before" if snapshot.skipped else ""
    say(f"{snapshot.done} of {snapshot.total} captures{before}: {counts(snapshot)}")
    names = {entry.key: entry.source for entry in entries}
    for line in failure_lines(result.failed, command.out, names):
        say(line)
    catalogue = command.out / CATALOG_NAME
    say(f"catalogue: {catalogue}" if catalogue.is_file() else f"{command.out} holds no sequences yet.")
    return EXIT_DIED if snapshot.failed else EXIT_REJECTED if snapshot.rejected else EXIT_ACCEPTED


def _print_outcome(outcome: Outcome) -> None:
    values = dataclasses.asdict(outcome)
    del values["fingerprint"]
    show(json.dumps(values, ensure_ascii=False))
    sys.stdout.flush()


def _check_num_frames(command: BuildCommand, arguments: list[str]) -> None:
    """Raise UsageError when the short and the long option were given with different numbers."""
    names = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    short, long = command.num_frames, command.frames.num_frames
    if short is not None and short != long and "--frames.num-frames" in names:
        raise UsageError(f"--num-frames {short} and --frames.num-frames {long} contradict; give one of them.")
