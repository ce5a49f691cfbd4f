"""What the catalogue costs as it grows: ``python benchmarks/catalog.py --rows 1000 10000 219188``.

Each number of rows is measured in a process of its own: writing the catalogue whole, putting one row and a
hundred rows into it, rows a second when they arrive as fast as they can (they go out together), comparing it
with as many sequence folders when nothing changed (what the start of a batch does), a query, the statistics,
splits, and a manifest of as many captures. Records have
the size of real ones; CPU seconds are counted, so that other work on the machine hardly matters.
"""

from __future__ import annotations

import csv
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import tyro
from accuracy import commit, machine

from walkaround import __version__
from walkaround.dataset.catalog import CatalogWriter
from walkaround.dataset.classes import ClassTable
from walkaround.dataset.manifest import read_captures
from walkaround.dataset.reconcile import Seen, find_difference, write_seen
from walkaround.dataset.rows import catalog_row, merge_catalog, opened_catalog, write_catalog
from walkaround.dataset.schema import (
    RECORD_NAME,
    FrameRecord,
    SequenceRecord,
    SourceRecord,
    StageRecord,
    read_record,
    write_record,
)
from walkaround.dataset.splits import make_splits
from walkaround.dataset.splits_options import SplitsOptions
from walkaround.dataset.stats import read_stats

STAGES = ("capture", "frames", "cameras", "depth", "masks", "cloud", "quality")
FILES = {"frames": "images", "depth": "depth", "masks": "masks"}
QUERY = "SELECT class_label, count(*), avg(scores['score 7']) FROM catalog GROUP BY ALL ORDER BY ALL LIMIT 5"
LINKS = 30_000  # a file system's limit is 65,000 names a file


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the catalogue."""

    rows: tuple[int, ...] = (1_000, 10_000, 219_188)
    """Numbers of sequences."""
    burst: int = 2_000
    """Rows that arrive at once."""
    only: bool = False
    """Measure in this process (what the benchmark itself uses)."""


def main(arguments: Arguments) -> None:
    """Print one table a number of rows."""
    if arguments.only:
        measure(arguments.rows[0], arguments.burst)
        return
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    for count in arguments.rows:
        command = [sys.executable, __file__, "--only", "--rows", str(count), "--burst", str(arguments.burst)]
        subprocess.run(command, check=True)


def measure(count: int, burst: int) -> None:
    """Measure a catalogue of ``count`` rows."""
    print(f"{count} rows", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with line("make and write all rows") as note:
            write_catalog(root, (catalog_row(make_record(number)) for number in range(count)))
            note(f"{(root / 'catalog.parquet').stat().st_size / 1e6:.1f} MB")
        before = (root / "catalog.parquet").read_bytes()
        for number in (1, 100):
            rows = [catalog_row(make_record(i)) for i in range(0, count, max(1, count // number))[:number]]
            with line(f"put {number} of them in again") as note:
                merge_catalog(root, rows)
                note("same bytes" if (root / "catalog.parquet").read_bytes() == before else "OTHER BYTES")
        make_folders(root, count)
        with line("compare with the folders, nothing changed") as note:
            difference = find_difference(root)
            note(f"{len(difference.changed)} to read")
        measure_writer(root, count, burst)
        with line("group by class"), opened_catalog(root) as database:
            database.execute(QUERY).fetchall()
        with line("walkaround stats, without printing"):
            read_stats(root)
        with line("walkaround splits, without writing") as note:
            splits = make_splits(root, options=SplitsOptions())
            note(str({name: len(members) for name, members in splits.members.items()}))
        measure_manifest(root, count)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"  {'peak memory of all this':<44} {peak:9.0f} MB", flush=True)


def measure_manifest(root: Path, count: int) -> None:
    """Read a manifest of as many captures, as CSV and as Parquet."""
    table = ClassTable.mvimgnet2()
    text = root / "manifest.csv"
    with text.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "class_label", "instance_id", "licence", "consent"])
        writer.writerow([text, "mug", "", "", ""])
        for number in range(count - 1):
            label = table.entries[number % len(table.entries)].class_id
            writer.writerow([f"videos/{number:06}.mp4", label, f"{number:08x}", "CC-BY-NC-4.0", "yes"])
    binary = text.with_suffix(".parquet")
    duckdb.read_csv(str(text), all_varchar=True).write_parquet(str(binary))
    for path in (text, binary):
        with line(f"read a manifest ({path.suffix})") as note:
            note(f"{len(read_captures(path, classes=table))} entries")


def measure_writer(root: Path, count: int, burst: int) -> None:
    """Add rows as fast as they can arrive, one second's worth or more, and wait for all."""
    records = [make_record(number) for number in range(count, count + burst)]
    sample = root / "class 0" / records[0].instance_id
    sample.mkdir(parents=True)
    write_record(sample, records[0])
    with line("read 100 records (rows to reconcile)"):
        for _ in range(100):
            read_record(sample)
    (sample / RECORD_NAME).unlink()
    with CatalogWriter(root) as writer:
        started = time.perf_counter()
        with line(f"{burst} rows at once through the writer") as note:
            for future in [writer.add(record) for record in records]:
                future.result()
            note(f"{burst / (time.perf_counter() - started):.0f} rows/s")


def make_folders(root: Path, count: int) -> None:
    """Make ``count`` sequence folders that the catalogue knows; their records are links to a few files."""
    seen = {}
    for number in range(count):
        record = make_record(number)
        folder = root / record.class_label / record.instance_id
        folder.mkdir(parents=True)
        if number % LINKS == 0:
            source = folder / RECORD_NAME
            write_record(folder, record)
        else:
            (folder / RECORD_NAME).hardlink_to(source)
        state = Seen.of(source)
        assert state is not None
        seen[record.class_label, record.instance_id] = state
    write_seen(root, seen)


def make_record(number: int) -> SequenceRecord:
    """Return a record as large as a real one."""
    rng = random.Random(number)
    digest = f"{rng.getrandbits(256):064x}"
    stages = {
        name: StageRecord(
            key=f"{rng.getrandbits(256):064x}",
            seconds=round(rng.random() * 20, 3),
            cpu_seconds=round(rng.random() * 20, 3),
            scores={f"score {7 * place + i}": rng.random() for i in range(7)},
            outputs={f"{FILES[name]}/{i:03d}.png": 200_000 + i for i in range(30)} if name in FILES else {},
        )
        for place, name in enumerate(STAGES)
    }
    frames = tuple(
        FrameRecord(image=f"{i:03d}.jpg", source_index=i * 9, timestamp_s=i / 3, registered=True)
        for i in range(30)
    )
    return SequenceRecord(
        class_label=f"class {number % 515}",
        instance_id=digest[:12],
        status="accepted" if number % 5 else "rejected",
        reasons=("small_object",) if number % 3 else (),
        source=SourceRecord(kind="video", sha256=digest, duration_s=10.0, num_frames=300),
        frames=frames,
        scores={name: value for stage in stages.values() for name, value in stage.scores.items()},
        options={name: {f"option_{i}": i for i in range(8)} for name in STAGES},
        stages=stages,
    )


@contextmanager
def line(name: str) -> Iterator[Callable[[str], None]]:
    """Print what a block cost."""
    notes: list[str] = []
    started, wall = time.process_time(), time.perf_counter()
    yield notes.append
    spent, passed = time.process_time() - started, time.perf_counter() - wall
    print(f"  {name:<44} {spent:9.3f} CPU-s {passed:8.3f} s  {' '.join(notes)}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
