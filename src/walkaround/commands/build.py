"""``walkaround build``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.cameras.options import CamerasOptions
from walkaround.capture.options import CaptureOptions
from walkaround.cloud.options import CloudOptions
from walkaround.commands.console import exit_code, parse, progress, say_result, set_up_logging, show
from walkaround.dataset.schema import record_to_dict
from walkaround.depth.options import DepthOptions
from walkaround.errors import UsageError
from walkaround.frames.options import FramesOptions
from walkaround.masks.options import MasksOptions
from walkaround.pipeline import BuildOptions
from walkaround.runners.build import build_isolated


@dataclass(frozen=True, kw_only=True)
class BuildCommand:
    """Turn a video or a folder of photos into ROOT/<class label>/<instance id>/."""

    input: Annotated[Path, tyro.conf.Positional]
    """A video, or a folder of photos."""
    out: Path
    """ROOT, the folder of the dataset; made when missing."""
    class_label: str = "unlabelled"
    """What the object is; names the folder of its class."""
    classes: Path | None = None
    """Class table that must know the label: mvimgnet, mvimgnet2, or a CSV file with a column ``label``."""
    num_frames: int | None = None
    """Frames to keep of a video; short for --frames.num-frames."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    overwrite: bool = False
    """Forget what an earlier run of this input left and start afresh."""
    time_limit_s: float = 0.0
    """Stop the build after so many seconds; 0 means no limit. The same command continues it."""
    json: bool = False
    """Print the record on stdout as JSON."""
    verbose: bool = False
    """Log more."""
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    frames: FramesOptions = field(default_factory=FramesOptions)
    cameras: CamerasOptions = field(default_factory=CamerasOptions)
    depth: DepthOptions = field(default_factory=DepthOptions)
    masks: MasksOptions = field(default_factory=MasksOptions)
    cloud: CloudOptions = field(default_factory=CloudOptions)

    def options(self) -> BuildOptions:
        """Return what the pipeline takes."""
        names = {item.name for item in dataclasses.fields(BuildOptions)}
        options = BuildOptions(**{name: getattr(self, name) for name in names})
        if self.num_frames is None:
            return options
        frames = dataclasses.replace(options.frames, num_frames=self.num_frames)
        return dataclasses.replace(options, frames=frames)


def run(arguments: list[str]) -> int:
    """Build one sequence and say what came of it."""
    command = parse(BuildCommand, "build", arguments)
    _check_num_frames(command, arguments)
    set_up_logging(verbose=command.verbose)
    if not command.time_limit_s >= 0:
        raise UsageError(f"--time-limit-s {command.time_limit_s} is out of range: at least 0.")
    with progress() as report:
        record = build_isolated(
            command.input,
            command.out,
            options=command.options(),
            progress=report,
            timeout_s=command.time_limit_s or None,
        )
    if command.json:
        show(json.dumps(record_to_dict(record), indent=2, ensure_ascii=False))
    say_result(record, command.out)
    return exit_code(record)


def _check_num_frames(command: BuildCommand, arguments: list[str]) -> None:
    """Raise UsageError when the short and the long option were given with different numbers."""
    names = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    short, long = command.num_frames, command.frames.num_frames
    if short is not None and short != long and "--frames.num-frames" in names:
        raise UsageError(f"--num-frames {short} and --frames.num-frames {long} contradict; give one of them.")
