"""The files and stage records of one sequence: atomic writes, resume, locks.

A stage writes into a scratch folder ``ROOT/.work/<instance_id>/<stage>/``. When it is done, the record
forgets this stage and all later ones, their old files go, the new files are moved into place one by one,
and the record is written again with the stage in it. Cut off anywhere (``kill -9``, power), the record
names only stages whose files are all there; the next run repeats the one that was cut off.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walkaround.dataset.classes import check_class_label as check_class_label
from walkaround.dataset.schema import RECORD_NAME, SequenceRecord, StageRecord, read_record, write_record
from walkaround.dataset.schema import WORK_NAME as WORK_NAME
from walkaround.errors import FormatError, OutputError, SequenceRejected, WalkaroundError
from walkaround.io.atomic import output_error
from walkaround.io.locks import locked
from walkaround.io.room import check_room, check_room_left, probe_room
from walkaround.masks.models import known_sha256

logger = logging.getLogger(__name__)

_ENDINGS = {
    ".jpg": (b"\xff\xd9",),
    ".png": (b"IEND\xaeB`\x82",),
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage as the workspace sees it: what its key depends on and which paths are its own."""

    name: str
    version: int
    """Raised when the code changes its outputs; finished sequences are then built again."""
    owns: tuple[str, ...]
    """Files and folders inside the sequence folder that this stage alone writes."""
    uses_seed: bool = False
    room_mb: int = 0
    """Free space to ask for before it starts: for a library that aborts the process on a full disk."""
    forget: Callable[[SequenceRecord], SequenceRecord] = lambda record: record
    """Takes the stage's facts out of the record when its outputs go."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage function hands to the workspace after filling its scratch folder."""

    scores: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    updates: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the sequence record that this stage sets, for example ``frames``."""


def stage_key(stage: Stage, *, options: Any, upstream: str, seed: int) -> str:
    """Hash everything a stage's outputs depend on."""
    parts = [stage.name, stage.version, options_to_dict(options), upstream, seed if stage.uses_seed else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def options_to_dict(options: Any) -> dict[str, Any]:
    """Return options as plain data; a path becomes the hash of its file, so that no name is kept."""
    if options is None:
        return {}
    values = dataclasses.asdict(options) if dataclasses.is_dataclass(options) else dict(options)  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str) and Path(value).suffix and Path(value).is_file():
        value = Path(value)
    if isinstance(value, Path):
        if (known := known_sha256(value)) is not None:
            return "sha256:" + known
        if not value.is_file():
            return "path"
        with value.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


