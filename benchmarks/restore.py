"""Restoration on the nine pictures of Set9: ``python benchmarks/restore.py --data DATA --work WORK``.

DATA is the folder of captures with ``restore/set9``. Each picture, task and seed is one line of
``WORK/rows.jsonl``; a run goes on where an earlier one was cut off, and prints the table of all lines there.
PSNR is of 0..1, clipped; of luminance where the table says Y. One thread; the seconds are CPU time of the
process, with everything: classical estimates, learning, drawing.

Tasks: denoise (sigma 25, clipped to 0..1 as in the paper), inpaint50 (half of the pixels missing), text
(words over it), hole (50 x 40 pixels, by the prior), upscale (x4, Lanczos; upscale-lanczos3 and
upscale-area: made smaller otherwise than is thought), gaussian (1.6 px) and
motion (15 px, 30 degrees) blur with noise of sigma 2, dejpeg (quality 10). ``depth`` removes 30 % of the
depth of the bunny, or of simulated objects (``--scenes``), in blobs and fills it. ``paper`` lets
the network of the paper denoise a crop beside ours, to the last iteration, and tells its best average, the
last, and that of least variance (ES-WMV).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from accuracy import commit, machine

from walkaround.geometry.completion import complete_depth
from walkaround.restore.classical import fill_missing, nlm
from walkaround.restore.deblur import deblur_by_pairs
from walkaround.restore.dejpeg import dejpeg_by_pairs
from walkaround.restore.denoise import denoise_by_pairs
from walkaround.restore.inpaint import fill_hole, inpaint_by_pairs
from walkaround.restore.jpeg import read_tables
from walkaround.restore.measure import psnr_db
from walkaround.restore.operators import Convolution, Downsample, Identity, gaussian_kernel, motion_kernel
from walkaround.restore.options import PairsOptions, PriorOptions
from walkaround.restore.picture import read_picture
from walkaround.restore.plate import fill_smooth
from walkaround.restore.resample import bicubic
from walkaround.restore.solver import Step, solve_prior
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.upscale import LOBES, luminance, upscale_by_pairs
from walkaround.types import Float32Array

Numbers = dict[str, float]
SIGMA, BLUR_SIGMA = 25 / 255, 2 / 255


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure restoration."""

    data: Path
    """Folder of the shared captures."""
    work: Path
    """Keep rows and pictures here."""
    tasks: tuple[str, ...] = ("denoise", "upscale", "inpaint50", "dejpeg", "gaussian", "motion", "text")
    """Which tasks."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the damage and of the method."""
    images: tuple[str, ...] = ()
    """Parts of names of pictures; all when not given."""
    crop: int = 0
    """Only the middle, so many pixels a side; 0 for all of it."""
    paper_iterations: int = 3000
    """Of the paper's network in the task ``paper``."""
    paper_crop: int = 256
    """Of the task ``paper``."""
    scenes: tuple[Path, ...] = ()
    """Of the task ``depth``: folders with ``depth`` and ``images``, as ``walkaround simulate`` writes them;
    ``truth/bunny`` of DATA when not given."""
    only_print: bool = False
    """Print the table of the rows that are there."""


def main(arguments: Arguments) -> None:
    """Measure what is not measured yet, then print."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = arguments.work / "rows.jsonl"
    print(f"{machine()}; commit {commit()}; torch {torch.__version__}; one thread")
    done = {key_of(row) for row in read_rows(rows)}
    for seed in () if arguments.only_print else arguments.seeds:
        if "depth" in arguments.tasks:
            for folder in arguments.scenes or (arguments.data / "truth" / "bunny",):
                depth_rows(folder, seed)
        for task in (task for task in arguments.tasks if task != "depth"):
            for path in pictures(arguments):
                key = (task, path.stem, seed, arguments.crop)
                if key not in done:
                    row = dict(zip(("task", "image", "seed", "crop"), key, strict=True))
                    row.update(measure(task, path, seed, arguments), commit=commit())
                    with rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(json.dumps(row), flush=True)
    print_table(read_rows(rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines there are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a line is about."""
    return row["task"], row["image"], row["seed"], row["crop"]


