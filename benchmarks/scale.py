"""What batches cost besides the builds: ``python benchmarks/scale.py --data DATA``.

One batch (24 small simulated captures and, with ``--data``, all shared captures) is built with one worker,
with two, and by Ray with two, each into a folder of its own, after one build that is not measured (it warms
Numba's cache). Prints ratios from this one run:

- throughput of two workers over one, each sequence with one thread; and over one worker with two threads;
- the local runner's overhead: the time of the whole command, times its workers, that was not spent in
  builds' processes (without that of workers that find no capture left at the end, which is told apart);
- what a build's process costs besides its stages (start, loading libraries, hashing, end);
- Ray's overhead: its batch over the local one, with and without starting and ending Ray.

All of one run is timed on the same machine, so nothing else should run on it. ``--small`` tries it out.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.dataset.rows import read_catalog
from walkaround.io.suffixes import is_video_name
from walkaround.simulate import SimulateOptions, simulate_capture

ONE_THREAD = ("--threads", "1")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure batches."""

    data: Path | None = None
    """The folder of the shared captures (WALKAROUND_TEST_DATA); without it, simulated captures alone."""
    captures: Path | None = None
    """Keep the captures here, and use what is there; else they are made in a temporary folder."""
    out: Path | None = None
    """Keep the datasets here (plan.py reads them)."""
    simulated: int = 24
    """Small simulated captures."""
    workers: int = 2
    ray: bool = True
    """Run the batch by Ray too."""
    threaded: bool = True
    """Run it with one worker of as many threads too."""
    small: bool = False
    """Four simulated captures: does it work?"""
    build: str = ""
    """More options of ``walkaround build``, in one string: ``--build="--seed 1"``."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One batch."""

    wall_s: float
    """Of the whole command."""
    cpu_s: float
    builds_s: float
    """In builds' processes, all together."""
    stages_s: float
    """In stages, all together."""
    idle_s: float
    """Of workers that found no capture left."""
    outcomes: dict[str, int]
    workers: int

    @property
    def overhead_s(self) -> float:
        """Worker seconds that went neither into builds nor into idleness at the end."""
        return self.wall_s * self.workers - self.builds_s - self.idle_s


