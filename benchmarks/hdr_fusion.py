"""HDR fusion without any network, against its bars: ``python benchmarks/hdr_fusion.py --data DATA``.

On clips of the held-out radiance images in DATA/hdr, with two and three exposures (ratios 1, 8 and 1, 4, 16):

- moving: fusion and naive merging against the truth, PSNR-mu, the worst scene and the mean
- static: fusion against Debevec and Malik's merge of the same window, which is not moved
- unsaturated: radiance that no exposure saturates, moving, against the truth

Both also without sensor noise, with 8 bits only: with noise, two means of different weights differ by it, and
the row of the Debevec merge against the truth says how much of that is its own.

- exposures: how far measured exposures are from the true ones, EV

``--speed`` measures time and memory instead, each size in a process of its own. Methods are compared on
rendered scenes too, with the network, by ``benchmarks/hdr.py``.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.hdr.brightness import measure_steps
from walkaround.hdr.clip import Exposed, Fused, FuseWindow
from walkaround.hdr.exposures import find_exposures
from walkaround.hdr.fusion import make_fusion, naive_merge
from walkaround.hdr.metrics.curves import mu_law
from walkaround.hdr.metrics.fidelity import psnr
from walkaround.hdr.response import known_response
from walkaround.hdr.synthesis import (
    CameraOptions,
    Clip,
    ClipOptions,
    find_sources,
    record_clip,
    synthesise_clip,
)
from walkaround.hdr.trial import RATIOS
from walkaround.hdr.windows import window_around
from walkaround.types import Float32Array

RESPONSE = known_response("gamma")
CLEAN = CameraOptions(shot_noise=0.0, read_noise=0.0)
NOTHING = np.zeros((0, 0), np.float32)
SIZES = ((1280, 720, 2), (1280, 720, 3), (1920, 1080, 3), (3840, 2160, 3))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure HDR fusion."""

    data: Path = Path(os.environ.get("WALKAROUND_TEST_DATA", "."))
    """Folder of the shared captures."""
    size: tuple[int, int] = (640, 360)
    """Of the clips."""
    seeds: int = 2
    """Clips of each scene."""
    speed: bool = False
    """Measure time and memory instead."""
    one: tuple[int, int, int] | None = None
    """Internal: width, height and exposures of one measurement of time."""
    repeat: int = 3
    """Fused frames of a measurement of time."""


