"""The class table of a dataset: a CSV file with a column ``label``, or one label a line."""

from __future__ import annotations

import csv
import difflib
from pathlib import Path

from walkaround.errors import UsageError


def read_class_table(path: Path) -> tuple[str, ...]:
    """Read the column ``label``, in the order of the file.

    A file of one column needs no header: every line is a label then.

    Raises
    ------
    UsageError
        The file cannot be read as CSV, has several columns but none named ``label``, or holds no label.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--classes {path} cannot be read as a CSV table: {reason}.") from error
    column, start = _label_column(rows, path)
    labels = (row[column].strip() for row in rows[start:] if len(row) > column)
    unique = tuple(dict.fromkeys(label for label in labels if label))
    if not unique:
        raise UsageError(f"--classes {path} holds no label. Give a CSV table with a column 'label'.")
    return unique


def _label_column(rows: list[list[str]], path: Path) -> tuple[int, int]:
    """Return the column that holds the labels, and the first row that does."""
    header = [cell.strip() for cell in rows[0]] if rows else []
    folded = [cell.casefold() for cell in header]
    if "label" in folded:
        return folded.index("label"), 1
    if max(map(len, rows), default=0) > 1:
        listed = ", ".join(repr(name) for name in header)
        raise UsageError(
            f"--classes {path} has no column 'label'; its first line holds {listed}."
            " Name the column of the labels 'label', or give a file of one column."
        )
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if header and separator in header[0]:
            raise UsageError(
                f"--classes {path} has no column 'label'; its first line is {header[0]!r}."
                f" Separate columns by commas, not by {name}."
            )
    return 0, 0


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
