"""Holes of depth maps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from walkaround.errors import UsageError
from walkaround.restore.depth import CompletionOptions, complete_depth


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
    depth = np.full((60, 80), 2.0, np.float32)
    depth[:, 43:] = 3.0
    image = np.where(depth[..., None] > 2.5, 200, 40).astype(np.uint8).repeat(3, 2)
    holes = np.zeros(depth.shape, bool)
    holes[20:40, 30:55] = True
    guided = complete_depth(depth, ~holes, holes, image, options=CompletionOptions(edge=20))
    blind = complete_depth(depth, ~holes, holes, np.zeros_like(image))
    assert np.abs(guided - depth)[holes].mean() < 0.3 * np.abs(blind - depth)[holes].mean()


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
    """Half of the error of linear filling, in the median; means follow the ears, where no one sees a step."""
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
    assert np.median(np.abs(filled - depth)[hidden]) < 0.5 * np.median(np.abs(linear - depth)[hidden])
