"""The sequences of the catalogue, one at a time, and the lists of them that the pages search."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from walkaround.dataset.rows import opened_catalog
from walkaround.dataset.schema import STATUSES, class_label_problem, instance_id_problem
from walkaround.errors import FormatError
from walkaround.io.atomic import atomic_path

SCORES = {
    "arc_deg": "arc covered",
    "registered_share": "frames registered",
    "reprojection_error_px": "reprojection error",
    "depth_share": "pixels with depth",
    "mask_agreement": "masks agree",
    "num_points": "points",
}
"""What sequences can be sorted by: score -> words."""
DECISIONS = ("", "accept", "reject", "relabel")
_BATCH = 256
_QUERY = f"""
SELECT class_label, instance_id, status, built_status, review, review_label, review_note, review_time,
reasons, num_frames, num_registered, num_bytes, last_key, licence,
[{", ".join(f"scores['{name}']" for name in SCORES)}], md5(CAST(catalog AS VARCHAR)),
lag(instance_id) OVER classmates, lead(instance_id) OVER classmates
FROM catalog WINDOW classmates AS (PARTITION BY class_label ORDER BY instance_id)
ORDER BY class_label, instance_id
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the catalogue, as far as the site needs it."""

    class_label: str
    instance_id: str
    status: str
    built_status: str
    review: str | None
    """The decision of a person: ``accept``, ``reject`` or ``relabel``."""
    review_label: str | None
    review_note: str | None
    review_time: str | None
    reasons: tuple[str, ...]
    num_frames: int
    num_registered: int
    num_bytes: int
    last_key: str
    licence: str | None
    scores: tuple[float | None, ...]
    """In the order of :data:`SCORES`."""
    row_hash: str
    """Of the whole row."""
    before: str | None
    """Instance ids of its neighbours in the class."""
    after: str | None


def folder_name(instance_id: str) -> str:
    """Return the folder of a sequence's page within that of its class.

    The id itself, unless that is where the page of the class lies (``index.html``, or ``index`` for servers
    that leave the suffix out). No id begins with an underscore. ``list.js`` knows the rule too.
    """
    return f"_{instance_id}" if instance_id.lower() in ("index", "index.html") else instance_id


def said(decision: str | None) -> str:
    """Return the decision of a person in words; empty without one."""
    words = {"accept": "accepted by hand", "reject": "rejected by hand", "relabel": "relabelled by hand"}
    return words.get(decision or "", "")


def read_entries(root: Path, batch: int = _BATCH) -> Iterator[Entry]:
    """Yield the catalogue's rows, sorted by class label and instance id.

    Raises
    ------
    FormatError
        The catalogue is missing or broken, or a row names what cannot be a folder.
    """
    with opened_catalog(root, memory_limit="2GB") as database:
        database.execute(_QUERY)
        while rows := database.fetchmany(batch):
            for row in rows:
                entry = Entry(**dict(zip(Entry.__dataclass_fields__, row, strict=True)))
                problem = class_label_problem(entry.class_label) or instance_id_problem(entry.instance_id)
                if problem:
                    raise FormatError(
                        f"{root}: the catalogue has a sequence {entry.class_label!r:.80} /"
                        f" {entry.instance_id!r:.80}; {problem}. Remove the catalogue: the next build writes"
                        " it again."
                    )
                yield entry


def hashed(*parts: Any) -> str:
    """Return a short hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:20]


@dataclass
class ListWriter:
    """Writes one list of sequences as a script, row by row."""

    file: IO[str]
    classes: Mapping[str, int]
    reasons: Mapping[str, int]
    count: int = 0
    splits: dict[str, int] = field(default_factory=dict)

    def add(self, entry: Entry, *, state: int, split: str) -> None:
        """Add a sequence; ``state`` is 0 without a page, 1 with one, 2 with a thumbnail too."""
        row = [
            self.classes[entry.class_label],
            entry.instance_id,
            STATUSES.index(entry.status) if entry.status in STATUSES else 2,
            [self.reasons[code] for code in dict.fromkeys(entry.reasons or ()) if code in self.reasons],
            state,
            self.splits.setdefault(split, len(self.splits)),
            entry.num_registered,
            entry.num_frames,
            [_short(value) for value in entry.scores],
            DECISIONS.index(entry.review) if entry.review in DECISIONS else 0,
        ]
        self.file.write(("," if self.count else "") + "\n" + json.dumps(row, separators=(",", ":")))
        self.count += 1


@contextmanager
def list_writer(path: Path, classes: list[str], reasons: list[str], base: str) -> Iterator[ListWriter]:
    """Yield a writer of ``walkaroundList({...})``, which appears when all rows are written.

    Parameters
    ----------
    base
        The way from the page that shows the list to the folder of the class folders.

    Raises
    ------
    OutputError
        ``path`` cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as file:
        head = {
            "base": base, "classes": classes, "reasons": reasons, "statuses": STATUSES,
            "scores": list(SCORES.values()), "decisions": [*map(said, DECISIONS)],
        }  # fmt: skip
        file.write(f'walkaroundList({json.dumps(head)[:-1]}, "rows": [')
        places = {label: place for place, label in enumerate(classes)}
        writer = ListWriter(file, places, {code: place for place, code in enumerate(reasons)})
        yield writer
        file.write(f'], "splits": {json.dumps(list(writer.splits))}}});\n')


def _short(value: float | None) -> float | None:
    """Four digits are enough to sort and to show."""
    return None if value is None or value != value or abs(value) == float("inf") else float(f"{value:.4g}")
