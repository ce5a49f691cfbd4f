"""What a dataset holds, in numbers: classes, verdicts, reasons, scores, time and size by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.rows import opened_catalog
from walkaround.quality.rules import RULES, RULES_BY_CODE

NUM_BINS = 24
STAGE_ORDER = ("capture", "frames", "hdr", "cameras", "depth", "masks", "cloud", "quality")
"""Stages as data meets them; a sequence has those that it came to."""
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sequences by status."""

    accepted: int
    rejected: int
    incomplete: int

    @property
    def total(self) -> int:
        return self.accepted + self.rejected + self.incomplete


@dataclass(frozen=True, kw_only=True)
class ReviewStats:
    """Sequences that people decided about, by decision; their status is counted by it."""

    accepted: int
    rejected: int
    relabelled: int
    """Under a wrong class label; they count as rejected until they have moved."""

    @property
    def total(self) -> int:
        return self.accepted + self.rejected + self.relabelled


@dataclass(frozen=True, kw_only=True)
class ClassStats:
    """One class."""

    label: str
    class_id: str | None
    counts: Counts
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class ReasonStats:
    """One reason code and how many sequences have it."""

    code: str
    verdict: str
    """``reject``, ``warn``, or empty for a code that no rule has."""
    count: int
    text: str


@dataclass(frozen=True, kw_only=True)
class ScoreStats:
    """How one score is distributed."""

    name: str
    count: int
    """Sequences in which it is a finite number."""
    p1: float
    p5: float
    median: float
    p95: float
    p99: float
    bins: tuple[int, ...]
    """Sequences in bins of equal width from ``p1`` to ``p99``; the first and last hold what lies beyond."""


@dataclass(frozen=True, kw_only=True)
class StageStats:
    """What one stage took."""

    name: str
    count: int
    median_s: float
    p95_s: float
    total_s: float
    total_cpu_s: float


@dataclass(frozen=True, kw_only=True)
class DatasetStats:
    """What a dataset holds."""

    counts: Counts
    reviews: ReviewStats
    num_classes: int
    num_frames: int
    num_registered: int
    num_bytes: int
    source_duration_s: float
    classes: tuple[ClassStats, ...]
    """The largest first."""
    reasons: tuple[ReasonStats, ...]
    """The most frequent first."""
    scores: tuple[ScoreStats, ...]
    """In the order of the stages that measure them, as far as rules judge them, then by name."""
    stages: tuple[StageStats, ...]


def read_stats(root: Path) -> DatasetStats:
    """Summarise the catalogue of a dataset.

    Raises
    ------
    FormatError
        The catalogue is missing or broken.
    """
    with opened_catalog(root, memory_limit="2GB") as database:
        classes = _classes(database)
        totals = database.execute(
            "SELECT coalesce(sum(num_frames), 0), coalesce(sum(num_registered), 0),"
            " coalesce(sum(num_bytes), 0), coalesce(sum(source_duration_s), 0) FROM catalog"
        ).fetchall()[0]
        return DatasetStats(
            counts=Counts(
                accepted=sum(item.counts.accepted for item in classes),
                rejected=sum(item.counts.rejected for item in classes),
                incomplete=sum(item.counts.incomplete for item in classes),
            ),
            reviews=_reviews(database),
            num_classes=len(classes),
            num_frames=int(totals[0]),
            num_registered=int(totals[1]),
            num_bytes=int(totals[2]),
            source_duration_s=float(totals[3]),
            classes=classes,
            reasons=_reasons(database),
            scores=_scores(database),
            stages=_stages(database),
        )


def _reviews(database: duckdb.DuckDBPyConnection) -> ReviewStats:
    ((accepted, rejected, relabelled),) = database.execute(
        "SELECT count(*) FILTER (review = 'accept'), count(*) FILTER (review = 'reject'),"
        " count(*) FILTER (review = 'relabel') FROM catalog"
    ).fetchall()
    return ReviewStats(accepted=accepted, rejected=rejected, relabelled=relabelled)


