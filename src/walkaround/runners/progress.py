"""How far a batch is: counted by the process that runs it, shown there and to ``walkaround status``.

The running batch replaces ``ROOT/.work/batch/progress.json`` about once a second; whoever reads it needs
neither the running process nor a lock, and pays the same for ten sequences as for a hundred thousand.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from walkaround.dataset.schema import SequenceRecord
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import write_json
from walkaround.pipeline import STAGES
from walkaround.quality.rules import RULES_BY_CODE
from walkaround.runners.journal import Outcome

PROGRESS_NAME = "progress.json"
STALE_S = 20.0
"""A batch that has written nothing for so long was killed."""
STATES = ("running", "finished", "interrupted", "stopped")
_WRITE_EVERY_S = 1.0
_MAX_LISTED = 100
_RATE_OVER = 200
"""The rate is that of so many captures that ended last."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A capture that is worked on."""

    key: str
    class_label: str
    stage: str
    share: float
    """Of the stage, 0..1."""
    since: float
    """When the stage began, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A batch at one moment. Times are seconds since 1970."""

    state: str
    """``running``, ``finished``, ``interrupted``, or ``stopped`` by an error (see ``message``)."""
    message: str = ""
    runner: str
    workers: int
    host: str
    pid: int
    started: float
    updated: float
    total: int
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    skipped: int = 0
    """Of these, captures that an earlier run had finished."""
    retried: int = 0
    """Attempts that this run repeated because a process had died."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Reason code -> rejected captures that it rejected."""
    warnings: dict[str, int] = field(default_factory=dict)
    """Reason code -> accepted captures that it warns about."""
    stages_done: dict[str, int] = field(default_factory=dict)
    """Stage -> captures of this run that have left it behind."""
    stages_running: dict[str, int] = field(default_factory=dict)
    """Stage -> captures that are in it now."""
    running: tuple[Running, ...] = ()
    """At most 100."""
    failed_keys: tuple[str, ...] = ()
    """At most 100; all of them are in the journal."""
    rate_per_hour: float | None = None
    eta_s: float | None = None

    @property
    def done(self) -> int:
        return self.accepted + self.rejected + self.failed

    def is_live(self, now: float) -> bool:
        """True when the batch runs; False as well when it was killed without a word.

        On its own machine that shows at once, from another after :data:`STALE_S`.
        """
        here = self.host == socket.gethostname()
        return (
            self.state == "running"
            and now - self.updated < STALE_S
            and not (here and not _is_alive(self.pid))
        )


