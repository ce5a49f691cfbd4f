"""HDR methods against the truth: ``python benchmarks/hdr.py --data DATA``.

Clips are made of radiance images that training never saw (DATA/hdr) and of rendered objects that turn before
a standing camera. Each method merges every frame; the tables are those of ``walkaround hdr-eval``, then the
bars. ``--strips FOLDER`` keeps pictures of the places that change most between frames:
reference, naive, fusion, network, truth. ``--timing`` measures speed and memory at 720p and 1080p instead.

DATA is the folder of captures that the tests find through WALKAROUND_TEST_DATA.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.commands.hdr_eval import load_method
from walkaround.hdr.evaluation import ClipScores, Viewing, format_tables, summarise
from walkaround.hdr.metrics.curves import mu_law
from walkaround.hdr.synthesis import CameraOptions, Clip, ClipOptions, find_sources, synthesise_clip
from walkaround.hdr.synthesis.camera import grade, graded
from walkaround.hdr.synthesis.clip import record_clip
from walkaround.hdr.synthesis.leaves import draw_leaves
from walkaround.hdr.trial import RATIOS, TrialOptions, make_clips, scored, try_method
from walkaround.hdr.windows import window_around
from walkaround.simulate import SimulateOptions
from walkaround.simulate.radiance import render_radiance
from walkaround.types import Float32Array

BAR_NETWORK_DB, BAR_FUSION_DB = 1.5, 4.0
SIZES = ((1280, 720), (1920, 1080))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the methods of HDR video."""

    data: Path = Path(os.environ.get("WALKAROUND_TEST_DATA", "."))
    """Folder of the shared captures."""
    names: tuple[str, ...] = ("Cannon", "Desk", "nancy_church")
    """Held-out radiance images (larger than the clips)."""
    rendered: tuple[str, ...] = ("mug", "figurine")
    """Objects of the simulator that turn before a standing camera."""
    exposures: tuple[int, ...] = (2, 3)
    """Numbers of exposures."""
    size: tuple[int, int] = (640, 360)
    """Of the clips."""
    num_frames: int = 6
    """Scored frames of a clip."""
    methods: tuple[str, ...] = ("naive", "fusion", "network")
    """Methods."""
    weights: Path | None = None
    """Of the network; those of the package when not given."""
    seed: int = 100
    """Of the clips."""
    video: bool = True
    """HDR-VQM, flicker and visible differences too."""
    strips: Path | None = None
    """Folder for pictures."""
    json: Path | None = None
    """File for all scores."""
    timing: bool = False
    """Measure seconds and memory instead."""
    threads: int = 0
    """Of OpenCV and torch; 0 leaves them."""


def main(arguments: Arguments) -> None:
    """Print the tables and the bars, or the timings."""
    if arguments.threads:
        _limit_threads(arguments.threads)
    print(f"machine: {machine()}; walkaround {__version__}, commit {commit()}")
    if arguments.timing:
        measure_speed(arguments)
        return
    methods = {name: load_method(name, arguments.weights) for name in arguments.methods}
    scores: list[ClipScores] = []
    for name, clip in clips_of(arguments):
        merged = {}
        for label, method in methods.items():
            own, frames = try_method(name, clip, method, label, Viewing(), video=arguments.video)
            scores.append(own)
            merged[label] = frames
        print(name, {s.method: round(_mean(s), 2) for s in scores[-len(methods) :]}, flush=True)
        if arguments.strips is not None:
            write_strip(arguments.strips / f"{name}.png", clip, merged)
    summaries = summarise(scores)
    print(format_tables(summaries))
    print(bars(scores))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(summaries, indent=1))


def clips_of(arguments: Arguments) -> Iterator[tuple[str, Clip]]:
    """Make the clips of held-out images, then of rendered objects."""
    folder = arguments.data / "hdr"
    sources = [s for s in find_sources(folder, held_out=True) if s.name in arguments.names]
    options = TrialOptions(
        exposures=arguments.exposures,
        num_frames=arguments.num_frames,
        seed=arguments.seed,
        clip=ClipOptions(size=arguments.size),
    )
    if sources:
        yield from make_clips(sources, options)
    for name in arguments.rendered:
        for count in arguments.exposures:
            yield f"{name}-{count}", rendered_clip(name, count, arguments)


