"""``study stereo``: losses that prefer the truth, co-segmentation, DTU's files, and the whole study, tiny."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_depth import CAMERA, cast, orbit, photograph
from walkaround.errors import FormatError, UsageError
from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulating import simulate_dataset
from walkaround.studies.frame import Job, run_study
from walkaround.studies.stereo.dtu import list_scans, read_camera, read_depth_map, read_dtu, read_pairs
from walkaround.studies.stereo.own import read_scenes
from walkaround.studies.stereo.recipe import PRESETS, StereoRecipe
from walkaround.studies.stereo.scenes import StereoScene, StereoSet, nearest_views, write_scenes
from walkaround.studies.stereo.study import StereoStudy
from walkaround.types import no_progress

torch = pytest.importorskip("torch")

from walkaround.depth.network.model import Estimate, StereoNetwork  # noqa: E402
from walkaround.depth.network.weights import read_weights, write_weights  # noqa: E402
from walkaround.studies.stereo import training  # noqa: E402
from walkaround.studies.stereo.cosegment import cosegment, factorise  # noqa: E402
from walkaround.studies.stereo.losses import (  # noqa: E402
    best_views,
    dissimilarity,
    segment_loss,
    shrink_depth,
    supervised_loss,
    sweep_loss,
    view_loss,
)
from walkaround.studies.stereo.measure import compare_clouds, measure  # noqa: E402

TINY = StereoRecipe(
    classes=2, source_instances=1, train_instances=2, test_instances=1, size_px=32, views=3, pretrain_steps=2,
    steps=1, seeds=(0,), device="cpu", threads=1, checkpoint_every=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sphere() -> StereoSet:
    """Return the sphere of the depth stage's tests as a set: one scene, four views of 128x96."""
    camera = CAMERA.scaled(128, 96)
    views = orbit([0.0, 8.0, -9.0, 16.0], camera)
    poses = np.stack([view.cam_from_world for view in views])
    return StereoSet(
        images=np.stack([photograph(view) for view in views])[None],
        K=np.stack([view.camera.K for view in views]).astype(np.float32)[None],
        cam_from_world=poses.astype(np.float32)[None],
        inverse_range=np.tile(np.array([0.6, 1.6], np.float32), (1, 4, 1)),
        sources=nearest_views(poses, 2)[None],
        depth=np.stack([cast(view).depth for view in views]).astype(np.float32)[None],
        keys=("sphere",),
    )


def estimate_of(inverse: torch.Tensor, step: float = 0.03) -> Estimate:
    """Return an estimate with nine planes around ``inverse``, as sure of the middle one as can be."""
    steps = torch.arange(-4, 5)[None, :, None, None] * step
    planes = inverse[:, None] + steps
    probability = torch.zeros_like(planes)
    probability[:, 4] = 1.0
    return Estimate(
        inverse=inverse, confidence=torch.ones_like(inverse), spacing=torch.full((len(inverse),), step),
        planes=planes, probability=probability, features=torch.zeros(1),
    )  # fmt: skip


def test_losses_without_depth_are_least_at_the_truth(sphere: StereoSet) -> None:
    stereo, depth = training.gather(sphere, np.array([0]), np.array([0]))
    stereo = stereo._replace(images=training.normalised(stereo.images))
    assert depth is not None
    inverse, known = shrink_depth(depth, (48, 64))
    assert known.float().mean() > 0.9
    inverse = torch.where(known, inverse, 1.0)
    photometric, swept = [], []
    for offset in (-0.12, -0.04, 0.0, 0.04, 0.12):
        estimate = estimate_of(inverse + offset)
        photometric.append(view_loss(estimate, stereo, (96, 128), 0.0).item())
        swept.append(sweep_loss(estimate, stereo).item())
    assert np.argmin(photometric) == 2 and np.argmin(swept) == 2
    assert photometric[2] < 0.5 * min(photometric[0], photometric[4])
    views = orbit([0.0, 8.0, -9.0, 16.0], CAMERA.scaled(64, 48))
    points = np.stack([cast(views[place]).points for place in (0, *sphere.sources[0, 0])])
    striped = np.floor(points[..., 1] / 0.12) % 2 == 0  # parts fixed in the world
    parts = torch.from_numpy(np.stack([striped, ~striped], axis=1).astype(np.float32))[None]
    exact = torch.from_numpy(1 / cast(views[0]).depth)[None].float()
    entropy = [segment_loss(exact + offset, stereo, parts).item() for offset in (-0.15, 0.0, 0.15)]
    assert np.argmin(entropy) == 1


