"""Sequences that a dataset holds twice: the same source by hash, the same object by its looks."""

from __future__ import annotations

import base64
import dataclasses
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from walkaround.dataset.classes import label_problem
from walkaround.dataset.database import connect, first_line, load_rows, read_text_columns
from walkaround.dataset.duplicates_options import DuplicatesOptions
from walkaround.dataset.fingerprint import (
    NUM_STILLS,
    VECTOR_BYTES,
    VERSION,
    describe,
    object_crops,
    to_vectors,
)
from walkaround.dataset.groups import connected
from walkaround.dataset.neighbours import candidate_pairs, distances
from walkaround.dataset.rows import opened_catalog
from walkaround.dataset.same_object import View, agreement, find_views
from walkaround.dataset.schema import instance_id_problem
from walkaround.errors import FormatError, OutputError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.io.room import check_room_left
from walkaround.types import ByteArray, FloatArray, IntArray, Progress, no_progress

logger = logging.getLogger(__name__)

DUPLICATES_NAME = "duplicates.json"
FINGERPRINTS_NAME = ".work/catalog/fingerprints.parquet"
KINDS = ("same_source", "same_object", "look_alike")
"""Proven by the hash; proven by local features; nearest to each other by colours and outline, not proven."""
PROVEN = KINDS[:2]

_COLUMNS = {
    "class_label": "VARCHAR", "instance_id": "VARCHAR", "state": "VARCHAR", "vector": "VARCHAR",
}  # fmt: skip
_SAVE_EVERY = 5_000
_CACHED_SEQUENCES = 1_000
_CHUNK = 200


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """Two sequences, named ``<class label>/<instance id>``, and why they are a pair."""

    a: str
    b: str
    kind: str
    """One of :data:`KINDS`."""
    num_matches: int | None = None
    distance: float | None = None
    """Of the fingerprints; 0 is the same."""
    still_a: str | None = None
    still_b: str | None = None
    """The stills that agree best."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What was found."""

    pairs: tuple[DuplicatePair, ...]
    groups: tuple[tuple[str, ...], ...]
    """Sequences that proven pairs connect; sorted."""
    num_sequences: int
    num_compared: int
    """Sequences with masks, which could be compared by their looks."""
    num_candidates: int


@dataclass(frozen=True, kw_only=True)
class _Sequence:
    class_label: str
    instance_id: str
    sha256: str
    state: str
    """Changes when the files may have changed."""

    @property
    def name(self) -> str:
        return f"{self.class_label}/{self.instance_id}"


def find_duplicates(
    root: Path, *, options: DuplicatesOptions, num_threads: int = 1, progress: Progress = no_progress
) -> Duplicates:
    """Look for duplicates among all sequences of the catalogue.

    Fingerprints are kept in ``ROOT/.work/``; a second call computes those of new and changed sequences only.

    Raises
    ------
    FormatError
        The catalogue is missing or broken.
    OutputError
        The fingerprints cannot be kept.
    """
    options.check()
    sequences = _sequences(root)
    same = list(_same_source(sequences))
    proven = {(pair.a, pair.b) for pair in same}
    shown, fingerprints = _fingerprints(root, sequences, num_threads, lambda share: progress(0.5 * share))
    vectors = to_vectors(fingerprints)
    pairs = candidate_pairs(
        vectors,
        [item.class_label for item in shown],
        num_in_class=options.neighbours,
        num_anywhere=options.neighbours_anywhere,
        progress=lambda share: progress(0.5 + 0.1 * share),
    )
    apart = distances(vectors, pairs).astype(np.float64)
    pairs, apart = pairs[apart <= options.max_distance], apart[apart <= options.max_distance]
    found = _compare(
        root, shown, pairs, apart, options, num_threads, lambda share: progress(0.6 + 0.4 * share)
    )
    alike = [pair for pair in found if (pair.a, pair.b) not in proven]
    return Duplicates(
        pairs=tuple(sorted((*same, *alike), key=lambda pair: (KINDS.index(pair.kind), pair.a, pair.b))),
        groups=connected((pair.a, pair.b) for pair in (*same, *alike) if pair.kind in PROVEN),
        num_sequences=len(sequences),
        num_compared=len(shown),
        num_candidates=len(pairs),
    )


def write_duplicates(
    root: Path, found: Duplicates, *, options: DuplicatesOptions, pictures: dict[tuple[str, str], str]
) -> None:
    """Write ``duplicates.json``; ``pictures`` is the pair's names -> path of its picture under ROOT."""
    pairs = [
        {**_plain(pair), **({"picture": pictures[pair.a, pair.b]} if (pair.a, pair.b) in pictures else {})}
        for pair in found.pairs
    ]
    value = {
        "schema_version": 1,
        "options": dataclasses.asdict(options),
        "num_sequences": found.num_sequences,
        "num_compared": found.num_compared,
        "pairs": pairs,
        "groups": found.groups,
    }
    write_json(root / DUPLICATES_NAME, value)


def _plain(pair: DuplicatePair) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(pair).items() if value is not None}


