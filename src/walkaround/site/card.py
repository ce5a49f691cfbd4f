"""The dataset card: what a stranger must know before using the dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from walkaround.dataset.rows import opened_catalog
from walkaround.dataset.stats import DatasetStats
from walkaround.quality.tables import folded_json, section
from walkaround.site.frame import Page
from walkaround.site.making import Making, counted, limits, listed, parts_text, read_making, steps
from walkaround.sizes import size_text

CROISSANT_NAME = "croissant.json"
"""JSON-LD of the dataset, made from the same facts as the card (:mod:`walkaround.site.croissant`)."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the catalogue and the splits say, for the card."""

    licences: tuple[tuple[str | None, int], ...]
    """Licence of captures (None: the dataset's own) and how many have it."""
    consents: Mapping[bool | None, int]
    source_kinds: Mapping[str, int]
    making: Making
    splits: Mapping[str, int]
    """Split -> sequences of it that count."""
    num_out_of_splits: int = 0
    """Sequences that the splits' files hold and that a person rejected since, or that are gone."""
    frames_table: str = ""
    """The way to an export to Croissant with a table of all images; empty without one."""


def read_card_facts(
    root: Path, splits: Mapping[str, int], *, num_out_of_splits: int = 0, frames_table: str = ""
) -> CardFacts:
    """Count licences, consents, kinds of sources, and what there is of how many sequences.

    Raises
    ------
    FormatError
        The catalogue is missing or broken.
    """
    with opened_catalog(root) as database:

        def grouped(column: str) -> list[tuple[Any, int]]:
            return database.execute(
                f"SELECT {column}, count(*) FROM catalog GROUP BY 1 ORDER BY count(*) DESC, 1"
            ).fetchall()

        return CardFacts(
            licences=tuple(grouped("licence")),
            consents=dict(grouped("consent")),
            source_kinds=dict(grouped("source_kind")),
            making=read_making(database),
            splits=splits,
            num_out_of_splits=num_out_of_splits,
            frames_table=frames_table,
        )


def card_page(
    stats: DatasetStats,
    facts: CardFacts,
    description: Mapping[str, Any],
    *,
    name: str,
    metadata: Mapping[str, Any],
) -> Page:
    """Return the dataset card.

    Parameters
    ----------
    metadata
        The same as JSON-LD; it stands in the page, where search engines for datasets look for it.
    """
    summary = str(description.get("description") or "")
    body = "\n".join(
        (
            f"<header><h1>{escape(name)}: dataset card</h1>"
            + (f'<p class="lead">{escape(summary)}</p>' if summary else "")
            + "</header>",
            section("What it holds", _holdings(stats, facts)),
            section("Licence and consent", _licence(facts, description)),
            section("Splits", _splits(facts)),
            section("How it was made", _made(facts) + _options(description)),
            section("Known limits", _list(known_limits(stats, facts.making))),
            section("For machines", _machines(facts)),
        )
    )
    plain = json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    head = (
        f'<link rel="alternate" type="application/ld+json" href="{CROISSANT_NAME}">\n'
        f'<script type="application/ld+json">{plain}</script>\n'
    )
    return Page(title=f"{name}: dataset card", body=body, head=head)


def _rows(rows: tuple[tuple[str, str], ...]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in rows) + "</dl>"


def _holdings(stats: DatasetStats, facts: CardFacts) -> str:
    counts = stats.counts
    sources = sources_text(facts)
    if stats.source_duration_s:
        sources += f"; {_duration(stats.source_duration_s)} of video"
    mean_bytes = stats.num_bytes / max(counts.total, 1)
    largest = ", ".join(f"{item.label} ({item.counts.total:,})" for item in stats.classes[:10])
    rest = f" and {stats.num_classes - 10:,} more" if stats.num_classes > 10 else ""
    return _rows(
        (
            ("Sequences", f"{counts.total:,}: {counts.accepted:,} accepted, {counts.rejected:,} rejected"
             + (f", {counts.incomplete:,} incomplete" if counts.incomplete else "")
             + (f"; {stats.reviews.total:,} of them decided by hand" if stats.reviews.total else "")),
            ("Classes", f"{stats.num_classes:,}: {largest}{rest}"),
            ("Frames", f"{stats.num_frames:,}, of them {stats.num_registered:,} with a camera"),
            ("Sources", sources),
            ("Size", f"{size_text(stats.num_bytes)}, {size_text(mean_bytes)} a sequence"),
            ("Parts", parts_text(facts.making)),
        )
    )  # fmt: skip


def sources_text(facts: CardFacts) -> str:
    """Say how many videos and sets of photos the sequences come from."""
    words = {"video": "video", "photos": "set"}
    ends = {"photos": " of photos"}
    return (
        listed(
            [
                counted(count, words.get(kind, kind)) + ends.get(kind, "")
                for kind, count in facts.source_kinds.items()
            ]
        )
        or "none"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _made(facts: CardFacts) -> str:
    rows = steps(facts.making)
    return _rows(rows) if rows else "<p>No sequence has any images yet.</p>"


def _licence(facts: CardFacts, description: Mapping[str, Any]) -> str:
    stated = description.get("licence")
    words = str(stated) if stated else "not stated: whoever publishes it fills it in (dataset.json)"
    rows = [("Of the dataset", words)]
    rows += [
        (f"Under {licence or 'that licence'}", f"{count:,} captures") for licence, count in facts.licences
    ]
    named: dict[bool | None, str] = {True: "given", False: "refused", None: "nobody asked"}
    consents = ", ".join(f"{named[key]}: {count:,}" for key, count in facts.consents.items())
    return _rows((*rows, ("Consent of the collectors", consents or "no captures")))


def _splits(facts: CardFacts) -> str:
    if not facts.splits:
        return "<p>None yet; <code>walkaround splits</code> divides by object, class by class.</p>"
    rows = _rows(tuple((name, counted(count, "sequence")) for name, count in facts.splits.items()))
    if not facts.num_out_of_splits:
        return rows
    return (
        f"{rows}<p>The files name {facts.num_out_of_splits:,} more, rejected by hand since or gone;"
        " <code>walkaround splits</code> takes them out.</p>"
    )


def _options(description: Mapping[str, Any]) -> str:
    options = description.get("options")
    return folded_json("Options of the first build", options) if options else ""


def known_limits(stats: DatasetStats, making: Making) -> tuple[str, ...]:
    """Return what whoever uses the dataset should know, in sentences."""
    total = max(stats.counts.total, 1)
    seen = (
        f"{item.count / total:.1%} of the sequences: {item.text}"
        for item in stats.reasons
        if item.verdict == "warn" and item.text
    )
    return (*limits(making), *seen)


def _list(texts: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _machines(facts: CardFacts) -> str:
    more = (
        f'; <a href="{escape(facts.frames_table)}">one with a table of all images and cameras</a>'
        if facts.frames_table
        else ""
    )
    names = (
        "<code>dataset.json</code>, <code>catalog.parquet</code>, <code>splits/*.json</code> of the dataset"
    )
    return f'<p><a href="{CROISSANT_NAME}">Croissant metadata (JSON-LD)</a>{more}; {names}.</p>'
