"""The first page: numbers, plots, classes, and the list of all sequences; and the page of a class."""

from __future__ import annotations

from html import escape

from walkaround.dataset.plots import Bar, class_bars, draw_bars, draw_histogram, reason_bars, stage_bars
from walkaround.dataset.stats import ClassStats, DatasetStats, ScoreStats
from walkaround.quality.rules import RULES
from walkaround.quality.tables import section
from walkaround.site.frame import Page, address
from walkaround.sizes import size_text

_WIDTH = 430
_MAX_BARS = 16


def overview_page(stats: DatasetStats, *, name: str, licence: str | None, description: str) -> Page:
    """Return the first page."""
    counts = stats.counts
    words = f"{counts.total:,} sequences of {stats.num_classes:,} classes"
    about = f'<p class="lead">{escape(description)}</p>' if description else ""
    body = "\n".join(
        (
            f"<header><h1>{escape(name)}</h1>"
            f'<p class="facts">{words} · licence: {escape(licence or "not stated")}</p>{about}'
            f"{_tiles(stats)}</header>",
            section("At a glance", _plots(stats)),
            section("Sequences", list_html(_WITHOUT_SCRIPTS, many_classes=True), identifier="sequences"),
            section("Classes", _class_table(stats), identifier="classes"),
            section("Scores", _scores(stats.scores), lead=_SCORES_LEAD),
        )
    )
    scripts = ("assets/list.js", "data/sequences.js")
    return Page(title=f"{name}: {words}", body=body, scripts=scripts, head=_HIDDEN_WITHOUT_SCRIPTS)


_SCORES_LEAD = "From 1 % to 99 % of the sequences in which a score was measured; the line is the median."


def class_page(item: ClassStats, without_scripts: str) -> Page:
    """Return the page of one class; ``without_scripts`` is its list where scripts do not run."""
    counts = item.counts
    facts = [f"{counts.total:,} sequences", f"{counts.accepted:,} accepted", f"{counts.rejected:,} rejected"]
    facts += [f"{counts.incomplete:,} incomplete"] * bool(counts.incomplete) + [size_text(item.num_bytes)]
    if item.class_id:
        facts.append(f"id {escape(item.class_id)}")
    body = (
        f'<header><h1>{escape(item.label)}</h1><p class="facts">{" · ".join(facts)}</p></header>\n'
        + section("Sequences", list_html(without_scripts, many_classes=False), identifier="sequences")
    )
    scripts = ("../../assets/list.js", "_sequences.js")
    return Page(
        title=f"{item.label}: {facts[0]}",
        body=body,
        up="../../",
        scripts=scripts,
        head=_HIDDEN_WITHOUT_SCRIPTS,
    )


_HIDDEN_WITHOUT_SCRIPTS = "<noscript><style>.filters, .found { display: none }</style></noscript>\n"
_WITHOUT_SCRIPTS = (
    '<noscript><p>Search and filters need JavaScript. Without it, each <a href="#classes">class</a> lists its'
    " sequences.</p></noscript>"
)


def list_html(without_scripts: str, *, many_classes: bool) -> str:
    """Return the empty list of sequences with its filters; ``list.js`` fills it."""
    fields = ["status", "decision", "reason", "split"]
    fields = ["class", *fields] if many_classes else fields
    menus = "".join(
        f'<label hidden><span>{name}</span><select data-by="{name}">'
        '<option value="">any</option></select></label>'
        for name in fields
    )
    return (
        '<form class="filters" role="search" aria-label="Filter the sequences" onsubmit="return false">'
        '<label class="wide"><span>search</span><input type="search" data-by="text" autocomplete="off"'
        ' spellcheck="false" placeholder="class, id or reason ( / )"></label>'
        f"{menus}"
        '<label><span>sort by</span><select data-by="sort">'
        '<option value="">class and id</option></select></label>'
        "</form>"
        '<p class="found" role="status" aria-live="polite">Loading the list …</p>'
        '<ul class="cards"></ul>'
        '<nav class="pager" aria-label="Pages of the list" hidden><button type="button" data-step="-1">'
        '← previous</button><span></span><button type="button" data-step="1">next →</button></nav>'
        f"{without_scripts}"
    )


