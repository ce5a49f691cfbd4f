"""The statistics of a dataset as one picture: SVG drawn here, alone or in a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from walkaround.dataset.stats import DatasetStats, ScoreStats
from walkaround.io.atomic import write_bytes

_WIDTH = 1200
_MARGIN = 40
_ROW = 22
_MAX_CLASSES = 30
_COLUMNS = 4

_STYLE = """
svg{--ink:#1d2430;--soft:#667085;--line:#e3e6ec;--paper:#fff;--good:#2e9e6b;--bad:#d1495b;--part:#e0a526;--blue:#3a6ea5;
font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
@media(prefers-color-scheme:dark){svg{--ink:#e8eaef;--soft:#98a1b3;--line:#333a47;--paper:#14181f;--good:#45b884;
--bad:#e06a7a;--part:#e8b74a;--blue:#6ea3d8}}
text{fill:var(--ink);font-size:13px}.h{font-size:17px;font-weight:600}.t{font-size:26px;font-weight:650}
.s{fill:var(--soft);font-size:12px}.r{text-anchor:end}.m{text-anchor:middle}
.good{fill:var(--good)}.bad{fill:var(--bad)}.part{fill:var(--part)}.blue{fill:var(--blue)}
"""


def write_stats_page(path: Path, stats: DatasetStats, *, title: str) -> None:
    """Write the picture as ``.svg``, or within a page as anything else.

    Raises
    ------
    OutputError
        ``path`` cannot be written.
    """
    drawing = stats_svg(stats, title)
    if path.suffix.lower() != ".svg":
        drawing = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
            '<meta name="viewport" content="width=device-width">'
            "<style>body{margin:0;background:#fff}svg{display:block;margin:auto;max-width:100%;height:auto}"
            "@media(prefers-color-scheme:dark){body{background:#14181f}}</style>"
            f"{drawing}</html>\n"
        )
    write_bytes(path, drawing.encode())


def stats_svg(stats: DatasetStats, title: str) -> str:
    """Return the picture: totals, classes, reasons, time by stage, a histogram of every score."""
    half = (_WIDTH - 3 * _MARGIN) // 2
    right = 2 * _MARGIN + half
    head, top = _head(stats, title)
    classes, left_end = _classes(stats, _MARGIN, top, half)
    reasons, end = _reasons(stats, right, top, half)
    stages, right_end = _stages(stats, right, end, half)
    scores, height = _scores(stats.scores, max(left_end, right_end))
    body = "".join((*head, *classes, *reasons, *stages, *scores))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Statistics of {escape(title)}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" style="fill:var(--paper)"/>{body}</svg>'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _bar(x: float, y: float, width: float, kind: str, hint: str = "", height: float = 13) -> str:
    if width <= 0:
        return ""
    title = f"<title>{escape(hint)}</title>" if hint else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" class="{kind}">{title}</rect>'
    )


def _head(stats: DatasetStats, title: str) -> tuple[list[str], int]:
    counts = stats.counts
    total = max(counts.total, 1)
    cpu_h = sum(stage.total_cpu_s for stage in stats.stages) / 3600
    facts = (
        (f"{counts.total:,}", "sequences"),
        (f"{stats.num_classes:,}", "classes"),
        (f"{counts.accepted / total:.1%}", "accepted"),
        (f"{stats.num_frames:,}", "frames"),
        (_bytes(stats.num_bytes), f"{stats.num_bytes / 1e6 / total:,.1f} MB a sequence"),
        (f"{cpu_h:,.1f}", f"CPU-hours, {3600 * cpu_h / total:,.0f} CPU-s a sequence"),
    )
    parts = [_text(_MARGIN, 48, title, "t")]
    step = (_WIDTH - 2 * _MARGIN) / len(facts)
    for place, (number, name) in enumerate(facts):
        parts += [
            _text(_MARGIN + place * step, 92, number, "t"),
            _text(_MARGIN + place * step, 112, name, "s"),
        ]
    x = float(_MARGIN)
    for count, kind, name in (
        (counts.accepted, "good", "accepted"),
        (counts.rejected, "bad", "rejected"),
        (counts.incomplete, "part", "incomplete"),
    ):
        width = (_WIDTH - 2 * _MARGIN) * count / total
        parts.append(_bar(x, 132, width, kind, f"{count:,} {name}", 16))
        if width > 90:
            parts.append(
                f'<text x="{x + 8:.1f}" y="144.5" style="fill:#fff;font-size:12px">{count:,} {name}</text>'
            )
        x += width
    return parts, 196


def _classes(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    more = f"  (largest {_MAX_CLASSES} of {stats.num_classes:,})" if stats.num_classes > _MAX_CLASSES else ""
    parts = [_text(x, y, f"Classes{more}", "h")]
    shown = stats.classes[:_MAX_CLASSES]
    most = max((item.counts.total for item in shown), default=1)
    name_width = 190
    room = width - name_width - 60
    for item in shown:
        y += _ROW
        counts = item.counts
        start = float(x + name_width)
        parts.append(_text(start - 8, y + 1, _cut(item.label, 26), "r"))
        for count, kind, name in (
            (counts.accepted, "good", "accepted"),
            (counts.rejected, "bad", "rejected"),
            (counts.incomplete, "part", "incomplete"),
        ):
            wide = room * count / most
            parts.append(_bar(start, y - 10, wide, kind, f"{item.label}: {count:,} {name}"))
            start += wide
        parts.append(_text(start + 6, y + 1, f"{counts.total:,}", "s"))
    return parts, y + 56


def _reasons(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    parts = [_text(x, y, "Reasons  (red rejects, yellow warns)", "h")]
    if not stats.reasons:
        return [*parts, _text(x, y + _ROW, "none", "s")], y + 2 * _ROW + 34
    most = max(item.count for item in stats.reasons)
    name_width = 190
    for item in stats.reasons[:16]:
        y += _ROW
        wide = (width - name_width - 110) * item.count / most
        kind = "bad" if item.verdict == "reject" else "part"
        parts += [
            _text(x + name_width - 8, y + 1, _cut(item.code, 26), "r"),
            _bar(x + name_width, y - 10, wide, kind, f"{item.verdict}: {item.text}"),
            _text(
                x + name_width + wide + 6, y + 1,
                f"{item.count:,} · {item.count / max(stats.counts.total, 1):.1%}", "s",
            ),
        ]  # fmt: skip
    return parts, y + 56


def _stages(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    parts = [_text(x, y, "Time by stage", "h")]
    whole = sum(stage.total_cpu_s for stage in stats.stages) or 1.0
    most = max((stage.total_cpu_s for stage in stats.stages), default=1.0) or 1.0
    name_width = 100
    for stage in stats.stages:
        y += _ROW
        wide = (width - name_width - 270) * stage.total_cpu_s / most
        parts += [
            _text(x + name_width - 8, y + 1, stage.name, "r"),
            _bar(x + name_width, y - 10, wide, "blue"),
            _text(
                x + name_width + wide + 6, y + 1,
                f"{stage.total_cpu_s / whole:.0%} · {stage.total_cpu_s / 3600:,.1f} CPU-h · median"
                f" {stage.median_s:.1f} s, 95 % {stage.p95_s:.1f} s", "s",
            ),
        ]  # fmt: skip
    return parts, y + 56


def _scores(scores: Sequence[ScoreStats], y: int) -> tuple[list[str], int]:
    if not scores:
        return [], y
    parts = [_text(_MARGIN, y, "Scores  (1 % to 99 %, the rest at the ends; the line is the median)", "h")]
    step = (_WIDTH - 2 * _MARGIN) / _COLUMNS
    tall = 116
    for number, score in enumerate(scores):
        column, row = number % _COLUMNS, number // _COLUMNS
        parts += _histogram(score, _MARGIN + column * step, y + 24 + row * tall, step - 28)
    return parts, y + 24 + math.ceil(len(scores) / _COLUMNS) * tall + 20


def _histogram(score: ScoreStats, x: float, y: float, width: float, height: float = 54) -> list[str]:
    most = max(score.bins) or 1
    wide = width / len(score.bins)
    parts = [_text(x, y + 8, _cut(score.name, 32)), _text(x + width, y + 8, f"{score.count:,}", "s r")]
    base = y + 18 + height
    for place, count in enumerate(score.bins):
        tall = height * count / most
        parts.append(
            _bar(x + place * wide, base - tall, wide - 1 if count else 0, "blue", f"{count:,}", tall)
        )
    parts.append(f'<path d="M{x:.1f} {base + 0.5:.1f}h{width:.1f}" style="stroke:var(--line)"/>')
    if score.p99 > score.p1:
        middle = x + width * (score.median - score.p1) / (score.p99 - score.p1)
        parts.append(f'<path d="M{middle:.1f} {base:.1f}v{-height - 4:.1f}" style="stroke:var(--ink)"/>')
        parts.append(_text(min(max(middle, x + 60), x + width - 60), base + 15, _short(score.median), "s m"))
        parts += [
            _text(x, base + 15, _short(score.p1), "s"),
            _text(x + width, base + 15, _short(score.p99), "s r"),
        ]
    else:
        parts.append(_text(x + width / 2, base + 15, f"all {_short(score.median)}", "s m"))
    return parts


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _short(value: float) -> str:
    """Return a number in few characters: three digits, thousands as k, millions as M."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
