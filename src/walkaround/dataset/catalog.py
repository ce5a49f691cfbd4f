"""The one writer of ``catalog.parquet``, of single builds and of batches.

``sequence.json`` is the truth about a sequence; the catalogue follows it. A single build brings its own row
up to date (:func:`update_dataset`). A batch has one :class:`CatalogWriter`, which writes the rows that arrive
while a write runs together with the next one.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from walkaround.dataset.classes import ClassTable, load_class_table
from walkaround.dataset.description import (
    DATASET_NAME,
    class_ids,
    read_description,
    update_description,
    updated_description,
)
from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.reconcile import (
    SEEN_NAME,
    Difference,
    Seen,
    find_difference,
    list_sequences,
    read_rows,
    write_seen,
)
from walkaround.dataset.reviews import REVIEWS_NAME, Review, read_reviews
from walkaround.dataset.rows import (
    CATALOG_NAME,
    SPILL_NAME,
    catalog_row,
    holds_all_decisions,
    merge_catalog,
    opened_catalog,
    read_catalog,
    write_catalog,
)
from walkaround.dataset.schema import RECORD_NAME, SequenceRecord
from walkaround.errors import FormatError, OutputError, WalkaroundError
from walkaround.io.atomic import output_error
from walkaround.io.locks import locked

logger = logging.getLogger(__name__)

_MAX_SHARE = 0.05
"""Writing may take this share of the time; where it would take more, rows wait for each other."""
_MAX_PAUSE_S = 60.0


def update_dataset(root: Path, record: SequenceRecord, *, classes: ClassTable | Path | None = None) -> None:
    """Bring ``dataset.json`` and the catalogue's row of one sequence up to date.

    Safe beside other builds of the same ROOT; writes nothing, not even a lock, when nothing changed.

    Raises
    ------
    OutputError
        ROOT cannot be written.
    """
    table = load_class_table(classes) if isinstance(classes, Path) else classes
    lock = _lock_path(root)
    if _is_up_to_date(root, record, table):
        if lock.exists():  # left by a run killed at its very end
            with suppress(OutputError), locked(lock, wait=True, message=""):
                _remove_leftovers(root)
        return
    with locked(lock, wait=True, message=""):
        _remove_leftovers(root)
        update_description(root, [record], table)
        _merge_or_rebuild(root, [catalog_row(record)])


def apply_reviews(root: Path) -> bool:
    """Bring the catalogue in line with ``reviews.jsonl``; return whether it had to be written.

    Safe beside builds of the same ROOT. Every other write of the catalogue does the same.

    Raises
    ------
    OutputError
        ROOT cannot be written.
    """
    if _holds_all_decisions(root):
        return False
    with locked(_lock_path(root), wait=True, message=""):
        _remove_leftovers(root)
        _merge_or_rebuild(root, [])
    return True


def rebuild_catalog(root: Path) -> int:
    """Write the catalogue again from every ``sequence.json`` under ROOT; return the number of rows."""
    with locked(_lock_path(root), wait=True, message=""):
        _rebuild(root)
        with opened_catalog(root) as database:
            count: int = database.table("catalog").count("*").fetchall()[0][0]
    return count


@dataclass
class _Waiting:
    """Rows that no finished write holds yet."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Instance id -> row; a later row of the same sequence takes the place of an earlier one."""
    records: dict[str, SequenceRecord] = field(default_factory=dict)
    """Class label -> some record of it, for ``dataset.json``."""
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    futures: list[Future[None]] = field(default_factory=list)

    def __or__(self, later: _Waiting) -> _Waiting:
        return _Waiting(
            rows={**self.rows, **later.rows},
            records={**later.records, **self.records},
            seen={**self.seen, **later.seen},
            futures=[*self.futures, *later.futures],
        )


