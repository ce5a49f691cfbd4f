"""The statistics of a dataset as one picture: SVG drawn here, alone or in a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from walkaround.dataset.plots import (
    COLOURS,
    DARK_COLOURS,
    ROW_PX,
    box,
    class_bars,
    draw_bars,
    draw_histogram,
    reason_bars,
    stage_bars,
    status_parts,
    text,
)
from walkaround.dataset.stats import DatasetStats, ScoreStats
from walkaround.io.atomic import write_bytes

_WIDTH = 1200
_MARGIN = 40
_MAX_CLASSES = 30
_COLUMNS = 4

_STYLE = f"""
svg{{{COLOURS.strip()};
font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}}
@media(prefers-color-scheme:dark){{svg{{{DARK_COLOURS.strip()}}}}}
text{{fill:var(--ink);font-size:13px}}.h{{font-size:17px;font-weight:600}}.t{{font-size:26px;font-weight:650}}
.s{{fill:var(--soft);font-size:12px}}.r{{text-anchor:end}}.m{{text-anchor:middle}}
.good{{fill:var(--good)}}.bad{{fill:var(--bad)}}.part{{fill:var(--part)}}.blue{{fill:var(--blue)}}
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
    parts = [text(_MARGIN, 48, title, "t")]
    step = (_WIDTH - 2 * _MARGIN) / len(facts)
    for place, (number, name) in enumerate(facts):
        parts += [
            text(_MARGIN + place * step, 92, number, "t"),
            text(_MARGIN + place * step, 112, name, "s"),
        ]
    x = float(_MARGIN)
    for count, kind, hint in status_parts(counts):
        width = (_WIDTH - 2 * _MARGIN) * count / total
        parts.append(box(x, 132, width, kind, hint, 16))
        if width > 90:
            parts.append(f'<text x="{x + 8:.1f}" y="144.5" style="fill:#fff;font-size:12px">{hint}</text>')
        x += width
    return parts, 196


def _classes(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    more = f"  (largest {_MAX_CLASSES} of {stats.num_classes:,})" if stats.num_classes > _MAX_CLASSES else ""
    title = text(x, y, f"Classes{more}", "h")
    rows, end = draw_bars(class_bars(stats, _MAX_CLASSES), x, y, label_px=190, bar_px=width - 250)
    return [title, *rows], round(end) + 56


def _reasons(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    title = text(x, y, "Reasons  (red rejects, yellow warns)", "h")
    if not stats.reasons:
        return [title, text(x, y + ROW_PX, "none", "s")], y + 2 * ROW_PX + 34
    rows, end = draw_bars(reason_bars(stats), x, y, label_px=190, bar_px=width - 300)
    return [title, *rows], round(end) + 56


def _stages(stats: DatasetStats, x: int, y: int, width: int) -> tuple[list[str], int]:
    rows, end = draw_bars(stage_bars(stats), x, y, label_px=100, bar_px=width - 370)
    return [text(x, y, "Time by stage", "h"), *rows], round(end) + 56


def _scores(scores: Sequence[ScoreStats], y: int) -> tuple[list[str], int]:
    if not scores:
        return [], y
    parts = [text(_MARGIN, y, "Scores  (1 % to 99 %, the rest at the ends; the line is the median)", "h")]
    step = (_WIDTH - 2 * _MARGIN) / _COLUMNS
    tall = 116
    for number, score in enumerate(scores):
        column, row = number % _COLUMNS, number // _COLUMNS
        parts += draw_histogram(score, _MARGIN + column * step, y + 24 + row * tall, step - 28)
    return parts, y + 24 + math.ceil(len(scores) / _COLUMNS) * tall + 20


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