def _sequences(root: Path) -> list[_Sequence]:
    with opened_catalog(root) as database:
        rows = database.execute(
            "SELECT class_label, instance_id, source_sha256, last_key FROM catalog"
            " ORDER BY class_label, instance_id"
        ).fetchall()
    sequences = []
    for label, instance, sha256, key in rows:
        problem = label_problem(label) or instance_id_problem(instance)
        if problem:  # such a name could lead out of ROOT
            logger.warning("left out: %r is no name of a sequence: %s", f"{label}/{instance}", problem)
            continue
        item = _Sequence(class_label=label, instance_id=instance, sha256=sha256, state=f"{VERSION} {key}")
        sequences.append(item)
    return sequences


def _same_source(sequences: list[_Sequence]) -> Iterator[DuplicatePair]:
    """Yield each sequence of a source with the first of them."""
    first: dict[str, _Sequence] = {}
    for item in sequences:
        if first.setdefault(item.sha256, item) is not item:
            yield DuplicatePair(a=first[item.sha256].name, b=item.name, kind="same_source")


def _fingerprints(
    root: Path, sequences: list[_Sequence], num_threads: int, progress: Progress
) -> tuple[list[_Sequence], ByteArray]:
    """Return the sequences that have masks, and their fingerprints (N, 656)."""
    known = _read_fingerprints(root)
    wanted = {(item.name, item.state): item for item in sequences}
    texts = {key: known[key] for key in wanted if key in known}
    missing = [item for key, item in wanted.items() if key not in texts]

    def compute(item: _Sequence) -> str:
        vector = describe(list(object_crops(root / item.class_label / item.instance_id)))
        return "" if vector is None else base64.b64encode(vector.tobytes()).decode()

    with ThreadPoolExecutor(num_threads) as pool:
        remaining = iter(missing)
        done = 0
        while part := list(islice(remaining, _SAVE_EVERY)):
            for item, text in zip(part, pool.map(compute, part), strict=True):
                texts[item.name, item.state] = text
                done += 1
                progress(done / len(missing))
            _write_fingerprints(root, texts)
    if not missing and texts.keys() != known.keys():
        _write_fingerprints(root, texts)
    progress(1.0)
    shown = [item for key, item in wanted.items() if texts[key]]
    joined = b"".join(base64.b64decode(texts[item.name, item.state]) for item in shown)
    return shown, np.frombuffer(joined, np.uint8).reshape(-1, VECTOR_BYTES)


def _read_fingerprints(root: Path) -> dict[tuple[str, str], str]:
    path = root / FINGERPRINTS_NAME
    if not path.is_file():
        return {}
    try:
        rows = list(read_text_columns(path, list(_COLUMNS), FormatError))
    except FormatError:
        return {}
    size = len(base64.b64encode(bytes(VECTOR_BYTES)))
    return {
        (f"{label}/{instance}", str(state)): str(vector)
        for label, instance, state, vector in rows
        if vector is not None and len(vector) in (0, size)
    }


def _write_fingerprints(root: Path, texts: dict[tuple[str, str], str]) -> None:
    rows = (
        dict(zip(_COLUMNS, (*name.rsplit("/", 1), state, vector), strict=True))
        for (name, state), vector in texts.items()
    )
    with atomic_path(root / FINGERPRINTS_NAME) as temporary, connect() as database:
        load_rows(database, "prints", rows, _COLUMNS)
        try:
            database.table("prints").write_parquet(str(temporary), compression="zstd")
        except duckdb.IOException as error:
            check_room_left(root)
            raise OutputError(
                f"{root / FINGERPRINTS_NAME} could not be written: {first_line(error)}."
            ) from error


def _compare(
    root: Path,
    shown: list[_Sequence],
    pairs: IntArray,
    apart: FloatArray,
    options: DuplicatesOptions,
    num_threads: int,
    progress: Progress,
) -> list[DuplicatePair]:
    """Compare candidates feature by feature."""

    @lru_cache(maxsize=_CACHED_SEQUENCES)
    def views(index: int) -> list[View]:
        item = shown[index]
        return find_views(list(object_crops(root / item.class_label / item.instance_id, NUM_STILLS)))

    def compare(number: int) -> DuplicatePair | None:
        a, b = (int(index) for index in pairs[number])
        best = agreement(views(a), views(b))
        proven = best.num_matches >= options.min_matches
        if not proven and not (mutual[number] and apart[number] < options.look_alike):
            return None
        return DuplicatePair(
            a=shown[a].name,
            b=shown[b].name,
            kind="same_object" if proven else "look_alike",
            num_matches=best.num_matches,
            distance=round(float(apart[number]), 4),
            still_a=best.still_a or None,
            still_b=best.still_b or None,
        )

    mutual = _mutual_nearest(pairs, apart, len(shown))
    found: list[DuplicatePair] = []
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(pairs), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(pairs)))
            found += (pair for pair in pool.map(compare, chunk) if pair is not None)
            progress(chunk.stop / len(pairs))
    return found


def _mutual_nearest(pairs: IntArray, apart: FloatArray, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which pairs are each other's nearest."""
    least = np.full(count, np.inf)
    for side in (0, 1):
        np.minimum.at(least, pairs[:, side], apart)
    return np.asarray((apart <= least[pairs[:, 0]]) & (apart <= least[pairs[:, 1]]))