def test_the_better_half_of_the_views_counts() -> None:
    errors = torch.tensor([1.0, 5.0, 0.5, 9.0]).view(1, 4, 1, 1)
    assert best_views(errors).item() == pytest.approx(0.75)
    errors[0, 1:] = torch.inf
    assert best_views(errors).item() == pytest.approx(1.0)
    assert best_views(torch.full((1, 2, 1, 1), torch.inf)).item() == 0


def test_dissimilarity_is_zero_for_the_same_and_half_for_noise() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 1, 1, 40, 40)
    assert dissimilarity(a, a).abs().max() < 1e-6
    assert 0.4 < dissimilarity(a, b).mean() < 0.8


def test_true_depth_costs_nothing_and_unknown_depth_does_not_count() -> None:
    depth = torch.full((1, 16, 16), 2.0)
    depth[:, :8] = 0
    inverse, known = shrink_depth(depth, (8, 8))
    assert known[0, 4:].all() and not known[0, :4].any()
    exact = estimate_of(torch.full((1, 8, 8), 0.5))
    assert supervised_loss((exact, exact), depth).item() == pytest.approx(0, abs=1e-6)
    off = estimate_of(torch.where(known, inverse + 0.03, 7.0))
    assert supervised_loss((off, exact), depth).item() == pytest.approx(
        0.5, abs=1e-4
    )  # one plane, half weight


def test_factorisation_finds_the_parts() -> None:
    """Pixels of three looks, in two views: each part is found in both, and the error falls."""
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=(2, 8, 8))
    looks = np.array([[1, 0, 0, 0.1], [0, 1, 0.1, 0], [0, 0.1, 1, 1]])
    features = torch.from_numpy(looks[label].transpose(0, 3, 1, 2).astype(np.float32))[None]
    parts = cosegment(features, 3, iterations=60)
    assert parts.shape == (1, 2, 3, 8, 8)
    assert torch.allclose(parts.sum(dim=2), torch.ones(1, 2, 8, 8), atol=1e-4)
    found = parts.argmax(dim=2)[0].numpy()
    assert all(len(np.unique(found[label == k])) == 1 for k in range(3))
    assert len({int(found[label == k][0]) for k in range(3)}) == 3
    matrix = torch.rand((1, 30, 6), generator=torch.Generator().manual_seed(1))
    errors = []
    for iterations in (1, 5, 40):
        left, right = factorise(matrix, 3, iterations=iterations)
        assert (left >= 0).all() and (right >= 0).all()
        errors.append((matrix - left @ right).square().sum().item())
    assert errors[0] > errors[1] > errors[2]


def test_a_loss_without_depth_reaches_every_weight(sphere: StereoSet) -> None:
    network = StereoNetwork()
    stereo, _ = training.draw_batch(sphere, np.array([0]), 1, np.random.default_rng(0))
    recipe = dataclasses.replace(TINY, segment_weight=0.1, augment_weight=0.1)
    loss = training.self_supervised_loss(network, stereo, recipe, np.random.default_rng(1), 1)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    altered, seen = training.alter(stereo, np.random.default_rng(2))
    assert 0.05 < 1 - seen.mean().item() < 0.2
    assert (altered.images[0, 0, 0][seen[0, 0] == 0] == 0).all()


def test_measures_of_the_truth_are_perfect_and_of_a_shift_are_not(sphere: StereoSet) -> None:
    truth = np.asarray(sphere.depth)[0]
    near, full = compare_clouds(sphere, 0, truth, truth)
    assert near < 1e-6 and full < 0.004  # what no other view confirms is missing
    shifted = compare_clouds(sphere, 0, 1.03 * truth, truth)
    assert 0.005 < shifted[0] < 0.05 and shifted[1] > 0.005
    values = measure(StereoNetwork(), sphere, "cpu")
    assert values["within_1"] <= values["within_2"] <= values["within_5"]


