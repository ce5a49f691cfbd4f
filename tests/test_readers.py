"""One reader over all layouts: folders, mask trees, archives, overlays, our own catalogue."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fakes
from tests.released import picture, write_mvimgnet, write_mvimgnet2, write_mvpnet, write_scene, zip_tree
from tests.test_colmap_io import make_model
from walkaround.dataset.readers import Dataset
from walkaround.dataset.readers.files import FolderFiles
from walkaround.errors import FormatError, UsageError
from walkaround.io.colmap import read_sparse_model, write_sparse_model
from walkaround.io.colmap_views import parse_cameras, parse_poses, parse_views
from walkaround.pipeline import BuildOptions, build_sequence


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep indexes out of the user's cache."""
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- poses ---


def test_poses_are_those_of_pycolmap(tmp_path: Path) -> None:
    model = make_model()
    write_sparse_model(tmp_path, model)
    frames = tuple(view.frame for view in model.views)
    theirs = read_sparse_model(tmp_path, frames).views
    mine = parse_views(
        (tmp_path / "cameras.bin").read_bytes(), (tmp_path / "images.bin").read_bytes(), frames
    )
    assert [v.frame for v in mine] == [v.frame for v in theirs]
    assert [v.camera for v in mine] == [v.camera for v in theirs]
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.cam_from_world, other.cam_from_world, atol=1e-12)


def test_broken_poses(tmp_path: Path) -> None:
    write_sparse_model(tmp_path, make_model())
    cameras, images = (tmp_path / "cameras.bin").read_bytes(), (tmp_path / "images.bin").read_bytes()
    for cut in (0, 7, 8, 30, len(images) - 1):
        with pytest.raises(FormatError, match="cut off"):
            parse_poses(images[:cut])
    with pytest.raises(FormatError, match="too many"):
        parse_poses(images + b"x")
    with pytest.raises(FormatError, match="unknown model 77"):
        parse_cameras(cameras[:12] + struct.pack("<i", 77) + cameras[16:])
    with pytest.raises(FormatError, match="COLMAP's model 5, not"):
        parse_cameras(cameras[:12] + struct.pack("<i", 5) + cameras[16:])
    with pytest.raises(FormatError, match=r"has camera 1, which cameras\.bin lacks"):
        parse_views(struct.pack("<Q", 0), images)
    with pytest.raises(FormatError, match="not finite"):
        parse_views(cameras, images[:12] + bytes(32) + images[44:])
    assert parse_views(cameras, struct.pack("<Q", 0)) == ()


@given(st.binary(max_size=300))
def test_poses_of_anything(data: bytes) -> None:
    for parse in (parse_cameras, parse_poses):
        for head in (b"", struct.pack("<Q", 2)):
            try:
                parse(head + data)
            except FormatError:
                continue


# --- layouts ---


def check_scene(dataset: Dataset, key: str, seed: int, *, masks: bool = True) -> None:
    scene = dataset[key]
    assert scene.key == key
    assert scene.image_names == tuple(f"{number:03d}.jpg" for number in range(1, 11))
    expected, truth = picture(seed * 100 + 3)
    image = scene.read_image("003.jpg")
    assert image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 30
    assert scene.image_size_wh("003.jpg") == (fakes.WIDTH, fakes.HEIGHT)
    assert [view.frame.image for view in scene.views] == list(scene.image_names[:-1])
    sparse = scene.read_sparse()
    assert sparse is not None and len(sparse.points_in_world) == 50
    np.testing.assert_allclose(sparse.views[4].cam_from_world, scene.views[4].cam_from_world, atol=1e-12)
    assert scene.read_depth("003.jpg") is None and scene.record is None
    soft, mask = scene.read_fg_probability("003.jpg"), scene.read_mask("003.jpg")
    if masks:
        assert soft is not None and mask is not None
        np.testing.assert_array_equal(mask, truth)
        assert soft[truth].mean() == pytest.approx(230 / 255)
    else:
        assert soft is None and mask is None


