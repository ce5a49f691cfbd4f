"""Class tables: which classes a dataset knows, their ids, and the other names they go by.

The tables of MVImgNet and MVImgNet 2.0 come with the package (``dataset/tables/``). They are keyed by id,
since MVImgNet 2.0 uses four names for two ids each; such a class is labelled ``name (id)``. Labels that are
misspelt in the released lists are spelt right here and keep the released spelling as an alias.
"""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from walkaround.errors import UsageError

TABLE_NAMES = ("mvimgnet", "mvimgnet2")
"""Tables that ``--classes`` knows by name; anything else is the path of a CSV file."""

_RESERVED_LABELS = frozenset(
    {
        "splits",
        "duplicates",
        "report",
        "croissant.json",
        "dataset.json",
        "catalog.parquet",
        "duplicates.json",
        "fingerprints.parquet",
        "reviews.jsonl",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassEntry:
    """One class of a table."""

    label: str
    """Names the folder of the class."""
    class_id: str | None = None
    """The id in the released dataset, for example ``17``; None in a table without ids."""
    aliases: tuple[str, ...] = ()
    """Other names that mean this class."""


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The classes of a dataset, in the order of the table. Labels and ids are unique."""

    entries: tuple[ClassEntry, ...]

    @classmethod
    def mvimgnet(cls) -> ClassTable:
        """Return the 238 classes of MVImgNet (arXiv:2303.06042)."""
        return _read_own_table("mvimgnet")

    @classmethod
    def mvimgnet2(cls) -> ClassTable:
        """Return the 515 classes of MVImgNet 2.0 (arXiv:2412.01430)."""
        return _read_own_table("mvimgnet2")

    @classmethod
    def read(cls, path: Path) -> ClassTable:
        """Read a CSV file with a column ``label`` and perhaps ``id`` and ``aliases`` (separated by ``;``).

        A file of one column needs no header: every line is a label then.

        Raises
        ------
        UsageError
            The file cannot be read as CSV, has several columns but none named ``label``, holds no label or
            one that cannot name a folder, or gives one id or one label to two classes.
        """
        return cls(entries=tuple(_entries(_read_rows(path), path)))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(entry.label for entry in self.entries)

    @cached_property
    def ids(self) -> dict[str, str]:
        """Label -> id, of the classes that have one."""
        return {entry.label: entry.class_id for entry in self.entries if entry.class_id is not None}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Folded name -> labels that it may mean."""
        out: dict[str, list[str]] = {}
        for entry in self.entries:
            numbered = () if entry.class_id is None else (f"{entry.label} ({entry.class_id})",)
            for name in dict.fromkeys(map(_folded, (entry.label, *entry.aliases, *numbered))):
                out.setdefault(name, []).append(entry.label)
        return out

    @cached_property
    def _by_id(self) -> dict[str, str]:
        return {class_id: label for label, class_id in self.ids.items()}

    def resolve(self, name: str) -> str:
        """Return the label that a label, an alias or an id stands for.

        Case, spaces, underscores and hyphens make no difference, unless two labels differ in nothing else.

        Raises
        ------
        UsageError
            The table does not know the name, or it may mean several classes; the nearest labels are named.
        """
        name = unicodedata.normalize("NFC", name).strip()
        if name in self._known:
            return name
        if name in self._by_id:
            return self._by_id[name]
        found = self._by_name.get(_folded(name), [])
        if len(found) == 1:
            return found[0]
        if found:
            listed = " or ".join(map(repr, found))
            raise UsageError(
                f"The class label {name!r} may mean several classes of --classes. Write {listed}."
            )
        raise UsageError(f"The class label {name!r} is not in the table of --classes. {self._hint(name)}")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.labels)

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(_folded(name), self._by_name, n=3, cutoff=0.5)
        labels = list(dict.fromkeys(label for folded in near for label in self._by_name[folded]))
        if labels:
            return f"Did you mean {', '.join(map(repr, labels))}?"
        first = ", ".join(map(repr, self.labels[:5]))
        more = f" and {len(self.entries) - 5} more" if len(self.entries) > 5 else ""
        return f"It knows {first}{more}."


def load_class_table(name: Path | str) -> ClassTable:
    """Return what ``--classes`` names: ``mvimgnet``, ``mvimgnet2``, or the path of a CSV file.

    Raises
    ------
    UsageError
        As :meth:`ClassTable.read`.
    """
    return _read_own_table(str(name)) if str(name) in TABLE_NAMES else ClassTable.read(Path(name))


def check_class_label(label: str) -> str:
    """Return the label as a folder name.

    Raises
    ------
    UsageError
        The label is empty, hidden, too long, reserved, or holds a path separator or a control character.
    """
    clean = unicodedata.normalize("NFC", label).strip()
    problem = label_problem(clean)
    if problem:
        raise UsageError(
            f"--class-label {label!r} cannot name a folder: {problem}. Use a plain name such as 'mug'."
        )
    return clean


def label_problem(label: str) -> str:
    """Say why a clean label cannot name a folder; empty when it can."""
    if not label:
        return "it is empty"
    if "/" in label or "\\" in label:
        return "it holds a path separator"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in label):
        return "it holds a control character"
    if label.startswith("."):
        return "it starts with a dot"
    if label.casefold() in _RESERVED_LABELS:
        return "this name is used by the dataset itself"
    return "it is longer than 200 bytes" if len(label.encode()) > 200 else ""


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFC", name).casefold().replace("_", " ").replace("-", " ")
    return " ".join(plain.split())


