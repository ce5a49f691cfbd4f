"""What a whole collection would take: ``python benchmarks/plan.py ROOT... --sequences 219188``.

ROOT are datasets built with ``--threads 1`` (``benchmarks/scale.py --out`` leaves some); their sequences
stand for those of the collection, drawn with a seed. Prints core-hours, storage, bytes moved and cost by
stage, then simulates the schedule on clusters: a queue for cores, one for the shared storage, one for the
driver of the batch. The driver's rates and the catalogue's are measured here; bandwidth and prices are
assumptions, given as options and printed.
"""

from __future__ import annotations

import heapq
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from accuracy import commit, machine
from catalog import make_record

from walkaround import __version__
from walkaround.build_options import BuildOptions
from walkaround.dataset.catalog import CatalogWriter
from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.rows import catalog_row, merge_catalog, write_catalog
from walkaround.dataset.schema import SequenceRecord, read_record
from walkaround.runners._loop import BatchLoop
from walkaround.runners.journal import Journal, batch_folder
from walkaround.runners.options import BatchOptions
from walkaround.runners.progress import Tracker
from walkaround.runners.task import Finished, Job, Task

READS = {
    "capture": ("source",),
    "frames": ("source",),
    "cameras": ("frames",),
    "depth": ("frames", "cameras"),
    "masks": ("frames", "cameras", "depth"),
    "cloud": ("frames", "cameras", "depth", "masks"),
    "quality": ("frames", "cameras", "depth", "masks", "cloud"),
}
"""Stage -> what it reads, named by the stage that wrote it."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Plan a collection."""

    roots: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Datasets whose sequences stand for those of the collection."""
    sequences: int = 219_188
    """Of the collection; MVImgNet has 219,188."""
    cores: tuple[int, ...] = (1_000, 10_000)
    source_mb: float = 20.0
    """Of a video: ten seconds of 1080p from a phone, 16 Mbit/s."""
    start_s: float = 0.7
    """CPU seconds of a build's process that are in no stage: start, libraries, end."""
    storage_mb_s: float = 5_000.0
    """Assumed bandwidth of the shared storage, reads and writes together."""
    core_hour: float = 0.04
    """Assumed price of a core-hour with 2 GB of memory, in dollars."""
    gb_month: float = 0.023
    """Assumed price of a GB of storage for a month, in dollars."""
    tasks: int = 2_000
    """Captures without work for which the driver is measured."""
    catalog_rows: int = 20_000
    """Rows with which the catalogue is measured; a write's time is taken to grow linearly."""
    ray: bool = True
    seed: int = 0