def rendered_clip(name: str, count: int, arguments: Arguments) -> Clip:
    """Render an object that turns by 4 degrees a frame in hard light, and record it."""
    total = arguments.num_frames + 2 * (count - 1)
    pictures = list(
        render_radiance(
            SimulateOptions(
                object=name, seed=arguments.seed, num_frames=total, duration_s=total / 24.0,
                arc_deg=4.0 * total, size=arguments.size, moving_object=True, gloss=0.5, contrast_ev=4.0,
            )
        )
    )  # fmt: skip
    numbers = grade(pictures[total // 2], 0.005, 0.03)
    pictures = [graded(picture, *numbers) for picture in pictures]
    return record_clip(pictures, RATIOS[count], CameraOptions(), seed=arguments.seed)


def _mean(score: ClipScores) -> float:
    return float(np.mean([own["psnr_mu"] for _, own in score.frames]))


def bars(scores: list[ClipScores]) -> str:
    """Say for each bar of accuracy what was wanted and what was measured (PSNR-mu)."""
    lines = []
    for count, methods in summarise(scores).items():
        found = {
            method: {name: float(row["psnr_mu"]) for name, row in rows.items()}
            for method, rows in methods.items()
        }
        pairs = (("network", "fusion", BAR_NETWORK_DB), ("fusion", "naive", BAR_FUSION_DB))
        for better, base, wanted in pairs:
            if better in found and base in found:
                gain = {name: found[better][name] - found[base][name] for name in found[better]}
                classes = ", ".join(f"{name} {value:+.2f}" for name, value in gain.items() if name != "all")
                verdict = "met" if gain["all"] >= wanted else "MISSED"
                lines.append(
                    f"{count} exposures: {better} over {base} {gain['all']:+.2f} dB "
                    f"(wanted {wanted:+.1f}): {verdict}; by class: {classes}"
                )
    return "\n".join(lines)


def write_strip(path: Path, clip: Clip, merged: dict[str, list[Float32Array]]) -> None:
    """Draw, for one frame of each exposure, where the truth changes most: reference, methods, truth."""
    rows = []
    for number in list(scored(clip))[: clip.period]:
        place = _busiest(clip, number)
        first = next(iter(scored(clip)))
        reference = window_around(clip.frames, number, clip.period)[clip.period - 1]
        shown = [reference.image[place]]
        shown += [mu_law(frames[number - first][place]) for frames in merged.values()]
        shown.append(mu_law(clip.truth[number][place]))
        cells = [
            cv2.resize(np.asarray(cell, np.float32), None, fx=2, fy=2, interpolation=0) for cell in shown
        ]
        rows.append(np.hstack([cv2.copyMakeBorder(cell, 2, 2, 2, 2, 0, value=(1, 1, 1)) for cell in cells]))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(255 * np.vstack(rows)[..., ::-1]).astype(np.uint8))


def _busiest(clip: Clip, number: int) -> tuple[slice, slice]:
    """Return the 128x128 pixels around which frames before and after differ most."""
    change = np.abs(mu_law(clip.truth[number + 1]) - mu_law(clip.truth[number - 1])).max(axis=2)
    side = min(128, *change.shape)
    inside = cv2.blur(change, (side, side))[side // 2 : -side // 2 + 1, side // 2 : -side // 2 + 1]
    y, x = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)


def measure_speed(arguments: Arguments) -> None:
    """Print seconds and CPU-seconds a frame, the median of three, and the process's peak memory."""
    picture = draw_leaves((960, 540), np.random.default_rng(0))
    for size in SIZES:
        for count in arguments.exposures:
            options = ClipOptions(size=size, num_frames=2 * count - 1, exposures=RATIOS[count])
            clip = synthesise_clip(picture, [picture], options, seed=0)
            window = window_around(clip.frames, count - 1, count)
            for name in arguments.methods:
                method = load_method(name, arguments.weights)
                method(window)
                runs = []
                for _ in range(3):
                    start, cpu = time.perf_counter(), time.process_time()
                    method(window)
                    runs.append((time.perf_counter() - start, time.process_time() - cpu))
                wall, cpu = np.median(runs, axis=0)
                spread = max(r[0] for r in runs) - min(r[0] for r in runs)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"{size[0]}x{size[1]}, {count} exposures, {name}: {wall:.2f} s (spread {spread:.2f}), "
                    f"{cpu:.2f} CPU-s, peak so far {peak:.0f} MB",
                    flush=True,
                )


def _limit_threads(count: int) -> None:
    cv2.setNumThreads(count)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
