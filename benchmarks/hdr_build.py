"""What HDR gives a build: ``python benchmarks/hdr_build.py``.

Renders walk-arounds of glossy objects in hard light with alternating exposures, builds each with ``--hdr``,
and once from the frames of each single exposure alone, which the camera would have filmed had it never
changed it. Of 60 rendered frames with two exposures all builds keep 30. Prints one row a build: status,
cameras registered, their error, mask IoU, cloud F at 1 %, and CPU-seconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import tyro
from accuracy import commit, machine, working_folder

from walkaround import __version__
from walkaround.hdr.options import HdrOptions
from walkaround.io.atomic import write_json
from walkaround.io.video_write import write_mp4
from walkaround.pipeline import BuildOptions, build_sequence, sequence_folder
from walkaround.quality.evaluate import evaluate_sequence
from walkaround.simulate import SimulateOptions, simulate_capture

COLUMNS = (
    "object",
    "frames",
    "status",
    "registered",
    "centre error %",
    "mask IoU",
    "worst",
    "F 1 %",
    "CPU-s",
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Build from fused frames and from single exposures."""

    objects: tuple[str, ...] = ("vase", "figurine", "mug")
    """Of the simulator."""
    exposures_ev: tuple[float, ...] = (0.0, 4.0)
    """One period."""
    contrast_ev: float = 6.0
    """Of the key light."""
    gloss: float = 0.5
    """Of the object."""
    exposure: float = 0.12
    """Brightness of the shortest exposure."""
    num_frames: int = 60
    """Rendered frames."""
    size: tuple[int, int] = (960, 540)
    """Of the video."""
    seed: int = 0
    """Of the scene."""
    given: bool = False
    """Give the build the exposures (--hdr.exposures) instead of letting it find them."""
    threads: int = 2
    """Of a build."""
    out: Path | None = None
    """Keep captures and datasets here; a temporary folder when not given."""


@dataclass(frozen=True)
class Case:
    """One build."""

    name: str
    video: Path
    truth: Path
    hdr: bool


def main(arguments: Arguments) -> None:
    """Build every case, print one table."""
    print(f"machine: {machine()}; walkaround {__version__}, commit {commit()}")
    print(json.dumps({k: v for k, v in dataclasses.asdict(arguments).items() if k != "out"}))
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    with working_folder(arguments.out) as out:
        for name in arguments.objects:
            for case in cases(arguments, name, out / name):
                row = run(case, out / name / "roots" / case.name, arguments)
                print("| " + " | ".join((name, case.name, *row)) + " |", flush=True)


def cases(arguments: Arguments, name: str, out: Path) -> Iterator[Case]:
    """Yield the alternating clip, then the frames of each exposure as a clip of its own."""
    options = SimulateOptions(
        object=name,
        seed=arguments.seed,
        num_frames=arguments.num_frames,
        size=arguments.size,
        gloss=arguments.gloss,
        exposure=arguments.exposure,
        contrast_ev=arguments.contrast_ev,
        exposures_ev=arguments.exposures_ev,
    )
    capture = simulate_capture(out / "sim", options=options, overwrite=True)
    yield Case("fused", capture.video_path, capture.truth_dir, True)
    for phase, ev in enumerate(arguments.exposures_ev):
        folder = single_exposure(capture.truth_dir, out / f"phase{phase}", phase, options)
        yield Case(f"only {ev:g} EV", folder / "capture.mp4", folder, False)


def single_exposure(truth: Path, out: Path, phase: int, options: SimulateOptions) -> Path:
    """Write a video of the frames of one exposure, with its truth."""
    record: dict[str, Any] = json.loads((truth / "cameras.json").read_text())
    period = len(options.exposures_ev)
    kept = [frame for frame in record["frames"] if frame["source_index"] % period == phase]
    for number, frame in enumerate(kept):
        frame["source_index"] = number
    out.mkdir(parents=True, exist_ok=True)
    for name in ("masks", "depth", "mesh.ply"):
        if not (out / name).exists():
            (out / name).symlink_to(truth / name)
    write_json(out / "cameras.json", {**record, "frames": kept})
    rate = options.num_frames / options.duration_s / period
    pictures = (cv2.imread(str(truth / "images" / frame["image"]))[..., ::-1] for frame in kept)
    write_mp4(out / "capture.mp4", pictures, frame_rate=rate, crf=options.crf)
    return out


def run(case: Case, root: Path, arguments: Arguments) -> tuple[str, ...]:
    """Build one case and return its part of the row."""
    exposures = ",".join(f"{ev:g}" for ev in arguments.exposures_ev) if arguments.given else "auto"
    hdr = HdrOptions(exposures=exposures) if case.hdr else None
    options = BuildOptions(threads=arguments.threads, hdr=hdr)
    start = time.process_time()
    record = build_sequence(case.video, root, options=options)
    seconds = f"{time.process_time() - start:.0f}"
    registered = f"{sum(frame.registered for frame in record.frames)} of {len(record.frames)}"
    status = record.status if record.status == "accepted" else f"{record.status}: {', '.join(record.reasons)}"
    if not record.frames or "masks" not in record.stages:
        return (status, registered, "-", "-", "-", "-", seconds)
    found = evaluate_sequence(sequence_folder(root, record), case.truth)
    return (status, registered, *scores(found), seconds)


def scores(found: Any) -> tuple[str, ...]:
    """Return the numbers of an evaluation as text."""
    error = f"{found.cameras.centre_median_percent:.3f}" if found.cameras else "-"
    masks = (f"{found.masks.iou_mean:.3f}", f"{found.masks.iou_worst:.3f}") if found.masks else ("-", "-")
    cloud = f"{found.cloud[-1].f_score:.3f}" if found.cloud else "-"
    return (error, *masks, cloud)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