def main(arguments: Arguments) -> None:
    """Print the table and the schedules."""
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    records = [read_record(path.parent) for root in arguments.roots for path in found(root)]
    whole = [record for record in records if record.status == "accepted"]
    print(f"{len(whole)} accepted sequences stand for {arguments.sequences}: " + ", ".join(map(said, whole)))
    table(whole, arguments)
    loop_s = driver_s(arguments.tasks)
    print(f"\ndriver, local: {1e3 * loop_s:.2f} ms of CPU a capture (journal and catalogue included)")
    ray_s = loop_s + ray_task_s(arguments.tasks // 4) if arguments.ray else loop_s
    if arguments.ray:
        print(f"driver, Ray: {1e3 * ray_s:.2f} ms of CPU a capture, {1 / ray_s:.0f} captures/s at most")
        for cores in arguments.cores:
            print(f"  waiting on {cores} tasks: {1e3 * ray_wait_s(cores):.1f} ms of CPU a look")
    write_s = catalog_write_s(arguments.catalog_rows) * arguments.sequences / arguments.catalog_rows
    print(
        f"catalogue: a write of {arguments.sequences} rows takes {write_s:.1f} CPU-s (linear from "
        f"{arguments.catalog_rows}), so it is written every {20 * write_s:.0f} s with all that came meanwhile"
    )
    for cores in arguments.cores:
        print(schedule(whole, cores, ray_s, arguments))


def found(root: Path) -> Iterator[Path]:
    """Yield the records of a dataset."""
    yield from sorted(root.glob("[!.]*/*/sequence.json"))


def said(record: SequenceRecord) -> str:
    """Name a sequence by its size and cost."""
    source = record.source
    return f"{len(record.frames)} frames of {source.width}x{source.height} ({cpu_s(record):.0f} CPU-s)"


def cpu_s(record: SequenceRecord) -> float:
    """Return the CPU seconds of all stages."""
    return sum(stage.cpu_seconds for stage in record.stages.values())


def written_mb(record: SequenceRecord, stage: str, source_mb: float) -> float:
    """Return what a stage wrote, in MB; ``source`` is the video."""
    if stage == "source":
        return source_mb
    return sum(record.stages[stage].outputs.values()) / 1e6


def table(records: list[SequenceRecord], arguments: Arguments) -> None:
    """Print core-hours, storage, bytes moved and cost by stage."""
    number = arguments.sequences
    print(
        f"\n{'stage':10} {'CPU-s each':>10} {'core-hours':>11} {'TB stored':>10} {'TB read':>8} {'cost $':>9}"
    )
    sums = [0.0] * 5
    for stage in (*READS, "process"):
        if stage == "process":
            seconds, stored, read = arguments.start_s, 0.0, 0.0
        else:
            seconds = statistics.mean(record.stages[stage].cpu_seconds for record in records)
            stored = statistics.mean(written_mb(record, stage, 0.0) for record in records)
            read = statistics.mean(
                sum(written_mb(record, name, arguments.source_mb) for name in READS[stage])
                for record in records
            )
        hours = seconds * number / 3600
        values = (seconds, hours, stored * number / 1e6, read * number / 1e6, hours * arguments.core_hour)
        sums = [total + value for total, value in zip(sums, values, strict=True)]
        print(line(stage, values))
    print(line("all", sums))
    month = sums[2] * 1e3 * arguments.gb_month
    source_tb = arguments.source_mb * number / 1e6
    print(
        f"prices assumed: ${arguments.core_hour} a core-hour, ${arguments.gb_month} a GB and month: "
        f"${month:,.0f} a month for the dataset, ${source_tb * 1e3 * arguments.gb_month:,.0f} for "
        f"{source_tb:.1f} TB of videos"
    )


def line(name: str, values: Any) -> str:
    """Return a row of the table."""
    seconds, hours, stored, read, cost = values
    return f"{name:10} {seconds:10.2f} {hours:11,.0f} {stored:10.2f} {read:8.2f} {cost:9,.0f}"


class Instant:
    """A runner whose tasks are done at once: what remains is the driver's own work."""

    workers = room = 64
    num_tasks = 0

    def __init__(self) -> None:
        self._done: list[Finished] = []

    def threads(self, waiting: int) -> int:
        return 1

    def submit(self, task: Task) -> None:
        number = int(task.entry.source)
        record = make_record(number)
        self._done.append(Finished(task=task, record=record, seconds=1.0))
        self.num_tasks = len(self._done)
        self.room = 64 - self.num_tasks

    def wait(self, timeout_s: float) -> list[Finished]:
        done, self._done = self._done, []
        self.num_tasks, self.room = 0, 64
        return done


def driver_s(tasks: int) -> float:
    """Return the CPU seconds of the batch's own process for one capture."""
    entries = [CaptureEntry(source=str(number), class_label="mug") for number in range(tasks)]
    start = time.process_time()
    for number in range(tasks):
        make_record(number)
    making_s = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tracker = Tracker(batch_folder(root), total=tasks, runner="local")
        start = time.process_time()
        with Journal(batch_folder(root)) as journal, CatalogWriter(root) as catalog:
            options, build = BatchOptions(), BuildOptions()
            loop = BatchLoop(entries, root, options, build, journal, catalog, tracker, None)
            loop.run(Instant())
        return (time.process_time() - start - making_s) / tasks


def noop(job: Job, task: Task, stages: Any) -> Finished:
    """Stand for a build on a Ray worker: says what a real one says, and gives a record of real size back."""
    for stage in READS:
        stages.say.remote(task.key, stage, 0.0)
    return Finished(task=task, record=make_record(0))


def ray_task_s(tasks: int) -> float:
    """Return the CPU seconds that Ray takes in the driver's process for one task."""
    import ray

    from walkaround.runners.ray import RayRunner

    job = Job(root=Path(), build=BuildOptions())
    with RayRunner(job, options=BatchOptions(runner="ray"), progress=lambda *_: None) as runner:
        runner._build = ray.remote(noop)
        left = [Task(entry=CaptureEntry(source=str(number), class_label="mug")) for number in range(tasks)]
        for warm in (True, False):
            todo = left[:20] if warm else list(left)
            start, number = time.process_time(), len(todo)
            while todo or runner.num_tasks:
                while todo and runner.room > 0:
                    runner.submit(todo.pop())
                runner.wait(1.0)
        return (time.process_time() - start) / number


def ray_wait_s(tasks: int) -> float:
    """Return the CPU seconds of looking at so many tasks, as the runner does twice a round."""
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, resources={"gate": 1})
    try:
        pending = ray.remote(resources={"gate": 1})(lambda: time.sleep(600))
        refs = [pending.remote() for _ in range(tasks)]
        start = time.process_time()
        for _ in range(10):
            ray.wait(refs, num_returns=len(refs), timeout=0)
        return (time.process_time() - start) / 10
    finally:
        ray.shutdown()


