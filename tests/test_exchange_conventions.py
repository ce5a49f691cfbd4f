"""Conventions of other formats: random cameras, projected as each format documents it, against ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.exchange_cases import (
    POINTS,
    by_llff,
    by_mvsnet,
    by_pytorch3d,
    by_transforms,
    ours,
    tiny_image,
    views,
)
from walkaround.dataset.exchange.axes import world_from_opengl_camera
from walkaround.dataset.exchange.co3d import viewpoint
from walkaround.dataset.exchange.from_arkit import read_arkit
from walkaround.dataset.exchange.from_matrices import decompose, read_matrices
from walkaround.dataset.exchange.from_transforms import read_transforms
from walkaround.dataset.exchange.llff import llff_pose
from walkaround.dataset.exchange.mvsnet import cam_text, pair_text, view_scores
from walkaround.dataset.exchange.nerfstudio import intrinsics
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.dataset.exchange.undistort import (
    pinhole,
    undistort_depth,
    undistort_image,
    undistort_mask,
)
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.io.pointcloud import write_ply
from walkaround.types import Camera, PointCloud, SparseModel, View

PX = 1e-6
SIZE = (64, 48)
MANY = settings(max_examples=80, deadline=None)
FEW = settings(max_examples=25, deadline=None)


def close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=PX)


# --- out ---


@given(view=views())
@MANY
def test_transforms(view: View) -> None:
    matrix = world_from_opengl_camera(view.cam_from_world)
    close(by_transforms(intrinsics(view.camera), matrix), ours(view))


@given(view=views(distorted=False), ndc=st.sampled_from(["isotropic", "norm_image_bounds"]))
@MANY
def test_pytorch3d(view: View, ndc: str) -> None:
    size = (view.camera.width, view.camera.height)
    close(by_pytorch3d(viewpoint(view, ndc), size), ours(view))  # type: ignore[arg-type]


@given(view=views(distorted=False))
@MANY
def test_mvsnet(view: View) -> None:
    close(by_mvsnet(cam_text(view, 0.5, 2.0, 192)), ours(view))


@given(view=views())
@MANY
def test_llff(view: View) -> None:
    """It can say one focal length and the middle of the image; images are turned into such ones."""
    single = View(
        frame=view.frame, camera=pinhole(view.camera, fit="single"), cam_from_world=view.cam_from_world
    )
    close(by_llff(np.r_[llff_pose(single).ravel(), 0.1, 9.0]), ours(single))


# --- in ---


@given(view=views(size_wh=SIZE), turn=st.integers(0, 2**31), scale=st.floats(0.01, 100))
@FEW
def test_transforms_are_read_back(view: View, turn: int, scale: float) -> None:
    """Also when the file says that another transform and scale were applied: they are undone."""
    applied = np.eye(4)
    applied[:3, :3] = Rotation.random(random_state=turn).as_matrix()
    applied[:3, 3] = [1, -2, 3]
    matrix = applied @ world_from_opengl_camera(view.cam_from_world)
    matrix[:3, 3] *= scale
    with tempfile.TemporaryDirectory() as name:
        tiny_image(Path(name) / "images" / "a.png", SIZE)
        frame = {
            "file_path": "./images/a.png",
            "transform_matrix": matrix.tolist(),
            **intrinsics(view.camera),
        }
        record = {
            "frames": [frame],
            "applied_transform": applied[:3].tolist(),
            "applied_scale": scale,
            "ply_file_path": "points.ply",
        }
        moved = scale * transform_points(applied, POINTS)  # the points lie in the world of the poses
        write_ply(Path(name) / "points.ply", PointCloud(points_in_world=moved.astype(np.float32)))
        (Path(name) / "transforms_train.json").write_text(json.dumps(record))
        given_capture = read_transforms(Path(name), ImportOptions())
        (back,) = given_capture.views
    np.testing.assert_allclose(given_capture.points_in_world, POINTS, atol=1e-4)
    close(ours(View(frame=view.frame, camera=back.camera, cam_from_world=back.cam_from_world)), ours(view))


@given(
    view=views(distorted=False, size_wh=SIZE),
    factor=st.floats(1e-3, 1e3).flatmap(lambda f: st.sampled_from([f, -f])),
    centre=st.sampled_from(["0.0", "0.5"]),
    contour=st.booleans(),
)
@FEW
def test_projection_matrices(view: View, factor: float, centre: str, contour: bool) -> None:
    """Of any scale and sign, and with either place for the first pixel's centre."""
    K = view.camera.K
    K[:2, 2] -= 0.5 - float(centre)
    matrix = factor * K @ view.cam_from_world[:3]
    with tempfile.TemporaryDirectory() as name:
        tiny_image(Path(name) / "a.png", SIZE)
        text = "\n".join(" ".join(repr(float(value)) for value in row) for row in matrix)
        (Path(name) / "a.txt").write_text(("CONTOUR\n" if contour else "") + text)
        options = ImportOptions(first_pixel_centre=centre)  # type: ignore[arg-type]
        (back,) = read_matrices(Path(name), options).views
    close(ours(View(frame=view.frame, camera=back.camera, cam_from_world=back.cam_from_world)), ours(view))


