"""Masks: the support plane, the carved solid and the written masks on exact depth."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.test_depth import CAMERA, RADIUS, cast, orbit, texture
from walkaround.errors import InputError, SequenceRejected, UsageError
from walkaround.geometry import normalised_rays
from walkaround.io.depth import read_grey, write_depth
from walkaround.masks import MasksOptions, write_masks
from walkaround.masks.flow import carry_mask
from walkaround.masks.onnx import OnnxModel
from walkaround.masks.segment import iou, shared_radius
from walkaround.masks.silhouettes import ELSEWHERE, ON_SOLID, tell_apart
from walkaround.masks.solid import (
    MaskView,
    Solid,
    _vote,
    camera_arrays,
    find_object,
    find_void,
    support_plane,
)
from walkaround.types import BoolArray, ByteArray, FloatArray, Frame, SparseModel, View

AZIMUTHS = [0.0, 45, 90, 135, 180, 225, 270, 315]
OPTIONS = MasksOptions(grid=72)


def picture(view: View, **what: bool) -> ByteArray:
    """Return the image (H, W, 3): a reddish sphere on a grey table, both textured."""
    found = cast(view, **what)
    grey = np.where(found.depth > 0, texture(found.points), 30)[..., None]
    tint = np.where(found.sphere[..., None], np.array([0.3, 0.4, 1.0]), 0.5)
    return np.clip(grey * tint, 0, 255).astype(np.uint8)


def write_scene(folder: Path, views: list[View], **what: bool) -> None:
    """Write ``images/`` and exact ``depth/``."""
    (folder / "images").mkdir()
    for view in views:
        cv2.imwrite(str(folder / "images" / view.frame.image), picture(view, **what))
        depth = cast(view, **what).depth.astype(np.float32)
        write_depth(folder / "depth" / view.frame.image, depth, depth > 0)


def model_of(views: list[View]) -> SparseModel:
    return SparseModel(
        views=tuple(views), points_in_world=np.zeros((0, 3)), colors=np.zeros((0, 3), np.uint8),
        errors_px=np.zeros(0), observations=(np.zeros(0, np.int64),) * len(views),
    )  # fmt: skip


def exact_views(views: list[View], **what: bool) -> list[MaskView]:
    result = []
    for view in views:
        depth = cast(view, **what).depth.astype(np.float32)
        result.append(
            MaskView(view=view, image_srgb=picture(view, **what), depth=depth, void=find_void(depth > 0))
        )
    return result


# --- the plane, the void, the solid ---


def box_depth(view: View, low: FloatArray, high: FloatArray, table: float) -> FloatArray:
    """Return the depth of a box that stands on the level ``z = table``."""
    rays = normalised_rays(view.camera)
    world = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) @ view.cam_from_world[:3, :3]
    with np.errstate(divide="ignore"):
        a, b = (low - view.centre) / world, (high - view.centre) / world
        enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
        floor = (table - view.centre[2]) / world[..., 2]
    floor = np.where(floor > 0, floor, 0)
    return np.where((enter < leave) & (enter > 0), enter, floor)


def test_support_plane_is_the_table_and_not_the_lid() -> None:
    low, high = np.array([-0.24, -0.2, -0.1]), np.array([0.24, 0.2, 0.1])
    views = []
    for view in orbit(AZIMUTHS, elevation_deg=50):
        depth = box_depth(view, low, high, -0.1).astype(np.float32)
        image = np.zeros((*depth.shape, 3), np.uint8)
        views.append(MaskView(view=view, image_srgb=image, depth=depth, void=find_void(depth > 0)))
    # the trap is a real one: the lid is flat, higher than the table and a quarter of all that shows
    on_lid = [np.abs(v.world_points()[0][:, 2] - 0.1) < 1e-3 for v in views]
    assert np.mean(np.concatenate(on_lid)) > 0.2
    plane = support_plane(views, 0.5)
    assert plane is not None
    np.testing.assert_allclose(plane, [0, 0, 1, 0.1], atol=5e-3)
    solid = find_object(views, 48, 0.5)
    assert solid is not None
    index = np.argwhere(solid.occupied)
    reach = 0.08  # eight views leave room beside it that seven of them cannot look into
    np.testing.assert_allclose(index.min(axis=0) * solid.voxel + solid.origin, low, atol=reach)
    np.testing.assert_allclose(index.max(axis=0) * solid.voxel + solid.origin, high, atol=reach)


def test_no_plane_without_a_table() -> None:
    assert support_plane(exact_views(orbit([0, 90, 180, 270]), sphere=False, table=False), 0.5) is None


def test_void_is_large_or_touches_the_border() -> None:
    valid = np.ones((100, 120), np.bool_)
    valid[:, 100:] = False  # background
    valid[40:50, 40:50] = False  # a hole in the object
    void = find_void(valid)
    assert void[:, 104:].all()
    assert not void[:, :98].any()
    valid[20:80, 10:90] = False  # a dark backdrop all around the object
    assert find_void(valid)[30:70, 20:80].all()
    assert not find_void(np.ones((50, 50), np.bool_)).any()
    assert find_void(np.zeros((50, 50), np.bool_)).all()


@pytest.mark.parametrize("table", [True, False])
def test_solid_of_a_sphere(table: bool) -> None:
    views = exact_views(orbit(AZIMUTHS), table=table)
    assert shared_radius(views) == pytest.approx(1.05 * 0.5 * 240 / 250, abs=0.01)
    solid = find_object(views, 60, shared_radius(views))
    assert solid is not None
    assert (solid.plane is not None) == table
    axes = [solid.origin[a] + solid.voxel * np.arange(solid.occupied.shape[a]) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    radius = np.linalg.norm(grid, axis=-1)
    # what no camera sees, below the widest part, may be filled
    above = grid[..., 2] > 0
    assert iou(solid.occupied[above], radius[above] < RADIUS) > 0.85
    assert solid.occupied[radius < RADIUS - 2.5 * solid.voxel].all()


# --- the stage ---


@pytest.mark.parametrize("refine", [True, False])
def test_masks_of_a_sphere_on_a_table(tmp_path: Path, refine: bool) -> None:
    views = orbit([*AZIMUTHS, 318.0])  # the last one is not registered
    write_scene(tmp_path, views)
    model = model_of(views[:-1])
    frames = tuple(view.frame for view in views)
    told: list[float] = []
    options = MasksOptions(grid=OPTIONS.grid, refine_edges=refine)
    result = write_masks(
        tmp_path / "images", frames, model, tmp_path / "depth", tmp_path / "masks", options=options,
        num_threads=2, progress=told.append,
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == 1
    shares = []
    for view in views:
        mask = read_grey(tmp_path / "masks" / view.frame.image)
        assert mask.shape == (CAMERA.height, CAMERA.width)
        assert set(np.unique(mask)) == {0, 255}
        assert iou(mask > 0, cast(view).sphere) > (0.93 if view is not views[-1] else 0.9)
        shares.append((mask > 0).mean())
    assert result.scores["object_views_share"] == 1
    assert result.scores["object_share"] == pytest.approx(np.mean(shares[:-1]), abs=1e-6)
    assert result.scores["border_share"] == 0
    assert result.scores["mask_agreement"] > 0.9
    assert result.scores["mask_agreement_worst"] <= result.scores["mask_agreement"]
    assert result.scores["mask_flicker"] < 0.05
    np.testing.assert_allclose(result.notes["support_plane"], [0, 0, 1, RADIUS], atol=5e-3)
    kept = result.notes["frame_agreement"]
    assert list(kept) == [view.frame.image for view in views[:-1]]
    assert np.mean(list(kept.values())) == pytest.approx(result.scores["mask_agreement"], abs=1e-4)
    assert min(kept.values()) == pytest.approx(result.scores["mask_agreement_worst"], abs=1e-4)


def test_masks_are_the_same_again_and_of_the_images_size(tmp_path: Path) -> None:
    views = orbit(AZIMUTHS)
    write_scene(tmp_path, views)
    options = MasksOptions(grid=48, max_size=120)
    written = []
    for name, threads in (("a", 1), ("b", 2)):
        write_masks(
            tmp_path / "images", tuple(v.frame for v in views), model_of(views), tmp_path / "depth",
            tmp_path / name, options=options, num_threads=threads,
        )  # fmt: skip
        written.append([(tmp_path / name / v.frame.image).read_bytes() for v in views])
    assert written[0] == written[1]
    for view in views:
        assert iou(read_grey(tmp_path / "a" / view.frame.image) > 0, cast(view).sphere) > 0.88


@pytest.mark.parametrize("table", [True, False])
def test_nothing_there(tmp_path: Path, table: bool) -> None:
    views = orbit(AZIMUTHS[::2])
    write_scene(tmp_path, views, sphere=False, table=table)
    with pytest.raises(SequenceRejected) as caught:
        write_masks(
            tmp_path / "images", tuple(v.frame for v in views), model_of(views), tmp_path / "depth",
            tmp_path / "masks", options=OPTIONS,
        )  # fmt: skip
    assert caught.value.reason == "no_object"


def test_missing_images(tmp_path: Path) -> None:
    views = orbit(AZIMUTHS)
    write_scene(tmp_path, views)
    folders = tmp_path / "images", tuple(v.frame for v in views), model_of(views), tmp_path / "depth"
    extra = Frame(index=99, image="099.png", source_index=99, timestamp_s=None)
    with pytest.raises(InputError, match=r"099\.png"):
        write_masks(
            folders[0], (*folders[1], extra), *folders[2:], tmp_path / "masks", options=MasksOptions(grid=32)
        )
    (tmp_path / "images" / "003.png").unlink()
    with pytest.raises(InputError, match=r"003\.png"):
        write_masks(*folders, tmp_path / "masks", options=OPTIONS)


def test_flow_carries_a_mask() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (120, 160, 3)), (0, 0), 2.0)
    image = np.clip((noise - 128) * 4 + 128, 0, 255).astype(np.uint8)
    mask: BoolArray = np.zeros((120, 160), np.bool_)
    mask[40:80, 50:100] = True
    moved = carry_mask(image, mask, np.roll(image, (3, 5), (0, 1)))
    assert iou(moved, np.roll(mask, (3, 5), (0, 1))) > 0.93
    doubled = cv2.resize(image, (320, 240), interpolation=cv2.INTER_CUBIC)
    assert iou(carry_mask(image, mask, doubled), mask) > 0.93


def test_iou() -> None:
    a, b = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(np.zeros(4, np.bool_), np.zeros(4, np.bool_)) == 1


# --- a learned model beside it ---


def fake_onnxruntime(
    monkeypatch: pytest.MonkeyPatch,
    shape: list[int | str],
    out: FloatArray,
    *,
    num_inputs: int = 1,
    stated: list[int | str] | None = None,
) -> None:
    class Session:
        def __init__(self, path: str, providers: list[str]) -> None:
            if Path(path).read_bytes() == b"broken":
                raise RuntimeError("no protobuf")

        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="image", shape=shape)] * num_inputs

        def get_outputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(shape=[1, 1, *out.shape] if stated is None else stated)]

        def run(self, _: None, inputs: dict[str, FloatArray]) -> list[FloatArray]:
            assert inputs["image"].shape == (1, 3, *out.shape)
            assert inputs["image"].dtype == np.float32
            return [out[None, None]]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))


def test_onnx_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"walkaround\[masks\]"):
        OnnxModel(Path("model.onnx"))


def test_onnx_files_that_are_no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_onnxruntime(monkeypatch, [1, 3], np.zeros((2, 2)))
    with pytest.raises(UsageError, match=r"absent\.onnx is not a file"):
        OnnxModel(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(UsageError, match="no protobuf"):
        OnnxModel(tmp_path / "broken.onnx")
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="was expected"):
        OnnxModel(tmp_path / "other.onnx")


def test_onnx_models_of_another_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Known when it is opened as far as the file says it, else at the first picture."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    even = np.full((32, 48), 0.5)
    picture = np.zeros((64, 96, 3), np.uint8)
    fake_onnxruntime(monkeypatch, [1, 5, 32, 48], even)
    with pytest.raises(UsageError, match=r"takes \[\[1, 5, 32, 48\]\]; one \(1, 3, h, w\) image"):
        OnnxModel(path)
    fake_onnxruntime(monkeypatch, [1, 3, 32, 48], even, num_inputs=2)
    with pytest.raises(UsageError, match=r"one \(1, 3, h, w\) image was expected"):
        OnnxModel(path)
    for shape in ([1, 1000], [1, 2, "h", "w"], [1, 1, 1, 1, 1]):
        fake_onnxruntime(monkeypatch, [1, 3, 32, 48], even, stated=shape)
        with pytest.raises(UsageError, match="map was expected"):
            OnnxModel(path)
    fake_onnxruntime(monkeypatch, ["n", "c", 32, 48], even * np.nan, stated=["n", "c", "h", "w"])
    with pytest.raises(UsageError, match="not finite"):
        OnnxModel(path).fg_probability(picture)
    fake_onnxruntime(monkeypatch, [1, 3, 16, 16], even, stated=[])
    with pytest.raises(UsageError, match="cannot be run"):
        OnnxModel(path).fg_probability(picture)


def test_onnx_output_becomes_a_probability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    logits = np.full((32, 48), -9.0)
    logits[:, 24:] = 9.0
    fake_onnxruntime(monkeypatch, [1, 3, 32, 48], logits)
    probability = OnnxModel(tmp_path / "model.onnx").fg_probability(np.zeros((64, 96, 3), np.uint8))
    assert probability.shape == (64, 96)
    assert probability[:, :40].max() < 0.01
    assert probability[:, 56:].min() > 0.99
    fake_onnxruntime(monkeypatch, [1, 3, 32, 48], np.full((32, 48), 0.25))
    probability = OnnxModel(tmp_path / "model.onnx").fg_probability(np.zeros((64, 96, 3), np.uint8))
    np.testing.assert_allclose(probability, 0.25, atol=1e-6)


def test_a_model_may_help_at_the_edges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    views = orbit(AZIMUTHS)
    write_scene(tmp_path, views)
    (tmp_path / "model.onnx").write_bytes(b"")
    fake_onnxruntime(monkeypatch, [1, 3, 90, 120], np.full((90, 120), 0.5))
    write_masks(
        tmp_path / "images", tuple(v.frame for v in views), model_of(views), tmp_path / "depth",
        tmp_path / "masks", options=MasksOptions(grid=48, model=tmp_path / "model.onnx"),
    )  # fmt: skip
    for view in views:
        assert iou(read_grey(tmp_path / "masks" / view.frame.image) > 0, cast(view).sphere) > 0.88


def random_views(count: int, seed: int = 0) -> list[MaskView]:
    rng = np.random.default_rng(seed)
    views = []
    for view in orbit(list(rng.uniform(0, 360, count))):
        depth = rng.uniform(0.4, 1.8, (CAMERA.height, CAMERA.width)).astype(np.float32)
        depth[rng.random(depth.shape) < 0.3] = 0
        void = (depth == 0) & (rng.random(depth.shape) < 0.5)
        views.append(
            MaskView(view=view, image_srgb=np.zeros((*depth.shape, 3), np.uint8), depth=depth, void=void)
        )
    return views


@pytest.mark.parametrize("plane", [None, np.array([0.0, 0.1, 1.0, 0.05])])
def test_depth_on_the_solid_is_what_the_plain_twin_says(plane: FloatArray | None) -> None:
    rng = np.random.default_rng(3)
    solid = Solid(
        occupied=rng.random((9, 12, 7)) < 0.1, origin=np.array([-0.4, -0.5, -0.3]), voxel=0.09, plane=plane
    )
    for view in random_views(2):
        points, rows, columns = view.world_points()
        index = np.rint((points - solid.origin) / solid.voxel).astype(np.int64)
        inside = ((index >= 0) & (index < np.array(solid.grown.shape))).all(axis=1)
        on = np.zeros(len(points), np.bool_)
        on[inside] = solid.grown[tuple(index[inside].T)]
        if plane is not None:
            on &= points @ plane[:3] + plane[3] > 0.003
        expected = np.zeros(view.size_hw, np.uint8)
        expected[rows, columns] = np.where(on, ON_SOLID, ELSEWHERE)
        told = tell_apart(view, solid)
        assert 50 < (told == ON_SOLID).sum() < 0.5 * told.size
        assert (told != expected).mean() < 1e-4  # a point on the border of two voxels


def test_voxels_seen_past_are_asked_no_further() -> None:
    """Stopping early changes no voxel that could still belong to the object."""
    views = random_views(7)
    arrays = {
        "depths": np.stack([view.depth for view in views]),
        "voids": np.stack([view.void for view in views]),
        **camera_arrays(views),
    }
    start = np.ones((10, 10, 10), np.bool_)
    origin = np.full(3, -0.3)
    full, early = (
        _vote(start, origin, 0.06, **arrays, tolerance=0.05, max_free=limit) for limit in (255.0, 1.0)
    )
    kept = full[..., 0] <= 1
    assert 0.02 < kept.mean() < 0.98
    np.testing.assert_array_equal(early[kept], full[kept])
    assert (early[~kept][:, 0] == 2).all()