def depth_rows(folder: Path, seed: int) -> None:
    """Print the error of linear and of guided filling, of every view of a scene, in thousandths of a unit."""
    table = [depth_view(folder, path.stem, seed) for path in sorted((folder / "depth").glob("*.npz"))]
    for name, column in zip(
        ("mean absolute", "median", "root mean square"),
        np.array(table)[:, :3].transpose(1, 2, 0),
        strict=True,
    ):
        linear, guided = column
        print(f"depth of {folder.name}, {name} error in 1/1000: linear {linear.mean():.3f}, guided "
              f"{guided.mean():.3f}; ratio {guided.mean() / linear.mean():.2f}, of {len(table)} views "
              f"{np.min(guided / linear):.2f} to {np.max(guided / linear):.2f}")  # fmt: skip
    seconds = np.array(table)[:, 3]
    print(f"depth of {folder.name}, CPU s a view: linear {seconds[:, 0].mean():.2f}, guided "
          f"{seconds[:, 1].mean():.2f}, at most {seconds[:, 1].max():.2f}")  # fmt: skip


def depth_view(folder: Path, stem: str, seed: int) -> list[list[float]]:
    """Return (linear, guided) of three errors and of the CPU time."""
    depth = np.load(folder / "depth" / f"{stem}.npz")["depth"]
    image = cv2.imread(str(next((folder / "images").glob(f"{stem}.*"))))[..., ::-1]
    valid, blobs = depth > 0, np.zeros(depth.shape, np.uint8)
    source, places = np.random.default_rng((seed, int(stem))), np.argwhere(depth > 0)
    while (blobs[valid] > 0).mean() < 0.3:
        row, column = (int(value) for value in places[source.integers(len(places))])
        axes = (int(source.integers(5, 20)), int(source.integers(5, 20)))
        cv2.ellipse(blobs, (column, row), axes, float(source.random() * 180), 0, 360, 1, -1)
    holes = (blobs > 0) & valid
    known = valid & ~holes
    times = [time.process_time()]
    linear = fill_missing(depth[..., None], known)[..., 0]
    times.append(time.process_time())
    guided = complete_depth(np.where(known, depth, 0), known, holes, np.ascontiguousarray(image))
    times.append(time.process_time())
    errors = [1000 * np.abs(filled - depth)[holes] for filled in (linear, guided)]
    measures = (np.mean, np.median, lambda e: np.sqrt(np.square(e).mean()))
    return [[float(measure(error)) for error in errors] for measure in measures] + [np.diff(times).tolist()]


def pictures(arguments: Arguments) -> list[Path]:
    """Return the pictures asked for."""
    paths = sorted((arguments.data / "restore" / "set9").glob("*.png"))
    return [p for p in paths if not arguments.images or any(name in p.stem for name in arguments.images)]


def psnr(image: Float32Array, truth: Float32Array, *, grey: bool = False) -> float:
    """Return dB; of luminance with ``grey``."""
    if grey:
        image, truth = (to_array(luminance(to_tensor(a))) for a in (np.clip(image, 0, 1), truth))
    return psnr_db(image, truth)


