"""The class table of a dataset: a CSV file with one label a row."""

from __future__ import annotations

import csv
import difflib
from pathlib import Path

from walkaround.errors import UsageError


def read_class_table(path: Path) -> tuple[str, ...]:
    """Read the column ``label`` (the first column when there is none), in the order of the file.

    Raises
    ------
    UsageError
        The file cannot be read as CSV or holds no label.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--classes {path} cannot be read as a CSV table: {reason}.") from error
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    column, start = (header.index("label"), 1) if "label" in header else (0, 0)
    labels = (row[column].strip() for row in rows[start:] if len(row) > column)
    unique = tuple(dict.fromkeys(label for label in labels if label))
    if not unique:
        raise UsageError(f"--classes {path} holds no label. Give a CSV table with a column 'label'.")
    return unique


def check_against_table(label: str, table: tuple[str, ...]) -> None:
    """Refuse a label that the table does not hold.

    Raises
    ------
    UsageError
        With the nearest labels of the table.
    """
    if label in table:
        return
    folded = {known.casefold(): known for known in table}
    near = [folded[name] for name in difflib.get_close_matches(label.casefold(), folded, n=3, cutoff=0.5)]
    names = near or list(table[:5])
    listed = ", ".join(repr(name) for name in names)
    more = "" if near or len(table) <= 5 else f" and {len(table) - 5} more"
    hint = f"Did you mean {listed}?" if near else f"It knows {listed}{more}."
    raise UsageError(f"The class label {label!r} is not in the table of --classes. {hint}")
