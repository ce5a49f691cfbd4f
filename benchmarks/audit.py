"""Audit and repair: faults found, alarms without one, repairs, and speed: ``python benchmarks/audit.py``.

Captures are simulated and built (with the shared data, ``--data`` or WALKAROUND_TEST_DATA, the bunny too),
laid out as MVImgNet 2.0 does, and copied. ``--faults`` plants every fault of tests/planting.py into a copy of
its own, audits, repairs and audits again. ``--speed`` measures images a second on clean copies, by header and
decoded, all processes together; CPU seconds are counted as well, for busy machines.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from accuracy import commit, machine

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import planting

from walkaround import __version__
from walkaround.dataset.audit import AuditOptions, Finding
from walkaround.dataset.readers import Dataset
from walkaround.pipeline import BuildOptions, build_sequence
from walkaround.runners.audit import audit_dataset
from walkaround.runners.repair import repair_scenes
from walkaround.simulate import SimulateOptions, simulate_capture

PARTS = ("images", "masks", "sparse")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure audit and repair."""

    faults: bool = False
    """Plant faults, find and repair them."""
    speed: bool = False
    """Measure images a second."""
    size: tuple[int, int] = (640, 360)
    """Of the simulated captures with faults."""
    scenes: int = 100
    """Clean copies for the speed."""
    workers: int = 2
    """Processes at once."""
    data: Path | None = None
    """The shared data; None takes WALKAROUND_TEST_DATA."""


def main(arguments: Arguments) -> None:
    """Print what was asked for."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["WALKAROUND_CACHE"] = str(Path(scratch) / "cache")
        if arguments.faults:
            plant_and_repair(Path(scratch), arguments)
        if arguments.speed:
            measure_speed(Path(scratch) / "speed", arguments)


def plant_and_repair(scratch: Path, arguments: Arguments) -> None:
    """Print a line a fault: found, other alarms, what repair made of it."""
    bases = build_bases(scratch, arguments)
    root, expected = plant(scratch / "faulty", bases)
    found: dict[str, set[str]] = {}

    def take(finding: Finding) -> None:
        if finding.severity != "note":
            found.setdefault(finding.key, set()).add(finding.code)

    start, cpu = time.perf_counter(), cpu_s()
    audit_dataset(Dataset(root), options=AuditOptions(decode=True), workers=arguments.workers, take=take)
    print(f"audit: {time.perf_counter() - start:.1f} s, {cpu_s() - cpu:.1f} CPU-s")
    start, cpu = time.perf_counter(), cpu_s()
    overlay = scratch / "faulty.repaired"
    outcomes = {
        item.key: item
        for item in repair_scenes(Dataset(root), sorted(found), overlay, workers=arguments.workers)
    }
    print(f"repair: {time.perf_counter() - start:.1f} s, {cpu_s() - cpu:.1f} CPU-s")
    before, found = found, {}
    audit_dataset(Dataset(root), options=AuditOptions(decode=True), workers=arguments.workers, take=take)
    totals = dict.fromkeys(("planted", "found", "repaired", "false alarms"), 0)
    print("| scene | planted | found besides | repair | left |\n| --- | --- | --- | --- | --- |")
    for key, codes in expected.items():
        got = before.get(key, set())
        others = got - codes - planting.ALSO.get(key.partition("/")[2].rpartition("-")[0], set())
        totals["planted"] += bool(codes)
        totals["found"] += bool(codes) and bool(got - others)
        totals["repaired"] += bool(codes) and key not in found
        totals["false alarms"] += len(others)
        done = outcomes[key].status + " " + outcomes[key].message if key in outcomes else ""
        left = ", ".join(sorted(found.get(key, ())))
        print(f"| {key} | {', '.join(codes)} | {', '.join(sorted(others))} | {done} | {left} |")
    kinds = {code for codes in expected.values() for code in codes}
    print(f"{totals}, {len(kinds)} kinds")


def build_bases(scratch: Path, arguments: Arguments) -> list[Path]:
    """Build captures; return their sequence folders."""
    sources = []
    for number, name in enumerate(("figurine", "vase")):
        options = SimulateOptions(object=name, size=arguments.size, num_frames=24, seed=number)
        sources.append(simulate_capture(scratch / f"capture-{name}", options=options).video_path)
    data = arguments.data or Path(os.environ.get("WALKAROUND_TEST_DATA", ""))
    if (data / "truth" / "bunny" / "images").is_dir():
        sources.append(data / "truth" / "bunny" / "images")
    folders = []
    for source in sources:
        record = build_sequence(source, scratch / "built", options=BuildOptions())
        folders.append(scratch / "built" / record.class_label / record.instance_id)
        print(f"built {source.name}: {record.status}, {record.scores.get('registered_share')} registered")
    return folders


def plant(root: Path, bases: list[Path]) -> tuple[Path, dict[str, set[str]]]:
    """Copy the bases in turn, a fault each, and each base without one; return scene -> codes."""
    expected: dict[str, set[str]] = {}
    names = [*planting.FAULTS, "missing_image", "inverted_mask", "other_object"]
    for number, name in enumerate(names):
        folder = root / "240" / f"{name}-{number}"
        copy(bases[number % len(bases)], folder)
        expected[f"240/{folder.name}"] = planting.FAULTS[name](folder)
    for number, base in enumerate(bases):
        copy(base, root / "240" / f"good-{number}")
        expected[f"240/good-{number}"] = set()
    return root, expected


def copy(base: Path, folder: Path) -> None:
    """Copy the parts that a released scene has."""
    for part in PARTS:
        shutil.copytree(base / part, folder / part)


def measure_speed(root: Path, arguments: Arguments) -> None:
    """Print images a second of clean copies of the largest capture there is, 1280 x 720 or so."""
    options = SimulateOptions(object="figurine", size=(1280, 720), num_frames=30)
    capture = simulate_capture(root.with_name("capture-720p"), options=options)
    record = build_sequence(capture.video_path, root.with_name("built-720p"), options=BuildOptions())
    base = root.with_name("built-720p") / record.class_label / record.instance_id
    for number in range(arguments.scenes):
        copy(base, root / "240" / f"{number:05d}")
    dataset = Dataset(root)
    megabytes = sum(path.stat().st_size for path in (base / "images").iterdir()) / 1e6 / len(record.frames)
    print(
        f"{len(dataset)} scenes of {len(record.frames)} images 1280 x 720, {megabytes:.2f} MB each, and masks"
    )
    for decode in (False, True):
        start, cpu = time.perf_counter(), cpu_s()
        summary = audit_dataset(dataset, options=AuditOptions(decode=decode), workers=arguments.workers)
        wall, cpu = time.perf_counter() - start, cpu_s() - cpu
        print(
            f"{'decoded' if decode else 'header'}: {summary.num_images / wall:.0f} images/s,"
            f" {1000 * cpu / summary.num_images:.2f} CPU-ms an image, {summary.num_clean} clean, {wall:.1f} s"
        )


def cpu_s() -> float:
    """Return the CPU seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)))