def middle(image: Float32Array, side: int) -> Float32Array:
    """Return the middle square."""
    top, left = ((size - min(side, size)) // 2 for size in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side]) if side else image


def measure(task: str, path: Path, seed: int, arguments: Arguments) -> Numbers:
    """Damage one picture, restore it, compare."""
    truth = middle(read_picture(path).image, arguments.crop)
    noise = np.random.default_rng(seed).standard_normal(truth.shape).astype(np.float32)
    if task == "paper":
        return paper(middle(truth, arguments.paper_crop), seed, arguments)
    make = TASKS[task]
    return make(truth, noise, seed, arguments.work / f"{task}-{path.stem}-{seed}.png")


def finish(
    truth: Float32Array,
    before: Numbers,
    restore: Callable[[], Float32Array],
    picture: Path,
    grey: bool = False,
) -> Numbers:
    """Time a restoration and keep its picture."""
    began = time.process_time()
    image = restore()
    seconds = round(time.process_time() - began, 1)
    cv2.imwrite(str(picture), np.clip(image[..., ::-1] * 255 + 0.5, 0, 255).astype(np.uint8))
    return {**before, "ours": psnr(image, truth, grey=grey), "cpu_s": seconds}


def denoise(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Noise of sigma 25."""
    image = np.clip(truth + SIGMA * noise, 0, 1)
    began = time.process_time()
    classical = psnr(nlm(image, SIGMA), truth)
    before = {
        "input": psnr(image, truth),
        "nlm": classical,
        "nlm_cpu_s": round(time.process_time() - began, 1),
    }
    restore = lambda: denoise_by_pairs(image, SIGMA, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, before, restore, picture)


def inpaint(truth: Float32Array, missing: np.ndarray, seed: int, picture: Path) -> Numbers:
    """Pixels are missing."""
    image = np.where(missing[..., None], 0, truth).astype(np.float32)
    before = {"input": psnr(image, truth), "linear": psnr(fill_missing(image, ~missing), truth)}
    before["plate"] = psnr(fill_smooth(image, ~missing), truth)
    restore = lambda: inpaint_by_pairs(image, ~missing, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, before, restore, picture)


def inpaint50(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Every second pixel is missing, by chance."""
    return inpaint(truth, noise[..., 0] > 0, seed, picture)


def text(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Lines of words lie over the picture."""
    missing = np.zeros(truth.shape[:2], np.uint8)
    words = "the quick brown fox jumps over the lazy dog and back again over"
    for row in range(20, truth.shape[0], 28):
        cv2.putText(missing, words[row % 17 :], (4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    return inpaint(truth, missing > 0, seed, picture)


def hole(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """A hole of 50 x 40 pixels right of the middle; PSNR inside it alone."""
    top, left = truth.shape[0] * 3 // 5, truth.shape[1] // 4
    known = np.ones(truth.shape[:2], bool)
    known[top : top + 40, left : left + 50] = False
    image = np.where(known[..., None], truth, 0).astype(np.float32)
    inside = (slice(top, top + 40), slice(left, left + 50))
    options, began = PriorOptions(iterations=1500), time.process_time()
    done = fill_hole(image, known, options=options, seed=seed)
    seconds = round(time.process_time() - began, 1)
    cv2.imwrite(str(picture), np.round(done[..., ::-1] * 255).astype(np.uint8))
    linear, plate = (psnr(fill(image, known)[inside], truth[inside]) for fill in (fill_missing, fill_smooth))
    return {"linear": linear, "plate": plate, "ours": psnr(done[inside], truth[inside]), "cpu_s": seconds}


def upscale(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Made four times smaller, as it is thought to be."""
    truth = whole_fours(truth)
    return enlarged(truth, to_array(Downsample(4, lobes=LOBES)(to_tensor(truth)).clamp(0, 1)), seed, picture)


def upscale_lanczos3(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Made smaller with another kernel than is thought: Lanczos of three lobes, as by Pillow."""
    truth = whole_fours(truth)
    return enlarged(truth, to_array(Downsample(4, lobes=3)(to_tensor(truth)).clamp(0, 1)), seed, picture)


def upscale_area(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Made smaller by the mean over squares, as by OpenCV's INTER_AREA."""
    truth = whole_fours(truth)
    size = (truth.shape[1] // 4, truth.shape[0] // 4)
    return enlarged(truth, cv2.resize(truth, size, interpolation=cv2.INTER_AREA), seed, picture)


def whole_fours(image: Float32Array) -> Float32Array:
    """Cut the sides to multiples of four."""
    return image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4]


def enlarged(truth: Float32Array, small: Float32Array, seed: int, picture: Path) -> Numbers:
    """Enlarge four times, compare with bicubic interpolation."""
    large = to_array(bicubic(to_tensor(small), (truth.shape[0], truth.shape[1])))
    restore = lambda: upscale_by_pairs(small, 4, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, {"bicubic": psnr(large, truth, grey=True)}, restore, picture, grey=True)


def blurred(
    truth: Float32Array, noise: Float32Array, seed: int, picture: Path, kernel: Float32Array
) -> Numbers:
    """Blurred, with a little noise."""
    image = to_array(Convolution(torch.from_numpy(kernel))(to_tensor(truth))) + BLUR_SIGMA * noise
    restore = lambda: deblur_by_pairs(image, kernel, BLUR_SIGMA, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, {"input": psnr(image, truth)}, restore, picture)


def gaussian(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """A known Gaussian of 1.6 px."""
    return blurred(truth, noise, seed, picture, gaussian_kernel(1.6))


def motion(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """A known straight motion."""
    return blurred(truth, noise, seed, picture, motion_kernel(15, 30))


def dejpeg(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """Compressed at quality 10 by OpenCV's encoder."""
    stored = np.round(truth[..., ::-1] * 255).astype(np.uint8)
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    tables = read_tables(data.tobytes(), "picture")
    restore = lambda: dejpeg_by_pairs(image, tables, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, {"input": psnr(image, truth)}, restore, picture)


TASKS: dict[str, Callable[[Float32Array, Float32Array, int, Path], Numbers]] = {
    "denoise": denoise, "inpaint50": inpaint50, "text": text, "hole": hole, "upscale": upscale,
    "upscale-lanczos3": upscale_lanczos3, "upscale-area": upscale_area,
    "gaussian": gaussian, "motion": motion, "dejpeg": dejpeg,
}  # fmt: skip


def paper(truth: Float32Array, seed: int, arguments: Arguments) -> Numbers:
    """Let the paper's network and ours denoise the same crop in the same run."""
    noise = np.random.default_rng(seed).standard_normal(truth.shape).astype(np.float32)
    image = np.clip(truth + SIGMA * noise, 0, 1)
    ours = denoise(truth, noise, seed, arguments.work / "paper-ours.png")
    best: dict[str, float] = {"paper_best_average": 0.0, "paper_best_at": 0}
    began, clean = time.process_time(), to_tensor(truth)

    def watch(step: Step) -> None:
        value = psnr(to_array(step.picture()), truth)
        if value > best["paper_best_average"]:
            best.update(paper_best_average=value, paper_best_at=step.iteration)
        best.update(
            paper_average=value,
            paper_iterations=step.iteration,
            paper_cpu_s=round(time.process_time() - began),
        )
        (arguments.work / "paper.json").write_text(json.dumps({**ours, **best}))

    never = 10 * arguments.paper_iterations
    options = PriorOptions(generator="skip", iterations=arguments.paper_iterations, patience=never)
    solved = solve_prior(
        to_tensor(image), Identity(), truth.shape[:2], options=options, seed=seed, truth=clean, watch=watch
    )
    stopped = {"paper_at_stop": psnr(to_array(solved.picture), truth), "paper_stop_at": solved.best_iteration}
    return {**ours, **best, **stopped}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print means over pictures of each task and seed, and each picture's numbers."""
    for task, seed, crop in sorted({(row["task"], row["seed"], row["crop"]) for row in rows}):
        here = [row for row in rows if (row["task"], row["seed"], row["crop"]) == (task, seed, crop)]
        names = [n for n in here[0] if n not in ("task", "image", "seed", "crop", "commit")]
        means = "  ".join(f"{n} {np.mean([row[n] for row in here]):.2f}" for n in names)
        label = "Y" if task.startswith("upscale") else "RGB"
        print(f"\n{task} ({label}), seed {seed}, crop {crop}, {len(here)} pictures: {means}")
        for row in here:
            print(f"  {row['image']:<24} " + "  ".join(f"{n} {row[n]:.2f}" for n in names))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