@given(view=views(distorted=False))
@MANY
def test_decomposition(view: View) -> None:
    K, pose = decompose(view.camera.K @ view.cam_from_world[:3], "a.png")
    np.testing.assert_allclose(K, view.camera.K, atol=1e-7 * view.camera.K.max())
    np.testing.assert_allclose(pose, view.cam_from_world, atol=1e-8)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


@given(view=views(distorted=False, size_wh=SIZE), style=st.sampled_from(["polycam", "scanner", "nested"]))
@FEW
def test_arkit(view: View, style: str) -> None:
    """A point (x, y, z) of ARKit's world, y up, is (z, x, y) here, z up, and falls on the same pixel."""
    arkit = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 3))
    world_from_camera = world_from_opengl_camera(view.cam_from_world)
    K = view.camera.K
    names = {f"t_{r}{c}": world_from_camera[r, c] for r in range(3) for c in range(4)}
    pose = {
        "polycam": names,
        "scanner": {"cameraPoseARFrame": world_from_camera.ravel().tolist()},
        "nested": {"transform": world_from_camera.tolist()},
    }[style]
    focal = (
        {"intrinsics": K.ravel().tolist()}
        if style == "scanner"
        else {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "width": 128, "height": 96}
    )
    if style != "scanner":  # stated for an image twice as large
        focal = {
            name: value * (2 if name in ("fx", "fy", "cx", "cy") else 1) for name, value in focal.items()
        }
    with tempfile.TemporaryDirectory() as name:
        tiny_image(Path(name) / "keyframes" / "images" / "12.png", SIZE)
        (Path(name) / "keyframes" / "cameras").mkdir()
        (Path(name) / "keyframes" / "cameras" / "12.json").write_text(json.dumps({**pose, **focal}))
        capture = read_arkit(Path(name), ImportOptions())
    (back,) = capture.views
    assert capture.metric
    mine = View(frame=view.frame, camera=back.camera, cam_from_world=back.cam_from_world)
    local = (arkit - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
    pixels = np.stack([K[0, 0] * local[:, 0], -K[1, 1] * local[:, 1]], axis=1) / -local[:, 2:] + K[:2, 2]
    close(ours(mine, arkit[:, [2, 0, 1]]), pixels)


# --- undistortion ---


@given(view=views(size_wh=(80, 60)), fit=st.sampled_from(["same", "centred", "single"]), crop=st.booleans())
@FEW
def test_undistortion_moves_pixels_where_the_cameras_say(view: View, fit: str, crop: bool) -> None:
    """An image whose values are its pixels' positions: a shift by half a pixel would show at once."""
    camera = view.camera
    target = pinhole(camera, fit=fit, crop=crop)  # type: ignore[arg-type]
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    image = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float32)
    out = undistort_image(image, camera, target)
    rays = normalised_rays(target)
    expected = project(camera, np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1))
    inside = ((expected >= 0.5) & (expected <= np.array([camera.width, camera.height]) - 0.5)).all(axis=-1)
    np.testing.assert_allclose(out[inside][:, :2], expected[inside], atol=0.04)  # OpenCV: 1/32 px
    if crop and min(target.width, target.height) > 1:
        grown = (expected >= 0.5 - 1e-3) & (expected <= np.array([camera.width, camera.height]) - 0.5 + 1e-3)
        assert grown.all()
    if fit != "same":
        assert target.params[2:] == (target.width / 2, target.height / 2)


