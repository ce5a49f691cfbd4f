"""The catalogue and dataset.json: rows, bytes, one writer, reconciliation."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_dataset import RECORD
from walkaround.dataset import catalog, reconcile
from walkaround.dataset.catalog import CatalogWriter, rebuild_catalog, update_dataset
from walkaround.dataset.classes import ClassTable
from walkaround.dataset.manifest import CaptureEntry
from walkaround.dataset.rows import catalog_row, opened_catalog, read_catalog, write_catalog
from walkaround.dataset.schema import SequenceRecord, read_record, write_record
from walkaround.errors import FormatError, OutputError


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


def _records(count: int, **change: Any) -> list[SequenceRecord]:
    return [
        dataclasses.replace(RECORD, instance_id=f"{number:012x}", class_label=f"class {number % 3}", **change)
        for number in range(count)
    ]


def _bytes(root: Path) -> bytes:
    return (root / "catalog.parquet").read_bytes()


@pytest.fixture
def pauseless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_MAX_SHARE", 1.0)


@pytest.mark.usefixtures("pauseless")
def test_the_writers_file_is_that_of_single_builds(tmp_path: Path) -> None:
    records = _records(40)
    one, many = tmp_path / "one", tmp_path / "many"
    for record in records:
        _store(one, record)
        _store(many, record)
    rebuild_catalog(one)
    random.Random(0).shuffle(records)
    with CatalogWriter(tmp_path / "empty") as writer, ThreadPoolExecutor(8) as pool:
        for future in pool.map(writer.add, records * 2):
            future.result(timeout=30)
    assert _bytes(tmp_path / "empty") == _bytes(one)
    for record in records[:12]:
        update_dataset(many, record)
    assert _bytes(many) == _bytes(one)


def test_a_future_is_done_when_the_row_is_on_the_disk(tmp_path: Path) -> None:
    with CatalogWriter(tmp_path) as writer:
        assert writer.add(RECORD).result(timeout=30) is None
        assert [row["instance_id"] for row in read_catalog(tmp_path)] == [RECORD.instance_id]
        changed = dataclasses.replace(RECORD, status="rejected", class_label="mug")
        writer.add(changed).result(timeout=30)
        rows = read_catalog(tmp_path)
    assert [(row["class_label"], row["status"]) for row in rows] == [("mug", "rejected")]
    assert json.loads((tmp_path / "dataset.json").read_text())["classes"] == ["Tasse", "mug"]


def test_rows_that_arrive_during_a_write_go_out_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge, started, go_on, sizes = catalog._merge_or_rebuild, Event(), Event(), []

    def slow(root: Path, rows: list[Any], *rest: Any) -> None:
        sizes.append(len(rows))
        started.set()
        assert go_on.wait(30)
        merge(root, rows, *rest)

    monkeypatch.setattr(catalog, "_merge_or_rebuild", slow)
    records = _records(20)
    with CatalogWriter(tmp_path) as writer:
        first = writer.add(records[0])
        assert started.wait(30)
        later = [writer.add(record) for record in records[1:]]
        assert not first.done() and not any(future.done() for future in later)
        go_on.set()
    assert sizes == [1, 19] and all(future.done() for future in (first, *later))
    assert len(read_catalog(tmp_path)) == 20


def test_a_failed_write_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OutputError("The disk is full")

    first, second = _records(2)
    with CatalogWriter(tmp_path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(catalog, "write_catalog", full)
            with pytest.raises(OutputError, match="full"):
                writer.add(first).result(timeout=30)
        writer.add(second).result(timeout=30)
    assert [row["instance_id"] for row in read_catalog(tmp_path)] == [first.instance_id, second.instance_id]
    monkeypatch.setattr(catalog, "merge_catalog", full)
    with pytest.raises(OutputError, match="full"), CatalogWriter(tmp_path) as writer:
        writer.add(first)


def test_a_single_build_beside_the_writer_is_kept(tmp_path: Path) -> None:
    first, second, third = _records(3)
    with CatalogWriter(tmp_path) as writer:
        writer.add(first).result(timeout=30)
        update_dataset(tmp_path, second)
        writer.add(third).result(timeout=30)
    assert len(read_catalog(tmp_path)) == 3


def test_the_entrys_key_stays(tmp_path: Path) -> None:
    entry = CaptureEntry(source="/a.mp4", class_label="Tasse")
    _store(tmp_path, RECORD)
    with CatalogWriter(tmp_path) as writer:
        writer.add(RECORD, entry)
    update_dataset(tmp_path, dataclasses.replace(RECORD, status="rejected"))
    assert [(row["entry_key"], row["status"]) for row in read_catalog(tmp_path)] == [(entry.key, "rejected")]


def test_ids_of_classes_before_the_first_sequence(tmp_path: Path) -> None:
    with CatalogWriter(tmp_path, classes=ClassTable.mvimgnet()) as catalog:
        assert not (tmp_path / "catalog.parquet").exists()
        record = dataclasses.replace(RECORD, class_label="mug")
        write_record(tmp_path / "mug" / record.instance_id, record)
        catalog.add(record)
    assert [row["class_id"] for row in read_catalog(tmp_path)] == ["17"]


def test_ids_of_classes(tmp_path: Path) -> None:
    record = dataclasses.replace(RECORD, class_label="mug")
    update_dataset(tmp_path, dataclasses.replace(RECORD, instance_id="other"))
    update_dataset(tmp_path, record, classes=ClassTable.mvimgnet())
    before = _bytes(tmp_path)
    update_dataset(tmp_path, record)
    value = json.loads((tmp_path / "dataset.json").read_text())
    assert value["class_ids"]["mug"] == "17" and value["classes"][:3] == ["Tasse", "bag", "bottle"]
    assert {row["class_label"]: row["class_id"] for row in read_catalog(tmp_path)} == {
        "Tasse": None, "mug": "17",
    }  # fmt: skip
    assert _bytes(tmp_path) == before
    (tmp_path / "t.csv").write_text("id,label\nT1,Tasse\n")
    update_dataset(tmp_path, record, classes=tmp_path / "t.csv")
    assert [row["class_id"] for row in read_catalog(tmp_path)] == ["T1", "17"]


def _damaged(root: Path) -> set[str]:
    """Make a catalogue differ from its sequences in all ways; return the ids of what must be read."""
    new, changed, relabelled = (f"{number:012x}" for number in (40, 3, 6))
    for record in _records(41)[40:]:
        _store(root, record)
    folder = root / "class 0" / changed
    write_record(folder, dataclasses.replace(read_record(folder), status="rejected"))
    moved = root / "class 1" / relabelled
    (root / "class 0" / relabelled).rename(moved)
    write_record(moved, dataclasses.replace(read_record(moved), class_label="class 1"))
    shutil.rmtree(root / "class 2" / f"{5:012x}")
    (root / "class 1" / f"{1:012x}" / "sequence.json").write_text("[]")
    return {new, changed, relabelled, f"{1:012x}"}


def test_a_killed_batch_is_reconciled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = _records(40)
    for record in records:
        _store(tmp_path, record)
    with CatalogWriter(tmp_path) as writer:
        assert len(writer.reconciled.changed) == 40  # there was no catalogue
    differing = _damaged(tmp_path)
    read: list[str] = []
    monkeypatch.setattr(
        reconcile, "read_record", lambda folder: (read.append(folder.name), read_record(folder))[1]
    )
    with CatalogWriter(tmp_path) as writer:
        assert set(read) == differing and len(read) == 4
        assert len(writer.reconciled.changed) == 4 and len(writer.reconciled.gone) == 2
        after = _bytes(tmp_path)
    rebuild_catalog(tmp_path)
    assert after == _bytes(tmp_path) and len(read_catalog(tmp_path)) == 39
    read.clear()
    with CatalogWriter(tmp_path):
        pass
    assert read == [f"{1:012x}"]  # the broken one, as there is no row of it
    shutil.rmtree(tmp_path / "class 1" / read.pop())
    before = (tmp_path / "catalog.parquet").stat().st_mtime_ns
    with CatalogWriter(tmp_path):
        pass
    assert (tmp_path / "catalog.parquet").stat().st_mtime_ns == before and not read


@pytest.mark.parametrize("name", ["catalog.parquet", ".work/catalog/seen.parquet"])
@pytest.mark.parametrize("damage", ["missing", "broken", "older"])
def test_a_broken_catalogue_is_written_again(tmp_path: Path, name: str, damage: str) -> None:
    for record in _records(5):
        _store(tmp_path, record)
    with CatalogWriter(tmp_path):
        good = _bytes(tmp_path)
    (tmp_path / name).unlink()
    if damage == "broken":
        (tmp_path / name).write_bytes(good[: len(good) // 2])
    if damage == "older":
        duckdb.sql("SELECT 1 AS class_label").write_parquet(str(tmp_path / name))
    with CatalogWriter(tmp_path) as writer:
        assert _bytes(tmp_path) == good
        writer.add(_records(5)[4]).result(timeout=30)
    assert _bytes(tmp_path) == good


def test_a_writer_killed_at_any_time_loses_nothing(tmp_path: Path) -> None:
    for record in _records(30):
        _store(tmp_path, record)
    script = (
        "import sys; from pathlib import Path; from tests import test_catalog as t\n"
        "t.catalog._MAX_SHARE = 1.0; root = Path(sys.argv[1])\n"
        "with t.CatalogWriter(root) as writer:\n"
        "    print('go', flush=True)\n"
        "    while True:\n"
        "        for record in t._records(30): writer.add(record)\n"
    )
    for wait_s in (0.0, 0.02, 0.05):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"go\n"
        time.sleep(wait_s)
        process.kill()
        process.communicate()
        assert len(read_catalog(tmp_path)) == 30
    with CatalogWriter(tmp_path):
        pass
    after = _bytes(tmp_path)
    rebuild_catalog(tmp_path)
    assert after == _bytes(tmp_path) and not list(tmp_path.glob(".*.tmp*"))


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """Found by fuzzing: DuckDB's Python module raises an error of its own for it, while rows are fetched."""
    update_dataset(tmp_path, RECORD)
    with pytest.raises(FormatError, match="not a readable catalogue"), opened_catalog(tmp_path):
        raise RuntimeError("nanobind::str(): conversion error!")
