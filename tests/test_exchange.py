"""Exports and imports on real captures: each pair is a round trip, peers' packages read what is written."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import fakes
from tests.exchange_cases import (
    bunny,
    by_llff,
    by_mvsnet,
    by_pytorch3d,
    imported,
    ours,
    plant_cameras,
    scene_at,
    skull,
    tiny_image,
)
from tests.released import write_mvimgnet, write_mvimgnet2, write_mvpnet, zip_tree
from walkaround.cli import main
from walkaround.dataset.exchange.export import export_scenes
from walkaround.dataset.exchange.formats import EXPORTERS, IMPORTERS, read_given
from walkaround.dataset.exchange.options import ExportOptions, ImportOptions
from walkaround.dataset.exchange.undistort import Fit, pinhole
from walkaround.dataset.readers import Dataset, Scene
from walkaround.errors import FormatError, InputError, OutputError, UsageError
from walkaround.importing import import_sequence
from walkaround.io.colmap import load_pycolmap, read_sparse_model
from walkaround.io.pointcloud import read_pcd, read_ply
from walkaround.pipeline import BuildOptions, build_sequence
from walkaround.types import Camera, Frame, View

PX = 1e-6
FRAME_VIEW = View(
    frame=Frame(index=1, image="1.png", source_index=0, timestamp_s=None),
    camera=Camera(model="PINHOLE", width=1, height=1, params=(1.0, 1.0, 0.0, 0.0)),
    cam_from_world=np.eye(4),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep indexes out of the user's cache."""
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def captures(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The skull (SIMPLE_RADIAL) and the bunny (PINHOLE, masks) as sequences in their own worlds."""
    folder = tmp_path_factory.mktemp("captures")
    imported(skull(test_data, folder / "skull"), folder / "root", "skull")
    imported(bunny(test_data, folder / "bunny"), folder / "root", "bunny")
    return {name: folder / "root" / "thing" / name for name in ("skull", "bunny")}


@pytest.fixture
def own(fake_stages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of ours with two small sequences: depth, masks, cameras with distortion 0."""
    from walkaround.io.colmap import write_sparse_model
    from walkaround.io.pointcloud import write_pcd, write_ply

    root = tmp_path / "own"
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
        build_sequence(tmp_path / name, root, options=BuildOptions(class_label="mug", instance_id=name))
        folder = root / "mug" / name
        write_sparse_model(folder / "sparse" / "0", fakes.make_model(fakes.make_frames()))
        write_ply(folder / "cloud.ply", fakes.make_cloud())
        write_pcd(folder / "cloud.pcd", fakes.make_cloud())
    monkeypatch.setattr("walkaround.io.colmap.read_sparse_model", read_sparse_model)  # the real one
    return root


def same_pixels(one: tuple[View, ...], other: tuple[View, ...], *, fit: Fit | None = None) -> None:
    """Compare views, in order, by where points fall."""
    assert len(one) == len(other) > 0
    centre = np.mean([view.centre + view.cam_from_world[2, :3] for view in one], axis=0)
    spread = float(np.linalg.norm(one[0].centre - centre)) * 0.05
    points = centre + np.random.default_rng(0).normal(size=(30, 3)) * spread
    for a, b in zip(one, other, strict=True):
        if fit is not None:
            a = View(frame=a.frame, camera=pinhole(a.camera, fit=fit), cam_from_world=a.cam_from_world)
        np.testing.assert_allclose(ours(b, points), ours(a, points), rtol=0, atol=PX)


# --- round trips ---


@pytest.mark.parametrize("name", ["skull", "bunny"])
@pytest.mark.parametrize("to", ["colmap", "colmap-text", "nerfstudio", "instant-ngp"])
def test_round_trip(captures: dict[str, Path], tmp_path: Path, name: str, to: str) -> None:
    """Out and in again: the same projections to 1e-6 px, the same pixels bit by bit, the same masks."""
    first = scene_at(captures[name])
    export_scenes(captures[name], tmp_path / "out", to)
    second = imported(tmp_path / "out", tmp_path / "root", name)
    same_pixels(first.views, second.views)
    assert second.image_names == first.image_names
    for image in first.image_names[:2]:
        assert second.image_bytes(image) == first.image_bytes(image)
        mask = first.read_mask(image)
        if mask is not None:
            assert np.array_equal(second.read_mask(image), mask)
    assert (first.read_mask("001.png") is not None) == (name == "bunny")


@pytest.mark.parametrize("to", ["3dgs", "openmvs"])
def test_undistorted_round_trip(captures: dict[str, Path], tmp_path: Path, to: str) -> None:
    first = with_points(captures["skull"], tmp_path)
    export_scenes(first.files.base, tmp_path / "out", to)  # type: ignore[attr-defined]
    model = read_sparse_model(tmp_path / "out" / "sparse" / ("0" if to == "3dgs" else ""))
    assert {view.camera.model for view in model.views} == {"PINHOLE"}
    same_pixels(first.views, model.views, fit="centred" if to == "3dgs" else "same")
    seen = load_pycolmap().Reconstruction(str(tmp_path / "out" / "sparse" / ("0" if to == "3dgs" else "")))
    image = next(iter(seen.images.values()))
    for point in list(image.points2D)[:5]:  # observations are those of the new cameras
        projected = image.project_point(seen.points3D[point.point3D_id].xyz)
        np.testing.assert_allclose(projected, point.xy, atol=1e-3)
    if to == "3dgs":
        cloud = read_ply(tmp_path / "out" / "sparse" / "0" / "points3D.ply")
        assert len(cloud.points_in_world) == len(model.points_in_world) and cloud.normals is not None
        camera = model.views[0].camera
        assert camera.params[2:] == (camera.width / 2, camera.height / 2)


def with_points(folder: Path, tmp_path: Path) -> Scene:
    """Copy a sequence and give it points around where its cameras look, with tracks."""
    from walkaround.geometry import project, transform_points
    from walkaround.io.colmap import write_sparse_model

    copy = tmp_path / "pointed" / "thing" / folder.name
    shutil.copytree(folder, copy)
    model = scene_at(copy).read_sparse()
    assert model is not None
    centre = np.mean(
        [v.centre + v.cam_from_world[2, :3] * np.linalg.norm(v.centre) for v in model.views], axis=0
    )
    points = centre + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    seen = []
    for view in model.views:
        pixels = project(view.camera, transform_points(view.cam_from_world, points))
        inside = (pixels > 0) & (pixels < [view.camera.width, view.camera.height])
        seen.append(np.flatnonzero(inside.all(axis=1)))
    full = replace(
        model, points_in_world=points, colors=np.full((60, 3), 9, np.uint8), errors_px=np.ones(60),
        observations=tuple(seen),
    )  # fmt: skip
    write_sparse_model(copy / "sparse" / "0", full)
    return scene_at(copy)


def test_formats_that_are_only_written(captures: dict[str, Path], tmp_path: Path) -> None:
    """MVSNet, LLFF, CO3D of the skull: parsed here by their own definitions."""
    scene = with_points(captures["skull"], tmp_path)
    folder = scene.files.base  # type: ignore[attr-defined]
    sparse = scene.read_sparse()
    assert sparse is not None
    points = sparse.points_in_world
    for to in ("mvsnet", "llff", "co3d"):
        export_scenes(folder, tmp_path / to, to)
    rows = np.load(tmp_path / "llff" / "poses_bounds.npy")
    frames = json.loads(gzip.decompress((tmp_path / "co3d" / "thing" / "frame_annotations.jgz").read_bytes()))
    assert len(rows) == len(frames) == len(scene.views)
    for number, view in enumerate(scene.views):
        K, pose = view.camera.K, view.cam_from_world
        local = points @ pose[:3, :3].T + pose[:3, 3]
        plain = (local / local[:, 2:] @ K.T)[:, :2]
        text = (tmp_path / "mvsnet" / "cams" / f"{number:08d}_cam.txt").read_text()
        np.testing.assert_allclose(by_mvsnet(text, points), plain, rtol=0, atol=PX)
        near, interval, planes, far = map(float, text.split()[27:])
        assert near <= np.median(local[:, 2]) <= far and near + interval * (planes - 1) == pytest.approx(far)
        size = (view.camera.width, view.camera.height)
        assert frames[number]["image"]["size"] == [size[1], size[0]]
        np.testing.assert_allclose(
            by_pytorch3d(frames[number]["viewpoint"], size, points), plain, rtol=0, atol=PX
        )
        shifted = plain - K[:2, 2] + np.array(size) / 2  # the principal point moves to the middle
        np.testing.assert_allclose(by_llff(rows[number], points), shifted, rtol=0, atol=PX)
        assert 0 < rows[number][15] <= np.median(local[:, 2]) <= rows[number][16]
        assert (tmp_path / "mvsnet" / "images" / f"{number:08d}.jpg").is_file()
        assert (tmp_path / "co3d" / frames[number]["image"]["path"]).is_file()
    assert (tmp_path / "mvsnet" / "pair.txt").read_text().startswith(f"{len(rows)}\n0\n")


def test_the_virtual_plants_projection_matrices(test_data: Path, tmp_path: Path) -> None:
    """Matrices as text, in PMVS's, IDR's and Middlebury's ways: where points fall, to 1e-6 px."""
    cameras = plant_cameras(test_data)
    images = test_data / "truth" / "virtual_plant" / "images"
    points = np.random.default_rng(0).uniform(-20, 20, (20, 3)) + np.array([0, 0, 50])
    for kind in ("txt", "pmvs", "par", "npz"):
        source = tmp_path / kind
        (source / "image").mkdir(parents=True)
        for name in cameras:
            shutil.copy(images / name, source / "image" / name)
        write_matrices(source, kind, cameras)
        found = read_given(source, "auto", ImportOptions())
        assert found.notes["format"] == "matrices" and len(found.views) == 18
        for found_view, (K, pose) in zip(found.views, cameras.values(), strict=True):
            local = points @ pose[:, :3].T + pose[:, 3]
            expected = (local / local[:, 2:] @ K.T)[:, :2]
            view = replace(FRAME_VIEW, camera=found_view.camera, cam_from_world=found_view.cam_from_world)
            np.testing.assert_allclose(ours(view, points), expected, rtol=0, atol=PX)
    scene = imported(tmp_path / "txt", tmp_path / "root", "plant")
    same_pixels(scene.views, imported(_exported(scene, tmp_path), tmp_path / "again", "plant").views)


def write_matrices(source: Path, kind: str, cameras: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write projection matrices that count pixels from the centre of the first one."""
    corner = np.array([[1.0, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrices = {name: corner @ K @ pose for name, (K, pose) in cameras.items()}
    for name, matrix in matrices.items():
        text = "\n".join(" ".join(repr(float(value)) for value in row) for row in matrix)
        if kind == "txt":
            (source / "image" / f"{Path(name).stem}.txt").write_text(text)
        elif kind == "pmvs":
            (source / "image" / f"{name}.P").write_text("CONTOUR\n" + text)
    if kind == "par":
        lines = [str(len(cameras))]
        for name, (K, pose) in cameras.items():
            numbers = [*(corner @ K).ravel(), *pose[:, :3].ravel(), *pose[:, 3]]
            lines.append(" ".join([name, *(repr(float(value)) for value in numbers)]))
        (source / "plant_par.txt").write_text("\n".join(lines))
    elif kind == "npz":
        scale = np.diag([7.0, 7, 7, 1])
        world = [np.r_[P @ np.linalg.inv(scale), [[0, 0, 0, 1]]] for P in matrices.values()]
        arrays = {f"world_mat_{i}": matrix for i, matrix in enumerate(world)}
        arrays |= {f"scale_mat_{i}": scale for i in range(len(world))}
        np.savez(source / "cameras.npz", **arrays)


def _exported(scene: Scene, tmp_path: Path) -> Path:
    export_scenes(scene.files.base, tmp_path / "transforms", "nerfstudio")  # type: ignore[attr-defined]
    return tmp_path / "transforms"


def test_the_world_is_normalised_and_the_way_back_is_kept(
    captures: dict[str, Path], test_data: Path, tmp_path: Path
) -> None:
    """Through the similarity of the notes, points of the source fall on the same pixels."""
    source = bunny(test_data, tmp_path / "bunny")
    scene = imported(source, tmp_path / "root", "b", world="normalise")
    assert scene.record is not None and not scene.record.metric
    note = scene.record.notes["cameras"]["similarity"]
    scale, rotation, shift = note["scale"], np.array(note["rotation"]), np.array(note["translation"])
    kept = scene_at(captures["bunny"])
    assert kept.record is not None and kept.record.metric
    points = np.random.default_rng(0).normal(0, 0.05, (30, 3)) + np.array([0, 0, 0.1])
    moved = scale * points @ rotation.T + shift
    for a, b in zip(kept.views, scene.views, strict=True):
        np.testing.assert_allclose(ours(b, moved), ours(a, points), rtol=0, atol=PX)
    distance = [float(np.linalg.norm(view.centre)) for view in scene.views]
    assert np.median(distance) == pytest.approx(1, abs=0.2)
    assert scene.record.status == "accepted" and "imported" in scene.record.warnings[0]
    assert scene.record.options["cameras"]["imported"] == "truth" and scene.record.scores["arc_deg"]


# --- masks, depth, points of our own datasets ---


def test_masks_and_depth(own: Path, tmp_path: Path) -> None:
    scene = Dataset(own)["mug/one"]
    for to in ("nerfstudio", "instant-ngp", "colmap", "co3d"):
        export_scenes(own / "mug" / "one", tmp_path / to, to)
    mask, found = scene.read_mask("001.jpg"), scene.read_depth("001.jpg")
    assert mask is not None and found is not None
    depth, valid = found
    nerf = json.loads((tmp_path / "nerfstudio" / "transforms.json").read_text())
    frame = nerf["frames"][0]
    assert nerf["applied_transform"] == np.eye(4)[:3].tolist() and nerf["ply_file_path"] == "points.ply"
    steps = cv2.imread(str(tmp_path / "nerfstudio" / frame["depth_file_path"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(steps[valid] * 1e-3, depth[valid], atol=5.1e-4)
    assert not steps[~valid].any()
    grey = cv2.imread(str(tmp_path / "nerfstudio" / frame["mask_path"]), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(grey == 255, mask)
    left_out = cv2.imread(str(tmp_path / "instant-ngp" / "images" / "dynamic_mask_001.png"), 0)
    assert np.array_equal(left_out == 0, mask)
    ngp = json.loads((tmp_path / "instant-ngp" / "transforms.json").read_text())
    steps = cv2.imread(str(tmp_path / "instant-ngp" / ngp["frames"][0]["depth_path"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(steps * ngp["integer_depth_scale"], depth * valid, atol=1e-7)
    assert (tmp_path / "colmap" / "masks" / "001.jpg.png").is_file()
    path = tmp_path / "co3d" / "mug" / "one" / "depths" / "frame000000.jpg.geometric.png"
    halves = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).view(np.float16)
    np.testing.assert_allclose(halves[valid], depth[valid], rtol=1e-3)
    sequences = json.loads(
        gzip.decompress((tmp_path / "co3d" / "mug" / "sequence_annotations.jgz").read_bytes())
    )
    assert sequences[0]["point_cloud"]["n_points"] == 2000 and sequences[0]["category"] == "mug"


def test_colmap_keeps_everything(own: Path, tmp_path: Path) -> None:
    """Points, colours, tracks: the model's files bit by bit, as text the same to its last digit."""
    export_scenes(own / "mug" / "one", tmp_path / "bin", "colmap")
    export_scenes(own / "mug" / "one", tmp_path / "txt", "colmap-text")
    sparse = own / "mug" / "one" / "sparse" / "0"
    for name in ("cameras", "images", "points3D"):
        assert (tmp_path / "bin/sparse/0" / f"{name}.bin").read_bytes() == (
            sparse / f"{name}.bin"
        ).read_bytes()
        assert not (tmp_path / "txt/sparse/0" / f"{name}.bin").exists()
    one, two = read_sparse_model(tmp_path / "bin/sparse/0"), read_sparse_model(tmp_path / "txt/sparse/0")
    np.testing.assert_array_equal(one.points_in_world, two.points_in_world)
    assert all(np.array_equal(a, b) for a, b in zip(one.observations, two.observations, strict=True))
    same_pixels(one.views, two.views)


def test_a_whole_dataset(own: Path, tmp_path: Path) -> None:
    result = export_scenes(own, tmp_path / "pcd", "mvpnet")
    assert result.keys == ("mug/one", "mug/two")
    cloud = read_pcd(tmp_path / "pcd" / "mug" / "two.pcd")
    assert len(cloud.points_in_world) == 2000 and cloud.colors is not None
    assert Dataset(tmp_path / "pcd").keys() == ["mug/one", "mug/two"]
    one = export_scenes(own, tmp_path / "colmap", "colmap", where="instance_id = 'two'")
    assert one.keys == ("mug/two",) and (tmp_path / "colmap/mug/two/sparse/0/images.bin").is_file()
    with pytest.raises(OutputError, match="not empty"):
        export_scenes(own, tmp_path / "colmap", "colmap")
    assert export_scenes(own, tmp_path / "colmap", "colmap", overwrite=True).keys == result.keys


def test_released_layouts_and_what_they_lack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_mvimgnet(tmp_path / "mvi")
    (tmp_path / "mvi/0/0a00b1/sparse/0/images.bin").write_bytes(b"")
    result = export_scenes(tmp_path / "mvi", tmp_path / "out", "nerfstudio")
    assert result.keys == ("0/0a00b2", "17/0b00c3") and "no cameras" in result.left_out[0][1]
    assert (tmp_path / "out/0/0a00b2/masks/001.png").is_file()  # from the mask tree
    with pytest.raises(FormatError, match="0/0a00b1 has no cameras"):
        export_scenes(tmp_path / "mvi/0/0a00b1", tmp_path / "x", "nerfstudio")
    export_scenes(tmp_path / "mvi/0/0a00b2", tmp_path / "single", "colmap")
    assert (tmp_path / "single/masks/003.jpg.png").is_file()
    with pytest.raises(InputError, match="no scene 0/zzz"):
        export_scenes(tmp_path / "mvi/0/zzz", tmp_path / "x", "colmap")
    write_mvpnet(tmp_path / "clouds")
    with pytest.raises(FormatError, match="None of the 2 scenes"):
        export_scenes(tmp_path / "clouds", tmp_path / "y", "colmap")
    with pytest.raises(UsageError, match="--planes is 1"):
        ExportOptions(planes=1)
    with pytest.raises(UsageError, match="no format 'obj'"):
        export_scenes(tmp_path / "clouds", tmp_path / "y", "obj")


@pytest.mark.parametrize("out", [".", "mug", "mug/one", "exports", "mug/one/images"])
def test_nothing_is_written_over_what_is_read(own: Path, out: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    for source in (own / "mug" / "one", own):
        if source == own or out in (".", "mug", "mug/one", "mug/one/images"):
            with pytest.raises(UsageError, match="lies in the dataset"):
                export_scenes(source, own / out, "co3d", overwrite=True)
    assert before == {path: path.stat().st_mtime_ns for path in own.rglob("*")}


def test_cropping(captures: dict[str, Path], tmp_path: Path) -> None:
    first = scene_at(captures["skull"])
    export_scenes(captures["skull"], tmp_path / "out", "openmvs", options=ExportOptions(crop=True))
    view = read_sparse_model(tmp_path / "out" / "sparse").views[0]
    image = cv2.imread(str(tmp_path / "out" / "images" / "001.jpg"))
    assert image.shape[:2] == (view.camera.height, view.camera.width)
    assert 0.9 * first.views[0].camera.width < view.camera.width <= first.views[0].camera.width


@pytest.mark.parametrize("to", ["nerfstudio", "instant-ngp"])
def test_intrinsics_of_each_frame(own: Path, tmp_path: Path, to: str) -> None:
    """Frames of several cameras carry their own, and no key of the file hides them."""
    from walkaround.io.colmap import write_sparse_model

    sparse = own / "mug" / "one" / "sparse" / "0"
    model = read_sparse_model(sparse, fakes.make_frames())
    other = Camera(
        model="OPENCV", width=fakes.WIDTH, height=fakes.HEIGHT,
        params=(90.0, 91.0, 47.0, 35.0, 0.1, -0.02, 0.003, -0.004),
    )  # fmt: skip
    views = tuple(replace(v, camera=other) if i % 2 else v for i, v in enumerate(model.views))
    write_sparse_model(sparse, replace(model, views=views))
    export_scenes(own / "mug" / "one", tmp_path / "out", to)
    record = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert record["frames"][1]["k1"] == 0.1 and record["frames"][0]["k1"] == 0.0
    if to == "nerfstudio":  # it takes a key of the file before those of the frames
        assert not {"fl_x", "cx", "w", "k1"} & record.keys()
    same_pixels(views, imported(tmp_path / "out", tmp_path / "root", "one").views)


def test_a_scene_of_an_archive(tmp_path: Path) -> None:
    write_mvimgnet2(tmp_path / "all")
    path = zip_tree(tmp_path / "all", tmp_path / "mvi_00.zip")
    export_scenes(path / "301" / "1a00b2", tmp_path / "out", "colmap")
    expected = Dataset(tmp_path / "all")["301/1a00b2"]
    same_pixels(expected.views, imported(tmp_path / "out", tmp_path / "root", "zip").views)
    assert (tmp_path / "out" / "masks" / "001.jpg.png").is_file()


def test_a_mask_of_another_size_is_said(own: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(own / "mug" / "one" / "masks" / "003.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(FormatError, match=r"mask of 003\.jpg has 9x9 pixels, its camera 96x72"):
        export_scenes(own / "mug" / "one", tmp_path / "out", "colmap")


def test_scenes_without_sparse_points_take_the_cloud(own: Path, tmp_path: Path) -> None:
    from walkaround.io.colmap import write_sparse_model

    sparse = own / "mug" / "one" / "sparse" / "0"
    model = read_sparse_model(sparse, fakes.make_frames())
    none = np.zeros(0, np.int64)
    bare = replace(
        model, points_in_world=np.zeros((0, 3)), colors=np.zeros((0, 3), np.uint8), errors_px=np.zeros(0),
        observations=tuple(none for _ in model.views),
    )  # fmt: skip
    write_sparse_model(sparse, bare)
    export_scenes(own / "mug" / "one", tmp_path / "3dgs", "3dgs")
    cloud = read_ply(tmp_path / "3dgs" / "sparse" / "0" / "points3D.ply")
    assert np.array_equal(cloud.colors, fakes.make_cloud().colors)  # type: ignore[arg-type]
    export_scenes(own / "mug" / "one", tmp_path / "llff", "llff")
    assert np.load(tmp_path / "llff" / "poses_bounds.npy").shape == (9, 17)
    for name in ("cloud.ply", "cloud.pcd"):
        (own / "mug" / "one" / name).unlink()
    with pytest.raises(FormatError, match="this format needs points"):
        export_scenes(own / "mug" / "one", tmp_path / "mvs", "mvsnet")


# --- peers ---


def test_datasets_reads_the_hugging_face_folder(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    (own / "splits").mkdir()
    (own / "splits" / "train.json").write_text('["mug/one"]')
    (own / "splits" / "test.json").write_text('["mug/two"]')
    export_scenes(own, tmp_path / "out", "huggingface")
    frames = datasets.load_dataset(str(tmp_path / "out"), "frames", cache_dir=str(tmp_path / "c"))
    assert {name: len(part) for name, part in frames.items()} == {"test": 10, "train": 10}
    row, scene = frames["train"][2], Dataset(own)["mug/one"]
    assert isinstance(frames["train"].features["image"], datasets.Image)
    np.testing.assert_array_equal(np.asarray(row["image"]), scene.read_image("003.jpg"))
    np.testing.assert_array_equal(np.asarray(row["mask"]) > 127, scene.read_mask("003.jpg"))
    view = scene.views[2]
    np.testing.assert_array_equal(np.reshape(row["cam_from_world"], (4, 4)), view.cam_from_world)
    assert tuple(row["camera_params"]) == view.camera.params and row["camera_model"] == "SIMPLE_RADIAL"
    scenes = datasets.load_dataset(str(tmp_path / "out"), "scenes", cache_dir=str(tmp_path / "c"))
    assert scenes["test"][0]["instance_id"] == "two" and scenes["test"][0]["num_registered"] == 9


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_validates_the_metadata(own: Path, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="the package mlcroissant is not installed")
    export_scenes(own, own, "croissant")
    dataset = mlcroissant.Dataset(jsonld=own / "croissant.json")
    assert not dataset.metadata.issues.errors
    records = list(dataset.records(record_set="frames"))
    assert len(records) == 20
    first = {name.split("/")[-1]: value for name, value in records[0].items()}
    path = first["image_path"].decode() if isinstance(first["image_path"], bytes) else first["image_path"]
    assert (own / path).is_file() and first["width"] == fakes.WIDTH
    assert len(list(dataset.records(record_set="scenes"))) == 2


def test_croissant_without_the_package(own: Path, tmp_path: Path) -> None:
    """Its tables are described column by column, with their hashes."""
    import hashlib

    from walkaround.dataset.database import described_columns

    export_scenes(own, tmp_path / "out", "croissant")
    value = json.loads((tmp_path / "out" / "croissant.json").read_text())
    for item in value["distribution"][:2]:
        data = (tmp_path / "out" / item["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == item["sha256"]
    for table in value["recordSet"]:
        path = tmp_path / "out" / f"{table['name']}.parquet"
        assert described_columns(path, FormatError) == [field["name"] for field in table["field"]]


# --- imports ---


def test_an_import_keeps_no_names_and_no_metadata(test_data: Path, tmp_path: Path) -> None:
    source = skull(test_data, tmp_path / "Oma")
    photo = source / "01.jpg"
    data = photo.read_bytes()
    marked = data[:2] + b"\xff\xe1\x00\x15Exif\0\0Oma Mueller!!" + b"\xff\xfe\x00\x08secret" + data[2:]
    photo.write_bytes(marked + b"trailer of a phone")
    record = import_sequence(source, tmp_path / "root", build=BuildOptions(class_label="skull"))
    folder = tmp_path / "root" / "skull" / record.instance_id
    stored = (folder / "images" / "001.jpg").read_bytes()
    assert b"Mueller" not in stored and b"secret" not in stored and b"trailer" not in stored
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(stored, np.uint8), 1), cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    )
    text = (folder / "sequence.json").read_text()
    assert "Oma" not in text and '"08.jpg"' not in text and str(tmp_path) not in text
    again = import_sequence(source, tmp_path / "root", build=BuildOptions(class_label="skull"))
    assert again == record
    assert Dataset(tmp_path / "root").keys() == [f"skull/{record.instance_id}"]


def test_building_goes_on_from_given_cameras(
    fake_stages: ModuleType, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walkaround.io.colmap.read_sparse_model", read_sparse_model)
    source = bunny(test_data, tmp_path / "bunny")
    root, build = tmp_path / "root", BuildOptions(class_label="bunny")
    first = import_sequence(source, root, build=build)
    assert not fake_stages.calls and "depth" not in first.stages
    record = import_sequence(source, root, build=build, only_given=False)
    assert fake_stages.calls == ["depth", "cloud"]  # the masks are given
    assert list(record.stages) == ["capture", "frames", "cameras", "depth", "masks", "cloud", "quality"]
    assert record.status == "accepted" and record.instance_id == first.instance_id
    fake_stages.calls.clear()
    import_sequence(source, root, build=build, only_given=False)
    assert not fake_stages.calls
    import_sequence(source, root, build=build, only_given=False, options=ImportOptions(masks=False))
    assert "masks" in fake_stages.calls
    with pytest.raises(UsageError, match="--world normalise"):
        import_sequence(source, root, build=build, only_given=False, options=ImportOptions(world="keep"))


TRANSFORMS = {"fl_x": 60.0, "frames": [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frames": []}, "no list of frames"),
        ({"frames": ["x"]}, "frame 0 is no object"),
        ({"fl_x": None}, "expected a number"),
        ({"fl_x": -1}, "positive"),
        ({"fl_x": 1e999}, "positive"),
        ({"camera_model": "OPENCV_FISHEYE"}, "Undistort"),
        ({"k3": 0.1}, "k3 is not 0"),
        ({"w": 63}, "the image has 64x48"),
        ({"applied_transform": [[1, 0], [0, 1]]}, "expected"),
        (
            {"frames": [{"file_path": "../../etc/passwd", "transform_matrix": np.eye(4).tolist()}]},
            "leads out",
        ),
        ({"frames": [{"file_path": "b.png", "transform_matrix": np.eye(4).tolist()}]}, "cannot be read"),
        (
            {"frames": [{"file_path": "a.png", "transform_matrix": np.diag([1.0, 1, -1, 1]).tolist()}]},
            "mirror",
        ),
        ({"frames": [{"file_path": "a.png", "transform_matrix": (2 * np.eye(4)).tolist()}]}, "no rotation"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": [[1], 2]}]}, "not made of numbers"),
        ({"frames": [{"file_path": "\ud800.png"}]}, "half a character"),
        (
            {
                "frames": [
                    {"file_path": "a.png", "transform_matrix": [*np.eye(4)[:2].tolist(), [0, 0, 1, 1e200]]}
                ]
            },
            "farther",
        ),
        ({"frames": TRANSFORMS["frames"] * 2}, "two cameras"),  # type: ignore[operator]
    ],
)
def test_hostile_transforms(tmp_path: Path, change: dict[str, object], match: str) -> None:
    tiny_image(tmp_path / "a.png", (64, 48))
    (tmp_path / "transforms.json").write_text(json.dumps({**TRANSFORMS, **change}))
    with pytest.raises(FormatError, match=match):
        read_given(tmp_path, "auto", ImportOptions())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a.png", "..", "OPENCV", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["frames", "file_path", "transform_matrix", "image", "K", "camera", "model", "params", "fl_x",
             "cam_from_world", "cam_from_world_wxyz", "t_00", "transform", "intrinsics", "fx", "width"]
        ), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@pytest.mark.parametrize("name", ["transforms.json", "cameras.json", "a.json"])
@given(value=JSON, framed=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused(tmp_path: Path, name: str, value: object, framed: bool) -> None:
    tiny_image(tmp_path / "a.png", (64, 48))
    (tmp_path / name).write_text(json.dumps({"frames": [value], "fl_x": 50, "t_00": 1} if framed else value))
    with contextlib.suppress(FormatError, InputError):
        assert read_given(tmp_path, "auto", ImportOptions()).views


@pytest.mark.parametrize("shifts", [[0], [0, 0, 0], [0, 1e11, 2e11], [-1, 0, 1]])
def test_odd_walks_are_results(tmp_path: Path, shifts: list[float]) -> None:
    """One camera, one place, far away, all in a line: a record, with reasons or accepted; all is written."""
    frames = []
    for number, shift in enumerate(shifts):
        tiny_image(tmp_path / "in" / f"{number}.png", (64, 48), number)
        matrix = np.eye(4)
        matrix[0, 3] = shift
        frames.append({"file_path": f"{number}.png", "transform_matrix": matrix.tolist()})
    (tmp_path / "in" / "transforms.json").write_text(json.dumps({"fl_x": 60.0, "frames": frames}))
    record = import_sequence(tmp_path / "in", tmp_path / "root")
    assert record.status in ("accepted", "rejected") and "cameras" in record.stages
    assert ("narrow_arc" in record.reasons) == (record.status == "rejected")
    scene = scene_at(tmp_path / "root" / "unlabelled" / record.instance_id)
    assert len(scene.views) == len(shifts) and record.stages["cameras"].notes["world"] == "normalise"


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_given(tmp_path / "absent", "auto", ImportOptions())
    with pytest.raises(InputError, match="none of the formats"):
        read_given(tmp_path, "auto", ImportOptions())
    for name in IMPORTERS:
        with pytest.raises(FormatError):
            read_given(tmp_path, name, ImportOptions())
    tiny_image(tmp_path / "a.png", (64, 48))
    (tmp_path / "a.txt").write_text("1 0 0 0  0 1 0 0  0 0 0 1")  # a camera infinitely far away
    with pytest.raises(FormatError, match="singular"):
        read_given(tmp_path, "auto", ImportOptions())
    (tmp_path / "a.txt").write_text("60 9 32 0  0 60 24 0  0 0 1 1")
    with pytest.raises(FormatError, match="skew"):
        read_given(tmp_path, "auto", ImportOptions())


# --- command line ---


def test_command_line(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(own), "--to", "colmap", "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exported"] == ["mug/one", "mug/two"]
    source = str(tmp_path / "out" / "mug" / "one")
    arguments = [
        "import",
        source,
        "--from",
        "colmap",
        "--out",
        str(tmp_path / "root"),
        "--class-label",
        "mug",
    ]
    assert main([*arguments, "--world", "keep"]) == 0
    assert "9 of 9 images with a camera" in capsys.readouterr().err
    assert len(Dataset(tmp_path / "root")) == 1
    assert main(["export", str(tmp_path / "absent"), "--to", "colmap", "--out", str(tmp_path / "z")]) == 2
    assert main(["import", str(tmp_path / "absent"), "--out", str(tmp_path / "root")]) == 2


def test_the_command_line_knows_the_same_formats() -> None:
    import typing

    from walkaround.commands.export import Format
    from walkaround.commands.import_ import ImportCommand

    assert set(typing.get_args(Format)) == set(EXPORTERS)
    hint = typing.get_type_hints(ImportCommand)["from_"]
    assert set(typing.get_args(hint)) == {"auto", *IMPORTERS}
