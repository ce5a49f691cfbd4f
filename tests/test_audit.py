"""Audit: every planted fault is found, and nothing else; crashes are set aside; what is written."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fakes, planting
from tests.released import write_mvimgnet, write_mvpnet, write_scene, zip_tree
from tests.test_colmap_io import make_model
from walkaround.cli import main
from walkaround.dataset.audit import AuditOptions, Finding, audit_scene, read_findings, write_findings
from walkaround.dataset.audit.codes import ACTIONS, KINDS, KINDS_BY_CODE, SEVERITIES
from walkaround.dataset.audit.images import heard_complaints, numbering_gap
from walkaround.dataset.audit.names import match_names
from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.readers.files import FolderFiles
from walkaround.errors import FormatError
from walkaround.io.colmap import read_sparse_model, write_sparse_model
from walkaround.io.colmap_tracks import parse_model
from walkaround.pipeline import build_sequence
from walkaround.runners import audit as runner
from walkaround.runners.audit import audit_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))


def scene_at(folder: Path) -> Scene:
    return Scene(class_label=folder.parent.name, instance_id=folder.name, files=FolderFiles(folder))


def codes_of(scene: Scene, *, notes: bool = False, **options: bool) -> set[str]:
    found = audit_scene(scene, AuditOptions(**options))
    return {finding.code for finding in found if notes or finding.severity != "note"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "0" / "aa"
    write_scene(folder, masks=folder / "masks")
    return folder


def test_good_data_gives_no_alarm(good: Path) -> None:
    for decode in (False, True):
        assert audit_scene(scene_at(good), AuditOptions(decode=decode)) == []


@pytest.mark.parametrize("name", planting.FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(good: Path, name: str) -> None:
    expected = planting.FAULTS[name](good)
    assert codes_of(scene_at(good)) in (expected, planting.ALSO.get(name))
    for finding in audit_scene(scene_at(good)):
        kind = KINDS_BY_CODE[finding.code]
        assert finding.severity == kind.severity and finding.repair in ACTIONS and finding.key == "0/aa"
        assert finding.value or finding.code == "no_masks"


def test_the_table_is_whole() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert all(kind.severity in SEVERITIES and kind.repair in ACTIONS and kind.text for kind in KINDS)
    page = (Path(__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert all(f"`{kind.code}` | {kind.severity} |" in page for kind in KINDS)


def test_released_layouts_are_clean(tmp_path: Path) -> None:
    write_mvimgnet(tmp_path / "mvi")
    write_mvpnet(tmp_path / "clouds")
    zip_tree(tmp_path / "mvi", tmp_path / "packed.zip")
    for root in ("mvi", "clouds", "packed.zip"):
        for scene in Dataset(tmp_path / root):
            assert codes_of(scene, expect_masks=root == "mvi") == set()


def test_damage_inside_of_a_file_is_found_when_decoding(good: Path) -> None:
    path = good / "images" / "003.jpg"
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (fakes.HEIGHT, fakes.WIDTH, 3)).astype(np.uint8)
    data = bytearray(cv2.imencode(".jpg", noise)[1].tobytes())
    middle = len(data) // 2
    del data[middle : middle + 400]
    path.write_bytes(bytes(data))
    scene = scene_at(good)
    assert codes_of(scene) == set()
    with heard_complaints() as complaints:
        found = audit_scene(scene, AuditOptions(decode=True), complaints=complaints)
    assert [(finding.code, finding.file) for finding in found] == [("cut_off_image", "images/003.jpg")]


def test_no_images_and_broken_clouds(tmp_path: Path) -> None:
    write_mvpnet(tmp_path / "clouds")
    (cloud,) = (tmp_path / "clouds" / "0").iterdir()
    cloud.write_bytes(cloud.read_bytes()[:-100])
    (found,) = audit_scene(Dataset(tmp_path / "clouds")[0])
    assert (found.code, found.repair) == ("broken_cloud", "")
    folder = tmp_path / "root" / "0" / "aa"
    write_scene(folder)
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()
    assert codes_of(scene_at(folder)) == {"no_images"}


def test_our_own_scenes(tmp_path: Path, source: Path, fake_stages: ModuleType) -> None:
    record = build_sequence(source, tmp_path / "own")
    folder = tmp_path / "own" / record.class_label / record.instance_id
    assert codes_of(scene_at(folder)) == {"broken_cloud"}  # the fake stage writes none
    (folder / "cloud.ply").unlink()
    (folder / "cloud.pcd").unlink()
    write_sparse_model(folder / "sparse" / "0", fakes.make_model(fakes.make_frames()))
    assert codes_of(scene_at(folder)) == set()
    (folder / "depth" / "001.png").unlink()
    cv2.imwrite(str(folder / "depth" / "002.png"), np.zeros((9, 9), np.uint16))
    (folder / "depth" / "003.png").write_bytes(b"")
    for decode in (False, True):
        found = {f.code: f.count for f in audit_scene(scene_at(folder), AuditOptions(decode=decode))}
        assert found == {"missing_depth": 1, "broken_depth": 2}
    (folder / "sequence.json").write_text("{")
    assert codes_of(scene_at(folder)) == {"broken_record"}


def test_text_models(good: Path) -> None:
    sparse = good / "sparse" / "0"
    planting.load_pycolmap().Reconstruction(str(sparse)).write_text(str(sparse))
    for path in sparse.glob("*.bin"):
        path.unlink()
    assert codes_of(scene_at(good)) == set()
    (sparse / "points3D.txt").unlink()
    assert codes_of(scene_at(good)) == {"broken_sparse"}


def test_tracks_are_those_of_pycolmap(tmp_path: Path) -> None:
    write_sparse_model(tmp_path, make_model())
    files = [(tmp_path / f"{name}.bin").read_bytes() for name in ("cameras", "images", "points3D")]
    raw, theirs = parse_model(*files), planting.load_pycolmap().Reconstruction(str(tmp_path))
    assert [image.name for image in raw.images] == [theirs.images[i].name for i in sorted(theirs.images)]
    assert raw.point_ids.tolist() == sorted(theirs.points3D)
    np.testing.assert_array_equal(raw.points_in_world, [theirs.points3D[i].xyz for i in raw.point_ids])
    for image in raw.images:
        other = next(i for i in theirs.images.values() if i.name == image.name)
        seen = [point for point in other.points2D if point.has_point3D()]
        np.testing.assert_array_equal(image.xy, [point.xy for point in seen])
        assert image.point_ids.tolist() == [point.point3D_id for point in seen]
    assert len(read_sparse_model(tmp_path).views) == len(raw.images)


@given(st.binary(max_size=300), st.integers(0, 2), st.booleans())
def test_tracks_of_anything(data: bytes, which: int, counted: bool) -> None:
    files = [struct.pack("<Q", 0)] * 3
    files[which] = (struct.pack("<Q", 2) if counted else b"") + data
    try:
        parse_model(*files)
    except FormatError:
        return


def test_names_that_one_file_clearly_means() -> None:
    files = ["001.jpg", "002.jpg", "010.jpg"]
    assert match_names(["images/001.jpg", "2.PNG", "frame_10.jpg"], files) == {
        "images/001.jpg": "001.jpg",
        "2.PNG": "002.jpg",
        "frame_10.jpg": "010.jpg",
    }
    assert match_names(["001.jpg", "002.jpg", "003.jpg"], files) == {}
    assert match_names(["a/002.jpg", "b/002.jpg"], files) == {}
    assert match_names([], files) == {} == match_names(["x"], [])


def test_gaps_in_numbers() -> None:
    assert numbering_gap(("001.jpg", "002.jpg", "005.jpg")) == "2 of 5 numbers are missing: 3, 4"
    for names in (("001.jpg", "002.jpg"), ("1.jpg", "4.jpg", "7.jpg"), ("a.jpg", "7.jpg"), ()):
        assert numbering_gap(names) == ""


# --- all scenes ---


def test_a_whole_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "mvi"
    write_mvimgnet(root)
    assert main(["audit", str(root), "--workers", "1"]) == 0
    assert "3 scenes, 30 images: 3 without fault" in capsys.readouterr().out
    planting.cut_off_image(root / "0" / "0a00b2")
    shutil.rmtree(tmp_path / "mvi_mask" / "17")
    out = tmp_path / "out"
    assert main(["audit", str(root), "--workers", "2", "--refresh", "--out", str(out), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["num_clean"] == 1 and set(said["codes"]) == {"cut_off_image", "no_masks"}
    found = list(read_findings(out / "findings.parquet"))
    assert [(f.key, f.code, f.file) for f in found] == [
        ("0/0a00b2", "cut_off_image", "images/006.jpg"),
        ("17/0b00c3", "no_masks", ""),
    ]
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "0/0a00b2" in page and "data:image/jpeg" in page and "prefers-color-scheme:dark" in page


def test_findings_come_back(tmp_path: Path) -> None:
    finding = Finding(class_label="a", instance_id="b", code="no_masks", severity="warning", repair="masks")
    other = dataclasses.replace(finding, code="empty_mask", files=("masks/1.png",), value="ü 'x'\n")
    write_findings(tmp_path / "f.parquet", [finding, other])
    assert list(read_findings(tmp_path / "f.parquet")) == [other, finding]
    first = (tmp_path / "f.parquet").read_bytes()
    write_findings(tmp_path / "f.parquet", [other, finding])
    assert (tmp_path / "f.parquet").read_bytes() == first
    with pytest.raises(FormatError, match="does not exist"):
        list(read_findings(tmp_path / "absent"))
    (tmp_path / "f.parquet").write_bytes(first[:50])
    with pytest.raises(FormatError, match="not a readable Parquet"):
        list(read_findings(tmp_path / "f.parquet"))


def test_a_scene_that_crashes_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mvimgnet(tmp_path / "mvi")
    monkeypatch.setattr(runner, "audit_scenes", planting.audit_or_die)
    summary = audit_dataset(Dataset(tmp_path / "mvi"), workers=1)
    assert summary.codes == ["crashed"] and summary.num_scenes == 3 and summary.num_clean == 2
    assert summary.samples["crashed"][0].key == "0/0a00b2"
