"""Write the site: sequences one after another in threads, the catalogue streamed, what is unchanged kept."""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from walkaround import __version__
from walkaround.dataset.description import read_description
from walkaround.dataset.schema import CATALOG_NAME, read_record
from walkaround.dataset.splits import read_splits, splits_that_count
from walkaround.dataset.splits_options import SPLITS
from walkaround.dataset.stats import ClassStats, DatasetStats, read_stats
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import output_error, write_bytes, write_json
from walkaround.site.card import CROISSANT_NAME, card_page, read_card_facts
from walkaround.site.croissant import croissant
from walkaround.site.frame import Page, page_html, page_key, way, write_assets
from walkaround.site.listing import Entry, ListWriter, folder_name, hashed, list_writer, read_entries
from walkaround.site.media import draw_media, kept_media
from walkaround.site.options import SiteOptions
from walkaround.site.overview import class_page, overview_page
from walkaround.site.plain_list import plain_card, plain_list, plain_name, plain_pages
from walkaround.site.sequence_page import Context, sequence_page
from walkaround.threads import library_threads, usable_cores
from walkaround.types import Progress, no_progress

logger = logging.getLogger(__name__)

MARKER_NAME = ".walkaround-report"
"""Says that a folder is a report, so that it may be written over."""
_MEDIA_VERSION = 1
_PAGE_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """What a run did."""

    index: Path
    num_sequences: int
    num_drawn: int
    """Whose pictures were drawn."""
    num_written: int
    """Whose pages were written."""
    unreadable: tuple[str, ...]
    """The first sequences whose records cannot be read: ``<class label>/<instance id>``."""
    num_unreadable: int


