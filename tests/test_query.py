"""walkaround query: what it gives, what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest

from tests.test_catalog import _records
from walkaround.cli import main
from walkaround.dataset.query import query_catalog
from walkaround.dataset.rows import catalog_row, write_catalog
from walkaround.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's a [root]*"
    write_catalog(root, [catalog_row(record) for record in _records(7)])
    return root


def _rows(root: Path, sql: str) -> list[tuple[object, ...]]:
    with query_catalog(root, sql) as result:
        return list(result.rows)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM catalog", [(7,)]),
        ("FROM catalog SELECT class_label, count(*) GROUP BY ALL ORDER BY ALL LIMIT 1", [("class 0", 3)]),
        ("WITH a AS (SELECT scores['arc_deg'] AS x FROM catalog) SELECT DISTINCT x FROM a", [(90.0,)]),
        ("SELECT 1 WHERE false", []),
    ],
)
def test_selects(root: Path, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert _rows(root, sql) == rows


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT clas FROM catalog", 'Referenced column "clas".*Candidate bindings'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT 1; SELECT 2", "must be one SELECT"),
        ("", "must be one SELECT"),
        ("CREATE TABLE x AS SELECT 1", "must be one SELECT"),
        ("COPY catalog TO '{root}/x.csv'", "must be one SELECT"),
        ("COPY catalog TO '{root}/catalog.parquet'", "must be one SELECT"),
        ("EXPLAIN ANALYZE COPY catalog TO '{root}/x.csv'", "must be one SELECT"),
        ("SET memory_limit = '1TB'", "must be one SELECT"),
        ("INSTALL httpfs", "must be one SELECT"),
        ("ATTACH '{root}/x.db'", "must be one SELECT"),
        ("PRAGMA database_list", "must be one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Permission Error"),
        ("SELECT * FROM read_text('{root}/secret.txt')", "Permission Error"),
        ("SELECT * FROM glob('/*')", "Permission Error"),
        ("SELECT * FROM read_parquet('https://example.com/x.parquet')", "cannot be run"),
        ("SELECT * FROM query('COPY (SELECT 1) TO ''{root}/x''')", "cannot be run"),
        ("SELECT error('boo') FROM catalog", "boo"),
    ],
)
def test_what_is_refused(root: Path, sql: str, said: str) -> None:
    (root / "secret.txt").write_text("secret")
    before = sorted(path.name for path in root.iterdir())
    with pytest.raises(UsageError, match=said) as caught:
        _rows(root, sql.format(root=str(root).replace("'", "''")))
    assert "\n" not in str(caught.value) and "LINE" not in str(caught.value)
    assert sorted(path.name for path in root.iterdir()) == before


def test_memory_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "walkaround.dataset.query._SETTINGS", {"memory_limit": "50MB", "max_temp_directory_size": "1MB"}
    )
    with pytest.raises(UsageError, match="Out of Memory"):
        _rows(root, "SELECT list(a.range) FROM range(10000) a, range(10000) b")


def test_outputs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT class_label, reasons, scores, licence FROM catalog LIMIT 2"
    assert main(["query", str(root), sql, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values[0] == {
        "class_label": "class 0", "reasons": ["short_arc"], "scores": {"arc_deg": 90.0, "lost": None},
        "licence": None,
    }  # fmt: skip
    assert main(["query", str(root), sql, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert json.loads(rows[1]["scores"]) == {"arc_deg": 90.0, "lost": None} and rows[1]["licence"] == ""
    assert main(["query", str(root), "SELECT 1 WHERE false", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    path = root / "out.parquet"
    assert main(["query", str(root), sql, "--parquet", str(path)]) == 0
    assert duckdb.sql(f"SELECT count(*) FROM read_parquet($${path}$$)").fetchall() == [(2,)]
    assert main(["query", str(root), "SELECT error('boo')", "--parquet", str(root / "no.parquet")]) == 2
    assert sorted(path.name for path in root.iterdir()) == ["catalog.parquet", "out.parquet"]


def test_tables(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", str(root)]) == 0
    assert "source_sha256" in capsys.readouterr().out
    assert main(["query", str(root), "FROM catalog ORDER BY ALL", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert "row 2\n" in out and "row 3" not in out and "  class_label        class 0\n" in out
    assert "the first 2 rows" in err
    assert main(["query", str(root), "SELECT status, count(*) AS n FROM catalog GROUP BY ALL"]) == 0
    out, err = capsys.readouterr()
    assert "accepted" in out and err == "1 row\n"


def test_a_hostile_catalogue_commands_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = catalog_row(_records(1)[0])
    evil = "\x1b]0;owned\x07\x9b2J\r\n[bold]x"
    write_catalog(
        tmp_path, [row | {"class_label": evil, "message": evil, "reasons": [evil], "scores": {evil: 1.0}}]
    )
    sql = "SELECT class_label, message, reasons, scores FROM catalog"
    for arguments in (["query", str(tmp_path), sql], ["query", str(tmp_path), "FROM catalog"],
                      ["stats", str(tmp_path)]):  # fmt: skip
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "[bold]x" in out and not any(char in out for char in "\x1b\x07\x9b\r")


def test_wrong_usage(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", str(tmp_path)]) == 2
    assert "catalog.parquet is missing" in capsys.readouterr().err
    assert main(["query", str(root), "--csv", "--json"]) == 2
    assert main(["query", str(root), "--limit", "0"]) == 2


def test_a_read_only_root_can_be_asked(root: Path) -> None:
    root.chmod(0o555)
    try:
        assert _rows(root, "SELECT count(*) FROM catalog") == [(7,)]
        assert [path.name for path in root.iterdir()] == ["catalog.parquet"]
    finally:
        root.chmod(0o755)
