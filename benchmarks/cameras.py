"""Accuracy and time of the cameras stage: ``python benchmarks/cameras.py --data DIR --seeds 10``.

Each run is a process of its own. Errors are those of camera centres in percent of the cameras' mean
distance to the point they look at, after a robust similarity alignment with the truth or reference.
``--plain`` adds COLMAP with its defaults (SIFT, exhaustive, incremental) in the same run, for the ratio.
``--captures DIR ...`` runs folders of photos without truth; ``--every 3`` keeps every third image, which
makes any set hard; ``--plots DIR`` draws cameras and points from above, for the eye.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro

from walkaround.cameras import CamerasOptions, estimate_cameras
from walkaround.cameras.normalise import look_at_point
from walkaround.errors import SequenceRejected
from walkaround.geometry import robust_similarity
from walkaround.io.colmap import from_reconstruction, load_pycolmap
from walkaround.types import FloatArray, Frame, SparseModel

IMAGES = (".png", ".jpg", ".jpeg")
SETS = ("bunny", "apple", "skull", "real_plant", "banana")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the cameras stage."""

    data: Path
    """The folder of test data (truth/bunny, captures/...)."""
    seeds: int = 1
    """Runs of truth/bunny, with seeds 0, 1, ..."""
    sets: tuple[str, ...] = SETS
    """Which sets to run; the others run once, with seed 0."""
    captures: tuple[Path, ...] = ()
    """Folders of photos to run besides."""
    every: int = 1
    """Keep every so many images."""
    learned: str = "auto"
    """As ``--cameras.learned``."""
    max_attempts: int = CamerasOptions.max_attempts
    """As ``--cameras.max-attempts``."""
    plots: Path | None = None
    """A folder for a top view (SVG) of each result."""
    plain: bool = False
    """Also run COLMAP's defaults on each set."""
    as_photos: bool = False
    """Take every set as a folder of photos, whose order is not to be relied on."""
    threads: int = 2
    worker: tuple[str, ...] = field(default=())
    """For this program's own use: set, seed, ``stage`` or ``plain``."""


def main(arguments: Arguments) -> None:
    """Run everything and print one table."""
    if arguments.worker:
        print(json.dumps(run_one(arguments)))
        return
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"{'set':12}{'how':8}{'seed':>5}{'frames':>9}{'median %':>10}{'worst %':>9}{'rot deg':>9}", end="")
    print(f"{'consist.':>10}{'error px':>10}{'models':>8}{'wall s':>8}{'CPU s':>8}  attempt")
    rows: list[dict[str, Any]] = []
    for name in (*arguments.sets, *map(str, arguments.captures)):
        for seed in range(arguments.seeds if name == "bunny" else 1):
            for how in ("stage", "plain") if arguments.plain and seed == 0 else ("stage",):
                row = spawn(arguments, name, seed, how)
                rows.append(row)
                print_row(row)
    bunny = [row for row in rows if row["set"] == "bunny" and row["how"] == "stage"]
    if len(bunny) > 1:
        right = sum(
            r["registered"] == r["frames"] and r["median"] <= 0.3 and r["worst"] <= 1.0 for r in bunny
        )
        print(f"bunny: {right} of {len(bunny)} runs right, median wall "
              f"{statistics.median(r['wall'] for r in bunny):.1f} s")  # fmt: skip


def print_row(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    print(
        f"{row['set'][-22:]:12}{row['how']:8}{row['seed']:5d}{row['registered']:5d}/{row['frames']:<3d}"
        f"{row['median']:10.3f}{row['worst']:9.3f}{row['rotation']:9.3f}{row['consistency']:10.2f}"
        f"{row['error']:10.2f}{row['models']:8.0f}"
        f"{row['wall']:8.1f}{row['cpu']:8.1f}  {row['attempt']}",
        flush=True,
    )


def spawn(arguments: Arguments, name: str, seed: int, how: str) -> dict[str, Any]:
    """Run one set in a process of its own and add its time."""
    command = [sys.executable, __file__, "--data", str(arguments.data), "--threads", str(arguments.threads)]
    command += ["--as-photos"] if arguments.as_photos else []
    command += ["--every", str(arguments.every), "--learned", arguments.learned]
    command += ["--max-attempts", str(arguments.max_attempts)]
    command += ["--plots", str(arguments.plots)] if arguments.plots else []
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [*command, "--worker", name, str(seed), how], stdout=subprocess.PIPE, text=True, check=True
    )
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**row, "wall": time.perf_counter() - start, "cpu": cpu}


def run_one(arguments: Arguments) -> dict[str, Any]:
    """Estimate the cameras of one set and compare them with its truth."""
    name, seed, how = arguments.worker[0], int(arguments.worker[1]), arguments.worker[2]
    with tempfile.TemporaryDirectory() as scratch:
        options = CamerasOptions(learned=arguments.learned, max_attempts=arguments.max_attempts)
        folder, frames, ordered, truth = load_set(arguments.data, name, Path(scratch))
        frames = tuple(
            replace(frame, index=i + 1, source_index=i) for i, frame in enumerate(frames[:: arguments.every])
        )
        row: dict[str, Any] = {"set": name, "seed": seed, "how": how, "frames": len(frames)}
        row |= {"registered": 0, "median": np.nan, "worst": np.nan, "rotation": np.nan, "consistency": 0.0}
        row |= {"error": np.nan, "models": 0}
        if how == "plain":
            model, attempt = plain_colmap(folder, frames, Path(scratch), arguments.threads), "COLMAP defaults"
        else:
            try:
                result = estimate_cameras(
                    folder, frames, focal_prior_px=None, ordered=ordered and not arguments.as_photos,
                    scratch_dir=Path(scratch), options=options, seed=seed, num_threads=arguments.threads,
                )  # fmt: skip
            except SequenceRejected as rejected:
                return {**row, "attempt": rejected.reason}
            model, attempt = result.model, result.notes["chosen"]
            row["consistency"] = result.scores["camera_consistency"]
            row["error"] = result.scores["reprojection_error_px"]
            row["models"] = result.scores["num_models"]
            attempt += f" (joined {len(result.notes['merged'])} models)" if result.notes["merged"] else ""
            if arguments.plots:
                arguments.plots.mkdir(parents=True, exist_ok=True)
                draw_top_view(
                    model, arguments.plots / f"{'-'.join(Path(name).parts[-2:])}-{arguments.every}-{how}.svg"
                )
    return {**row, "registered": len(model.views), "attempt": attempt, **compare(model, truth)}


