"""What happened to each capture of a batch, line by line: ``ROOT/.work/batch/journal.jsonl``.

One process appends, many read. ``sequence.json`` stays the truth about a sequence; the journal only knows
which entries of a manifest are done with (so that a rerun need not open them), which ones made their process
die, and how often. Lost or cut off, it costs a rerun time, never a sequence. It holds no name of the
collector's: an entry is its key, and its source a hash of size and time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from walkaround.dataset.manifest import CaptureEntry
from walkaround.io.atomic import output_error
from walkaround.pipeline import STAGES, BuildOptions
from walkaround.workspace import WORK_NAME, options_to_dict

JOURNAL_NAME = "journal.jsonl"
OUTCOMES = ("accepted", "rejected", "failed")
_NOT_OUTPUT = ("threads", "overwrite", "class_label", "classes", "instance_id", "licence", "consent")
"""Options that change no file of a stage, and those that an entry says itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one capture."""

    key: str
    """Of its :class:`~walkaround.dataset.manifest.CaptureEntry`."""
    class_label: str
    outcome: str
    """``accepted``, ``rejected`` or ``failed`` (its process died each time; it is set aside)."""
    instance_id: str = ""
    """Empty when there is no sequence: the input could not be opened, or its process died."""
    reasons: tuple[str, ...] = ()
    message: str = ""
    seconds: float = 0.0
    """Of the last attempt, start of its process included."""
    fingerprint: str = ""
    """Of the options and of the input's size and time; when it changes, the capture is looked at again."""
    time: float = 0.0
    """Seconds since 1970."""


@dataclass(slots=True)
class History:
    """What the journal knows about one entry."""

    outcome: Outcome | None = None
    deaths: int = 0
    """Processes that died over it since it was last let go or its options changed."""
    fingerprint: str = ""


@dataclass
class Journal:
    """The open journal of the one batch that runs on a ROOT. Use it as a context."""

    folder: Path
    histories: dict[str, History] = field(default_factory=dict)
    _file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        path = self.folder / JOURNAL_NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            _cut_half_line(path)
        except OSError as error:
            raise output_error(path, error) from error
        self.histories = read_histories(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def ended(self, outcome: Outcome) -> None:
        """Keep what came of a capture."""
        self._append({"event": "ended", **dataclasses.asdict(outcome)})

    def died(self, key: str, fingerprint: str, *, what: str, stage: str, now: float) -> None:
        """Keep that a process died over a capture."""
        event = {"event": "died", "key": key, "fingerprint": fingerprint, "what": what, "stage": stage}
        self._append({**event, "time": now})

    def forgave(self, key: str, now: float) -> None:
        """Keep that a capture that was set aside is tried again."""
        self._append({"event": "forgave", "key": key, "time": now})

    def _append(self, event: dict[str, Any]) -> None:
        if self._file is None:
            raise ValueError("the journal is not open")
        try:
            _write_all(self._file, (json.dumps(event, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise output_error(self.folder / JOURNAL_NAME, error) from error
        _replay(self.histories, event)


def batch_folder(root: Path) -> Path:
    """Return where a batch keeps its journal, its progress and the logs of what died."""
    return root / WORK_NAME / "batch"


def read_histories(folder: Path) -> dict[str, History]:
    """Read the journal; lines that are broken (a run was cut off) are passed over."""
    histories: dict[str, History] = {}
    for event in _events(folder / JOURNAL_NAME):
        _replay(histories, event)
    return histories


class Fingerprints:
    """Hashes what decides whether a finished capture must be looked at again, without opening it.

    That is: the options that change outputs and the versions of the stages' code, what the manifest says
    about the capture, and the size and time of a file, or of all files of a folder. What lies at a URL is
    taken for unchangeable.
    """

    def __init__(self, build: BuildOptions) -> None:
        values = {
            item.name: options_to_dict(_as_mapping(getattr(build, item.name)))
            for item in dataclasses.fields(build)
            if item.name not in _NOT_OUTPUT
        }
        versions = [(stage.name, stage.version) for stage in STAGES]
        self._common = hashlib.sha256(json.dumps([values, versions], sort_keys=True).encode()).hexdigest()

    def __call__(self, entry: CaptureEntry) -> str:
        """Return 16 hex digits for one entry."""
        said = [entry.instance_id, entry.licence, entry.consent]
        text = json.dumps([self._common, said, _stamp(entry.source)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_mapping(value: Any) -> Any:
    return value if dataclasses.is_dataclass(value) else {"value": value}


def _stamp(source: str) -> Any:
    if "://" in source:
        return source
    try:
        path = Path(source)
        if not path.is_dir():
            return [path.stat().st_size, path.stat().st_mtime_ns]
        with os.scandir(source) as files:
            return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    except OSError as error:
        return str(error.errno)


def _replay(histories: dict[str, History], event: dict[str, Any]) -> None:
    history = histories.setdefault(event["key"], History())
    kind, fingerprint = event["event"], event.get("fingerprint", "")
    if kind == "forgave" or (fingerprint and fingerprint != history.fingerprint):
        history.deaths, history.outcome = 0, None
    history.fingerprint = fingerprint or history.fingerprint
    if kind == "died":
        history.deaths += 1
    elif kind == "ended":
        values = {name: event[name] for name in _OUTCOME_FIELDS if name in event}
        history.outcome = Outcome(**{**values, "reasons": tuple(values.get("reasons", ()))})


_OUTCOME_FIELDS = tuple(item.name for item in dataclasses.fields(Outcome))


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                event = _event(line)
                if event is not None:
                    yield event
    except FileNotFoundError:
        return
    except OSError as error:
        raise output_error(path, error) from error


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or not isinstance(event.get("key"), str):
        return None
    if event.get("event") == "ended":
        known = all(isinstance(event.get(name), str) for name in ("class_label", "outcome"))
        return event if known and event["outcome"] in OUTCOMES else None
    return event if event.get("event") in ("died", "forgave") else None


def _cut_half_line(path: Path) -> None:
    """Remove what a killed writer left after the last whole line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start and not _ends_line(file, start):
            start -= 1
        if start != end:
            file.truncate(start)


def _ends_line(file: BinaryIO, position: int) -> bool:
    file.seek(position - 1)
    return file.read(1) == b"\n"


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]
