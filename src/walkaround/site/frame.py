"""What every page of the site has: head, navigation, foot; and the files that all share."""

from __future__ import annotations

import importlib.resources
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from walkaround.dataset.plots import COLOURS, DARK_COLOURS
from walkaround.io.atomic import write_bytes

_TABS = (("index.html", "Overview"), ("index.html#classes", "Classes"), ("card.html", "Dataset card"))
_PLOT_STYLE = f"""
.plot {{ {COLOURS.strip()}; }}
@media (prefers-color-scheme: dark) {{ .plot {{ {DARK_COLOURS.strip()}; }} }}
.plot text {{ fill: var(--ink); font-size: 13px; }} .plot .s {{ fill: var(--soft); font-size: 12px; }}
.plot .r {{ text-anchor: end; }} .plot .m {{ text-anchor: middle; }}
.plot .good {{ fill: var(--good); }} .plot .bad {{ fill: var(--bad); }} .plot .part {{ fill: var(--part); }}
.plot .blue {{ fill: var(--blue); }}
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page: where it lies, what it holds."""

    title: str
    body: str
    up: str = ""
    """The way to the site's folder: ``""`` or ``"../../"``."""
    scripts: tuple[str, ...] = ()
    """Paths from the page."""
    key: str = ""
    """Names what the page was made from; an unchanged page is not written again."""
    head: str = ""
    """More elements for the head."""


def page_html(page: Page, dataset_name: str) -> str:
    """Return a whole page."""
    links = "".join(f'<a href="{page.up}{target}">{name}</a>' for target, name in _TABS)
    scripts = "".join(f'<script src="{escape(path)}" defer></script>\n' for path in page.scripts)
    key = f'<meta name="walkaround-key" content="{escape(page.key)}">\n' if page.key else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'{key}<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="walkaround report">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(page.title)}</title>\n"
        f'<link rel="stylesheet" href="{page.up}assets/site.css">\n{page.head}{scripts}</head>\n<body>\n'
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f'<nav class="top" aria-label="Site"><a class="home" href="{page.up}index.html">'
        f"{escape(dataset_name)}</a><span>{links}</span></nav>\n"
        f'<main id="main">\n{page.body}\n'
        "<footer>Made by walkaround from the files of the dataset. No part of this page is loaded from a "
        "network.</footer>\n</main>\n</body>\n</html>\n"
    )


def page_key(path: Path) -> str:
    """Return the key of a page on the disk; empty without one."""
    try:
        with path.open("rb") as file:
            start = file.read(400).decode("utf-8", "replace")
    except OSError:
        return ""
    _, _, rest = start.partition('<meta name="walkaround-key" content="')
    return rest.partition('"')[0]


def write_assets(out: Path) -> None:
    """Write the style and the scripts that all pages share."""
    own = importlib.resources.files("walkaround.site").joinpath("assets")
    report = importlib.resources.files("walkaround.quality").joinpath("report.css")
    style = report.read_text(encoding="utf-8") + _PLOT_STYLE + own.joinpath("site.css").read_text("utf-8")
    write_bytes(out / "assets" / "site.css", style.encode())
    for name in ("list.js", "cloud.js"):
        write_bytes(out / "assets" / name, own.joinpath(name).read_bytes())


def address(*pieces: str) -> str:
    """Return the relative address of names that may hold anything."""
    return "/".join(quote(piece, safe="") for piece in pieces)


def way(start: Path, target: Path) -> str:
    """Return the relative address of a file from a folder."""
    pieces = Path(os.path.relpath(target, start)).parts
    return address(*pieces)
