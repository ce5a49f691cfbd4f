"""Repair: an overlay with which the audit is clean, the download as it was, done scenes passed over."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fakes, planting
from tests.released import write_mvimgnet2, write_scene
from walkaround.cli import main
from walkaround.dataset.audit import audit_scene
from walkaround.dataset.readers import Dataset
from walkaround.errors import FormatError, SequenceRejected
from walkaround.io.colmap_tracks import parse_model
from walkaround.repair import RepairOptions, repair_scene


@pytest.fixture(autouse=True)
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that take milliseconds, and no index in the user's cache."""
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))

    def estimate_cameras(image_dir: Path, frames: Any, **_: Any) -> fakes.Result:
        fakes.calls.append("cameras")
        assert sorted(path.name for path in image_dir.iterdir()) == [frame.image for frame in frames]
        return fakes.Result(scores={"registered_share": 0.9}, model=fakes.make_model(frames))

    fakes.calls.clear()
    for target, function in {
        "walkaround.cameras.estimate_cameras": estimate_cameras,
        "walkaround.depth.write_depth_maps": fakes.write_depth_maps,
        "walkaround.masks.write_masks": fakes.write_masks,
    }.items():
        module, _, name = target.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, function)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def repair(root: Path, options: RepairOptions | None = None, **more: Any) -> dict[str, Any]:
    scene = Dataset(root, overlay=None, refresh=True)["aa"]
    folder = root.with_name(f"{root.name}.repaired") / "0" / "aa"
    return repair_scene(scene, folder, options or RepairOptions(), progress=lambda *_: None, **more)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_scene(tmp_path / "root" / "0" / "aa", masks=tmp_path / "root" / "0" / "aa" / "masks")
    return tmp_path / "root"


EXPECTED = {"mend": [], "resize": [], "cameras": ["cameras"], "masks": ["depth", "masks"]}
"""Action -> stages that run."""


@pytest.mark.parametrize("name", planting.FAULTS)
def test_what_is_repaired_is_clean(root: Path, name: str) -> None:
    planting.FAULTS[name](root / "0" / "aa")
    before = files_of(root)
    actions = {f.repair for f in audit_scene(Dataset(root)["aa"]) if f.severity != "note"}
    done = repair(root)
    assert (done["status"], done["remaining"]) == ("repaired", {})
    assert fakes.calls == [stage for action in sorted(actions) for stage in EXPECTED[action]]
    assert files_of(root) == before
    assert not (root.with_name("root.repaired") / ".work" / "0-aa").exists()
    scene = Dataset(root)["aa"]
    assert [f.code for f in audit_scene(scene) if f.severity != "note"] == []
    assert scene.repaired == tuple(done["parts"]) and len(scene.views) >= 5
    for view in scene.views:
        size_wh = (view.camera.width, view.camera.height)
        assert (
            scene.read_image(view.frame.image).shape[1::-1]
            == size_wh
            == scene.image_size_wh(view.frame.image)
        )


def test_mending_keeps_poses_points_and_observations(root: Path) -> None:
    sparse = root / "0" / "aa" / "sparse" / "0"
    files = ("cameras.bin", "images.bin", "points3D.bin")
    before = parse_model(*((sparse / name).read_bytes() for name in files))
    planting.wrong_folder(root / "0" / "aa")
    planting.missing_image(root / "0" / "aa")
    repair(root)
    made = root.with_name("root.repaired") / "0" / "aa" / "sparse" / "0"
    after = parse_model(*((made / name).read_bytes() for name in files))
    kept = [image for image in before.images if image.name != "004.jpg"]
    assert [image.name for image in after.images] == [image.name for image in kept]
    for one, other in zip(after.images, kept, strict=True):
        np.testing.assert_allclose(one.translation, other.translation, atol=1e-12)
        np.testing.assert_array_equal(one.xy, other.xy)
    np.testing.assert_array_equal(after.points_in_world, before.points_in_world)
    assert sorted(path.name for path in made.iterdir()) == sorted(files)


