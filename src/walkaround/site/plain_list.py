"""The sequences of a class as plain pages, for browsers without JavaScript, search engines and printing."""

from __future__ import annotations

from html import escape

from walkaround.dataset.stats import ClassStats
from walkaround.site.frame import Page, address
from walkaround.site.listing import Entry, folder_name, said

PAGE = 240
"""Sequences a page."""


def plain_card(entry: Entry, state: int) -> str:
    """Return a sequence as an item of the list.

    Parameters
    ----------
    state
        0 without a page, 1 with one, 2 with a thumbnail too.
    """
    picture = (
        f'<img src="{_way(entry)}thumb.jpg" alt="" width="224" height="224" loading="lazy">'
        if state == 2
        else f'<div class="empty">{"no picture" if state else "unreadable"}</div>'
    )
    note = ", ".join(entry.reasons or ()) or f"{entry.num_registered} of {entry.num_frames} frames"
    by_hand = f'<span class="note">{said(entry.review)}</span>' if entry.review else ""
    inner = (
        f'{picture}<span class="name"><b>{escape(entry.class_label)}</b>'
        f'<i class="dot {escape(entry.status)}"></i>'
        f"<small>{escape(entry.status)}</small></span><code>{escape(entry.instance_id)}</code>"
        f'<span class="note">{escape(note)}</span>{by_hand}'
    )
    if not state:
        return f'<li><div class="card">{inner}</div></li>'
    return f'<li><a class="card" href="{_way(entry)}index.html">{inner}</a></li>'


def plain_pages(item: ClassStats, cards: list[str]) -> list[Page]:
    """Return the pages after the first, which is the class's own."""
    parts = [cards[start : start + PAGE] for start in range(PAGE, len(cards), PAGE)]
    return [
        Page(
            title=f"{item.label}: page {number} of {1 + len(parts)}",
            body=f"<header><h1>{escape(item.label)}</h1></header>\n"
            f"<section><h2>Sequences</h2>{_list(part, number, 1 + len(parts))}</section>",
            up="../../",
        )
        for number, part in enumerate(parts, start=2)
    ]


def plain_list(cards: list[str]) -> str:
    """Return the beginning of the list for the class's own page, shown only where scripts do not run."""
    count = max(-(-len(cards) // PAGE), 1)
    return f"<noscript>{_list(cards[:PAGE], 1, count)}</noscript>"


def plain_name(number: int) -> str:
    """Return the file name of a page of the plain list; no sequence's folder begins with an underscore."""
    return "index.html" if number == 1 else f"_{number}.html"


def _list(cards: list[str], number: int, count: int) -> str:
    links = "".join(
        f'<a rel="{relation}" href="{plain_name(other)}">{words}</a>'
        for other, relation, words in ((number - 1, "prev", "← previous"), (number + 1, "next", "next →"))
        if 1 <= other <= count
    )
    pager = f'<nav class="trail" aria-label="Pages">{number} of {count} {links}</nav>' if count > 1 else ""
    return f'{pager}<ul class="cards">{"".join(cards)}</ul>{pager}'


def _way(entry: Entry) -> str:
    return f"{address(folder_name(entry.instance_id))}/"