def main(arguments: Arguments) -> None:
    """Run the batches and print the table."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    with tempfile.TemporaryDirectory() as scratch:
        captures = make_captures(arguments, arguments.captures or Path(scratch) / "captures")
        out = arguments.out or Path(scratch) / "out"
        warm_up(captures, Path(scratch) / "warm", arguments)
        runs = {"one worker": measure(captures, out / "one", arguments, "--workers", "1")}
        many = ("--workers", str(arguments.workers))
        runs[f"{arguments.workers} workers"] = two = measure(captures, out / "two", arguments, *many)
        if arguments.threaded:
            threads = ("--workers", "1", "--threads", str(arguments.workers))
            runs["one, threads"] = measure(captures, out / "threads", arguments, *threads)
        if arguments.ray:
            runs["ray"] = measure(captures, out / "ray", arguments, *many, "--runner", "ray")
        show(runs, two, idle_ray_s(arguments.workers) if arguments.ray else 0.0)


def make_captures(arguments: Arguments, folder: Path) -> Path:
    """Lay the captures out as class folders."""
    number = 4 if arguments.small else arguments.simulated
    for seed in range(number):
        target = folder / f"class {seed % 6}" / f"{seed:02d}.mp4"
        if not target.exists():
            options = SimulateOptions(size=(320, 240), num_frames=12, arc_deg=140, seed=seed, samples=1)
            made = simulate_capture(folder / ".making", options=options)
            target.parent.mkdir(parents=True, exist_ok=True)
            made.video_path.rename(target)
            shutil.rmtree(folder / ".making")
    shared = arguments.data / "captures" if arguments.data is not None else None
    for path in sorted(shared.iterdir()) if shared is not None else ():
        link = folder / "shared" / path.name
        if (path.is_dir() or is_video_name(path.name)) and not link.exists():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
    return folder


def warm_up(captures: Path, root: Path, arguments: Arguments) -> None:
    """Build one capture, unmeasured."""
    first = min(captures.glob("class*/*.mp4"))
    command = [sys.executable, "-m", "walkaround", "build", str(first), "--out", str(root), *ONE_THREAD]
    subprocess.run([*command, *shlex.split(arguments.build)], capture_output=True, check=False)


def measure(captures: Path, root: Path, arguments: Arguments, *options: str) -> Run:
    """Run one batch to its end."""
    if root.exists():
        shutil.rmtree(root)
    command = [sys.executable, "-m", "walkaround", "build", str(captures), "--out", str(root), "--json"]
    threads = () if "--threads" in options else ONE_THREAD
    start = time.perf_counter()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [*command, *threads, *options, *shlex.split(arguments.build)], stdout=stdout, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - start
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode not in (0, 3):
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{stderr.read().decode()}")
        *lines, total = [json.loads(line) for line in stdout.read().splitlines()]
    return summed(lines, total["total"], root, wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime)


def summed(
    lines: list[dict[str, Any]], total: dict[str, Any], root: Path, *, wall_s: float, cpu_s: float
) -> Run:
    """Add the parts of a batch up."""
    workers = int(total["workers"])
    ends = sorted(line["time"] for line in lines)
    return Run(
        wall_s=wall_s,
        cpu_s=cpu_s,
        builds_s=sum(line["seconds"] for line in lines),
        stages_s=sum(sum(row["seconds"].values()) for row in read_catalog(root)),
        idle_s=sum(ends[-1] - end for end in ends[-workers:]),
        outcomes={name: total[name] for name in ("accepted", "rejected", "failed")},
        workers=workers,
    )


def idle_ray_s(workers: int) -> float:
    """Return the seconds that starting Ray, one empty task and ending Ray take."""
    code = (
        "import ray\n"
        f"ray.init('local', num_cpus={workers}, include_dashboard=False, log_to_driver=False)\n"
        "ray.get(ray.remote(lambda: 0).remote())\nray.shutdown()"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return time.perf_counter() - start


def show(runs: dict[str, Run], two: Run, ray_start_s: float) -> None:
    """Print the runs, then the ratios."""
    print(f"{'batch':12} {'wall s':>8} {'builds s':>9} {'stages s':>9} {'idle s':>7} {'CPU s':>8}  outcomes")
    for name, run in runs.items():
        print(
            f"{name:12} {run.wall_s:8.1f} {run.builds_s:9.1f} {run.stages_s:9.1f} {run.idle_s:7.1f} "
            f"{run.cpu_s:8.1f}  {run.outcomes}"
        )
    one = runs["one worker"]
    print(f"throughput, {two.workers} workers over one: {one.wall_s / two.wall_s:.2f} (bar: at least 1.7)")
    if "one, threads" in runs:
        ratio = runs["one, threads"].wall_s / two.wall_s
        print(f"throughput, {two.workers} workers over one with {two.workers} threads: {ratio:.2f}")
    for name, run in runs.items():
        if name not in ("ray", "one, threads"):
            share = run.overhead_s / (run.wall_s * run.workers)
            process = 1 - run.stages_s / run.builds_s
            print(
                f"local runner, {name}: overhead {share:.2%} (bar: under 2 %); "
                f"of a build's process {process:.1%} are no stage"
            )
    if "ray" in runs:
        ray = runs["ray"]
        print(
            f"Ray over local, {two.workers} workers: {ray.wall_s / two.wall_s - 1:+.1%} (bar: under 10 %); "
            f"without starting and ending Ray ({ray_start_s:.1f} s) "
            f"{(ray.wall_s - ray_start_s) / two.wall_s - 1:+.1%}"
        )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
