"""Results of all jobs, mean and spread over the seeds, and what they say about the claims."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from walkaround.studies.frame.study import Claim, Metric

HOLDS, OPPOSITE, UNCLEAR, MISSING = "holds", "opposite", "unclear", "not measured"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric of one arm over the seeds."""

    mean: float
    deviation: float
    """Sample standard deviation; 0 with one seed."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the seeds say about a claim.

    ``holds``: the difference has the claimed sign with every seed, and there are at least 3. ``opposite``:
    the other sign with every one of at least 3. ``unclear``: anything between. A claim with a slack
    holds down to a difference of minus that. The rule is ours.
    """

    claim: Claim
    verdict: str
    differences: tuple[float, ...]
    """A seed: better minus than, positive when the claim is right, in the metric's unit."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What all jobs of a study measured."""

    study: str
    text: str
    metrics: tuple[Metric, ...]
    claims: tuple[Claim, ...]
    arms: tuple[str, ...]
    recipe: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    """A job: ``arm``, ``seed``, ``metrics``, ``train_cpu_s``, ``train_s``, ``device``, ``versions``."""

    def values(self, arm: str, metric: str) -> dict[int, float]:
        """Return seed -> value of what was measured."""
        return {
            row["seed"]: row["metrics"][metric]
            for row in self.rows
            if row["arm"] == arm and metric in row["metrics"]
        }

    def spread(self, arm: str, metric: str) -> Spread | None:
        """Return mean and deviation over the seeds; None when nothing was measured."""
        values = list(self.values(arm, metric).values())
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return Spread(mean=statistics.fmean(values), deviation=deviation, count=len(values))

    def verdicts(self) -> tuple[Verdict, ...]:
        """Judge each claim, seed by seed."""
        return tuple(self._judge(claim) for claim in self.claims)

    def _judge(self, claim: Claim) -> Verdict:
        better, than = self.values(claim.better, claim.metric), self.values(claim.than, claim.metric)
        metric = next(metric for metric in self.metrics if metric.name == claim.metric)
        sign = 1.0 if metric.higher_is_better else -1.0
        differences = tuple(sign * (better[seed] - than[seed]) for seed in sorted(better.keys() & than))
        if not differences:
            verdict = MISSING
        elif len(differences) >= 3 and all(value > -claim.slack for value in differences):
            verdict = HOLDS
        elif len(differences) >= 3 and all(value < -claim.slack for value in differences):
            verdict = OPPOSITE
        else:
            verdict = UNCLEAR
        return Verdict(claim=claim, verdict=verdict, differences=differences)


def shown(metric: Metric, spread: Spread | None) -> str:
    """Return a cell of the table: mean ± deviation; one seed has no deviation."""
    if spread is None:
        return "-"
    size = 100.0 if metric.percent else 1.0
    digits = 1 if metric.percent else 4
    mean = f"{spread.mean * size:.{digits}f}"
    return f"{mean} ± {spread.deviation * size:.{digits}f}" if spread.count > 1 else mean


def said(metric: Metric, verdict: Verdict) -> str:
    """Return the measured difference of a claim as text."""
    if not verdict.differences:
        return MISSING
    size, unit = (100.0, " points") if metric.percent else (1.0, "")
    digits = 1 if metric.percent else 4
    mean = statistics.fmean(verdict.differences) * size
    listed = ", ".join(f"{value * size:+.{digits}f}" for value in verdict.differences)
    return f"{mean:+.{digits}f}{unit} (seeds: {listed})"


def as_json(results: Results) -> dict[str, Any]:
    """Return all of it as what ``results.json`` holds."""
    summary = {
        arm: {
            metric.name: vars(spread)
            for metric in results.metrics
            if (spread := results.spread(arm, metric.name)) is not None
        }
        for arm in results.arms
    }
    claims = [
        {**vars(item.claim), "verdict": item.verdict, "differences": list(item.differences)}
        for item in results.verdicts()
    ]
    return {
        "schema_version": 1,
        "study": results.study,
        "text": results.text,
        "recipe": dict(results.recipe),
        "rows": [dict(row) for row in results.rows],
        "summary": summary,
        "claims": claims,
    }


def as_text(results: Results, width: int = 110) -> str:
    """Return the table and the claims for a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"study {results.study}: mean ± standard deviation over seeds", title_justify="left")
    table.add_column("arm", no_wrap=True)  # a name that is cut says nothing
    for metric in results.metrics:
        better = "higher is better" if metric.higher_is_better else "lower is better"
        table.add_column(f"{metric.text} ({better})", justify="right")
    table.add_column("seeds", justify="right")
    for arm in results.arms:
        spreads = [results.spread(arm, metric.name) for metric in results.metrics]
        count = max((spread.count for spread in spreads if spread), default=0)
        cells = [shown(m, s) for m, s in zip(results.metrics, spreads, strict=True)]
        table.add_row(Text(arm), *cells, str(count))
    claims = Table(title="the paper's claims", title_justify="left")
    for name in ("claim", "paper", "here", "verdict"):
        claims.add_column(name)
    by_name = {metric.name: metric for metric in results.metrics}
    for item in results.verdicts():
        metric = by_name[item.claim.metric]
        claims.add_row(
            Text(f"{item.claim.text} ({item.claim.source})"),
            Text(item.claim.paper),
            Text(f"{metric.name}: {said(metric, item)}"),
            item.verdict,
        )
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
        if results.claims:
            console.print(claims)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
