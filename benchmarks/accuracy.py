"""Accuracy and time of the whole build: ``python benchmarks/accuracy.py --sets sim-figurine bunny``.

Every set is built by ``walkaround build`` in a process of its own and compared with its truth. Simulated sets
need nothing; ``bunny``, ``skull`` and ``apple`` need the shared captures (``--data`` or the environment
variable WALKAROUND_TEST_DATA) and are left out, with a word, without them. ``--markdown`` prints the table
for a document. The numbers are those of ``walkaround evaluate`` (docs/format.md says what they mean).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import tyro

from walkaround import __version__
from walkaround.quality.evaluate import Evaluation, evaluate_sequence, mask_iou
from walkaround.simulate import SimulateOptions, simulate_capture
from walkaround.threads import usable_cores

SIMULATED: dict[str, dict[str, Any]] = {
    "sim-figurine": {"object": "figurine"},
    "sim-vase": {"object": "vase", "table": "stone"},
    "sim-blob": {"object": "blob"},
    "sim-mug": {"object": "mug", "table": "stone"},
    "sim-plant": {"object": "plant"},
    "sim-half-circle": {"object": "figurine", "arc_deg": 180.0},
    "sim-blur": {"object": "vase", "blur_s": 0.03},
    "sim-noise": {"object": "blob", "noise": 0.03},
    "sim-dark": {"object": "mug", "exposure": 0.15},
    "sim-weak-texture": {"object": "figurine", "texture": 0.15},
    "sim-less-texture": {"object": "figurine", "texture": 0.3},
    "sim-gloss": {"object": "figurine", "gloss": 0.5},
    "sim-plain-room": {"object": "figurine", "plain_background": True},
    "sim-plain-all": {"object": "figurine", "plain_background": True, "table": "plain"},
    "sim-turning": {"object": "figurine", "moving_object": True},
    "sim-turning-tripod": {"object": "figurine", "moving_object": True, "jitter": 0.0},
}
SHARED = {"bunny": "truth/bunny/images", "skull": "captures/skull", "apple": "captures/apple.mp4"}
APPLE_MASK_FRAME = 0
"""The frame of apple.mp4 that masks/apple_mask.png shows: splitting the apple's colour from its surroundings
agrees best with the mask there (IoU 0.958; 0.956 for the next two frames, falling after)."""
COLUMNS = (
    "set", "seed", "status", "frames", "centre %", "worst %", "rot deg", "IoU", "worst IoU", "cover",
    "depth %", "F 0.25", "F 0.5", "F 1", "wall s", "CPU s", "GB",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Build and evaluate sets with known truth."""

    sets: tuple[str, ...] = (*SIMULATED, *SHARED)
    """Which sets to build."""
    seeds: int = 1
    """Seeds of each simulated set (the scene changes with the seed) and of bunny (the build's seed)."""
    data: Path | None = None
    """Folder of the shared captures; WALKAROUND_TEST_DATA when not given."""
    out: Path | None = None
    """Keep captures and datasets here; a temporary folder when not given."""
    threads: int = 2
    """Threads of the build."""
    markdown: bool = False
    """Print a Markdown table."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One build: its input and what is known about it."""

    name: str
    seed: int
    source: Path
    truth: Path | None
    mask: Path | None = None


def main(arguments: Arguments) -> None:
    """Build every case, print one table."""
    unknown = set(arguments.sets) - set(SIMULATED) - set(SHARED)
    if unknown:
        sys.exit(f"unknown sets: {', '.join(sorted(unknown))}; there are {', '.join((*SIMULATED, *SHARED))}")
    print(f"machine: {machine()}; {arguments.threads} threads; walkaround {__version__}, commit {commit()}")
    notes: list[str] = []
    print_row(COLUMNS, arguments.markdown)
    if arguments.markdown:
        print("|" + " --- |" * len(COLUMNS))
    with working_folder(arguments.out) as out:
        for case in cases(arguments, out, notes):
            print_row(run(case, out, arguments.threads, notes), arguments.markdown)
    for note in notes:
        print(f"\n{note}")


