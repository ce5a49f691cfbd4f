"""The page of one sequence, from its record and what was drawn of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from walkaround.dataset.schema import SequenceRecord
from walkaround.quality import pictures
from walkaround.quality.tables import SCORES_LEAD, head, provenance, score_tables, section, timings
from walkaround.site.frame import Page, address
from walkaround.site.listing import Entry, folder_name, said
from walkaround.site.media import COLUMNS, Media, Sheet
from walkaround.sizes import size_text

_SHEETS = "".join(
    f"<style>.cell.{kind}{{background-image:url({kind}.jpg)}}</style>\n" for kind in ("stills", "depth")
)
_LINKED = ("report.html", "sequence.json", "cloud.ply", "cloud.pcd")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a sequence's page says besides the sequence."""

    dataset_name: str
    split: str
    files: str
    """The way from the page to the sequence's own folder; empty when the site does not lie in the dataset."""


def sequence_page(record: SequenceRecord, media: Media, entry: Entry, context: Context, *, key: str) -> Page:
    """Return the page of a sequence."""
    body = "\n".join(
        part
        for part in (
            _trail(record, entry),
            head(replace(record, status=entry.status)),
            _decision(entry),
            f'<div class="pair">{_cloud(media)}{_plan(media)}</div>' if media.num_shown or media.plan else "",
            _stills(record, media, context),
            _depth(record, media),
            section("Scores", score_tables(record), lead=SCORES_LEAD),
            section("Time", timings(record), identifier="timings"),
            section("Files", _files(record, context)),
            section("Where this comes from", _origin(record, context)),
        )
        if part
    )
    scripts = ("../../../assets/cloud.js", "cloud.js") if media.num_shown else ()
    title = f"{record.class_label} {record.instance_id}: {record.status}"
    return Page(title=title, body=body, up="../../../", key=key, scripts=scripts, head=_SHEETS)


def _trail(record: SequenceRecord, entry: Entry) -> str:
    steps = [f'<a href="../index.html">{escape(record.class_label)}</a>']
    for neighbour, words, relation in ((entry.before, "← previous", "prev"), (entry.after, "next →", "next")):
        if neighbour is not None:
            steps.append(
                f'<a rel="{relation}" href="../{address(folder_name(neighbour))}/index.html">{words}</a>'
            )
    return f'<nav class="trail" aria-label="Class and neighbours">{"".join(steps)}</nav>'


def _decision(entry: Entry) -> str:
    """Say what a person decided, and what the build had found."""
    if not entry.review:
        return ""
    label = f" to {entry.review_label}" if entry.review_label else ""
    note = f": {entry.review_note}" if entry.review_note else ""
    words = f"{said(entry.review).capitalize()}{label} on {(entry.review_time or '')[:10]}{note}"
    return f'<p class="decision">{escape(words)} <small>The build: {escape(entry.built_status)}.</small></p>'


def _cloud(media: Media) -> str:
    if not media.num_shown:
        return ""
    of = "" if media.num_shown == media.num_points else f" of {_number(media.num_points)}"
    body = (
        '<div class="orbit" id="orbit"><img src="cloud.jpg" width="420" height="420" alt="The object">'
        '<canvas tabindex="0" role="img" aria-label="The object as points. Arrow keys turn it, plus and minus'
        ' zoom, space starts and stops the turning, 0 goes back." hidden></canvas>'
        '<div class="tools" hidden><button type="button" data-do="turn" aria-pressed="false">Turn</button>'
        '<button type="button" data-do="cameras" aria-pressed="false">Cameras</button>'
        '<button type="button" data-do="reset">Reset</button></div></div>'
    )
    lead = f"{_number(media.num_shown)}{of} points. Drag to turn, two fingers or Ctrl and wheel to zoom."
    return section("Object", body, lead=lead)


def _plan(media: Media) -> str:
    lead = "From above, the object at the centre. The ring is the arc that the cameras cover."
    return section("Cameras", media.plan, lead=lead)


