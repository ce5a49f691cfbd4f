"""What an audit found, and the Parquet file it is kept in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.dataset.audit.codes import ACTIONS, KINDS_BY_CODE
from walkaround.dataset.database import READ_ERRORS, connect, first_line, load_rows
from walkaround.errors import FormatError
from walkaround.io.atomic import atomic_path

FINDINGS_NAME = "findings.parquet"
MAX_FILES = 100
"""Files that a finding names; ``count`` says how many there are."""
COLUMNS = {
    "class_label": "VARCHAR",
    "instance_id": "VARCHAR",
    "code": "VARCHAR",
    "severity": "VARCHAR",
    "repair": "VARCHAR",
    "count": "INTEGER",
    "file": "VARCHAR",
    "value": "VARCHAR",
    "files": "VARCHAR[]",
}
"""Name -> DuckDB's type of each column of ``findings.parquet``."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with one scene."""

    class_label: str
    instance_id: str
    code: str
    """A code of ``walkaround.dataset.audit.codes.KINDS``."""
    severity: str
    repair: str
    """What repair does about it, a key of ``walkaround.dataset.audit.codes.ACTIONS``; empty: nothing."""
    count: int = 1
    """How many files it is about."""
    file: str = ""
    """The first of them, as a path in the scene."""
    value: str = ""
    """What was seen there."""
    files: tuple[str, ...] = ()
    """The first hundred of them."""

    @property
    def key(self) -> str:
        """``<class label>/<instance id>``."""
        return f"{self.class_label}/{self.instance_id}"


def make_finding(
    key: tuple[str, str], code: str, files: Sequence[str] = (), value: str = "", *, repair: str | None = None
) -> Finding:
    """Return a finding of a scene; severity and repair are those of the table unless ``repair`` is given."""
    kind = KINDS_BY_CODE[code]
    return Finding(
        class_label=key[0],
        instance_id=key[1],
        code=code,
        severity=kind.severity,
        repair=kind.repair if repair is None else repair,
        count=max(1, len(files)),
        file=files[0] if files else "",
        value=value[:500],
        files=tuple(files[:MAX_FILES]),
    )


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """Return plain data."""
    return {**dataclasses.asdict(finding), "files": list(finding.files)}


def finding_from_dict(value: Any) -> Finding:
    """Check and convert what :func:`finding_to_dict` gave.

    Raises
    ------
    FormatError
        It is something else.
    """
    try:
        finding = Finding(**{**value, "files": tuple(value["files"])})
    except (TypeError, KeyError) as error:
        raise FormatError(f"{value!r:.80} is no finding ({error}).") from error
    texts = (finding.class_label, finding.instance_id, finding.file, finding.value, *finding.files)
    known = finding.code in KINDS_BY_CODE and finding.repair in ACTIONS
    if not known or not isinstance(finding.count, int) or not all(isinstance(text, str) for text in texts):
        raise FormatError(f"{value!r:.80} is no finding of this walkaround. Run `walkaround audit` again.")
    return finding


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Write ``findings.parquet``, sorted; the same findings give the same bytes.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with atomic_path(path) as temporary, connect() as database:
        load_rows(database, "findings", map(finding_to_dict, findings), COLUMNS)
        ordered = "SELECT * FROM findings ORDER BY class_label, instance_id, code, file"
        database.execute(f"CREATE TEMP TABLE ordered AS {ordered}")
        database.table("ordered").write_parquet(str(temporary), compression="zstd")


def read_findings(path: Path) -> Iterator[Finding]:
    """Yield the findings of a file, scene by scene.

    Raises
    ------
    FormatError
        It cannot be read, or is of another walkaround.
    """
    if not path.is_file():
        raise FormatError(f"{path} does not exist. `walkaround audit` writes it.")
    try:
        with connect() as database:
            database.read_parquet(str(path)).create_view("findings")
            columns = {str(row[0]): str(row[1]) for row in database.execute("DESCRIBE findings").fetchall()}
            if columns != COLUMNS:
                raise FormatError(f"{path} has other columns than this walkaround writes. Audit again.")
            result = database.execute("SELECT * FROM findings ORDER BY class_label, instance_id, code, file")
            while rows := result.fetchmany(10_000):
                yield from (finding_from_dict(dict(zip(COLUMNS, row, strict=True))) for row in rows)
    except READ_ERRORS as error:
        raise FormatError(f"{path} is not a readable Parquet file: {first_line(error)}") from error