@dataclass(frozen=True)
class _Done:
    entry: Entry
    state: int
    """0 without a page, 1 with one, 2 with a thumbnail too."""
    drawn: bool = False
    written: bool = False


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What all sequences of a run share."""

    root: Path
    out: Path
    name: str
    options: SiteOptions
    splits: Mapping[str, str]
    """``<class label>/<instance id>`` -> split."""
    inside: bool


def write_site(
    root: Path,
    out: Path | None = None,
    *,
    options: SiteOptions,
    num_threads: int = 0,
    progress: Progress = no_progress,
) -> SiteSummary:
    """Write the report of a dataset.

    Parameters
    ----------
    root
        ROOT, a dataset of ours with its catalogue.
    out
        The site's folder, new or an older report; ``ROOT/report`` when None.
    num_threads
        Sequences to work on at once; 0 means all cores.

    Raises
    ------
    FormatError
        The catalogue, ``dataset.json`` or the splits are broken.
    OutputError
        The site cannot be written.
    UsageError
        An option is wrong, or ``out`` holds something else.
    """
    options.check()
    out = root / "report" if out is None else out
    stats, description, splits = read_stats(root), read_description(root) or {}, splits_that_count(root)
    _claim(out)
    name = str(description.get("name") or root.resolve().name)
    job = _Job(
        root=root,
        out=out,
        name=name,
        options=options,
        splits={key: split for split, keys in splits.items() for key in keys},
        inside=out.resolve().is_relative_to(root.resolve()),
    )
    write_assets(out)
    with library_threads(1):
        done = _write_sequences(job, stats, num_threads or usable_cores(), progress)
    _remove_gone(out / "classes", {item.label for item in stats.classes})
    usual = sorted(splits, key=lambda split: (SPLITS.index(split) if split in SPLITS else len(SPLITS), split))
    _write_front(job, stats, description, {split: len(splits[split]) for split in usual})
    return done


def _write_front(
    job: _Job, stats: DatasetStats, description: Mapping[str, Any], splits: Mapping[str, int]
) -> None:
    """Write the overview and the card, the card for machines too."""
    to_root = f"{way(job.out, job.root)}/" if job.inside else ""
    has_frames_table = job.inside and (job.root / CROISSANT_NAME).is_file()
    frames_table = to_root + CROISSANT_NAME if has_frames_table else ""
    num_named = sum(len(names) for names in read_splits(job.root).values())
    num_out = max(num_named - sum(splits.values()), 0)
    facts = read_card_facts(job.root, splits, num_out_of_splits=num_out, frames_table=frames_table)
    metadata = croissant(
        job.root,
        stats,
        facts,
        description,
        name=job.name,
        catalogue=to_root + CATALOG_NAME,
        way_to_root=to_root,
    )
    _take_catalogue(job)
    write_json(job.out / CROISSANT_NAME, metadata)
    card = card_page(stats, facts, description, name=job.name, metadata=metadata)
    _write(job, job.out / "card.html", card)
    licence = str(description["licence"]) if description.get("licence") else None
    about = str(description.get("description") or "")
    overview = overview_page(stats, name=job.name, licence=licence, description=about)
    _write(job, job.out / "index.html", overview)


def _claim(out: Path) -> None:
    """Mark a folder as a report; refuse one that holds something else."""
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER_NAME).is_file():
            raise UsageError(f"{out} is not empty and is no report of walkaround. Choose another --out.")
    except OSError as error:
        raise output_error(out, error) from error
    write_bytes(out / MARKER_NAME, b"written by walkaround report\n")


def _write_sequences(job: _Job, stats: DatasetStats, num_threads: int, progress: Progress) -> SiteSummary:
    """Write the pages of all sequences, and the lists of them, class by class."""
    by_label = {item.label: item for item in stats.classes}
    labels, codes = sorted(by_label), [item.code for item in stats.reasons]
    count = drawn = written = 0
    unreadable: list[str] = []
    num_unreadable = 0
    with list_writer(job.out / "data" / "sequences.js", labels, codes, "classes/") as everything:
        worked_on = _worked_on(job, num_threads, by_label)
        for label, results in groupby(worked_on, key=lambda done: done.entry.class_label):
            with _class_list(job, by_label[label], codes) as classmates:
                seen, cards = set(), list[str]()
                for done in results:
                    split = job.splits.get(f"{label}/{done.entry.instance_id}", "")
                    for writer in (everything, classmates):
                        writer.add(done.entry, state=done.state, split=split)
                    cards.append(plain_card(done.entry, done.state))
                    seen.add(folder_name(done.entry.instance_id))
                    count, drawn, written = count + 1, drawn + done.drawn, written + done.written
                    if not done.state:
                        num_unreadable += 1
                        unreadable += [f"{label}/{done.entry.instance_id}"] * (len(unreadable) < 10)
                    progress(min(count / max(stats.counts.total, 1), 1.0))
            _write_class(job, by_label[label], cards)
            _remove_gone(job.out / "classes" / label, seen)
    return SiteSummary(
        index=job.out / "index.html",
        num_sequences=count,
        num_drawn=drawn,
        num_written=written,
        unreadable=tuple(unreadable),
        num_unreadable=num_unreadable,
    )


def _class_list(job: _Job, item: ClassStats, codes: list[str]) -> AbstractContextManager[ListWriter]:
    return list_writer(job.out / "classes" / item.label / "_sequences.js", [item.label], codes, "../")


def _write_class(job: _Job, item: ClassStats, cards: list[str]) -> None:
    """Write the page of a class, and the plain list where scripts do not run."""
    folder = job.out / "classes" / item.label
    _write(job, folder / "index.html", class_page(item, plain_list(cards)))
    names = {"index.html", "_sequences.js"}
    for number, page in enumerate(plain_pages(item, cards), start=2):
        _write(job, folder / plain_name(number), page)
        names.add(plain_name(number))
    _remove_gone(folder, names, files=True)


def _worked_on(job: _Job, num_threads: int, classes: Container[str]) -> Iterator[_Done]:
    """Yield what became of each sequence, in order; a few are worked on at once.

    A class that a build has added since the statistics were read waits for the next report.
    """
    waiting: deque[Future[_Done]] = deque()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(num_threads))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        for entry in (entry for entry in read_entries(job.root) if entry.class_label in classes):
            waiting.append(pool.submit(_write_sequence, job, entry))
            if len(waiting) >= 4 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_sequence(job: _Job, entry: Entry) -> _Done:
    """Draw a sequence's pictures and write its page, as far as they are not there yet."""
    folder = job.out / "classes" / entry.class_label / folder_name(entry.instance_id)
    context = Context(
        dataset_name=job.name,
        split=job.splits.get(f"{entry.class_label}/{entry.instance_id}", ""),
        files=way(folder, job.root / entry.class_label / entry.instance_id) if job.inside else "",
    )
    media_key = hashed(_MEDIA_VERSION, asdict(job.options), entry.last_key, entry.num_frames)
    key = hashed(_PAGE_VERSION, __version__, media_key, asdict(entry), asdict(context))
    media = kept_media(folder, media_key)
    if media is not None and page_key(folder / "index.html") == key:
        return _Done(entry, 1 + media.has_thumb)
    sequence_dir = job.root / entry.class_label / entry.instance_id
    try:
        record = read_record(sequence_dir)
    except FormatError as error:
        logger.warning("the report has no page of %s/%s: %s", entry.class_label, entry.instance_id, error)
        return _Done(entry, 0)
    drawn = media is None
    if media is None:
        media = draw_media(sequence_dir, record, folder, media_key, options=job.options)
    _write(job, folder / "index.html", sequence_page(record, media, entry, context, key=key))
    return _Done(entry, 1 + media.has_thumb, drawn, True)


def _write(job: _Job, path: Path, page: Page) -> None:
    write_bytes(path, page_html(page, job.name).encode())


def _take_catalogue(job: _Job) -> None:
    """Put the catalogue beside a site that lies elsewhere, so that its metadata describe what is there."""
    if not job.inside:
        try:
            write_bytes(job.out / CATALOG_NAME, (job.root / CATALOG_NAME).read_bytes())
        except OSError as error:
            raise output_error(job.out / CATALOG_NAME, error) from error


def _remove_gone(folder: Path, kept: set[str], *, files: bool = False) -> None:
    """Remove the folders, or the files, of a site that are no longer in the dataset."""
    try:
        for path in list(folder.iterdir()) if folder.is_dir() else []:
            if path.name in kept or path.is_dir() == files:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise output_error(folder, error) from error
