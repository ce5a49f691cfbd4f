"""The list of a dataset's sequences: filtered, ordered, a page at a time; with what people decided."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.review_writer import ReviewWriter
from walkaround.dataset.reviews import REVIEW_COLUMNS, Review, read_reviews
from walkaround.errors import FormatError, UsageError

PAGE = 60
_OURS = """
SELECT class_label, instance_id, class_label AS class_name, built_status AS status, reasons, scores,
  num_registered AS num_views
FROM read_parquet($path)
"""
_RELEASED = """
SELECT class_label, instance_id, coalesce(class_name, class_label) AS class_name, NULL::VARCHAR AS status,
  []::VARCHAR[] AS reasons, map {'num_images': num_images::DOUBLE, 'num_masks': num_masks::DOUBLE} AS scores,
  CASE WHEN has_cameras THEN num_images ELSE 0 END AS num_views
FROM read_parquet($path)
"""
_JOINED = """
FROM scenes LEFT JOIN reviews ON reviews.class_label = scenes.class_label
  AND reviews.instance_id = scenes.instance_id
WHERE ($text = '' OR contains(lower(scenes.instance_id || ' ' || scenes.class_name), lower($text)))
  AND ($class_label = '' OR scenes.class_label = $class_label)
  AND ($status = '' OR status = $status)
  AND ($reason = '' OR list_contains(reasons, $reason))
  AND ($review = '' OR coalesce(decision, 'none') = $review OR ($review = 'any' AND decision IS NOT NULL))
  AND ($score = '' OR $low IS NULL OR scores[$score] >= $low)
  AND ($score = '' OR $high IS NULL OR scores[$score] <= $high)
"""
_ORDERS = {
    "name": "scenes.class_label, scenes.instance_id",
    "lowest": "scores[$score] ASC NULLS LAST, scenes.class_label, scenes.instance_id",
    "highest": "scores[$score] DESC NULLS LAST, scenes.class_label, scenes.instance_id",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which sequences, and in what order. Empty texts and None ask for nothing."""

    text: str = ""
    """In the instance id or the class's name."""
    class_label: str = ""
    status: str = ""
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
        source = _OURS if dataset.layout == "walkaround" else _RELEASED
        try:
            self._database.execute(f"CREATE TABLE scenes AS {source}", {"path": str(dataset.table)})
        except READ_ERRORS as error:
            raise FormatError(f"{dataset.table} is not a readable list: {first_line(error)}") from error
        self._load_reviews()

    def page(self, wanted: Filter, offset: int) -> dict[str, Any]:
        """Return ``total`` and the ``rows`` from ``offset`` on, at most :data:`PAGE`."""
        values = asdict(wanted)
        order = values.pop("order")
        order = _ORDERS[order if wanted.score else "name"]
        fields = (
            "scenes.class_label, scenes.instance_id, class_name, status, reasons, num_views,"
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
        with self._lock:
            classes = self._database.execute(
                "SELECT class_label, any_value(class_name), count(*) FROM scenes GROUP BY ALL ORDER BY 1"
            ).fetchall()
            statuses = self._column("SELECT DISTINCT status FROM scenes WHERE status IS NOT NULL ORDER BY 1")
            reasons = self._column("SELECT DISTINCT unnest(reasons) FROM scenes ORDER BY 1")
            scores = self._column("SELECT DISTINCT unnest(map_keys(scores)) FROM scenes ORDER BY 1")
        listed = [list(row) for row in classes]
        return {"classes": listed, "statuses": statuses, "reasons": reasons, "scores": scores}

    def scene(self, key: str) -> Scene:
        """Return a sequence by its key; UsageError when there is none."""
        try:
            return self.dataset[key]
        except KeyError as error:
            raise UsageError(str(error.args[0])) from error

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

    def _load_reviews(self) -> None:
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


def _bound(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{name}={text!r:.80} is no number.") from error