class Workspace:
    """The folder and record of one sequence. Use it inside :func:`open_workspace`."""

    def __init__(self, root: Path, record: SequenceRecord, stages: tuple[Stage, ...]) -> None:
        self.root = root
        self.record = record
        self.stages = {stage.name: stage for stage in stages}

    @property
    def folder(self) -> Path:
        return self.root / self.record.class_label / self.record.instance_id

    @property
    def scratch_root(self) -> Path:
        return self.root / WORK_NAME / self.record.instance_id

    def is_done(self, name: str, key: str) -> bool:
        """True when the stage's record has this key and all its files are there in full size."""
        record = self.record.stages.get(name)
        if record is None or record.key != key:
            return False
        return all(_size(self.folder / path) == size for path, size in record.outputs.items())

    def run_stage(
        self, name: str, key: str, run: Callable[[Path], StageResult], **updates: Any
    ) -> StageRecord:
        """Run one stage in a fresh scratch folder and commit its outputs.

        ``updates`` are fields of the record to change in the same commit.

        Raises
        ------
        OutputError
            The disk is full or read-only, whatever error the stage's library made of it.
        """
        scratch = self.scratch_root / name
        wall, cpu = time.perf_counter(), time.process_time()
        reason = message = ""
        try:
            _remove(scratch)
            scratch.mkdir(parents=True)
            check_room(scratch, self.stages[name].room_mb)
            try:
                result = run(scratch)
            except SequenceRejected as rejection:
                check_room_left(scratch)  # perhaps nothing worked because the disk is full
                reason, message = rejection.reason, str(rejection)
                result = StageResult(scores=rejection.scores)
            outputs = self._check_outputs(scratch, self.stages[name])
            probe_room(scratch)
        except WalkaroundError:
            raise
        except OSError as error:
            raise output_error(scratch, error) from error
        except Exception:
            check_room_left(scratch)  # a library's own words for a full disk become ours
            raise
        record = StageRecord(
            key=key,
            seconds=round(time.perf_counter() - wall, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            scores={score: finite_or_none(value) for score, value in result.scores.items()},
            notes=_json_plain(result.notes),
            warnings=result.warnings,
            outputs=outputs,
            reason=reason,
            message=message,
        )
        self._commit(name, record, scratch, {**updates, **result.updates})
        return record

    def update(self, **fields: Any) -> None:
        """Change fields of the record and write it when that makes a difference."""
        record = _summarised(dataclasses.replace(self.record, **fields), tuple(self.stages))
        if record != self.record or not (self.folder / RECORD_NAME).exists():
            write_record(self.folder, record)
            self.record = record

    def forget_from(self, name: str) -> None:
        """Drop this stage and all later ones: first from the record, then their files."""
        names = list(self.stages)
        later = names[names.index(name) :]
        kept = {key: value for key, value in self.record.stages.items() if key not in later}
        record = self.record
        for stage in later:
            record = self.stages[stage].forget(record)
        fields = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
        self.update(**{**fields, "stages": kept, "status": "incomplete", "reasons": (), "message": ""})
        try:
            for stage in later:
                for owned in self.stages[stage].owns:
                    _remove(self.folder / owned)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _commit(self, name: str, stage: StageRecord, scratch: Path, updates: Mapping[str, Any]) -> None:
        self.forget_from(name)
        try:
            for path in stage.outputs:
                target = self.folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                (scratch / path).replace(target)
            _remove(scratch)
        except OSError as error:
            raise output_error(self.folder, error) from error
        stages = {**self.record.stages, name: stage}
        self.update(stages=stages, **updates)

    def _check_outputs(self, scratch: Path, stage: Stage) -> dict[str, int]:
        """List what the stage owns of its scratch folder; a file that was cut off means a full disk."""
        outputs = {}
        for owned in stage.owns:
            start = scratch / owned
            files = [start] if start.is_file() else sorted(start.rglob("*")) if start.is_dir() else []
            for path in files:
                if path.is_file():
                    outputs[path.relative_to(scratch).as_posix()] = _checked_size(path)
        return outputs


def _summarised(record: SequenceRecord, order: tuple[str, ...]) -> SequenceRecord:
    """Gather the stages' scores, notes and warnings, in the order of the stages."""
    stages = {name: record.stages[name] for name in order if name in record.stages}
    return dataclasses.replace(
        record,
        stages=stages,
        scores={score: value for stage in stages.values() for score, value in stage.scores.items()},
        notes={name: stage.notes for name, stage in stages.items() if stage.notes},
        warnings=tuple(text for stage in stages.values() for text in stage.warnings),
    )


def outputs_stand(folder: Path, record: SequenceRecord) -> bool:
    """True when every file that the record names is there in full size."""
    outputs = (output for stage in record.stages.values() for output in stage.outputs.items())
    return all(_size(folder / path) == size for path, size in outputs)


def _checked_size(path: Path) -> int:
    size = path.stat().st_size
    endings = _ENDINGS.get(path.suffix)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if endings:
            file.seek(max(size - 16, 0))
            tail = file.read()
    if size == 0 or (endings and not tail.endswith(endings)):
        raise OutputError(f"{path.name} was cut off: is the disk full? Free some space and run again.")
    return size


@contextmanager
def open_workspace(
    root: Path,
    record: SequenceRecord,
    stages: tuple[Stage, ...],
    *,
    overwrite: bool = False,
    movable: Container[str] | None = None,
) -> Iterator[Workspace]:
    """Lock the sequence, find what an earlier run left, and yield its workspace.

    ``record`` is what a fresh sequence starts with; a record on disk with the same instance id is
    continued. If it lies under another class label, its folder moves to the new one, unless ``movable`` does
    not hold its id. A ROOT that is
    read-only and holds the sequence is opened without a lock: a run that has nothing to do succeeds, and
    anything that would write raises OutputError.

    Raises
    ------
    OutputError
        ROOT cannot be written.
    InUse
        Another process builds the same sequence.
    SequenceRejected
        The sequence lies under another class label and may not move.
    """
    folder = root / record.class_label / record.instance_id
    if not overwrite and (folder / RECORD_NAME).is_file() and not os.access(root, os.W_OK):
        workspace = Workspace(root, record, stages)
        workspace.record = _continue_record(folder, record)
        yield workspace
        return
    lock = root / WORK_NAME / f"{record.instance_id}.lock"
    message = f"Another walkaround is building {folder}. Wait until it ends, or stop it."
    with locked(lock, wait=False, message=message):
        workspace = Workspace(root, record, stages)
        try:
            _remove(workspace.scratch_root)
            _adopt(root, folder, movable)
            _remove_leftovers(folder)
            if overwrite:
                _remove_sequence(folder, stages)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
        if (folder / RECORD_NAME).exists():
            workspace.record = _continue_record(folder, record)
        try:
            yield workspace
        finally:
            with suppress(OSError):
                _remove(workspace.scratch_root)
            with suppress(OSError):  # nothing was built: leave no empty folders
                folder.rmdir()
                folder.parent.rmdir()


def _continue_record(folder: Path, fresh: SequenceRecord) -> SequenceRecord:
    try:
        old = read_record(folder)
    except FormatError as error:
        logger.warning("%s The sequence is built again.", error)
        return fresh
    licence = old.licence if fresh.licence is None else fresh.licence
    consent = old.consent if fresh.consent is None else fresh.consent
    record = dataclasses.replace(old, class_label=fresh.class_label, licence=licence, consent=consent)
    if record != old:
        write_record(folder, record)
    return record


def _adopt(root: Path, folder: Path, movable: Container[str] | None) -> None:
    """Move the same sequence here from another class label."""
    for other in sorted(root.glob(f"*/{folder.name}")):
        if other == folder or other.parent.name.startswith(".") or not (other / RECORD_NAME).is_file():
            continue
        if folder.exists():
            logger.warning("%s and %s hold the same capture; the second is left alone.", folder, other)
            continue
        if movable is not None and folder.name not in movable:
            raise SequenceRejected(
                "duplicate_source", f"The same capture is {other.parent.name}/{other.name} of this dataset."
            )
        logger.info("the class label changed: %s moves to %s", other, folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        other.rename(folder)
        with suppress(OSError):
            other.parent.rmdir()


def _remove_sequence(folder: Path, stages: tuple[Stage, ...]) -> None:
    """Remove what walkaround wrote into a sequence folder, the record first; leave anything else."""
    _remove(folder / RECORD_NAME)
    for stage in stages:
        for owned in stage.owns:
            _remove(folder / owned)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of atomic writes that were cut off."""
    for path in folder.glob(".*.tmp*"):
        path.unlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def finite_or_none(value: float) -> float | None:
    """Return a score as a plain float; None for NaN and infinities."""
    number = float(value)
    return number if math.isfinite(number) else None


def _json_plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return notes as they will be read back from JSON."""

    def default(item: Any) -> Any:
        return item.tolist() if hasattr(item, "tolist") else str(item)

    text = json.dumps(dict(value), default=default)
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return plain
