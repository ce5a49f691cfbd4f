"""The list of a download's scenes: made once by looking through it, kept as Parquet, checked by hash.

A kept list counts while the names, sizes and times of the class folders, archives and mask folders are those
it was made from, and its own bytes have the hash that was noted. Our own datasets have their catalogue.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from walkaround.dataset.classes import ClassTable
from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.dataset.readers.scan import FoundScene, places, scan
from walkaround.dataset.rows import CATALOG_NAME
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.io.cache import cache_folder
from walkaround.types import IntArray, Progress, no_progress

logger = logging.getLogger(__name__)

INDEX_VERSION = 1
_MEMBER = (
    "STRUCT(path VARCHAR, archive INTEGER, start BIGINT, packed BIGINT, size BIGINT, method INTEGER,"
    " crc BIGINT)"
)
INDEX_COLUMNS = {
    "class_label": "VARCHAR",
    "class_id": "VARCHAR",
    "class_name": "VARCHAR",
    "instance_id": "VARCHAR",
    "place": "VARCHAR",
    "cloud_place": "VARCHAR",
    "masks_place": "VARCHAR",
    "num_images": "INTEGER",
    "num_masks": "INTEGER",
    "has_cameras": "BOOLEAN",
    "has_depth": "BOOLEAN",
    "has_cloud": "BOOLEAN",
    "members": f"{_MEMBER}[]",
}
"""Name -> DuckDB's type of each column of a kept index."""

PLAIN, PLAIN_WITH_MASKS = 1, 2
"""A scene that is the folder ``<class>/<instance>`` and nothing else; with masks there in a mask tree."""
_KEY = "class_label || '/' || instance_id"
_PLAIN = f"""
CASE WHEN place IS DISTINCT FROM {_KEY} OR cloud_place IS NOT NULL OR len(members) > 0 THEN 0
     WHEN masks_place IS NULL THEN {PLAIN} WHEN masks_place = {_KEY} THEN {PLAIN_WITH_MASKS} ELSE 0 END
"""


@dataclass(frozen=True, kw_only=True)
class Index:
    """Which scenes there are, in the order of their classes and ids. Small: a few bytes a scene in memory."""

    path: Path
    """The Parquet file behind it."""
    class_labels: tuple[str, ...]
    """Names of the class folders."""
    class_of: IntArray  # (N,) into class_labels
    instance_ids: NDArray[np.str_]  # (N,)
    rows: IntArray  # (N,) row of the Parquet file
    plain: NDArray[np.int8]  # (N,) see PLAIN and PLAIN_WITH_MASKS; 0 when the row must be read
    class_names: dict[str, tuple[str | None, str | None]]
    """Class folder -> id and name."""
    archives: tuple[Path, ...] = ()
    is_catalog: bool = False
    """The file is the catalogue of one of our own datasets."""

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, number: int) -> tuple[str, str]:
        """Return class label and instance id of a scene."""
        return self.class_labels[int(self.class_of[number])], str(self.instance_ids[number])


