"""Render a walk-around whose truth is known, build it from its video, and see how near the result comes.

Run: ``python examples/01_simulate_and_evaluate.py --out example-output`` (about two minutes on two cores).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from walkaround.pipeline import BuildOptions, build_sequence, sequence_folder
from walkaround.quality.evaluate import evaluate_sequence, format_evaluation
from walkaround.simulate import SimulateOptions, simulate_capture


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Simulate, build, evaluate."""

    out: Path = Path("example-output")
    """Folder for the capture and the dataset."""
    object: str = "mug"
    """vase, blob, mug, figurine or plant."""
    num_frames: int = 60
    """Frames of the video."""
    size: tuple[int, int] = (960, 540)
    """Width and height of the video in pixels."""


def main(arguments: Arguments) -> None:
    """Print the comparison and where to look."""
    simulation = SimulateOptions(
        object=arguments.object, num_frames=arguments.num_frames, size=arguments.size
    )
    capture = simulate_capture(arguments.out / "capture", options=simulation)

    root = arguments.out / "dataset"
    record = build_sequence(capture.video_path, root, options=BuildOptions(class_label=arguments.object))
    folder = sequence_folder(root, record)
    print(f"{record.status} {' '.join(record.reasons)}: {folder / 'report.html'}")

    if sum(frame.registered for frame in record.frames) >= 3:
        print(format_evaluation(evaluate_sequence(folder, capture.truth_dir)))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
