"""What colour tells where depth is silent: plain backgrounds, and gaps that look like the background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.test_depth import CAMERA, orbit
from walkaround.geometry import project
from walkaround.masks import MasksOptions
from walkaround.masks.evidence import background_probability
from walkaround.masks.plain import find_coloured, foreground, open_background, plain_masks
from walkaround.masks.segment import find_masks, iou
from walkaround.masks.solid import MaskView, find_void
from walkaround.types import BoolArray, ByteArray, FloatArray, View

AZIMUTHS = [float(a) for a in range(0, 360, 30)]


def bent_wire() -> FloatArray:
    """Return points (N, 3) along a coil: a wire without any width."""
    t = np.linspace(0, 4 * np.pi, 1500)
    return np.stack([0.2 * np.cos(t), 0.2 * np.sin(t), 0.3 * (t / (4 * np.pi) - 0.5)], axis=1)


def picture_of_wire(view: View, shade: int) -> tuple[ByteArray, BoolArray]:
    """Return the wire, three pixels wide, before a plain noisy background, and its mask."""
    pose = view.cam_from_world
    uv = project(view.camera, bent_wire() @ pose[:3, :3].T + pose[:3, 3])
    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    points = np.round((uv - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(mask, [points], False, 1, 3, cv2.LINE_8, 4)
    noise = np.random.default_rng(shade).normal(0, 2, (*mask.shape, 3))
    image = np.where(mask[..., None] > 0, np.array([60, 160, 90]), shade) + noise
    return np.clip(image, 0, 255).astype(np.uint8), mask > 0


def wire_views(*, stray: bool) -> tuple[list[MaskView], list[BoolArray]]:
    """Return views without depth and true masks; ``stray`` draws something that stands in one view only."""
    views, masks = [], []
    for number, view in enumerate(orbit(AZIMUTHS)):
        image, mask = picture_of_wire(view, 20 + number % 3)
        if stray and number % 4 == 0:
            image[20:40, 20 + 5 * number : 40 + 5 * number] = 200
        depth = np.zeros(mask.shape, np.float32)
        views.append(MaskView(view=view, image_srgb=image, depth=depth, void=find_void(depth > 0)))
        masks.append(mask)
    return views, masks


@pytest.mark.parametrize("stray", [False, True])
def test_a_wire_before_a_plain_cloth_needs_no_depth(stray: bool) -> None:
    views, truth = wire_views(stray=stray)
    solid, masks, _ = find_masks(views, MasksOptions(), None)
    assert solid.plane is None
    recall = [float((mask & t).sum() / t.sum()) for mask, t in zip(masks, truth, strict=True)]
    precision = [float((mask & t).sum() / mask.sum()) for mask, t in zip(masks, truth, strict=True)]
    assert min(recall) > 0.95 and min(precision) > 0.7


def test_what_one_view_alone_shows_is_not_in_the_hull() -> None:
    views, _ = wire_views(stray=True)
    plain = plain_masks(views)
    assert plain is not None
    solid = find_coloured(views, plain[0], 48, 0.6)
    assert solid is not None
    points = np.argwhere(solid.occupied) * solid.voxel + solid.origin
    distance = np.linalg.norm(points[:, None] - bent_wire()[None, ::5], axis=2).min(axis=1)
    assert distance.max() < 4 * solid.voxel


def test_a_textured_border_is_not_plain() -> None:
    rng = np.random.default_rng(0)
    plain = np.full((120, 160, 3), 30, np.uint8)
    plain[40:80, 60:100] = 200
    found = foreground(plain)
    assert found is not None and found[60, 80] == 1 and found[5, 5] == 0
    assert foreground(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)) is None
    table = plain.copy()
    table[90:] = 120  # a table below a wall: two colours
    assert foreground(table) is None


def test_dark_places_inside_the_object_are_left_undecided() -> None:
    probability = np.zeros((60, 60), np.float32)
    probability[10:50, 10:50] = 1
    probability[25:35, 25:35] = 0  # an eye socket before black
    background = open_background(probability)
    assert background[0, 0] and not background[30, 30] and not background[15, 15]


def test_a_gap_with_the_colours_of_the_wall_is_background_and_a_plain_side_is_not() -> None:
    rng = np.random.default_rng(1)
    image = np.clip(rng.normal(150, 4, (100, 140, 3)), 0, 255).astype(np.uint8)  # a wall
    found = np.zeros(image.shape[:2], bool)
    found[20:80, 30:110] = True
    image[found] = rng.integers(0, 120, (int(found.sum()), 3), dtype=np.uint8)  # a textured object
    image[40:60, 50:70] = np.clip(rng.normal(150, 4, (20, 20, 3)), 0, 255).astype(np.uint8)  # seen through it
    image[40:60, 80:100] = (20, 20, 230)  # its plain red side, without depth
    known = ~found.copy()
    found[40:60, 50:100] = False
    probability = background_probability(image, found, known)
    assert probability[43:57, 53:67].min() > 0.8
    assert probability[43:57, 83:97].max() < 0.8
    nothing = np.zeros_like(found)
    assert (background_probability(image, nothing, known) == 0.5).all()
    assert (background_probability(image, found, nothing) == 0.5).all()
    assert iou(found, found) == 1.0
