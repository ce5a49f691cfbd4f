"""Holes of depth maps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.geometry.completion import CompletionOptions, complete_depth
from walkaround.geometry.surfaces import surfaces_of


def ball() -> tuple[np.ndarray, np.ndarray]:
    """Return depth (0 beside it) and a grey image."""
    rows, columns = np.mgrid[:90, :120]
    squared = 40**2 - (rows - 45) ** 2 - (columns - 60) ** 2
    depth = np.where(squared > 0, 3 - np.sqrt(np.maximum(squared, 0)) / 40, 0)
    return depth.astype(np.float32), np.full((90, 120, 3), 128, np.uint8)


def test_a_plane_is_continued_exactly_and_the_rest_stays() -> None:
    rows, columns = np.mgrid[:60, :80]
    depth = (1 / (0.5 + 0.004 * columns + 0.002 * rows)).astype(np.float32)
    valid = np.ones(depth.shape, bool)
    valid[:, :5] = False
    depth[:, :5] = 0
    holes = np.zeros(depth.shape, bool)
    holes[20:45, 30:60] = True
    holes[50:, 70:] = True  # at the border
    filled = complete_depth(np.where(holes, 0, depth), valid & ~holes, holes, np.zeros((60, 80, 3), np.uint8),
                            options=CompletionOptions(slope=0.0))  # fmt: skip
    np.testing.assert_allclose(filled, depth, rtol=1e-4)
    np.testing.assert_array_equal(filled[~holes], depth[~holes])


def test_a_ball_is_better_than_linear() -> None:
    from walkaround.restore.classical import fill_missing

    depth, image = ball()
    valid = depth > 0
    holes = np.zeros(depth.shape, bool)
    holes[30:52, 50:75] = True
    filled = complete_depth(depth, valid & ~holes, holes, image)
    linear = fill_missing(depth[..., None], valid & ~holes)[..., 0]
    assert np.abs(filled - depth)[holes].mean() < 0.2 * np.abs(linear - depth)[holes].mean()


def test_a_step_is_put_where_the_colours_change() -> None:
    rows, columns = np.mgrid[:60, :80]
    bulge = 8 * np.maximum(0, np.cos((rows - 30) / 20 * np.pi))  # all of it within the hole
    depth = np.where(columns < 43 + bulge, 2, 3).astype(np.float32)
    image = np.where(depth[..., None] > 2.5, 200, 40).astype(np.uint8).repeat(3, 2)
    holes = np.zeros(depth.shape, bool)
    holes[20:40, 30:55] = True
    guided = complete_depth(depth, ~holes, holes, image, options=CompletionOptions(colour=2))
    blind = complete_depth(depth, ~holes, holes, image, options=CompletionOptions(colour=0))
    assert (np.abs(guided - depth)[holes] > 0.01).mean() < 0.01
    assert (np.abs(blind - depth)[holes] > 0.5).mean() > 0.1


def test_contrasts_without_steps_do_not_count() -> None:
    """A printed cloth before a wall of the same print: its contrasts are shunned no more than plain paper."""
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 2, (15, 20)), np.ones((4, 4)))[..., None].repeat(3, 2) * 160 + 40
    depth = np.full((60, 80), 2.0, np.float32)
    depth[:, 40:] = 3.0
    holes = np.zeros(depth.shape, bool)
    holes[20:40, 30:50] = True
    filled = complete_depth(depth, ~holes, holes, image.astype(np.uint8))
    assert np.abs(filled - depth)[holes].mean() < 0.2  # the border runs about straight through the middle
    assert set(np.unique(np.round(filled[holes], 3))) <= {np.float32(2.0), np.float32(3.0)}


def test_pieces_that_continue_each_other_are_one_surface() -> None:
    """A bar lies before a bowl; the hole spans all three strips of known depth."""
    rows, columns = np.mgrid[:60, :80]
    inverse = 0.5 + 1e-5 * ((rows - 30) ** 2 + (columns - 40) ** 2)
    inverse[:, 36:44] = 0.7
    holes = np.zeros(inverse.shape, bool)
    holes[10:50, 20:60] = True
    region = np.zeros(inverse.shape, bool)
    region[4:56, 14:66] = True
    image = np.where(inverse[..., None] > 0.65, 0.8, 0.2).astype(np.float32)
    surface = surfaces_of(np.where(holes, 0, inverse), ~holes, region, image, power=2.0)
    assert (surface[~region] == -1).all()
    bar = surface[30, 40]
    bowl = surface[30, 16]
    assert bar != bowl
    np.testing.assert_array_equal(surface[region & (columns < 36)], bowl)
    np.testing.assert_array_equal(surface[region & (columns >= 44)], bowl)
    np.testing.assert_array_equal(surface[region & (columns >= 36) & (columns < 44)], bar)


def test_what_is_filled_stays_near_what_was_measured() -> None:
    """A steep strip three pixels wide continues into a wide hole: it does not run away."""
    columns = np.mgrid[:40, :90][1]
    depth = (1 / (0.3 + 0.01 * np.minimum(columns, 20))).astype(np.float32)
    known = (columns >= 17) & (columns < 20)
    holes = columns >= 20
    filled = complete_depth(np.where(known, depth, 0), known, holes, np.zeros((40, 90, 3), np.uint8))
    inverse, measured = 1 / filled[holes], 1 / depth[known]
    assert inverse.max() <= measured.max() + 0.31 * np.ptp(measured)


def test_holes_without_anything_near_stay_empty() -> None:
    depth, image = ball()
    holes = np.zeros(depth.shape, bool)
    holes[:6, :6] = True
    filled = complete_depth(depth, depth > 0, holes, image)
    assert (filled[holes] == 0).all()
    np.testing.assert_array_equal(filled, depth)
    nothing = complete_depth(np.zeros_like(depth), np.zeros_like(holes), ~np.zeros_like(holes), image)
    assert (nothing == 0).all()


def test_sizes_must_agree() -> None:
    depth, image = ball()
    with pytest.raises(UsageError, match="Make them equal"):
        complete_depth(depth, depth > 0, depth > 0, image[1:])


@pytest.mark.data
def test_the_bunny(test_data: Path) -> None:
    """The error of linear filling, halved."""
    from walkaround.restore.classical import fill_missing

    folder = test_data / "truth" / "bunny"
    depth = np.load(folder / "depth" / "010.npz")["depth"]
    image = cv2.imread(str(folder / "images" / "010.png"))[..., ::-1]
    valid, holes = depth > 0, np.zeros(depth.shape, np.uint8)
    source, places = np.random.default_rng(0), np.argwhere(depth > 0)
    while (holes[valid] > 0).mean() < 0.3:
        row, column = (int(v) for v in places[source.integers(len(places))])
        cv2.ellipse(holes, (column, row), (int(source.integers(5, 20)), 12), 30, 0, 360, 1, -1)
    hidden = (holes > 0) & valid
    filled = complete_depth(depth, valid & ~hidden, hidden, np.ascontiguousarray(image))
    linear = fill_missing(depth[..., None], valid & ~hidden)[..., 0]
    errors = [np.abs(values - depth)[hidden] for values in (filled, linear)]
    assert np.median(errors[0]) < 0.5 * np.median(errors[1])
    assert errors[0].mean() < 0.6 * errors[1].mean()