def compare(model: SparseModel, truth: dict[str, FloatArray]) -> dict[str, float]:
    """Centre errors (percent) and median rotation error (degrees) against ``cam_from_world`` by image."""
    views = [view for view in model.views if view.frame.image in truth]
    if len(views) < 4:
        return {}
    poses = np.array([truth[view.frame.image] for view in views])
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    target = look_at_point(centres, poses[:, 2, :3], np.zeros((0, 3)))
    distance = np.linalg.norm(centres - target, axis=1).mean()
    fit = robust_similarity(centres, np.array([view.centre for view in views]))
    error = 100 * np.linalg.norm(fit.apply(np.array([v.centre for v in views])) - centres, axis=1) / distance
    mine = np.array([fit.apply_pose(view.cam_from_world)[:3, :3] for view in views])
    traces = np.einsum("nij,nij->n", mine, poses[:, :3, :3])
    angles = np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1)))
    return {
        "median": float(np.median(error)),
        "worst": float(error.max()),
        "rotation": float(np.median(angles)),
    }


def draw_top_view(model: SparseModel, path: Path) -> None:
    """Write an SVG of the points and the cameras (places, directions, numbers) from above, +-3 radii."""
    points = model.points_in_world[np.linalg.norm(model.points_in_world[:, :2], axis=1) < 3][:4000, :2]
    marks = [f'<circle cx="{x:.3f}" cy="{-y:.3f}" r="0.008" fill="#888"/>' for x, y in points]
    for view in model.views:
        (x, y), (dx, dy) = view.centre[:2], 0.25 * view.cam_from_world[2, :2]
        marks.append(f'<path d="M{x:.3f} {-y:.3f}l{dx:.3f} {-dy:.3f}" stroke="#c00" stroke-width="0.02"/>')
        marks.append(f'<text x="{x:.3f}" y="{-y:.3f}" font-size="0.13">{view.frame.index}</text>')
    view_box = 'viewBox="-3 -3 6 6" width="600" height="600"'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {view_box}>{"".join(marks)}</svg>')


def plain_colmap(folder: Path, frames: tuple[Frame, ...], scratch: Path, threads: int) -> SparseModel:
    """COLMAP with its defaults: 8192 SIFT features, exhaustive pairs, incremental mapper, largest model."""
    pycolmap = load_pycolmap()
    database = scratch / "plain.db"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = threads
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    mapping = pycolmap.IncrementalPipelineOptions()
    mapping.num_threads = threads
    names = [frame.image for frame in frames]
    pycolmap.extract_features(database, folder, names, extraction_options=extraction)
    pycolmap.match_exhaustive(database, matching)
    (scratch / "plain").mkdir()
    found = pycolmap.incremental_mapping(database, folder, scratch / "plain", mapping)
    best = max(found.values(), key=lambda rec: rec.num_reg_images())
    return from_reconstruction(best, frames)


def load_set(
    data: Path, name: str, scratch: Path
) -> tuple[Path, tuple[Frame, ...], bool, dict[str, FloatArray]]:
    """Return the image folder, the frames, whether they are ordered, and the truth by image."""
    truth: dict[str, FloatArray] = {}
    if name == "bunny":
        folder = data / "truth" / "bunny" / "images"
        for frame in json.loads((folder.parent / "cameras.json").read_text())["frames"]:
            truth[frame["image"]] = np.array(frame["cam_from_world"])
    elif name == "apple":
        folder = video_frames(data / "captures" / "apple.mp4", scratch / "apple", 30)
    else:
        folder = data / "captures" / name  # or a path of its own
        reference = folder / "reference.json"
        if reference.exists():
            for frame in json.loads(reference.read_text())["frames"]:
                truth[frame["image"]] = from_wxyz(frame["cam_from_world_wxyz"], frame["cam_from_world_xyz"])
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in IMAGES)
    frames = tuple(
        Frame(index=i + 1, image=image, source_index=i, timestamp_s=None) for i, image in enumerate(names)
    )
    return folder, frames, name in ("bunny", "apple"), truth


def video_frames(video: Path, folder: Path, count: int) -> Path:
    """Write ``count`` evenly spaced frames of a video."""
    import av

    folder.mkdir(parents=True)
    with av.open(str(video)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for number, index in enumerate(np.linspace(0, len(images) - 1, count).round().astype(int)):
        cv2.imwrite(str(folder / f"{number + 1:03d}.jpg"), images[index], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder


def from_wxyz(wxyz: list[float], xyz: list[float]) -> FloatArray:
    """Return ``cam_from_world`` (4x4) of a quaternion and a translation."""
    w, x, y, z = np.array(wxyz) / np.linalg.norm(wxyz)
    out = np.eye(4)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, 3] = xyz
    return out


if __name__ == "__main__":
    main(tyro.cli(Arguments))
