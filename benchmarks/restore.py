"""Restoration on the nine pictures of Set9: ``python benchmarks/restore.py --data DATA --work WORK``.

DATA is the folder of captures with ``restore/set9``. Each picture, task and seed is one line of
``WORK/rows.jsonl``; a run goes on where an earlier one was cut off, and prints the table of all lines there.
PSNR is of 0..1, clipped; of luminance where the table says Y. One thread; the seconds are CPU time of the
process, with everything: classical estimates, learning, drawing.

Tasks: denoise (sigma 25, clipped to 0..1 as in the paper), inpaint50 (half of the pixels missing), text
(words over it), hole (50 x 40 pixels, from pieces of the picture), hole-prior (the same, drawn by the prior),
upscale (x4, Lanczos; upscale-lanczos3 and upscale-area: made smaller otherwise than is thought), gaussian
(1.6 px) and motion (15 px, 30 degrees) blur with noise of sigma 2, blind
(that Gaussian, not told), dejpeg (quality 10). ``stop`` lets a generator of the prior (``--generator``)
denoise a crop beyond the moment at which it stops, and tells the best there was. ``depth`` removes 30 % of
the bunny's depth, or of simulated objects' (``--scenes``), in blobs and fills it. ``paper`` lets the network
of the paper denoise a crop beside ours, to the last iteration, and tells its best average, the last, and that
of least variance (ES-WMV).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from accuracy import commit, machine

from walkaround.geometry.completion import complete_depth
from walkaround.restore.classical import estimate_sigma, fill_missing, nlm
from walkaround.restore.deblur import deblur_by_pairs, estimate_kernel
from walkaround.restore.dejpeg import dejpeg_by_pairs
from walkaround.restore.denoise import denoise_by_pairs
from walkaround.restore.holes import Draw, drawn_by_patches, drawn_by_prior, fill_holes
from walkaround.restore.inpaint import inpaint_by_pairs
from walkaround.restore.jpeg import read_tables
from walkaround.restore.measure import psnr_db
from walkaround.restore.operators import Convolution, Downsample, Identity, gaussian_kernel, motion_kernel
from walkaround.restore.options import PairsOptions, PriorOptions
from walkaround.restore.picture import read_picture
from walkaround.restore.plate import fill_smooth
from walkaround.restore.resample import bicubic
from walkaround.restore.solver import Step, solve_prior
from walkaround.restore.spectrum import estimate_blur, gaussian_of
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
    generator: str = "swift"
    """Of the task ``stop``."""
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
                named = f"stop-{arguments.generator}" if task == "stop" else task
                key = (named, path.stem, seed, arguments.crop)
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
    if task == "stop":
        return stop(truth, noise, seed, arguments)
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
    """A hole of 50 x 40 pixels left of the middle, filled from pieces of the picture."""
    return one_hole(truth, drawn_by_patches(seed=seed), picture)


def hole_prior(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """The same hole, drawn by the prior."""
    return one_hole(truth, drawn_by_prior(options=PriorOptions(iterations=600), seed=seed), picture)


def one_hole(truth: Float32Array, draw: Draw, picture: Path) -> Numbers:
    """Return PSNR inside the hole alone, its seam and its detail."""
    top, left = truth.shape[0] * 3 // 5, truth.shape[1] // 4
    known = np.ones(truth.shape[:2], bool)
    known[top : top + 40, left : left + 50] = False
    image, began = np.where(known[..., None], truth, 0).astype(np.float32), time.process_time()
    done = fill_holes(image, known, draw)
    seconds, out = round(time.process_time() - began, 1), {}
    cv2.imwrite(str(picture), np.round(done[..., ::-1] * 255).astype(np.uint8))
    for name, filled in (
        ("linear", fill_missing(image, known)),
        ("plate", fill_smooth(image, known)),
        ("ours", done),
    ):
        seam, detail = (a / b for a, b in zip(steps(filled, known), steps(truth, known), strict=True))
        out[name] = psnr(filled[~known], truth[~known])
        out.update({f"{name}_seam": round(seam, 3), f"{name}_detail": round(detail, 3)})
    return {**out, "cpu_s": seconds}


def steps(image: Float32Array, known: np.ndarray) -> tuple[float, float]:
    """Return the mean absolute step between neighbours across the rim of a hole, and inside it.

    Both are divided by those of the truth: 1 is a rim, or an inside, as rough as it was; a seam has more.
    """
    across, inside = [], []
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).mean(2)
        first, second = (np.delete(known, end, axis) for end in (-1, 0))
        across.append(step[first != second])
        inside.append(step[~first & ~second])
    return float(np.concatenate(across).mean()), float(np.concatenate(inside).mean())


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


def blind(truth: Float32Array, noise: Float32Array, seed: int, picture: Path) -> Numbers:
    """The Gaussian of ``gaussian``, not told; errors are those of kernels, of their norm.

    ``ours`` takes the spectrum's word, ``joint`` goes on from it with the prior.
    """
    kernel = np.pad(gaussian_kernel(1.6), 1)
    image = to_array(Convolution(torch.from_numpy(kernel))(to_tensor(truth))) + BLUR_SIGMA * noise
    began = time.process_time()
    joint = estimate_kernel(image, kernel.shape[0], BLUR_SIGMA, options=PriorOptions(), seed=seed)
    out = {"input": psnr(image, truth), "joint_cpu_s": round(time.process_time() - began, 1)}
    found = gaussian_of(estimate_blur(image), kernel.shape[0])
    for name, used in (("known", kernel), ("joint", joint)):
        out[name] = psnr(deblur_by_pairs(image, used, BLUR_SIGMA, options=PairsOptions(), seed=seed), truth)
    for name, used in (("error", found), ("joint_error", joint)):
        out[name] = round(float(np.linalg.norm(used - kernel) / np.linalg.norm(kernel)), 3)
    restore = lambda: deblur_by_pairs(image, found, BLUR_SIGMA, options=PairsOptions(), seed=seed)  # noqa: E731
    return finish(truth, out, restore, picture)


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
    "denoise": denoise, "inpaint50": inpaint50, "text": text, "hole": hole,
    "hole-prior": hole_prior, "upscale": upscale,
    "upscale-lanczos3": upscale_lanczos3, "upscale-area": upscale_area,
    "gaussian": gaussian, "blind": blind, "motion": motion, "dejpeg": dejpeg,
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
        to_tensor(image), Identity(), truth.shape[:2], options=options, seed=seed, truth=clean, watch=watch,
        noise=estimate_sigma(image),
    )  # fmt: skip
    stopped = {"paper_at_stop": psnr(to_array(solved.picture), truth), "paper_stop_at": solved.best_iteration}
    return {**ours, **best, **stopped}


def stop(truth: Float32Array, noise: Float32Array, seed: int, arguments: Arguments) -> Numbers:
    """Denoise with the prior, go on for twice the patience, and compare its stop with the best average."""
    image = np.clip(truth + SIGMA * noise, 0, 1)
    sigma, options = estimate_sigma(image), PriorOptions(generator=arguments.generator)
    if arguments.paper_iterations < 3000:
        options = replace(options, iterations=arguments.paper_iterations)
    seen: list[tuple[float, int, float]] = []

    began = time.process_time()

    def watch(step: Step) -> None:
        seen.append((psnr(to_array(step.picture()), truth), step.iteration, time.process_time() - began))

    solved = solve_prior(
        to_tensor(image), Identity(), truth.shape[:2], options=replace(options, patience=600), seed=seed,
        noise=sigma, watch=watch,
    )  # fmt: skip
    best, at, cpu_s = max(seen)
    return {
        "input": psnr(image, truth), "nlm": psnr(nlm(image, sigma), truth),
        "at_stop": psnr(to_array(solved.picture), truth), "stop_at": solved.best_iteration,
        "best": best, "best_at": at, "best_cpu_s": round(cpu_s, 1), "cpu_s": round(seen[-1][2], 1),
    }  # fmt: skip


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
