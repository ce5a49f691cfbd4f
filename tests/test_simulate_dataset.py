"""Simulated datasets: exact truth, every reader takes them, same seed same bytes, resume."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trees import tree
from walkaround.cli import main
from walkaround.dataset.readers import Dataset
from walkaround.dataset.splits import find_leaks, read_splits
from walkaround.errors import UsageError
from walkaround.geometry import project, transform_points
from walkaround.simulate.dataset_options import MAX_CLASSES, SimulateDatasetOptions
from walkaround.simulate.families import FAMILIES, make_instance
from walkaround.simulate.instance import CLASS_LABELS, draw_places, instance_seed
from walkaround.simulating import covered_deg, simulate_dataset

SMALL = SimulateDatasetOptions(classes=3, instances=4, views=6, size=64, clutter=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "dataset"
    made = simulate_dataset(out, options=SMALL, workers=1)
    assert (made.num_sequences, made.num_images, made.num_made) == (12, 72, 12)
    return out


def test_families_are_many_and_stand_on_the_table() -> None:
    assert len(FAMILIES) == MAX_CLASSES == len(CLASS_LABELS) >= 20
    extents = []
    for label in FAMILIES:
        mesh = make_instance(label, 5, resolution=28)
        assert np.isfinite(mesh.vertices).all() and len(mesh.faces) > 200
        assert abs(mesh.vertices[:, 2].min()) < 1e-9
        # closed: every directed edge has its opposite, so the signed volume means something
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
        assert (np.cross(a, b) * c).sum() / 6 > 0, label
        extents.append(np.ptp(mesh.vertices, axis=0))
    assert len({tuple(e.round(3)) for e in extents}) == len(FAMILIES)


def test_instances_of_a_family_differ() -> None:
    first, second = (np.ptp(make_instance("mug", seed, resolution=28).vertices, axis=0) for seed in (1, 2))
    ratios = first / second
    assert ratios.max() / ratios.min() > 1.02, "other proportions, not only another size"


def test_the_truth_is_consistent(root: Path) -> None:
    """The cloud's points, seen through the cameras, lie on the depth maps and inside the masks."""
    inside, near = [], []
    for scene in Dataset(root):
        cloud = scene.read_cloud()
        assert cloud is not None and cloud.normals is not None and len(cloud.points_in_world) > 500
        assert np.allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-3)
        centres = np.array([view.centre for view in scene.views])
        assert np.isclose(np.median(np.linalg.norm(centres, axis=1)), 1.0, atol=0.02)
        assert np.linalg.norm(cloud.points_in_world.mean(axis=0)) < 0.3
        for view in scene.views:
            read = scene.read_depth(view.frame.image)
            mask = scene.read_mask(view.frame.image)
            assert read is not None and mask is not None
            depth, valid = read
            assert np.array_equal(valid, mask)
            in_cam = transform_points(view.cam_from_world, cloud.points_in_world.astype(float))
            facing = -(cloud.normals @ view.cam_from_world[:3, :3].T * in_cam).sum(axis=1) > 0
            col, row = np.floor(project(view.camera, in_cam)).astype(int).T
            inside.append(mask[row, col].mean())
            front = facing & mask[row, col] & (np.abs(depth[row, col] - in_cam[:, 2]) < 0.02)
            assert np.abs(depth[row, col] - in_cam[:, 2])[front].mean() < 0.006
            near.append(front.sum() / facing.sum())
    assert np.median(inside) > 0.9 and np.median(near) > 0.6, "neighbours on the table hide some"


def test_the_canonical_view_is_known(root: Path) -> None:
    scene = next(iter(Dataset(root)))
    assert scene.record is not None
    places = scene.record.notes["cameras"]["places"]
    assert abs(places[0]["azimuth_deg"]) <= SMALL.jitter_deg
    for place, view in zip(places, scene.views, strict=True):
        assert place["image"] == view.frame.image
        x, y, z = view.centre
        assert abs((np.degrees(np.arctan2(y, x)) - place["azimuth_deg"] + 180) % 360 - 180) < 1e-3
        assert abs(np.degrees(np.arcsin(z / np.linalg.norm(view.centre))) - place["elevation_deg"]) < 1e-3


def test_audit_and_verify_find_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(root), "--workers", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["num_scenes"], said["num_clean"], said["codes"]) == (12, 12, {})
    assert main(["verify", str(root)]) == 0


def test_splits_are_by_instance(root: Path) -> None:
    members = read_splits(root)
    assert set(members) == {"train", "val", "test"}
    assert sum(map(len, members.values())) == 12 and not find_leaks(root)
    for split in ("train", "test"):
        assert {name.partition("/")[0] for name in members[split]} == set(CLASS_LABELS[:3])


def test_torch_loaders_read_it(root: Path) -> None:
    pytest.importorskip("torch")
    from walkaround.dataset.torch import ViewDataset, ViewOptions

    options = ViewOptions(num_views=3, size_px=32, masks=True, depth=True, missing="error")
    dataset = ViewDataset(root, options=options)
    assert len(dataset) == 12 and dataset.classes == tuple(sorted(CLASS_LABELS[:3]))
    sample: Any = dataset[0]
    assert tuple(sample["image_srgb"].shape) == (3, 3, 32, 32)
    assert sample["fg_probability"].max() > 0.9 and bool(sample["depth_valid"].any())


