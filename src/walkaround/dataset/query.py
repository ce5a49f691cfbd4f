"""SQL over the catalogue: reading only, no other file, no network, bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from walkaround.dataset.database import READ_ERRORS, load_rows
from walkaround.dataset.reviews import REVIEW_COLUMNS, read_reviews, reviews_path
from walkaround.dataset.rows import CATALOG_NAME, opened_catalog
from walkaround.errors import OutputError, UsageError
from walkaround.io.atomic import atomic_path

_SETTINGS = {"memory_limit": "2GB", "max_temp_directory_size": "20GB"}
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """An open result: read it once, inside the ``with`` that gave it."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """DuckDB's names of the columns' types."""
    rows: Iterator[tuple[Any, ...]]
    """Read a few at a time; UsageError when the query fails while it runs."""


@contextmanager
def query_catalog(root: Path, sql: str) -> Iterator[QueryResult]:
    """Run one SELECT over the tables ``catalog`` and ``reviews`` (what people decided; docs/format.md).

    Raises
    ------
    UsageError
        The query is no single SELECT, is wrong, or asks for a file or a setting.
    FormatError
        The catalogue is missing or broken.
    """
    with _guarded(root, sql) as database:
        try:
            database.execute(sql)
        except duckdb.Error as error:
            raise _wrong(error) from error
        described = database.description or []
        yield QueryResult(
            columns=tuple(str(column[0]) for column in described),
            types=tuple(str(column[1]) for column in described),
            rows=_fetch(database),
        )


def write_query(root: Path, sql: str, path: Path) -> int:
    """Write the result of a query as a Parquet file, atomically; return its number of rows.

    Raises
    ------
    UsageError
        As :func:`query_catalog`.
    OutputError
        ``path`` cannot be written.
    """
    with atomic_path(path) as temporary, _guarded(root, sql, temporary.absolute()) as database:
        try:
            database.sql(sql).write_parquet(str(temporary.absolute()), compression="zstd")
            count = database.execute("SELECT count(*) FROM read_parquet($1)", [str(temporary.absolute())])
            return int(count.fetchall()[0][0])
        except duckdb.IOException as error:
            raise OutputError(f"{path} could not be written. Is the disk full? ({said(error)})") from error
        except duckdb.Error as error:
            raise _wrong(error) from error


@contextmanager
def _guarded(root: Path, sql: str, *writes: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database that reads the catalogue and nothing else, if ``sql`` is a SELECT."""
    with (
        tempfile.TemporaryDirectory(prefix="walkaround-query-") as scratch,
        opened_catalog(root, temp_directory=scratch, **_SETTINGS) as database,
    ):
        decisions = (asdict(review) for review in read_reviews(reviews_path(root)))
        load_rows(database, "reviews", decisions, REVIEW_COLUMNS)
        guard(database, sql, [str(root / CATALOG_NAME), *map(str, writes)])
        yield database


def guard(database: duckdb.DuckDBPyConnection, sql: str, paths: list[str]) -> None:
    """Let a database open these files and nothing else, for good.

    Raises
    ------
    UsageError
        ``sql`` is not one SELECT.
    """
    database.execute("SET allowed_paths = $paths", {"paths": paths})
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    try:
        kinds = [statement.type for statement in database.extract_statements(sql)]
    except duckdb.Error as error:
        raise _wrong(error) from error
    if kinds != [duckdb.StatementType.SELECT]:
        raise UsageError(
            "The query must be one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE) over the table catalog."
        )


def _fetch(database: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    try:
        while found := database.fetchmany(_BATCH):
            yield from found
    except READ_ERRORS as error:
        raise _wrong(error) from error


def _wrong(error: Exception) -> UsageError:
    return UsageError(f"The query cannot be run: {said(error)}")


def said(error: Exception) -> str:
    """Return what DuckDB says, on one line, without its drawing of the query."""
    lines = []
    for line in str(error).splitlines():
        if line.startswith(("LINE ", "Possible solutions")):
            break
        if line.strip():
            lines.append(line.strip().rstrip(".!"))
    return ". ".join(lines) + "."
