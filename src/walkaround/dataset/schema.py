"""``sequence.json`` as dataclasses: one :class:`SequenceRecord` a sequence (docs/format.md).

The annotation types here are plain data, apart from the in-memory types of :mod:`walkaround.types`, so
reading a catalogue of thousands of records needs neither numpy nor any stage.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from walkaround.errors import FormatError
from walkaround.io.atomic import write_json

SCHEMA_VERSION = 1
RECORD_NAME = "sequence.json"
CATALOG_NAME = "catalog.parquet"
WORK_NAME = ".work"
"""The folder of a dataset that builds work in."""
STATUSES = ("accepted", "rejected", "incomplete")
_T = TypeVar("_T")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED_IDS = frozenset({"batch", "catalog", "dataset"})
"""Names that ``ROOT/.work/`` uses for other things."""


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """What was filmed, without its name."""

    kind: str
    """``video`` or ``photos``."""
    sha256: str
    codec: str = ""
    width: int = 0
    height: int = 0
    rotation_deg: int = 0
    frame_rate: float = 0.0
    variable_frame_rate: bool = False
    duration_s: float = 0.0
    bit_depth: int = 8
    transfer: str = "srgb"
    num_frames: int = 0


@dataclass(frozen=True, kw_only=True)
class FrameRecord:
    """One still: ``images/<image>``."""

    image: str
    source_index: int
    timestamp_s: float | None
    registered: bool = False


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What one finished stage left."""

    key: str
    """Hash over the stage's name, code version, options and everything before it."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    scores: dict[str, float | None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    outputs: dict[str, int] = field(default_factory=dict)
    """Path inside the sequence folder -> size in bytes."""
    reason: str = ""
    """The reason code when the stage itself ended the sequence; empty otherwise."""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class SequenceRecord:
    """Everything known about one sequence besides its files."""

    schema_version: int = SCHEMA_VERSION
    class_label: str
    instance_id: str
    status: str = "incomplete"
    """``accepted``, ``rejected`` or ``incomplete`` (a run was cut off)."""
    reasons: tuple[str, ...] = ()
    """Codes of missed rules: what rejected the sequence, or what to beware of."""
    message: str = ""
    scores: dict[str, float | None] = field(default_factory=dict)
    """All stages' scores; None is a score that was not a finite number."""
    depth_scale: float = 1e-4
    metric: bool = False
    source: SourceRecord
    frames: tuple[FrameRecord, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    licence: str | None = None
    """The licence under which the collector gave this capture; None is the dataset's own."""
    consent: bool | None = None
    """Whether the collector agreed to its use; None when nobody asked."""
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, StageRecord] = field(default_factory=dict)


def instance_id_problem(instance_id: str) -> str:
    """Say why a text cannot name a sequence; empty when it can."""
    if not _INSTANCE_ID.fullmatch(instance_id):
        return "expected 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first"
    folded = instance_id.casefold()
    if folded in _RESERVED_IDS or folded.endswith(".lock"):
        return "this name is used for the work in progress"
    return ""


def class_label_problem(class_label: str) -> str:
    """Say why a text cannot be the label of a class; empty when it can."""
    if not class_label or class_label.startswith(".") or set(class_label) & set("/\\\0"):
        return "which cannot name a folder"
    return ""


def record_to_dict(record: SequenceRecord) -> dict[str, Any]:
    """Return the record as what ``sequence.json`` holds."""
    out = dataclasses.asdict(record)
    plain = json.loads(json.dumps(out, default=str))
    assert isinstance(plain, dict)  # a dataclass is a JSON object
    return plain


def record_from_dict(value: Any, *, where: str = RECORD_NAME) -> SequenceRecord:
    """Check and convert what ``json.load`` gave.

    Raises
    ------
    FormatError
        A field is missing, unknown or of the wrong type, or the version is not 1.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object, found {type(value).__name__}.")
    check_version(value, where, known=SCHEMA_VERSION, older="Build the sequence again.")
    check_text(value, where)
    record = _read_dataclass(SequenceRecord, value, where)
    if record.status not in STATUSES:
        raise FormatError(f"{where}: status is {record.status!r}, expected one of {', '.join(STATUSES)}.")
    problem = class_label_problem(record.class_label)
    if problem:
        raise FormatError(f"{where}: class_label is {record.class_label!r:.80}, {problem}.")
    problem = instance_id_problem(record.instance_id)
    if problem:
        raise FormatError(f"{where}: instance_id is {record.instance_id!r:.80}; {problem}.")
    for frame in record.frames:
        if frame.image in ("", ".", "..") or "/" in frame.image or "\\" in frame.image or "\0" in frame.image:
            raise FormatError(f"{where}: frame image {frame.image!r} is not a plain file name.")
    for stage in record.stages.values():
        for name in stage.outputs:
            if name.startswith("/") or "\0" in name or ".." in name.split("/"):
                raise FormatError(f"{where}: output {name!r} leaves the sequence folder.")
    return record


def check_version(value: dict[str, Any], where: str, *, known: int, older: str) -> None:
    """Refuse data of another schema version than ``known``.

    Parameters
    ----------
    older
        What to do with data of an older version.

    Raises
    ------
    FormatError
        It is older or newer, or has no version.
    """
    version = value.get("schema_version")
    if version == known and not isinstance(version, bool):
        return
    said = f"{where}: schema_version is {version!r}, this walkaround reads {known}."
    if isinstance(version, int) and not isinstance(version, bool) and version > known:
        raise FormatError(f"{said} A newer walkaround wrote it. Upgrade walkaround.")
    if isinstance(version, int) and not isinstance(version, bool):
        raise FormatError(f"{said} An older walkaround wrote it. {older}")
    raise FormatError(f"{said} {older}")


def check_text(value: Any, where: str) -> None:
    """Refuse half a character (JSON can say ``"\\ud800"``), which no file or table can be written with.

    Raises
    ------
    FormatError
        There is one in ``value``, plain data of JSON.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise FormatError(f"{where}: {half!r} is half a character and cannot be written as text.") from error


def read_record(sequence_dir: Path) -> SequenceRecord:
    """Read ``sequence.json`` of a sequence folder.

    Raises
    ------
    FormatError
        The file is missing, is not JSON or breaks the schema.
    """
    path = sequence_dir / RECORD_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing: {sequence_dir} is not a sequence folder.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    return record_from_dict(value, where=str(path))


def write_record(sequence_dir: Path, record: SequenceRecord) -> None:
    """Write ``sequence.json`` atomically."""
    write_json(sequence_dir / RECORD_NAME, record_to_dict(record))


def _read_dataclass(cls: type[_T], value: Any, where: str) -> _T:
    """Build ``cls`` from a JSON object whose keys and types must fit."""
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise FormatError(f"{where}: unknown field {unknown[0]!r}.")
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in value:
            raise FormatError(f"{where}: the field {item.name!r} is missing.")
    return cls(**{name: _read(hints[name], item, f"{where}: {name}") for name, item in value.items()})


def _read(kind: Any, value: Any, where: str) -> Any:
    """Check ``value`` against a type of the schema and convert lists to tuples."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, where)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(inner[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(_read(inner[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {str(key): _read(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, where)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _wrong(where, kind.__name__, value)


def _finite(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FormatError(f"{where}: {value} is not a finite number.")
    return number


def _wrong(where: str, expected: str, value: Any) -> FormatError:
    return FormatError(f"{where}: expected {expected}, found {value!r:.60}.")
