"""Views as tensors: what a crop does to a camera, which samples come, in what order, after any restart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests import fakes
from tests.released import write_mvimgnet2, write_scene
from tests.test_shards import build_own
from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards import ShardOptions, write_shards
from walkaround.dataset.torch.choose import angles_deg, choose_views
from walkaround.dataset.torch.crop import Crop, cut, cut_nearest, cut_undistorted, place_crop, undistorted_box
from walkaround.dataset.torch.options import ViewOptions
from walkaround.errors import FormatError, UsageError
from walkaround.geometry import normalised_rays, project
from walkaround.types import Camera

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'walkaround[torch]'")

from walkaround.dataset.torch import (  # noqa: E402
    SceneSampler,
    Skipped,
    ViewDataset,
    ViewStream,
    collate,
)

KEYS = tuple(f"{label}/a{number}" for label in ("3", "17") for number in range(6))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep indexes out of the user's cache."""
    monkeypatch.setenv("WALKAROUND_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes in folders, and beside them in shards."""
    root = tmp_path_factory.mktemp("loading") / "root"
    write_mvimgnet2(root, KEYS)
    for number, key in enumerate(KEYS):  # large enough for six shards of 1 MB
        note = np.random.default_rng(number).bytes(400_000)
        (root / key / "images" / "note.txt").write_bytes(note)
    index = root.parent / "index.parquet"
    write_shards(Dataset(root, index=index), root.parent / "shards", options=ShardOptions(size_mb=1))
    return root


def shards_of(scenes: Path) -> Path:
    return scenes.parent / "shards"


# --- a crop and its camera ---


def positions(width: int, height: int) -> Any:
    """Return an image whose values are the positions of its pixels' centres."""
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([u, v], axis=-1).astype(np.float32)


def value_at(image: Any, pixel: Any) -> Any:
    """Interpolate an image at a position; the centre of its first pixel is (0.5, 0.5)."""
    (x, fx), (y, fy) = ((int(c - 0.5), (c - 0.5) % 1) for c in pixel)
    corners = image[y : y + 2, x : x + 2].astype(np.float64)
    return np.einsum("j,i,jic->c", [1 - fy, fy], [1 - fx, fx], corners)


CAMERAS = st.builds(
    lambda model, f, cx, cy, k1, k2, p1, p2: Camera(
        model=model,
        width=400,
        height=300,
        params={
            "SIMPLE_PINHOLE": (f, cx, cy),
            "PINHOLE": (f, f * 1.1, cx, cy),
            "SIMPLE_RADIAL": (f, cx, cy, k1),
            "OPENCV": (f, f * 0.9, cx, cy, k1, k2, p1, p2),
        }[model],
    ),
    st.sampled_from(["SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "OPENCV"]),
    st.floats(300, 600),
    st.floats(150, 250),
    st.floats(120, 180),
    st.floats(-0.1, 0.1),
    st.floats(-0.02, 0.02),
    st.floats(-0.003, 0.003),
    st.floats(-0.003, 0.003),
)


@settings(max_examples=150, deadline=None)
@given(
    camera=CAMERAS,
    crop_kind=st.sampled_from(["object", "centre", "whole"]),
    size_px=st.integers(24, 160),
    box=st.tuples(st.integers(0, 250), st.integers(0, 150), st.integers(30, 150), st.integers(30, 150)),
    jitter=st.floats(0, 0.3),
    undo=st.booleans(),
    point=st.tuples(st.floats(-0.25, 0.25), st.floats(-0.2, 0.2), st.floats(1, 4)),
)
def test_a_point_lands_on_the_same_content(
    camera: Camera,
    crop_kind: Any,
    size_px: int,
    box: tuple[int, int, int, int],
    jitter: float,
    undo: bool,
    point: tuple[float, float, float],
) -> None:
    options = ViewOptions(crop=crop_kind, size_px=size_px, jitter=jitter)
    wanted = (undistorted_box(camera, box) if undo else box) if crop_kind == "object" else None
    crop = place_crop((400, 300), wanted, options, np.random.default_rng(7), can_reduce=False)
    image = positions(400, 300)
    result = cut_undistorted(image, camera, crop, 1) if undo else cut(image, crop, 1)
    K = crop.intrinsics(camera.K)
    distortion = np.zeros(4) if undo else camera.distortion
    params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2], *distortion)
    mine = Camera(model="OPENCV", width=size_px, height=size_px, params=tuple(map(float, params)))
    in_cam = np.array([point[0] * point[2], point[1] * point[2], point[2]])
    there, here = project(camera, in_cam), project(mine, in_cam)
    step = 1 / crop.scale  # a pixel of the result, in pixels of the image
    assume(np.all(here > 1.5) and np.all(here < size_px - 1.5))
    assume(np.all(there > 2 * step + 1) and np.all(there < np.array([400, 300]) - 2 * step - 1))
    np.testing.assert_allclose(value_at(result, here), there, atol=0.02 + 0.05 * step)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("size_wh", [(1000, 760), (1003, 757)])
def test_jpegs_decoded_smaller_show_the_same(reduction: int, size_wh: tuple[int, int]) -> None:
    """Half a pixel of the smaller image is 4 pixels at an eighth: a wrong convention shows at once."""
    from walkaround.dataset.torch.view import _decode

    period = 200
    wave = 127 + 100 * np.cos(positions(*size_wh)[..., 0] * 2 * np.pi / period)
    data = bytes(cv2.imencode(".jpg", wave.round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])[1])
    pixels = _decode(data, reduction, "wave.jpg")
    assert pixels.shape == (-(-size_wh[1] // reduction), -(-size_wh[0] // reduction), 3)
    for left, side in ((96, 512), (-64, 512), (size_wh[0] // 8 * 8 - 448, 512)):
        crop = Crop(left=left, top=128, side=side, reduction=reduction, size_px=64)
        found = cut(pixels, crop, reduction)[..., 0].mean(axis=0)
        at = left + (np.arange(64) + 0.5) * side / 64
        inside = (at > 16) & (at < size_wh[0] - 16)
        angle = at[inside] * 2 * np.pi / period
        waves = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
        cosine, sine, _ = np.linalg.lstsq(waves, found[inside])[0]
        assert abs(np.arctan2(sine, cosine) * period / (2 * np.pi)) < 0.1
        assert not found[(at < -8) | (at > size_wh[0] + 16)].any()


def test_a_jpeg_is_decoded_as_small_as_the_result_allows() -> None:
    options = ViewOptions(size_px=100, crop="centre")
    rng = np.random.default_rng(0)
    for side, expected in ((99, 1), (199, 1), (200, 2), (399, 2), (400, 4), (800, 8), (5000, 8)):
        crop = place_crop((side, side), None, options, rng, can_reduce=True)
        assert crop.reduction == expected and crop.side // crop.reduction >= min(100, side)
        assert all(value % crop.reduction == 0 for value in (crop.left, crop.top, crop.side))
        assert place_crop((side, side), None, options, rng, can_reduce=False).reduction == 1


def test_values_that_must_not_be_averaged() -> None:
    values = np.arange(1, 101, dtype=np.uint16).reshape(10, 10)
    crop = Crop(left=-2, top=3, side=8, reduction=1, size_px=4)
    expected = np.zeros((4, 4), np.uint16)
    for row in range(4):
        for column in range(4):
            x, y = -2 + int((column + 0.5) * 2), 3 + int((row + 0.5) * 2)
            if 0 <= x < 10 and 0 <= y < 10:
                expected[row, column] = values[y, x]
    np.testing.assert_array_equal(cut_nearest(values, crop), expected)
    camera = Camera(model="SIMPLE_RADIAL", width=10, height=10, params=(20.0, 5.0, 5.0, 1e-9))
    near = cut_undistorted(
        values, camera, Crop(left=1, top=1, side=8, reduction=1, size_px=8), 1, nearest=True
    )
    np.testing.assert_array_equal(near, values[1:9, 1:9])


def test_a_square_beyond_the_image_is_black() -> None:
    image = np.full((20, 30, 3), 9, np.uint8)
    far = cut(image, Crop(left=100, top=0, side=10, reduction=1, size_px=8), 1)
    assert far.shape == (8, 8, 3) and not far.any()
    part = cut(image, Crop(left=-5, top=-5, side=10, reduction=1, size_px=10), 1)
    assert not part[:5].any() and not part[:, :5].any() and (part[5:, 5:] == 9).all()


# --- which views ---


def test_choices_of_views() -> None:
    poses = np.stack([view.cam_from_world for view in fakes.make_model(fakes.make_frames()).views])
    rng = np.random.default_rng(1)
    for kind in ("random", "even", "nearest", "pairs"):
        options = ViewOptions(choose=kind, num_views=4, pair_angle_deg=(20, 100))
        for _ in range(20):
            chosen = choose_views(poses, options, rng)
            assert len(set(chosen.tolist())) == 4 and chosen.min() >= 0 and chosen.max() < 9
            angles = angles_deg(poses, int(chosen[0]))
            if kind == "nearest":
                assert angles[chosen].tolist() == sorted(angles)[:4]
            elif kind == "pairs":
                assert np.all((angles[chosen[1:]] >= 20) & (angles[chosen[1:]] <= 100))
            elif kind == "even":
                assert set(np.diff(np.sort(chosen))) <= {2, 3}
    with pytest.raises(FormatError, match="9 views, 10 are wanted"):
        choose_views(poses, ViewOptions(num_views=10), rng)
    with pytest.raises(FormatError, match="views differ from view"):
        choose_views(poses, ViewOptions(num_views=4, choose="pairs", pair_angle_deg=(1, 2)), rng)
    assert angles_deg(poses, 0)[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_views": 0},
        {"choose": "pairs", "num_views": 1},
        {"pair_angle_deg": (50.0, 20.0)},
        {"size_px": 4},
        {"margin": -1.0},
        {"jitter": 1.0},
        {"seed": -1},
    ],
)
def test_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ViewOptions(**wrong)


# --- samples ---


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name], name


def test_folders_and_shards_give_the_same(scenes: Path) -> None:
    for crop in ("object", "whole"):
        options = ViewOptions(num_views=3, size_px=40, crop=crop, masks=True, rays=True, jitter=0.1)
        folders, shards = (ViewDataset(path, options=options) for path in (scenes, shards_of(scenes)))
        assert len(folders) == len(shards) == 12 and folders.classes == shards.classes == ("3", "17")
        for number in (0, 7):
            same(folders[number], shards[number])
            same(folders[(2, number, 5)], shards[(2, number, 5)])
        assert folders[0]["images"] != folders[(1, 0, 0)]["images"]


def test_what_is_in_a_sample(fake_stages: ModuleType, tmp_path: Path) -> None:
    build_own(tmp_path / "root", tmp_path, ("one",))
    options = ViewOptions(num_views=3, size_px=48, masks=True, depth=True, rays=True)
    dataset = ViewDataset(tmp_path / "root", options=options)
    sample = dataset[0]
    shapes = {name: tuple(v.shape) for name, v in sample.items() if isinstance(v, torch.Tensor)}
    assert shapes == {
        "view_index": (3,), "image_srgb": (3, 3, 48, 48), "K": (3, 3, 3), "distortion": (3, 4),
        "cam_from_world": (3, 4, 4), "cam_from_first": (3, 4, 4), "crop_xywh": (3, 4),
        "fg_probability": (3, 1, 48, 48), "depth": (3, 1, 48, 48), "depth_valid": (3, 1, 48, 48),
        "ray_origins_in_world": (3, 3), "ray_directions_in_world": (3, 3, 48, 48),
    }  # fmt: skip
    assert sample["image_srgb"].dtype == torch.uint8 and sample["depth_valid"].dtype == torch.bool
    assert (sample["key"], sample["class_label"], sample["class_index"]) == ("mug/one", "mug", 0)
    assert torch.allclose(sample["cam_from_first"][0], torch.eye(4), atol=1e-6)
    first = sample["cam_from_first"] @ sample["cam_from_world"][:1]
    assert torch.allclose(first, sample["cam_from_world"], atol=1e-5)
    mask = sample["fg_probability"]
    assert mask.min() == 0 and mask.max() == 1
    rows = torch.nonzero(mask[0, 0] > 0.5)  # a margin of a tenth of the mask's length on each side
    assert rows.min() == pytest.approx(48 * 0.1 / 1.2, abs=2)
    scene = Dataset(tmp_path / "root")[0]
    depth, valid = scene.read_depth(sample["images"][0]) or (None, None)
    assert depth is not None and valid is not None
    left, top, side, _ = sample["crop_xywh"][0].tolist()
    x, y = left + int(24.5 * side / 48), top + int(30.5 * side / 48)
    assert sample["depth"][0, 0, 30, 24] == pytest.approx(depth[y, x]) and valid[y, x]
    image = scene.read_image(sample["images"][0])
    colour = sample["image_srgb"][0, :, 24, 24].numpy().astype(int)
    assert np.abs(colour - image[y - 4, x]).max() < 12  # red is first, as in the reader


@pytest.mark.parametrize("distortion", ["undistort", "keep"])
def test_rays_go_through_their_pixels(tmp_path: Path, distortion: Any) -> None:
    write_distorted(tmp_path / "root")
    options = ViewOptions(num_views=2, size_px=32, rays=True, normalise=True, distortion=distortion)
    sample = ViewDataset(tmp_path / "root", options=options)[0]
    for view in range(2):
        K, bent = sample["K"][view].double().numpy(), sample["distortion"][view].double().numpy()
        assert bool(bent.any()) == (distortion == "keep")
        params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2], *bent)
        camera = Camera(model="OPENCV", width=32, height=32, params=tuple(map(float, params)))
        rays = sample["ray_directions_in_world"][view].double().numpy().transpose(1, 2, 0)
        assert np.allclose(np.linalg.norm(rays, axis=-1), 1)
        points = sample["ray_origins_in_world"][view].double().numpy() + 1.7 * rays
        pose = sample["cam_from_world"][view].double().numpy()
        pixels = project(camera, points @ pose[:3, :3].T + pose[:3, 3])
        np.testing.assert_allclose(pixels, positions(32, 32), atol=2e-3)