def test_masks_and_depth_take_the_nearest_pixel() -> None:
    camera = Camera(model="SIMPLE_RADIAL", width=80, height=60, params=(70.0, 40.0, 30.0, 0.2))
    target = pinhole(camera)
    rng = np.random.default_rng(0)
    depth = rng.choice([0.5, 1.5], (60, 80)).astype(np.float32)
    valid = depth > 1
    out, out_valid = undistort_depth(depth, valid, camera, target)
    assert set(np.unique(out)) <= {0.0, 1.5} and np.array_equal(out_valid, out > 0) and out_valid.any()
    mask = undistort_mask(valid, camera, target)
    assert np.array_equal(mask, out_valid)
    # twin: look up each pixel
    rays = normalised_rays(target)
    pixels = project(camera, np.concatenate([rays, np.ones((60, 80, 1))], axis=-1)) - 0.5
    rows, columns = np.rint(pixels[..., 1]).astype(int), np.rint(pixels[..., 0]).astype(int)
    ok = (rows >= 0) & (rows < 60) & (columns >= 0) & (columns < 80)
    twin = np.zeros((60, 80), bool)
    twin[ok] = valid[rows[ok], columns[ok]]
    assert (twin != mask).mean() < 0.03  # OpenCV rounds positions to 1/32 px first


def test_nothing_is_resampled_without_need() -> None:
    camera = Camera(model="PINHOLE", width=80, height=60, params=(70.0, 71.0, 40.0, 30.0))
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    for fit in ("same", "centred"):
        assert undistort_image(image, camera, pinhole(camera, fit=fit)) is image  # type: ignore[arg-type]
    moved = Camera(model="PINHOLE", width=80, height=60, params=(70.0, 71.0, 43.0, 30.0))
    out = undistort_image(image, moved, pinhole(moved, fit="centred"))
    assert np.array_equal(
        out[:, 3:], cv2.warpAffine(image, np.float32([[1, 0, -3], [0, 1, 0]]), (80, 60))[:, 3:]
    )


# --- view selection ---


@given(seed=st.integers(0, 1000))
@FEW
def test_scores_are_those_of_the_plain_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = []
    for _ in range(4):
        pose = np.eye(4)
        pose[:3, 3] = rng.normal(size=3)
        poses.append(pose)
    points = rng.normal(0, 5, (30, 3))
    seen = [np.sort(rng.choice(30, 20, replace=False)) for _ in poses]
    camera = Camera(model="PINHOLE", width=10, height=10, params=(10.0, 10.0, 5.0, 5.0))
    model = SparseModel(
        views=tuple(
            View(frame=_frame(i), camera=camera, cam_from_world=pose) for i, pose in enumerate(poses)
        ),
        points_in_world=points,
        colors=np.zeros((30, 3), np.uint8),
        errors_px=np.zeros(30),
        observations=tuple(seen),
    )
    scores = view_scores(model)
    for i in range(4):
        for j in range(4):
            if i != j:
                assert scores[i, j] == pytest.approx(
                    _plain_score(poses[i], poses[j], points, seen[i], seen[j])
                )
    lines = pair_text(scores).splitlines()
    assert lines[0] == "4" and lines[1] == "0" and lines[2].split()[0] == "3"
    listed = lines[2].split()[1:]
    assert float(listed[1]) >= float(listed[3]) >= float(listed[5])


def _frame(number: int):  # type: ignore[no-untyped-def]
    from walkaround.types import Frame

    return Frame(index=number + 1, image=f"{number:03d}.jpg", source_index=number, timestamp_s=None)


def _plain_score(
    a: np.ndarray, b: np.ndarray, points: np.ndarray, seen_a: np.ndarray, seen_b: np.ndarray
) -> float:
    """MVSNet's colmap2mvsnet.py, one point after the other."""
    total = 0.0
    for point in points[[p for p in seen_a if p in set(seen_b)]]:
        to_a, to_b = -a[:3, 3] - point, -b[:3, 3] - point
        cosine = to_a @ to_b / np.linalg.norm(to_a) / np.linalg.norm(to_b)
        theta = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        total += np.exp(-((theta - 5) ** 2) / (2 * (1 if theta <= 5 else 10) ** 2))
    return total
