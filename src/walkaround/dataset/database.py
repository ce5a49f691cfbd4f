"""DuckDB as this package uses it: in memory, without extensions, with bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from walkaround.errors import WalkaroundError

READ_ERRORS = (duckdb.Error, RuntimeError)
"""What reading a broken Parquet file raises; the second is for text that is no UTF-8."""
_CHUNK = 2000


def connect(**settings: Any) -> duckdb.DuckDBPyConnection:
    """Open a database in memory: one thread, so that equal rows give equal bytes, and nothing downloaded."""
    config = {"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    return duckdb.connect(":memory:", config={**config, **settings})


def described_columns(path: Path, kind: type[WalkaroundError]) -> list[str]:
    """Return the names of the columns of a Parquet file; an error of ``kind`` when it cannot be read."""
    try:
        with connect() as database:
            rows = database.execute(
                "DESCRIBE SELECT * FROM read_parquet($path)", {"path": str(path)}
            ).fetchall()
    except READ_ERRORS as error:
        raise kind(f"{path} is not a readable Parquet file: {first_line(error)}") from error
    return [str(row[0]) for row in rows]


def read_text_columns(
    path: Path, columns: Sequence[str], kind: type[WalkaroundError], *, batch: int = 10_000
) -> Iterator[tuple[str | None, ...]]:
    """Yield the rows of some columns of a Parquet file as text, in the order of the file."""
    listed = ", ".join(f'CAST("{name.replace(chr(34), chr(34) * 2)}" AS VARCHAR)' for name in columns)
    try:
        with connect() as database:
            result = database.execute(f"SELECT {listed} FROM read_parquet($path)", {"path": str(path)})
            while rows := result.fetchmany(batch):
                yield from rows
    except READ_ERRORS as error:
        raise kind(f"{path} is not a readable Parquet file: {first_line(error)}") from error


def load_rows(
    database: duckdb.DuckDBPyConnection,
    name: str,
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
) -> None:
    """Make a temporary table of rows, a few at a time; ``columns`` is name -> DuckDB's type."""
    listed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    database.execute(f"CREATE TEMP TABLE {name} ({listed})")
    insert = f"INSERT INTO {name} SELECT row.* FROM (SELECT unnest(from_json($rows, $shape)) AS row)"
    shape = json.dumps([dict(columns)])
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        database.execute(insert, {"rows": json.dumps(chunk), "shape": shape})


def first_line(error: Exception) -> str:
    """Return the first line of what DuckDB says."""
    return (str(error).splitlines() or [type(error).__name__])[0]
