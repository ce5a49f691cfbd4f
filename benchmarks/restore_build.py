"""What taking noise from frames gives a build: ``python benchmarks/restore_build.py --truth DIR --out OUT``.

DIR is a truth folder with ``images/`` (docs/format.md), such as ``truth/bunny`` of the shared captures. The
first photos of it are made smaller, get noise, and are built as they are, with ``--restore.task denoise``,
and, for comparison, without the noise. Prints a row a build: status, cameras registered, their error, mask
IoU (mean and worst), share of the object with measured depth, its median error, cloud F at 1 % and 0.5 %, the
noise that was taken out, and CPU-seconds. What is finished in OUT is not built again; its CPU-seconds are
then small.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from accuracy import commit, machine, working_folder

from walkaround import __version__
from walkaround.dataset.schema import SequenceRecord
from walkaround.pipeline import BuildOptions, build_sequence, sequence_folder
from walkaround.quality.evaluate import Evaluation, evaluate_sequence
from walkaround.restore.options import RestoreFramesOptions

COLUMNS = (
    "frames", "status", "registered", "centre error %", "mask IoU", "worst", "depth cover", "depth error %",
    "F 1 %", "F 0.5 %", "noise removed", "CPU-s",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Build noisy photos with and without restoration."""

    truth: Path
    """Truth folder with images."""
    num_frames: int = 16
    """Photos, the first by name."""
    long_side_px: int = 640
    """Of the photos."""
    sigma: float = 20.0
    """Deviation of the noise, in 8-bit values."""
    restore_sigma: float | None = None
    """Deviation that restoration is told (``--restore.sigma``); it measures the noise when not given."""
    seed: int = 0
    """Of the noise."""
    cases: tuple[str, ...] = ("noisy", "restored", "clean")
    """Which builds."""
    threads: int = 1
    """Of a build."""
    out: Path | None = None
    """Keep photos and datasets here; a temporary folder when not given."""


def main(arguments: Arguments) -> None:
    """Build every case, print one table."""
    cv2.setNumThreads(1)
    print(f"machine: {machine()}; walkaround {__version__}, commit {commit()}; {arguments.num_frames} photos "
          f"of {arguments.truth.name}, {arguments.long_side_px} px, sigma {arguments.sigma:g}")  # fmt: skip
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    with working_folder(arguments.out) as out:
        for case in arguments.cases:
            sigma = 0.0 if case == "clean" else arguments.sigma
            photos = write_photos(arguments, out / f"photos-{sigma:g}", sigma)
            print("| " + " | ".join((case, *run(case, photos, out / case, arguments))) + " |", flush=True)


def write_photos(arguments: Arguments, out: Path, sigma: float) -> Path:
    """Write smaller copies of the photos, with noise."""
    out.mkdir(parents=True, exist_ok=True)
    source = np.random.default_rng(arguments.seed)
    for path in sorted((arguments.truth / "images").iterdir())[: arguments.num_frames]:
        image = cv2.imread(str(path))
        scale = arguments.long_side_px / max(image.shape)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        noisy = small + source.normal(0, sigma, small.shape)
        cv2.imwrite(str(out / f"{path.stem}.png"), np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return out


def run(case: str, photos: Path, root: Path, arguments: Arguments) -> tuple[str, ...]:
    """Build one case and return its part of the row."""
    task = "denoise" if case == "restored" else "none"
    restore = RestoreFramesOptions(task=task, sigma=arguments.restore_sigma)  # type: ignore[arg-type]
    start = time.process_time()
    record = build_sequence(photos, root, options=BuildOptions(threads=arguments.threads, restore=restore))
    seconds = time.process_time() - start
    noise = record.scores.get("noise_sigma")
    return (
        *row_of(record, root, arguments.truth),
        "-" if noise is None else f"{noise:.1f}",
        f"{seconds:.0f}",
    )


def row_of(record: SequenceRecord, root: Path, truth: Path) -> tuple[str, ...]:
    """Return what became of a build, as text."""
    registered = f"{sum(frame.registered for frame in record.frames)} of {len(record.frames)}"
    status = record.status if record.status == "accepted" else f"{record.status}: {', '.join(record.reasons)}"
    if "cameras" not in record.stages or sum(frame.registered for frame in record.frames) < 3:
        return (status, registered, *("-",) * 7)
    return (status, registered, *errors(evaluate_sequence(sequence_folder(root, record), truth)))


def errors(found: Evaluation) -> tuple[str, ...]:
    """Return the numbers of an evaluation as text."""
    masks = (f"{found.masks.iou_mean:.3f}", f"{found.masks.iou_worst:.3f}") if found.masks else ("-", "-")
    depth = ("-", "-")
    if found.depth:
        depth = f"{found.depth.coverage:.3f}", f"{found.depth.median_relative_error_percent:.3f}"
    by_threshold = {score.threshold_percent: f"{score.f_score:.3f}" for score in found.cloud or ()}
    cloud = (by_threshold.get(1.0, "-"), by_threshold.get(0.5, "-"))
    return (f"{found.cameras.centre_median_percent:.3f}", *masks, *depth, *cloud)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
