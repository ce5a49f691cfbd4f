"""What the report of a dataset costs: ``python benchmarks/report.py ROOT --sequences 1000``.

ROOT's sequences are repeated (hard links, other ids) until there are enough. The report is then written three
times: from nothing, again after the dataset's name changed (all pages are written, no picture is drawn), and
with nothing changed. ``--draw-once`` draws each of ROOT's sequences once and gives the pictures to its
repeats; the first time is then no other than the second. With Chromium and Playwright the time until the
first page shows its list is taken too.
``--rows`` adds rows to the list of a finished report, to see what the list costs in a browser.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated

import tyro
from accuracy import commit, machine

from walkaround.dataset.rows import catalog_row, read_catalog, write_catalog
from walkaround.dataset.schema import read_record, write_record
from walkaround.site.build import write_site
from walkaround.site.options import SiteOptions


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the report of a dataset."""

    root: Annotated[Path, tyro.conf.Positional]
    """A dataset to take sequences from."""
    sequences: int = 1_000
    """How many sequences to repeat them to."""
    threads: int = 2
    draw_once: bool = False
    """Draw the pictures of each of ROOT's sequences once."""
    rows: tuple[int, ...] = (20_000,)
    """Sizes of lists to open in a browser."""
    scratch: Path | None = None
    """Where to work; a temporary folder unless given."""


def main(arguments: Arguments) -> None:
    """Repeat, write three times, open."""
    print(f"commit {commit()}, {machine()}")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        root = Path(scratch) / "dataset"
        repeat(arguments.root, root, arguments.sequences)
        if arguments.draw_once:
            give_pictures(arguments, Path(scratch) / "first", root)
        for words, name in (("from nothing", "one"), ("pages only", "two"), ("nothing changed", "two")):
            (root / "dataset.json").write_text(json.dumps({"schema_version": 1, "name": name}))
            wall, cpu = time.perf_counter(), time.process_time()
            done = write_site(root, options=SiteOptions(), num_threads=arguments.threads)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rate, each_ms = done.num_sequences / wall, 1000 * cpu / done.num_sequences
            print(
                f"{words}: {done.num_drawn:,} drawn, {done.num_written:,} pages, {wall:.1f} s,"
                f" {rate:.1f} sequences/s, {each_ms:.1f} CPU-ms each"
            )
        report = root / "report"
        first = [report / "index.html", report / "data" / "sequences.js", *(report / "assets").iterdir()]
        print("first page: " + ", ".join(f"{path.name} {path.stat().st_size / 1e3:.0f} kB" for path in first))
        size = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
        print(f"report: {size / 1e6:,.0f} MB; peak memory {peak_mb():,.0f} MB")
        open_pages(report, arguments.rows)


def repeat(source: Path, root: Path, count: int) -> None:
    """Make a dataset of ``count`` sequences out of those of another, without copying their files."""
    rows = read_catalog(source)
    out = []
    for number, row in enumerate(islice(cycle(rows), count)):
        record = read_record(source / row["class_label"] / row["instance_id"])
        record = replace(record, instance_id=f"{record.instance_id}-{number}")
        folder = root / record.class_label / record.instance_id
        shutil.copytree(source / row["class_label"] / row["instance_id"], folder, copy_function=os.link)
        (folder / "sequence.json").unlink()
        write_record(folder, record)
        out.append(catalog_row(record))
    write_catalog(root, out)


def give_pictures(arguments: Arguments, first: Path, root: Path) -> None:
    """Draw the sequences of the source, and link what was drawn into the report of the repeated ones."""
    repeat(arguments.root, first, len(read_catalog(arguments.root)))
    done = write_site(first, options=SiteOptions(), num_threads=arguments.threads)
    print(f"drawn once: {done.num_drawn:,}")
    drawn = {path.parent.name.rpartition("-")[0]: path.parent for path in first.rglob("media.json")}
    for row in read_catalog(root):
        folder = root / "report" / "classes" / row["class_label"] / row["instance_id"]
        source = drawn[row["instance_id"].rpartition("-")[0]]
        shutil.copytree(source, folder, copy_function=os.link)
        (folder / "index.html").unlink()
    (root / "report" / ".walkaround-report").touch()


def open_pages(report: Path, sizes: tuple[int, ...]) -> None:
    """Time the first page in Chromium, as it is and with longer lists."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("in a browser: not measured, Playwright is not installed")
        return
    data = report / "data" / "sequences.js"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for size in (0, *sizes):
            if size:
                lengthen(data, size)
            times, filters = [], []
            for _ in range(5):
                page = browser.new_page()
                start = time.perf_counter()
                page.goto(f"file://{report / 'index.html'}")
                page.wait_for_selector(".cards img")
                times.append(time.perf_counter() - start)
                start = time.perf_counter()
                page.fill(".filters input", "short_arc 9")
                page.wait_for_function("document.querySelector('.found').textContent.includes(' of ')")
                filters.append(time.perf_counter() - start)
                page.close()
            print(
                f"in a browser: list of {data.stat().st_size / 1e3:,.0f} kB shown after {median(times):.2f} s"
                f" (median of 5, worst {max(times):.2f}), filtered in {1000 * median(filters):.0f} ms"
            )
        browser.close()


def lengthen(path: Path, size: int) -> None:
    """Repeat the rows of a list until there are ``size``."""
    text = path.read_text()
    head, _, rest = text.partition('"rows": [')
    rows, _, tail = rest.rpartition("]")[0].rpartition('], "splits"')
    listed = json.loads(f"[{rows}]")
    repeated = ",\n".join(json.dumps(row, separators=(",", ":")) for row in islice(cycle(listed), size))
    path.write_text(f'{head}"rows": [\n{repeated}], "splits"{tail}]}});\n')


def peak_mb() -> float:
    """Return the most memory that this process held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
