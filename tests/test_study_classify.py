"""The classification study: its sets, its metrics, azimuths from cameras, and a tiny run end to end."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.simulate.dataset_options import SimulateDatasetOptions
from walkaround.simulating import simulate_dataset
from walkaround.studies.classify.recipe import ClassifyRecipe
from walkaround.studies.classify.sets import ARMS, make_set
from walkaround.studies.classify.study import ClassifyStudy, rate_share
from walkaround.studies.views.azimuth import angle_between, azimuths_deg, is_whole_circle
from walkaround.studies.views.consistency import measure
from walkaround.studies.views.rows import Views
from walkaround.studies.views.store import prepare, read_store
from walkaround.types import FloatArray, no_progress

TINY = ClassifyRecipe(
    classes=2, instances=4, views=4, size_px=32, extra_frames=2, steps=4, batch=4, seeds=(0,), threads=1,
    device="cpu", checkpoint_every=2,
)  # fmt: skip


def views_of(num_things: int, azimuths: list[float], *, whole: bool = True) -> Views:
    count = len(azimuths)
    return Views(
        label=np.repeat(np.arange(num_things) % 2, count),
        thing=np.repeat(np.arange(num_things), count),
        azimuth_deg=np.tile(np.array(azimuths, dtype=float), num_things),
        is_train=np.repeat(np.arange(num_things) < num_things - 1, count),
        whole_circle=np.full(num_things * count, whole),
    )


def circle(angles_deg: FloatArray, up: FloatArray, middle: FloatArray) -> FloatArray:
    """Cameras that look at ``middle`` from a circle about the axis ``up``, seen from above going left."""
    x = np.cross(up, [0.3, 0.5, 0.9])
    x /= np.linalg.norm(x)
    y = np.cross(up, x)
    poses = []
    for angle in np.radians(angles_deg):
        away = np.cos(angle) * x + np.sin(angle) * y + 0.4 * up
        forward = -away / np.linalg.norm(away)
        side = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
        pose = np.eye(4)
        pose[:3, :3] = np.stack([side, np.cross(forward, side), forward])
        pose[:3, 3] = -pose[:3, :3] @ (middle + 2 * away)
        poses.append(pose)
    return np.array(poses)


@pytest.mark.parametrize("arm", ARMS)
def test_sets_have_the_canonical_views_and_equal_size(arm: str) -> None:
    views = views_of(5, [170.0, -3.0, 40.0, 90.0, -120.0])
    made = make_set(views, arm, extra_frames=3, gap_deg=45, seed=0)
    assert views.is_train[made.rows].all(), "nothing of the test"
    first = made.rows[:4]
    assert (views.azimuth_deg[first] == -3).all() and len(set(views.thing[first])) == 4
    extra = made.rows[4:]
    assert len(extra) == (0 if arm == "baseline" else 12)
    assert made.strong.sum() == (12 if arm == "mvi-aug" else 0)
    if arm == "mvi-aug":
        assert (views.azimuth_deg[extra] == -3).all()
    if arm == "mvi-mix":
        assert not np.isin(extra, first).any() and len(set(extra.tolist())) == 12
    again = make_set(views, arm, extra_frames=3, gap_deg=45, seed=0)
    assert np.array_equal(made.rows, again.rows)


def test_the_gap_is_kept() -> None:
    views = views_of(3, [float(a) for a in range(-180, 180, 10)])
    made = make_set(views, "mvi-gap", extra_frames=4, gap_deg=60, seed=1)
    for thing in (0, 1):
        rows = np.unique(made.rows[views.thing[made.rows] == thing])
        angles = views.azimuth_deg[rows]
        apart = [angle_between(a, b) for i, a in enumerate(angles) for b in angles[:i]]
        assert min(apart) >= 60 and len(rows) >= 3
    narrow = views_of(2, [0.0, 5.0, 10.0])
    made = make_set(narrow, "mvi-gap", extra_frames=2, gap_deg=60, seed=1)
    assert narrow.azimuth_deg[made.rows].tolist() == [0.0, 10.0, 10.0], "the farthest there is, twice"


def test_metrics_by_hand() -> None:
    views = views_of(2, [0.0, 60.0, -170.0, -60.0])
    rows = np.arange(8)
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.2, 0.8])
    probability = np.stack([1 - confidence, confidence], axis=1)
    probability[:4] = probability[:4, ::-1]  # the first object's class is 0
    found = measure(views, rows, probability)
    assert found["top1"] == pytest.approx(7 / 8)
    assert found["confidence_variance"] == pytest.approx((0 + np.var([0.8, 0.8, 0.2, 0.8])) / 2)
    assert found["all_right"] == 0.5
    assert found["agreement"] == pytest.approx(6 / 8), "around the circle, the odd view has two neighbours"
    assert found["top1_from_0_to_30"] == 1 and found["top1_from_150_to_180"] == 0.5
    assert "top1_from_30_to_60" not in found
    half = measure(dataclasses.replace(views, whole_circle=np.zeros(8, bool)), rows, probability)
    assert half["agreement"] == pytest.approx(5 / 6), "the odd view is at the end, with one neighbour"


def test_azimuths_of_any_world() -> None:
    rng = np.random.default_rng(3)
    wanted = np.array([0.0, 30.0, 75.0, 120.0, -160.0, -100.0, -40.0])
    up = rng.normal(size=3)
    up /= np.linalg.norm(up)
    poses = circle(wanted + 20, up, rng.normal(size=3))
    found = azimuths_deg(poses, own_world=False, canonical=False)
    if found[1] < 0:  # the normal of a plane has no sign
        found = -found
    assert np.allclose(found, wanted, atol=0.5)
    own = circle(wanted, np.array([0.0, 0.0, 1.0]), np.zeros(3))
    relative = azimuths_deg(own, own_world=True, canonical=False)
    assert np.allclose(relative, wanted, atol=1e-6)
    absolute = azimuths_deg(own, own_world=True, canonical=True)
    assert np.ptp((absolute - wanted) % 360) < 1e-6 and abs(absolute[0]) > 1


def test_whole_circles() -> None:
    assert is_whole_circle(np.arange(8) * 45.0)
    assert not is_whole_circle(np.linspace(0, 180, 8))
    assert not is_whole_circle(np.array([0.0, 180.0]))


def test_the_rate_warms_up_and_falls() -> None:
    rates = [rate_share(n, 100) for n in range(100)]
    assert rates[0] == 0.2 and max(rates) == 1 and rates[-1] < 0.01
    assert all(a > b for a, b in pairwise(rates[5:]))


def test_data_of_any_layout(tmp_path: Path) -> None:
    """Also without records and splits, as MVImgNet comes: class/instance/{images,sparse}."""
    root = tmp_path / "own"
    simulate_dataset(
        root, options=SimulateDatasetOptions(classes=2, instances=4, views=4, size=32), workers=1
    )
    bare = tmp_path / "bare"
    for folder in sorted(root.glob("*/*-000*")):
        for name in ("images", "sparse/0"):
            (bare / folder.parent.name / folder.name / name).mkdir(parents=True)
            for path in (folder / name).iterdir():
                (bare / folder.parent.name / folder.name / name / path.name).write_bytes(path.read_bytes())
    for data, crop in ((root, "object"), (bare, "whole")):
        out = tmp_path / f"store {data.name}"
        out.mkdir()
        prepare(dataclasses.replace(TINY, data=data, crop=crop), out, no_progress)
        store = read_store(out)
        assert store.images.shape == (32, 3, 32, 32) and store.classes == ("bottle", "mug")
        assert store.images.std() > 10
        views = store.views
        train, test = (set(views.thing[views.is_train == flag]) for flag in (True, False))
        assert train and test and not train & test
        if data == bare:
            assert (views.azimuth_deg[::4] == 0).all(), "the first view is taken for the canonical one"


def test_a_tiny_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from walkaround.studies.frame import run_study

    torch.set_num_threads(1)
    found = run_study(ClassifyStudy(), TINY, tmp_path)
    assert {row["arm"] for row in found.rows} == set(ARMS)
    for row in found.rows:
        assert 0 <= row["metrics"]["top1"] <= 1
    said = json.loads((tmp_path / "results.json").read_text())
    assert {claim["verdict"] for claim in said["claims"]} == {"unclear"}, "one seed shows nothing"
    assert "top1_from_150_to_180" in said["rows"][0]["metrics"]


@pytest.mark.parametrize(("name", "count"), [("resnet50", 25_557_032), ("deit_tiny", 5_717_416)])
def test_published_parameter_counts(name: str, count: int) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from walkaround.studies.views.networks import make_network

    network = make_network(name, num_classes=1000, size_px=224)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_augmentation_leaves_light_images_nearly_alone() -> None:
    torch = pytest.importorskip("torch")
    from walkaround.studies.classify.augment import augmented

    ramp = torch.arange(32, dtype=torch.uint8).repeat(2, 3, 32, 1) * 8
    strong = np.array([False, True])
    out = augmented(ramp, strong, np.random.default_rng(5))
    assert out.shape == (2, 3, 32, 32) and float(out.min()) >= 0 and float(out.max()) <= 1
    change = (out - ramp.float() / 255).abs().mean(dim=(1, 2, 3))
    assert change[0] < 0.08 < change[1]
    again = augmented(ramp, strong, np.random.default_rng(5))
    assert torch.equal(out, again)


@pytest.mark.parametrize(
    "fields", [{"network": "vgg"}, {"size_px": 50}, {"instances": 2}, {"steps": 0}, {"gap_deg": 200.0}]
)
def test_wrong_recipes(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(fields))):
        dataclasses.replace(TINY, **fields).check()
