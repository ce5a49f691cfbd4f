"""The subcommands' options as dataclasses (tyro reads them) and the progress bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.cameras.options import CamerasOptions
from walkaround.capture import CaptureOptions
from walkaround.cloud.options import CloudOptions
from walkaround.depth.options import DepthOptions
from walkaround.frames import FramesOptions
from walkaround.masks.options import MasksOptions
from walkaround.pipeline import BuildOptions, BuildProgress
from walkaround.simulate import SimulateOptions


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
    """CSV table with a column ``label``; the class label must be in it."""
    num_frames: int | None = None
    """Frames to keep of a video; short for --frames.num-frames."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    overwrite: bool = False
    """Forget what an earlier run of this input left and start afresh."""
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


@dataclass(frozen=True, kw_only=True)
class SimulateCommand:
    """Render a hand-held walk-around of a textured object, with its truth beside the video."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write; made when missing."""
    options: Annotated[SimulateOptions, tyro.conf.arg(name="")] = field(default_factory=SimulateOptions)
    verbose: bool = False
    """Log more."""


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Simulate a capture, build it from its video, compare it with the truth."""

    out: Path = Path("demo-output")
    """Folder for the capture and the dataset."""
    seed: int = 0
    """Seed of the simulation and the build."""
    verbose: bool = False
    """Log more."""


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Compare a sequence with the truth: cameras, masks, depth, cloud."""

    sequence: Annotated[Path, tyro.conf.Positional]
    """A sequence folder (it holds sequence.json)."""
    truth: Path
    """A folder in the truth format (docs/format.md)."""
    json: bool = False
    """Print JSON instead of a table."""
    verbose: bool = False
    """Log more."""


@contextmanager
def progress_bars() -> Iterator[BuildProgress]:
    """Show one bar a stage on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)  # type: ignore[arg-type]

        yield report
