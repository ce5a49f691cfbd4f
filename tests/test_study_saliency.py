"""The saliency study: measures, flows, stored data, and a tiny run end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from walkaround.dataset.torch.crop import Crop
from walkaround.dataset.torch.view import LoadedView
from walkaround.errors import FormatError, InputError, UsageError
from walkaround.studies.saliency.flow import (
    confirmed,
    cropped_flow,
    dis_flow,
    exact_flow,
    find_flow,
    read_flow,
)
from walkaround.studies.saliency.measures import Measures, s_measure
from walkaround.studies.saliency.prepare import Store, prepare, read_store
from walkaround.studies.saliency.recipe import SaliencyRecipe
from walkaround.types import FloatArray, no_progress

TINY = SaliencyRecipe(
    classes=2, instances=4, views=3, arc_deg=24, size_px=32, steps=4, batch=2, seeds=(0,), threads=1,
    device="cpu", checkpoint_every=2,
)  # fmt: skip


def maps(seed: int) -> tuple[FloatArray, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:40, 0:50]
    mask = np.hypot(y - 18, x - 22 - seed) < 9 + seed
    probability = np.clip(0.7 * mask + rng.uniform(0, 0.6, mask.shape) - 0.1 * seed, 0, 1)
    return probability, mask


# --- measures ---


def test_measures_by_hand() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:3] = True
    perfect, half = Measures(), Measures()
    perfect.add(mask.astype(float), mask)
    found = perfect.results()
    assert found["mae"] == 0 and found["iou"] == 1
    assert found["f_beta"] == pytest.approx(1) and found["s_measure"] == pytest.approx(1)
    wide = np.zeros((4, 5))
    wide[1:3, 1:5] = 1  # precision 1/2, recall 1
    half.add(wide, mask)
    assert half.results()["f_beta"] == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    assert half.results()["iou"] == 0.5 and half.results()["mae"] == pytest.approx(4 / 20)


def test_measures_of_empty_and_full_masks() -> None:
    soft = np.full((6, 6), 0.25)
    assert s_measure(soft, np.zeros((6, 6), bool)) == 0.75
    assert s_measure(soft, np.ones((6, 6), bool)) == 0.25
    both = Measures()
    both.add(np.zeros((6, 6)), np.zeros((6, 6), bool))
    both.add(np.ones((6, 6)), np.ones((6, 6), bool))
    assert both.results()["mae"] == 0 and both.results()["iou"] == 1


def test_measures_are_those_of_pysodmetrics() -> None:
    """It cannot be installed beside us; put it on the path with ``pip install --no-deps --target``."""
    theirs = pytest.importorskip("py_sod_metrics")
    ours = Measures()
    mae, f, s, e = (
        theirs.MAE(),
        theirs.Fmeasure.__new__(theirs.Fmeasure),
        theirs.Smeasure(),
        theirs.Emeasure(),
    )
    f.beta, f.precisions, f.recalls, f.adaptive_fms, f.changeable_fms = 0.3, [], [], [], []
    for seed in range(4):
        probability, mask = maps(seed)
        ours.add(probability, mask)
        mae.maes.append(mae.cal_mae(probability, mask))
        s.sms.append(s.cal_sm(probability, mask))
        f.adaptive_fms.append(f.cal_adaptive_fm(probability, mask))
        precision, recall, curve = f.cal_pr(probability, mask)
        f.precisions.append(precision)
        f.recalls.append(recall)
        f.changeable_fms.append(curve)
        e.gt_fg_numel, e.gt_size = np.count_nonzero(mask), mask.size
        e.changeable_ems.append(e.cal_changeable_em(probability, mask))
        e.adaptive_ems.append(e.cal_adaptive_em(probability, mask))
    found = ours.results()
    assert found["mae"] == pytest.approx(mae.get_results()["mae"])
    assert found["s_measure"] == pytest.approx(s.get_results()["sm"])
    assert found["f_beta"] == pytest.approx(f.get_results()["fm"]["curve"].max())
    assert found["e_measure"] == pytest.approx(e.get_results()["em"]["curve"].mean())


# --- flows ---


def textured(size: int = 64) -> Any:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (size // 4, size // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def test_dis_finds_a_shift() -> None:
    image = textured()
    moved = np.roll(image, (2, 3), axis=(0, 1))
    flow = dis_flow(image, moved)
    assert np.median(np.abs(flow[0] - 3)) < 0.3 and np.median(np.abs(flow[1] - 2)) < 0.3


def view(depth: FloatArray) -> LoadedView:
    size = len(depth)
    K = np.array([[40.0, 0, size / 2], [0, 40.0, size / 2], [0, 0, 1]])
    crop = Crop(left=0, top=0, side=size, reduction=1, size_px=size)
    return LoadedView(
        image_bgr=np.zeros((size, size, 3), np.uint8), K=K, distortion=np.zeros(4), crop=crop, mask=None,
        depth=depth.astype(np.float32), depth_valid=depth > 0,
    )  # fmt: skip


def test_exact_flow_of_a_sideways_step() -> None:
    depth = np.full((16, 16), 2.0)
    depth[:4] = 0
    step = np.eye(4)
    step[0, 3] = -0.1  # the second camera stands 0.1 to the right: 0.1 * 40 / 2 = 2 px to the left
    flow, known = exact_flow(view(depth), view(depth), step)
    assert np.allclose(flow[:, 4:], np.array([-2.0, 0.0])[:, None, None], atol=1e-5)
    assert not known[:4].any() and known[4:].all()
    back, known_back = exact_flow(view(depth), view(depth), np.linalg.inv(step))
    valid = confirmed(flow, back, 0.5, (known, known_back))
    assert not valid[:, :2].any() and valid[4:, 2:].all(), "what leaves the image is not confirmed"
    with pytest.raises(FormatError):
        exact_flow(dataclasses.replace(view(depth), depth=None), view(depth), step)


def test_what_the_way_back_contradicts_is_not_confirmed() -> None:
    there, back = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    there[0] = 2
    back[0] = -2
    back[0, 3, 5] = 1
    valid = confirmed(there, back, 1.0)
    assert not valid[3, 3] and valid[3, 2] and not valid[:, 6:].any()


def test_flow_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    head = np.float32(202021.25).tobytes() + np.array([8, 6], "<i4").tobytes()
    (tmp_path / "mug" / "a").mkdir(parents=True)
    flo = tmp_path / "mug" / "a" / "001_to_002.flo"
    flo.write_bytes(head + values.tobytes())
    assert find_flow(tmp_path, "mug/a", "001.jpg", "002.jpg") == flo
    assert np.array_equal(read_flow(flo), values.transpose(2, 0, 1))
    np.save(tmp_path / "raft.npy", values.transpose(2, 0, 1))
    assert np.array_equal(read_flow(tmp_path / "raft.npy"), values.transpose(2, 0, 1))
    with pytest.raises(InputError, match="002_to_001"):
        find_flow(tmp_path, "mug/a", "002.jpg", "001.jpg")
    for broken in (b"", head[:6], head + b"\0" * 8, b"\0" * 400):
        flo.write_bytes(broken)
        with pytest.raises(InputError, match=r"\.flo"):
            read_flow(flo)
    np.save(tmp_path / "flat.npy", values[0])
    with pytest.raises(InputError, match="were expected"):
        read_flow(tmp_path / "flat.npy")


def test_a_flow_of_whole_images_is_cut_like_them() -> None:
    """A flow that grows with x, of images of 40 x 20 whose middle square becomes 10 x 10."""
    x = np.arange(40, dtype=np.float32) + 0.5
    flow = np.stack([np.tile(x, (20, 1)), np.full((20, 40), 4, np.float32)])
    crop = Crop(left=10, top=0, side=20, reduction=1, size_px=10)
    cut = cropped_flow(flow, crop, (40, 20))
    assert np.allclose(cut[0, 3], (10 + 2 * (np.arange(10) + 0.5)) / 2, atol=0.02) and np.allclose(cut[1], 2)
    half = cropped_flow(flow[:, ::2, ::2] / 2, crop, (40, 20))
    with pytest.raises(InputError, match="of images of 40 x 30"):
        cropped_flow(flow, crop, (40, 30))
    assert np.allclose(half[1], 2) and np.allclose(half[0], cut[0], atol=0.3)


# --- the recipe ---


@pytest.mark.parametrize(
    "wrong", [{"network": "huge"}, {"flow": "files"}, {"flow_dir": Path()}, {"size_px": 50}, {"weight": 0}]
)
def test_recipes_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)) if "flow" not in wrong else "flow_dir"):
        dataclasses.replace(TINY, **wrong).check()


# --- the study ---


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saliency")
    prepare(TINY, folder, no_progress)
    return folder


@pytest.fixture(scope="module")
def store(prepared: Path) -> Store:
    return read_store(prepared)


def test_stored_data(prepared: Path, store: Store) -> None:
    assert store.images.shape == (24, 3, 32, 32) and store.masks.shape == (24, 32, 32)
    assert len(store.first) == 8 * 2 * 2 and (np.abs(store.first - store.second) == 1).all()
    assert 0 < store.is_train.sum() < 24
    test = ~store.is_train[store.first]
    assert store.truth_valid[test].any() and not store.truth_valid[~test].any()
    about = json.loads((prepared / "prepared.json").read_text())
    assert about["num_left_out"] == 0 and about["flow_error_px"] < 1.0


def test_true_warps_carry_masks(store: Store) -> None:
    """Where the true flow is confirmed, both ends lie on the object; pixels of its outline are soft."""
    torch = pytest.importorskip("torch")
    from walkaround.studies.saliency.losses import warped

    for pair in np.flatnonzero(~store.is_train[store.first]):
        other = torch.from_numpy(store.masks[store.second[pair]].astype(np.float32))[None, None]
        moved = warped(other, torch.from_numpy(store.truth_flow[pair].astype(np.float32))[None])[0, 0].numpy()
        valid = store.truth_valid[pair]
        assert (store.masks[store.first[pair]][valid] > 64).mean() > 0.98
        assert (moved[valid] > 64).mean() > 0.95


def test_a_batch_keeps_flow_and_images_together(store: Store) -> None:
    torch = pytest.importorskip("torch")
    from walkaround.studies.saliency.losses import warped
    from walkaround.studies.saliency.training import drawn_batch

    pairs = np.flatnonzero(~store.is_train[store.first])
    exact = dataclasses.replace(store, flow=store.truth_flow, valid=store.truth_valid)
    _, masks, flow, valid = drawn_batch(exact, np.tile(pairs, 4), np.random.default_rng(0), "cpu")
    first, second = masks.chunk(2)

    def away(sign: float) -> float:
        turned = flow * torch.tensor([sign, 1.0])[:, None, None]
        return float(((first - warped(second, turned)).abs()[:, 0] * valid).sum() / valid.sum())

    assert away(1.0) < 0.08 < 0.5 * away(-1.0)
    mirrored = ~np.isclose(masks[: len(valid), 0].numpy(), store.masks[store.first[np.tile(pairs, 4)]] / 255)
    assert 0 < mirrored.any(axis=(1, 2)).sum() < len(valid), "some are mirrored, some are not"


def test_the_study_end_to_end(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from walkaround.studies.frame import run_study
    from walkaround.studies.saliency.study import SaliencyStudy

    recipe = dataclasses.replace(TINY, data=prepared / "dataset", flow="exact")
    study = SaliencyStudy()
    results = run_study(study, recipe, tmp_path / "out")
    assert results.arms == ("supervised", "consistent")
    for row in results.rows:
        assert {metric.name for metric in study.metrics} <= row["metrics"].keys()
        assert row["metrics"]["warp_is_exact"] == 1
    one, other = (results.values(arm, "mae")[0] for arm in results.arms)
    assert one != other, "the loss changes the training"
    assert [item.verdict for item in results.verdicts()] == ["unclear"] * 3, "one seed shows nothing"


def test_flows_from_files_are_used(prepared: Path, tmp_path: Path) -> None:
    root = prepared / "dataset"
    recipe = dataclasses.replace(TINY, data=root, flow="files", flow_dir=tmp_path / "flows")
    out = tmp_path / "store"
    out.mkdir()
    with pytest.raises(InputError, match="001_to_002"):
        prepare(recipe, out, no_progress)
    for scene in root.glob("*/*/sequence.json"):
        folder = tmp_path / "flows" / scene.parent.parent.name / scene.parent.name
        folder.mkdir(parents=True)
        for name in ("001_to_002", "002_to_001", "002_to_003", "003_to_002"):
            np.save(folder / f"{name}.npy", np.full((2, 48, 48), 1.5 if name < "002_to_003" else -1.5))
    prepare(recipe, out, no_progress)
    found = read_store(out).flow
    assert np.allclose(np.abs(found), 1.0), "1.5 pixels of 48 are 1 of 32"
