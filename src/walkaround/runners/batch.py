"""Many captures into one dataset: hand out tasks, keep what came of them, and never stop for one capture.

The loop of :meth:`_Batch.run` is all there is: fill the runner's free places, wait, keep what finished. A runner
(:mod:`walkaround.runners.local`, :mod:`walkaround.runners.ray`) only runs tasks; what is retried, set aside or passed
over is decided here, for every runner alike.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

from walkaround.dataset.catalog import CatalogWriter
from walkaround.dataset.classes import ClassTable
from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.rows import entry_keys
from walkaround.dataset.schema import SequenceRecord, read_record
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.io.locks import locked
from walkaround.limits import check_limits
from walkaround.pipeline import BuildOptions
from walkaround.runners.failures import forget_failure, log_death
from walkaround.runners.journal import Fingerprints, History, Journal, Outcome, batch_folder
from walkaround.runners.local import LocalRunner
from walkaround.runners.progress import Snapshot, Tracker
from walkaround.runners.shares import default_workers
from walkaround.runners.task import DUPLICATE, NO_CONSENT, Death, Finished, Job, StageProgress, Task
from walkaround.workspace import outputs_stand

logger = logging.getLogger(__name__)

_WAIT_S = 0.5
_BUSY_S = 1.0
_MAX_WAITS = 120
"""Times a capture is put off, a second and more each, because another process builds its sequence."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is run; nothing here changes what comes out."""

    runner: Literal["local", "ray"] = "local"
    """``local``: processes of this machine. ``ray``: tasks of a Ray cluster, or of a local Ray."""
    workers: int = 0
    """Sequences at once; 0 means one a core while memory lasts (local), or as many as fit (ray)."""
    retries: int = 1
    """How often a capture is tried again after its process died, before it is set aside."""
    retry_failed: bool = False
    """Try again what earlier runs have set aside."""
    time_limit_s: float = 0.0
    """Stop a sequence that takes longer; 0 means no limit."""
    stage_time_limit_s: float = 0.0
    """Stop a sequence one of whose stages takes longer; 0 means no limit."""
    memory_limit_mb: float = 0.0
    """Stop a sequence that holds more memory; 0 means no limit."""
    ray_address: str | None = None
    """Address of a Ray cluster, for example ``auto`` or ``ray://host:10001``; None starts one here."""
    gpu_share: float = 1.0
    """What a stage on the GPU reserves of one (ray); 0.25 lets four share it."""


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What came of a batch."""

    snapshot: Snapshot
    failed: tuple[Outcome, ...]
    """Captures that are set aside, those of earlier runs included."""


class Runner(Protocol):
    """Something that runs tasks. Leaving it as a context ends them."""

    @property
    def workers(self) -> int: ...
    @property
    def room(self) -> int:
        """How many more tasks it takes now; bounded, so that a long batch does not pile up."""
        ...

    @property
    def num_running(self) -> int: ...
    def threads(self, waiting: int) -> int:
        """Threads for a task that is submitted now, while ``waiting`` tasks (it included) have not started."""
        ...

    def submit(self, task: Task) -> None: ...
    def wait(self, timeout_s: float) -> list[Finished]: ...


RunnerFactory = Callable[[Job, BatchOptions, StageProgress], AbstractContextManager[Runner]]


def _local_runner(
    job: Job, options: BatchOptions, progress: StageProgress
) -> AbstractContextManager[Runner]:
    return LocalRunner(job, workers=options.workers or default_workers(), progress=progress)


def _ray_runner(job: Job, options: BatchOptions, progress: StageProgress) -> AbstractContextManager[Runner]:
    from walkaround.runners.ray import RayRunner

    return RayRunner(
        job,
        address=options.ray_address,
        workers=options.workers,
        gpu_share=options.gpu_share,
        progress=progress,
    )


RUNNERS: dict[str, RunnerFactory] = {"local": _local_runner, "ray": _ray_runner}


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
    """Build every capture of a batch that is not done with; a second call does nothing or the rest.

    Parameters
    ----------
    build
        Options of all sequences; class label, instance id, licence and consent are the entries'.
    classes
        The class table, for ``dataset.json``.
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
    _check(options, build)
    folder = batch_folder(root)
    message = f"Another batch runs on {root}. See `walkaround status {root}`; wait until it ends, or stop it."
    with (
        _interrupted_by_sigterm(),
        locked(folder.with_name("batch.lock"), wait=False, message=message),
        Journal(folder) as journal,
        CatalogWriter(root, classes=classes) as catalog,
    ):
        batch = _Batch(entries, root, options, build, journal, catalog, progress, report)
        return batch.run()