def test_mvimgnet_with_its_mask_tree(tmp_path: Path) -> None:
    write_mvimgnet(tmp_path / "mvi")
    dataset = Dataset(tmp_path / "mvi")
    assert dataset.keys() == ["0/0a00b1", "0/0a00b2", "17/0b00c3"]
    assert dataset.layout == "released" and dataset.classes == ("0", "17")
    assert (dataset.class_name("0"), dataset[0].class_name, dataset[0].class_id) == ("bag", "bag", "0")
    for number, key in enumerate(dataset.keys()):
        check_scene(dataset, key, number)
    check_scene(Dataset(tmp_path / "mvi", masks=None), "0/0a00b1", 0, masks=False)
    with pytest.raises(FormatError, match="does not exist"):
        Dataset(tmp_path / "mvi", masks=tmp_path / "absent")


def test_mvimgnet_2_with_masks_beside_the_images(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root")
    dataset = Dataset(tmp_path / "root")
    check_scene(dataset, "301/1a00b2", 1)
    assert dataset[0].class_id == "240" and dataset.class_name("240") != "240"


def test_mvpnet(tmp_path: Path) -> None:
    write_mvpnet(tmp_path / "clouds")
    dataset = Dataset(tmp_path / "clouds")
    assert dataset.keys() == ["0/00000050", "99/0a002697"]
    scene = dataset["0a002697"]
    cloud = scene.read_cloud()
    assert cloud is not None and len(cloud.points_in_world) == 2000
    assert scene.views == () and scene.image_names == () and scene.read_sparse() is None


def test_the_official_split_of_mvpnet(tmp_path: Path, test_data: Path) -> None:
    write_mvpnet(tmp_path / "clouds")
    dataset = Dataset(tmp_path / "clouds")
    train = dataset.split(test_data / "mvimgnet" / "mvpnet_split_train.json")
    val = dataset.split(test_data / "mvimgnet" / "mvpnet_split_val.json")
    assert sorted(train.keys() + val.keys()) == ["0/00000050", "99/0a002697"]


def test_clouds_join_their_images(tmp_path: Path) -> None:
    write_mvimgnet(tmp_path / "mvi")
    write_mvpnet(tmp_path / "mvi", ("0/0a00b1",))
    scene = Dataset(tmp_path / "mvi")["0a00b1"]
    assert scene.read_cloud() is not None and len(scene.views) == 9 and scene.read_mask("001.jpg") is not None


@pytest.mark.parametrize("around", ["", "mvi_00", "data/MVImgNet"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_archives_are_read_in_place(tmp_path: Path, around: str, method: int) -> None:
    """Scenes of a class are spread over archives, masks have one of their own."""
    masks = write_mvimgnet(tmp_path / "all")
    (tmp_path / "zips").mkdir()
    for number, key in enumerate(("0/0a00b1", "0/0a00b2", "17/0b00c3")):
        part = tmp_path / f"part{number}"
        shutil.copytree(tmp_path / "all" / key, part / key)
        zip_tree(part, tmp_path / "zips" / f"mvi_{number:02d}.zip", around=around, method=method)
    packed_masks = zip_tree(masks, tmp_path / "MVImgNet_mask.zip", around=around and "MVImgNet_mask")
    dataset = Dataset(tmp_path / "zips", masks=packed_masks)
    assert len(dataset) == 3
    for number, key in enumerate(dataset.keys()):
        check_scene(dataset, key, number)
    one = Dataset(tmp_path / "zips" / "mvi_01.zip", masks=masks)
    check_scene(one, "0/0a00b2", 1)
    check_scene(Dataset(tmp_path / "all", masks=packed_masks), "17/0b00c3", 2)


def test_a_changed_or_damaged_archive(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "all")
    path = zip_tree(tmp_path / "all", tmp_path / "all.zip", method=zipfile.ZIP_STORED)
    scene = Dataset(path)[0]
    offset = path.read_bytes().index(b"240/1a00b1/images/001.jpg") + 100
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="checksum"):
        scene.read_image("001.jpg")
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="cannot be read"):
        scene.read_image("001.jpg")
    with pytest.raises(FormatError, match="neither a folder nor a zip"):
        Dataset(path)


def test_our_own(fake_stages: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "root"
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(name.encode())
        if name == "three":
            fake_stages.scores["cameras"] = {"registered_share": 0.1}
        build_sequence(tmp_path / name, root, options=BuildOptions(class_label="mug", instance_id=name))
    dataset = Dataset(root)
    assert dataset.keys() == ["mug/one", "mug/two"] and dataset.layout == "walkaround"
    assert Dataset(root, statuses=None).keys() == ["mug/one", "mug/three", "mug/two"]
    scene = dataset["one"]
    assert scene.record is not None and scene.record.status == "accepted"
    assert scene.frames[3].timestamp_s == 4.0
    depth, mask = scene.read_depth("003.jpg"), scene.read_mask("003.jpg")
    assert depth is not None and mask is not None
    assert depth[0].shape == depth[1].shape == mask.shape == (fakes.HEIGHT, fakes.WIDTH)
    assert dataset.query("num_registered = 9 AND instance_id <> 'one'").keys() == ["mug/two"]
    splits = root / "splits"
    splits.mkdir()
    (splits / "train.json").write_text(json.dumps(["mug/two"]))
    assert dataset.split("train").keys() == ["mug/two"]
    with pytest.raises(FormatError, match="no split val"):
        dataset.split("val")
    (root / "catalog.parquet").unlink()
    with caplog.at_level("WARNING"):
        assert Dataset(root).keys() == ["mug/one", "mug/three", "mug/two"]
    assert "no catalog.parquet" in caplog.text


def test_other_things_are_said_to_be_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        Dataset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="holds no scenes"):
        Dataset(tmp_path / "empty")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "mvpnet_train_8192pts.dat").write_bytes(pickle.dumps([1]))
    with pytest.raises(FormatError, match=r"(?s)pickle.*refused.*pcd"):
        Dataset(tmp_path / "pickled")


