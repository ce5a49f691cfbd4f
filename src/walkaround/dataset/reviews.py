"""What people decided about sequences: a log beside the catalogue, a line a decision, never rewritten.

The catalogue follows from what was built and is written anew; decisions follow from nothing, so they have a
file of their own that no build touches. Every write of the catalogue joins them to its rows
(:mod:`walkaround.dataset.rows`). The last line of a sequence counts; ``undo`` takes back the one before it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from walkaround.dataset.classes import label_problem
from walkaround.dataset.schema import CATALOG_NAME
from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import output_error

logger = logging.getLogger(__name__)

REVIEWS_NAME = "reviews.jsonl"
DECISIONS = ("accept", "reject", "relabel", "withdraw", "undo")
"""``withdraw`` takes all decisions before it back, ``undo`` the last one."""
MAX_TEXT = 2000

REVIEW_COLUMNS = {
    "class_label": "VARCHAR",
    "instance_id": "VARCHAR",
    "decision": "VARCHAR",
    "label": "VARCHAR",
    "note": "VARCHAR",
    "time": "VARCHAR",
}
"""Name -> DuckDB's type of each field of a decision."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """One decision about one sequence."""

    class_label: str
    """The class it had when that was decided."""
    instance_id: str
    decision: str
    """One of :data:`DECISIONS`."""
    label: str | None = None
    """The class that it should have; of ``relabel`` only."""
    note: str = ""
    time: str = ""
    """UTC, ISO 8601 to the second."""

    @property
    def key(self) -> str:
        """``<class label>/<instance id>``."""
        return f"{self.class_label}/{self.instance_id}"

    @property
    def said(self) -> str:
        """The decision in words, with its note."""
        words = {
            "accept": "accepted by hand",
            "reject": "rejected by hand",
            "relabel": f"should be {self.label}",
        }
        said = words.get(self.decision, self.decision)
        return f"{said} ({self.note})" if self.note else said


def reviews_path(root: Path) -> Path:
    """Return where the decisions about a dataset lie: in it if it is ours, beside a download."""
    if (root / CATALOG_NAME).is_file():
        return root / REVIEWS_NAME
    root = root.absolute()
    return root.with_name(f"{root.name}.{REVIEWS_NAME}")


def add_review(path: Path, review: Review) -> Review:
    """Append a decision, with the time if it has none; return it as it was written.

    It is on the disk when this returns. Several processes may write.

    Raises
    ------
    UsageError
        The decision is none of :data:`DECISIONS`, a text is too long, or a new class is missing.
    OutputError
        The file cannot be written.
    """
    _check(review)
    time = review.time or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    review = Review(**{**asdict(review), "time": time})
    line = json.dumps(asdict(review), ensure_ascii=False).encode() + b"\n"
    try:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            if end and _last_byte(file, end) != b"\n":  # a write that was cut off: its line is lost, not this
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise output_error(path, error) from error
    return review


def read_reviews(path: Path) -> list[Review]:
    """Return the decision that counts about each sequence, in the order of their keys.

    A line that cannot be read (a write that was cut off) is passed over with a warning.

    Raises
    ------
    FormatError
        The file cannot be read at all.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}).") from error
    made: dict[str, list[Review]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            review = _parsed(json.loads(line))
        except (ValueError, TypeError, RecursionError, UsageError) as error:
            logger.warning("%s line %d is no decision (%s); it is passed over.", path, number, error)
            continue
        _take(made.setdefault(review.key, []), review)
    return [made[key][-1] for key in sorted(made) if made[key]]


def _take(made: list[Review], review: Review) -> None:
    """Put a line of the log on top of the decisions about its sequence that are not taken back."""
    if review.decision == "withdraw":
        made.clear()
    elif review.decision != "undo":
        made.append(review)
    elif made:
        made.pop()


def _parsed(value: Any) -> Review:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    names = {field.name for field in fields(Review)}
    for name in names & set(value):
        if not isinstance(value[name], str) and not (name == "label" and value[name] is None):
            raise ValueError(f"{name} is no text")
    review = Review(**{name: value[name] for name in names if name in value})
    _check(review)
    return review


def _check(review: Review) -> None:
    if review.decision not in DECISIONS:
        raise UsageError(f"The decision {review.decision!r:.80} is none of {', '.join(DECISIONS)}.")
    for name in ("class_label", "instance_id"):
        if not getattr(review, name):
            raise UsageError(f"The decision names no {name}.")
    if (review.decision == "relabel") != bool(review.label):
        raise UsageError("A new class belongs to relabel, and to nothing else.")
    if review.label == review.class_label:
        raise UsageError(f"It is in the class {review.label!r:.80} already; accept it or undo instead.")
    problem = label_problem(review.label) if review.label else ""
    if problem:
        raise UsageError(f"The class {review.label!r:.80} cannot name a folder: {problem}.")
    if any(len(text or "") > MAX_TEXT for text in (review.note, review.label)):
        raise UsageError(f"A note has at most {MAX_TEXT} characters.")


def _last_byte(file: Any, end: int) -> bytes:
    file.seek(end - 1)
    return bytes(file.read(1))