def write_distorted(root: Path) -> None:
    """Write one scene whose lens bends a lot."""
    import dataclasses

    from walkaround.io.colmap import write_sparse_model

    write_scene(root / "0" / "aa", masks=root / "0" / "aa" / "masks")
    model = fakes.make_model(fakes.make_frames())
    camera = Camera(
        model="OPENCV", width=96, height=72, params=(100.0, 102.0, 47.0, 35.0, 0.15, -0.05, 1e-3, -2e-3)
    )
    views = tuple(dataclasses.replace(view, camera=camera) for view in model.views)
    write_sparse_model(root / "0" / "aa" / "sparse" / "0", dataclasses.replace(model, views=views))


def test_a_bent_lens_is_undone_kept_or_refused(tmp_path: Path) -> None:
    write_distorted(tmp_path / "root")
    undone, kept, refused = (
        ViewDataset(tmp_path / "root", options=ViewOptions(num_views=1, size_px=40, distortion=how))[0]
        for how in ("undistort", "keep", "refuse")
    )
    assert not undone["distortion"].any() and kept["distortion"].any()
    assert not torch.equal(undone["image_srgb"], kept["image_srgb"])
    assert isinstance(refused, Skipped) and "distorted" in refused.reason


def test_a_normalised_world(fake_stages: ModuleType, tmp_path: Path) -> None:
    build_own(tmp_path / "root", tmp_path, ("one",))
    options = {"num_views": 3, "size_px": 32, "depth": True, "crop": "centre"}
    plain = ViewDataset(tmp_path / "root", options=ViewOptions(**options))[0]
    moved = ViewDataset(tmp_path / "root", options=ViewOptions(**options, normalise=True))[0]
    change = moved["normalised_from_world"].double().numpy()

    def points(sample: Any) -> Any:
        K, depth = sample["K"][1].double().numpy(), sample["depth"][1, 0].double().numpy()
        camera = Camera(model="PINHOLE", width=32, height=32, params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
        rays = np.concatenate([normalised_rays(camera), np.ones((32, 32, 1))], axis=-1) * depth[..., None]
        world_from_cam = np.linalg.inv(sample["cam_from_world"][1].double().numpy())
        return (rays @ world_from_cam[:3, :3].T + world_from_cam[:3, 3])[depth > 0]

    expected = points(plain) @ change[:3, :3].T + change[:3, 3]
    assert len(expected) > 100
    np.testing.assert_allclose(points(moved), expected, atol=1e-5)
    poses = moved["cam_from_world"].double().numpy()
    np.testing.assert_allclose(
        poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.stack([np.eye(3)] * 3), atol=1e-6
    )
    centres = -np.einsum("vji,vj->vi", poses[:, :3, :3], poses[:, :3, 3])
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)  # the fakes walk on a circle


