"""Bars and histograms of a dataset's statistics as pieces of SVG; colours come from the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from walkaround.dataset.stats import Counts, DatasetStats, ScoreStats

ROW_PX = 22
COLOURS = """
--ink:#1d2430;--soft:#667085;--line:#e3e6ec;--paper:#fff;--good:#2e9e6b;--bad:#d1495b;--part:#e0a526;--blue:#3a6ea5
"""
DARK_COLOURS = """
--ink:#e8eaef;--soft:#98a1b3;--line:#333a47;--paper:#14181f;--good:#45b884;--bad:#e06a7a;--part:#e8b74a;--blue:#6ea3d8
"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row of a plot: a label, a bar of coloured parts, a note behind it."""

    label: str
    parts: tuple[tuple[float, str, str], ...]
    """Amount, colour (``good``, ``bad``, ``part``, ``blue``) and hint of each part."""
    note: str

    @property
    def amount(self) -> float:
        return sum(amount for amount, _, _ in self.parts)


def class_bars(stats: DatasetStats, most: int) -> list[Bar]:
    """Return the sequences of the largest classes, by status."""
    return [
        Bar(label=item.label, parts=status_parts(item.counts, item.label), note=f"{item.counts.total:,}")
        for item in stats.classes[:most]
    ]


def status_parts(counts: Counts, what: str = "") -> tuple[tuple[float, str, str], ...]:
    """Return accepted, rejected and incomplete sequences as the parts of a bar."""
    before = f"{what}: " if what else ""
    return tuple(
        (count, colour, f"{before}{count:,} {name}")
        for count, colour, name in (
            (counts.accepted, "good", "accepted"),
            (counts.rejected, "bad", "rejected"),
            (counts.incomplete, "part", "incomplete"),
        )
    )


def reason_bars(stats: DatasetStats, most: int = 16) -> list[Bar]:
    """Return the most frequent reasons; what rejects is red, what warns yellow."""
    return [
        Bar(
            label=item.code,
            parts=(
                (item.count, "bad" if item.verdict == "reject" else "part", f"{item.verdict}: {item.text}"),
            ),
            note=f"{item.count:,} · {item.count / max(stats.counts.total, 1):.1%}",
        )
        for item in stats.reasons[:most]
    ]


def stage_bars(stats: DatasetStats, *, brief: bool = False) -> list[Bar]:
    """Return the CPU time of each stage."""
    whole = sum(stage.total_cpu_s for stage in stats.stages) or 1.0
    bars = []
    for stage in stats.stages:
        note = f"{stage.total_cpu_s / whole:.0%} · {stage.total_cpu_s / 3600:,.1f} CPU-h"
        if not brief:
            note += f" · median {stage.median_s:.1f} s, 95 % {stage.p95_s:.1f} s"
        hint = f"{stage.name}: median {stage.median_s:.1f} s, 95 % {stage.p95_s:.1f} s"
        bars.append(Bar(label=stage.name, parts=((stage.total_cpu_s, "blue", hint),), note=note))
    return bars


def draw_bars(
    bars: Sequence[Bar], x: float, y: float, *, label_px: int, bar_px: int
) -> tuple[list[str], float]:
    """Draw rows below ``y``, the longest bar ``bar_px`` long; return them and where they end."""
    most = max((bar.amount for bar in bars), default=0) or 1
    parts = []
    for bar in bars:
        y += ROW_PX
        start = x + label_px
        parts.append(text(start - 8, y + 1, cut(bar.label, label_px // 7), "r"))
        for amount, colour, hint in bar.parts:
            wide = bar_px * amount / most
            parts.append(box(start, y - 10, wide, colour, hint))
            start += wide
        parts.append(text(start + 6, y + 1, bar.note, "s"))
    return parts, y


def draw_histogram(score: ScoreStats, x: float, y: float, width: float, height: float = 54) -> list[str]:
    """Draw how a score is distributed, its name above, its median as a line."""
    most = max(score.bins) or 1
    wide = width / len(score.bins)
    parts = [text(x, y + 8, cut(score.name, 32)), text(x + width, y + 8, f"{score.count:,}", "s r")]
    base = y + 18 + height
    for place, count in enumerate(score.bins):
        tall = height * count / most
        parts.append(box(x + place * wide, base - tall, wide - 1 if count else 0, "blue", f"{count:,}", tall))
    parts.append(f'<path d="M{x:.1f} {base + 0.5:.1f}h{width:.1f}" style="stroke:var(--line)"/>')
    if score.p99 > score.p1:
        middle = x + width * (score.median - score.p1) / (score.p99 - score.p1)
        parts.append(f'<path d="M{middle:.1f} {base:.1f}v{-height - 4:.1f}" style="stroke:var(--ink)"/>')
        parts.append(text(min(max(middle, x + 60), x + width - 60), base + 15, short(score.median), "s m"))
        parts += [
            text(x, base + 15, short(score.p1), "s"),
            text(x + width, base + 15, short(score.p99), "s r"),
        ]
    else:
        parts.append(text(x + width / 2, base + 15, f"all {short(score.median)}", "s m"))
    return parts


def short(value: float) -> str:
    """Return a number in few characters: three digits, thousands as k, millions as M."""
    for limit, unit, size in ((1e6, "M", 1e6), (1e4, "k", 1e3)):
        if abs(value) >= limit:
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return a text; ``kind`` are classes of the page's style."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, width: float, kind: str, hint: str = "", height: float = 13) -> str:
    """Return a coloured box with a hint; empty without width."""
    if width <= 0:
        return ""
    title = f"<title>{escape(hint)}</title>" if hint else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" class="{kind}">{title}</rect>'
    )


def cut(words: str, length: int) -> str:
    """Shorten a text."""
    return words if len(words) <= length else words[: length - 1] + "…"
