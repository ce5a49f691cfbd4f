"""Large holes: pieces continue what repeats, each hole has its window, what is drawn joins its rim."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from walkaround.restore import pieces
from walkaround.restore.holes import drawn_by_patches, drawn_by_prior, fill_holes, large_holes, windows
from walkaround.restore.join import join
from walkaround.restore.options import PriorOptions
from walkaround.restore.patches import fill_by_patches
from walkaround.restore.pieces import Level, distances, most_alike, neighbours_and_chance, pieces_touching
from walkaround.restore.plate import fill_smooth


def wall(height: int = 110, width: int = 120) -> np.ndarray:
    """Return (H, W, 3): bricks, each row moved by half a brick."""
    rows, columns = np.mgrid[:height, :width]
    moved = columns + 8 * ((rows // 9) % 2)
    mortar = (rows % 9 < 2) | (moved % 16 < 2)
    noise = np.random.default_rng(0).normal(0, 0.01, (height, width, 3))
    colours = np.where(mortar[..., None], [0.8, 0.8, 0.75], [0.6, 0.3, 0.2])
    return np.clip(colours + noise, 0, 1).astype(np.float32)


def hole_in(shape: tuple[int, ...], *boxes: tuple[int, int, int, int]) -> np.ndarray:
    known = np.ones(shape[:2], bool)
    for top, left, height, width in boxes:
        known[top : top + height, left : left + width] = False
    return known


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(a - b).mean()))


def test_bricks_go_on() -> None:
    truth = wall()
    known = hole_in(truth.shape, (40, 45, 26, 30))
    image = np.where(known[..., None], truth, 0).astype(np.float32)
    done = fill_holes(image, known, drawn_by_patches())
    np.testing.assert_array_equal(done[known], image[known])
    assert rms(done[~known], truth[~known]) < 0.06
    assert rms(fill_smooth(image, known)[~known], truth[~known]) > 0.15


def test_a_seed_repeats_and_nothing_is_taken_from_what_is_not_usable() -> None:
    truth = wall(60, 70)
    known = hole_in(truth.shape, (20, 20, 14, 14))
    wrong = truth.copy()
    wrong[:, 50:] = (0, 0, 1)
    usable = known.copy()
    usable[:, 48:] = False
    first, second = (fill_by_patches(wrong, usable, ~known, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first[~known][:, 2].max() < 0.85


def test_each_hole_has_its_own_window() -> None:
    known = hole_in((400, 500), (10, 20, 20, 20), (12, 44, 20, 20), (350, 440, 25, 30))
    found = list(windows(known))
    assert len(found) == 2  # two near each other are one
    covered = np.zeros(known.shape, int)
    for box, hole in found:
        assert hole.size < known.size / 4
        covered[box] += hole
    np.testing.assert_array_equal(covered, ~known)


def test_a_wide_hole_at_the_border_and_a_picture_without_sources() -> None:
    truth = wall(60, 70)
    known = hole_in(truth.shape, (0, 0, 30, 30))
    done = fill_holes(truth, known, drawn_by_patches())
    assert np.isfinite(done).all() and np.abs(done - truth).max() <= 1
    sparse = np.zeros(known.shape, bool)
    sparse[::5, ::5] = True
    assert np.isfinite(fill_holes(truth, sparse, drawn_by_patches())).all()
    none = fill_holes(truth, np.ones(known.shape, bool), drawn_by_patches())
    np.testing.assert_array_equal(none, truth)


def test_the_prior_draws_and_keeps_what_is_known() -> None:
    truth = wall(64, 64)
    known = hole_in(truth.shape, (20, 20, 20, 20))
    shares: list[float] = []
    draw = drawn_by_prior(options=PriorOptions(iterations=3))
    done = fill_holes(truth, known, draw, listen=lambda told: shares.append(told.share))
    np.testing.assert_array_equal(done[known], truth[known])
    assert shares[-1] == 1


def test_what_is_drawn_too_dark_is_lifted() -> None:
    visible = hole_in((60, 90), (20, 20, 20, 50))
    part = np.full((60, 90, 3), 0.5, np.float32)
    ripple = 0.05 * np.sin(np.arange(90, dtype=np.float32))[None, :, None]
    joined = join(part + ripple, np.full_like(part, 0.4) + ripple, visible)
    np.testing.assert_array_equal(joined[visible], (part + ripple)[visible])
    np.testing.assert_allclose(joined, part + ripple, atol=0.02)


def test_a_search_by_chance_comes_near_the_search_of_all() -> None:
    truth = wall(60, 64)
    near, _ = pieces_touching(~hole_in(truth.shape, (20, 20, 14, 14)))
    _, far = pieces_touching(~hole_in(truth.shape, (18, 18, 20, 20)))
    level = Level(sheet=truth, hole=near, targets=np.argwhere(near), sources=np.argwhere(far))
    best = most_alike(truth, level.targets, level.sources)
    source = np.random.default_rng(0)
    found = level.sources[source.integers(0, len(level.sources), len(level.targets))]
    begun = distances(truth, level.targets, found).mean()
    for _ in range(3):
        found = neighbours_and_chance(level, truth, found, source)
    least = distances(truth, level.targets, best).mean()
    assert least <= distances(truth, level.targets, found).mean() < least + 0.05 * (begun - least)


def test_the_most_alike_is_that_of_a_plain_search() -> None:
    truth, r = wall(30, 32), pieces.RADIUS_PX
    middles, sources = np.array([[5, 6], [12, 20]]), np.argwhere(np.ones((8, 9), bool)) + r
    plain = [
        min(
            sources,
            key=lambda s, m=m: np.square(
                truth[m[0] - r : m[0] + r + 1, m[1] - r : m[1] + r + 1]
                - truth[s[0] - r : s[0] + r + 1, s[1] - r : s[1] + r + 1]
            ).sum(),
        )
        for m in middles
    ]
    np.testing.assert_array_equal(most_alike(truth, middles, sources), plain)


def test_only_wide_holes_are_large() -> None:
    known = hole_in((80, 80), (10, 10, 4, 60), (30, 30, 30, 30))
    large = large_holes(known)
    assert large[45, 45] and not large[11, 30]
