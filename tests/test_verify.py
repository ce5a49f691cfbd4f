"""Verify: every kind of difference is said; checksums as sha256sum's; versions older and newer."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from walkaround.cli import main
from walkaround.dataset.audit.checksums import check_sums, write_sums
from walkaround.dataset.audit.verify import verify_dataset
from walkaround.dataset.readers import Dataset
from walkaround.dataset.readers.overlay import read_repair
from walkaround.dataset.schema import read_record, write_record
from walkaround.errors import FormatError
from walkaround.io.atomic import write_json
from walkaround.pipeline import BuildOptions, build_sequence


@pytest.fixture
def root(tmp_path: Path, fake_stages: ModuleType) -> Path:
    """Two sequences by fake stages."""
    for name in ("one", "two"):
        source = tmp_path / f"{name}.mp4"
        source.write_bytes(name.encode())
        options = BuildOptions(class_label="mug", instance_id=name)
        build_sequence(source, tmp_path / "root", options=options)
    return tmp_path / "root"


def differences(root: Path) -> list[str]:
    return [f"{item.path}: {item.text}" for item in verify_dataset(root)]


def test_as_recorded(root: Path) -> None:
    assert differences(root) == []
    assert main(["splits", str(root)]) == 0 and differences(root) == []


def test_files(root: Path) -> None:
    folder = root / "mug" / "one"
    (folder / "images" / "001.jpg").write_bytes(b"")
    (folder / "masks" / "002.png").unlink()
    (folder / "notes.txt").write_text("mine")
    (first, second, third) = differences(root)
    assert first.startswith("mug/one/images/001.jpg: has 0 bytes, the record says ")
    assert second == "mug/one/masks/002.png: is missing"
    assert third == "mug/one/notes.txt: is not known to the record"


def test_an_import_has_the_masks_of_its_source(root: Path) -> None:
    folder = root / "mug" / "one"
    record = read_record(folder)
    masks = record.stages["masks"]
    outputs = {name: size for name, size in masks.outputs.items() if name != "masks/002.png"}
    (folder / "masks" / "002.png").unlink()
    fewer = dataclasses.replace(record.stages["masks"], outputs=outputs)
    fewer_masks = dataclasses.replace(record, stages={**record.stages, "masks": fewer})
    write_record(folder, fewer_masks)
    assert any("masks: has 9 files, expected 10" in text for text in differences(root))
    options = {**record.options, "cameras": {**record.options["cameras"], "imported": "colmap"}}
    write_record(folder, dataclasses.replace(fewer_masks, options=options))
    assert not any("expected 10" in text for text in differences(root))


def test_records_and_catalogue(root: Path) -> None:
    path = root / "mug" / "one" / "sequence.json"
    value = json.loads(path.read_text())
    value["frames"][0]["registered"] = False
    write_json(path, value)
    (first, second, third) = differences(root)
    assert first == "mug/one/sparse/0/images.bin: has 9 cameras, sequence.json says 8 frames have one"
    assert second == "mug/one/depth: has 9 files, expected 8"
    assert third == "catalog.parquet: mug/one: num_registered differ from sequence.json"
    value["frames"] = value["frames"][:5]
    write_json(path, value)
    said = differences(root)
    assert "mug/one/sequence.json: lists 5 frames, the stage wrote 10 images" in said
    assert "mug/one/masks: has 10 files, expected 5" in said
    path.write_text("{")
    assert any("cannot be read as JSON" in item for item in differences(root))
    shutil.rmtree(root / "mug" / "one")
    assert differences(root) == ["catalog.parquet: mug/one has a row and no sequence.json"]
    shutil.copytree(root / "mug" / "two", root / "mug" / "zz")
    (_, second, third) = differences(root)
    assert second == "mug/zz/sequence.json: says that it is mug/two"
    assert third == "catalog.parquet: mug/zz has no row"


def test_the_whole(root: Path) -> None:
    (root / "catalog.parquet").write_bytes(b"PAR1")
    (first,) = differences(root)
    assert first.startswith("catalog.parquet: ") and "not a readable catalogue" in first
    (root / "catalog.parquet").unlink()
    write_json(root / "dataset.json", {"schema_version": 1, "classes": ["cup"]})
    (first, second) = differences(root)
    assert "is missing" in first + second and "the class 'mug' is not listed" in first + second
    (root / "dataset.json").unlink()
    assert "dataset.json: is missing; the next build writes it" in differences(root)


def test_splits(root: Path) -> None:
    write_json(root / "splits" / "train.json", ["mug/one", "mug/gone"])
    write_json(root / "splits" / "val.json", ["mug/one"])
    assert differences(root) == [
        "splits (train): mug/gone is in no catalogue",
        "splits (train, val): mug/one is listed twice",
    ]
    (root / "splits" / "val.json").write_text("{}")
    assert "is no list" in differences(root)[0]


def test_checksums(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(root), "--write"]) == 0
    assert main(["verify", str(root)]) == 0
    tool = shutil.which("sha256sum")
    if tool:
        subprocess.run([tool, "--check", "--quiet", "SHA256SUMS"], cwd=root, check=True)
    path = root / "mug" / "one" / "images" / "001.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same size
    capsys.readouterr()
    assert main(["verify", str(root)]) == 3
    assert capsys.readouterr().out == "mug/one/images/001.jpg: has another checksum\n"
    assert main(["verify", str(root), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["path"] == "mug/one/images/001.jpg"


def test_checksums_of_any_folder(tmp_path: Path) -> None:
    for name in ("b/x", "b/x.y", "b.txt", "a", "b/x/../z w"):
        path = Path(os.path.normpath(tmp_path / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text(name)
    (tmp_path / ".hidden").write_text("")
    count = write_sums(tmp_path)
    assert count == 5 and list(check_sums(tmp_path)) == []
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("".join(reversed(sums.read_text().splitlines(keepends=True))))
    assert list(check_sums(tmp_path)) == []  # in any order
    (tmp_path / "a").unlink()
    (tmp_path / "c").write_text("")
    assert list(check_sums(tmp_path)) == [
        ("a", "is missing or cannot be read"),
        ("c", "is not in SHA256SUMS"),
    ]
    for line in ("abc", f"{'0' * 64}  ../x"):
        sums.write_text(line)
        with pytest.raises(FormatError, match="line 1"):
            list(check_sums(tmp_path))


def test_nothing_to_compare_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "walkaround audit" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "absent")]) == 2


@pytest.mark.parametrize(
    ("version", "said"),
    [(0, "An older walkaround"), (2, "A newer walkaround wrote it. Upgrade"), (None, "None")],
)
def test_versions(root: Path, version: int | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "mug" / "one"
    overlay = root.with_name("root.repaired") / "mug" / "one"
    write_json(overlay / "repair.json", {"schema_version": version, "parts": []})
    with pytest.raises(FormatError, match=said):
        read_repair(overlay)
    record = json.loads((folder / "sequence.json").read_text())
    write_json(folder / "sequence.json", {**record, "schema_version": version})
    with pytest.raises(FormatError, match=said):
        read_record(folder)
    assert any(said in item for item in differences(root))
    write_json(root / "dataset.json", {"schema_version": version, "classes": []})
    with pytest.raises(FormatError, match=said):
        Dataset(root)


def test_a_catalogue_with_other_columns(root: Path) -> None:
    path = root / "catalog.parquet"
    for change in ("* EXCLUDE (last_key)", "*, 1 AS later"):
        kept = path.read_bytes()
        duckdb.sql(f"COPY (SELECT {change} FROM '{path}') TO '{path}.new' (FORMAT parquet)")
        Path(f"{path}.new").replace(path)
        assert any("has other columns than this walkaround writes" in item for item in differences(root))
        path.write_bytes(kept)


def test_an_index_of_another_version_is_made_again(tmp_path: Path) -> None:
    from tests.released import write_scene

    write_scene(tmp_path / "root" / "0" / "aa")
    at = tmp_path / "kept.parquet"
    assert len(Dataset(tmp_path / "root", index=at)) == 1
    noted = at.with_suffix(".json")
    for version in (0, 2):
        value = {**json.loads(noted.read_text()), "version": version, "archives": ["/nowhere"]}
        noted.write_text(json.dumps(value))
        assert len(Dataset(tmp_path / "root", index=at)) == 1
        assert json.loads(noted.read_text())["archives"] == []