def test_weights_come_back_and_others_are_refused(tmp_path: Path) -> None:
    network = StereoNetwork()
    write_weights(tmp_path / "a.safetensors", network, {"seed": "3"})
    found, facts = read_weights(tmp_path / "a.safetensors")
    assert facts["seed"] == "3"
    for name, value in network.state_dict().items():
        assert torch.equal(value, found.state_dict()[name])
    write_weights(tmp_path / "b.safetensors", found, {"seed": "3"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "b.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(FormatError, match=r"b\.safetensors"):
        read_weights(tmp_path / "b.safetensors")


def write_dtu(root: Path, scans: tuple[int, ...]) -> np.ndarray:
    """Write small scans of three views in exactly the layout; return the depth (128, 160) of view 1."""
    cameras = root / "Cameras" / "train"
    cameras.mkdir(parents=True)
    pairs = ["3"]
    for view in range(3):
        others = [v for v in range(3) if v != view]
        pairs += [str(view), f"2 {others[0]} 1234.5 {others[1]} 99.1 "]
        pose = np.eye(4)
        pose[0, 3] = -30.0 * view
        rows = "\n".join(" ".join(f"{x:g}" for x in row) + " " for row in pose)
        K = "361.54 0.0 82.9\n0.0 360.4 66.4\n0.0 0.0 1.0"
        text = f"extrinsic\n{rows}\n\nintrinsic\n{K}\n\n425.0 2.5\n"
        (cameras / f"{view:08d}_cam.txt").write_text(text)
    (root / "Cameras" / "pair.txt").write_text("\n".join(pairs) + "\n")
    depth = np.full((128, 160), 600, np.float32)
    depth[:40] = 0
    depth[100:, 50:] = 650
    rng = np.random.default_rng(0)
    for scan in scans:
        for folder in (f"Rectified/scan{scan}_train", f"Depths/scan{scan}_train"):
            (root / folder).mkdir(parents=True)
        for view in range(3):
            image = cv2.resize(rng.integers(0, 255, (32, 40, 3), np.uint8), (640, 512))
            cv2.imwrite(str(root / f"Rectified/scan{scan}_train/rect_{view + 1:03d}_3_r5000.png"), image)
            header = b"Pf\n160 128\n-1.0\n"  # little-endian, the lowest row first
            data = header + np.flipud(depth).astype("<f4").tobytes()
            (root / f"Depths/scan{scan}_train/depth_map_{view:04d}.pfm").write_bytes(data)
    return depth


def test_dtu_in_its_own_layout(tmp_path: Path) -> None:
    truth = write_dtu(tmp_path, (2, 3))
    assert list_scans(tmp_path, "train") == [2] and list_scans(tmp_path, "test") == [3]
    depth = read_depth_map(tmp_path / "Depths/scan2_train/depth_map_0001.pfm")
    assert np.array_equal(depth, truth)
    camera = read_camera(tmp_path / "Cameras/train/00000002_cam.txt")
    assert camera.cam_from_world[0, 3] == -60 and camera.depth_range[0] == 425
    assert camera.K[0, 2] == pytest.approx(83.4)  # half a pixel more: COLMAP's
    assert read_pairs(tmp_path / "Cameras/pair.txt", 1).tolist() == [[1], [0], [0]]
    (scene,) = read_dtu(tmp_path, [2], height_px=256, num_sources=2)
    assert scene.images.shape == (3, 256, 320)
    assert scene.K[0, 0, 2] == pytest.approx(2 * 83.4) and scene.K[0, 1, 1] == pytest.approx(2 * 360.4)
    assert scene.depth is not None
    assert np.array_equal(scene.depth[0, ::2, ::2], truth)
    assert scene.inverse_range[0, 1] == pytest.approx(1 / 425)
    with pytest.raises(FormatError, match="has no Rectified/scanN_train for test"):
        list_scans(tmp_path / "Rectified", "test")


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("Cameras/train/00000000_cam.txt", "extrinsic 1 2", "no camera of MVSNet's layout"),
        ("Cameras/pair.txt", "2\n0\n1 1 5.0\n1\n0\n", "no pair.txt"),
        ("Depths/scan2_train/depth_map_0000.pfm", "Pf\n", "cannot be decoded"),
        ("Rectified/scan2_train/rect_001_3_r5000.png", None, "missing"),
    ],
)
def test_broken_files_of_dtu_are_named(tmp_path: Path, path: str, content: str | None, said: str) -> None:
    write_dtu(tmp_path, (2,))
    (tmp_path / path).unlink()
    if content is not None:
        (tmp_path / path).write_text(content)
    with pytest.raises(FormatError, match=said):
        list(read_dtu(tmp_path, [2], height_px=32, num_sources=1))


