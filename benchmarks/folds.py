"""Folded models: ``python benchmarks/folds.py --plain``.

Renders objects that look the same from 2 to 4 sides, before a plain background, and gives every second frame,
shuffled, to the cameras stage as photos in no order; nothing but the light tells the sides apart. Prints how
many cameras are right (centre within 5 % of the distance to the object, after the similarity that puts most
of them right), with pairs compared in light and without, and with ``--plain`` COLMAP with its defaults.
``--video`` gives the frames in their order instead.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import tyro
from accuracy import commit, machine
from cameras import plain_colmap

from walkaround.cameras import CamerasOptions, estimate, estimate_cameras, light
from walkaround.errors import SequenceRejected
from walkaround.geometry import umeyama
from walkaround.quality.rules import judge
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.types import FloatArray, Frame, SparseModel

OBJECTS = {
    "vase of 2 sides": SimulateOptions(object="vase", symmetry=2, seed=1),
    "vase of 4 sides": SimulateOptions(object="vase", symmetry=4, seed=2),
    "blob of 2 sides": SimulateOptions(object="blob", symmetry=2, seed=3),
    "mug of 3 sides": SimulateOptions(object="mug", symmetry=3, seed=4),
}
RIGHT = 0.05


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure how symmetric objects are solved."""

    size: tuple[int, int] = (640, 480)
    seed: int = 0
    """Added to the seeds of the objects."""
    video: bool = False
    """Frames in order instead of shuffled photos."""
    compare: bool = True
    """Without light, too."""
    plain: bool = False
    """Also run COLMAP's defaults."""
    threads: int = 2


def main(arguments: Arguments) -> None:
    """Run everything and print one table."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; commit {commit()}")
    hows = ["video"] if arguments.video else ["light", "no light"][: 1 + arguments.compare]
    hows += ["COLMAP"] if arguments.plain else []
    for name, options in OBJECTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder, frames, truth = photos(arguments, options, Path(scratch))
            for how in hows:
                start = time.process_time()
                work = Path(scratch) / how
                work.mkdir()
                print(f"{name:18}{how:10}{solve(how, folder, frames, truth, arguments, work)}; "
                      f"{time.process_time() - start:.0f} CPU-s", flush=True)  # fmt: skip


def photos(
    arguments: Arguments, options: SimulateOptions, scratch: Path
) -> tuple[Path, tuple[Frame, ...], dict[str, FloatArray]]:
    """Render an object; return the folder of photos, the frames, and ``cam_from_world`` by image."""
    values = vars(options) | {
        "size": arguments.size, "table": "plain", "plain_background": True,
        "seed": options.seed + arguments.seed,
    }  # fmt: skip
    capture = simulate_capture(scratch / "capture", options=SimulateOptions(**values))
    records = json.loads((capture.truth_dir / "cameras.json").read_text())["frames"][::2]
    if not arguments.video:
        random.Random(5).shuffle(records)
    folder = scratch / "photos"
    folder.mkdir()
    frames, truth = [], {}
    for number, record in enumerate(records):
        image = f"{number + 1:03d}.jpg"
        picture = cv2.imread(str(capture.image_dir / record["image"]))
        cv2.imwrite(str(folder / image), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        frames.append(Frame(index=number + 1, image=image, source_index=number, timestamp_s=None))
        truth[image] = np.array(record["cam_from_world"])
    return folder, tuple(frames), truth


def solve(
    how: str,
    folder: Path,
    frames: tuple[Frame, ...],
    truth: dict[str, FloatArray],
    arguments: Arguments,
    scratch: Path,
) -> str:
    """Estimate the cameras and say how many are right."""
    if how == "COLMAP":
        model = plain_colmap(folder, frames, scratch, arguments.threads)
        return f"{count_right(model, truth)} of {len(frames)} right, {len(model.views)} placed"
    lights = light.read_lights if how != "no light" else lambda *_: {}
    with mock.patch.object(estimate, "read_lights", lights):
        try:
            result = estimate_cameras(
                folder, frames, focal_prior_px=None, ordered=arguments.video, scratch_dir=scratch,
                options=CamerasOptions(), num_threads=arguments.threads,
            )  # fmt: skip
        except SequenceRejected as rejected:
            return rejected.reason
    scores = result.scores
    status, reasons = judge(scores)
    conflict = scores.get("light_conflict", float("nan"))  # none where no light was read
    return (
        f"{count_right(result.model, truth)} of {len(frames)} right, {len(result.model.views)} placed, "
        f"{status} {' '.join(reasons)} (consistency {scores['camera_consistency']:.2f}, light conflict "
        f"{conflict:.2f}, arc {scores['arc_deg']:.0f}, {result.notes['chosen']})"
    )


def count_right(model: SparseModel, truth: dict[str, FloatArray]) -> int:
    """Cameras in place after the best of many similarities through four of them."""
    poses = np.array([truth[view.frame.image] for view in model.views])
    wanted = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    found = np.array([view.centre for view in model.views])
    reach = np.linalg.norm(wanted - wanted.mean(axis=0), axis=1).mean()
    rng = np.random.default_rng(0)
    best = 0
    for _ in range(500):
        chosen = rng.choice(len(found), min(4, len(found)), replace=False)
        fit = umeyama(wanted[chosen], found[chosen])
        best = max(best, int((np.linalg.norm(fit.apply(found) - wanted, axis=1) < RIGHT * reach).sum()))
    return best


if __name__ == "__main__":
    main(tyro.cli(Arguments))
