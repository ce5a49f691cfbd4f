"""Loaders of labelled clouds: small files in exactly the released formats, written here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import released
from walkaround.errors import FormatError, UsageError
from walkaround.io.pointcloud import write_pcd, write_ply
from walkaround.studies.clouds.augment import HARD, TRAINING, AugmentOptions, augment_batch, augment_cloud
from walkaround.studies.clouds.mvpnet import read_mvpnet, read_split
from walkaround.studies.clouds.own import read_dataset_clouds
from walkaround.studies.clouds.samples import (
    CloudSet,
    counted,
    draw_points,
    share_of_labels,
    unit_cloud,
)
from walkaround.studies.clouds.scanobjectnn import CLASS_NAMES, VARIANTS, read_scanobjectnn
from walkaround.types import PointCloud

h5py = pytest.importorskip("h5py")
SPLIT = ["0/00000050.pcd", "17/000000df.pcd", "99/0a015dd6.pcd", "99/0a016d31.pcd"]


def _cloud(seed: int, count: int = 300) -> PointCloud:
    rng = np.random.default_rng(seed)
    points = (rng.normal(size=(count, 3)) * [3, 1, 2] + [100, -50, 7]).astype(np.float32)
    return PointCloud(points_in_world=points, colors=rng.integers(0, 256, (count, 3), dtype=np.uint8))


def _write_mvpnet(root: Path) -> Path:
    for number, name in enumerate(SPLIT):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_pcd(root / name, _cloud(number))
    split = root / "mvpnet_split_train.json"
    split.write_text(json.dumps(SPLIT, indent=4))
    return split


def _write_scanobjectnn(root: Path, count: int = 4, points: int = 64) -> None:
    """As h5_files.zip unpacks: float32 data, int labels and masks, -1 at the background."""
    for number, (folder, name) in enumerate(VARIANTS.values()):
        for shift, prefix in enumerate(("training", "test")):
            rng = np.random.default_rng([number, shift])
            path = root / "h5_files" / folder / f"{prefix}_{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["data"] = rng.normal(size=(count, points, 3)).astype(np.float32)
                file["label"] = np.array([14, 0, 3, 7], dtype=np.int32)[:count]
                if "nobg" not in folder:
                    file["mask"] = np.where(np.arange(points) % 4 == 0, -1, 5)[None].repeat(count, axis=0)


def test_mvpnet_by_its_split(tmp_path: Path) -> None:
    split = _write_mvpnet(tmp_path)
    found = read_mvpnet(tmp_path, split, num_points=128)
    assert found.points.shape == (4, 128, 3) and found.points.dtype == np.float32
    assert found.class_names == ("0", "17", "99")
    assert found.labels.tolist() == [0, 1, 2, 2]
    assert found.keys == tuple(SPLIT)
    assert np.abs(found.points.mean(axis=1)).max() < 1e-6
    assert np.allclose(np.linalg.norm(found.points, axis=2).max(axis=1), 1)
    again = read_mvpnet(tmp_path, split, num_points=128)
    assert np.array_equal(found.points, again.points)
    assert not np.array_equal(found.points, read_mvpnet(tmp_path, split, num_points=128, seed=1).points)


def test_mvpnet_keeps_the_classes_of_training(tmp_path: Path) -> None:
    _write_mvpnet(tmp_path)
    part = tmp_path / "mvpnet_split_val.json"
    part.write_text(json.dumps(SPLIT[2:]))
    found = read_mvpnet(tmp_path, part, num_points=32, class_names=("0", "17", "99"))
    assert found.labels.tolist() == [2, 2]
    with pytest.raises(UsageError, match="The class '99' is none of the 1"):
        read_mvpnet(tmp_path, part, num_points=32, class_names=("0",))


def test_mvpnet_missing_clouds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    split = _write_mvpnet(tmp_path)
    (tmp_path / SPLIT[1]).unlink()
    with pytest.raises(FormatError, match=r"lacks 1 of the 4 clouds of mvpnet_split_train\.json, as 17/"):
        read_mvpnet(tmp_path, split, num_points=32)
    found = read_mvpnet(tmp_path, split, num_points=32, missing_ok=True)
    assert found.labels.tolist() == [0, 2, 2]  # the class without clouds keeps its number
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"a": 1}', "no JSON list"),
        ('["../../x.pcd"]', "expected '<class id>"),
        ('["a/x.pcd"]', "expected '<class id>"),
        ("[7]", "expected '<class id>"),
    ],
)
def test_broken_splits(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(FormatError, match=said):
        read_split(tmp_path / "split.json")


@pytest.mark.data
def test_official_splits(test_data: Path) -> None:
    train = read_split(test_data / "mvimgnet" / "mvpnet_split_train.json")
    val = read_split(test_data / "mvimgnet" / "mvpnet_split_val.json")
    assert (len(train), len(val)) == (70_191, 17_634)
    classes = {name for _, name in train}
    assert len(classes) == 180 and {name for _, name in val} <= classes
    assert not {name for name, _ in train} & {name for name, _ in val}


@pytest.mark.parametrize("variant", VARIANTS)
def test_scanobjectnn(tmp_path: Path, variant: str) -> None:
    _write_scanobjectnn(tmp_path)
    train = read_scanobjectnn(tmp_path, variant, "train", num_points=64)
    test = read_scanobjectnn(tmp_path / "h5_files", variant, "test", num_points=64)
    assert train.class_names == CLASS_NAMES and len(CLASS_NAMES) == 15
    assert train.labels.tolist() == [14, 0, 3, 7]
    assert not np.array_equal(train.points, test.points)
    folder, name = VARIANTS[variant]
    with h5py.File(tmp_path / "h5_files" / folder / f"training_{name}") as file:
        assert np.allclose(train.points[1], unit_cloud(file["data"][1]))  # all points, in their order
    if variant == "OBJ_ONLY":
        assert train.foreground is None
    else:
        assert train.foreground is not None
        assert np.array_equal(train.foreground[0], np.arange(64) % 4 != 0)


def test_scanobjectnn_without_its_background(tmp_path: Path) -> None:
    _write_scanobjectnn(tmp_path)
    found = read_scanobjectnn(tmp_path, "OBJ_BG", "train", num_points=48, drop_background=True)
    with h5py.File(tmp_path / "h5_files" / "main_split" / "training_objectdataset.h5") as file:
        kept = unit_cloud(file["data"][0][np.arange(64) % 4 != 0])  # 48 points
    assert found.foreground is not None and found.foreground.all()
    assert np.allclose(sorted(found.points[0].tolist()), sorted(kept.tolist()), atol=1e-6)
    with pytest.raises(FormatError, match="no mask"):
        read_scanobjectnn(tmp_path, "OBJ_ONLY", "train", drop_background=True)


def test_scanobjectnn_foreground_follows_its_points(tmp_path: Path) -> None:
    _write_scanobjectnn(tmp_path)
    path = tmp_path / "h5_files" / "main_split" / "test_objectdataset.h5"
    with h5py.File(path, "r+") as file:
        file["data"][0, :, 0] = np.where(file["mask"][0] == -1, 5.0, -5.0)
    found = read_scanobjectnn(tmp_path, "OBJ_BG", "test", num_points=30)
    assert found.foreground is not None
    assert np.array_equal(found.foreground[0], found.points[0, :, 0] < 0)


def test_broken_scanobjectnn(tmp_path: Path) -> None:
    _write_scanobjectnn(tmp_path)
    with pytest.raises(UsageError, match="OBJ_ONLY, OBJ_BG, PB_T50_RS"):
        read_scanobjectnn(tmp_path, "PB", "train")
    with pytest.raises(UsageError, match="train, test"):
        read_scanobjectnn(tmp_path, "OBJ_BG", "val")
    with pytest.raises(FormatError, match=r"does not exist\. Give the folder"):
        read_scanobjectnn(tmp_path / "nothing", "OBJ_BG", "train")
    path = tmp_path / "h5_files" / "main_split" / "training_objectdataset.h5"
    with h5py.File(path, "r+") as file:
        file["label"][0] = 15
    with pytest.raises(FormatError, match="labels run from 0 to 15"):
        read_scanobjectnn(tmp_path, "OBJ_BG", "train")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FormatError, match="no file of ScanObjectNN"):
        read_scanobjectnn(tmp_path, "OBJ_BG", "train")


def test_clouds_of_a_dataset(tmp_path: Path) -> None:
    """MVImgNet's layout with our cloud.ply in some scenes, and MVPNet's own."""
    root = tmp_path / "built"
    released.write_mvimgnet(root)
    for number, key in enumerate(("0/0a00b1", "17/0b00c3")):
        write_ply(root / key / "cloud.ply", _cloud(number))
    (root / "splits").mkdir()
    (root / "splits" / "train.json").write_text(json.dumps(["0/0a00b1", "0/0a00b2"]))
    found = read_dataset_clouds(root, num_points=50)
    assert found.keys == ("0/0a00b1", "17/0b00c3") and found.class_names == ("0", "17")
    assert read_dataset_clouds(root, "train", num_points=50).keys == ("0/0a00b1",)
    split = _write_mvpnet(tmp_path / "mvpnet")
    by_reader = read_dataset_clouds(tmp_path / "mvpnet", split, num_points=50)
    assert by_reader.keys == tuple(name[:-4] for name in SPLIT)
    assert by_reader.labels.tolist() == [0, 1, 2, 2]
    released.write_mvimgnet(tmp_path / "plain")
    with pytest.raises(FormatError, match="has no clouds"):
        read_dataset_clouds(tmp_path / "plain")


def test_sets_come_back_from_disk(tmp_path: Path) -> None:
    found = CloudSet(
        points=np.zeros((2, 3, 3), np.float32), labels=np.array([1, 0]), class_names=("a", "b"),
        keys=("x", "y"), foreground=np.ones((2, 3), np.bool_),
    )  # fmt: skip
    assert not CloudSet.is_saved(tmp_path / "set")
    found.save(tmp_path / "set")
    again = CloudSet.load(tmp_path / "set")
    assert CloudSet.is_saved(tmp_path / "set") and len(again) == 2
    assert again.labels.tolist() == [1, 0] and again.class_names == ("a", "b") and again.keys == ("x", "y")
    assert np.array_equal(again.points, found.points) and again.foreground is not None
    part = again.part([1])
    assert part.keys == ("y",) and part.labels.tolist() == [0] and part.points.shape == (1, 3, 3)
    (tmp_path / "set" / "points.npy").write_bytes(b"half")
    with pytest.raises(FormatError, match="Remove it; run again"):
        CloudSet.load(tmp_path / "set")


def test_drawn_points() -> None:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    points[4, 1] = np.nan
    few = draw_points(points, 6, seed=0)
    assert len(np.unique(few[:, 0])) == 6 and 12 not in few[:, 0]
    many = draw_points(points, 25, seed=0)
    values, counts = np.unique(many[:, 0], return_counts=True)
    assert len(values) == 9 and set(counts) <= {2, 3}
    with pytest.raises(FormatError, match="The cloud 3/a has no finite points"):
        draw_points(np.full((4, 3), np.nan), 3, seed=0, key="3/a")
    assert np.array_equal(unit_cloud(np.ones((5, 3))), np.zeros((5, 3)))


@given(st.integers(0, 99), st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_shares_of_labels_lie_inside_each_other(seed: int, labels: list[int]) -> None:
    array = np.array(labels)
    parts = [set(share_of_labels(array, share, seed=seed).tolist()) for share in (0.01, 0.1, 0.5, 1.0)]
    assert parts[0] <= parts[1] <= parts[2] <= parts[3] == set(range(len(labels)))
    for part in parts:
        assert {labels[i] for i in part} == set(labels)


def test_names_are_sorted_as_people_count() -> None:
    assert counted(["10", "9", "mug", "bowl"]) == ("9", "10", "bowl", "mug")


def test_augmentation_does_what_it_says() -> None:
    rng = np.random.default_rng(0)
    cloud = unit_cloud(rng.normal(size=(400, 3)))
    same = augment_cloud(cloud, AugmentOptions(), np.random.default_rng(1))
    assert np.allclose(same, cloud)
    upright = augment_cloud(cloud, AugmentOptions(rotation="upright"), np.random.default_rng(1))
    assert np.allclose(upright[:, 2], cloud[:, 2], atol=1e-6)
    assert np.allclose(np.linalg.norm(upright, axis=1), np.linalg.norm(cloud, axis=1), atol=1e-6)
    assert np.abs(upright - cloud).max() > 0.1
    turned = augment_cloud(cloud, AugmentOptions(rotation="any"), np.random.default_rng(1))
    turn = np.linalg.lstsq(cloud, turned, rcond=None)[0]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-5) and np.linalg.det(turn) > 0
    tilted = augment_cloud(cloud, AugmentOptions(tilt_deg=10), np.random.default_rng(1))
    turn = np.linalg.lstsq(cloud, tilted, rcond=None)[0]
    assert np.cos(np.deg2rad(10)) - 1e-6 <= turn[2, 2] < 1 - 1e-6
    scaled = augment_cloud(cloud, AugmentOptions(scale=(0.5, 2.0)), np.random.default_rng(1))
    factors = np.median(scaled / cloud, axis=0)
    assert np.allclose(scaled, cloud * factors, atol=1e-5) and (factors >= 0.5).all() and (factors <= 2).all()
    noisy = augment_cloud(cloud, AugmentOptions(jitter=0.01), np.random.default_rng(1)) - cloud
    assert 0.009 < noisy.std() < 0.011 and np.abs(noisy).max() <= 0.03 + 1e-6
    strayed = augment_cloud(cloud, AugmentOptions(stray=0.25), np.random.default_rng(1))
    assert (strayed != cloud).any(axis=1).sum() == 100
    assert np.linalg.norm(strayed, axis=1).max() <= 1 + 1e-6
    moved = augment_cloud(cloud, AugmentOptions(shift=0.3), np.random.default_rng(1)) - cloud
    assert np.ptp(moved, axis=0).max() < 1e-6 and 0 < np.abs(moved).max() <= 0.3


def test_a_cut_takes_one_side_away() -> None:
    cloud = unit_cloud(np.random.default_rng(0).normal(size=(500, 3)))
    cut = augment_cloud(cloud, AugmentOptions(cut=0.9), np.random.default_rng(5))
    rows = {tuple(row) for row in cut.tolist()}
    kept = np.array([tuple(row) in rows for row in cloud.tolist()])
    assert cut.shape == cloud.shape and 50 <= kept.sum() < 500
    middle = cloud[~kept].mean(axis=0) - cloud[kept].mean(axis=0)
    assert (cloud[~kept] @ middle).min() > np.quantile(cloud[kept] @ middle, 0.9)


@pytest.mark.parametrize("options", [TRAINING, HARD])
def test_augmentation_is_seeded(options: AugmentOptions) -> None:
    options.check()
    clouds = np.random.default_rng(0).normal(size=(3, 60, 3)).astype(np.float32)
    first, again, other = (augment_batch(clouds, options, np.random.default_rng(s)) for s in (4, 4, 5))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == clouds.shape and first.dtype == np.float32


@pytest.mark.parametrize(
    "values", [{"rotation": "x"}, {"scale": (2.0, 1.0)}, {"jitter": -1.0}, {"cut": 1.0}, {"stray": -0.1}]
)
def test_augmentation_out_of_range(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        AugmentOptions(**values).check()  # type: ignore[arg-type]
