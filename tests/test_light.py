"""Light that disagrees between views: the sign of a model whose sides were laid on each other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_cameras import make_orbit, scores_of
from walkaround.cameras.ladder import FOLDED, is_folded, overall
from walkaround.cameras.light import (
    MIN_PAIRS,
    NO_EVIDENCE,
    TIMES,
    LightEvidence,
    compare_light,
    light_conflict,
    light_spread,
    pairs_of_one_light,
    read_lights,
    view_angles_deg,
)
from walkaround.cameras.scoring import measure_model
from walkaround.cameras.viewgraph import ViewGraph
from walkaround.quality.rules import RULES_BY_CODE, judge
from walkaround.types import FloatArray, SparseModel

NUM_VIEWS = 24


def evidence_of(side: FloatArray, model: SparseModel, graph: ViewGraph) -> LightEvidence:
    """Light drifts apart with the angle; views of different sides differ by a lot."""
    rng = np.random.default_rng(1)
    names, angles = [view.frame.image for view in model.views], view_angles_deg(model)
    matches, ratios = {}, {}
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            if angles[i, j] < 70:
                both = np.intersect1d(model.observations[i], model.observations[j])
                drift = 0.03 + 0.002 * angles[i, j] + 0.25 * (side[i] != side[j])
                matches[(names[i], names[j])] = np.column_stack([both, both])
                ratios[(names[i], names[j])] = drift * rng.normal(size=len(both))
    return LightEvidence(graph=ViewGraph(keypoints=graph.keypoints, matches=matches), ratios=ratios)


def test_a_right_model_has_no_conflicts_and_a_folded_one_many() -> None:
    model, graph = make_orbit(num_views=NUM_VIEWS, arc_deg=170.0)
    assert light_conflict(model, evidence_of(np.zeros(NUM_VIEWS), model, graph)) == 0.0
    assert light_conflict(model, evidence_of(np.arange(NUM_VIEWS) % 2.0, model, graph)) > 2 * FOLDED


def test_matches_that_the_poses_do_not_explain_have_no_say() -> None:
    model, graph = make_orbit(num_views=NUM_VIEWS, arc_deg=170.0)
    right = evidence_of(np.zeros(NUM_VIEWS), model, graph)
    matches, ratios = {}, {}
    rng = np.random.default_rng(2)
    for pair, found in right.graph.matches.items():  # twice as many false ones, in any light
        false = np.column_stack([rng.integers(0, 700, 2 * len(found)) for _ in range(2)])
        near = abs(int(pair[0][:3]) - int(pair[1][:3])) == 1
        matches[pair] = np.concatenate([found, false])
        ratios[pair] = np.concatenate(
            [right.ratios[pair], (2.0 if near else 0.02) * rng.normal(size=len(false))]
        )
    mixed = LightEvidence(graph=ViewGraph(keypoints=graph.keypoints, matches=matches), ratios=ratios)
    assert light_conflict(model, mixed) <= FOLDED


def test_pairs_of_one_light_are_those_of_one_side() -> None:
    model, graph = make_orbit(num_views=NUM_VIEWS, arc_deg=170.0)
    names = [view.frame.image for view in model.views]
    side = np.arange(NUM_VIEWS) % 2
    evidence = evidence_of(side * 1.0, model, graph)
    alike = pairs_of_one_light(evidence, TIMES)
    same = {pair for pair in evidence.ratios if side[names.index(pair[0])] == side[names.index(pair[1])]}
    assert alike <= same
    for i in range(NUM_VIEWS - 2):  # neighbours stay
        assert (names[i], names[i + 2]) in alike


def test_the_rule_and_the_ladder_have_one_limit() -> None:
    assert RULES_BY_CODE["folded_model"].high == FOLDED


def test_too_few_near_pairs_say_nothing() -> None:
    model, _ = make_orbit(num_views=MIN_PAIRS, arc_deg=340.0)
    assert np.isnan(light_conflict(model, NO_EVIDENCE))
    scores = measure_model(model, num_frames=5, num_models=1, consistency=1.0, light_conflict=float("nan"))
    assert "light_conflict" not in scores and not is_folded(scores)
    assert "folded_model" not in judge(scores)[1]
    measured = measure_model(model, num_frames=5, num_models=1, consistency=1.0, light_conflict=2 * FOLDED)
    assert is_folded(measured) and "folded_model" in judge(measured)[1]


def test_a_folded_model_loses_to_a_smaller_right_one() -> None:
    folded = scores_of(light_conflict=2 * FOLDED)
    assert is_folded(folded)
    assert overall(folded) < overall(scores_of(registered_share=0.5))


def write_shaded(path: Path, exposure: float, slope: float) -> None:
    """A grey card, brighter towards the right by ``slope`` (natural logarithm from side to side)."""
    light = 0.2 * exposure * np.exp(slope * np.linspace(-0.5, 0.5, 400))
    srgb = 1.055 * light ** (1 / 2.4) - 0.055
    image = np.repeat(np.rint(255 * np.tile(srgb, (300, 1)))[..., None], 3, axis=2)
    cv2.imwrite(str(path), image.astype(np.uint8))


@pytest.mark.parametrize(("exposure", "slope", "spread"), [(1.0, 0.0, 0.0), (0.5, 0.0, 0.0), (1.0, 0.8, 0.3)])
def test_exposure_does_not_count_and_shading_does(
    tmp_path: Path, exposure: float, slope: float, spread: float
) -> None:
    write_shaded(tmp_path / "a.png", 1.0, 0.0)
    write_shaded(tmp_path / "b.png", exposure, slope)
    points = np.random.default_rng(0).uniform(20, 280, (100, 2)) * [4 / 3, 1]
    keypoints = {"a.png": points, "b.png": points}
    matches = {("a.png", "b.png"): np.repeat(np.arange(100)[:, None], 2, axis=1)}
    graph = ViewGraph(keypoints=keypoints, matches=matches)
    light = read_lights(tmp_path, ["a.png", "b.png"], 1)
    found = light_spread(compare_light(graph, light).ratios[("a.png", "b.png")])
    # uniform over a width of 0.87 * slope * 400: the median of |x - middle| is a quarter of the width
    expected = 1.4826 * 0.25 * slope * (280 - 20) * 4 / 3 / 400
    assert found == pytest.approx(expected, abs=0.03)
    assert (found > 0.2) == (spread > 0.2)


def test_few_matches_are_not_asked(tmp_path: Path) -> None:
    write_shaded(tmp_path / "a.png", 1.0, 0.0)
    points = np.full((10, 2), 100.0)
    graph = ViewGraph(
        keypoints={"a.png": points, "b.png": points},
        matches={("a.png", "b.png"): np.zeros((10, 2), dtype=np.int64)},
    )
    light = read_lights(tmp_path, ["a.png"], 1)
    assert compare_light(graph, {**light, "b.png": light["a.png"]}).ratios == {}