class CatalogWriter:
    """Writes the catalogue of a batch, from a thread of its own.

    Entering brings the catalogue in line with the sequences on disk, whatever a killed run left
    (:attr:`reconciled` says what that changed). A row that is added is written at once, unless writing would
    take more than 5 % of the time: then rows wait for each other and go out together. At the end all are
    written. A killed process loses nothing: the next one finds the sequences whose rows are missing or old.

    Other processes may build single sequences into the same ROOT meanwhile; each write starts from the file
    that it finds.

    Parameters
    ----------
    root
        ROOT, the folder of the dataset.
    classes
        The class table; its labels and ids go into ``dataset.json``.
    """

    def __init__(self, root: Path, *, classes: ClassTable | None = None) -> None:
        self.reconciled = Difference()
        self._root = root
        self._classes = classes
        self._waiting = _Waiting()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)

    def __enter__(self) -> CatalogWriter:
        """Reconcile and start the thread.

        Raises
        ------
        OutputError
            ROOT cannot be written.
        """
        with locked(_lock_path(self._root), wait=True, message=""):
            _remove_leftovers(self._root)
            self.reconciled = _reconcile(self._root, self._classes)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, and stop.

        Raises
        ------
        OutputError
            The last rows could not be written (not raised over another exception).
        """
        last: Future[None] = Future()
        with self._changed:
            if self._waiting.rows:
                self._waiting.futures.append(last)
            else:
                last.set_result(None)
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if kind is None:
            last.result()

    def add(self, record: SequenceRecord, entry: CaptureEntry | None = None) -> Future[None]:
        """Put a sequence's row into the catalogue, in place of an older one.

        Call it after ``sequence.json`` is on the disk.

        Parameters
        ----------
        entry
            What the batch was asked for; its key goes into the row.

        Returns
        -------
        Future
            Done when the row is on the disk; OutputError when it could not be written. The row then stays and
            is tried again with the next one.
        """
        future: Future[None] = Future()
        row = catalog_row(record, entry_key=entry.key if entry else None)
        key = (record.class_label, record.instance_id)
        state = Seen.of(self._root / record.class_label / record.instance_id / RECORD_NAME)
        with self._changed:
            self._waiting.rows[record.instance_id] = row
            self._waiting.records.setdefault(record.class_label, record)
            if state is not None:
                self._waiting.seen[key] = state
            self._waiting.futures.append(future)
            self._changed.notify()
        return future

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting.futures)
                self._changed.wait_for(lambda: self._closing, timeout=pause_s)
                taken, self._waiting = self._waiting, _Waiting()
                closing = self._closing
            start = time.thread_time()
            if taken.rows:
                self._write(taken)
            pause_s = min((time.thread_time() - start) * (1 / _MAX_SHARE - 1), _MAX_PAUSE_S)
            if closing:
                return

    def _write(self, taken: _Waiting) -> None:
        try:
            with locked(_lock_path(self._root), wait=True, message=""):
                update_description(self._root, taken.records.values(), self._classes)
                _merge_or_rebuild(self._root, list(taken.rows.values()))
                write_seen(self._root, taken.seen)
        except BaseException as error:
            if not isinstance(error, WalkaroundError):
                logger.exception("the catalogue could not be written")
            failed, taken.futures = taken.futures, []
            with self._changed:
                self._waiting = taken | self._waiting
            for future in failed:
                future.set_exception(error)
        else:
            for future in taken.futures:
                future.set_result(None)


def _lock_path(root: Path) -> Path:
    return root / ".work" / "dataset.lock"


def _remove_leftovers(root: Path) -> None:
    """Remove the temporary files of writes that were cut off; the lock says that nobody writes now."""
    try:
        for name in (DATASET_NAME, CATALOG_NAME, SEEN_NAME):
            path = root / name
            for temporary in path.parent.glob(f".{path.stem}.*.tmp{path.suffix}"):
                temporary.unlink()
        if (root / SPILL_NAME).is_dir():
            shutil.rmtree(root / SPILL_NAME)
    except OSError as error:
        raise output_error(root, error) from error


def _holds_all_decisions(root: Path) -> bool:
    try:
        return holds_all_decisions(root)
    except FormatError:
        return False


def _is_up_to_date(root: Path, record: SequenceRecord, table: ClassTable | None) -> bool:
    """True when both files say what they should. Needs no lock: other builds change other rows."""
    value = read_description(root)
    try:
        rows = read_catalog(root, instance_id=record.instance_id)
    except FormatError:
        return False
    if updated_description(value, [record], table) != value or len(rows) != 1:
        return False
    class_id = class_ids(value).get(record.class_label)
    entry_key, decided = rows[0]["entry_key"], _review_of(root, record)
    return rows[0] == catalog_row(record, class_id=class_id, entry_key=entry_key, review=decided)


def _review_of(root: Path, record: SequenceRecord) -> Review | None:
    key = f"{record.class_label}/{record.instance_id}"
    return next((found for found in read_reviews(root / REVIEWS_NAME) if found.key == key), None)


def _merge_or_rebuild(root: Path, rows: list[dict[str, Any]]) -> None:
    ids = class_ids(read_description(root))
    if (root / CATALOG_NAME).exists():
        try:
            merge_catalog(root, rows, ids=ids)
            return
        except FormatError as error:
            logger.warning("%s It is written again.", error)
    fresh = {row["instance_id"] for row in rows}
    known = read_rows(root, (key for key in list_sequences(root) if key[1] not in fresh))
    write_catalog(root, chain(known, rows), ids=ids)


def _rebuild(root: Path) -> None:
    write_catalog(root, read_rows(root, list_sequences(root)), ids=class_ids(read_description(root)))


def _reconcile(root: Path, classes: ClassTable | None) -> Difference:
    """Bring the catalogue in line with the sequences on disk; write nothing when it is."""
    ids_changed = update_description(root, (), classes)
    difference = find_difference(root)
    changed, broken = difference.changed, list[tuple[str, str]]()
    if difference.broken or (changed and not (root / CATALOG_NAME).exists()):
        _rebuild(root)
    elif (
        changed
        or difference.gone
        or ((root / CATALOG_NAME).exists() and (ids_changed or not _holds_all_decisions(root)))
    ):
        rows = read_rows(root, changed, broken=broken)
        ids = class_ids(read_description(root))
        merge_catalog(root, rows, gone=(*difference.gone, *changed), ids=ids)
    seen = {key: state for key, state in changed.items() if key not in set(broken)}
    write_seen(root, seen, gone=difference.gone)
    return difference
