"""The whole build beside plain COLMAP: ``python benchmarks/build.py INPUT --repeat 3``.

INPUT is a video or a folder of photos. After one unmeasured build, which warms Numba's cache and leaves the
frames, ``walkaround build`` and COLMAP's default structure from motion (SIFT on the CPU, exhaustive pairs,
incremental mapper) on the same frames take turns, each in a process of its own, so that a busy machine slows
both alike. Prints seconds by stage, both totals, their ratio and the build's peak memory.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from accuracy import commit, machine
from cameras import plain_colmap

from walkaround import __version__
from walkaround.types import Frame


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the build."""

    input: Annotated[Path, tyro.conf.Positional]
    """A video, or a folder of photos."""
    repeat: int = 3
    """Measured builds, and as many runs of COLMAP."""
    threads: int = 2
    """Threads of both."""
    worker: Path | None = None
    """For this program's own use: run COLMAP on ``input`` with its files here."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    output: str


def main(arguments: Arguments) -> None:
    """Alternate both and print the tables."""
    if arguments.worker is not None:
        run_colmap(arguments.input, arguments.worker, arguments.threads)
        return
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; {arguments.threads} threads; "
          f"walkaround {__version__}, commit {commit()}")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        record = json.loads(build(arguments, folder / "warm").output)
        images = folder / "warm" / record["class_label"] / record["instance_id"] / "images"
        print(f"{len(record['frames'])} frames, {record['status']} {' '.join(record['reasons'])}")
        builds: list[tuple[Cost, dict[str, Any]]] = []
        plain: list[tuple[Cost, int]] = []
        for number in range(arguments.repeat):
            cost = build(arguments, folder / f"build{number}")
            builds.append((cost, json.loads(cost.output)["stages"]))
            cost = colmap(arguments, images, folder / f"colmap{number}")
            plain.append((cost, int(cost.output)))
            ratio = builds[-1][0].wall_s / cost.wall_s
            print(f"run {number + 1}: build {builds[-1][0].wall_s:.1f} s, COLMAP {cost.wall_s:.1f} s "
                  f"({cost.output.strip()} frames placed), ratio {ratio:.2f}", flush=True)  # fmt: skip
    show(builds, plain)


def show(builds: list[tuple[Cost, dict[str, Any]]], plain: list[tuple[Cost, int]]) -> None:
    """Print medians and ranges."""
    print(f"\n{'stage':10} {'wall s':>24} {'CPU s':>24}")
    for stage in builds[0][1]:
        wall = spread([stages[stage]["seconds"] for _, stages in builds])
        cpu = spread([stages[stage]["cpu_seconds"] for _, stages in builds])
        print(f"{stage:10} {wall:>24} {cpu:>24}")
    for name, costs in (("build", [cost for cost, _ in builds]), ("COLMAP", [cost for cost, _ in plain])):
        wall, cpu = spread([cost.wall_s for cost in costs]), spread([cost.cpu_s for cost in costs])
        print(f"{name:10} {wall:>24} {cpu:>24}   peak {max(cost.peak_gb for cost in costs):.2f} GB")
    walls = [ours.wall_s / theirs.wall_s for (ours, _), (theirs, _) in zip(builds, plain, strict=True)]
    cpus = [ours.cpu_s / theirs.cpu_s for (ours, _), (theirs, _) in zip(builds, plain, strict=True)]
    print(f"{'ratio':10} {spread(walls):>24} {spread(cpus):>24}")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def build(arguments: Arguments, root: Path) -> Cost:
    """Run ``walkaround build``; its record is the output."""
    command = [sys.executable, "-m", "walkaround", "build", str(arguments.input), "--out", str(root)]
    return run([*command, "--threads", str(arguments.threads), "--json"], accepted=(0, 3))


def colmap(arguments: Arguments, images: Path, scratch: Path) -> Cost:
    """Run this program as COLMAP's process; the number of frames placed is the output."""
    scratch.mkdir()
    command = [sys.executable, __file__, str(images), "--worker", str(scratch)]
    return run([*command, "--threads", str(arguments.threads)], accepted=(0,))


def run(command: list[str], accepted: tuple[int, ...]) -> Cost:
    """Run a process to its end; leave the program with its messages when it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode not in accepted:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{stderr.read().decode()}")
        return Cost(
            wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime, peak_gb=usage.ru_maxrss / 2**20,
            output=stdout.read().decode(),
        )  # fmt: skip


def run_colmap(images: Path, scratch: Path, threads: int) -> None:
    """Reconstruct with COLMAP's defaults and print how many frames it placed."""
    names = sorted(path.name for path in images.iterdir())
    frames = tuple(
        Frame(index=number + 1, image=name, source_index=number, timestamp_s=None)
        for number, name in enumerate(names)
    )
    try:
        placed = len(plain_colmap(images, frames, scratch, threads).views)
    except ValueError:  # no model at all
        placed = 0
    print(placed)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
