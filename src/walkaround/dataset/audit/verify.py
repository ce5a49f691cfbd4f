"""Whether one of our own datasets is what its records say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.dataset.audit.checksums import SUMS_NAME, check_sums
from walkaround.dataset.description import DATASET_NAME, class_ids, read_description
from walkaround.dataset.reconcile import list_sequences
from walkaround.dataset.rows import CATALOG_COLUMNS, CATALOG_NAME, catalog_row, opened_catalog
from walkaround.dataset.schema import RECORD_NAME, SequenceRecord, read_record
from walkaround.dataset.splits import find_leaks
from walkaround.errors import FormatError
from walkaround.io.colmap_views import parse_poses
from walkaround.types import Progress, no_progress

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as a record says."""

    path: str
    """Below ROOT."""
    text: str


def verify_dataset(root: Path, *, threads: int = 2, progress: Progress = no_progress) -> Iterator[Difference]:
    """Yield what differs, as it is found.

    ``dataset.json`` and its classes, every ``sequence.json`` with its files (there, of the noted sizes, none
    besides; frames and cameras counted), the catalogue's rows, the splits, and ``SHA256SUMS`` if it is there.
    """
    yield from _description(root)
    sequences = list(list_sequences(root))
    catalogued = _Catalogued(root)
    ids = _ids(root)
    for number, key in enumerate(sequences):
        yield from catalogued.before(key)
        yield from _sequence(root, key, catalogued, ids)
        progress(0.5 * (number + 1) / len(sequences))
    yield from catalogued.before(None)
    if catalogued.problem:
        yield Difference(path=CATALOG_NAME, text=catalogued.problem)
    yield from _labels(root, {label for label, _ in sequences})
    yield from _splits(root)
    if (root / SUMS_NAME).is_file():
        try:
            sums = check_sums(root, threads=threads, progress=lambda share: progress(0.5 + 0.5 * share))
            yield from (Difference(path=path, text=text) for path, text in sums)
        except FormatError as error:
            yield Difference(path=SUMS_NAME, text=str(error))
    progress(1.0)


def _description(root: Path) -> Iterator[Difference]:
    try:
        if read_description(root) is None:
            yield Difference(path=DATASET_NAME, text="is missing; the next build writes it")
    except FormatError as error:
        yield Difference(path=DATASET_NAME, text=str(error))


def _ids(root: Path) -> dict[str, str]:
    try:
        return class_ids(read_description(root))
    except FormatError:
        return {}


def _labels(root: Path, labels: set[str]) -> Iterator[Difference]:
    try:
        known = set((read_description(root) or {}).get("classes", labels))
    except FormatError:
        return
    for label in sorted(labels - known):
        yield Difference(path=DATASET_NAME, text=f"the class {label!r} is not listed")


class _Catalogued:
    """The catalogue's rows, taken one after the other beside the sequences in the same order."""

    def __init__(self, root: Path) -> None:
        self.problem = ""
        self._rows = self._read(root)
        self._next = next(self._rows, None)

    def _read(self, root: Path) -> Iterator[Row]:
        try:
            with opened_catalog(root) as database:
                result = database.execute("SELECT * FROM catalog ORDER BY class_label, instance_id")
                while rows := result.fetchmany(1000):
                    yield from (dict(zip(CATALOG_COLUMNS, row, strict=True)) for row in rows)
        except FormatError as error:
            self.problem = str(error)

    def before(self, key: tuple[str, str] | None) -> Iterator[Difference]:
        """Yield a difference for each row before a sequence; all that are left without one."""
        while self._next is not None and (key is None or self._key < key):
            yield Difference(path=CATALOG_NAME, text=f"{'/'.join(self._key)} has a row and no {RECORD_NAME}")
            self._next = next(self._rows, None)

    def take(self, key: tuple[str, str]) -> Row | None:
        """Return the row of a sequence; None without one."""
        row = self._next
        if row is None or self._key != key:
            return None
        self._next = next(self._rows, None)
        return row

    @property
    def _key(self) -> tuple[str, str]:
        return (self._next["class_label"], self._next["instance_id"]) if self._next else ("", "")


