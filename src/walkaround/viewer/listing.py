"""The list of a dataset's sequences: filtered, ordered, a page at a time; with what people decided."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.review_writer import ReviewWriter
from walkaround.dataset.reviews import REVIEW_COLUMNS, Review, read_reviews
from walkaround.dataset.rows import DECIDED_STATUSES, sql_of_status
from walkaround.errors import FormatError, UsageError

PAGE = 60
_OURS = """
SELECT class_label, instance_id, class_label AS class_name, built_status, reasons, scores,
  num_registered AS num_views
FROM read_parquet($path)
"""
_RELEASED = """
SELECT class_label, instance_id, coalesce(class_name, class_label) AS class_name,
  NULL::VARCHAR AS built_status, []::VARCHAR[] AS reasons,
  map {'num_images': num_images::DOUBLE, 'num_masks': num_masks::DOUBLE} AS scores,
  CASE WHEN has_cameras THEN num_images ELSE 0 END AS num_views
FROM read_parquet($path)
"""
_SCENES = f"""
FROM (SELECT scenes.*, decision, label, note, time, {sql_of_status("decision")} AS status
  FROM scenes LEFT JOIN reviews ON reviews.class_label = scenes.class_label
    AND reviews.instance_id = scenes.instance_id) AS scenes
"""
_JOINED = f"""
{_SCENES}
WHERE ($text = '' OR contains(lower(concat_ws(' ', instance_id, class_name, label)), lower($text)))
  AND ($class_label = '' OR class_label = $class_label)
  AND ($status = '' OR status = $status)
  AND ($reason = '' OR list_contains(reasons, $reason))
  AND ($review = '' OR coalesce(decision, 'none') = $review OR ($review = 'any' AND decision IS NOT NULL))
  AND ($score = '' OR $low IS NULL OR scores[$score] >= $low)
  AND ($score = '' OR $high IS NULL OR scores[$score] <= $high)
"""
_ORDERS = {
    "name": "class_label, instance_id",
    "lowest": "scores[$score] ASC NULLS LAST, class_label, instance_id",
    "highest": "scores[$score] DESC NULLS LAST, class_label, instance_id",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which sequences, and in what order. Empty texts and None ask for nothing."""

    text: str = ""
    """In the instance id, the class's name, or the class that a person gave."""
    class_label: str = ""
    status: str = ""
    """What counts: a decision, else what the build found."""
    reason: str = ""
    review: str = ""
    """A decision, ``none`` or ``any``."""
    score: str = ""
    low: float | None = None
    high: float | None = None
    order: str = "name"
    """``name``, or ``lowest`` or ``highest`` by the score."""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Filter:
        """Read a filter from the query of an address.

        Raises
        ------
        UsageError
            A bound is no number, or the order is unknown.
        """
        texts = {
            name: query.get(name, "")
            for name in ("text", "class_label", "status", "reason", "review", "score")
        }
        bounds = {name: _bound(query, name) for name in ("low", "high")}
        order = query.get("order") or "name"
        if order not in _ORDERS:
            raise UsageError(f"order={order!r:.80} is none of {', '.join(_ORDERS)}.")
        return cls(**texts, **bounds, order=order)  # type: ignore[arg-type]


