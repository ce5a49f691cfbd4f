"""``dataset.json`` and ``catalog.parquet``: what a whole dataset says about itself."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from walkaround.dataset.classes import read_class_table
from walkaround.dataset.schema import RECORD_NAME, SCHEMA_VERSION, SequenceRecord, read_record
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes, write_json
from walkaround.io.locks import locked

logger = logging.getLogger(__name__)

DATASET_NAME = "dataset.json"
CATALOG_NAME = "catalog.parquet"

CATALOG_SCHEMA = pa.schema(
    [
        ("class_label", pa.string()),
        ("instance_id", pa.string()),
        ("status", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("message", pa.string()),
        ("num_frames", pa.int32()),
        ("num_registered", pa.int32()),
        ("source_sha256", pa.string()),
        ("seed", pa.int64()),
        ("stages_done", pa.list_(pa.string())),
        ("last_key", pa.string()),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("seconds", pa.map_(pa.string(), pa.float64())),
        ("cpu_seconds", pa.map_(pa.string(), pa.float64())),
    ]
)


def update_dataset(root: Path, record: SequenceRecord, *, classes: Path | None = None) -> None:
    """Bring ``dataset.json`` and the catalogue's row of one sequence up to date.

    Safe beside other builds of the same ROOT; writes nothing, not even a lock, when nothing changed.

    Raises
    ------
    OutputError
        ROOT cannot be written.
    """
    labels = read_class_table(classes) if classes is not None else ()
    if _is_up_to_date(root, record, labels):
        return
    with locked(root / ".work" / "dataset.lock", wait=True, message=""):
        value, merged = _dataset_values(root, record, labels)
        if merged != value:
            write_json(root / DATASET_NAME, merged)
        _update_catalog(root, record)


def rebuild_catalog(root: Path) -> int:
    """Write the catalogue again from every ``sequence.json`` under ROOT; return the number of rows."""
    with locked(root / ".work" / "dataset.lock", wait=True, message=""):
        rows = _rows_on_disk(root)
        _write_catalog(root, rows)
    return len(rows)


def read_catalog(root: Path) -> pa.Table:
    """Read ``catalog.parquet``.

    Raises
    ------
    FormatError
        It is missing, broken or has other columns.
    """
    path = root / CATALOG_NAME
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"{path} is not a readable catalogue: {error}") from error
    if table.schema.names != CATALOG_SCHEMA.names:
        raise FormatError(f"{path} has other columns than this walkaround writes; rebuild it.")
    return table


def catalog_row(record: SequenceRecord) -> dict[str, Any]:
    """Return a sequence's row."""
    stages = record.stages
    return {
        "class_label": record.class_label,
        "instance_id": record.instance_id,
        "status": record.status,
        "reasons": list(record.reasons),
        "message": record.message,
        "num_frames": len(record.frames),
        "num_registered": sum(frame.registered for frame in record.frames),
        "source_sha256": record.source.sha256,
        "seed": record.seed,
        "stages_done": list(stages),
        "last_key": list(stages.values())[-1].key if stages else "",
        "scores": list(record.scores.items()),
        "seconds": [(name, stage.seconds) for name, stage in stages.items()],
        "cpu_seconds": [(name, stage.cpu_seconds) for name, stage in stages.items()],
    }


def _is_up_to_date(root: Path, record: SequenceRecord, labels: tuple[str, ...]) -> bool:
    """True when both files say what they should. Needs no lock: other builds change other rows."""
    value, merged = _dataset_values(root, record, labels)
    try:
        rows = read_catalog(root).to_pylist()
    except FormatError:
        return False
    mine = [row for row in rows if row["instance_id"] == record.instance_id]
    return merged == value and mine == [catalog_row(record)]


def _update_catalog(root: Path, record: SequenceRecord) -> None:
    rows: list[dict[str, Any]] | None = None
    if (root / CATALOG_NAME).exists():
        try:
            rows = read_catalog(root).to_pylist()
        except FormatError as error:
            logger.warning("%s It is written again.", error)
    row = catalog_row(record)
    known = _rows_on_disk(root) if rows is None else rows
    others = [old for old in known if old["instance_id"] != record.instance_id]
    if rows is None or row not in rows or len(others) != len(rows) - 1:
        _write_catalog(root, [*others, row])


def _rows_on_disk(root: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(root.glob(f"[!.]*/*/{RECORD_NAME}")):
        try:
            rows.append(catalog_row(read_record(path.parent)))
        except FormatError as error:
            logger.warning("left out of the catalogue: %s", error)
    return rows


def _write_catalog(root: Path, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: (row["class_label"], row["instance_id"]))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA), buffer)
    write_bytes(root / CATALOG_NAME, buffer.getvalue())


def _dataset_values(
    root: Path, record: SequenceRecord, labels: tuple[str, ...]
) -> tuple[Any, dict[str, Any]]:
    """Return what ``dataset.json`` holds (None without one) and what it should hold.

    New classes are added; whatever a person wrote into it (name, licence, ...) stays.
    """
    path = root / DATASET_NAME
    value: Any = None
    if path.exists():
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(f"{path} is not JSON: {error}. Mend or remove it.") from error
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            raise FormatError(f"{path} has no schema_version {SCHEMA_VERSION}. Mend or remove it.")
    fresh: dict[str, Any] = {
        "name": "walkaround dataset",
        "licence": None,
        "schema_version": SCHEMA_VERSION,
        "classes": [],
        "options": {**record.options, "seed": record.seed},
    }
    merged = {**fresh, **(value or {})}
    known = merged["classes"] if isinstance(merged["classes"], list) else []
    added = [label for label in (*labels, record.class_label) if label not in known]
    merged["classes"] = [*known, *dict.fromkeys(added)]
    return value, merged
