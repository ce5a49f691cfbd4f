"""Joining models that the mapper left apart, on two halves of COLMAP's own synthetic scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_cameras import synthetic
from walkaround.cameras import CamerasOptions
from walkaround.cameras import examine as examination
from walkaround.cameras.examine import Found, Job, examine, join_checked, merge_models, trim
from walkaround.cameras.mend import Scene, loose_cameras, retriangulate
from walkaround.cameras.merge import crossing_support, find_similarity, join_models, names_of, pair_points
from walkaround.cameras.viewgraph import delete_pairs, read_view_graph
from walkaround.geometry import robust_similarity
from walkaround.io.colmap import load_pycolmap
from walkaround.types import Frame

TURN = np.array([0.3, -0.8, 0.2, 0.49])
SCALE = 2.5


def half(whole: Any, names: list[str], *, moved: bool = False) -> Any:
    """Return a model of some of the images as the mapper would leave it, in a world of its own if moved."""
    pycolmap = load_pycolmap()
    part = type(whole)(whole)
    for image in list(part.images.values()):
        if image.name not in names:
            part.deregister_frame(image.frame_id)
    part.tear_down()
    if moved:
        turn = pycolmap.Rotation3d(TURN / np.linalg.norm(TURN))
        part.transform(pycolmap.Sim3d(SCALE, turn, np.array([3.0, -1.0, 2.0])))
    return part


def centres_of(model: Any, names: list[str]) -> np.ndarray:
    found = {image.name: image.projection_center() for image in model.images.values() if image.has_pose}
    return np.array([found[name] for name in names])


def worst_error(whole: Any, model: Any) -> float:
    """Of the camera centres, over the size of the scene."""
    names = sorted(names_of(whole))
    truth, found = centres_of(whole, names), centres_of(model, names)
    error = np.linalg.norm(robust_similarity(truth, found).apply(found) - truth, axis=1)
    return float(error.max() / np.abs(truth).max())


def make_job(whole: Any, folder: Path, scene: Scene) -> Job:
    frames = tuple(
        Frame(index=i + 1, image=name, source_index=i, timestamp_s=None)
        for i, name in enumerate(sorted(names_of(whole)))
    )
    return Job(
        image_dir=folder, frames=frames, sizes={}, focal_prior_px=None, ordered=False, work=folder,
        options=CamerasOptions(), seed=0, num_threads=1,
    )  # fmt: skip


def shuffled(scene: Scene, only_a: set[str], only_b: set[str], share: float) -> Scene:
    """Make a share of the matches between two sets of images false."""
    rng = np.random.default_rng(0)
    matches = {}
    for (first, second), found in scene.graph.matches.items():
        if (first in only_a) == (second in only_a) or (first in only_b) == (second in only_b):
            matches[(first, second)] = found
            continue
        wrong = rng.random(len(found)) < share
        mixed = found.copy()
        mixed[wrong, 1] = rng.permutation(mixed[wrong, 1])
        matches[(first, second)] = mixed
    return replace(scene, graph=replace(scene.graph, matches=matches))


@pytest.mark.parametrize("shared", [0, 2])
def test_two_halves_become_one_model(tmp_path: Path, shared: int) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    a, b = half(whole, names[: 4 + shared]), half(whole, names[4:], moved=True)
    joined = join_models(a, b, scene)
    assert joined is not None and names_of(joined) == set(names)
    assert names_of(a) == set(names[: 4 + shared])  # the parts are left alone
    assert worst_error(whole, retriangulate(joined, scene)) < 1e-5


def test_the_similarity_is_the_one_between_the_halves(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    a, b = half(whole, names[:4]), half(whole, names[4:], moved=True)
    found = find_similarity(pair_points(a, b, scene), seed=0)
    assert found is not None and found[1].all()
    assert found[0].scale == pytest.approx(1 / SCALE)


def test_a_half_with_a_focal_length_of_its_own_is_joined(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    a, b = half(whole, names[:5]), half(whole, names[5:], moved=True)
    for camera in b.cameras.values():
        camera.params = np.array(camera.params) * [1.01, 1, 1, 1][: len(camera.params)]
    joined = join_models(a, b, scene)
    assert joined is not None
    assert worst_error(whole, retriangulate(joined, scene)) < 1e-3


def test_false_matches_between_the_halves_are_seen_through(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    a, b = half(whole, names[:4]), half(whole, names[4:], moved=True)
    mixed = join_models(a, b, shuffled(scene, set(names[:4]), set(names[4:]), 0.4))
    assert mixed is not None and worst_error(whole, retriangulate(mixed, scene)) < 1e-5
    assert join_models(a, b, shuffled(scene, set(names[:4]), set(names[4:]), 1.0)) is None


def test_halves_without_matches_between_them_stay_apart(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    left = set(names[:4])
    within = {pair: m for pair, m in scene.graph.matches.items() if (pair[0] in left) == (pair[1] in left)}
    apart = replace(scene, graph=replace(scene.graph, matches=within))
    assert join_models(half(whole, names[:4]), half(whole, names[4:], moved=True), apart) is None


def examined(whole: Any, job: Job, scene: Scene, *names: list[str]) -> list[Found]:
    return [examine(half(whole, some, moved=k > 0), scene.graph, job) for k, some in enumerate(names)]


def test_three_models_are_joined_to_the_largest(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    job = make_job(whole, tmp_path, scene)
    parts = examined(whole, job, scene, names[5:], names[:3], names[3:5], names[6:])
    [one] = merge_models(parts, scene.graph, scene.database, job)
    assert sorted(map(len, one.merged)) == [2, 3, 3] and len(one.model.views) == 8
    assert one.check.score > 0.99
    assert merge_models(parts[:1], scene.graph, scene.database, job) == []
    assert merge_models([], scene.graph, scene.database, job) == []


def test_a_wrong_joint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated pattern can bring two models together at the wrong place; the other matches tell."""
    pycolmap = load_pycolmap()
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    job = make_job(whole, tmp_path, scene)
    a, b = examined(whole, job, scene, names[:4], names[4:])
    right = join_models(a.reconstruction, b.reconstruction, scene)
    wrong = type(whole)(whole)
    turn = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([0.0, 0.7, 0.0])), np.zeros(3))
    for image in wrong.images.values():
        if image.name in names[4:]:
            pose = image.cam_from_world() * turn
            wrong.frames[image.frame_id].set_cam_from_world(image.camera_id, pose)
    for model, accepted in ((right, True), (wrong, False)):
        monkeypatch.setattr(examination, "join_models", lambda a, b, scene, model=model: model)
        assert (join_checked(a, b, scene.graph, scene.database, job) is not None) == accepted


