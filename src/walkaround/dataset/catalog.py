"""``dataset.json`` and ``catalog.parquet``: what a whole dataset says about itself."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.classes import read_class_table
from walkaround.dataset.schema import RECORD_NAME, SCHEMA_VERSION, SequenceRecord, read_record
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path, output_error, write_json
from walkaround.io.locks import locked

logger = logging.getLogger(__name__)

DATASET_NAME = "dataset.json"
CATALOG_NAME = "catalog.parquet"

CATALOG_COLUMNS = {
    "class_label": "VARCHAR",
    "instance_id": "VARCHAR",
    "status": "VARCHAR",
    "reasons": "VARCHAR[]",
    "message": "VARCHAR",
    "num_frames": "INTEGER",
    "num_registered": "INTEGER",
    "source_sha256": "VARCHAR",
    "seed": "BIGINT",
    "stages_done": "VARCHAR[]",
    "last_key": "VARCHAR",
    "scores": "MAP(VARCHAR, DOUBLE)",
    "seconds": "MAP(VARCHAR, DOUBLE)",
    "cpu_seconds": "MAP(VARCHAR, DOUBLE)",
}
"""Name -> DuckDB's type of each column of the catalogue."""


def update_dataset(root: Path, record: SequenceRecord, *, classes: Path | None = None) -> None:
    """Bring ``dataset.json`` and the catalogue's row of one sequence up to date.

    Safe beside other builds of the same ROOT; writes nothing, not even a lock, when nothing changed.

    Raises
    ------
    OutputError
        ROOT cannot be written.
    """
    labels = read_class_table(classes) if classes is not None else ()
    lock = root / ".work" / "dataset.lock"
    if _is_up_to_date(root, record, labels):
        if lock.exists():  # left by a run killed at its very end
            with suppress(OutputError), locked(lock, wait=True, message=""):
                _remove_leftovers(root)
        return
    with locked(lock, wait=True, message=""):
        _remove_leftovers(root)
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


def read_catalog(root: Path) -> list[dict[str, Any]]:
    """Read the rows of ``catalog.parquet``; maps and lists as dicts and lists.

    Raises
    ------
    FormatError
        It is missing, broken or has other columns.
    """
    path = root / CATALOG_NAME
    try:
        with _connect() as database:
            result = database.execute("SELECT * FROM read_parquet($path)", {"path": str(path)})
            columns = {column[0]: str(column[1]) for column in result.description or ()}
            rows = result.fetchall()
    except duckdb.Error as error:
        raise FormatError(f"{path} is not a readable catalogue: {error}") from error
    if columns != CATALOG_COLUMNS:
        raise FormatError(f"{path} has other columns than this walkaround writes; rebuild it.")
    return [dict(zip(columns, row, strict=True)) for row in rows]


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
        "scores": dict(record.scores),
        "seconds": {name: stage.seconds for name, stage in stages.items()},
        "cpu_seconds": {name: stage.cpu_seconds for name, stage in stages.items()},
    }


def _remove_leftovers(root: Path) -> None:
    """Remove the temporary files of writes that were cut off; the lock says that nobody writes now."""
    try:
        for name in (DATASET_NAME, CATALOG_NAME):
            for path in root.glob(f".{Path(name).stem}.*.tmp{Path(name).suffix}"):
                path.unlink()
    except OSError as error:
        raise output_error(root, error) from error


def _is_up_to_date(root: Path, record: SequenceRecord, labels: tuple[str, ...]) -> bool:
    """True when both files say what they should. Needs no lock: other builds change other rows."""
    value, merged = _dataset_values(root, record, labels)
    try:
        rows = read_catalog(root)
    except FormatError:
        return False
    mine = [row for row in rows if row["instance_id"] == record.instance_id]
    return merged == value and mine == [catalog_row(record)]


def _update_catalog(root: Path, record: SequenceRecord) -> None:
    rows: list[dict[str, Any]] | None = None
    if (root / CATALOG_NAME).exists():
        try:
            rows = read_catalog(root)
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
    values = {"rows": json.dumps(rows), "shape": json.dumps([CATALOG_COLUMNS])}
    query = "SELECT row.* FROM (SELECT unnest(from_json($rows, $shape)) AS row)"
    path = root / CATALOG_NAME
    with atomic_path(path) as temporary, _connect() as database:
        try:
            database.sql(query, params=values).write_parquet(str(temporary))
        except duckdb.IOException as error:
            raise OutputError(f"{path} could not be written. Is the disk full? ({error})") from error


def _connect() -> duckdb.DuckDBPyConnection:
    """Open a database in memory: one thread, so that equal rows give equal bytes, and nothing downloaded."""
    return duckdb.connect(
        ":memory:",
        config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False},
    )


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
