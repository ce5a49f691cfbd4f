"""What differs between the catalogue and the sequences on disk, found without reading every record.

``ROOT/.work/catalog/seen.parquet`` says which state of each ``sequence.json`` the catalogue holds: its size
and time of change. Only records in another state are read. Without it, or for sequences it does not know,
they are read, so it can be removed at any time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from walkaround.dataset.database import connect, described_columns, first_line, load_rows
from walkaround.dataset.rows import CATALOG_NAME, catalog_row, opened_catalog
from walkaround.dataset.schema import RECORD_NAME, read_record
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path

logger = logging.getLogger(__name__)

SEEN_NAME = ".work/catalog/seen.parquet"
_SEEN_COLUMNS = {
    "class_label": "VARCHAR", "instance_id": "VARCHAR", "size": "BIGINT", "changed_ns": "BIGINT",
}  # fmt: skip


class Seen(NamedTuple):
    """The state of a file."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path | str) -> Seen | None:
        """Return a file's state; None when there is none."""
        try:
            status = Path(path).stat()
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where the catalogue may be wrong. A sequence is named by class label and instance id."""

    changed: Mapping[tuple[str, str], Seen] = field(default_factory=dict)
    """Sequences without a row, and those whose record may have changed since -> their state."""
    gone: tuple[tuple[str, str], ...] = ()
    """Rows without a sequence."""
    broken: bool = False
    """The catalogue itself cannot be read though sequences are there."""


def find_difference(root: Path) -> Difference:
    """Compare the catalogue with the sequences under ROOT."""
    on_disk = dict(_states(root))
    try:
        with opened_catalog(root) as database:
            keys = set(database.execute("SELECT class_label, instance_id FROM catalog").fetchall())
    except FormatError as error:
        if (root / CATALOG_NAME).exists():
            logger.warning("%s It is written again.", error)
            return Difference(broken=True, changed=on_disk)
        keys = set()
    seen = _read_seen(root)
    changed = {key: state for key, state in on_disk.items() if key not in keys or seen.get(key) != state}
    return Difference(changed=changed, gone=tuple(sorted(keys - on_disk.keys())))


def read_rows(
    root: Path, keys: Iterable[tuple[str, str]], *, broken: list[tuple[str, str]] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of sequences; warn about unreadable ones and list them in ``broken``."""
    for key in keys:
        row = _row(root, key)
        if row is not None:
            yield row
        elif broken is not None:
            broken.append(key)


def list_sequences(root: Path) -> Iterator[tuple[str, str]]:
    """Yield class label and instance id of every sequence under ROOT, sorted."""
    return (key for key, _ in _states(root))


def write_seen(
    root: Path, seen: Mapping[tuple[str, str], Seen], *, gone: Sequence[tuple[str, str]] = ()
) -> None:
    """Note which state of records the catalogue holds now.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    if not seen and not gone:
        return
    path = root / SEEN_NAME
    fresh = [dict(zip(_SEEN_COLUMNS, (*key, *state), strict=True)) for key, state in seen.items()]
    dropped = [dict(zip(_SEEN_COLUMNS, key, strict=False)) for key in (*seen, *gone)]
    with atomic_path(path) as temporary, connect() as database:
        load_rows(database, "fresh", fresh, _SEEN_COLUMNS)
        load_rows(database, "dropped", dropped, _SEEN_COLUMNS)
        query = "SELECT * FROM fresh"
        if _readable(path):
            database.read_parquet(str(path)).create_view("old")
            query += (
                " UNION ALL SELECT * FROM old WHERE NOT EXISTS (SELECT 1 FROM dropped"
                " WHERE dropped.class_label = old.class_label AND dropped.instance_id = old.instance_id)"
            )
        try:
            database.sql(query).write_parquet(str(temporary), compression="zstd")
        except duckdb.IOException as error:
            raise OutputError(
                f"{path} could not be written. Is the disk full? ({first_line(error)})"
            ) from error


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and set(described_columns(path, FormatError)) == set(_SEEN_COLUMNS)
    except FormatError:
        return False


def _read_seen(root: Path) -> dict[tuple[str, str], Seen]:
    path = root / SEEN_NAME
    if not _readable(path):
        return {}
    with connect() as database:
        rows = database.execute("SELECT * FROM read_parquet($path)", {"path": str(path)}).fetchall()
    return {(label, instance): Seen(size, changed) for label, instance, size, changed in rows}


def _states(root: Path) -> Iterator[tuple[tuple[str, str], Seen]]:
    """Yield class label, instance id and state of every record under ROOT, sorted."""
    for label in _folders(root):
        for instance in _folders(f"{root}/{label}"):
            state = Seen.of(f"{root}/{label}/{instance}/{RECORD_NAME}")
            if state is not None:
                yield (label, instance), state


def _folders(path: Path | str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []


def _row(root: Path, key: tuple[str, str]) -> dict[str, Any] | None:
    """Return the row of a record; None for a broken one, or one that belongs elsewhere."""
    folder = root.joinpath(*key)
    try:
        record = read_record(folder)
    except FormatError as error:
        logger.warning("left out of the catalogue: %s", error)
        return None
    if (record.class_label, record.instance_id) != key:
        logger.warning(
            "left out of the catalogue: %s says that it is %s/%s.",
            folder,
            record.class_label,
            record.instance_id,
        )
        return None
    return catalog_row(record)
