"""sequence.json and the wipe list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from walkaround.errors import FormatError

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
        (["instance_id"], "../../etc", "1 to 64 letters"),
        (["instance_id"], "", "1 to 64 letters"),
        (["instance_id"], ".hidden", "a letter or digit first"),
        (["instance_id"], "a" * 65, "1 to 64 letters"),
        (["instance_id"], "a.LOCK", "work in progress"),
        (["instance_id"], "batch", "work in progress"),
        (["licence"], 3, "licence"),
        (["consent"], "yes", "consent"),
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
    assert repr(record_from_dict(record_to_dict(record))) == repr(
        record
    )  # NaN in notes is not equal to itself


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


@pytest.mark.parametrize("place", ["message", "notes", "class_label", "versions"])
def test_half_a_character_is_refused(place: str, tmp_path: Path) -> None:
    """Found by fuzzing: JSON can hold half of a surrogate pair; no catalogue could be written then."""
    value = record_to_dict(RECORD)
    value[place] = (
        {"a": ["x\ud800"]} if place == "notes" else {"a\udfff": "1"} if place == "versions" else "\ud800"
    )
    (tmp_path / "sequence.json").write_text(json.dumps(value))
    with pytest.raises(FormatError, match="half a character"):
        read_record(tmp_path)


@pytest.mark.parametrize("label", ["", "..", "../x", "/etc", "a/b", "a\\b", ".work", "a\0"])
def test_a_class_label_that_is_no_folder_is_refused(label: str) -> None:
    with pytest.raises(FormatError, match="cannot name a folder"):
        record_from_dict({**record_to_dict(RECORD), "class_label": label})
