"""The contrastive study: pairs, augmentation, momentum contrast, probes, and a tiny run that is cut off."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.io.atomic import write_json
from walkaround.studies.contrast.pairs import partners
from walkaround.studies.contrast.recipe import FULL, ContrastRecipe
from walkaround.studies.contrast.study import ContrastStudy, positives, probed_rows
from walkaround.studies.views.azimuth import angle_between
from walkaround.studies.views.rows import Views
from walkaround.types import ByteArray, FloatArray, Progress

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

TINY = ContrastRecipe(
    size_px=32, steps=6, batch=8, queue=16, neighbours=3, seeds=(0,), threads=1, device="cpu",
    checkpoint_every=2,
)  # fmt: skip


def ring(num_things: int, num_views: int = 12, *, first_deg: float = 0.0) -> Views:
    """Objects of two classes seen from all around; the last quarter of them is for the test."""
    azimuth = (first_deg + np.arange(num_views) * 360.0 / num_views + 180) % 360 - 180
    thing = np.repeat(np.arange(num_things), num_views)
    return Views(
        label=thing % 2,
        thing=thing,
        azimuth_deg=np.tile(azimuth, num_things),
        is_train=thing < num_things * 3 // 4,
        whole_circle=np.ones(len(thing), dtype=bool),
    )


def pictures(views: Views, size: int = 32) -> ByteArray:
    """One colour an object, one brightness a view, a class by its stripes, noise."""
    rng = np.random.default_rng(0)
    stripes = np.sin(np.arange(size) * 0.8)[None, :] * np.ones((size, 1))
    out = rng.normal(110, 8, (len(views.thing), 3, size, size))
    out += 60 * np.where(views.label[:, None, None] == 0, stripes, stripes.T)[:, None]
    out += 20 * rng.normal(size=(views.thing.max() + 1, 3))[views.thing][:, :, None, None]
    out += 10 * np.cos(np.radians(views.azimuth_deg))[:, None, None, None]
    return out.clip(0, 255).astype(np.uint8)


class Synthetic(ContrastStudy):
    """The study on pictures made here; ``stop_at`` plays a kill in the middle of the pretraining."""

    stop_at = -1

    def prepare(self, recipe: ContrastRecipe, folder: Path, progress: Progress) -> None:
        views = ring(8, 6)
        np.save(folder / "images.npy", pictures(views))
        np.savez(folder / "views.npz", **vars(views))
        write_json(folder / "prepared.json", {"classes": ["lying", "standing"]})


def test_partners_are_at_the_gap() -> None:
    views = ring(3)
    rows = np.flatnonzero(views.is_train)
    for gap in (30.0, 90.0, 180.0):
        found = partners(views, rows, gap)
        assert found.shape == (len(rows), 2)
        assert (views.thing[found] == views.thing[rows][:, None]).all()
        apart = angle_between(views.azimuth_deg[found], views.azimuth_deg[rows][:, None])
        assert np.allclose(apart, gap) or (gap == 180 and np.allclose(apart[:, 0], 180))
        if gap < 180:
            assert (found[:, 0] != found[:, 1]).all(), "one to each side"
    assert (partners(views, rows, 10.0) != rows[:, None]).all(), (
        "never itself, though it is nearer to 10 degrees"
    )


def test_partners_of_arcs_and_of_rows_in_any_order() -> None:
    azimuth = np.array([0.0, 40.0, 20.0, 60.0])
    views = Views(
        label=np.zeros(5, int),
        thing=np.array([0, 0, 0, 0, 1]),
        azimuth_deg=np.append(azimuth, 0.0),
        is_train=np.ones(5, bool),
        whole_circle=np.zeros(5, bool),
    )
    found = partners(views, np.arange(5), 40.0)
    assert sorted(found[0].tolist()) == [1, 1], "20 and 60 degrees miss the gap by 20 more than 40 does"
    assert found[3].tolist() == [2, 2]
    assert found[4].tolist() == [4, 4], "an object with one view has no other"
    turned = partners(views, np.array([3, 4, 0, 1, 2]), 40.0)
    assert np.array_equal(turned, found[[3, 4, 0, 1, 2]])


def test_arms_differ_in_their_pairs_alone() -> None:
    views = ring(4)
    given = {arm: positives(views, arm, TINY) for arm in ContrastStudy().arms(TINY)[1:]}
    assert list(given) == ["augmented", "view-near", "view-far"]
    for first, _ in given.values():
        assert np.array_equal(first, np.flatnonzero(views.is_train)), "the same images, none of the test"
    assert (given["augmented"][1] == given["augmented"][0][:, None]).all()
    assert (given["view-near"][1] != given["view-far"][1]).all()
    with pytest.raises(ValueError, match="random"):
        positives(views, "random", TINY)


def test_views_for_the_probe() -> None:
    views = ring(4)
    assert len(probed_rows(views, 0)) == 36
    some = probed_rows(views, 3)
    assert np.bincount(views.thing[some]).tolist() == [3, 3, 3] and views.is_train[some].all()
    assert len(probed_rows(views, 50)) == 36, "no view comes twice"


def test_augmentation() -> None:
    from walkaround.studies.contrast.augment import _blurred, _colours, augmented

    images = torch.from_numpy(pictures(ring(4)))
    out = augmented(images, np.random.default_rng(1))
    assert out.shape == images.shape and out.dtype == torch.float32
    assert float(out.min()) >= 0 and float(out.max()) <= 1
    assert torch.equal(out, augmented(images, np.random.default_rng(1)))
    change = (out - images.float() / 255).abs().mean(dim=(1, 2, 3))
    assert (change > 0.01).float().mean() > 0.9
    grey = (out.amax(dim=1) - out.amin(dim=1)).amax(dim=(1, 2)) < 1e-3
    assert 0.05 < grey.float().mean() < 0.45, "a fifth is grey"
    alone = _colours(200, np.zeros(200, dtype=bool), np.random.default_rng(0))
    plain = np.isclose(alone, np.eye(3), atol=1e-9).all(axis=(1, 2))
    assert 0.7 < plain.mean() < 0.9, "what is neither jittered nor grey keeps its colours"
    grey_pixel = _colours(50, np.ones(50, dtype=bool), np.random.default_rng(0)) @ np.ones(3)
    assert np.allclose(grey_pixel, grey_pixel[:, :1], rtol=5e-3), "grey stays grey, whatever the hue's turn"
    point = torch.zeros(2, 3, 15, 15)
    point[:, :, 7, 7] = 1
    blurred = _blurred(point, np.array([1e-3, 1.0]), reach=4)
    assert torch.allclose(blurred[0], point[0]) and float(blurred[1, 0, 7, 7]) == pytest.approx(
        0.159, abs=2e-3
    )
    assert torch.allclose(blurred.sum(dim=(2, 3)), torch.ones(2, 3), atol=1e-5)


def test_info_nce_by_hand() -> None:
    from walkaround.studies.contrast.moco import info_nce

    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    key = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    negatives = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    found = float(info_nce(query, key, negatives, 0.5))
    terms = [np.array([2.0, 0.0, -2.0]), np.array([0.0, 2.0, 0.0])]
    assert found == pytest.approx(np.mean([np.log(np.exp(t).sum()) - t[0] for t in terms]), abs=1e-6)


def test_momentum_and_queue() -> None:
    from walkaround.studies.contrast.moco import MomentumContrast

    torch.manual_seed(0)
    model = MomentumContrast("small_resnet", queue=12, momentum=0.9, temperature=0.2, groups=2).train()
    before = [part.clone() for part in model.key.parameters()]
    with torch.no_grad():
        for part in model.query.parameters():
            part.add_(1.0)
    old = model.queue.clone()
    images, order = torch.rand(4, 3, 32, 32), torch.tensor([2, 0, 3, 1])
    loss = model(images, images, order)
    loss.backward()
    for was, now in zip(before, model.key.parameters(), strict=True):
        assert torch.allclose(now, was + 0.1, atol=1e-5) and now.grad is None
    assert all(part.grad is not None for part in model.query.parameters())
    assert not torch.equal(model.queue[:4], old[:4]) and torch.equal(model.queue[4:], old[4:])
    assert torch.allclose(model.queue.norm(dim=1), torch.ones(12), atol=1e-5)
    for _ in range(2):
        model(images, images, order)
    assert (model.queue != old).any(dim=1).all() and int(model.place) == 0, "full; the oldest are next"


def test_keys_are_normalised_in_other_company_than_queries() -> None:
    from walkaround.studies.contrast.moco import MomentumContrast

    torch.manual_seed(0)
    model = MomentumContrast("small_resnet", queue=8, momentum=0.0, temperature=0.2, groups=2).train()
    images = torch.rand(8, 3, 32, 32)
    found = []
    for order in ([0, 1, 2, 3, 4, 5, 6, 7], [3, 2, 1, 0, 4, 7, 6, 5], [0, 4, 1, 5, 2, 6, 3, 7]):
        model.place.zero_()
        model(images, images, torch.tensor(order))
        found.append(model.queue.clone())
    assert torch.allclose(found[0], found[1], atol=1e-4), "in order again, and of the same company"
    assert not torch.allclose(found[0], found[2], atol=1e-3), "other company, other statistics"


def blobs(rng: np.random.Generator, count: int) -> tuple[FloatArray, Any]:
    label = np.arange(count) % 3
    centres = np.array([[5.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 5.0, 0]])
    return (centres[label] + rng.normal(size=(count, 4))).astype(np.float32), label


def test_probes_on_blobs() -> None:
    from walkaround.studies.contrast.probe import linear_probe, nearest_neighbours

    rng = np.random.default_rng(0)
    (train, label), (test, wanted) = blobs(rng, 90), blobs(rng, 60)
    probability = linear_probe(train, label, test, num_classes=3, decay=1e-3, device="cpu")
    assert probability.shape == (60, 3) and np.allclose(probability.sum(axis=1), 1)
    assert (probability.argmax(axis=1) == wanted).mean() > 0.95
    flat = linear_probe(train, label, test, num_classes=3, decay=1e4, device="cpu")
    assert np.ptp(flat) < 0.05, "the penalty holds the weights down"
    voted = nearest_neighbours(train, label, test, num_classes=3, neighbours=500, device="cpu")
    assert (voted == wanted).mean() > 0.95, "more neighbours than there are: all vote"


def test_near_neighbours_weigh_more() -> None:
    from walkaround.studies.contrast.probe import nearest_neighbours

    train = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]], dtype=np.float32)
    label, test = np.array([0, 1, 1]), np.array([[2.0, 0.0]], dtype=np.float32)
    found = [
        nearest_neighbours(
            train, label, test, num_classes=2, neighbours=3, device="cpu", temperature=temperature
        ).item()
        for temperature in (0.07, 100.0)
    ]
    assert found == [0, 1]


def test_published_parameter_counts() -> None:
    """23.5 M (ResNet-50 without its last layer), and MMPretrain's 55,933,312 of the whole of MoCo v2."""
    from walkaround.studies.contrast.moco import MomentumContrast

    with torch.device("meta"):
        model = MomentumContrast("resnet50", queue=8, momentum=0.999, temperature=0.2, groups=1)
    assert sum(part.numel() for part in model.encoder.parameters()) == 25_557_032 - 2048 * 1000 - 1000
    assert sum(part.numel() for part in model.parameters()) == 55_933_312