def _classes(database: duckdb.DuckDBPyConnection) -> tuple[ClassStats, ...]:
    rows = database.execute(
        "SELECT class_label, any_value(class_id), count(*) FILTER (status = 'accepted'),"
        " count(*) FILTER (status = 'rejected'), count(*) FILTER (status NOT IN ('accepted', 'rejected')),"
        " sum(num_bytes) FROM catalog GROUP BY class_label ORDER BY count(*) DESC, class_label"
    ).fetchall()
    return tuple(
        ClassStats(
            label=label,
            class_id=class_id,
            counts=Counts(accepted=accepted, rejected=rejected, incomplete=incomplete),
            num_bytes=int(num_bytes or 0),
        )
        for label, class_id, accepted, rejected, incomplete, num_bytes in rows
    )


def _reasons(database: duckdb.DuckDBPyConnection) -> tuple[ReasonStats, ...]:
    rows = database.execute(
        "SELECT code, count(*) FROM (SELECT unnest(list_distinct(reasons)) AS code FROM catalog)"
        " GROUP BY code ORDER BY count(*) DESC, code"
    ).fetchall()
    out = []
    for code, count in rows:
        rule = RULES_BY_CODE.get(code)
        verdict, text = (rule.verdict, rule.text) if rule else ("", "")
        out.append(ReasonStats(code=code, verdict=verdict, count=count, text=text))
    return tuple(out)


_VALUES = """
SELECT entry.key AS name, entry.value AS value FROM (SELECT unnest(map_entries(scores)) AS entry FROM catalog)
WHERE isfinite(entry.value)
"""


def _scores(database: duckdb.DuckDBPyConnection) -> tuple[ScoreStats, ...]:
    database.execute(f"CREATE TEMP TABLE score_values AS {_VALUES}")
    database.execute(
        "CREATE TEMP TABLE score_limits AS SELECT name, count(*) AS number,"
        f" quantile_cont(value, {list(QUANTILES)}) AS q FROM score_values GROUP BY name"
    )
    limits = database.execute("SELECT name, number, q FROM score_limits").fetchall()
    low, high, last = "q[1]", f"q[{len(QUANTILES)}]", NUM_BINS - 1
    bins = database.execute(
        f"SELECT name, bin, count(*) FROM (SELECT name, CASE WHEN {low} = {high} THEN {NUM_BINS // 2} ELSE"
        f" greatest(0, least({last}, floor({NUM_BINS} * (value - {low}) / ({high} - {low})))) END AS bin"
        " FROM score_values JOIN score_limits USING (name)) GROUP BY name, bin"
    ).fetchall()
    counts: dict[str, list[int]] = {}
    for name, place, count in bins:
        counts.setdefault(name, [0] * NUM_BINS)[int(place)] += count
    found = [_score(name, number, values, counts[name]) for name, number, values in limits]
    order = {score: place for place, score in reversed(list(enumerate(rule.score for rule in RULES)))}
    return tuple(sorted(found, key=lambda item: (order.get(item.name, len(order) + len(RULES)), item.name)))


def _score(name: str, number: int, values: Sequence[float], bins: Sequence[int]) -> ScoreStats:
    p1, p5, median, p95, p99 = values
    return ScoreStats(
        name=name, count=number, p1=p1, p5=p5, median=median, p95=p95, p99=p99, bins=tuple(bins)
    )


def _stages(database: duckdb.DuckDBPyConnection) -> tuple[StageStats, ...]:
    rows: list[Any] = database.execute(
        "SELECT name, count(*), quantile_cont(s, [0.5, 0.95]), sum(s), sum(cpu) FROM ("
        " SELECT unnest(stages_done) AS name, unnest(map_values(seconds)) AS s,"
        " unnest(map_values(cpu_seconds)) AS cpu FROM catalog) GROUP BY name"
    ).fetchall()
    places = {name: place for place, name in enumerate(STAGE_ORDER)}
    rows.sort(key=lambda row: (places.get(row[0], len(places)), row[0]))
    return tuple(
        StageStats(name=name, count=count, median_s=q[0], p95_s=q[1], total_s=total, total_cpu_s=cpu)
        for name, count, q, total, cpu in rows
    )
