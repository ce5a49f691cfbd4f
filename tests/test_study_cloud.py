"""``study cloud``: the miniature's shapes, pretraining handed on, resume, and the real layouts end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.io.pointcloud import write_pcd
from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulate.surface import TriangleMesh
from walkaround.simulating import simulate_dataset
from walkaround.studies import load_study
from walkaround.studies.clouds.augment import HARD
from walkaround.studies.clouds.recipe import NETWORK_NAMES, PRESETS, CloudRecipe
from walkaround.studies.clouds.samples import CloudSet
from walkaround.studies.clouds.shapes import make_shapes, points_on
from walkaround.studies.clouds.study import CloudStudy
from walkaround.studies.frame import Job, run_study
from walkaround.types import PointCloud, no_progress

torch = pytest.importorskip("torch")

from walkaround.studies.clouds import training  # noqa: E402
from walkaround.studies.clouds.networks import NETWORKS, build_network, mae_shape  # noqa: E402
from walkaround.studies.clouds.pointmae import MaskedAutoencoder  # noqa: E402

TINY = CloudRecipe(
    networks=("pointnet2", "pointmae"), classes=2, source_instances=2, train_instances=4, test_instances=2,
    num_points=64, pretrain_steps=3, steps=2, batch_size=4, seeds=(0,), device="cpu", threads=1,
    checkpoint_every=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _weights(path: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in torch.load(path, weights_only=True).items()}


def test_points_lie_evenly_on_the_surface() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [3, 1, 0], [1, 2, 0]])
    mesh = TriangleMesh(vertices=corners, faces=np.array([[0, 1, 2], [3, 4, 5]]), normals=corners)
    points = points_on(mesh, 4000, np.random.default_rng(0))
    first = points[:, :2].sum(axis=1) <= 1 + 1e-6
    assert first.mean() == pytest.approx(1 / 3, abs=0.03)  # areas 0.5 and 1
    assert np.allclose(points[first].mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.02)
    assert np.allclose(points[~first].mean(axis=0), [5 / 3, 4 / 3, 0], atol=0.03)


def test_shapes_are_seeded_and_their_hard_counterpart_differs() -> None:
    clean = make_shapes(2, 2, first=5, num_points=80)
    assert clean.points.shape == (4, 80, 3) and clean.labels.tolist() == [0, 0, 1, 1]
    assert clean.keys[1].endswith("/6")
    assert np.array_equal(clean.points, make_shapes(2, 2, first=5, num_points=80).points)
    assert np.array_equal(clean.points[1], make_shapes(2, 1, first=6, num_points=80).points[0])
    hard = make_shapes(2, 2, first=5, num_points=80, hard=HARD)
    assert np.abs(hard.points - clean.points).max() > 0.1
    assert np.allclose(np.linalg.norm(hard.points, axis=2).max(axis=1), 1, atol=1e-6)
    with pytest.raises(UsageError, match="--classes is 1; the simulator has 2 to"):
        make_shapes(1, 1, first=0, num_points=8)


def test_a_study_from_shapes_to_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut in the middle of each phase changes no weight; pretraining is what the arms differ in."""
    whole = run_study(CloudStudy(), TINY, tmp_path / "whole")
    assert whole.arms == ("pointnet2", "pointnet2-pretrained", "pointmae", "pointmae-pretrained")
    row = whole.rows[0]["metrics"]
    assert {"accuracy_1", "accuracy_10", "accuracy_50", "accuracy_100", "lost"} <= row.keys()
    assert row["lost"] == row["accuracy_100"] - row["accuracy_1"]
    keys = [
        set(CloudSet.load(tmp_path / "whole" / "data" / part).keys) for part in ("source", "train", "test")
    ]
    assert not keys[0] & keys[1] and not keys[1] & keys[2] and not keys[0] & keys[2]
    left, original = [0], training._descend

    def killed(*arguments: object) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_descend", killed)
    cuts = 0
    while cuts < 20:
        left[0] = 9
        try:
            run_study(CloudStudy(), TINY, tmp_path / "cut")
            break
        except KeyboardInterrupt:
            cuts += 1
    assert 3 <= cuts < 20
    nets = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.pt"))
    assert len(nets) == 4 * 4 + 2  # nothing but networks and what pretraining left: no checkpoints
    for net in nets:
        assert _weights(tmp_path / "whole" / net) == _weights(tmp_path / "cut" / net), net


@pytest.mark.parametrize("network", ["pointnet", "pointmae"])
def test_pretraining_is_handed_on_but_for_the_last_layer(tmp_path: Path, network: str) -> None:
    recipe = dataclasses.replace(TINY, networks=(network,), rate=0.05)
    run_study(CloudStudy(), recipe, tmp_path, until="prepare")
    job = Job(
        arm=network, seed=0, data_dir=tmp_path / "data", folder=tmp_path / "job", device="cpu",
        checkpoint_every=1, progress=no_progress,
    )  # fmt: skip
    job.folder.mkdir()
    training.pretrain(recipe, job, network)
    still = dataclasses.replace(recipe, rate=1e-12)  # next to nothing, so that the start can be seen
    for name, start in (("scratch", None), ("after", job.folder / "pretrained.pt")):
        training.fine_tune(still, training.part_of(job, name, 0, 1), network, 1.0, start)
    kept, scratch, after = (
        torch.load(job.folder / name, weights_only=True)
        for name in ("pretrained.pt", "scratch/net.pt", "after/net.pt")
    )
    assert kept.keys() < after.keys()
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    trained = [name for name in kept if not name.endswith(buffers)]
    assert all(torch.allclose(kept[name], after[name], atol=1e-6) for name in trained)
    assert not all(torch.allclose(kept[name], scratch[name], atol=1e-3) for name in trained)
    last = max(after.keys() - kept.keys())
    assert torch.allclose(after[last], scratch[last], atol=1e-6)