def test_the_viewer_shows_it(root: Path) -> None:
    from walkaround.viewer.content import Content

    content = Content(Dataset(root)[0])
    assert len(content.views) == SMALL.views and content.arc is not None
    assert content.solid is not None and content.cloud is not None and content.observations
    content.picture("001.jpg")
    assert np.linalg.norm(content.around.centre) < 0.1
    assert content.problems == []


def test_a_site_is_written(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(root, copy)
    assert main(["report", str(copy)]) == 0
    assert (copy / "report" / "index.html").is_file()


def test_same_seed_same_bytes_also_when_cut_off(root: Path, tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_dataset(tmp_path, options=SMALL, workers=1, progress=stop)
    broken = next((tmp_path / "mug").iterdir())
    (broken / "masks" / "002.png").unlink()  # as if killed in between
    made = simulate_dataset(tmp_path, options=SMALL, workers=1)
    assert 0 < made.num_made < 12
    here, there = tree(tmp_path), tree(root)
    for files in (here, there):  # what was seen when, and where the audit wrote
        for name in [name for name in files if name.startswith(".work")]:
            del files[name]
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    assert simulate_dataset(tmp_path, options=SMALL, workers=1).num_made == 0


@pytest.mark.skipif("WALKAROUND_KILL_ALL" not in os.environ, reason="WALKAROUND_KILL_ALL is not set")
def test_a_killed_run_leaves_no_worker_and_goes_on(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "walkaround", "simulate-dataset", str(tmp_path / "out")]
    call += ["--classes", "4", "--instances", "10", "--views", "8", "--size", "64", "--workers", "2"]
    process = subprocess.Popen(call)
    while len(list(tmp_path.glob("out/*/*/cloud.pcd"))) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while any(_runs(child) for child in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [child for child in children if _runs(child)]
    subprocess.run(call, check=True)
    assert main(["audit", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert len(Dataset(tmp_path / "out")) == 40


def _runs(number: str) -> bool:
    """True while a process is there and is no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_another_seed_is_another_dataset() -> None:
    other = dataclasses.replace(SMALL, seed=1)
    assert instance_seed(SMALL, "mug", 0) != instance_seed(other, "mug", 0)
    assert len({instance_seed(SMALL, label, n) for label in CLASS_LABELS for n in range(50)}) == 50 * 26


def test_a_dataset_can_grow_but_not_change(root: Path, tmp_path: Path) -> None:
    few = dataclasses.replace(SMALL, classes=1, instances=1, views=2, size=32)
    simulate_dataset(tmp_path, options=few, workers=1)
    before = (tmp_path / "mug" / "mug-0000" / "images" / "002.jpg").read_bytes()
    grown = simulate_dataset(tmp_path, options=dataclasses.replace(few, classes=2), workers=1)
    assert grown.num_made == 1
    assert (tmp_path / "mug" / "mug-0000" / "images" / "002.jpg").read_bytes() == before
    assert Dataset(tmp_path).classes == ("bottle", "mug")
    with pytest.raises(UsageError, match="views 2, not 3"):
        simulate_dataset(tmp_path, options=dataclasses.replace(few, views=3), workers=1)
    with pytest.raises(UsageError, match="classes 2, not 1"):
        simulate_dataset(tmp_path, options=few, workers=1)


def test_other_datasets_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"schema_version": 1, "classes": [], "name": "mine"}')
    with pytest.raises(UsageError, match="not simulated"):
        simulate_dataset(tmp_path, options=SMALL, workers=1)
    assert json.loads((tmp_path / "dataset.json").read_text())["name"] == "mine"


def test_places() -> None:
    rng = np.random.default_rng(0)
    half = dataclasses.replace(SMALL, views=7, arc_deg=90.0, jitter_deg=0.0)
    angles = [place.azimuth_deg for place in draw_places(rng, half)]
    assert np.allclose(angles, np.linspace(0, 90, 7))
    whole = dataclasses.replace(SMALL, views=8, jitter_deg=0.0)
    angles = sorted(place.azimuth_deg % 360 for place in draw_places(rng, whole))
    assert np.allclose(angles, np.arange(8) * 45)
    random = dataclasses.replace(whole, start="random")
    assert draw_places(rng, random)[0].azimuth_deg != 0
    assert covered_deg(np.arange(8) * 45.0) == 360
    assert covered_deg(np.linspace(-30, 60, 7)) == pytest.approx(90)


def test_imbalance() -> None:
    options = SimulateDatasetOptions(classes=5, instances=40, imbalance=10)
    sizes = options.class_sizes()
    assert sizes[0] == 40 and sizes[-1] == 4 and list(sizes) == sorted(sizes, reverse=True)
    assert SimulateDatasetOptions(classes=4, instances=2).class_sizes() == (2, 2, 2, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"classes": 0},
        {"classes": 27},
        {"instances": 0},
        {"views": 1},
        {"size": 33},
        {"arc_deg": 10.0},
        {"start": "back"},
        {"elevation_deg": (40.0, 20.0)},
        {"imbalance": 0.5},
        {"train": 0.9},
    ],
)
def test_wrong_options(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        simulate_dataset(tmp_path / "out", options=dataclasses.replace(SMALL, **fields), workers=1)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["simulate-dataset", str(tmp_path), "--classes", "2", "--instances", "1", "--views", "2"]
    assert main([*call, "--size", "32", "--workers", "2"]) == 0
    assert "2 objects of 2 classes, 4 images (2 objects are new)" in capsys.readouterr().err
    assert main([*call, "--size", "32", "--workers", "-1"]) == 2