def _read_own_table(name: str) -> ClassTable:
    text = (files("walkaround.dataset") / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))
    return ClassTable(entries=tuple(_entries(rows, Path(f"{name}.csv"))))


def _read_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"--classes {path} cannot be read as a CSV table: {reason}."
            f" Give such a file, or one of the names {', '.join(TABLE_NAMES)}."
        ) from error
    if not rows:
        raise UsageError(f"--classes {path} holds no label. Give a CSV table with a column 'label'.")
    return rows


def _entries(rows: list[list[str]], path: Path) -> Iterator[ClassEntry]:
    """Turn rows into classes; a label that comes again with the same id is one class."""
    columns, start = _columns(rows, path)
    seen: dict[str, str | None] = {}
    ids: dict[str, str] = {}
    for row in rows[start:]:
        label, class_id, aliases = (_cell(row, columns.get(name)) for name in ("label", "id", "aliases"))
        label = unicodedata.normalize("NFC", label)
        if not label:
            continue
        problem = label_problem(label)
        if problem:
            raise UsageError(f"--classes {path}: the label {label!r} cannot name a folder: {problem}.")
        if label in seen:
            if seen[label] == (class_id or None):
                continue
            raise UsageError(
                f"--classes {path}: the label {label!r} has two ids, {seen[label]!r} and {class_id!r}."
                " Give the two classes different labels."
            )
        if class_id and ids.setdefault(class_id, label) != label:
            raise UsageError(
                f"--classes {path}: the id {class_id!r} stands for {ids[class_id]!r} and {label!r}."
            )
        seen[label] = class_id or None
        names = tuple(alias.strip() for alias in aliases.split(";") if alias.strip())
        yield ClassEntry(label=label, class_id=class_id or None, aliases=names)
    if not seen:
        raise UsageError(f"--classes {path} holds no label. Give a CSV table with a column 'label'.")


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _columns(rows: list[list[str]], path: Path) -> tuple[dict[str, int], int]:
    """Return where each column is, and the first row that holds a class."""
    header = [cell.strip() for cell in rows[0]]
    columns = {name: index for index, name in reversed(list(enumerate(map(str.casefold, header))))}
    if "label" in columns:
        return columns, 1
    if max(map(len, rows)) > 1:
        listed = ", ".join(repr(name) for name in header)
        raise UsageError(
            f"--classes {path} has no column 'label'; its first line holds {listed}."
            " Name the column of the labels 'label', or give a file of one column."
        )
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header[0]:
            raise UsageError(
                f"--classes {path} has no column 'label'; its first line is {header[0]!r}."
                f" Separate columns by commas, not by {name}."
            )
    return {"label": 0}, 0