@pytest.mark.parametrize("size", ["small", "paper"])
def test_the_classifier_takes_all_of_the_encoder(size: str) -> None:
    classifier = build_network("pointmae", 3, size=size).state_dict()
    encoder = MaskedAutoencoder(mae_shape(size)).encoder.state_dict()
    assert {f"encoder.{name}" for name in encoder} == {n for n in classifier if n.startswith("encoder.")}
    assert all(classifier[f"encoder.{name}"].shape == value.shape for name, value in encoder.items())


def test_mvpnet_to_scanobjectnn(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    names = [f"{label}/{number:08x}.pcd" for label in (0, 17) for number in range(3)]
    for name in names:
        (tmp_path / "mvpnet" / name).parent.mkdir(parents=True, exist_ok=True)
        cloud = PointCloud(points_in_world=rng.normal(size=(90, 3)).astype(np.float32))
        write_pcd(tmp_path / "mvpnet" / name, cloud)
    for part in ("train", "val"):
        (tmp_path / "mvpnet" / f"mvpnet_split_{part}.json").write_text(json.dumps(names))
    folder = tmp_path / "scan" / "main_split"
    folder.mkdir(parents=True)
    for prefix in ("training", "test"):
        with h5py.File(folder / f"{prefix}_objectdataset_augmentedrot_scale75.h5", "w") as file:
            file["data"] = rng.normal(size=(6, 64, 3)).astype(np.float32)
            file["label"] = np.arange(6)
            file["mask"] = np.zeros((6, 64), dtype=np.int64)
    recipe = dataclasses.replace(
        TINY, source="mvpnet", target="scanobjectnn", networks=("pointnet",), mvpnet=tmp_path / "mvpnet",
        scanobjectnn=tmp_path / "scan",
    )  # fmt: skip
    found = run_study(CloudStudy(), recipe, tmp_path / "out")
    assert len(found.rows) == 2
    own = dataclasses.replace(recipe, target="mvpnet", pretrain=False)
    assert run_study(CloudStudy(), own, tmp_path / "own").arms == ("pointnet",)
    assert len(CloudSet.load(tmp_path / "own" / "data" / "test")) == 6


def test_clouds_of_a_simulated_dataset(tmp_path: Path) -> None:
    """Rendered objects, their cloud.ply and splits, by the readers, to a table."""
    options = SimulateDatasetOptions(classes=2, instances=2, views=2, size=32, train=0.5, val=0, test=0.5)
    simulate_dataset(tmp_path / "rendered", options=options, workers=1)
    recipe = dataclasses.replace(
        TINY, source="dataset", target="dataset", dataset=tmp_path / "rendered", networks=("pointnet",)
    )
    found = run_study(CloudStudy(), recipe, tmp_path / "out")
    assert len(found.rows) == 2
    train, test = (CloudSet.load(tmp_path / "out" / "data" / part) for part in ("train", "test"))
    assert len(train) >= 2 and len(test) >= 2 and train.class_names == test.class_names
    assert not set(train.keys) & set(test.keys)
    assert set(test.labels.tolist()) == {0, 1}


def test_a_batch_is_the_same_in_every_arm_and_shuffled() -> None:
    points = np.arange(2 * 50 * 3, dtype=np.float32).reshape(2, 50, 3) / 300
    data = CloudSet(points=points, labels=np.array([0, 1]), class_names=("a", "b"), keys=("x", "y"))
    jobs = [
        Job(arm=arm, seed=seed, data_dir=Path(), folder=Path(), device="cpu", checkpoint_every=1,
            progress=no_progress)
        for arm, seed in (("pointnet", 0), ("pointmae", 0), ("pointnet", 1))
    ]  # fmt: skip
    first, same, other = (training._batch(TINY, job, data, np.arange(2), 3) for job in jobs)
    assert torch.equal(first[0], same[0]) and torch.equal(first[1], same[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (4, 50, 3)
    steps = first[0][0].diff(dim=0)
    assert steps.std(dim=0).max() > 0.05  # unshuffled neighbours differ by one step of the ramp


def test_the_learning_rate_rises_and_falls() -> None:
    optimizer, schedule = training._optimiser(TINY, torch.nn.Linear(1, 1), 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert np.argmax(rates) in (9, 10) and max(rates) == TINY.rate
    assert rates[0] == pytest.approx(TINY.rate / 10) and rates[-1] < 0.01 * TINY.rate


def test_presets_and_names() -> None:
    assert PRESETS["miniature"] == CloudRecipe() and len(CloudRecipe().seeds) >= 3
    assert tuple(NETWORKS) == NETWORK_NAMES
    study = load_study("cloud")
    assert {claim.metric for claim in study.claims} <= {metric.name for metric in study.metrics}
    assert {claim.better for claim in study.claims} <= set(study.arms(CloudRecipe()))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": "shapenet"}, "--source is 'shapenet'; give one of shapes, mvpnet, dataset"),
        ({"target": "scanobjectnn"}, "--scanobjectnn is needed"),
        ({"networks": ("dgcnn",)}, "--networks has 'dgcnn'"),
        ({"networks": ("pointnet", "pointnet")}, "give different ones"),
        ({"batch_size": 1}, "--batch-size is 1"),
        ({"num_points": 0}, "--num-points is 0"),
        ({"rate": 0.0}, "--rate 0"),
    ],
)
def test_recipes_that_make_no_sense(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(TINY, **values).check()