def main(arguments: Arguments) -> None:
    """Print the table that was asked for."""
    if arguments.one is not None:
        measure_one(*arguments.one, arguments.repeat)
        return
    print(f"machine: {machine()}; walkaround {__version__}, commit {commit()}")
    if arguments.speed:
        print("| frame | exposures | wall s, median | CPU-s, median | memory over the window's frames, MB |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for width, height, count in SIZES:
            more = ["--one", str(width), str(height), str(count), "--repeat", str(arguments.repeat)]
            subprocess.run([sys.executable, __file__, *more], check=True)
        return
    print("| what, dB unless EV | exposures | worst | mean | bar |")
    print("| --- | --- | --- | --- | --- |")
    for count, ratios in RATIOS.items():
        for name, worst, mean, bar in rows(arguments, ratios):
            print(f"| {name} | {count} | {worst:.2f} | {mean:.2f} | {bar} |", flush=True)


def rows(arguments: Arguments, ratios: tuple[float, ...]) -> Iterator[tuple[str, float, float, str]]:
    """Yield the rows for clips of these exposures."""
    fusion, naive = make_fusion(RESPONSE), naive_merge(RESPONSE)
    moving, apart, errors = [], [], []
    for clip in clips(arguments, ratios):
        moving.append(quality(clip, fusion))
        apart.append(moving[-1] - quality(clip, naive))
        errors.append(exposure_error(clip))
    yield "moving: fusion, PSNR-mu", min(moving), statistics.mean(moving), ""
    yield "moving: fusion less naive", min(apart), statistics.mean(apart), "4 on average"
    yield "exposures: error of auto, EV", max(errors), statistics.mean(errors), ""
    for camera, name in ((CLEAN, "8 bits"), (CameraOptions(), "8 bits and noise")):
        static, near, own, free = [], [], [], []
        for clip in clips(arguments, ratios, camera=camera, still=True):
            static.append(min(static_quality(clip, fusion)))
            near.append(quality(clip, fusion))
            own.append(quality(clip, lambda window: Fused(radiance=debevec(window), confidence=NOTHING)))
        for clip in clips(arguments, ratios, camera=camera, dim=True):
            free.append(quality(clip, fusion))
        bar = camera is CLEAN
        yield f"static, {name}: fusion to Debevec", min(static), statistics.mean(static), "45" if bar else ""
        yield f"static, {name}: fusion to truth", min(near), statistics.mean(near), ""
        yield f"static, {name}: Debevec to truth", min(own), statistics.mean(own), ""
        yield f"unsaturated, {name}: fusion", min(free), statistics.mean(free), "40" if bar else ""


def clips(
    arguments: Arguments,
    ratios: tuple[float, ...],
    *,
    camera: CameraOptions = CameraOptions(),  # noqa: B008 (frozen)
    still: bool = False,
    dim: bool = False,
) -> Iterator[Clip]:
    """Make the clips of one kind: moving, standing still, or too dim to saturate anything."""
    sources = find_sources(arguments.data / "hdr", held_out=True)
    pictures = [source.read() for source in sources]
    for number, picture in enumerate(pictures):
        for seed in range(arguments.seeds):
            options = ClipOptions(
                size=arguments.size, num_frames=4 * len(ratios), exposures=ratios, camera=camera
            )
            if still:
                options = replace(options, motion_px=0.0, zoom=0.0, rotation_deg=0.0, num_layers=0)
            things = [pictures[(number + 1) % len(pictures)], pictures[(number + 2) % len(pictures)]]
            clip = synthesise_clip(picture, things, options, seed=seed)
            if dim:
                peak = np.float32(0.95 / max(ratios))
                truth = [radiance * peak for radiance in clip.truth]
                clip = record_clip(truth, clip.exposures, options.camera, seed=seed)
            yield clip


def references(clip: Clip) -> range:
    """Return one frame of each exposure, away from the ends."""
    return range(clip.period, 2 * clip.period)


def quality(clip: Clip, method: FuseWindow) -> float:
    """Return the mean PSNR-mu over one frame of each exposure."""
    found = [
        psnr_mu(method(window_around(clip.frames, n, clip.period)).radiance, clip.truth[n])
        for n in references(clip)
    ]
    return statistics.mean(found)


def static_quality(clip: Clip, method: FuseWindow) -> list[float]:
    """Return the PSNR-mu of a method against the Debevec merge, of one frame of each exposure."""
    windows = [window_around(clip.frames, n, clip.period) for n in references(clip)]
    return [psnr_mu(method(window).radiance, debevec(window)) for window in windows]


def debevec(window: Sequence[Exposed]) -> Float32Array:
    """Merge a bracket by equation 6 of Debevec and Malik 1997 (doi:10.1145/258734.258884), true response.

    Their hat gives black and saturated values no weight. OpenCV's gives saturated ones a little, which is
    wrong by some per cent where only one frame is not saturated. Where no frame has a weight, the shortest
    says how bright a saturated pixel is at least, the longest how dark a black one is at most.
    """
    total, weights = (np.zeros(window[0].image.shape, np.float64) for _ in range(2))
    for frame in window:
        hat = np.minimum(frame.image, 1 - frame.image)
        total += hat * np.log(np.maximum(frame.image, 1 / 510) ** 2.2 / frame.exposure)
        weights += hat
    by_exposure = sorted(window, key=lambda frame: frame.exposure)
    ends = [(frame.image**2.2 / frame.exposure) for frame in (by_exposure[0], by_exposure[-1])]
    rest = np.where(by_exposure[0].image >= 1, *ends)
    return np.where(weights > 0, np.exp(total / np.maximum(weights, 1e-9)), rest).astype(np.float32)


def exposure_error(clip: Clip) -> float:
    """Return how far the measured exposures are from the true ones, at worst."""
    steps = measure_steps(((n, f.image) for n, f in enumerate(clip.frames)), RESPONSE, len(clip.frames))
    found = find_exposures(steps, given_ev=None, exif_ev=())
    true = np.log2([frame.exposure for frame in clip.frames[: clip.period]])
    return float(np.abs(np.array(found.ev) - (true - true.min())).max())


def psnr_mu(result: Float32Array, truth: Float32Array) -> float:
    """PSNR in dB of the mu-law, radiance cut at 1."""
    return psnr(mu_law(np.clip(result, 0, 1)), mu_law(np.clip(truth, 0, 1)), 1.0)


def measure_one(width: int, height: int, count: int, repeat: int) -> None:
    """Fuse one window again and again; print the row."""
    rng = np.random.default_rng(0)
    wall = np.asarray(cv2.resize(rng.random((height // 6, width // 6, 3), np.float32), (width + 64, height)))
    window = []
    for n in range(2 * count - 1):
        exposure = RATIOS[count][n % count]
        light = np.clip(wall[:, 8 * n : 8 * n + width] ** 3 * np.float32(exposure), 0, 1)
        window.append(
            Exposed(image=np.rint(light ** (1 / 2.2) * 255).astype(np.float32) / 255, exposure=exposure)
        )
    del wall, light
    fuse = make_fusion(RESPONSE)
    before = peak_mb()
    walls, cpus = [], []
    for _ in range(repeat):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        fuse(window)
        walls.append(time.perf_counter() - wall_s)
        cpus.append(time.process_time() - cpu_s)
    spread = f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
    cpu = f"{statistics.median(cpus):.2f} ({min(cpus):.2f} to {max(cpus):.2f})"
    print(f"| {width} x {height} | {count} | {spread} | {cpu} | {peak_mb() - before:.0f} |", flush=True)


def peak_mb() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(tyro.cli(Arguments))