# --- what is missing ---


def test_scenes_that_lack_something(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_scene(root / "0" / "whole", masks=root / "0" / "whole" / "masks")
    write_scene(root / "0" / "maskless")
    write_scene(root / "0" / "poseless", cameras=False, masks=root / "0" / "poseless" / "masks")
    write_scene(root / "0" / "broken", masks=root / "0" / "broken" / "masks")
    for path in (root / "0" / "broken" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    write_scene(root / "0" / "empty", masks=root / "0" / "empty" / "masks")
    for path in (root / "0" / "empty" / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((72, 96), np.uint8))
    write_shards(Dataset(root), tmp_path / "shards")
    for data, left_out in ((root, 2), (tmp_path / "shards", 3)):
        dataset = ViewDataset(data, options=ViewOptions(num_views=2, size_px=32))
        assert dataset.num_left_out == left_out
        batch = collate([dataset[number] for number in range(len(dataset))])
        assert batch["key"] == ["0/whole"] and batch["image_srgb"].shape == (1, 2, 3, 32, 32)
        reasons = dict(batch["skipped"])
        assert "not a readable image" in reasons["0/broken"] and "progress" in batch
        assert ("mask" in reasons["0/empty"]) if left_out == 2 else ("0/empty" not in reasons)
        strict = ViewDataset(data, options=ViewOptions(num_views=2, size_px=32, missing="error"))
        assert strict.num_left_out == 0 and len(strict) == 5
        messages = []
        for number in range(5):
            try:
                strict[number]
            except FormatError as error:
                messages.append(str(error))
        assert len(messages) == 4 and any("0/poseless: it has 0 views, 2 are wanted" in m for m in messages)
        stream = ViewStream(data, options=ViewOptions(num_views=2, size_px=32), shuffle=False)
        assert [sample["key"] for sample in stream] == ["0/whole"]
    assert collate([dataset[0]])["key"] == []
    with pytest.raises(IndexError, match="none with the number"):
        dataset[99]


def test_an_image_of_another_size_than_its_camera(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_scene(root / "0" / "aa", masks=root / "0" / "aa" / "masks")
    options = ViewOptions(num_views=9, size_px=32, missing="error", choose="nearest")
    before = ViewDataset(root, options=options)[0]
    for path in (root / "0" / "aa" / "images").glob("*.jpg"):
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (192, 144)))
    after = ViewDataset(root, options=options)[0]
    assert torch.allclose(before["K"][:, :2, 2], after["K"][:, :2, 2], atol=1.0)
    assert torch.allclose(before["K"][:, 0, 0], after["K"][:, 0, 0], rtol=0.05)
    cv2.imwrite(str(root / "0" / "aa" / "images" / "005.jpg"), np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(FormatError, match=r"0/aa: images/005\.jpg has 96 x 96 pixels, its camera 96 x 72"):
        ViewDataset(root, options=options)[0]


# --- order, workers, ranks, restarts ---


def loaded(dataset: Any, **settings: Any) -> Any:
    timeout = 60 if settings["num_workers"] else 0  # a worker that hangs is an error, not a wait
    return torch.utils.data.DataLoader(dataset, collate_fn=collate, timeout=timeout, **settings)


def test_every_scene_once_over_ranks(scenes: Path) -> None:
    for world_size in (1, 2, 3, 5):
        orders = [list(SceneSampler(17, rank=r, world_size=world_size)) for r in range(world_size)]
        assert sorted(number for order in orders for _, number, _ in order) == list(range(17))
        assert max(map(len, orders)) - min(map(len, orders)) <= 1
        even = [SceneSampler(17, rank=r, world_size=world_size, uneven="drop") for r in range(world_size)]
        assert {len(list(sampler)) for sampler in even} == {len(even[0])} == {17 // world_size}
    one = SceneSampler(17)
    first = [number for _, number, _ in one]
    one.set_epoch(1)
    assert [number for _, number, _ in one] != first
    assert [number for _, number, _ in SceneSampler(5, shuffle=False)] == list(range(5))
    with pytest.raises(UsageError, match="none of 2 ranks"):
        SceneSampler(5, rank=2, world_size=2)


def test_workers_change_nothing_and_a_restart_goes_on(scenes: Path) -> None:
    dataset = ViewDataset(shards_of(scenes), options=ViewOptions(num_views=2, size_px=24, jitter=0.1))
    expected = {}
    for workers in (0, 2):
        sampler = SceneSampler(len(dataset), seed=4)
        sampler.set_epoch(3)
        expected[workers] = list(loaded(dataset, sampler=sampler, batch_size=2, num_workers=workers))
    for one, other in zip(expected[0], expected[2], strict=True):
        same(one, other)
    sampler = SceneSampler(len(dataset), seed=4)
    sampler.set_epoch(3)
    for done, batch in enumerate(loaded(dataset, sampler=sampler, batch_size=2, num_workers=2)):
        sampler.mark(batch)
        if done == 2:
            break
    state = sampler.state_dict()
    for workers in (0, 2):
        again = SceneSampler(len(dataset), seed=4)
        again.load_state_dict(state)
        again.set_epoch(3)
        assert len(again) == 6 and again.state_dict() == state
        rest = list(loaded(dataset, sampler=again, batch_size=2, num_workers=workers))
        for one, other in zip(rest, expected[0][3:], strict=True):
            same(one, other)
    again.set_epoch(4)
    assert len(again) == 12
    again.load_state_dict({**state, "reached": 12})  # the end of epoch 3
    assert again.epoch == 4 and len(again) == 12
    with pytest.raises(UsageError, match="its seed is 4"):
        SceneSampler(len(dataset), seed=5).load_state_dict(state)


def keys_of(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


@pytest.mark.parametrize("kind", ["shards", "folders"])
@pytest.mark.parametrize("world_size, workers", [(1, 0), (1, 2), (3, 2)])
def test_a_stream_gives_every_scene_once(scenes: Path, kind: str, world_size: int, workers: int) -> None:
    data = shards_of(scenes) if kind == "shards" else scenes
    options = ViewOptions(num_views=1, size_px=16)
    found, fewest = [], []
    for rank in range(world_size):
        stream = ViewStream(data, options=options, rank=rank, world_size=world_size, buffer=3)
        found += keys_of(loaded(stream, batch_size=2, num_workers=workers))
        drop = ViewStream(data, options=options, rank=rank, world_size=world_size, uneven="drop")
        fewest.append(len(keys_of(loaded(drop, batch_size=1, num_workers=workers))))
    assert sorted(found) == sorted(KEYS)
    assert len(set(fewest)) == 1 and fewest[0] > 0


def test_a_stream_goes_on_after_a_restart(scenes: Path) -> None:
    def stream(seed: int = 2) -> ViewStream:
        return ViewStream(
            shards_of(scenes), options=ViewOptions(num_views=1, size_px=16, seed=seed), buffer=4
        )

    for workers in (0, 2):
        whole = stream()
        whole.set_epoch(5)
        expected = list(loaded(whole, batch_size=2, num_workers=workers))
        for stop in range(len(expected)):
            cut_off = stream()
            cut_off.set_epoch(5)
            batches = iter(loaded(cut_off, batch_size=2, num_workers=workers))
            for _ in range(stop + 1):
                cut_off.mark(next(batches))
            del batches
            again = stream()
            again.load_state_dict(cut_off.state_dict())
            again.set_epoch(5)
            rest = list(loaded(again, batch_size=2, num_workers=workers))
            assert keys_of(rest) == keys_of(expected[stop + 1 :])
            if workers:
                break  # starting processes takes its time; once is enough
    with pytest.raises(UsageError, match="of 2 workers, here are 1"):
        next(iter(again))
    with pytest.raises(UsageError, match="its seed is 2"):
        stream(seed=3).load_state_dict(again.state_dict())


def test_epochs_reach_workers_that_persist(scenes: Path) -> None:
    stream = ViewStream(shards_of(scenes), options=ViewOptions(num_views=1, size_px=16), buffer=4)
    loader = loaded(stream, batch_size=4, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append(keys_of(loader))
    assert orders[0] == orders[2] != orders[1] and sorted(orders[1]) == sorted(KEYS)
    del loader


def test_without_torch_it_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import walkaround.dataset.torch as loading\n"
        "loading.ViewOptions, loading.SceneSampler\n"
        "try: loading.ViewStream\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UsageError Streams need PyTorch. Run: pip install")


def test_nothing_heavy_before_it_is_used() -> None:
    code = "import walkaround.dataset.torch, walkaround.dataset.shards, sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "cv2", "duckdb", "numpy"} & set(done.stdout.split())