def test_support_between_two_sides_counts_their_pairs_only(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    job = make_job(whole, tmp_path, scene)
    pairs = list(examine(whole, scene.graph, job).check.pairs)
    broken = tuple(replace(p, agreeing=0) if p.first < 4 <= p.second else p for p in pairs)
    assert crossing_support(tuple(pairs), names, set(names[:4]), set(names[4:])) > 0.99
    assert crossing_support(broken, names, set(names[:4]), set(names[4:])) == 0.0
    assert crossing_support(broken, names, set(names[:2]), set(names[2:4])) > 0.99


def test_a_camera_tied_to_one_other_only_is_taken_out(tmp_path: Path) -> None:
    """It may slide along its baseline with all matches still explained."""
    whole, scene = synthetic(tmp_path)
    names = sorted(names_of(whole))
    job = make_job(whole, tmp_path, scene)
    assert loose_cameras(whole) == []
    pairs = {frozenset((a, b)) for a, b in scene.graph.matches if names[7] in (a, b)} - {
        frozenset((names[6], names[7]))
    }
    delete_pairs(scene.database, [(min(pair), max(pair)) for pair in pairs])
    graph = read_view_graph(scene.database)
    slid = type(whole)(whole)
    ids = {image.name: image for image in slid.images.values()}
    for point in list(slid.points3D.values()):  # the last camera keeps what it sees with one other
        elements = {e.image_id: e.point2D_idx for e in point.track.elements}
        if ids[names[7]].image_id in elements and len(elements) > 2:
            slid.delete_observation(ids[names[7]].image_id, elements[ids[names[7]].image_id])
    last, other = ids[names[7]], ids[names[6]]
    centre = 2.0 * last.projection_center() - other.projection_center()  # twice as far along the baseline
    pose = last.cam_from_world()
    pose.translation = -(pose.rotation * centre)
    slid.frames[last.frame_id].set_cam_from_world(last.camera_id, pose)
    before = examine(slid, graph, job)
    assert before.check.score > 0.9  # epipolar geometry does not see it
    assert loose_cameras(slid) == [names[7]]
    after = trim(before, graph, scene.database, job)
    assert after is not None
    assert [view.frame.image for view in after.model.views] == names[:7] and after.dropped == [names[7]]


def test_a_model_of_loose_cameras_is_no_model(tmp_path: Path) -> None:
    whole, scene = synthetic(tmp_path)
    job = make_job(whole, tmp_path, scene)
    for number, point in enumerate(list(whole.points3D.values())):  # two views are left of each point
        seen = [(element.image_id, element.point2D_idx) for element in point.track.elements]
        first = number % (len(seen) - 1)
        for where in seen[:first] + seen[first + 2 :]:
            whole.delete_observation(*where)
    assert len(loose_cameras(whole)) == 8
    assert trim(examine(whole, scene.graph, job), scene.graph, scene.database, job) is None