class _Batch:
    """The state of one run over a batch."""

    def __init__(
        self,
        entries: Sequence[CaptureEntry],
        root: Path,
        options: BatchOptions,
        build: BuildOptions,
        journal: Journal,
        catalog: CatalogWriter,
        progress: Callable[[Snapshot], None] | None,
        report: Callable[[Outcome], None] | None,
    ) -> None:
        self._entries, self._root, self._options, self._build = entries, root, options, build
        self._journal, self._catalog = journal, catalog
        self._progress, self._report = progress, report
        self._folder = batch_folder(root)
        self._fingerprint = Fingerprints(build)
        self._left = deque(entries)
        self._again: deque[Task] = deque()
        self._put_off: list[tuple[float, Task]] = []
        self._settling: deque[tuple[Future[None] | None, Outcome, SequenceRecord | None]] = deque()
        self._prints: dict[str, str] = {}
        keys = {entry.key for entry in entries}
        known = entry_keys(root)
        self._claims = {name: key for name, key in known.items() if key in keys}
        self._movable = frozenset(known) - self._claims.keys()
        self._tracker = Tracker(
            self._folder, total=len(entries), runner=options.runner, workers=options.workers
        )

    def run(self) -> BatchResult:
        """Work until every capture has an outcome."""
        try:
            with RUNNERS[self._options.runner](self._job(), self._options, self._tracker.stage) as runner:
                self._tracker.workers = runner.workers
                self._loop(runner)
        except KeyboardInterrupt:
            self._show(self._tracker.write("interrupted"))
            raise
        except BaseException as error:
            self._show(self._tracker.write("stopped", f"{error}"))
            raise
        snapshot = self._tracker.write("finished")
        self._show(snapshot)
        outcomes = (self._history(entry.key).outcome for entry in self._entries)
        failed = tuple(outcome for outcome in outcomes if outcome and outcome.outcome == "failed")
        return BatchResult(snapshot=snapshot, failed=failed)

    def _loop(self, runner: Runner) -> None:
        while True:
            self._fill(runner)
            if runner.num_running:
                for finished in runner.wait(_WAIT_S):
                    self._handle(finished)
            elif self._put_off:
                time.sleep(_WAIT_S)
            else:
                break
            self._settle()
            self._tick()
        self._catalog.flush()
        self._settle()

    def _job(self) -> Job:
        options = self._options
        return Job(
            root=self._root,
            build=self._build,
            time_limit_s=options.time_limit_s or None,
            stage_time_limit_s=options.stage_time_limit_s or None,
            memory_limit_mb=options.memory_limit_mb or None,
            movable=self._movable,
        )

    def _fill(self, runner: Runner) -> None:
        """Hand out tasks while the runner has room."""
        while runner.room > 0 and (task := self._next()) is not None:
            waiting = 1 + len(self._again) + len(self._left)
            self._tracker.begin(task.key, task.entry.class_label)
            runner.submit(dataclasses.replace(task, threads=runner.threads(waiting)))

    def _next(self) -> Task | None:
        now = time.monotonic()
        for due, task in [item for item in self._put_off if item[0] <= now]:
            self._put_off.remove((due, task))
            self._again.append(task)
        if self._again:
            return self._again.popleft()
        while self._left:
            entry = self._left.popleft()
            self._prints[entry.key] = self._fingerprint(entry)
            if not self._pass_over(entry):
                return Task(entry=entry, attempt=self._deaths(entry.key) + 1)
            self._settle()
            self._tick()
        return None

    def _pass_over(self, entry: CaptureEntry) -> bool:
        """Count a capture that needs no work; return False when it needs some."""
        history = self._history(entry.key)
        old = history.outcome if history.fingerprint == self._prints[entry.key] else None
        if entry.consent is False:
            self._end(entry, rejection=(NO_CONSENT, "The collector refused consent."), seconds=0.0)
            return True
        if old is None or self._build.overwrite:
            return False
        if old.outcome == "failed":
            if self._options.retry_failed:
                self._journal.forgave(entry.key, time.time())
                forget_failure(self._folder, entry.key)
                return False
            self._tracker.end(old, None, skipped=True)
            return True
        record = self._finished_record(old)
        if record is None:
            return False
        self._claims[record.instance_id] = entry.key
        if self._catalog.reconciled:
            self._catalog.add(record, entry)
        self._tracker.end(old, record, skipped=True)
        return True

    def _finished_record(self, old: Outcome) -> SequenceRecord | None:
        """Return the record of a sequence that is all there; None when anything is missing."""
        if not old.instance_id:
            return None
        folder = self._root / old.class_label / old.instance_id
        try:
            record = read_record(folder)
        except FormatError:
            return None
        return record if record.status == old.outcome and outputs_stand(folder, record) else None

    def _handle(self, finished: Finished) -> None:
        """Keep what became of a task."""
        task = finished.task
        again = finished.death is not None and task.attempt <= self._options.retries
        self._tracker.leave(task.key, retried=again)
        if finished.stop is not None:
            raise finished.stop
        if finished.record is not None:
            self._built(task, finished.record, finished.seconds)
        elif finished.rejection is not None:
            self._end(task.entry, rejection=finished.rejection, seconds=finished.seconds)
        elif finished.death is not None:
            self._died(task, finished.death, again=again, seconds=finished.seconds)
        elif finished.busy:
            self._wait_for_other(task)

    def _built(self, task: Task, record: SequenceRecord, seconds: float) -> None:
        entry = task.entry
        if record.status == "incomplete":  # the first part of its stages
            self._again.appendleft(dataclasses.replace(task, part=task.part + 1))
            return
        owner = self._claims.setdefault(record.instance_id, entry.key)
        if owner != entry.key:
            where = f"{record.class_label}/{record.instance_id}"
            text = f"The same capture is {where} of this dataset, from entry {owner}."
            self._end(entry, rejection=(DUPLICATE, text), seconds=seconds)
            return
        outcome = self._outcome(
            entry,
            record.status,
            instance_id=record.instance_id,
            reasons=record.reasons,
            message=record.message,
            seconds=seconds,
        )
        self._settling.append((self._catalog.add(record, entry), outcome, record))

    def _died(self, task: Task, death: Death, *, again: bool, seconds: float) -> None:
        key, fingerprint = task.key, self._prints[task.key]
        where = f" in the stage {death.stage!r}" if death.stage else ""
        log_death(self._folder, key, attempt=task.attempt, text=death.log)
        self._journal.died(key, fingerprint, what=death.what, stage=death.stage, now=time.time())
        logger.warning(
            "%s %s: its process died (%s)%s; it is %s.",
            task.entry.class_label,
            key,
            death.what,
            where,
            "tried again" if again else "set aside",
        )
        if again:
            self._again.append(dataclasses.replace(task, attempt=task.attempt + 1))
        else:
            message = f"{death.what}{where}"
            outcome = self._outcome(task.entry, "failed", message=message, seconds=seconds)
            self._settling.append((None, outcome, None))

    def _wait_for_other(self, task: Task) -> None:
        if task.waited >= _MAX_WAITS:
            text = "Another process was at work on the same sequence all the time."
            death = Death(what="in use", stage="", log=text)
            self._died(task, death, again=False, seconds=0.0)
            return
        due = time.monotonic() + _BUSY_S
        self._put_off.append((due, dataclasses.replace(task, waited=task.waited + 1)))

    def _end(self, entry: CaptureEntry, *, rejection: tuple[str, str], seconds: float) -> None:
        """Reject a capture of which there is no record."""
        reason, message = rejection
        outcome = self._outcome(entry, "rejected", reasons=(reason,), message=message, seconds=seconds)
        self._settling.append((None, outcome, None))

    def _outcome(self, entry: CaptureEntry, outcome: str, **values: Any) -> Outcome:
        return Outcome(
            key=entry.key,
            class_label=entry.class_label,
            outcome=outcome,
            fingerprint=self._prints[entry.key],
            time=time.time(),
            **values,
        )

    def _settle(self) -> None:
        """Put into the journal what is in the catalogue."""
        waiting: list[tuple[Future[None] | None, Outcome, SequenceRecord | None]] = []
        while self._settling:
            future, outcome, record = self._settling.popleft()
            if future is not None and not future.done():
                waiting.append((future, outcome, record))
                continue
            if future is not None:
                future.result()
            if outcome.outcome != "failed":
                forget_failure(self._folder, outcome.key)
            self._journal.ended(outcome)
            self._tracker.end(outcome, record)
            if self._report is not None:
                self._report(outcome)
        self._settling.extend(waiting)

    def _tick(self) -> None:
        self._show(self._tracker.tick())

    def _show(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None and self._progress is not None:
            self._progress(snapshot)

    def _history(self, key: str) -> History:
        return self._journal.histories.get(key, _NO_HISTORY)

    def _deaths(self, key: str) -> int:
        history = self._history(key)
        return history.deaths if history.fingerprint == self._prints[key] else 0


_NO_HISTORY = History()


def _check(options: BatchOptions, build: BuildOptions) -> None:
    check_limits(dataclasses.asdict(build))
    lows = {
        "workers": 0,
        "retries": 0,
        "time_limit_s": 0,
        "stage_time_limit_s": 0,
        "memory_limit_mb": 0,
        "gpu_share": 0.001,
    }
    for name, low in lows.items():
        value = getattr(options, name)
        if not value >= low:
            raise UsageError(f"--{name.replace('_', '-')} {value} is out of range: at least {low}.")
    if options.runner not in RUNNERS:
        raise UsageError(f"--runner {options.runner!r} is unknown; choose one of {', '.join(RUNNERS)}.")
    if options.ray_address is not None and options.runner != "ray":
        raise UsageError("--ray-address needs --runner ray.")


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
