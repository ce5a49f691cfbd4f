"""What a batch is made of: a manifest (CSV, TSV, Parquet) or a tree of class folders, as capture entries.

Nothing is opened or fetched here, so that 219,188 rows take seconds. Everything that is wrong with a manifest
is said at once; a capture that is missing or broken is the batch's matter, and stops no other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from walkaround.dataset._tables import MANIFEST_SUFFIXES, Row, read_rows
from walkaround.dataset.classes import ClassTable, label_problem
from walkaround.dataset.schema import instance_id_problem
from walkaround.dataset.tree import holds_captures, walk_tree
from walkaround.errors import UsageError

logger = logging.getLogger(__name__)

COLUMNS = {
    "source": ("source", "path", "url"),
    "class_label": ("class_label", "class", "label"),
    "instance_id": ("instance_id", "instance"),
    "licence": ("licence", "license"),
    "consent": ("consent", "collector_consent"),
}
"""Field -> names that its column may have."""

_CONSENT = {
    **dict.fromkeys(("true", "yes", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "0", "n", "f"), False),
}
_MAX_SHOWN = 20
_MAX_LICENCE = 200
_TRIED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureEntry:
    """One capture of a batch."""

    source: str
    """An absolute local path of a video, a folder of photos or an archive of them, or a URL (it has ``://``)."""
    class_label: str
    instance_id: str | None = None
    """None: the first 12 hex digits of the source's SHA-256, as for a single build."""
    licence: str | None = None
    consent: bool | None = None
    """The collector's consent. False is a refusal: the source is never fetched nor opened."""
    relative: str = ""
    """The source as :attr:`key` sees it: relative to the manifest or folder when it lies under it."""

    @property
    def key(self) -> str:
        """Return 12 hex digits that name the entry, also after the collection has moved to another folder."""
        parts = [self.relative or self.source, self.class_label, self.instance_id]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def is_url(self) -> bool:
        return "://" in self.source


def is_batch(path: Path | str) -> bool:
    """Return whether ``path`` is a manifest, or a folder of captures, and not a capture itself.

    A folder with photos directly in it is one capture; a folder of class folders, or of videos, is a batch.
    """
    path = Path(path)
    if path.is_dir():
        return holds_captures(path)
    return path.name.lower().endswith(MANIFEST_SUFFIXES)


def read_captures(
    path: Path | str, *, class_label: str | None = None, classes: ClassTable | None = None
) -> tuple[CaptureEntry, ...]:
    """Read a manifest, or list a tree of class folders.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv`` or ``.parquet`` file with a header, whose columns are :data:`COLUMNS` and whose
        relative paths start at its folder; or a folder ``<class>/<video, folder of photos or archive>``.
    class_label
        The class of captures for which neither the manifest nor a class folder names one.
    classes
        Labels, aliases and ids must be in this table, and become its labels.

    Raises
    ------
    UsageError
        The file or folder cannot be read, or rows are wrong; 20 are shown, each with line and column.
    """
    path = Path(os.path.normpath(Path(path).absolute()))  # keeps links as they are, unlike Path.resolve
    labels = _Labels(class_label, classes)
    if path.is_dir():
        captures = walk_tree(path, flat=class_label is not None)
        found_rows = (
            Row(where=found.relative, values={"source": found.relative, "class_label": found.folder})
            for found in captures
        )
        return _checked(found_rows, path, path, labels)
    names, fields, rows = read_rows(path, COLUMNS)
    if "source" not in fields:
        listed = ", ".join(f"{name!r:.60}" for name in names[:10]) or "nothing"
        raise UsageError(
            f"{path} has no column for the captures; its header has {listed}. Its first line must name the"
            f" columns, {' or '.join(COLUMNS['source'])} among them."
        )
    if "class_label" not in fields and class_label is None:
        raise UsageError(f"{path} has no column class_label. Add one, or give --class-label.")
    return _checked(rows, path, path.parent, labels)


def _checked(rows: Iterable[Row], path: Path, base: Path, labels: _Labels) -> tuple[CaptureEntry, ...]:
    """Turn rows into entries; raise UsageError for all wrong ones together."""
    problems = _Problems(path)
    seen = _Seen()
    entries = []
    for row in rows:
        problems.num_rows += 1
        found = [*row.problems]
        entry = _entry(row, base, labels, found)
        found += seen.problems(entry, row.where)
        problems.add(row.where, found)
        if not found:
            entries.append(entry)
    problems.check()
    if not entries:
        raise UsageError(f"{path} lists no capture. Add a line for each, below the header.")
    _check_sources(entries, path, base)
    return tuple(entries)


def _entry(row: Row, base: Path, labels: _Labels, problems: list[tuple[str, str]]) -> CaptureEntry:
    value = row.values.get
    source, relative = _source(value("source", ""), base, problems)
    label, problem = labels(value("class_label", ""))
    if problem:
        problems.append(("class_label", problem))
    instance_id = value("instance_id", "") or None
    if instance_id and (problem := instance_id_problem(instance_id)):
        problems.append(("instance_id", f"{instance_id!r:.80}: {problem}."))
    consent = value("consent", "").casefold()
    if consent and consent not in _CONSENT:
        problems.append(
            (
                "consent",
                f"{consent!r:.40} is neither yes nor no. Write true, false, yes, no, 1, 0, or nothing.",
            )
        )
    licence = " ".join(value("licence", "").split()) or None
    if licence and (len(licence) > _MAX_LICENCE or not licence.isprintable()):
        problems.append(
            ("licence", f"{licence!r:.60} is no licence's name (at most {_MAX_LICENCE} characters).")
        )
    return CaptureEntry(
        source=source,
        class_label=label,
        instance_id=instance_id,
        licence=licence,
        consent=_CONSENT.get(consent),
        relative=relative,
    )


def _source(text: str, base: Path, problems: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the absolute source, and what stands for it in the entry's key."""
    if not text:
        problems.append(("source", "it is empty. Write a path or a URL."))
    elif any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        problems.append(("source", f"{text!r:.80} holds a control character or broken Unicode."))
    elif "://" in text:
        return text, text
    whole = os.path.normpath(text if text.startswith("/") else f"{base}/{text}")
    return whole, whole.removeprefix(f"{base}/")


class _Labels:
    """Turns the labels of rows into folder names; each different one is looked up once."""

    def __init__(self, default: str | None, classes: ClassTable | None) -> None:
        self._default = default
        self._classes = classes
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, text: str) -> tuple[str, str]:
        """Return the label and what is wrong with it."""
        if text not in self._known:
            self._known[text] = self._look_up(text or self._default or "")
        return self._known[text]

    def _look_up(self, text: str) -> tuple[str, str]:
        label = unicodedata.normalize("NFC", text).strip()
        problem = label_problem(label)
        if problem:
            return label, f"{label!r:.80} cannot name a folder: {problem}. Write a name such as mug."
        if self._classes is None:
            return label, ""
        try:
            return self._classes.resolve(label), ""
        except UsageError as error:
            return label, str(error)


class _Seen:
    """Finds sources and instance ids that come twice."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}
        self._instances: dict[str, str] = {}

    def problems(self, entry: CaptureEntry, where: str) -> Iterator[tuple[str, str]]:
        first = self._sources.setdefault(entry.source, where)
        if first is not where and entry.source:
            yield "source", f"{entry.relative!r} stands in {first} already. List each capture once."
        if entry.instance_id:
            first = self._instances.setdefault(entry.instance_id.casefold(), where)
            if first is not where:
                yield (
                    "instance_id",
                    f"{entry.instance_id!r} stands in {first} already. Ids must differ in the whole"
                    " dataset, and in more than upper and lower case.",
                )


class _Problems:
    """Collects what is wrong, up to what one message can hold."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        self._num_wrong = 0
        self.num_rows = 0

    def add(self, where: str, problems: Sequence[tuple[str, str]]) -> None:
        self._num_wrong += bool(problems)
        for column, text in problems:
            if len(self._lines) < _MAX_SHOWN:
                self._lines.append(f"  {where}, column {column}: {text}" if column else f"  {where}: {text}")

    def check(self) -> None:
        if self._num_wrong:
            rows = "entry is" if self.num_rows == self._num_wrong == 1 else "entries are"
            more = f"\n  (the first {_MAX_SHOWN} are shown)" if len(self._lines) >= _MAX_SHOWN else ""
            lines = "\n".join(self._lines)
            raise UsageError(
                f"{self._path}: {self._num_wrong} of {self.num_rows} {rows} wrong:\n{lines}{more}"
            )


def _check_sources(entries: list[CaptureEntry], path: Path, base: Path) -> None:
    """Refuse a manifest none of whose first local sources exists: its folder is another one."""
    tried = list(islice((entry for entry in entries if not entry.is_url), _TRIED))
    if tried and not any(Path(entry.source).exists() for entry in tried):
        which = "capture" if len(tried) == 1 else f"{len(tried)} local captures"
        raise UsageError(
            f"{path}: the first {which} cannot be found, for example {tried[0].source}."
            f" Relative paths start at the manifest's folder, {base}."
        )


def count_labels(entries: Iterable[CaptureEntry]) -> dict[str, int]:
    """Return the number of captures of each class, the largest class first."""
    return dict(Counter(entry.class_label for entry in entries).most_common())
