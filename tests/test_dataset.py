"""sequence.json, the catalogue, dataset.json, class tables, the wipe list."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkaround.dataset.catalog import (
    _write_catalog,
    catalog_row,
    read_catalog,
    rebuild_catalog,
    update_dataset,
)
from walkaround.dataset.classes import check_against_table, read_class_table
from walkaround.dataset.schema import (
    FrameRecord,
    SequenceRecord,
    SourceRecord,
    StageRecord,
    read_record,
    record_from_dict,
    record_to_dict,
    write_record,
)
from walkaround.dataset.wipe import Wipe
from walkaround.errors import FormatError, UsageError

RECORD = SequenceRecord(
    class_label="Tasse",
    instance_id="0123456789ab",
    status="accepted",
    reasons=("short_arc",),
    scores={"arc_deg": 90.0, "lost": None},
    source=SourceRecord(kind="video", sha256="0" * 64, duration_s=10),
    frames=(
        FrameRecord(image="001.jpg", source_index=0, timestamp_s=0.5, registered=True),
        FrameRecord(image="002.jpg", source_index=9, timestamp_s=None),
    ),
    options={"frames": {"num_frames": 30}},
    versions={"numpy": "2"},
    stages={"frames": StageRecord(key="k", seconds=1.5, outputs={"images/001.jpg": 10})},
)


def test_round_trip(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD
    assert record_from_dict(record_to_dict(RECORD)) == RECORD


def test_written_as_the_format_says(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    value = json.loads((tmp_path / "sequence.json").read_text(encoding="utf-8"))
    assert value["schema_version"] == 1 and value["metric"] is False and value["depth_scale"] == 1e-4
    assert value["frames"][0] == {
        "image": "001.jpg", "source_index": 0, "timestamp_s": 0.5, "registered": True,
    }  # fmt: skip


def _changed(path: list[Any], new: Any) -> dict[str, Any]:
    value = record_to_dict(RECORD)
    inner: Any = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return value


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (["schema_version"], 2, "Upgrade walkaround"),
        (["schema_version"], True, "schema_version is True"),
        (["schema_version"], "1", "schema_version"),
        (["status"], "fine", "status is 'fine'"),
        (["status"], None, "status"),
        (["instance_id"], "../../etc", "12 hex digits"),
        (["frames"], {}, "a list"),
        (["frames", 0, "image"], "../001.jpg", "not a plain file name"),
        (["frames", 0, "registered"], 1, "registered"),
        (["frames", 0, "source_index"], True, "source_index"),
        (["frames", 0, "timestamp_s"], "now", "timestamp_s"),
        (["scores", "arc_deg"], "wide", "scores.arc_deg"),
        (["scores", "arc_deg"], float("inf"), "not a finite number"),
        (["stages", "frames", "outputs", "/etc/passwd"], 3, "leaves the sequence folder"),
        (["stages", "frames", "outputs", "a/../../b"], 3, "leaves the sequence folder"),
        (["surprise"], 1, "unknown field 'surprise'"),
        (["source"], None, "an object"),
    ],
)
def test_wrong_records_are_named(path: list[Any], new: Any, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        record_from_dict(_changed(path, new))


def test_a_missing_field_is_named() -> None:
    value = record_to_dict(RECORD)
    del value["class_label"]
    with pytest.raises(FormatError, match="'class_label' is missing"):
        record_from_dict(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(value=json_values)
def test_any_json_gives_a_format_error(value: Any) -> None:
    with pytest.raises(FormatError):
        record_from_dict(value)


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(sorted(record_to_dict(RECORD))), new=json_values)
def test_any_wrong_field_gives_a_format_error_or_a_record(field: str, new: Any) -> None:
    value = record_to_dict(RECORD) | {field: new}
    try:
        record = record_from_dict(value)
    except FormatError:
        return
    assert record_from_dict(record_to_dict(record)) == record


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_give_a_format_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("record")
    (folder / "sequence.json").write_bytes(data)
    with pytest.raises(FormatError):
        read_record(folder)


def test_a_deeply_nested_file(tmp_path: Path) -> None:
    (tmp_path / "sequence.json").write_text("[" * 100_000)
    with pytest.raises(FormatError):
        read_record(tmp_path)


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
    _write_catalog(root, [row])
    assert read_catalog(root) == [row]
    first = (root / "catalog.parquet").read_bytes()
    _write_catalog(root, [row])
    assert (root / "catalog.parquet").read_bytes() == first
    assert [path.name for path in root.iterdir()] == ["catalog.parquet"]


def test_the_catalogues_columns_are_checked(tmp_path: Path) -> None:
    _write_catalog(tmp_path, [])
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


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("label\nmug\ncup\n", ("mug", "cup")),
        ("id,Label\n1,mug\n2,cup\n", ("mug", "cup")),
        ("mug\ncup\n\nmug\n", ("mug", "cup")),
        ("\ufefflabel;x\nTasse;1\n".replace(";", ","), ("Tasse",)),
        ('1,label\n7,"two, words"\n', ("two, words",)),
        ('"a, b"\nc\n', ("a, b", "c")),
    ],
)
def test_class_tables(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_class_table(tmp_path / "t.csv") == labels


@pytest.mark.parametrize("data", [b"", b"label\n", b"\xff\xfe\x00", b"\n\n"])
def test_useless_class_tables(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UsageError, match="--classes"):
        read_class_table(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        read_class_table(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,name\n1,mug\n", "no column 'label'; its first line holds 'id', 'name'"),
        ("mug\ncup,2\n", "its first line holds 'mug'"),
        ("label;id\nmug;1\n", "by commas, not by semicolons"),
        ("label\tid\nmug\t1\n", "by commas, not by tabs"),
    ],
)
def test_tables_without_a_column_label(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_class_table(tmp_path / "t.csv")


def test_unknown_labels_name_the_nearest() -> None:
    check_against_table("mug", ("mug",))
    with pytest.raises(UsageError, match="Did you mean 'teapot'"):
        check_against_table("Tea pot", ("mug", "teapot"))
    with pytest.raises(UsageError, match=r"It knows 'a0'.* and 3 more"):
        check_against_table("zzz", tuple(f"a{i}" for i in range(8)))


def test_wipe(tmp_path: Path) -> None:
    source = tmp_path / "Oma IMG_7.mp4"
    photos = [source / "1.jpg", source / "secret (2).JPG"]
    wipe = Wipe(source, photos)
    text = f"{photos[1]} is broken, also 1.jpg of {source}; 001.jpg and 1.jpg.png stay."
    assert wipe(text) == "photo 2 is broken, also photo 1 of the input; 001.jpg and 1.jpg.png stay."
    assert wipe({"Oma IMG_7.mp4": ["Oma IMG_7.mp4", 3, ("1.jpg",)]}) == {
        "the input": ["the input", 3, ("photo 1",)]
    }
    assert Wipe(Path())("a . b") == "a . b"
