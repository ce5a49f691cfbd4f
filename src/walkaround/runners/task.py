"""One attempt at one capture of a batch: what a runner is given, does, and gives back.

Every runner calls :func:`run_task`, wherever it does so (a thread, a Ray worker on another machine). What can
go wrong with one capture becomes a value here, so that nothing of it can stop the batch.
"""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.schema import SequenceRecord
from walkaround.dataset.wipe import Wipe
from walkaround.errors import (
    InputError,
    InUse,
    OutputError,
    ProcessDied,
    SequenceRejected,
    UsageError,
    WalkaroundError,
)
from walkaround.pipeline import BatchPart, BuildOptions
from walkaround.runners.build import build_isolated

UNREADABLE = "unreadable_input"
"""Reason code of a capture that cannot be decoded or fetched at all."""
NO_CONSENT = "no_consent"
"""Reason code of a capture whose collector refused; it is never opened."""
DUPLICATE = "duplicate_source"
"""Reason code of a capture that another entry has brought into the dataset already."""

StageProgress = Callable[[str, str, float], None]
"""Called with the entry's key, the stage's name and the share of it that is done, 0..1."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all tasks of a batch share."""

    root: Path
    build: BuildOptions
    time_limit_s: float | None = None
    stage_time_limit_s: float | None = None
    memory_limit_mb: float | None = None
    movable: frozenset[str] = frozenset()
    """Instance ids whose folders may move to another class label: no entry of the batch has them."""
    parts: tuple[str | None, ...] = (None,)
    """The stages after which a sequence's tasks end, one task after the other; None is the last stage."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One attempt at one capture, or at one part of its stages."""

    entry: CaptureEntry
    threads: int = 1
    part: int = 0
    """Which of the job's parts."""
    attempt: int = 1
    """Counts processes that died over this capture; the first attempt is 1."""
    waited: int = 0
    """How often another process was at work on the same sequence."""

    @property
    def key(self) -> str:
        return self.entry.key


@dataclass(frozen=True, kw_only=True)
class Death:
    """How a process ended that left no record."""

    what: str
    """One line for tables: a signal, a limit, or the name of an exception."""
    stage: str
    log: str
    """The message and the last output, without the collector's names."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of a task; exactly one of the fields below ``seconds`` says it, or none when cancelled."""

    task: Task
    seconds: float = 0.0
    record: SequenceRecord | None = None
    rejection: tuple[str, str] | None = None
    """Reason code and message of a capture of which no record can be made."""
    death: Death | None = None
    busy: bool = False
    """Another process works on the same sequence; try again."""
    stop: WalkaroundError | None = field(default=None)
    """What no other capture would survive either: a full disk, a wrong option."""


def run_task(
    job: Job, task: Task, *, progress: StageProgress | None = None, cancel: threading.Event | None = None
) -> Finished:
    """Build one capture in a process of its own; never raise for what that process did."""
    start = time.perf_counter()
    try:
        record = build_isolated(
            task.entry.source,
            job.root,
            options=entry_options(job.build, task),
            progress=None if progress is None else lambda stage, share: progress(task.key, stage, share),
            timeout_s=job.time_limit_s,
            stage_timeout_s=job.stage_time_limit_s,
            memory_limit_mb=job.memory_limit_mb,
            cancel=cancel,
            batch=BatchPart(until=job.parts[task.part], movable=job.movable),
        )
        finished = Finished(task=task, record=record)
    except CancelledError:
        finished = Finished(task=task)
    except Exception as error:
        finished = _classified(task, error)
    return dataclasses.replace(finished, seconds=round(time.perf_counter() - start, 3))


def entry_options(build: BuildOptions, task: Task) -> BuildOptions:
    """Return the batch's options with what the entry says about itself."""
    entry = task.entry
    return dataclasses.replace(
        build,
        class_label=entry.class_label,
        instance_id=entry.instance_id,
        licence=entry.licence,
        consent=entry.consent,
        threads=task.threads,
        overwrite=build.overwrite and task.attempt == 1,
    )


def _classified(task: Task, error: Exception) -> Finished:
    wipe = _wipe(task.entry)
    if isinstance(error, SequenceRejected):
        return Finished(task=task, rejection=(error.reason, wipe(str(error))))
    if isinstance(error, InputError):
        return Finished(task=task, rejection=(UNREADABLE, wipe(str(error))))
    if isinstance(error, InUse):
        return Finished(task=task, busy=True)
    if isinstance(error, OutputError | UsageError):
        return Finished(task=task, stop=error)
    if isinstance(error, ProcessDied):
        log = f"{error}\n\n{error.native_output}"
        return Finished(task=task, death=Death(what=_what(error), stage=error.stage, log=wipe(log)))
    log = "".join(traceback.format_exception(error))
    return Finished(task=task, death=Death(what=type(error).__name__, stage="", log=wipe(log)))


def _what(error: ProcessDied) -> str:
    if not error.signal_number:
        return type(error).__name__
    try:
        return signal.Signals(error.signal_number).name
    except ValueError:
        return f"signal {error.signal_number}"


def _wipe(entry: CaptureEntry) -> Callable[[str], str]:
    """Keep the collector's names out of messages: the source's, its photos'."""
    if "://" in entry.source:
        from walkaround.io.fetch import shown

        address = shown(entry.source)
        inner = Wipe(Path(urlsplit(address).path))
        return lambda text: str(inner(text.replace(entry.source, "the input").replace(address, "the input")))
    source = Path(entry.source)
    photos: list[Path] = []
    with suppress(OSError):
        photos = sorted(source.iterdir()) if source.is_dir() else []
    return Wipe(source, photos)
