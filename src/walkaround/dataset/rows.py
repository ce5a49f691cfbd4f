"""The rows of ``catalog.parquet``: their columns, how a record becomes one, how they are read and written.

The file is written whole, sorted, by one thread: equal rows give equal bytes. Rows that did not change go
from the old file to the new one inside DuckDB, so that changing one row of 200,000 costs two CPU-seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.schema import SequenceRecord
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path
from walkaround.io.room import check_room_left

CATALOG_NAME = "catalog.parquet"
SPILL_NAME = ".catalog.spill"
"""What does not fit into DuckDB's memory while the catalogue is written."""

CATALOG_COLUMNS = {
    "class_label": "VARCHAR",
    "class_id": "VARCHAR",
    "instance_id": "VARCHAR",
    "status": "VARCHAR",
    "reasons": "VARCHAR[]",
    "message": "VARCHAR",
    "licence": "VARCHAR",
    "consent": "BOOLEAN",
    "entry_key": "VARCHAR",
    "num_frames": "INTEGER",
    "num_registered": "INTEGER",
    "num_bytes": "BIGINT",
    "source_kind": "VARCHAR",
    "source_sha256": "VARCHAR",
    "source_duration_s": "DOUBLE",
    "seed": "BIGINT",
    "stages_done": "VARCHAR[]",
    "last_key": "VARCHAR",
    "scores": "MAP(VARCHAR, DOUBLE)",
    "seconds": "MAP(VARCHAR, DOUBLE)",
    "cpu_seconds": "MAP(VARCHAR, DOUBLE)",
}
"""Name -> DuckDB's type of each column of the catalogue."""

_MEMORY_LIMIT = "1GB"


def catalog_row(
    record: SequenceRecord, *, class_id: str | None = None, entry_key: str | None = None
) -> dict[str, Any]:
    """Return a sequence's row."""
    stages = record.stages
    return {
        "class_label": record.class_label,
        "class_id": class_id,
        "instance_id": record.instance_id,
        "status": record.status,
        "reasons": list(record.reasons),
        "message": record.message,
        "licence": record.licence,
        "consent": record.consent,
        "entry_key": entry_key,
        "num_frames": len(record.frames),
        "num_registered": sum(frame.registered for frame in record.frames),
        "num_bytes": sum(size for stage in stages.values() for size in stage.outputs.values()),
        "source_kind": record.source.kind,
        "source_sha256": record.source.sha256,
        "source_duration_s": record.source.duration_s,
        "seed": record.seed,
        "stages_done": list(stages),
        "last_key": list(stages.values())[-1].key if stages else "",
        "scores": dict(record.scores),
        "seconds": {name: stage.seconds for name, stage in stages.items()},
        "cpu_seconds": {name: stage.cpu_seconds for name, stage in stages.items()},
    }


def read_catalog(root: Path, *, instance_id: str | None = None) -> list[dict[str, Any]]:
    """Read the rows of ``catalog.parquet``; maps and lists as dicts and lists.

    Parameters
    ----------
    instance_id
        Read the rows of this sequence only.

    Raises
    ------
    FormatError
        It is missing, broken or has other columns.
    """
    where = "" if instance_id is None else " WHERE instance_id = $id"
    values = {} if instance_id is None else {"id": instance_id}
    with opened_catalog(root) as database:
        rows = database.execute(f"SELECT * FROM catalog{where}", values).fetchall()
    return [dict(zip(CATALOG_COLUMNS, row, strict=True)) for row in rows]


