"""Training, validation and test: whole objects, every class in its share, the same again from the same seed.

What belongs together (one source, or sequences that ``duplicates.json`` says show one object) goes into one
split. Sequences that are split already stay where they are, so that adding some never moves the others; the
new ones go, in an order that the seed gives, where their class and the whole lack most.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walkaround.dataset.groups import connected
from walkaround.dataset.rows import opened_catalog
from walkaround.dataset.splits_options import SPLITS, SplitsOptions
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import write_json

FOLDER_NAME = "splits"
SUMMARY_NAME = "splits/splits.json"
DUPLICATES_NAME = "duplicates.json"
_STATUSES = ("accepted", "rejected")


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A division: split -> names ``<class label>/<instance id>``, sorted."""

    members: dict[str, tuple[str, ...]]
    num_kept: int = 0
    """Sequences that stayed where an earlier call put them."""
    num_moved: int = 0
    """Sequences that an earlier call had put elsewhere, away from a duplicate of theirs."""
    has_duplicates: bool = False
    """Whether ``duplicates.json`` was there."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Something that two splits share, or that a split should not hold."""

    kind: str
    """``twice``, ``source``, ``duplicate``, ``unknown`` or ``rejected``."""
    names: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass
class _Tally:
    """How many sequences each split holds, by class and in all."""

    shares: Mapping[str, float]
    classes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    whole: Counter[str] = field(default_factory=Counter)

    def add(self, split: str, names: Iterable[str]) -> None:
        for name in names:
            self.classes[_class_of(name)][split] += 1
            self.whole[split] += 1

    def neediest(self, names: Sequence[str]) -> str:
        """Return the split that lacks most of these sequences' class, then of the whole."""
        own = self.classes[_class_of(names[0])]

        def lack(split: str) -> float:
            in_class = self.shares[split] * (own.total() + len(names)) - own[split]
            in_all = self.shares[split] * (self.whole.total() + len(names)) - self.whole[split]
            return in_class + 0.5 * max(-1.0, min(1.0, in_all))

        return max(self.shares, key=lack)


def make_splits(root: Path, *, options: SplitsOptions, overwrite: bool = False) -> Splits:
    """Divide the sequences of the catalogue; nothing is written.

    Parameters
    ----------
    overwrite
        Forget the division that is there. Without it, an existing one must have the same seed and shares.

    Raises
    ------
    FormatError
        The catalogue, ``duplicates.json`` or the splits are broken.
    UsageError
        The division that is there was made with another seed or other shares.
    """
    options.check()
    sources = _sources(root, _STATUSES[: 1 + options.rejected])
    old: dict[str, str] = {}
    if not overwrite:
        _check_summary(root, options)
        members = read_splits(root, options.shares)
        old = {name: split for split in reversed(options.shares) for name in members.get(split, ())}
    groups, has_duplicates = _groups(root, sources)
    tally = _Tally(options.shares)
    found: dict[str, str] = {}
    for group in groups:
        known = [split for split in options.shares if split in {old.get(name) for name in group}]
        if known:
            found |= dict.fromkeys(group, known[0])
            tally.add(known[0], group)
    for group in sorted((group for group in groups if group[0] not in found), key=_order(options.seed)):
        split = tally.neediest(group)
        found |= dict.fromkeys(group, split)
        tally.add(split, group)
    return Splits(
        members={
            split: tuple(sorted(name for name, where in found.items() if where == split))
            for split in options.shares
        },
        num_kept=sum(old.get(name) == split for name, split in found.items()),
        num_moved=sum(name in old and old[name] != split for name, split in found.items()),
        has_duplicates=has_duplicates,
    )


def write_splits(root: Path, splits: Splits, *, options: SplitsOptions) -> None:
    """Write ``splits/<split>.json`` and ``splits/splits.json``.

    Raises
    ------
    OutputError
        They cannot be written.
    """
    for name in SPLITS:
        path = root / FOLDER_NAME / f"{name}.json"
        if name in splits.members:
            write_json(path, splits.members[name])
        else:
            path.unlink(missing_ok=True)
    summary = {"schema_version": 1, **_settings(options), "num_sequences": _sizes(splits)}
    write_json(root / SUMMARY_NAME, summary)


