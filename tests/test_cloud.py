"""The cloud: exact depth of a sphere fused, wrong depth left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.test_depth import CAMERA, RADIUS, cast, orbit
from walkaround.cloud import CloudOptions, fuse_cloud, write_cloud
from walkaround.cloud.fuse import CloudView, average_cells, clean, find_islands, grid_normals, smooth_points
from walkaround.errors import InputError
from walkaround.io.depth import FILLED, write_depth, write_grey
from walkaround.types import PointCloud, SparseModel

SMALL = CAMERA.scaled(120, 90)


def sphere_views(camera=SMALL, count: int = 8) -> list[CloudView]:  # type: ignore[no-untyped-def]
    """Return exact views of the red sphere on the table, all around it."""
    views = []
    for view in orbit(np.linspace(0, 360, count, endpoint=False).tolist(), camera):
        truth = cast(view)
        image = np.where(truth.sphere[..., None], np.array([200, 30, 40]), 90).astype(np.uint8)
        views.append(
            CloudView(view=view, depth=truth.depth.astype(np.float32), mask=truth.sphere, image=image)
        )
    return views


def radii(cloud: PointCloud) -> np.ndarray:
    return np.asarray(np.linalg.norm(cloud.points_in_world.astype(float), axis=1))


@pytest.mark.parametrize("k", [0.0, -0.05])
def test_cloud_of_a_sphere(k: float) -> None:
    camera = dataclasses.replace(SMALL, model="RADIAL", params=(125.0, 60.0, 45.0, k, 0.01 * bool(k)))
    result = fuse_cloud(sphere_views(camera), options=CloudOptions(max_relative_difference=0.01))
    cloud = result.cloud
    assert len(cloud.points_in_world) > 2000
    assert result.scores["num_points"] == len(cloud.points_in_world)
    assert np.abs(radii(cloud) - RADIUS).max() < 0.004  # half a pixel of 1/125
    assert cloud.normals is not None
    assert cloud.normals.dtype == cloud.points_in_world.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-5)
    outward = cloud.points_in_world / radii(cloud)[:, None]
    assert (cloud.normals * outward).sum(axis=1).min() > 0.9
    assert cloud.num_views is not None
    assert cloud.num_views.min() >= CloudOptions().min_views
    assert cloud.num_views.max() <= 8
    # the crown is in every view, the flank in about half of them
    crown = cloud.points_in_world[:, 2] > 0.95 * RADIUS
    assert cloud.num_views[crown].mean() > cloud.num_views[~crown].mean()
    assert result.scores["cloud_views"] == pytest.approx(cloud.num_views.mean())
    assert cloud.colors is not None
    assert (cloud.colors == [200, 30, 40]).all()
    assert result.scores["cloud_spacing"] == pytest.approx(CloudOptions().spacing_px * 0.8 / 125, rel=0.2)


def test_what_one_view_alone_claims_is_left_out() -> None:
    views = sphere_views()
    assert views[0].mask[40:50, 40:60].all()
    views[0].depth[40:50, 40:60] *= 0.8  # floats before the sphere: every other view sees through it
    views[2].mask[:12] = True  # a mask that spills over: the table behind, which others confirm
    clean = fuse_cloud(sphere_views(), options=CloudOptions(max_relative_difference=0.01)).cloud
    cloud = fuse_cloud(views, options=CloudOptions(max_relative_difference=0.01)).cloud
    near = radii(cloud)[np.abs(cloud.points_in_world[:, 2] + RADIUS) > 0.01]  # not the table
    assert np.abs(near - RADIUS).max() < 0.004
    assert len(near) > 0.95 * len(clean.points_in_world)


def test_more_views_asked_for() -> None:
    views = sphere_views()
    two = fuse_cloud(views, options=CloudOptions(min_views=2)).cloud
    four = fuse_cloud(views, options=CloudOptions(min_views=4)).cloud
    none = fuse_cloud(views, options=CloudOptions(min_views=9)).cloud
    assert 0 < len(four.points_in_world) < len(two.points_in_world)
    assert four.num_views is not None
    assert four.num_views.min() >= 4
    assert not len(none.points_in_world)


def test_thinned_to_the_largest_size() -> None:
    result = fuse_cloud(sphere_views(), options=CloudOptions(max_points=500))
    assert 200 < len(result.cloud.points_in_world) <= 500
    assert result.scores["cloud_spacing"] > 0.01


@pytest.mark.parametrize("what", ["mask", "depth"])
def test_nothing_in_nothing_out(what: str) -> None:
    views = [dataclasses.replace(v, **{what: np.zeros_like(getattr(v, what))}) for v in sphere_views()]
    result = fuse_cloud(views, options=CloudOptions())
    assert result.cloud.points_in_world.shape == (0, 3)
    assert result.scores == {"num_points": 0, "cloud_views": 0, "cloud_spacing": 0}


def test_normals_face_the_camera_and_stop_at_edges() -> None:
    u, v = np.meshgrid(np.arange(20) / 20 - 0.5, np.arange(10) / 20 - 0.25)
    z = np.where(u < 0, 1.0, 2.0)
    grid = np.stack([u * z, v * z, z], axis=-1)
    normals, smooth = grid_normals(grid, np.ones(z.shape, bool))
    assert smooth[5, 4]
    assert not smooth[5, 9:11].any()
    assert not smooth[:2].any()
    np.testing.assert_allclose(normals[5, 4], [0, 0, -1], atol=1e-9)


def test_cells_are_averages_weighted_by_views() -> None:
    points = np.array([[0, 0, 0], [0.5, 0, 0], [5, 5, 5.0]])
    normals = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0.0]])
    colors = np.array([[0, 0, 0], [100, 0, 0], [7, 8, 9]], np.uint8)
    cloud = average_cells(points, normals, colors, np.array([1, 3, 2]), 1.0)
    np.testing.assert_allclose(cloud.points_in_world, [[0.375, 0, 0], [5, 5, 5]])
    assert cloud.colors is not None and cloud.num_views is not None
    assert cloud.colors.tolist() == [[75, 0, 0], [7, 8, 9]]
    assert cloud.num_views.tolist() == [3, 2]


def test_strays_go() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 1, (500, 3)), [[9, 9, 9]]]).astype(np.float32)
    normals, views = np.tile(np.float32([0, 0, 1]), (501, 1)), np.full(501, 3, np.uint8)
    kept = clean(PointCloud(points_in_world=points, normals=normals, num_views=views))
    assert radii(kept).max() < 2
    assert len(kept.points_in_world) > 480
    few = PointCloud(points_in_world=points[-5:], normals=normals[-5:], num_views=views[-5:])
    assert clean(few) is few


def test_an_island_goes_and_a_near_part_stays() -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(4000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    stem = np.stack([np.linspace(1, 2, 200), np.zeros(200), np.zeros(200)], axis=1)
    speck = [0, 0, -3] + 0.01 * rng.normal(size=(15, 3))  # dense: its own neighbours are near
    keep = find_islands(np.concatenate([ball, stem, speck]), 0.2)
    assert keep[:4200].all() and not keep[4200:].any()


def test_noise_is_smoothed_and_an_edge_stays() -> None:
    """Two walls of a right angle, 0.01 between points, 0.003 of noise along the normals."""
    rng = np.random.default_rng(0)
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(60) * 0.01, np.arange(1, 60) * 0.01))
    zero = np.zeros_like(a)
    exact = np.concatenate([np.stack([a, b, zero], axis=1), np.stack([a, zero, b], axis=1)])
    normals = np.repeat(np.array([[0, 0, 1.0], [0, 1.0, 0]]), len(a), axis=0)
    noisy = exact + normals * rng.normal(0, 0.003, (len(exact), 1))

    def cleaned(points: np.ndarray) -> np.ndarray:
        views = np.full(len(points), 5, np.uint8)
        cloud = PointCloud(
            points_in_world=points.astype(np.float32), normals=normals.astype(np.float32), num_views=views
        )
        return np.asarray(clean(cloud).points_in_world, dtype=float)

    error = np.abs(((cleaned(noisy) - exact) * normals).sum(axis=1))
    assert error.mean() < 0.5 * np.abs(noisy - exact).sum(axis=1).mean()
    np.testing.assert_allclose(cleaned(exact), exact, atol=1e-6)  # 3e-5 at the edge if normals did not count


def test_smoothing_is_the_formula() -> None:
    """The compiled loop against the plain one."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 1, (80, 3)).astype(np.float32)
    normals = rng.normal(size=(80, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    views = rng.integers(1, 9, 80).astype(np.uint8)
    distances, index = cKDTree(points).query(points, k=7)
    expected = points.astype(float)
    for n in range(80):
        near = index[n]
        weight = np.exp(-2 * (distances[n] / distances[n, -1]) ** 2)
        weight = weight * np.maximum(normals[near] @ normals[n], 0) ** 4 * views[near]
        shift = (
            weight * ((points[near] - points[n]) * (normals[near] + normals[n]) / 2).sum(axis=1)
        ).sum() / weight.sum()
        expected[n] += normals[n] * shift
    found = smooth_points(points, normals, views, distances, index)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_files(tmp_path: Path) -> None:
    views = sphere_views(count=6)
    for view in views:
        name = view.view.frame.image
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / name), np.ascontiguousarray(view.image[..., ::-1]))
        write_depth(tmp_path / "depth" / name, view.depth, view.depth > 0)
        write_grey(tmp_path / "masks" / name, np.where(view.mask, 255, 0).astype(np.uint8))
    model = SparseModel(
        views=tuple(v.view for v in views), points_in_world=np.zeros((0, 3)),
        colors=np.zeros((0, 3), np.uint8), errors_px=np.zeros(0), observations=(np.zeros(0, np.int64),) * 6,
    )  # fmt: skip
    told: list[float] = []

    def write() -> PointCloud:
        folders = tmp_path / "images", model, tmp_path / "depth", tmp_path / "masks"
        files = tmp_path / "cloud.ply", tmp_path / "cloud.pcd"
        return write_cloud(*folders, *files, options=CloudOptions(), progress=told.append).cloud

    cloud = write()
    assert told == sorted(told)
    assert told[-1] == 1
    first = (tmp_path / "cloud.ply").read_bytes(), (tmp_path / "cloud.pcd").read_bytes()
    assert f"element vertex {len(cloud.points_in_world)}".encode() in first[0]
    assert f"POINTS {len(cloud.points_in_world)}".encode() in first[1]
    write()
    assert first == ((tmp_path / "cloud.ply").read_bytes(), (tmp_path / "cloud.pcd").read_bytes())
    # pixels marked as filled are no measurements: with half of each map marked, that half is gone
    for view in views:
        confidence = np.where(view.depth > 0, 255, 0).astype(np.uint8)
        confidence[: view.depth.shape[0] // 2] = np.minimum(confidence[: view.depth.shape[0] // 2], FILLED)
        write_grey(tmp_path / "confidence" / view.view.frame.image, confidence)
    assert 0 < write().points_in_world[:, 2].max() < 0.5 * cloud.points_in_world[:, 2].max()
    (tmp_path / "images" / views[3].view.frame.image).unlink()
    with pytest.raises(InputError, match="overwrite"):
        write()