def catalog_write_s(rows: int) -> float:
    """Return the CPU seconds of putting a hundred rows into a catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        write_catalog(Path(folder), [catalog_row(make_record(number)) for number in range(rows)])
        fresh = [catalog_row(make_record(rows + number)) for number in range(100)]
        start = time.process_time()
        merge_catalog(Path(folder), fresh)
        return time.process_time() - start


class Server:
    """Serves one at a time, in the order in which they come."""

    def __init__(self) -> None:
        self.free_s = self.busy_s = self.waited_s = 0.0

    def serve(self, now_s: float, service_s: float) -> float:
        """Return when a request that comes now is done."""
        begin = max(now_s, self.free_s)
        self.waited_s += begin - now_s
        self.busy_s += service_s
        self.free_s = begin + service_s
        return self.free_s


def schedule(records: list[SequenceRecord], cores: int, task_s: float, arguments: Arguments) -> str:
    """Simulate the whole collection on a cluster; say how long it takes and what is busiest."""
    rng = random.Random(arguments.seed)
    jobs = [
        (cpu_s(record) + arguments.start_s, sum(written_mb(record, stage, 0.0) for stage in record.stages))
        for record in rng.choices(records, k=arguments.sequences)
    ]
    driver, storage = Server(), Server()
    read_s = arguments.source_mb / arguments.storage_mb_s
    events: list[tuple[float, int, int]] = [(0.0, 0, job) for job in range(min(cores, len(jobs)))]
    following, end_s = len(events), 0.0
    while events:  # a core asks the driver, reads the video, computes, writes, and takes the next one
        now_s, step, job = heapq.heappop(events)
        compute_s, write_mb = jobs[job]
        if step == 0:
            now_s = driver.serve(now_s, task_s)
        elif step == 1:
            now_s = storage.serve(now_s, read_s) + compute_s
        elif step == 2:
            now_s = storage.serve(now_s, write_mb / arguments.storage_mb_s)
        else:
            end_s = max(end_s, now_s)
            if following < len(jobs):
                heapq.heappush(events, (now_s, 0, following))
                following += 1
            continue
        heapq.heappush(events, (now_s, step + 1, job))
    return verdict(cores, end_s, sum(job[0] for job in jobs), {"driver": driver, "storage": storage}, jobs)


def verdict(
    cores: int, end_s: float, work_s: float, servers: dict[str, Server], jobs: list[tuple[float, float]]
) -> str:
    """Say what a schedule shows."""
    lines = [f"\n{cores} cores: {end_s / 3600:.1f} h, cores busy {work_s / (cores * end_s):.1%}"]
    for name, server in servers.items():
        limit = work_s / max(server.busy_s, 1e-9)
        lines.append(
            f"  {name}: busy {server.busy_s / end_s:.1%}, a capture waits "
            f"{server.waited_s / len(jobs):.2f} s for it; it is full at {limit:,.0f} cores"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
