"""Projection and its inverse, similarities, planes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from walkaround.geometry import (
    Similarity,
    normalised_rays,
    project,
    robust_similarity,
    transform_points,
    umeyama,
)
from walkaround.geometry.pinhole import MIN_DEPTH, pack_intrinsics, project_point
from walkaround.geometry.plane import fit_plane
from walkaround.types import Camera, FloatArray

MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")


@st.composite
def cameras(draw: st.DrawFn, models: tuple[str, ...] = MODELS) -> Camera:
    """A camera with the distortion of a phone or less."""
    model = draw(st.sampled_from(models))
    width, height = draw(st.integers(32, 4000)), draw(st.integers(32, 4000))
    focal = draw(st.floats(0.7, 3.0)) * max(width, height)
    focals = (focal,) if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else (focal, 1.02 * focal)
    centre = (width * draw(st.floats(0.45, 0.55)), height * draw(st.floats(0.45, 0.55)))
    k1, k2 = draw(st.floats(-0.1, 0.1)), draw(st.floats(-0.02, 0.02))
    p1, p2 = draw(st.floats(-0.005, 0.005)), draw(st.floats(-0.005, 0.005))
    rest = {"SIMPLE_RADIAL": (k1,), "RADIAL": (k1, k2), "OPENCV": (k1, k2, p1, p2)}.get(model, ())
    return Camera(model=model, width=width, height=height, params=(*focals, *centre, *rest))


def random_rotation(rng: np.random.Generator) -> FloatArray:
    return np.asarray(cv2.Rodrigues(rng.normal(size=3))[0])


# --- projection ---


@settings(deadline=None)
@given(camera=cameras(), seed=st.integers(0, 999))
def test_rays_are_the_inverse_of_projection(camera: Camera, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 1, (20, 2)) * [camera.width, camera.height]
    rays = normalised_rays(camera, pixels)
    depth = rng.uniform(0.1, 10, (20, 1))
    points = np.concatenate([rays * depth, depth], axis=1)
    np.testing.assert_allclose(project(camera, points), pixels, atol=1e-4)


@settings(deadline=None)
@given(camera=cameras())
def test_projection_is_opencvs_half_a_pixel_aside(camera: Camera) -> None:
    points = np.random.default_rng(0).uniform([-0.4, -0.4, 1], [0.4, 0.4, 2], (20, 3))
    K = camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, camera.distortion)[0][:, 0]
    np.testing.assert_allclose(project(camera, points) - 0.5, theirs, atol=1e-6 * max(K[0, 0], 1))


@pytest.mark.parametrize("model", MODELS)
def test_no_points_no_pixels(model: str) -> None:
    sizes = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8}
    params = (100.0, 100.0, 50.0, 40.0, 0.01, 0.01, 0.01, 0.01)[: sizes[model]]
    camera = Camera(model=model, width=100, height=80, params=params)
    assert project(camera, np.zeros((0, 3))).shape == (0, 2)
    assert normalised_rays(camera, np.zeros((0, 2))).shape == (0, 2)
    assert normalised_rays(camera, np.zeros((4, 0, 2))).shape == (4, 0, 2)
    assert transform_points(np.eye(4), np.zeros((0, 3))).shape == (0, 3)


def test_points_behind_the_camera_have_no_pixel() -> None:
    camera = Camera(model="SIMPLE_PINHOLE", width=100, height=80, params=(100.0, 50.0, 40.0))
    pixels = project(camera, np.array([[0, 0, 1.0], [0, 0, -1.0], [0, 0, 0]]))
    assert pixels[0].tolist() == [50, 40]
    assert np.isnan(pixels[1:]).all()


@pytest.mark.parametrize("k", [0.0, -0.05])
def test_rays_of_all_pixels(k: float) -> None:
    camera = Camera(model="SIMPLE_RADIAL", width=7, height=5, params=(6.0, 3.5, 2.5, k))
    rays = normalised_rays(camera)
    assert rays.shape == (5, 7, 2)
    np.testing.assert_allclose(rays[2, 3], 0, atol=1e-12)
    np.testing.assert_allclose(rays[1, 5], normalised_rays(camera, np.array([5.5, 1.5])))
    with pytest.raises(ValueError, match="read-only"):
        rays[0, 0] = 1  # shared between callers


@settings(deadline=None)
@given(camera=cameras(), share=st.floats(0.1, 2.0))
def test_scaled_camera_sees_the_same_at_another_size(camera: Camera, share: float) -> None:
    # the same factor along both axes, whatever rounding does to the size
    size = camera.width * share, camera.height * share
    small = camera.scaled(size[0], size[1])  # type: ignore[arg-type]
    assert (small.model, small.width, small.height) == (camera.model, *size)
    points = np.random.default_rng(0).uniform([-0.3, -0.3, 1], [0.3, 0.3, 2], (20, 3))
    np.testing.assert_allclose(project(small, points), project(camera, points) * share, rtol=1e-6, atol=1e-6)


def test_camera_scaled_by_two_factors() -> None:
    camera = Camera(model="OPENCV", width=100, height=80, params=(90, 95, 50, 40, 0.1, 0.2, 0.3, 0.4))
    other = camera.scaled(50, 160)
    assert other.params == (45, 190, 25, 80, 0.1, 0.2, 0.3, 0.4)
    single = Camera(model="SIMPLE_RADIAL", width=100, height=80, params=(90, 50, 40, 0.1)).scaled(50, 80)
    assert single.params == (67.5, 25, 40, 0.1)


# --- similarities ---


def random_similarity(rng: np.random.Generator) -> Similarity:
    return Similarity(
        scale=float(rng.uniform(0.1, 10)), rotation=random_rotation(rng), translation=rng.normal(size=3)
    )


def assert_same(a: Similarity, b: Similarity, tolerance: float) -> None:
    assert a.scale == pytest.approx(b.scale, rel=tolerance)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=tolerance)
    np.testing.assert_allclose(a.translation, b.translation, atol=tolerance * 10)


@given(seed=st.integers(0, 9999))
def test_umeyama_recovers_a_similarity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_similarity(rng)
    b = rng.normal(size=(10, 3))
    found = umeyama(truth.apply(b), b)
    assert_same(found, truth, 1e-9)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_umeyama_never_mirrors() -> None:
    b = np.random.default_rng(0).normal(size=(20, 3))
    found = umeyama(b * [1, 1, -1], b)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert np.isfinite(found.scale)


def test_umeyama_of_points_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    truth = random_similarity(rng)
    b = rng.normal(size=(10, 3)) * [1, 1, 0]  # the cameras of a level walk
    assert_same(umeyama(truth.apply(b), b), truth, 1e-9)


@pytest.mark.parametrize("wrong", [0, 5, 12])
def test_a_minority_of_wrong_points_does_not_bend_it(wrong: int) -> None:
    rng = np.random.default_rng(wrong)
    truth = random_similarity(rng)
    b = rng.normal(size=(30, 3))
    a = truth.apply(b) + truth.scale * rng.normal(0, 1e-4, (30, 3))
    a[:wrong] += truth.scale * rng.normal(0, 3, (wrong, 3))
    found = robust_similarity(a, b, iterations=300)
    assert_same(found, truth, 2e-3)
    again = robust_similarity(a, b, iterations=300)
    assert (found.rotation == again.rotation).all()
    if wrong:
        bent = umeyama(a, b)
        worst = np.linalg.norm(bent.apply(b) - truth.apply(b), axis=1).max()
        assert np.linalg.norm(found.apply(b) - truth.apply(b), axis=1).max() < 0.01 * worst


def test_robust_similarity_of_three_points() -> None:
    rng = np.random.default_rng(0)
    truth = random_similarity(rng)
    b = rng.normal(size=(3, 3))
    assert_same(robust_similarity(truth.apply(b), b), truth, 1e-9)


@given(seed=st.integers(0, 9999))
def test_inverse_and_poses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a_from_b = random_similarity(rng)
    b = rng.normal(size=(5, 3))
    np.testing.assert_allclose(a_from_b.inverse().apply(a_from_b.apply(b)), b, atol=1e-9)
    cam_from_b = np.eye(4)
    cam_from_b[:3, :3], cam_from_b[:3, 3] = random_rotation(rng), rng.normal(size=3)
    cam_from_a = a_from_b.apply_pose(cam_from_b)
    # camera coordinates grow with the world, so every point keeps its pixel
    np.testing.assert_allclose(
        transform_points(cam_from_a, a_from_b.apply(b)),
        a_from_b.scale * transform_points(cam_from_b, b), atol=1e-9,
    )  # fmt: skip
    np.testing.assert_allclose(a_from_b.inverse().apply_pose(cam_from_a), cam_from_b, atol=1e-9)


# --- planes ---


def plane_points(rng: np.random.Generator, count: int, noise: float) -> FloatArray:
    """Points near z = 0.2 x - 0.1 y + 0.3."""
    points = rng.uniform(-1, 1, (count, 3))
    points[:, 2] = 0.2 * points[:, 0] - 0.1 * points[:, 1] + 0.3 + rng.normal(0, noise, count)
    return points


def test_fit_plane_among_clutter() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([plane_points(rng, 600, 0.002), rng.uniform(-1, 1, (600, 3))])
    found = fit_plane(points, tolerance=0.01)
    assert found is not None
    plane, share = found
    expected = np.array([-0.2, 0.1, 1, -0.3]) / np.linalg.norm([-0.2, 0.1, 1])
    np.testing.assert_allclose(plane, expected, atol=3e-3)
    assert np.linalg.norm(plane[:3]) == pytest.approx(1)
    assert share == pytest.approx(0.5, abs=0.03)
    again = fit_plane(points, tolerance=0.01)
    assert again is not None
    assert (again[0] == plane).all()


def test_fit_plane_keeps_to_upright_normals() -> None:
    rng = np.random.default_rng(0)
    wall = plane_points(rng, 300, 0.001)[:, [2, 1, 0]]
    floor = plane_points(rng, 100, 0.001)
    found = fit_plane(np.concatenate([wall, floor]), tolerance=0.01)
    assert found is not None
    assert found[0][2] > 0.9
    free = fit_plane(np.concatenate([wall, floor]), tolerance=0.01, min_upright=0.0)
    assert free is not None
    assert abs(free[0][0]) > 0.9


def test_no_plane() -> None:
    assert fit_plane(np.zeros((0, 3)), tolerance=0.01) is None
    assert fit_plane(np.zeros((49, 3)), tolerance=0.01) is None
    assert fit_plane(np.zeros((60, 3)), tolerance=0.01) is None  # one point, sixty times


@njit
def _project_all(points, rotation, translation, intrinsics, out):  # type: ignore[no-untyped-def]
    for n in range(len(points)):
        out[n] = project_point(points[n, 0], points[n, 1], points[n, 2], rotation, translation, intrinsics)


def test_compiled_projection_of_a_point_equals_its_plain_twin() -> None:
    """To the bit where the operations are the same, to rounding against the function over arrays."""
    camera = Camera(
        model="OPENCV", width=640, height=480, params=(500.0, 510.0, 320.5, 239.0, -0.08, 0.02, 0.0, 0.0)
    )
    rng = np.random.default_rng(0)
    R, t, points = random_rotation(rng), np.array([0.1, -0.2, 0.6]), rng.normal(size=(5000, 3))
    c = pack_intrinsics(camera.K, camera.distortion)
    found = np.zeros((len(points), 3))
    _project_all(points, R, t, c, found)
    a, b, d = points.T
    x, y, z = (R[k, 0] * a + R[k, 1] * b + R[k, 2] * d + t[k] for k in range(3))
    seen = z > MIN_DEPTH
    assert 1000 < seen.sum() < 4900
    x, y = x[seen] / z[seen], y[seen] / z[seen]
    r2 = x * x + y * y
    radial = 1.0 + r2 * (c[4] + r2 * c[5])
    twin = np.stack([c[0] * x * radial + c[2], c[1] * y * radial + c[3], z[seen]], axis=1)
    np.testing.assert_array_equal(found[seen], twin)
    np.testing.assert_array_equal(found[~seen], np.stack([0 * z, 0 * z, z], axis=1)[~seen])
    np.testing.assert_allclose(found[seen, :2], project(camera, points @ R.T + t)[seen], rtol=1e-9, atol=1e-9)