def _is_alive(pid: int) -> bool:
    """True when a process of this machine has the number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        pass
    return True


class Tracker:
    """Counts, writes and shows snapshots. As a context, it writes a last one that says how the batch ended.

    Only its :meth:`stage` may be called by other threads than the one that made it.
    """

    def __init__(
        self, folder: Path, *, total: int, runner: str, show: Callable[[Snapshot], None] | None = None
    ) -> None:
        self._folder = folder
        self._show = show
        self.workers = 0
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()
        self._stages_done: Counter[str] = Counter()
        self._running: dict[str, Running] = {}
        self._failed_keys: list[str] = []
        self._ends: deque[float] = deque(maxlen=_RATE_OVER)
        self._total, self._runner = total, runner
        self._started = time.time()
        self._written = -math.inf

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write("finished")
        elif isinstance(error, KeyboardInterrupt):
            self._write("interrupted")
        else:
            self._write("stopped", str(error) or type(error).__name__)

    def begin(self, key: str, class_label: str) -> None:
        """A capture is handed to the runner."""
        self._running[key] = Running(key=key, class_label=class_label, stage="", share=0.0, since=time.time())

    def stage(self, key: str, stage: str, share: float) -> None:
        """A capture has come to a share of a stage."""
        old = self._running.get(key)
        if old is not None:
            since = old.since if old.stage == stage else time.time()
            self._running[key] = dataclasses.replace(old, stage=stage, share=share, since=since)

    def leave(self, key: str) -> None:
        """A capture comes back from the runner."""
        self._running.pop(key, None)

    def retry(self) -> None:
        """A capture is tried again."""
        self._counts["retried"] += 1

    def end(self, outcome: Outcome, record: SequenceRecord | None, *, skipped: bool = False) -> None:
        """A capture is done with, now or (``skipped``) in an earlier run."""
        self._counts[outcome.outcome] += 1
        self._counts["skipped"] += skipped
        if outcome.outcome == "failed":
            self._failed_keys.append(outcome.key)
        elif outcome.outcome == "rejected":  # what it was only warned about did not reject it
            self._reasons.update(code for code in outcome.reasons if not _is_warning(code))
        else:
            self._warnings.update(outcome.reasons)
        if not skipped:
            self._ends.append(time.time())
            self._stages_done.update(list(record.stages) if record is not None else ())

    def snapshot(self, state: str = "running", message: str = "") -> Snapshot:
        """Return what is known now."""
        rate = self._rate_per_hour()
        left = self._total - sum(self._counts[name] for name in ("accepted", "rejected", "failed"))
        running = list(self._running.values())
        stages_running = Counter(item.stage for item in running if item.stage)
        done = Counter(self._stages_done)
        for item in running:
            done.update(_before(item.stage))
        return Snapshot(
            state=state,
            message=message,
            runner=self._runner,
            workers=self.workers,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self._started,
            updated=time.time(),
            total=self._total,
            **{name: self._counts[name] for name in ("accepted", "rejected", "failed", "skipped", "retried")},
            reasons=dict(self._reasons.most_common()),
            warnings=dict(self._warnings.most_common()),
            stages_done=_in_order(done),
            stages_running=_in_order(stages_running),
            running=tuple(running[:_MAX_LISTED]),
            failed_keys=tuple(self._failed_keys[:_MAX_LISTED]),
            rate_per_hour=rate,
            eta_s=left / rate * 3600 if rate else None,
        )

    def tick(self) -> None:
        """Write and show a snapshot when the last one is a second old."""
        if time.monotonic() - self._written >= _WRITE_EVERY_S:
            self._write("running")

    def _write(self, state: str, message: str = "") -> None:
        """That a full disk does not take it is said by those who write what counts."""
        snapshot = self.snapshot(state, message)
        with suppress(OutputError):
            write_json(self._folder / PROGRESS_NAME, plain(snapshot))
        if self._show is not None:
            self._show(snapshot)
        self._written = time.monotonic()

    def _rate_per_hour(self) -> float | None:
        """Captures an hour over those that ended last, or since the start while there are few."""
        if not self._ends:
            return None
        full = len(self._ends) == _RATE_OVER
        since = self._ends[0] if full else self._started
        return 3600 * (len(self._ends) - full) / max(time.time() - since, 0.001)


def read_snapshot(folder: Path) -> Snapshot | None:
    """Read what the last batch wrote; None when there was none.

    Raises
    ------
    FormatError
        The file is broken.
    """
    path = folder / PROGRESS_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        running = tuple(Running(**item) for item in value.pop("running"))
        keys = tuple(value.pop("failed_keys"))
        del value["done"]
        snapshot = Snapshot(running=running, failed_keys=keys, **value)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise FormatError(f"{path} cannot be read ({error}). Remove it; the next batch writes it.") from error
    return snapshot


def _is_warning(code: str) -> bool:
    return code in RULES_BY_CODE and RULES_BY_CODE[code].verdict == "warn"


def _before(stage: str) -> tuple[str, ...]:
    names = tuple(item.name for item in STAGES)
    return names[: names.index(stage)] if stage in names else ()


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return {stage.name: counts[stage.name] for stage in STAGES if counts.get(stage.name)}


def plain(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as plain data, for JSON."""
    return {**dataclasses.asdict(snapshot), "done": snapshot.done}