def test_what_is_missing_is_told_apart_from_what_is_broken(tmp_path: Path) -> None:
    write_scene(tmp_path / "root" / "0" / "empty", cameras=False)
    write_scene(tmp_path / "root" / "0" / "broken")
    images = tmp_path / "root" / "0" / "broken" / "sparse" / "0" / "images.bin"
    images.write_bytes(images.read_bytes()[:500])
    dataset = Dataset(tmp_path / "root")
    assert dataset["empty"].views == () and not dataset["empty"].has_cameras
    for read in (lambda: dataset["broken"].views, lambda: dataset["broken"].read_sparse()):
        with pytest.raises(FormatError, match=r"0/broken/sparse/0.*cut off"):
            read()
    with pytest.raises(FormatError, match=r"images/099\.jpg cannot be read"):
        dataset["empty"].read_image("099.jpg")
    with pytest.raises(FormatError, match="leads out"):
        dataset["empty"].read_image("../../../secret.jpg")
    (tmp_path / "root" / "0" / "empty" / "images" / "002.jpg").write_bytes(b"no image")
    with pytest.raises(FormatError, match="not a readable image"):
        dataset["empty"].read_image("002.jpg")
    assert dataset.query("has_cameras").keys() == ["0/broken"]


def test_text_models(tmp_path: Path) -> None:
    from walkaround.io.colmap import load_pycolmap

    write_scene(tmp_path / "root" / "0" / "text")
    sparse = tmp_path / "root" / "0" / "text" / "sparse" / "0"
    load_pycolmap().Reconstruction(str(sparse)).write_text(str(sparse))
    for path in sparse.glob("*.bin"):
        path.unlink()
    assert len(Dataset(tmp_path / "root")[0].views) == 9


# --- finding scenes ---


