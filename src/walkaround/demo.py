"""The README's first command: simulate a capture, build it from its video, compare it with the truth."""

from __future__ import annotations

from pathlib import Path

from walkaround.dataset.schema import SequenceRecord
from walkaround.pipeline import (
    BuildOptions,
    BuildProgress,
    build_sequence,
    no_build_progress,
    sequence_folder,
)


def run_demo(
    out: Path, *, seed: int = 0, progress: BuildProgress = no_build_progress
) -> tuple[SequenceRecord, str, Path]:
    """Run the main job on a rendered capture under ``out``.

    Returns
    -------
    tuple
        The sequence's record, the comparison as a table, and the path of the report.
    """
    from walkaround.quality.evaluate import evaluate_sequence, format_evaluation
    from walkaround.simulate import SimulateOptions, simulate_capture

    capture = simulate_capture(
        out / "capture",
        options=SimulateOptions(seed=seed),
        progress=lambda share: progress("simulate", share),
    )
    root = out / "dataset"
    options = BuildOptions(class_label="simulated", seed=seed)
    record = build_sequence(capture.video_path, root, options=options, progress=progress)
    folder = sequence_folder(root, record)
    table = (
        format_evaluation(evaluate_sequence(folder, capture.truth_dir)) if record.frames else record.message
    )
    return record, table, folder / "report.html"
