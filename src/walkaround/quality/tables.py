"""A report's words and numbers: head, reasons, tiles, scores against limits, timings, provenance."""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any

from walkaround.dataset.schema import SequenceRecord
from walkaround.quality.rules import RULES, RULES_BY_CODE, Rule

_VERDICTS = {"pass": "good", "warn": "warn", "fail": "bad"}
_TINTS = {"accepted": "good", "rejected": "bad", "incomplete": "warn"}
SCORES_LEAD = "What was measured, beside the limits of the table of rules (docs/rejected.md)."
_UNITS = {"px": "px", "deg": "°", "s": "s", "share": "%"}


def section(title: str, body: str, *, lead: str = "", identifier: str = "") -> str:
    """Return a section with its heading; empty without a body."""
    if not body:
        return ""
    name = f' id="{identifier}"' if identifier else ""
    explained = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section{name}>\n<h2>{escape(title)}</h2>\n{explained}\n{body}\n</section>"


def pill(status: str) -> str:
    """Return a status as a coloured word."""
    return f'<span class="pill {_TINTS.get(status, "none")}">{escape(status)}</span>'


def head(record: SequenceRecord) -> str:
    """Return a page's head: class, status, facts, reasons, tiles."""
    return (
        f'<header><div class="title"><h1>{escape(record.class_label)}</h1>{pill(record.status)}</div>'
        f'<p class="facts">{facts(record)}</p>\n{reasons(record)}\n{tiles(record)}</header>'
    )


def facts(record: SequenceRecord) -> str:
    """Return the id and what the source was, on one line."""
    source = record.source
    words = [f"<code>{escape(record.instance_id)}</code>"]
    if source.kind == "video":
        words.append(
            f"video, {source.duration_s:.1f} s at {source.frame_rate:.4g} frames/s, {escape(source.codec)}"
        )
    else:
        words.append(f"{source.num_frames} photos")
    words.append(f"{source.width} × {source.height} px")
    if source.transfer != "srgb":
        words.append(f"{source.bit_depth} bit {escape(source.transfer).upper()}, converted to sRGB")
    return " · ".join(words)


def reasons(record: SequenceRecord) -> str:
    """List what rejected the sequence and what to beware of, each with its remedy."""
    items = []
    for code in record.reasons:
        rule = RULES_BY_CODE.get(code)
        tint = "warn" if rule and rule.verdict == "warn" else "bad"
        text = rule.text if rule else record.message
        items.append(f'<li class="{tint}"><code>{escape(code)}</code><span>{escape(text)}</span></li>')
    for stage in record.stages.values():
        if stage.message and stage.message not in "".join(items):
            items.append(
                f'<li class="bad"><code>what was seen</code><span>{escape(stage.message)}</span></li>'
            )
    for text in record.warnings:
        items.append(f'<li class="none"><code>note</code><span>{escape(text)}</span></li>')
    return f'<ul class="reasons">{"".join(items)}</ul>' if items else ""


def tiles(record: SequenceRecord) -> str:
    """Show the few numbers that one looks for first."""
    scores = record.scores
    registered = sum(frame.registered for frame in record.frames)
    entries = []
    if record.frames:
        total = f"of {len(record.frames)}"
        if "cameras" in record.stages:
            entries.append((str(registered), total, "frames registered"))
        else:
            entries.append((str(len(record.frames)), "", "frames kept"))
    for name, label in (
        ("arc_deg", "arc covered"),
        ("reprojection_error_px", "reprojection error"),
        ("depth_share", "pixels with depth"),
        ("mask_agreement", "masks agree"),
        ("num_points", "points of the object"),
    ):
        if name in scores:
            number, unit = _value(name, scores[name])
            entries.append((number, unit, label))
    body = "".join(
        f'<div class="tile"><b>{number}<small>{unit}</small></b><span>{label}</span></div>'
        for number, unit, label in entries
    )
    return f'<div class="tiles">{body}</div>' if body else ""


def score_tables(record: SequenceRecord) -> str:
    """Compare every score with the limits that RULES sets, stage by stage."""
    rows = []
    for name, stage in record.stages.items():
        if stage.scores:
            rows.append(f'<tr class="group"><td colspan="5">{escape(name)}</td></tr>')
        for score, value in stage.scores.items():
            rows.append(_score_row(score, value, [rule for rule in RULES if rule.score == score]))
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>' if rows else ""