def test_ids_keys_and_parts(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "root", ("1/aa", "1/bb", "2/aa"))
    dataset = Dataset(tmp_path / "root")
    assert dataset["bb"].key == "1/bb" and dataset["2/aa"].key == "2/aa" and dataset[-1].key == "2/aa"
    assert dataset[1:].keys() == ["1/bb", "2/aa"] and [scene.key for scene in dataset[:1]] == ["1/aa"]
    assert "1/aa" in dataset and "aa" not in dataset and "3/aa" not in dataset and 5 not in dataset
    with pytest.raises(KeyError, match="several scenes"):
        dataset["aa"]
    with pytest.raises(KeyError, match="no scene bx"):
        dataset["bx"]
    with pytest.raises(IndexError):
        dataset[3]
    part = dataset.select(["2/aa", "bb"])
    assert part.keys() == ["2/aa", "1/bb"] and part["aa"].key == "2/aa"
    assert dataset.query("class_label = '1' AND num_images = 10").keys() == ["1/aa", "1/bb"]
    for wrong in (
        "nonsense = 1",
        "1; SELECT 1",
        "instance_id IN (SELECT * FROM '/etc/passwd')",
    ):
        with pytest.raises(UsageError):
            dataset.query(wrong)
    again = pickle.loads(pickle.dumps(part))
    assert again.keys() == part.keys() and len(again[0].views) == 9


def test_the_index_is_made_once_and_again_when_scenes_come(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    write_mvimgnet2(root)
    Dataset(root)
    (kept,) = (cache / "indexes").glob("*.parquet")
    scanned: list[Path] = []
    from walkaround.dataset.readers import index

    real = index.scan
    monkeypatch.setattr(index, "scan", lambda *args: scanned.append(args[0]) or real(*args))
    assert len(Dataset(root)) == 2 and scanned == []
    write_scene(root / "240" / "new")
    assert len(Dataset(root)) == 3 and len(scanned) == 1
    kept.write_bytes(kept.read_bytes()[:-40])
    assert len(Dataset(root)) == 3 and len(scanned) == 2
    (root / "240" / "new" / "images" / "011.jpg").write_bytes(b"")
    assert len(Dataset(root).query("num_images = 11")) == 0
    assert len(Dataset(root, refresh=True).query("num_images = 11")) == 1
    at = tmp_path / "elsewhere" / "scenes.parquet"
    assert len(Dataset(root, index=at)) == 3 and at.is_file()


def test_an_overlay_is_preferred(tmp_path: Path) -> None:
    write_scene(tmp_path / "root" / "0" / "aa", cameras=False)
    write_scene(tmp_path / "root" / "0" / "bb", cameras=False)
    repaired = tmp_path / "root.repaired" / "0" / "aa"
    write_sparse_model(repaired / "sparse" / "0", fakes.make_model(fakes.make_frames()))
    (repaired / "repair.json").write_text(json.dumps({"schema_version": 1, "parts": ["sparse"]}))
    dataset = Dataset(tmp_path / "root")
    assert len(dataset["aa"].views) == 9 and dataset["aa"].repaired == ("sparse",)
    assert dataset["aa"].read_image("001.jpg").shape == (fakes.HEIGHT, fakes.WIDTH, 3)
    assert dataset["bb"].views == () and dataset["bb"].repaired == ()
    assert Dataset(tmp_path / "root", overlay=None)["aa"].views == ()
    (repaired / "repair.json").write_text(json.dumps({"schema_version": 1, "parts": ["../.."]}))
    with pytest.raises(FormatError, match="parts is"):
        dataset["aa"]


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mvimgnet(tmp_path / "mvi")
    monkeypatch.chdir(tmp_path / "mvi")
    assert Dataset(".")["0/0a00b1"].read_mask("001.jpg") is not None
    monkeypatch.chdir(tmp_path / "mvi" / "17")
    assert len(Dataset("..")) == 3


@given(st.text(max_size=20))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    base = tmp_path_factory.getbasetemp() / "scene"
    base.mkdir(exist_ok=True)
    try:
        place = FolderFiles(base)._path(f"images/{name}")
    except FormatError:
        return
    assert place.resolve().is_relative_to(base.resolve())