def test_a_study_from_views_to_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle it gives the same weights; fine-tuning starts from what pretraining left."""
    found = run_study(StereoStudy(), TINY, tmp_path / "whole")
    assert len(found.rows) == 10 and found.arms[0] == "pretrained-0"
    assert {"within_1", "mean_error", "cloud_completeness"} <= found.rows[0]["metrics"].keys()
    left = {"steps": 4}
    original = training.draw_batch

    def killed(*arguments: object) -> object:
        left["steps"] -= 1
        if left["steps"] < 0:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    (tmp_path / "cut").mkdir()
    shutil.copy(tmp_path / "whole" / "recipe.json", tmp_path / "cut")
    shutil.copytree(tmp_path / "whole" / "data", tmp_path / "cut" / "data")
    monkeypatch.setattr(training, "draw_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        run_study(StereoStudy(), TINY, tmp_path / "cut")
    monkeypatch.setattr(training, "draw_batch", original)
    run_study(StereoStudy(), TINY, tmp_path / "cut")
    for net in (tmp_path / "whole").rglob("*.safetensors"):
        assert net.read_bytes() == (tmp_path / "cut" / net.relative_to(tmp_path / "whole")).read_bytes()
    keys = [set(StereoSet.load(tmp_path / "whole" / "data" / part).keys) for part in ("source", "train")]
    assert not keys[0] & keys[1] and all(keys)
    still = dataclasses.replace(TINY, rate=1e-12)  # next to nothing, so that the start can be seen
    job = Job(
        arm="pretrained-10", seed=0, data_dir=tmp_path / "whole/data",
        folder=tmp_path / "whole/jobs/pretrained-10/0", device="cpu", checkpoint_every=1,
        progress=no_progress,
    )  # fmt: skip
    StereoStudy().train(still, job)
    start, _ = read_weights(job.folder_of("pretrained-0") / "net.safetensors")
    end, _ = read_weights(job.folder / "net.safetensors")
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(start.parameters(), end.parameters(), strict=True)
    )


def test_datasets_and_dtu_are_read_by_path(tmp_path: Path) -> None:
    options = SimulateDatasetOptions(classes=2, instances=2, views=3, size=32, train=0.5, val=0, test=0.5)
    simulate_dataset(tmp_path / "rendered", options=options, workers=1)
    write_dtu(tmp_path / "dtu", (2, 3))
    recipe = dataclasses.replace(TINY, source=tmp_path / "rendered", dtu=tmp_path / "dtu", size_px=64)
    run_study(StereoStudy(), recipe, tmp_path / "a", until="prepare")
    source, train = (StereoSet.load(tmp_path / "a" / "data" / part) for part in ("source", "train"))
    assert source.images.shape == (4, 3, 64, 64) and source.depth is None
    assert train.images.shape == (1, 3, 64, 80) and train.keys == ("scan2",)
    own = dataclasses.replace(TINY, source=tmp_path / "rendered", data=tmp_path / "rendered")
    run_study(StereoStudy(), own, tmp_path / "b", until="prepare")
    assert not (tmp_path / "b" / "data" / "dataset").exists()  # nothing was simulated
    test = StereoSet.load(tmp_path / "b" / "data" / "test")
    listed = json.loads((tmp_path / "rendered" / "splits" / "test.json").read_text())
    assert set(test.keys) == set(listed) and test.depth is not None
    assert (test.depth.reshape(len(test), -1).max(axis=1) > 0).all()


def test_scenes_that_do_not_fit_are_left_out_or_refused(tmp_path: Path) -> None:
    options = SimulateDatasetOptions(classes=1, instances=1, views=3, size=32, train=1, val=0, test=0)
    simulate_dataset(tmp_path / "one", options=options, workers=1)
    from walkaround.dataset.readers import Dataset

    dataset = Dataset(tmp_path / "one")
    assert not list(read_scenes(dataset, dataset.keys(), size_px=32, views=4, num_sources=2))
    (scene,) = read_scenes(dataset, dataset.keys(), size_px=32, views=2, num_sources=1)
    assert scene.sources.tolist() == [[1], [0]]
    with pytest.raises(FormatError, match="No scene could be used"):
        write_scenes(tmp_path / "none", [], 1, depth=False)
    other: StereoScene = dataclasses.replace(scene, images=scene.images[:, :16])
    with pytest.raises(FormatError, match="rows, columns"):
        write_scenes(tmp_path / "two", [scene, other], 2, depth=True)
    with pytest.raises(UsageError, match="1 objects"):
        run_study(
            StereoStudy(), dataclasses.replace(TINY, data=tmp_path / "one", source=tmp_path / "one"),
            tmp_path / "out", until="prepare",
        )  # fmt: skip


def test_shares_grow_and_presets_hold() -> None:
    small, large = (set(training.share_of_objects(80, percent, 1).tolist()) for percent in (10, 50))
    assert len(small) == 8 and len(large) == 40 and small < large
    assert len(training.share_of_objects(20, 1, 0)) == 1
    assert PRESETS["miniature"] == StereoRecipe() and len(StereoRecipe().seeds) >= 3
    for recipe in PRESETS.values():
        recipe.check()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size_px": 40}, "--size-px is 40"),
        ({"crop": "left"}, "--crop is 'left'"),
        ({"num_sources": 3}, "--num-sources is 3"),
        ({"data": Path(), "dtu": Path()}, "both given"),
        ({"steps": 0}, "--steps is 0"),
        ({"segments": 1}, "--segments 1"),
        ({"dtu_light": 7}, "--dtu-light is 7"),
    ],
)
def test_recipes_that_make_no_sense(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(TINY, **values).check()