def _tiles(stats: DatasetStats) -> str:
    total = max(stats.counts.total, 1)
    cpu_h = sum(stage.total_cpu_s for stage in stats.stages) / 3600
    entries = (
        (f"{stats.counts.total:,}", "sequences"),
        (f"{stats.num_classes:,}", "classes"),
        (f"{100 * stats.counts.accepted / total:.1f} %", "accepted"),
        *([(f"{stats.reviews.total:,}", "decided by hand")] if stats.reviews.total else []),
        (f"{stats.num_frames:,}", "frames"),
        (f"{100 * stats.num_registered / max(stats.num_frames, 1):.1f} %", "of them with a camera"),
        (size_text(stats.num_bytes), f"{size_text(stats.num_bytes / total)} a sequence"),
        (f"{cpu_h:,.1f}", f"CPU-hours, {3600 * cpu_h / total:,.0f} CPU-s a sequence"),
    )
    tiles = "".join(
        f'<div class="tile"><b>{escape(number)}</b><span>{escape(words)}</span></div>'
        for number, words in entries
    )
    return f'<div class="tiles">{tiles}</div>'


def _plots(stats: DatasetStats) -> str:
    more = f", largest {_MAX_BARS}" if stats.num_classes > _MAX_BARS else ""
    plots = (
        ("Sequences by class" + more, "green accepted, red rejected", class_bars(stats, _MAX_BARS), 130, 90),
        ("Reasons", "red rejects, yellow warns", reason_bars(stats, _MAX_BARS), 170, 110),
        ("Time by stage", "CPU time; hints tell medians", stage_bars(stats, brief=True), 80, 130),
        ("Storage by class" + more, "all files", _size_bars(stats), 130, 80),
    )
    figures = "".join(
        _plot(title, lead, bars, label_px, note_px) for title, lead, bars, label_px, note_px in plots if bars
    )
    return f'<div class="plots">{figures}</div>' if figures else ""


def _size_bars(stats: DatasetStats) -> list[Bar]:
    largest = sorted(stats.classes, key=lambda item: (-item.num_bytes, item.label))[:_MAX_BARS]
    return [
        Bar(label=item.label, parts=((item.num_bytes, "blue", item.label),), note=size_text(item.num_bytes))
        for item in largest
    ]


def _plot(title: str, lead: str, bars: list[Bar], label_px: int, note_px: int) -> str:
    parts, end = draw_bars(bars, 0, 0, label_px=label_px, bar_px=_WIDTH - label_px - note_px)
    drawing = _svg("".join(parts), end + 8, title)
    return f"<figure><h3>{escape(title)}</h3><p>{escape(lead)}</p>{drawing}</figure>"


def _scores(scores: tuple[ScoreStats, ...]) -> str:
    """Return the histograms of the scores that rules judge, the others behind a heading that opens."""
    judged = {rule.score for rule in RULES}
    others = _histograms([score for score in scores if score.name not in judged])
    folded = f"<details><summary>Scores that no rule judges</summary>{others}</details>" if others else ""
    return _histograms([score for score in scores if score.name in judged]) + folded


def _histograms(scores: list[ScoreStats]) -> str:
    drawn = (
        _svg("".join(draw_histogram(score, 2, 4, 246)), 100, f"Histogram of {score.name}", width=250)
        for score in scores
    )
    return f'<div class="histograms">{"".join(drawn)}</div>' if scores else ""


def _svg(body: str, height: float, label: str, width: int = _WIDTH) -> str:
    box = f"0 0 {width} {height:.0f}"
    return f'<svg class="plot" viewBox="{box}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _class_table(stats: DatasetStats) -> str:
    rows = "".join(
        f'<tr><td><a href="classes/{address(item.label)}/index.html">{escape(item.label)}</a></td>'
        f"<td>{escape(item.class_id or '')}</td>"
        f'<td class="num">{item.counts.total:,}</td><td class="num">{item.counts.accepted:,}</td>'
        f'<td class="num">{item.counts.rejected:,}</td><td class="num">{size_text(item.num_bytes)}</td></tr>'
        for item in stats.classes
    )
    names = ("class", "id", "sequences", "accepted", "rejected", "size")
    cells = "".join(f"<th{' class=num' if place > 1 else ''}>{name}</th>" for place, name in enumerate(names))
    table = f"<table><tr>{cells}</tr>{rows}</table>"
    return f'<div class="scroll tall" tabindex="0" role="region" aria-label="Classes">{table}</div>'