class Listing:
    """The sequences of a dataset and the decisions about them.

    Raises
    ------
    FormatError
        The list of the dataset or the log of decisions cannot be read.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._writer = ReviewWriter(dataset.root)
        self._lock = threading.Lock()
        self._database = connect()
        self._load_scenes()
        self._load_reviews()

    def page(self, wanted: Filter, offset: int) -> dict[str, Any]:
        """Return ``total`` and the ``rows`` from ``offset`` on, at most :data:`PAGE`."""
        self._refresh()
        values = asdict(wanted)
        order = values.pop("order")
        order = _ORDERS[order if wanted.score else "name"]
        fields = (
            "class_label, instance_id, class_name, status, built_status, reasons, num_views,"
            " scores[$score] AS score, decision, label, note, time"
        )
        sql = f"SELECT {fields} {_JOINED} ORDER BY {order} LIMIT {PAGE} OFFSET {max(int(offset), 0)}"
        with self._lock:
            ((total,),) = self._run(f"SELECT count(*) {_JOINED}", values).fetchall()
            result = self._run(sql, values)
            names = [column[0] for column in result.description or []]
            rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        for row in rows:
            row["key"] = f"{row['class_label']}/{row['instance_id']}"
        return {"total": total, "rows": rows}

    def choices(self) -> dict[str, Any]:
        """Return what can be filtered by: classes (label, name, count), statuses, reasons, scores' names."""
        self._refresh()
        with self._lock:
            classes = self._database.execute(
                "SELECT class_label, any_value(class_name), count(*) FROM scenes GROUP BY ALL ORDER BY 1"
            ).fetchall()
            statuses = self._column("SELECT DISTINCT built_status FROM scenes WHERE built_status IS NOT NULL")
            reasons = self._column("SELECT DISTINCT unnest(reasons) FROM scenes ORDER BY 1")
            scores = self._column("SELECT DISTINCT unnest(map_keys(scores)) FROM scenes ORDER BY 1")
        listed = [list(row) for row in classes]
        statuses = sorted({*statuses, *DECIDED_STATUSES}) if statuses else []
        return {"classes": listed, "statuses": statuses, "reasons": reasons, "scores": scores}

    def scene(self, key: str) -> Scene:
        """Return a sequence by its key; UsageError when there is none."""
        self._refresh()
        try:
            return self.dataset[key]
        except KeyError as error:
            raise UsageError(str(error.args[0])) from error

    def status(self, key: str) -> str | None:
        """Return the status that counts; None of a download about which nothing was decided."""
        class_label, _, instance_id = key.rpartition("/")
        where = f"{_SCENES} WHERE class_label = $class_label AND instance_id = $instance_id"
        with self._lock:
            values = {"class_label": class_label, "instance_id": instance_id}
            row = self._run(f"SELECT status {where}", values).fetchone()
        return row[0] if row else None

    def counting(self, key: str) -> Review | None:
        """Return the decision about a sequence that counts; None if there is none."""
        return self._counting.get(key)

    def close(self) -> None:
        """Wait until the catalogue has all decisions."""
        self._writer.close()

    def review(self, key: str, decision: str, *, label: str | None, note: str) -> Review | None:
        """Write a decision about a sequence; return the one that counts now, None if there is none.

        Raises
        ------
        UsageError
            There is no such sequence, or the decision is wrong.
        OutputError
            It cannot be written.
        """
        class_label, _, instance_id = key.rpartition("/")
        review = Review(
            class_label=class_label, instance_id=instance_id, decision=decision, label=label, note=note
        )
        self.scene(key)
        self._writer.add(review)
        self._load_reviews()
        return self._counting.get(key)

    def _refresh(self) -> None:
        """Take in what a build, or another viewer, has written since."""
        if self.dataset.layout == "walkaround" and self._scenes_stamp != _stamp(self.dataset.table):
            self.dataset = Dataset(self.dataset.root, statuses=None)
            self._load_scenes()
        if self._reviews_stamp != _stamp(self._writer.path):
            self._load_reviews()

    def _load_scenes(self) -> None:
        source = _OURS if self.dataset.layout == "walkaround" else _RELEASED
        table = self.dataset.table
        self._scenes_stamp = _stamp(table)
        try:
            with self._lock:
                self._database.execute(f"CREATE OR REPLACE TABLE scenes AS {source}", {"path": str(table)})
        except READ_ERRORS as error:
            raise FormatError(f"{table} is not a readable list: {first_line(error)}") from error

    def _load_reviews(self) -> None:
        self._reviews_stamp = _stamp(self._writer.path)
        self._counting = {review.key: review for review in read_reviews(self._writer.path)}
        rows = [asdict(review) for review in self._counting.values()]
        with self._lock:
            self._database.execute("DROP TABLE IF EXISTS reviews")
            load_rows(self._database, "reviews", rows, REVIEW_COLUMNS)

    def _run(self, sql: str, values: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        used = {name: value for name, value in values.items() if f"${name}" in sql}
        return self._database.execute(sql, used)

    def _column(self, sql: str) -> list[str]:
        return [str(row[0]) for row in self._database.execute(sql).fetchall()]


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written; zeros when there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _bound(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{name}={text!r:.80} is no number.") from error
