"""The catalogue and dataset.json: rows, bytes, one writer, reconciliation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_dataset import RECORD
from walkaround.dataset.catalog import rebuild_catalog, update_dataset
from walkaround.dataset.rows import catalog_row, read_catalog, write_catalog
from walkaround.dataset.schema import SequenceRecord, write_record
from walkaround.errors import FormatError


def _store(root: Path, record: SequenceRecord) -> None:
    folder = root / record.class_label / record.instance_id
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)


def test_catalog_has_a_row_a_sequence(tmp_path: Path) -> None:
    second = dataclasses.replace(RECORD, instance_id="ffffffffffff", class_label="Apfel", status="rejected")
    for record in (RECORD, second):
        _store(tmp_path, record)
        update_dataset(tmp_path, record)
    rows = read_catalog(tmp_path)
    assert [(row["class_label"], row["status"]) for row in rows] == [
        ("Apfel", "rejected"),
        ("Tasse", "accepted"),
    ]
    assert dict(rows[1]["scores"]) == {"arc_deg": 90.0, "lost": None}
    assert rows[1]["num_registered"] == 1 and dict(rows[1]["seconds"]) == {"frames": 1.5}
    before = (tmp_path / "catalog.parquet").stat().st_mtime_ns
    update_dataset(tmp_path, second)
    assert (tmp_path / "catalog.parquet").stat().st_mtime_ns == before
    (tmp_path / "catalog.parquet").write_bytes(b"broken")
    with pytest.raises(FormatError, match="not a readable catalogue"):
        read_catalog(tmp_path)
    update_dataset(tmp_path, second)
    assert read_catalog(tmp_path) == rows
    (tmp_path / "Tasse" / RECORD.instance_id / "sequence.json").write_text("[]")
    assert rebuild_catalog(tmp_path) == 1
    assert not (tmp_path / ".work").exists()


def test_temporary_files_of_a_killed_run_go(tmp_path: Path) -> None:
    for name in (".catalog.17.tmp.parquet", ".dataset.17.tmp.json"):
        (tmp_path / name).write_bytes(b"half")
    update_dataset(tmp_path, RECORD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.parquet", "dataset.json"]


odd_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
some_maps = st.dictionaries(
    odd_text, st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3
)


@settings(max_examples=40, deadline=None)
@given(
    label=odd_text,
    message=odd_text,
    reasons=st.lists(odd_text, max_size=3),
    scores=some_maps,
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_any_row_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    label: str,
    message: str,
    reasons: list[str],
    scores: dict[str, float | None],
    seed: int,
) -> None:
    root = tmp_path_factory.mktemp("it's a [root]*")
    row = catalog_row(RECORD) | {
        "class_label": label, "message": message, "reasons": reasons, "scores": scores, "seed": seed,
    }  # fmt: skip
    write_catalog(root, [row])
    assert read_catalog(root) == [row]
    first = (root / "catalog.parquet").read_bytes()
    write_catalog(root, [row])
    assert (root / "catalog.parquet").read_bytes() == first
    assert [path.name for path in root.iterdir()] == ["catalog.parquet"]


def test_the_catalogues_columns_are_checked(tmp_path: Path) -> None:
    write_catalog(tmp_path, [])
    assert read_catalog(tmp_path) == []
    path = tmp_path / "catalog.parquet"
    duckdb.sql("SELECT 1 AS class_label").write_parquet(str(path))
    with pytest.raises(FormatError, match="other columns"):
        read_catalog(tmp_path)
    path.unlink()
    with pytest.raises(FormatError, match="not a readable catalogue"):
        read_catalog(tmp_path)


def test_dataset_json_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    update_dataset(tmp_path, RECORD)
    path = tmp_path / "dataset.json"
    value = json.loads(path.read_text())
    assert value["licence"] is None and value["classes"] == ["Tasse"] and value["schema_version"] == 1
    path.write_text(json.dumps(value | {"licence": "CC0-1.0", "name": "Cups"}))
    update_dataset(tmp_path, dataclasses.replace(RECORD, class_label="mug"))
    value = json.loads(path.read_text())
    assert (value["licence"], value["name"], value["classes"]) == ("CC0-1.0", "Cups", ["Tasse", "mug"])
    path.write_text("{")
    with pytest.raises(FormatError, match=r"dataset\.json is not JSON"):
        update_dataset(tmp_path, RECORD)