def _stills(record: SequenceRecord, media: Media, context: Context) -> str:
    if not record.frames:
        return ""
    places = _places(media.stills)
    figures = []
    for frame in record.frames:
        lost = "cameras" in record.stages and not frame.registered
        time = "" if frame.timestamp_s is None else f"{frame.timestamp_s:.2f} s"
        picture = _cell(media.stills, places.get(frame.image), frame.image)
        if context.files and frame.image in places:
            address_of = f"{context.files}/images/{address(frame.image)}"
            picture = f'<a class="full" href="{escape(address_of)}">{picture}</a>'
        figures.append(_figure(picture, frame.image, "not registered" if lost else time, lost))
    masked = "masks" in record.stages
    lead = "Every still that was kept." + (" The outline is the object's mask." if masked else "")
    if any("not registered" in figure for figure in figures):
        lead += " Dashed and grey: no camera could be placed."
    if context.files:
        lead += " A click opens the whole still."
    return section("Frames and masks" if masked else "Frames", _grid(figures, media.stills), lead=lead)


def _depth(record: SequenceRecord, media: Media) -> str:
    sheet = media.depth
    if sheet is None:
        return ""
    figures = [
        _figure(_cell(sheet, place, f"depth of {name}"), name, f"{100 * share:.0f} % valid")
        for place, (name, share) in enumerate(zip(sheet.images, media.valid, strict=True))
    ]
    legend = pictures.depth_legend(media.depth_range, "m" if record.metric else "orbit radii")
    lead = "Inverse depth of every registered frame, one scale for all."
    return section("Depth", legend + _grid(figures, sheet), lead=lead)


def _places(sheet: Sheet | None) -> dict[str, int]:
    return {} if sheet is None else {name: place for place, name in enumerate(sheet.images)}


def _cell(sheet: Sheet | None, place: int | None, name: str) -> str:
    """Show one cell of a sheet; ``background-position`` in percent holds at any size."""
    if sheet is None or place is None:
        return '<div class="empty">missing</div>'
    row, column = divmod(place, COLUMNS)
    x, y = 100 * column / (COLUMNS - 1), 100 * row / max(sheet.num_rows - 1, 1)
    kind = sheet.name.partition(".")[0]
    return (
        f'<div class="cell {kind}" role="img" aria-label="{escape(name)}"'
        f' style="background-position:{x:.4g}% {y:.6g}%"></div>'
    )


def _figure(picture: str, image: str, note: str, lost: bool = False) -> str:
    caption = f"<figcaption><b>{escape(Path(image).stem)}</b><span>{escape(note)}</span></figcaption>"
    return f"<figure{' class=lost' if lost else ''}>{picture}{caption}</figure>"


def _grid(figures: list[str], sheet: Sheet | None) -> str:
    wide, tall = sheet.cell_wh if sheet else (4, 3)
    style = f"--thumb:{min(max(wide // 2 + 10, 110), 180)}px;--cell:{wide}/{tall};--sheet:{100 * COLUMNS}%"
    return f'<div class="grid" style="{style}">{"".join(figures)}</div>'


def _files(record: SequenceRecord, context: Context) -> str:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for stage in record.stages.values():
        for name, size in stage.outputs.items():
            part = name.partition("/")[0]
            counts[part] += 1
            sizes[part] += size
    rows = [
        f'<tr><td>{_linked(part, context)}</td><td class="num">{counts[part]:,}</td>'
        f'<td class="num">{size_text(sizes[part])}</td></tr>'
        for part in sorted(sizes)
    ]
    if not rows:
        return ""
    total = (
        f'<tr><td><b>all</b></td><td class="num">{counts.total():,}</td>'
        f'<td class="num">{size_text(sizes.total())}</td></tr>'
    )
    head_row = '<tr><th>part</th><th class="num">files</th><th class="num">size</th></tr>'
    return f'<div class="scroll"><table class="narrow">{head_row}{"".join(rows)}{total}</table></div>'


def _linked(part: str, context: Context) -> str:
    if context.files and part in _LINKED:
        return f'<a href="{escape(context.files)}/{part}">{part}</a>'
    return escape(part)


def _origin(record: SequenceRecord, context: Context) -> str:
    consent = {None: "nobody asked", True: "given", False: "refused"}[record.consent]
    more: Mapping[str, str] = {
        "split": context.split or "none",
        "licence": record.licence or "the dataset's own",
        "consent": consent,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in more.items())
    return f"<dl>{rows}</dl>{provenance(record)}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")
