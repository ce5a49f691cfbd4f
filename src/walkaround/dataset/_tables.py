"""Rows of a manifest out of CSV, TSV and Parquet files, each with the place it came from."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError

logger = logging.getLogger(__name__)

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: field -> text, stripped; and what is wrong with its shape."""

    where: str
    """For messages: ``line 7`` of a CSV file, ``row 7`` of a Parquet file."""
    values: Mapping[str, str]
    problems: tuple[tuple[str, str], ...] = ()


def read_rows(
    path: Path, columns: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], dict[str, int], Iterator[Row]]:
    """Return the names of all columns, field -> index of its column, and the rows.

    Parameters
    ----------
    columns
        Field -> names that its column may have, in small letters.

    Raises
    ------
    UsageError
        The file cannot be read, or two of its columns mean the same; the iterator raises it too.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, columns)
    if path.name.lower().endswith(MANIFEST_SUFFIXES):
        return _read_csv(path, columns)
    raise UsageError(
        f"{path} is neither a manifest ({', '.join(MANIFEST_SUFFIXES)}) nor a folder of class folders."
    )


def _read_csv(
    path: Path, columns: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], dict[str, int], Iterator[Row]]:
    lines = _records(path)
    _, names, _ = next(lines, (",", [], 1))
    fields = _fields(names, columns, path)
    return names, fields, _csv_rows(lines, fields, len(names), path)


def _records(path: Path) -> Iterator[tuple[str, list[str], int]]:
    """Yield the separator, the cells and the first line of each record that is not empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = _separator(file.readline(), path)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            before = 0
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    yield separator, cells, before + 1
                before = reader.line_num
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}). Save it as CSV in UTF-8.") from error
    except csv.Error as error:
        line = reader.line_num
        raise UsageError(
            f"{path}, line {line}: this is no CSV ({error}). Look for a quote without its end."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _separator(header: str, path: Path) -> str:
    """Commas, unless the header is made of tabs or semicolons only."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    counts = {separator: header.count(separator) for separator in (",", ";", "\t")}
    return "," if counts[","] else max(counts, key=lambda separator: counts[separator])


def _csv_rows(
    lines: Iterator[tuple[str, list[str], int]], fields: Mapping[str, int], width: int, path: Path
) -> Iterator[Row]:
    pairs = tuple(fields.items())
    for _, cells, line in lines:
        where = f"line {line}"
        if len(cells) > width:
            text = f"it has {len(cells)} cells, the header has {width}. Quote values that hold the separator."
            yield Row(where, {}, (("", text),))
            continue
        cells += [""] * (width - len(cells))
        yield Row(where, {field: cells[index] for field, index in pairs})


def _fields(names: Sequence[str], columns: Mapping[str, tuple[str, ...]], path: Path) -> dict[str, int]:
    """Return field -> index of its column; warn about columns that mean nothing here."""
    known = {name: field for field, aliases in columns.items() for name in aliases}
    fields: dict[str, int] = {}
    unknown = []
    for index, name in enumerate(names):
        field = known.get(name.casefold())
        if field is None:
            unknown.append(name)
        elif field in fields:
            raise UsageError(
                f"{path} has two columns for {field}: {names[fields[field]]!r} and {name!r}."
                " Remove one of them."
            )
        else:
            fields[field] = index
    if unknown and fields:
        listed = ", ".join(map(repr, unknown))
        logger.warning("%s: these columns mean nothing here and are not read: %s.", path, listed)
    return fields


def _read_parquet(
    path: Path, columns: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], dict[str, int], Iterator[Row]]:
    from walkaround.dataset.database import described_columns

    names = described_columns(path, UsageError)
    fields = _fields(names, columns, path)
    return names, fields, _parquet_rows(path, names, fields)


def _parquet_rows(path: Path, names: Sequence[str], fields: Mapping[str, int]) -> Iterator[Row]:
    from walkaround.dataset.database import read_text_columns

    table = read_text_columns(path, [names[index] for index in fields.values()], UsageError)
    for number, cells in enumerate(table, start=1):
        values = {field: (cell or "").strip() for field, cell in zip(fields, cells, strict=True)}
        if any(values.values()):
            yield Row(f"row {number}", values)
