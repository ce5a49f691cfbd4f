"""The loop of a batch: hand out tasks, keep what came of them, and never stop for one capture.

:meth:`BatchLoop.run` is all there is to it: fill the runner's free places, wait, keep what finished. A runner
(:mod:`walkaround.runners.local`, :mod:`walkaround.runners.ray`) only runs tasks; what is retried, set aside
or passed over is decided here, for every runner alike.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from walkaround.dataset.catalog import CatalogWriter
from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.rows import opened_catalog
from walkaround.dataset.schema import SequenceRecord, read_record
from walkaround.errors import FormatError
from walkaround.pipeline import BuildOptions
from walkaround.runners.failures import forget_failure, log_death
from walkaround.runners.journal import Fingerprints, History, Journal, Outcome, batch_folder
from walkaround.runners.local import LocalRunner
from walkaround.runners.options import BatchOptions, Runner
from walkaround.runners.order import largest_first
from walkaround.runners.progress import Tracker
from walkaround.runners.shares import default_workers
from walkaround.runners.task import DUPLICATE, NO_CONSENT, Death, Finished, Job, StageProgress, Task
from walkaround.workspace import outputs_stand

logger = logging.getLogger(__name__)

_WAIT_S = 0.5
_BUSY_S = 1.0
_MAX_WAITS = 120
"""Times a capture is put off, a second and more each, because another process builds its sequence."""


def _local_runner(job: Job, options: BatchOptions, progress: StageProgress) -> AbstractContextManager[Runner]:
    return LocalRunner(job, workers=options.workers or default_workers(), progress=progress)


def _ray_runner(job: Job, options: BatchOptions, progress: StageProgress) -> AbstractContextManager[Runner]:
    from walkaround.runners.ray import RayRunner

    return RayRunner(job, options=options, progress=progress)


RUNNERS: dict[str, Callable[[Job, BatchOptions, StageProgress], AbstractContextManager[Runner]]] = {
    "local": _local_runner,
    "ray": _ray_runner,
}


class BatchLoop:
    """The state of one run over a batch. One thread uses it."""

    def __init__(
        self,
        entries: Sequence[CaptureEntry],
        root: Path,
        options: BatchOptions,
        build: BuildOptions,
        journal: Journal,
        catalog: CatalogWriter,
        tracker: Tracker,
        report: Callable[[Outcome], None] | None,
    ) -> None:
        self._entries, self._root, self._options, self._build = entries, root, options, build
        self._journal, self._catalog, self._tracker, self._report = journal, catalog, tracker, report
        self._folder = batch_folder(root)
        self._fingerprint = Fingerprints(build)
        self._prints: dict[str, str] = {}
        self._left = deque(largest_first(entries))
        self._again: deque[Task] = deque()
        self.num_set_aside = 0
        """In this run."""
        self._put_off: list[tuple[float, Task]] = []
        self._settling: deque[tuple[Future[None] | None, Outcome, SequenceRecord | None]] = deque()
        keys = {entry.key for entry in entries}
        known = _entry_keys(root)
        self._owners = {instance_id: key for instance_id, key in known.items() if key in keys}
        self.movable = frozenset(known) - self._owners.keys()
        """Instance ids of sequences that belong to no entry of this batch."""

    def run(self, runner: Runner) -> None:
        """Work until nothing is left to build."""
        while True:
            self._fill(runner)
            if runner.num_tasks:
                for finished in runner.wait(_WAIT_S):
                    self._handle(finished)
            elif self._put_off:
                time.sleep(_WAIT_S)
            else:
                break
            self._settle()
            self._tracker.tick()

    def finish(self) -> None:
        """Put what is left into the journal, once the catalogue is closed."""
        self._settle()

    def failed(self) -> tuple[Outcome, ...]:
        """Return the captures that are set aside."""
        outcomes = (self._history(entry.key).outcome for entry in self._entries)
        return tuple(outcome for outcome in outcomes if outcome and outcome.outcome == "failed")

    def _fill(self, runner: Runner) -> None:
        while runner.room > 0 and (task := self._next()) is not None:
            waiting = 1 + len(self._again) + len(self._left)
            self._tracker.begin(task.key, task.entry.class_label)
            runner.submit(dataclasses.replace(task, threads=runner.threads(waiting)))

    def _next(self) -> Task | None:
        """Return what is to be done next: what was put off or failed once, then the next entry."""
        now = time.monotonic()
        for item in [item for item in self._put_off if item[0] <= now]:
            self._put_off.remove(item)
            self._again.append(item[1])
        if self._again:
            return self._again.popleft()
        while self._left:
            entry = self._left.popleft()
            self._prints[entry.key] = self._fingerprint(entry)
            if not self._pass_over(entry):
                return Task(entry=entry, attempt=self._deaths(entry.key) + 1)
            self._settle()
            self._tracker.tick()
        return None

    def _pass_over(self, entry: CaptureEntry) -> bool:
        """Count a capture that needs no work; return False when it needs some."""
        history = self._history(entry.key)
        old = history.outcome if history.fingerprint == self._prints[entry.key] else None
        if entry.consent is False:
            if old is None:
                self._reject(entry, NO_CONSENT, "The collector refused consent; it was not opened.")
            else:
                self._tracker.end(old, None, skipped=True)
            return True
        if old is None or self._build.overwrite:
            return False
        if old.outcome == "failed":
            return self._pass_over_failed(entry, old)
        record = self._finished_record(old)
        if record is None:
            return False
        self._owners[record.instance_id] = entry.key
        if self._catalog.reconciled.changed or self._catalog.reconciled.broken:
            self._catalog.add(record, entry)  # its row was made from the record, which knows no entry
        self._tracker.end(old, record, skipped=True)
        return True

    def _pass_over_failed(self, entry: CaptureEntry, old: Outcome) -> bool:
        if not self._options.retry_failed:
            self._tracker.end(old, None, skipped=True)
            return True
        self._journal.forgave(entry.key, time.time())
        forget_failure(self._folder, entry.key)
        return False

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
        self._tracker.leave(task.key)
        if finished.stop is not None:
            raise finished.stop
        if finished.record is not None:
            self._built(task, finished.record, finished.seconds)
        elif finished.rejection is not None:
            self._reject(task.entry, *finished.rejection, seconds=finished.seconds)
        elif finished.death is not None:
            self._died(task, finished.death, finished.seconds)
        elif finished.busy:
            self._wait_for_other(task)

    def _built(self, task: Task, record: SequenceRecord, seconds: float) -> None:
        entry = task.entry
        if record.status == "incomplete":  # the first part of its stages
            self._again.appendleft(dataclasses.replace(task, part=task.part + 1))
            return
        owner = self._owners.setdefault(record.instance_id, entry.key)
        if owner != entry.key:
            where = f"{record.class_label}/{record.instance_id}"
            text = f"The same capture is {where} of this dataset, from entry {owner}."
            self._reject(entry, DUPLICATE, text, seconds=seconds)
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

    def _reject(self, entry: CaptureEntry, reason: str, message: str, *, seconds: float = 0.0) -> None:
        """Reject a capture of which there is no record."""
        outcome = self._outcome(entry, "rejected", reasons=(reason,), message=message, seconds=seconds)
        self._settling.append((None, outcome, None))

    def _died(self, task: Task, death: Death, seconds: float) -> None:
        """Try a capture again, or set it aside."""
        again = task.attempt <= self._options.retries
        where = f" in the stage {death.stage!r}" if death.stage else ""
        what = f"{death.what}{where}"
        log_death(self._folder, task.key, attempt=task.attempt, text=death.log)
        self._journal.died(
            task.key, self._prints[task.key], what=death.what, stage=death.stage, now=time.time()
        )
        then = "it is tried again" if again else "it is set aside"
        logger.warning("%s %s: its process died (%s); %s", task.entry.class_label, task.key, what, then)
        if again:
            self._tracker.retry()
            self._again.append(dataclasses.replace(task, attempt=task.attempt + 1))
        else:
            self.num_set_aside += 1
            outcome = self._outcome(task.entry, "failed", message=what, seconds=seconds)
            self._settling.append((None, outcome, None))

    def _wait_for_other(self, task: Task) -> None:
        """Put a capture off whose sequence another process builds."""
        if task.waited < _MAX_WAITS:
            due = time.monotonic() + _BUSY_S
            self._put_off.append((due, dataclasses.replace(task, waited=task.waited + 1)))
        else:
            text = "Another process was at work on the same sequence all the time."
            self._died(task, Death(what="in use", stage="", log=text), 0.0)

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
        for _ in range(len(self._settling)):
            future, outcome, record = self._settling.popleft()
            if future is not None and not future.done():
                self._settling.append((future, outcome, record))
                continue
            if future is not None:
                future.result()
            if outcome.outcome != "failed":
                forget_failure(self._folder, outcome.key)
            self._journal.ended(outcome)
            self._tracker.end(outcome, record)
            if self._report is not None:
                self._report(outcome)

    def _history(self, key: str) -> History:
        return self._journal.histories.get(key, _NO_HISTORY)

    def _deaths(self, key: str) -> int:
        history = self._history(key)
        return history.deaths if history.fingerprint == self._prints[key] else 0


_NO_HISTORY = History()


def _entry_keys(root: Path) -> dict[str, str | None]:
    """Return instance id -> key of the entry that it was built for, of all sequences in the catalogue."""
    try:
        with opened_catalog(root) as database:
            rows = database.execute("SELECT instance_id, entry_key FROM catalog").fetchall()
    except FormatError:
        return {}
    return dict(rows)
