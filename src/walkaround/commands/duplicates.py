"""``walkaround duplicates``."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.commands.printable import printable
from walkaround.dataset.duplicates_options import DuplicatesOptions
from walkaround.threads import usable_cores

if TYPE_CHECKING:
    from walkaround.dataset.duplicates import DuplicatePair, Duplicates

_FOLDER = "duplicates"
_WORDS = {
    "same_source": "the same source",
    "same_object": "the same object",
    "look_alike": "look-alikes, not proven",
}
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:1280px;padding:0 1em;color:#1d2430}"
    "img{max-width:100%;border:1px solid #e3e6ec;border-radius:6px}p{margin:1.6em 0 .4em}small{color:#667085}"
    "@media(prefers-color-scheme:dark){body{background:#14181f;color:#e8eaef}}"
)


@dataclass(frozen=True, kw_only=True)
class DuplicatesCommand:
    """Find captures that a dataset holds twice and objects that were filmed twice."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of the dataset; duplicates.json and duplicates/ are written there."""
    pictures: int = 200
    """Pairs to draw at most, for a person to judge; 0 draws none."""
    threads: int = 0
    """Threads to use; 0 means all cores."""
    search: DuplicatesOptions = field(default_factory=DuplicatesOptions)
    json: bool = False
    """Print what duplicates.json holds."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Search, write duplicates.json and the pictures, and say what was found."""
    command = parse(DuplicatesCommand, "duplicates", arguments)
    set_up_logging(verbose=command.verbose)
    command.search.check()
    from walkaround.dataset.duplicates import DUPLICATES_NAME, find_duplicates, write_duplicates

    with progress() as report:
        found = find_duplicates(
            command.root,
            options=command.search,
            num_threads=command.threads or usable_cores(),
            progress=lambda share: report("duplicates", share),
        )
    pictures = _draw(command.root, found.pairs[: max(command.pictures, 0)])
    write_duplicates(command.root, found, options=command.search, pictures=pictures)
    if command.json:
        show(json.dumps(json.loads((command.root / DUPLICATES_NAME).read_text(encoding="utf-8")), indent=2))
    else:
        _tell(command.root, found, pictures)
    return EXIT_ACCEPTED


def _draw(root: Path, pairs: tuple[DuplicatePair, ...]) -> dict[tuple[str, str], str]:
    """Draw the pairs and a page of them, in place of what an earlier run drew; return pair -> path."""
    from walkaround.dataset.contact_sheet import write_contact_sheet
    from walkaround.io.atomic import write_bytes

    folder = root / _FOLDER
    if (folder / "index.html").is_file():
        shutil.rmtree(folder)
    out = {}
    for number, pair in enumerate(pairs, start=1):
        path = folder / f"{number:04d}.jpg"
        write_contact_sheet(
            path, (root / pair.a, root / pair.b), (pair.a, pair.b), (pair.still_a, pair.still_b), _why(pair)
        )
        out[pair.a, pair.b] = f"{_FOLDER}/{path.name}"
    if pairs:
        body = "".join(
            f"<p><b>{escape(pair.a)}</b> and <b>{escape(pair.b)}</b> <small>{escape(_why(pair))} &middot;"
            f" {_link(pair.a)} {_link(pair.b)}</small></p>"
            f'<img src="{Path(out[pair.a, pair.b]).name}" loading="lazy" alt="both objects">'
            for pair in pairs
        )
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Duplicates</title>'
            f"<style>{_STYLE}</style><h1>Duplicates</h1>{body}</html>\n"
        )
        write_bytes(folder / "index.html", page.encode())
    return out


def _link(name: str) -> str:
    return f'<a href="../{quote(name)}/report.html">report</a>'


def _why(pair: DuplicatePair) -> str:
    if pair.kind == "same_source":
        return "the same source, byte for byte"
    found = f"{pair.num_matches} matching features, distance {pair.distance}"
    return f"{_WORDS[pair.kind]}: {found}"


def _tell(root: Path, found: Duplicates, pictures: dict[tuple[str, str], str]) -> None:
    counts = Counter(pair.kind for pair in found.pairs)
    show(
        f"{found.num_sequences:,} sequences, {found.num_compared:,} of them with masks;"
        f" {found.num_candidates:,} pairs compared"
    )
    for kind, words in _WORDS.items():
        if counts[kind]:
            show(f"{words}: {counts[kind]:,} {'pair' if counts[kind] == 1 else 'pairs'}")
            for pair in [pair for pair in found.pairs if pair.kind == kind][:10]:
                show(
                    f"  {printable(pair.a)}  {printable(pair.b)}"
                    + (f"  ({pair.num_matches} matches)" if pair.num_matches else "")
                )
            if counts[kind] > 10:
                show(f"  and {counts[kind] - 10:,} more")
    if not found.pairs:
        show("no duplicates")
    say(f"report: {root / 'duplicates.json'}" + (f", {root / _FOLDER / 'index.html'}" if pictures else ""))
