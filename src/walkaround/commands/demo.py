"""``walkaround demo``: simulate a capture, build it from its video, compare it with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.commands.console import exit_code, parse, progress, say_result, set_up_logging, show
from walkaround.pipeline import BuildOptions, sequence_folder
from walkaround.quality.evaluate import evaluate_sequence, format_evaluation
from walkaround.runners.build import build_isolated
from walkaround.simulate import SimulateOptions, simulate_capture


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Simulate a capture, build it from its video, compare it with the truth."""

    out: Path = Path("demo-output")
    """Folder for the capture and the dataset."""
    seed: int = 0
    """Seed of the simulation and the build."""
    overwrite: bool = False
    """Replace a capture that was made with another seed."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Run the main job on a rendered capture and print how near it came to the truth."""
    command = parse(DemoCommand, "demo", arguments)
    set_up_logging(verbose=command.verbose)
    root = command.out / "dataset"
    with progress() as report:
        capture = simulate_capture(
            command.out / "capture",
            options=SimulateOptions(seed=command.seed),
            overwrite=command.overwrite,
            progress=lambda share: report("simulate", share),
        )
        options = BuildOptions(class_label="simulated", seed=command.seed)
        record = build_isolated(capture.video_path, root, options=options, progress=report)
    if sum(frame.registered for frame in record.frames) >= 3:  # fewer cannot be aligned with the truth
        show(format_evaluation(evaluate_sequence(sequence_folder(root, record), capture.truth_dir)))
    say_result(record, root)
    return exit_code(record)