@contextmanager
def opened_catalog(root: Path, **settings: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database whose view ``catalog`` is the catalogue.

    Raises
    ------
    FormatError
        The catalogue is missing, broken or has other columns, also when that shows only while it is read.
    """
    path = root / CATALOG_NAME
    if not path.is_file():
        raise FormatError(
            f"{path} is missing: {root} is not a readable catalogue's folder. Build something first."
        )
    try:
        with connect(**settings) as database:
            database.read_parquet(str(path)).create_view("catalog")
            columns = {str(row[0]): str(row[1]) for row in database.execute("DESCRIBE catalog").fetchall()}
            if columns != CATALOG_COLUMNS:
                raise FormatError(
                    f"{path} has other columns than this walkaround writes; rebuild it"
                    " (remove it, and the next build writes it again)."
                )
            yield database
    except READ_ERRORS as error:
        raise FormatError(f"{path} is not a readable catalogue: {first_line(error)}") from error


def write_catalog(
    root: Path, rows: Iterable[Mapping[str, Any]], *, ids: Mapping[str, str] | None = None
) -> None:
    """Write the catalogue with these rows alone.

    Raises
    ------
    OutputError
        The disk is full or ROOT is read-only.
    """
    _write(root, rows, ids or {}, (), keep=False)


def merge_catalog(
    root: Path,
    rows: Iterable[Mapping[str, Any]],
    *,
    gone: Iterable[tuple[str, str]] = (),
    ids: Mapping[str, str] | None = None,
) -> None:
    """Put rows into the catalogue in place of those with the same instance id; keep all others.

    Parameters
    ----------
    rows
        As :func:`catalog_row` makes them. A row without ``entry_key`` keeps the one that it had.
    gone
        Class label and instance id of old rows to drop.
    ids
        Class label -> class id, for all rows.

    Raises
    ------
    FormatError
        The catalogue on disk is missing or broken.
    OutputError
        The disk is full or ROOT is read-only.
    """
    _write(root, rows, ids or {}, gone, keep=True)


_MERGED = """
SELECT old.* FROM catalog AS old
WHERE NOT EXISTS (SELECT 1 FROM fresh WHERE fresh.instance_id = old.instance_id)
  AND NOT EXISTS (
    SELECT 1 FROM gone WHERE gone.class_label = old.class_label AND gone.instance_id = old.instance_id
  )
UNION ALL
SELECT fresh.* REPLACE (coalesce(fresh.entry_key, old.entry_key) AS entry_key)
FROM fresh LEFT JOIN (
  SELECT instance_id, any_value(entry_key) AS entry_key FROM catalog
  WHERE instance_id IN (SELECT instance_id FROM fresh) GROUP BY instance_id
) AS old ON old.instance_id = fresh.instance_id
"""

_WITH_IDS = """
SELECT rows.* REPLACE (ids.class_id AS class_id) FROM ({rows}) AS rows
LEFT JOIN ids ON ids.class_label = rows.class_label
ORDER BY rows.class_label, rows.instance_id
"""


def _write(
    root: Path,
    rows: Iterable[Mapping[str, Any]],
    ids: Mapping[str, str],
    gone: Iterable[tuple[str, str]],
    *,
    keep: bool,
) -> None:
    path = root / CATALOG_NAME
    settings = {"memory_limit": _MEMORY_LIMIT, "temp_directory": str(root / SPILL_NAME)}
    opened = opened_catalog(root, **settings) if keep else connect(**settings)
    with atomic_path(path) as temporary, opened as database:
        load_rows(database, "fresh", rows, CATALOG_COLUMNS)
        pair = {"class_label": "VARCHAR", "instance_id": "VARCHAR"}
        load_rows(database, "gone", [dict(zip(pair, key, strict=True)) for key in gone], pair)
        pair = {"class_label": "VARCHAR", "class_id": "VARCHAR"}
        load_rows(database, "ids", [dict(zip(pair, item, strict=True)) for item in ids.items()], pair)
        query = _WITH_IDS.format(rows=_MERGED if keep else "SELECT * FROM fresh")
        try:
            database.execute(f"CREATE TEMP TABLE sorted AS {query}")  # plain vectors: equal bytes
            database.table("sorted").write_parquet(str(temporary), compression="zstd")
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            check_room_left(root)
            raise OutputError(
                f"{path} could not be written: {first_line(error)}. Is the disk full? If the file itself is"
                " damaged, remove it: the next build writes it from the sequences."
            ) from error