def read_catalog_index(root: Path) -> Index:
    """Take the catalogue of one of our own datasets as the index.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    return _load(root / CATALOG_NAME, is_catalog=True)


def open_index(
    root: Path,
    *,
    masks: Path | None = None,
    keep_at: Path | None = None,
    refresh: bool = False,
    progress: Progress = no_progress,
) -> Index:
    """Return the index of a download; look through it only when there is none that still holds.

    Parameters
    ----------
    masks
        The mask tree, a folder or archive.
    keep_at
        The Parquet file; None for one in the cache folder, named after ``root`` and ``masks``.
    refresh
        Look through it in any case.

    Raises
    ------
    FormatError
        There are no scenes, or an archive is broken.
    """
    path = keep_at or _place_of(root, masks)
    signature = sign(root, masks)
    if not refresh:
        kept = _read_kept(path, signature)
        if kept is not None:
            return kept
    logger.info("looking through %s for scenes", root)
    found = scan(root, masks, progress)
    try:
        return _write(path, found.scenes, found.archives, signature)
    except (OSError, OutputError) as error:
        raise OutputError(
            f"The index of {root} cannot be kept at {path} ({error}). Set WALKAROUND_CACHE to a folder that"
            " can be written."
        ) from error


def sign(root: Path, masks: Path | None) -> str:
    """Return a hash over what a change of the set of scenes changes: names and times of folders, archives."""
    digest = hashlib.sha256(f"{INDEX_VERSION}".encode())
    for line in (line for base in (root, masks) if base is not None for line in _signs(base)):
        digest.update(line.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _signs(base: Path) -> Iterator[str]:
    folders, archives = places(base)
    for path in archives:
        status = path.stat()
        yield f"{path.name} {status.st_size} {status.st_mtime_ns}"
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir() and not entry.name.startswith("."):
                    yield f"{folder.name}/{entry.name} {entry.stat().st_mtime_ns}"


def _place_of(root: Path, masks: Path | None) -> Path:
    named = f"{root.resolve()}\0{masks.resolve() if masks else ''}"
    digest = hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_folder() / "indexes" / f"{digest}.parquet"


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_kept(path: Path, signature: str) -> Index | None:
    """Return a kept index that still holds."""
    try:
        noted = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        if noted["version"] != INDEX_VERSION or noted["signature"] != signature:
            return None
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != noted["sha256"]:
                return None
        return _load(path, archives=tuple(Path(name) for name in noted["archives"]))
    except (OSError, ValueError, KeyError, TypeError, FormatError):
        return None


def _write(path: Path, scenes: list[FoundScene], archives: list[Path], signature: str) -> Index:
    ids = _class_names({scene.class_label for scene in scenes})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, connect() as database:
        load_rows(database, "scenes", (_row(scene, ids) for scene in scenes), INDEX_COLUMNS)
        database.table("scenes").write_parquet(str(temporary), compression="zstd", row_group_size=4096)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = [str(archive.absolute()) for archive in archives]
    noted = {"version": INDEX_VERSION, "signature": signature, "sha256": digest, "archives": named}
    write_json(_sidecar(path), noted)
    return _load(path, archives=tuple(map(Path, named)))


def _row(scene: FoundScene, ids: dict[str, tuple[str, str]]) -> dict[str, Any]:
    class_id, class_name = ids.get(scene.class_label, (None, None))
    members = [
        {
            "path": inner,
            "archive": number,
            "start": member.header_offset,
            "packed": member.compress_size,
            "size": member.file_size,
            "method": member.compress_type if not member.flag_bits & 1 else -1,  # encrypted: said when read
            "crc": member.CRC,
        }
        for inner, (number, member) in sorted(scene.members.items())
    ]
    return {
        "class_label": scene.class_label,
        "class_id": class_id,
        "class_name": class_name,
        "instance_id": scene.instance_id,
        "place": scene.place,
        "cloud_place": scene.cloud_place,
        "masks_place": scene.masks_place,
        "num_images": scene.num_images,
        "num_masks": scene.num_masks,
        "has_cameras": scene.has_cameras,
        "has_depth": scene.has_depth,
        "has_cloud": scene.has_cloud,
        "members": members,
    }


def _class_names(labels: set[str]) -> dict[str, tuple[str, str]]:
    """Return folder -> id and name, if the folders are ids of MVImgNet or else of MVImgNet 2.0."""
    for table in (ClassTable.mvimgnet(), ClassTable.mvimgnet2()):
        by_id = {class_id: label for label, class_id in table.ids.items()}
        if labels <= set(by_id):
            return {label: (label, by_id[label]) for label in labels}
    return {}


def _load(path: Path, *, archives: tuple[Path, ...] = (), is_catalog: bool = False) -> Index:
    plain = str(PLAIN) if is_catalog else _PLAIN
    name = "class_label" if is_catalog else "class_name"
    try:
        with connect() as database:
            database.read_parquet(str(path), file_row_number=True).create_view("scenes")
            table = database.execute(
                f"SELECT class_label, instance_id, file_row_number, {plain} AS plain FROM scenes"
            ).fetchnumpy()
            names = database.execute(f"SELECT DISTINCT class_label, class_id, {name} FROM scenes").fetchall()
    except (*READ_ERRORS, duckdb.Error) as error:
        raise FormatError(f"{path} is not a readable index: {first_line(error)}") from error
    labels, class_of = np.unique(np.asarray(table["class_label"], dtype=np.str_), return_inverse=True)
    return Index(
        path=path,
        class_labels=tuple(str(label) for label in labels),
        class_of=class_of.astype(np.int64),
        instance_ids=np.asarray(table["instance_id"], dtype=np.str_),
        rows=np.asarray(table["file_row_number"], dtype=np.int64),
        plain=np.asarray(table["plain"], dtype=np.int8),
        class_names={label: (class_id, class_name) for label, class_id, class_name in names},
        archives=archives,
        is_catalog=is_catalog,
    )


def read_row(index: Index, number: int) -> dict[str, Any]:
    """Return the row of a scene of a kept index.

    Raises
    ------
    FormatError
        The file cannot be read any more.
    """
    query = "SELECT * FROM read_parquet($path, file_row_number=true) WHERE file_row_number = $row"
    try:
        cursor = _connection(os.getpid()).cursor()
        values = {"path": str(index.path), "row": int(index.rows[number])}
        (row,) = cursor.execute(query, values).fetchall()
        return dict(zip([column[0] for column in cursor.description or []], row, strict=True))
    except (*READ_ERRORS, ValueError) as error:
        raise FormatError(f"{index.path} is not a readable index: {first_line(error)}") from error


@functools.cache
def _connection(process: int) -> duckdb.DuckDBPyConnection:
    """Return a database of this process; one inherited by a fork is never used."""
    return connect()
