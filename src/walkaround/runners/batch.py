"""Many captures into one dataset, on this machine or on a cluster."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from walkaround.dataset.catalog import CatalogWriter
from walkaround.dataset.classes import ClassEntry, ClassTable
from walkaround.dataset.manifest import CaptureEntry
from walkaround.io.locks import locked
from walkaround.limits import check_limits
from walkaround.pipeline import BuildOptions
from walkaround.runners._loop import RUNNERS, BatchLoop
from walkaround.runners.journal import Journal, Outcome, batch_folder
from walkaround.runners.options import BatchOptions, check_batch_options
from walkaround.runners.progress import Snapshot, Tracker
from walkaround.runners.task import Job

__all__ = ["BatchOptions", "BatchResult", "build_batch"]


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What came of a batch."""

    snapshot: Snapshot
    failed: tuple[Outcome, ...]
    """Captures that are set aside, those of earlier runs included."""


def build_batch(
    entries: Sequence[CaptureEntry],
    root: Path,
    *,
    options: BatchOptions | None = None,
    build: BuildOptions | None = None,
    classes: ClassTable | None = None,
    progress: Callable[[Snapshot], None] | None = None,
    report: Callable[[Outcome], None] | None = None,
) -> BatchResult:
    """Build every capture of a batch that is not done with; a second call does nothing, or the rest.

    Parameters
    ----------
    build
        Options of all sequences; class label, instance id, licence and consent are the entries'.
    classes
        The class table, for ``dataset.json``; None lists the labels of the entries, in their order.
    progress
        Called about once a second.
    report
        Called with each capture's outcome, once it is in the catalogue.

    Raises
    ------
    UsageError
        An option is out of range, or Ray is not installed or cannot be reached.
    InUse
        Another batch runs on ROOT.
    OutputError
        ROOT cannot be written or the disk is full; all running builds are stopped.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; all running builds are stopped, and the same call continues.
    """
    options, build = options or BatchOptions(), build or BuildOptions()
    check_batch_options(options)
    check_limits(dataclasses.asdict(build))
    classes = classes or _labels(entries)
    folder = batch_folder(root)
    busy = f"Another batch runs on {root} (`walkaround status {root}`). Wait until it ends, or stop it."
    tracker = Tracker(folder, total=len(entries), runner=options.runner, show=progress)
    with (
        _interrupted_by_sigterm(),
        locked(folder.with_name("batch.lock"), wait=False, message=busy),
        Journal(folder) as journal,
        tracker,
    ):
        loop = _run(entries, root, options, build, classes, journal, tracker, report)
    return BatchResult(snapshot=tracker.snapshot("finished"), failed=loop.failed())


def _run(
    entries: Sequence[CaptureEntry],
    root: Path,
    options: BatchOptions,
    build: BuildOptions,
    classes: ClassTable,
    journal: Journal,
    tracker: Tracker,
    report: Callable[[Outcome], None] | None,
) -> BatchLoop:
    with CatalogWriter(root, classes=classes) as catalog:
        loop = BatchLoop(entries, root, options, build, journal, catalog, tracker, report)
        job = Job(
            root=root,
            build=build,
            time_limit_s=options.time_limit_s or None,
            stage_time_limit_s=options.stage_time_limit_s or None,
            memory_limit_mb=options.memory_limit_mb or None,
            movable=loop.movable,
        )
        with RUNNERS[options.runner](job, options, tracker.stage) as runner:
            tracker.workers = runner.workers
            loop.run(runner)
    loop.finish()
    if loop.num_set_aside:
        with CatalogWriter(root, classes=classes):  # finds what their processes left
            pass
    return loop


def _labels(entries: Sequence[CaptureEntry]) -> ClassTable:
    """List the classes beforehand, so that ``dataset.json`` does not depend on which sequence ends first."""
    labels = dict.fromkeys(entry.class_label for entry in entries)
    return ClassTable(entries=tuple(ClassEntry(label=label) for label in labels))


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, end a batch like Ctrl-C; only the main thread can say so."""

    def interrupt(number: int, stack: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