def read_splits(root: Path, names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Read ``splits/*.json``: split -> names. A missing file is left out.

    Raises
    ------
    FormatError
        A file is no list of ``<class label>/<instance id>``.
    """
    folder = root / FOLDER_NAME
    summary = Path(SUMMARY_NAME).name
    if names is None:
        names = [path.stem for path in sorted(folder.glob("[!.]*.json")) if path.name != summary]
    out = {}
    for name in names:
        value = _read_json(folder / f"{name}.json")
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) and "/" in item for item in value):
            raise FormatError(f"{folder / name}.json is no list of '<class label>/<instance id>'. Remove it.")
        out[name] = tuple(value)
    return out


def splits_that_count(root: Path) -> dict[str, tuple[str, ...]]:
    """Read the splits without what is not in the catalogue any more or was rejected by hand since.

    Raises
    ------
    FormatError
        The catalogue or a split is broken.
    """
    splits = read_splits(root)
    if not splits:
        return {}
    counting = _sources(root, None).keys() - _thrown_out(root)
    return {split: tuple(name for name in names if name in counting) for split, names in splits.items()}


def find_leaks(root: Path) -> tuple[Leak, ...]:
    """Look for what two splits share (sequences, sources, duplicates), and for what should not be in one.

    That is a sequence that is not there, or that a person rejected or gave another class since.

    Raises
    ------
    FormatError
        The catalogue, ``duplicates.json`` or the splits are broken.
    """
    where: dict[str, set[str]] = defaultdict(set)
    leaks = []
    for split, names in read_splits(root).items():
        for name, count in Counter(names).items():
            where[name].add(split)
            if count > 1:
                leaks.append(Leak(kind="twice", names=(name,), splits=(split,)))
    sources, thrown_out = _sources(root, None), _thrown_out(root)
    for name, splits in sorted(where.items()):
        if len(splits) > 1:
            leaks.append(Leak(kind="twice", names=(name,), splits=tuple(sorted(splits))))
        if name not in sources:
            leaks.append(Leak(kind="unknown", names=(name,), splits=tuple(sorted(splits))))
        elif name in thrown_out:
            leaks.append(Leak(kind="rejected", names=(name,), splits=tuple(sorted(splits))))
    by_source: dict[str, list[str]] = defaultdict(list)
    for name in where:
        by_source[sources.get(name, name)].append(name)
    for kind, groups in (("source", by_source.values()), ("duplicate", _duplicate_groups(root) or ())):
        for group in groups:
            listed = [name for name in sorted(group) if name in where]
            touched = set().union(*(where[name] for name in listed)) if listed else set()
            if len(listed) > 1 and len(touched) > 1:
                leaks.append(Leak(kind=kind, names=tuple(listed), splits=tuple(sorted(touched))))
    return tuple(leaks)


def _class_of(name: str) -> str:
    return name.rpartition("/")[0]


def _order(seed: int) -> Any:
    """Return a sort key: a hash of the group's first name, so that other sequences change nothing."""
    return lambda group: (hashlib.sha256(f"{seed} {group[0]}".encode()).digest(), group)


def _sources(root: Path, statuses: Sequence[str] | None) -> dict[str, str]:
    """Return name -> hash of the source, in the order of the catalogue."""
    where, values = (
        ("WHERE list_contains($1, status)", [list(statuses)]) if statuses is not None else ("", [])
    )
    with opened_catalog(root) as database:
        rows = database.execute(
            f"SELECT class_label || '/' || instance_id, source_sha256 FROM catalog {where}"
            " ORDER BY class_label, instance_id",
            values,
        ).fetchall()
    return dict(rows)


def _thrown_out(root: Path) -> set[str]:
    """Return the names of what a build accepted and a person did not."""
    with opened_catalog(root) as database:
        rows = database.execute(
            "SELECT class_label || '/' || instance_id FROM catalog"
            " WHERE built_status = 'accepted' AND status = 'rejected'"
        ).fetchall()
    return {name for (name,) in rows}


def _groups(root: Path, sources: Mapping[str, str]) -> tuple[list[tuple[str, ...]], bool]:
    """Return what must stay together, among these sequences, and whether duplicates were looked for."""
    duplicates = _duplicate_groups(root)
    first: dict[str, str] = {}
    pairs = [(first.setdefault(source, name), name) for name, source in sources.items()]
    for group in duplicates or ():
        here = [name for name in group if name in sources]
        pairs += [(here[0], name) for name in here[1:]]
    return list(connected(pairs)), duplicates is not None


def _duplicate_groups(root: Path) -> list[list[str]] | None:
    path = root / DUPLICATES_NAME
    value = _read_json(path)
    if value is None:
        return None
    groups = value.get("groups") if isinstance(value, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and all(isinstance(name, str) for name in group) for group in groups
    ):
        raise FormatError(f"{path} has no list of groups. Run `walkaround duplicates` again, or remove it.")
    return groups


def _check_summary(root: Path, options: SplitsOptions) -> None:
    path = root / SUMMARY_NAME
    value = _read_json(path)
    if value is None:
        return
    before = value if isinstance(value, dict) else {}
    differing = [name for name, now in _settings(options).items() if before.get(name) != now]
    if differing:
        raise UsageError(
            f"{path} was made with other values of {' and '.join(differing)}. Give the same again, which"
            " keeps every sequence where it is, or --overwrite, which divides anew."
        )


def _settings(options: SplitsOptions) -> dict[str, Any]:
    return {"seed": options.seed, "shares": options.shares}


def _sizes(splits: Splits) -> dict[str, int]:
    return {name: len(names) for name, names in splits.members.items()}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}. Remove it.") from error


def sizes_by_class(splits: Splits) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield each class and how many of its sequences each split has."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for split, names in splits.members.items():
        for name in names:
            counts[_class_of(name)][split] += 1
    yield from ((label, dict(counter)) for label, counter in sorted(counts.items()))