def cases(arguments: Arguments, out: Path, notes: list[str]) -> Iterator[Case]:
    """Yield the chosen cases, simulating what is to be simulated just before."""
    data = arguments.data or Path(os.environ.get("WALKAROUND_TEST_DATA", "") or os.devnull)
    for name in arguments.sets:
        if name in SIMULATED:
            for seed in range(arguments.seeds):
                options = SimulateOptions(seed=seed, **SIMULATED[name])
                folder = out / "captures" / f"{name}-{seed}"
                capture = simulate_capture(folder, options=options, overwrite=True)
                yield Case(name=name, seed=seed, source=capture.video_path, truth=capture.truth_dir)
            continue
        source = data / SHARED[name]
        if not source.exists():
            notes.append(f"{name} was left out: {SHARED[name]} is not in the folder of shared captures.")
            continue
        truth = {"bunny": data / "truth" / "bunny", "skull": source}.get(name)
        mask = data / "masks" / "apple_mask.png" if name == "apple" else None
        for seed in range(arguments.seeds if name == "bunny" else 1):
            yield Case(name=name, seed=seed, source=source, truth=truth, mask=mask)


def run(case: Case, out: Path, threads: int, notes: list[str]) -> tuple[str, ...]:
    """Build one case and return its row of the table."""
    root = out / "datasets" / f"{case.name}-{case.seed}"
    command = [sys.executable, "-m", "walkaround", "build", str(case.source), "--out", str(root), "--json"]
    command += ["--class-label", "object", "--seed", str(case.seed), "--threads", str(threads), "--overwrite"]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        stdout.seek(0)
        text = stdout.read().decode()
    costs = (f"{wall:.0f}", f"{usage.ru_utime + usage.ru_stime:.0f}", f"{usage.ru_maxrss / 2**20:.2f}")
    head = (case.name, str(case.seed))
    empty = ("",) * (len(COLUMNS) - len(head) - len(costs) - 2)
    try:
        record = json.loads(text)
    except ValueError:
        return (*head, "failed", "", *empty, *costs)
    status = " ".join([record["status"], *record["reasons"]])
    registered = f"{sum(f['registered'] for f in record['frames'])}/{len(record['frames'])}"
    sequence = root / record["class_label"] / record["instance_id"]
    cells = empty
    if case.mask is not None:
        iou, index = apple_iou(sequence, record, case.mask)
        notes.append(
            f"{case.name}: mask IoU on frame {index} of the video (the mask's is {APPLE_MASK_FRAME})."
        )
        cells = ("", "", "", f"{iou:.3f}", *empty[4:])
    elif case.truth is not None and sum(f["registered"] for f in record["frames"]) >= 3:
        cells = numbers(evaluate_sequence(sequence, case.truth))
    return (*head, status, registered, *cells, *costs)


def numbers(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the cells from ``centre %`` to ``F 1``."""
    c, m, d = evaluation.cameras, evaluation.masks, evaluation.depth
    cells = [
        f"{c.centre_median_percent:.3f}",
        f"{c.centre_worst_percent:.3f}",
        f"{c.rotation_median_deg:.3f}",
    ]
    cells += [f"{m.iou_mean:.3f}", f"{m.iou_worst:.3f}"] if m else ["", ""]
    cells += [f"{d.coverage:.3f}", f"{d.median_relative_error_percent:.3f}"] if d else ["", ""]
    cells += [f"{s.f_score:.3f}" for s in evaluation.cloud] if evaluation.cloud else ["", "", ""]
    return tuple(cells)


def apple_iou(sequence: Path, record: dict[str, Any], mask_path: Path) -> tuple[float, int]:
    """Return IoU on the kept frame nearest to the one that the mask shows, and that frame's number."""
    frame = min(record["frames"], key=lambda f: abs(f["source_index"] - APPLE_MASK_FRAME))
    found = cv2.imread(str(sequence / "masks" / f"{Path(frame['image']).stem}.png"), cv2.IMREAD_GRAYSCALE)
    true = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
    if found is None or true is None:
        return 0.0, int(frame["source_index"])
    return mask_iou(found > 127, true > 127), int(frame["source_index"])


def print_row(cells: tuple[str, ...], markdown: bool) -> None:
    """Print one line of the table."""
    if markdown:
        print("| " + " | ".join(cells) + " |", flush=True)
        return
    widths = (17, 4, 10, 7, *(9,) * (len(COLUMNS) - 4))
    line = f"{cells[0]:17} {cells[1]:>4}  {cells[2]:10.10}" + f"{cells[3]:>7}"
    line += "".join(f"{cell:>{width}}" for cell, width in zip(cells[4:], widths[4:], strict=True))
    print(line + (f"  {cells[2]}" if len(cells[2]) > 10 else ""), flush=True)


@contextmanager
def working_folder(out: Path | None) -> Iterator[Path]:
    """Yield the folder to work in."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def machine() -> str:
    """Return the processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    return f"{name}, {usable_cores()} cores"


def commit() -> str:
    """Return the commit of the checkout, with ``+`` when it has changes; ``unknown`` outside of one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+" if changes.stdout.strip() else "")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
