"""``walkaround query``."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, say
from walkaround.commands.printable import printable
from walkaround.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 160
_CELL = 60
_NUMBERS = ("NUMBER", "INT", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "UINT", "UBIGINT")


@dataclass(frozen=True, kw_only=True)
class QueryCommand:
    """Ask the catalogue of a dataset with SQL: the tables are ``catalog`` and ``reviews``."""

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """ROOT, the folder of the dataset."""
    sql: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[SQL]")] = (
        "SELECT column_name, column_type FROM (DESCRIBE catalog)"
    )
    """One SELECT in DuckDB's SQL, for example "SELECT class_label, count(*) FROM catalog GROUP BY ALL".
    Without it, the columns are listed. Scores and times are maps: scores['arc_deg']."""
    limit: int = 100
    """Rows of the printed table; --csv, --json and --parquet always give all."""
    csv: bool = False
    """Print CSV; lists and maps as JSON."""
    json: bool = False
    """Print JSON, an array of objects."""
    parquet: Path | None = None
    """Write a Parquet file instead."""


def run(arguments: list[str]) -> int:
    """Run one query and print or write what it gives."""
    command = parse(QueryCommand, "query", arguments)
    if sum((command.csv, command.json, command.parquet is not None)) > 1:
        raise UsageError("--csv, --json and --parquet contradict; give one of them.")
    if command.limit < 1:
        raise UsageError(f"--limit {command.limit} is out of range: at least 1.")
    from walkaround.dataset.query import query_catalog, write_query

    if command.parquet is not None:
        count = write_query(command.root, command.sql, command.parquet)
        say(f"{count} {'row' if count == 1 else 'rows'}: {command.parquet}")
        return EXIT_ACCEPTED
    with query_catalog(command.root, command.sql) as result:
        if command.csv:
            _print_csv(result.columns, result.rows)
        elif command.json:
            _print_json(result.columns, result.rows)
        else:
            _print_table(result.columns, result.types, result.rows, command.limit)
    return EXIT_ACCEPTED


def _print_csv(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            json.dumps(plain(cell), ensure_ascii=False) if isinstance(cell, list | dict | tuple) else cell
            for cell in row
        )


def _print_json(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    before = "[\n"
    for row in rows:
        value = {name: plain(cell) for name, cell in zip(columns, row, strict=True)}
        sys.stdout.write(before + json.dumps(value, ensure_ascii=False))
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


def plain(value: Any) -> Any:
    """Return a value of DuckDB's as JSON can hold it; NaN and infinities become None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def _print_table(
    columns: tuple[str, ...], types: tuple[str, ...], rows: Iterator[tuple[Any, ...]], limit: int
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    shown = list(islice(rows, limit))
    if sum(_least_width(name) for name in columns) > console.width:
        _print_blocks(console, columns, shown)
    else:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name, kind in zip(columns, types, strict=True):
            table.add_column(
                Text(printable(name)), justify="right" if kind.startswith(_NUMBERS) else "left", no_wrap=True
            )
        for row in shown:
            table.add_row(*(Text(_short(cell)) for cell in row))
        console.print(table)
    if next(rows, None) is not None:
        say(f"the first {len(shown)} rows; --limit shows more, --csv, --json and --parquet give all")
    else:
        say(f"{len(shown)} {'row' if len(shown) == 1 else 'rows'}")


def _least_width(name: str) -> int:
    return max(len(name), 10) + 2


def _print_blocks(console: Console, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows of too many columns one below the other, a line a column."""
    from rich.text import Text

    wide = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        console.print(Text(f"row {number}", "bold"))
        for name, cell in zip(columns, row, strict=True):
            line = Text.assemble((f"  {printable(name):<{wide}}  ", "dim"), _text(cell))
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(key))} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return printable(str(value))