def test_good_masks_stay(root: Path) -> None:
    planting.empty_mask(root / "0" / "aa")
    before = files_of(root)
    repair(root)
    masks = root.with_name("root.repaired") / "0" / "aa" / "masks"
    same = [path.name for path in masks.iterdir() if path.read_bytes() == before[f"0/aa/masks/{path.name}"]]
    assert len(list(masks.iterdir())) == 10 and len(same) == 9 and "003.png" not in same


def test_a_done_scene_is_passed_over_until_its_files_change(root: Path) -> None:
    planting.no_sparse(root / "0" / "aa")
    assert "passed_over" not in repair(root)
    assert repair(root)["passed_over"] and fakes.calls == ["cameras"]
    repair(root, again=True)
    repair(root, RepairOptions(seed=1))
    assert fakes.calls == ["cameras"] * 3
    planting.missing_mask(root / "0" / "aa")
    assert repair(root, RepairOptions(seed=1))["actions"] == ["cameras", "depth", "masks"]


def test_a_scene_that_cannot_be_repaired_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SequenceRejected("cameras_failed", "Nothing matched.")

    monkeypatch.setattr(importlib.import_module("walkaround.cameras"), "estimate_cameras", fail)
    planting.no_sparse(root / "0" / "aa")
    done = repair(root)
    assert (done["status"], done["reason"], done["message"]) == (
        "failed",
        "cameras_failed",
        "Nothing matched.",
    )
    assert Dataset(root)["aa"].repaired == () and repair(root)["passed_over"]
    shutil.rmtree(root / "0" / "aa" / "images")
    (root / "0" / "aa" / "images").mkdir()
    assert repair(root)["reason"] == "not_repairable"


def test_a_weak_result_is_no_repair(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(image_dir: Path, frames: Any, **_: Any) -> fakes.Result:
        return fakes.Result(scores={"registered_share": 0.3}, model=fakes.make_model(frames))

    monkeypatch.setattr(importlib.import_module("walkaround.cameras"), "estimate_cameras", weak)
    planting.no_sparse(root / "0" / "aa")
    assert repair(root)["reason"] == "few_registered"


def test_a_cut_off_repair_is_not_seen(root: Path) -> None:
    planting.wrong_suffix(root / "0" / "aa")
    repair(root)
    folder = root.with_name("root.repaired") / "0" / "aa"
    (folder / "repair.json").unlink()
    assert Dataset(root)["aa"].repaired == ()
    assert repair(root)["status"] == "repaired" and Dataset(root)["aa"].repaired == ("sparse",)


def test_left_out_files_are_not_shown(root: Path) -> None:
    planting.empty_image(root / "0" / "aa")
    repair(root)
    scene = Dataset(root)["aa"]
    assert "003.jpg" not in scene.image_names and len(scene.image_names) == 9
    assert scene.files.size("images/003.jpg") is None
    with pytest.raises(FormatError, match="left it out"):
        scene.image_bytes("003.jpg")
    assert "003.jpg" in Dataset(root, overlay=None)["aa"].image_names


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "mvi"
    write_mvimgnet2(root)
    planting.wrong_suffix(root / "240" / "1a00b1")
    planting.cut_off_image(root / "301" / "1a00b2")
    assert main(["audit", str(root)]) == 3
    found = ["--findings", str(tmp_path / "mvi.audit" / "findings.parquet")]
    assert main(["repair", str(root), *found, "--only", "wrong_names", "--workers", "2"]) == 0
    assert (tmp_path / "mvi.repaired" / "240" / "1a00b1" / "repair.json").is_file()
    assert not (tmp_path / "mvi.repaired" / "301").exists()
    capsys.readouterr()
    assert main(["repair", str(root), "--json", "--workers", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["key"]: line["status"] for line in lines} == {
        "240/1a00b1": "repaired",
        "301/1a00b2": "repaired",
    }
    assert main(["audit", str(root)]) == 0
    assert main(["repair", str(root), *found, "--only", "bad"]) == 2
    assert "no code" in capsys.readouterr().err
