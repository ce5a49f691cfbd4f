"""The rows of ``catalog.parquet``: their columns, how a record becomes one, how they are read and written.

The file is written whole, sorted, by one thread: equal rows give equal bytes. Rows that did not change go
from the old file to the new one inside DuckDB, so that changing one row of 200,000 costs two CPU-seconds.

``sequence.json`` says what a build found, ``reviews.jsonl`` what people decided. Every write joins the second
to all rows, so no writer can lose a decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.reviews import REVIEW_COLUMNS, REVIEWS_NAME, Review, read_reviews
from walkaround.dataset.schema import CATALOG_NAME as CATALOG_NAME
from walkaround.dataset.schema import RECORD_NAME, WORK_NAME, SequenceRecord
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path
from walkaround.io.room import check_room_left

SPILL_NAME = ".catalog.spill"
"""What does not fit into DuckDB's memory while the catalogue is written."""

CATALOG_COLUMNS = {
    "class_label": "VARCHAR",
    "class_id": "VARCHAR",
    "instance_id": "VARCHAR",
    "status": "VARCHAR",
    "reasons": "VARCHAR[]",
    "message": "VARCHAR",
    "built_status": "VARCHAR",
    "review": "VARCHAR",
    "review_label": "VARCHAR",
    "review_note": "VARCHAR",
    "review_time": "VARCHAR",
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


_STATUS_OF = {"accept": "accepted", "reject": "rejected", "relabel": "rejected"}
"""Decision -> the status that counts. What lies under a wrong label counts as rejected until it has moved."""


DECIDED_STATUSES = tuple(dict.fromkeys(_STATUS_OF.values()))
"""The statuses that a decision can give."""


def status_that_counts(built_status: str, decision: str | None) -> str:
    """Return a sequence's status: what people decided, else what the build found.

    A sequence whose build was cut off stays ``incomplete``, whatever was decided about it before.
    """
    if built_status == "incomplete":
        return built_status
    return _STATUS_OF.get(decision or "", built_status)


def catalog_row(
    record: SequenceRecord,
    *,
    class_id: str | None = None,
    entry_key: str | None = None,
    review: Review | None = None,
) -> dict[str, Any]:
    """Return a sequence's row.

    Parameters
    ----------
    review
        The decision that counts. What is written has those of ``reviews.jsonl`` in any case.
    """
    stages = record.stages
    return {
        "class_label": record.class_label,
        "class_id": class_id,
        "instance_id": record.instance_id,
        "status": status_that_counts(record.status, review.decision if review else None),
        "reasons": list(record.reasons),
        "message": record.message,
        "built_status": record.status,
        "review": review.decision if review else None,
        "review_label": review.label if review else None,
        "review_note": review.note if review else None,
        "review_time": review.time if review else None,
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
        raise FormatError(_no_catalogue(root))
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


def _no_catalogue(root: Path) -> str:
    """Say why there is no catalogue: nothing was built, or this is no dataset of ours."""
    if not root.exists():
        return f"{root} does not exist. Name the folder of a dataset."
    if is_without_sequences(root):
        return nothing_built(root)
    path = root / CATALOG_NAME
    return f"{path} is missing: {root} is not a readable catalogue's folder. Build something first."


def is_without_sequences(root: Path) -> bool:
    """True for a folder that builds have worked on without making a sequence."""
    return (
        (root / WORK_NAME).is_dir()
        and not (root / CATALOG_NAME).is_file()
        and next(root.glob(f"[!.]*/*/{RECORD_NAME}"), None) is None
    )


def nothing_built(root: Path) -> str:
    """Say that builds made no sequence here, and where their reasons are told."""
    return (
        f"{root} holds no sequences: no build into it has made one. `walkaround status {root} --captures"
        " INPUT` says why, with the INPUT of the build."
    )


def holds_all_decisions(root: Path) -> bool:
    """True when the catalogue says what ``reviews.jsonl`` says.

    Raises
    ------
    FormatError
        One of them cannot be read.
    """
    with opened_catalog(root) as database:
        _load_decisions(database, root)
        return not database.execute(_DIFFERENT).fetchall()


_DIFFERENT = """
SELECT 1 FROM catalog LEFT JOIN decided
  ON decided.class_label = catalog.class_label AND decided.instance_id = catalog.instance_id
WHERE review IS DISTINCT FROM decision OR review_label IS DISTINCT FROM label
  OR review_note IS DISTINCT FROM note OR review_time IS DISTINCT FROM time
LIMIT 1
"""


def _load_decisions(database: duckdb.DuckDBPyConnection, root: Path) -> None:
    decisions = (asdict(review) for review in read_reviews(root / REVIEWS_NAME))
    load_rows(database, "decided", decisions, REVIEW_COLUMNS)


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


def sql_of_status(decision: str) -> str:
    """Return :func:`status_that_counts` in SQL, of the columns ``built_status`` and the given one."""
    cases = " ".join(f"WHEN '{name}' THEN '{status}'" for name, status in _STATUS_OF.items())
    return (
        "CASE WHEN built_status = 'incomplete' THEN built_status"
        f" ELSE CASE {decision} {cases} ELSE built_status END END"
    )


_COMPLETED = f"""
SELECT rows.* REPLACE (
  ids.class_id AS class_id, decided.decision AS review, decided.label AS review_label,
  decided.note AS review_note, decided.time AS review_time,
  {sql_of_status("decided.decision")} AS status
) FROM ({{rows}}) AS rows
LEFT JOIN ids ON ids.class_label = rows.class_label
LEFT JOIN decided ON decided.class_label = rows.class_label AND decided.instance_id = rows.instance_id
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
        _load_decisions(database, root)
        query = _COMPLETED.format(rows=_MERGED if keep else "SELECT * FROM fresh")
        try:
            database.execute(f"CREATE TEMP TABLE sorted AS {query}")  # plain vectors: equal bytes
            database.table("sorted").write_parquet(str(temporary), compression="zstd")
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            check_room_left(root)
            raise OutputError(
                f"{path} could not be written: {first_line(error)}. Is the disk full? If the file itself is"
                " damaged, remove it: the next build writes it from the sequences."
            ) from error