def _score_row(score: str, value: float | None, rules: list[Rule]) -> str:
    measured = {score: math.nan if value is None else value}
    missed = [rule for rule in rules if rule.missed(measured)]
    failed = any(rule.verdict == "reject" for rule in missed)
    verdict = "fail" if failed else "warn" if missed else "pass"
    mark = f'<span class="pill {_VERDICTS[verdict]}">{verdict}</span>' if rules else ""
    number, unit = _value(score, value)
    limits = ", ".join(_limit(rule) for rule in rules)
    why = " ".join(escape(rule.text) for rule in missed)
    return (
        f'<tr><td>{escape(_words(score))}</td><td class="num">{number}{_spaced(unit)}</td>'
        f'<td>{mark}</td><td class="stage">{limits}</td><td class="why">{why}</td></tr>'
    )


def _limit(rule: Rule) -> str:
    sign, bound = ("≥", rule.low) if math.isfinite(rule.low) else ("≤", rule.high)
    number, unit = _value(rule.score, bound)
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{sign} {number}{_spaced(unit)}"


def _spaced(unit: str) -> str:
    return unit if unit in ("", "°") else "\u202f" + unit


def _words(score: str) -> str:
    """Turn a score's name into words: the unit stands behind the value."""
    words = score.removeprefix("num_").split("_")
    return " ".join(words[:-1] if words[-1] in _UNITS and words[-1] != "share" else words)


def _value(score: str, value: float | None) -> tuple[str, str]:
    """Return a score as number and unit, shares as percent."""
    if value is None:
        return "not a number", ""
    unit = _UNITS.get(score.rsplit("_", 1)[-1], "")
    if unit == "%":
        value *= 100
    if score == "mask_agreement":
        value, unit = value * 100, "%"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", "\u202f"), unit
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 4)}f}", unit


def timings(record: SequenceRecord) -> str:
    """Show each stage's time as a bar of the whole."""
    total = sum(stage.seconds for stage in record.stages.values())
    longest = max((stage.seconds for stage in record.stages.values()), default=0.0)
    if not record.stages:
        return ""
    rows = []
    for name, stage in record.stages.items():
        width = 100 * stage.seconds / longest if longest else 0
        share = 100 * stage.seconds / total if total else 0
        rows.append(
            f'<tr><td>{escape(name)}</td><td class="num">{stage.seconds:.1f} s</td>'
            f'<td class="num stage">{stage.cpu_seconds:.1f} CPU s</td>'
            f'<td class="num stage">{share:.0f} %</td>'
            f'<td style="width:55%"><div class="bar"><i style="width:{width:.1f}%"></i></div></td></tr>'
        )
    cpu = sum(stage.cpu_seconds for stage in record.stages.values())
    rows.append(
        f'<tr><td><b>all</b></td><td class="num"><b>{total:.1f} s</b></td>'
        f'<td class="num stage">{cpu:.1f} CPU s</td><td></td><td></td></tr>'
    )
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def provenance(record: SequenceRecord) -> str:
    """Say what the sequence was made from and with; no name of the collector's survives."""
    source = record.source
    entries = [
        ("source SHA-256", f"<code>{escape(source.sha256)}</code>"),
        ("source", escape(_source_words(record))),
        ("seed", str(record.seed)),
        ("versions", escape(", ".join(f"{name} {version}" for name, version in record.versions.items()))),
        ("scale", "metres" if record.metric else "orbit radius 1 (no metric scale known)"),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in entries)
    blocks = [("Options", record.options), ("Stage notes", record.notes)]
    details = "".join(folded_json(title, value) for title, value in blocks if value)
    return f"<dl>{rows}</dl>{details}"


def folded_json(title: str, value: Any) -> str:
    """Return plain data behind a heading that opens."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _source_words(record: SequenceRecord) -> str:
    source = record.source
    words = [source.kind, f"{source.width} × {source.height}", f"{source.bit_depth} bit", source.transfer]
    if source.kind == "video":
        rate = f"{source.frame_rate:.4g} frames/s{', variable' if source.variable_frame_rate else ''}"
        words += [source.codec, rate, f"rotated by {source.rotation_deg}°" if source.rotation_deg else ""]
    words.append(f"{source.num_frames} frames")
    return ", ".join(word for word in words if word)