def _sequence(
    root: Path, key: tuple[str, str], catalogued: _Catalogued, ids: dict[str, str]
) -> Iterator[Difference]:
    where, row = "/".join(key), catalogued.take(key)
    try:
        record = read_record(root.joinpath(*key))
    except FormatError as error:
        yield Difference(path=f"{where}/{RECORD_NAME}", text=str(error))
        return
    if (record.class_label, record.instance_id) != key:
        said = f"says that it is {record.class_label}/{record.instance_id}"
        yield Difference(path=f"{where}/{RECORD_NAME}", text=said)
    yield from _files(root, where, record)
    yield from _counts(root, where, record)
    if row is None and not catalogued.problem:
        yield Difference(path=CATALOG_NAME, text=f"{where} has no row")
    elif row is not None:
        expected = catalog_row(record, class_id=ids.get(key[0]), entry_key=row["entry_key"])
        other = [name for name in CATALOG_COLUMNS if row[name] != expected[name]]
        if other:
            yield Difference(path=CATALOG_NAME, text=f"{where}: {', '.join(other)} differ from {RECORD_NAME}")


def _files(root: Path, where: str, record: SequenceRecord) -> Iterator[Difference]:
    """Compare the files with the stages' outputs."""
    noted = {path: size for stage in record.stages.values() for path, size in stage.outputs.items()}
    there = _sizes(root / where)
    for path, size in sorted(noted.items()):
        found = there.get(path)
        if found is None:
            yield Difference(path=f"{where}/{path}", text="is missing")
        elif found != size:
            yield Difference(path=f"{where}/{path}", text=f"has {found} bytes, the record says {size}")
    for path in sorted(there.keys() - noted.keys() - {RECORD_NAME}):
        yield Difference(path=f"{where}/{path}", text="is not known to the record")


def _sizes(folder: Path, inner: str = "") -> dict[str, int]:
    out: dict[str, int] = {}
    with os.scandir(folder / inner) as entries:
        for entry in entries:
            path = f"{inner}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                out |= _sizes(folder, f"{path}/")
            else:
                out[path] = entry.stat().st_size
    return out


def _counts(root: Path, where: str, record: SequenceRecord) -> Iterator[Difference]:
    """Compare the list of frames with what the stages wrote."""
    outputs = {name: set(stage.outputs) for name, stage in record.stages.items()}
    images = {f"images/{frame.image}" for frame in record.frames}
    written = outputs.get("hdr", outputs.get("frames"))  # the last of those stages that ran wrote the images
    if written is not None and written != images:
        said = f"lists {len(images)} frames, the stage wrote {len(written)} images"
        yield Difference(path=f"{where}/{RECORD_NAME}", text=said)
    registered = {frame.image for frame in record.frames if frame.registered}
    path = f"{where}/sparse/0/images.bin"
    if "sparse/0/images.bin" in outputs.get("cameras", ()) and (root / path).is_file():
        try:
            named = {pose.name for pose in parse_poses((root / path).read_bytes(), path)}
        except (FormatError, OSError) as error:
            yield Difference(path=path, text=str(error))
            return
        if named != registered:
            said = f"has {len(named)} cameras, {RECORD_NAME} says {len(registered)} frames have one"
            yield Difference(path=path, text=said)
    imported = bool(record.options.get("cameras", {}).get("imported"))  # its masks are those of the source
    expected_masks = None if imported else len(images)
    for stage, folder, expected in (("masks", "masks", expected_masks), ("depth", "depth", len(registered))):
        count = sum(output.startswith(f"{folder}/") for output in outputs.get(stage, ()))
        if stage in outputs and not record.stages[stage].reason and expected not in (None, count):
            yield Difference(path=f"{where}/{folder}", text=f"has {count} files, expected {expected}")


def _splits(root: Path) -> Iterator[Difference]:
    if not (root / "splits").is_dir():
        return
    try:
        leaks = find_leaks(root)
    except FormatError as error:
        yield Difference(path="splits", text=str(error))
        return
    said = {
        "twice": "is listed twice",
        "source": "have one source",
        "duplicate": "show one object",
        "unknown": "is in no catalogue",
    }
    for leak in leaks:
        yield Difference(
            path=f"splits ({', '.join(leak.splits)})", text=f"{', '.join(leak.names)} {said[leak.kind]}"
        )