def test_a_run_that_is_cut_off_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from walkaround.studies.contrast import study as module
    from walkaround.studies.frame import load_result, run_study

    torch.set_num_threads(1)
    whole = run_study(Synthetic(), TINY, tmp_path / "whole")
    made, calls = module._batch, []

    def counted(*given: Any) -> Any:
        calls.append((given[4].arm, given[5]))
        if len(calls) == 10:
            raise KeyboardInterrupt
        return made(*given)

    monkeypatch.setattr(module, "_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        run_study(Synthetic(), TINY, tmp_path / "cut")
    cut = run_study(Synthetic(), TINY, tmp_path / "cut")
    assert calls[9] == ("view-near", 3) and calls[10] == ("view-near", 2), "on after the checkpoint"
    assert [row["metrics"] for row in cut.rows] == [row["metrics"] for row in whole.rows]
    for arm in ContrastStudy().arms(TINY):
        one, other = (
            load_result(tmp_path / name / "jobs" / arm / "0" / "encoder.pt") for name in ("whole", "cut")
        )
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_table_has_arms_and_claims(tmp_path: Path) -> None:
    from walkaround.studies.frame import run_study

    torch.set_num_threads(1)
    recipe = dataclasses.replace(TINY, steps=2, seeds=(0, 1, 2))
    found = run_study(Synthetic(), recipe, tmp_path)
    said = json.loads((tmp_path / "results.json").read_text())
    assert {row["arm"] for row in found.rows} == {"random", "augmented", "view-near", "view-far"}
    metrics = {metric.name for metric in ContrastStudy.metrics}
    assert all(metrics <= set(row["metrics"]) for row in said["rows"])
    assert {claim["verdict"] for claim in said["claims"]} <= {"holds", "opposite", "unclear"}
    for claim in ContrastStudy.claims:
        assert {claim.better, claim.than} <= set(found.arms) and claim.metric in metrics
    table = (tmp_path / "table.txt").read_text()
    assert "view-far" in table and "2303.06042" in table


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "deit_tiny"},
        {"near_deg": 0.0},
        {"far_deg": 20.0},
        {"batch": 7},
        {"groups": 0},
        {"queue": 20},
        {"momentum": 1.0},
        {"temperature": 0.0},
        {"neighbours": 0},
        {"size_px": 50},
    ],
)
def test_wrong_recipes(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"study contrast: {next(iter(fields))} "):
        dataclasses.replace(TINY, **fields).check()


def test_presets_are_right() -> None:
    ContrastRecipe().check()
    FULL.check()
