"""Depth: the kernels against a plain twin, the whole stage against a scene rendered by ray casting."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from walkaround.depth import (
    DepthMap,
    DepthOptions,
    _matching,
    estimate_depth,
    patchmatch,
    write_depth_maps,
)
from walkaround.depth import store as store_module
from walkaround.depth import views as views_module
from walkaround.depth import warps as warps_module
from walkaround.depth.consensus import correct_depth
from walkaround.depth.estimate import remove_specks, to_image
from walkaround.depth.fill import fill_holes
from walkaround.depth.sources import select_sources
from walkaround.depth.store import ArrayStore
from walkaround.errors import FormatError, OutputError, SequenceRejected, UsageError
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.io.colmap import write_sparse_model
from walkaround.io.depth import (
    DEPTH_SCALE,
    FILLED,
    encode_confidence,
    read_depth,
    read_grey,
    read_measured_depth,
    write_depth,
    write_grey,
)
from walkaround.types import (
    BoolArray,
    ByteArray,
    Camera,
    Float32Array,
    FloatArray,
    Frame,
    IntArray,
    SparseModel,
    View,
)

RADIUS = 0.25
CAMERA = Camera(model="PINHOLE", width=240, height=180, params=(250.0, 250.0, 120.0, 90.0))


# --- a sphere on a table, seen from a circle; also for the tests of masks and clouds ---


def look_at(centre: FloatArray) -> FloatArray:
    """Return ``cam_from_world`` of a camera at ``centre`` that looks at the origin, z up."""
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def orbit(azimuths_deg: list[float], camera: Camera = CAMERA, elevation_deg: float = 35.0) -> list[View]:
    """Return views at distance 1 from the origin."""
    views = []
    up = np.radians(elevation_deg)
    for number, azimuth in enumerate(np.radians(azimuths_deg)):
        centre = np.array([np.cos(up) * np.cos(azimuth), np.cos(up) * np.sin(azimuth), np.sin(up)])
        frame = Frame(index=number + 1, image=f"{number + 1:03d}.png", source_index=number, timestamp_s=None)
        views.append(View(frame=frame, camera=camera, cam_from_world=look_at(centre)))
    return views


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What the rays of one view hit."""

    depth: FloatArray  # (H, W) 0 = nothing
    sphere: BoolArray  # (H, W)
    points: FloatArray  # (H, W, 3) in the world


def cast(view: View, *, table: bool = True, sphere: bool = True, shift: tuple[float, float] = (0, 0)) -> Cast:
    """Cast a ray through every pixel's centre, moved by ``shift`` px, at the sphere and the table."""
    camera, pose = view.camera, view.cam_from_world
    u, v = np.meshgrid(np.arange(camera.width) + 0.5 + shift[0], np.arange(camera.height) + 0.5 + shift[1])
    rays = normalised_rays(camera, np.stack([u, v], axis=-1))
    # with z = 1 the ray's parameter is the depth
    world = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) @ pose[:3, :3]
    centre = view.centre
    depth = np.full(rays.shape[:2], np.inf)
    hit = np.zeros(depth.shape, dtype=bool)
    if sphere:
        a, b, c = (world**2).sum(-1), world @ centre, centre @ centre - RADIUS**2
        root = b * b - a * c
        hit = root > 0
        depth[hit] = (-b[hit] - np.sqrt(root[hit])) / a[hit]
    if table:
        with np.errstate(divide="ignore"):
            t = (-RADIUS - centre[2]) / world[..., 2]
        below = (t > 0) & (t < depth)
        depth[below] = t[below]
        hit &= ~below
    depth[~np.isfinite(depth)] = 0
    return Cast(depth=depth, sphere=hit, points=centre + depth[..., None] * world)


def texture(points: FloatArray, seed: int = 0) -> FloatArray:
    """Return a smooth random grey level for (..., 3) points: waves of 0.04 to 0.6 units."""
    rng = np.random.default_rng(seed)
    value = np.zeros(points.shape[:-1])
    for wavelength in np.geomspace(0.04, 0.6, 40):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / wavelength / np.linalg.norm(direction)
        value += np.sin(points @ direction + rng.uniform(0, 6.3))
    return 128 + 10 * value


def photograph(view: View, **what: bool) -> ByteArray:
    """Return the grey image (H, W), four rays a pixel."""
    total = np.zeros((view.camera.height, view.camera.width))
    for shift in ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)):
        found = cast(view, shift=shift, **what)
        total += np.where(found.depth > 0, texture(found.points), 0) / 4
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def sparse_model(views: list[View], count: int = 300) -> SparseModel:
    """Return a model whose points are true surface points, seen by the views that truly see them."""
    rng = np.random.default_rng(1)
    casts = [cast(view) for view in views]
    points = np.concatenate(
        [c.points[c.depth > 0][rng.choice((c.depth > 0).sum(), count // len(views))] for c in casts]
    )
    observations: list[IntArray] = []
    for view, c in zip(views, casts, strict=True):
        in_cam = transform_points(view.cam_from_world, points)
        pixel = np.floor(project(view.camera, in_cam)).astype(int)
        ok = (pixel >= 0).all(1) & (pixel[:, 0] < view.camera.width) & (pixel[:, 1] < view.camera.height)
        ok[ok] = np.abs(c.depth[pixel[ok, 1], pixel[ok, 0]] - in_cam[ok, 2]) < 0.01
        observations.append(np.flatnonzero(ok))
    return SparseModel(
        views=tuple(views), points_in_world=points, colors=np.zeros((len(points), 3), np.uint8),
        errors_px=np.zeros(len(points)), observations=tuple(observations),
    )  # fmt: skip


# --- the kernels ---


def random_stereo(rng: np.random.Generator, count: int) -> list[views_module.StereoView]:
    """Return views with random poses near an orbit, random intrinsics and smooth random images."""
    views = []
    for n, view in enumerate(orbit([float(a) for a in rng.uniform(-12, 12, count)])):
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.05, 3))[0]
        turn[:3, 3] = rng.normal(0, 0.02, 3)
        width, height = int(rng.integers(150, 200)), int(rng.integers(130, 180))
        K = np.array(
            [[rng.uniform(240, 320), 0, width / 2 + 1], [0, rng.uniform(240, 320), height / 2], [0, 0, 1]]
        )
        noise = rng.uniform(0, 255, (height, width)).astype(np.float32)
        smooth = (cv2.GaussianBlur(noise, (0, 0), 1.5) - 128) * 3 + 128
        image = np.rint(np.clip(smooth, 0, 255)).astype(np.uint8)
        camera = Camera(
            model="PINHOLE", width=width, height=height, params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        )
        posed = View(frame=view.frame, camera=camera, cam_from_world=turn @ view.cam_from_world)
        sources = np.array([s for s in range(count) if s != n])
        levels = views_module.make_pyramid(ArrayStore(), str(n), image, K)
        views.append(
            views_module.StereoView(
                view=posed, levels=levels, neighbours=sources, sources=sources, w_low=0.5, w_high=2.0
            )
        )
    return views


def plain_sample(image: Float32Array, x: float, y: float) -> float:
    """Bilinear, array coordinates, the border repeated."""
    height, width = image.shape
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    block = image[y0 : y0 + 2, x0 : x0 + 2].astype(float)
    return float(np.array([1 - fy, fy]) @ block @ np.array([1 - fx, fx]))


def plain_ncc(weights: FloatArray, a: FloatArray, b: FloatArray) -> float:
    """Weighted normalised cross-correlation."""
    da, db = a - weights @ a, b - weights @ b
    return float((weights * da) @ db / np.sqrt(((weights * da) @ da) * ((weights * db) @ db)))


def plain_plane_cost(
    views: list[views_module.StereoView], pixel: tuple[int, int], plane: FloatArray, offsets: Float32Array,
    best: int, geometric: float, maps: list[Float32Array],
) -> float:  # fmt: skip
    """The slow, plain twin of ``plane_cost``: points in space and projection, one sample at a time."""
    ref = views[0]
    image = ref.levels[0].image
    px, py = pixel
    values, weights, points = [], [], []
    for du, dv, spatial in offsets.T.astype(float):
        y = min(max(py + int(dv), 0), image.shape[0] - 1)
        x = min(max(px + int(du), 0), image.shape[1] - 1)
        values.append(float(image[y, x]))
        difference = abs(float(image[y, x]) - float(image[py, px]))
        weights.append(max(0.0, 1 - (difference / _matching.SIGMA_COLOR + spatial) / 16) ** 16)
        z = 1 / (plane[0] + plane[1] * du + plane[2] * dv)
        uv = np.array([px + 0.5 + du, py + 0.5 + dv, 1.0])
        points.append(np.linalg.inv(ref.levels[0].K) @ uv * z)
    weight = np.array(weights) / np.sum(weights)
    world_from_ref = np.linalg.inv(ref.view.cam_from_world)
    costs = []
    for s, inverse_map in zip(ref.sources, maps, strict=True):
        source = views[s]
        height, width = source.levels[0].image.shape
        in_source = transform_points(source.view.cam_from_world @ world_from_ref, np.array(points))
        xy = project(source.view.camera, in_source)
        x, y = middle = xy[np.flatnonzero((offsets[:2] == 0).all(axis=0))[0]]
        if not (1 <= x <= width - 1 and 1 <= y <= height - 1):
            costs.append(2.0)
            continue
        seen = np.array([plain_sample(source.levels[0].image, xs - 0.5, ys - 0.5) for xs, ys in xy])
        cost = 1 - plain_ncc(weight, np.array(values), seen)
        if geometric:
            z = 1 / float(inverse_map[int(y), int(x)])
            point = np.array([*normalised_rays(source.view.camera, middle) * z, z])
            back = ref.view.cam_from_world @ np.linalg.inv(source.view.cam_from_world)
            landed = project(ref.view.camera, transform_points(back, point))
            cost += geometric * min(3.0, float(np.linalg.norm(landed - [px + 0.5, py + 0.5])))
        costs.append(cost)
    return float(np.mean(sorted(costs)[:best]))


@pytest.mark.parametrize("geometric", [0.0, 0.15])
def test_plane_cost_equals_its_plain_twin(geometric: float) -> None:
    rng = np.random.default_rng(3)
    views = random_stereo(rng, 4)
    ref = views[0]
    source_maps = [np.full(view.levels[0].image.shape, 1.02, np.float32) for view in views]
    scene = warps_module.make_scene(views, 0, 0, source_maps)
    source_maps = [source_maps[k] for k in ref.sources]
    offsets = warps_module.patch_offsets(*warps_module.OFFSETS_FINE)
    f = np.float32
    patch, landing = np.empty((2, _matching.SAMPLES), f), np.empty((3, 3), f)
    height, width = ref.levels[0].image.shape
    compared, errors = 0, []
    for _ in range(60):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        plane = np.array([rng.uniform(0.8, 1.3), *rng.normal(0, 0.001, 2)])
        variance = _matching.fill_patch(ref.levels[0].image, y, x, offsets, patch)
        assert patch[0].sum() == pytest.approx(1, abs=1e-5)
        u, v = f(x + 0.5), f(y + 0.5)
        _matching.land_pixel(scene.geometry, u, v, landing)
        costs, chosen = np.empty(3, f), np.empty(3, np.int64)
        fast = _matching.plane_cost(
            *scene.arrays, landing, offsets, patch, costs, chosen, u, v, f(variance),
            f(plane[0]), f(plane[1]), f(plane[2]), np.int64(2), f(geometric), True,
        )  # fmt: skip
        slow = plain_plane_cost(views, (x, y), plane, offsets, 2, geometric, source_maps)
        errors.append(abs(fast - slow))
        assert sorted(chosen) == [0, 1, 2]
        compared += slow < 1.9
    assert compared > 20
    # the kernel leaves out the perspective within a patch, as much as 0.01 px at this short focal length
    assert np.median(errors) < 5e-4
    assert max(errors) < 4e-3


def test_refinement_follows_the_slope_of_the_cost_and_lowers_it() -> None:
    """The Gauss-Newton right side against the differences of the cost, and steps that never make it worse."""
    rng = np.random.default_rng(8)
    views = random_stereo(rng, 4)
    image = views[0].levels[0].image
    scene = warps_module.make_scene(views, 0, 0)
    offsets, f = warps_module.disc_offsets(3.0), np.float32
    patch, landing, trust, *_ = np.empty((2, _matching.SAMPLES), f), np.empty((3, 3), f), np.ones(3, f)
    unit, slopes, improved = 0.01, [], 0
    for _ in range(80):
        x, y = rng.integers(20, image.shape[1] - 20), rng.integers(20, image.shape[0] - 20)
        u, v = f(x + 0.5), f(y + 0.5)
        variance = f(_matching.fill_patch(image, int(y), int(x), offsets, patch))
        _matching.land_pixel(scene.geometry, u, v, landing)

        def cost(plane: np.ndarray, s: int, u: float = u, v: float = v, variance: float = variance) -> float:
            w, wu, wv = (f(value) for value in plane)
            return float(
                _matching.source_cost(
                    *scene.arrays, landing, offsets, patch, s, u, v, variance, w, wu, wv, f(0)
                )
            )

        start = np.array([rng.uniform(0.8, 1.3), *rng.normal(0, 0.001, 2)])
        if max(cost(start, s) for s in range(3)) > 1.9:
            continue
        system = _matching.source_system(
            scene.packed, scene.geometry, landing, offsets, patch, 0, np.sqrt(variance),
            *(f(value) for value in start), f(unit),
        )  # fmt: skip
        assert system[0] == pytest.approx(cost(start, 0), abs=1e-4)
        h = 0.02 * unit
        slopes.append(
            [
                system[1],
                (cost(start - np.array([h, 0, 0]), 0) - cost(start + np.array([h, 0, 0]), 0)) / (2 * 0.02),
            ]
        )
        refined = np.array(
            _matching.refine_plane(
                scene.packed, scene.geometry, landing, offsets, patch, trust, np.sqrt(variance),
                *(f(value) for value in start), f(unit), 4,
            )
        )  # fmt: skip
        before, after = (sum(cost(plane, s) for s in range(3)) for plane in (start, refined))
        assert after <= before + 1e-4
        improved += after < before - 0.01
    assert len(slopes) > 20 and improved > 0.5 * len(slopes)
    assert np.corrcoef(np.array(slopes).T)[0, 1] > 0.95


def test_warps_map_true_correspondences_and_back() -> None:
    rng = np.random.default_rng(5)
    views = random_stereo(rng, 4)
    warp = warps_module.warps(views, 0, 0)
    ref = views[0].view
    normal = np.array([0.3, -0.2, 1.0])  # a slanted plane in the camera: normal . X = 1
    pixels = rng.uniform(5, 125, (50, 2))
    rays = np.concatenate([normalised_rays(ref.camera, pixels), np.ones((50, 1))], axis=1)
    w = rays @ normal
    world = transform_points(np.linalg.inv(ref.cam_from_world), rays / w[:, None])
    p = np.concatenate([pixels, np.ones((50, 1))], axis=1)
    for k, s in enumerate(views[0].sources):
        source = views[s].view
        in_source = transform_points(source.cam_from_world, world)
        landed = p @ warp.A[k].T.astype(float) + w[:, None] * warp.b[k].astype(float)
        np.testing.assert_allclose(
            landed[:, :2] / landed[:, 2:], project(source.camera, in_source), atol=2e-3
        )
        np.testing.assert_allclose(landed[:, 2], in_source[:, 2] * w, rtol=1e-4)
        q = np.concatenate([project(source.camera, in_source), np.ones((50, 1))], axis=1)
        back = q @ warp.A_back[k].T.astype(float) + warp.b_back[k].astype(float) / in_source[:, 2:]
        np.testing.assert_allclose(back[:, :2] / back[:, 2:], pixels, atol=2e-3)


def test_enlarged_planes_are_the_same_planes() -> None:
    height, width = 12, 16
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    coarse = np.empty((height, width, 3), np.float32)
    coarse[..., 0], coarse[..., 1], coarse[..., 2] = 1 + 0.02 * u - 0.01 * v, 0.02, -0.01
    fine = patchmatch.enlarge_planes(coarse, (24, 32))
    u, v = np.meshgrid(np.arange(32) + 0.5, np.arange(24) + 0.5)
    np.testing.assert_allclose(fine[..., 0], 1 + 0.01 * u - 0.005 * v, atol=1e-5)
    np.testing.assert_allclose(fine[0, 0, 1:], [0.01, -0.005], atol=1e-7)


# --- the stage ---


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SparseModel]:
    """The photographs of the sphere on the table from an arc of 50 degrees."""
    folder = tmp_path_factory.mktemp("scene")
    views = orbit([0, 10, 20, 30, 40, 50])
    for view in views:
        assert cv2.imwrite(str(folder / view.frame.image), photograph(view))
    return folder, sparse_model(views)


@pytest.fixture(scope="module")
def maps(scene: tuple[Path, SparseModel]) -> list[DepthMap]:
    folder, model = scene
    found = list(estimate_depth(folder, model, options=DepthOptions(), num_threads=2))
    assert [index for index, _ in found] == list(range(len(model.views)))
    return [result for _, result in found]


def test_depth_of_a_sphere_on_a_table(scene: tuple[Path, SparseModel], maps: list[DepthMap]) -> None:
    for view, found in zip(scene[1].views, maps, strict=True):
        truth = cast(view)
        error = np.abs(found.depth - truth.depth) / truth.depth
        valid, right = found.depth_valid, found.depth_valid & (error < 0.01)
        # the sphere as far as it is not seen at a grazing angle (over 70 degrees)
        towards = (truth.points * (view.centre - truth.points)).sum(axis=-1)
        towards /= RADIUS * np.linalg.norm(view.centre - truth.points, axis=-1)
        assert right[truth.sphere & (towards > np.cos(np.radians(70)))].mean() > 0.9
        assert right[truth.sphere].mean() > 0.8
        assert np.median(error[valid & truth.sphere]) < 0.003
        # the table is measured at half size only, and not all of it is in other views
        table = ~truth.sphere & valid
        assert table.sum() > 0.4 * (~truth.sphere).sum()
        assert (error[table] < 0.02).mean() > 0.9
        assert (error[valid] < 0.05).mean() > 0.97
        assert not found.depth[~valid].any()
        assert not found.confidence[~valid].any()
        assert 0 <= found.confidence.min() <= found.confidence.max() <= 1
        # confidence tells something: what it holds in high regard is right more often
        sure = valid & (found.confidence > np.median(found.confidence[valid]))
        assert (error[sure] < 0.01).mean() > (error[valid & ~sure] < 0.01).mean()


@pytest.mark.parametrize("threads", [1, 2])
def test_same_bytes_again_whatever_the_threads(
    scene: tuple[Path, SparseModel], maps: list[DepthMap], threads: int
) -> None:
    again = estimate_depth(scene[0], scene[1], options=DepthOptions(), num_threads=threads)
    for (_, a), b in zip(again, maps, strict=True):
        assert a.depth.tobytes() == b.depth.tobytes()
        assert a.confidence.tobytes() == b.confidence.tobytes()


def test_same_bytes_when_the_views_do_not_fit_into_memory(
    scene: tuple[Path, SparseModel], maps: list[DepthMap], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MEMORY_BUDGET", 4 * CAMERA.width * CAMERA.height)  # one map
    written: list[Path] = []
    save = np.save
    monkeypatch.setattr(np, "save", lambda path, values: (written.append(path), save(path, values)))
    found = estimate_depth(
        scene[0], scene[1], options=DepthOptions(), num_threads=2, scratch_dir=tmp_path
    )  # fmt: skip
    for (_, a), b in zip(found, maps, strict=True):
        assert a.depth.tobytes() == b.depth.tobytes()
        assert a.confidence.tobytes() == b.confidence.tobytes()
    assert len(written) > 3 * len(maps)
    assert all(path.parent.parent == tmp_path for path in written)
    assert not list(tmp_path.iterdir())


def test_store_keeps_to_its_budget_and_forgets_nothing(tmp_path: Path) -> None:
    arrays = [np.full(1000, n, np.float32) for n in range(10)]
    with ArrayStore(tmp_path, budget=12_000) as store:
        for n, values in enumerate(arrays):
            store.put(str(n), values)
            store.derived(f"{n} twice", lambda values=values: 2 * values)
            assert store.bytes_kept <= 12_000
        files = [path for folder in tmp_path.iterdir() for path in folder.iterdir()]
        assert 7 <= len(files) <= 9  # what can be made again is not among them
        for n, values in enumerate(arrays):
            assert (store.get(str(n)) == values).all()
        changed = store.take("3")
        changed += 1
        store.put("3", changed)
        for n in range(9, -1, -1):
            assert store.get(str(n))[0] == n + (n == 3)
        store.drop("5")
        with pytest.raises(KeyError):
            store.get("5")
    assert not list(tmp_path.iterdir())


def test_store_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with ArrayStore(tmp_path, budget=0) as store:
        store.put("a", np.zeros(3))
        with pytest.raises(OutputError, match="disk is full"):
            store.put("b", np.zeros(3))


def rendered_plainly(scene_views: list[View], maps: list[FloatArray], index: int) -> FloatArray:
    """The slow, plain twin of ``render_maps``: points in space, the nearest of each pixel in a dictionary."""
    layers = []
    for s in range(len(maps)):
        if s == index:
            continue
        camera = scene_views[s].camera
        nearest: dict[tuple[int, int], float] = {}
        rows, columns = np.nonzero(maps[s] > 0)
        z = 1 / maps[s][rows, columns]
        rays = normalised_rays(camera, np.stack([columns + 0.5, rows + 0.5], axis=-1))
        points = np.concatenate([rays * z[:, None], z[:, None]], axis=1)
        relative = scene_views[index].cam_from_world @ np.linalg.inv(scene_views[s].cam_from_world)
        there = transform_points(relative, points)
        for (x, y), depth in zip(project(camera, there), there[:, 2], strict=True):
            at = int(np.floor(y)), int(np.floor(x))
            nearest[at] = max(nearest.get(at, 0.0), 1 / depth)
        layer = np.zeros(maps[s].shape)
        for (row, column), w in nearest.items():
            if 0 <= row < camera.height and 0 <= column < camera.width:
                layer[row, column] = w
        layers.append(layer)
    return np.array(layers)


def test_what_more_views_saw_in_front_wins() -> None:
    """A dent and a bump in one view's depth of the sphere; the dent goes, as does a hole; the twin agrees."""
    camera = CAMERA.scaled(80, 60)
    placed = orbit([0, 8, 16, 24, 32], camera)
    store = ArrayStore()
    views, maps = [], []
    for n, view in enumerate(placed):
        depth = cast(view).depth
        maps.append(np.where(depth > 0, 1 / np.maximum(depth, 1e-9), 0).astype(np.float32))
        others = np.array([s for s in range(len(placed)) if s != n])
        grey = np.zeros((60, 80), np.uint8)
        levels = views_module.make_pyramid(store, str(n), grey, camera.K)
        views.append(
            views_module.StereoView(
                view=view, levels=levels, neighbours=others, sources=others, w_low=0.5, w_high=2.0
            )
        )  # fmt: skip
    truth = maps[2].copy()
    dent, bump, hole = (slice(24, 30), slice(36, 42)), (slice(32, 36), slice(36, 42)), np.s_[26:32, 44:48]
    maps[2][dent] *= 0.95
    maps[2][bump] *= 1.05
    maps[2][hole] = 0
    corrected = correct_depth(views, maps, 2, 0.01)
    seen = rendered_plainly(placed, maps, 2)
    assert (corrected == maps[2])[bump].all()  # the others may not have seen past it: left to the last check
    for part in (dent, hole):
        assert (np.abs(corrected / truth - 1) < 0.01)[part].mean() > 0.9
    for row, column in np.argwhere(corrected != maps[2]):
        own, votes = maps[2][row, column], seen[:, row, column]
        if own > 0:
            assert (votes > 1.009 * own).sum() > (np.abs(votes / own - 1) < 0.009).sum()
        if corrected[row, column] > 0:
            assert (np.abs(votes / corrected[row, column] - 1) < 0.011).sum() >= 3
    untouched = np.ones(truth.shape, np.bool_)
    for part in (dent, hole):
        untouched[part] = False
    assert (corrected == truth)[untouched & (maps[2] == truth)].mean() > 0.95


def test_filled_pixels_are_marked_and_measured_ones_stay(
    scene: tuple[Path, SparseModel], maps: list[DepthMap], tmp_path: Path
) -> None:
    options = DepthOptions(fill=True, max_size=200)  # smaller than the images: maps are resampled
    plain = list(estimate_depth(scene[0], scene[1], options=DepthOptions(max_size=200), num_threads=2))
    found = write_depth_maps(
        scene[0], scene[1], tmp_path / "depth", tmp_path / "confidence", options=options, num_threads=2
    )
    errors = []
    for index, measured in plain:
        name = scene[1].views[index].frame.image
        depth, valid = read_depth(tmp_path / "depth" / name)
        filled = read_grey(tmp_path / "confidence" / name) == FILLED
        assert (valid == (measured.depth_valid | filled)).all()
        assert not (measured.depth_valid & filled).any()
        truth = cast(scene[1].views[index]).depth
        errors.append(np.abs(depth[filled] / truth[filled] - 1))
        depth, valid = read_measured_depth(tmp_path / "depth" / name)
        assert (valid == measured.depth_valid).all()
        np.testing.assert_allclose(depth, measured.depth, atol=0.6 * DEPTH_SCALE)
    error = np.concatenate(errors)
    assert len(error) > 20
    assert (error < 0.01).mean() > 0.9
    assert found.scores["depth_filled_share"] == pytest.approx(
        len(error) / (len(plain) * CAMERA.height * CAMERA.width)
    )


def one_hole(
    inverse: FloatArray, hole: tuple[slice, slice], past: float = 1.0
) -> tuple[BoolArray, Float32Array]:
    """Fill a hole of one view's map; a second view at the same place measured ``past`` times the depth."""
    height, width = inverse.shape
    camera = CAMERA.scaled(width, height)
    view = orbit([0], camera)[0]
    grey = np.zeros((height, width), np.uint8)
    views = [
        views_module.StereoView(
            view=view, levels=views_module.make_pyramid(ArrayStore(), "a", grey, camera.K),
            neighbours=np.array([1 - n]), sources=np.array([1 - n]), w_low=0.5, w_high=2.0,
        )
        for n in range(2)
    ]  # fmt: skip
    valid = np.ones(inverse.shape, np.bool_)
    valid[hole] = False
    mine = np.where(valid, inverse, 0).astype(np.float32)
    other = (inverse / past).astype(np.float32)
    filled = fill_holes(views, [mine, other], 0, mine, valid)
    assert not filled[valid].any()
    return filled[hole] > 0, filled[hole]


def test_only_small_holes_in_one_smooth_surface_are_filled() -> None:
    y, x = np.mgrid[:180, :240].astype(float)
    bowl = 1 + 0.001 * x - 0.0005 * y + 2e-5 * ((x - 120) ** 2 + (y - 90) ** 2)
    small, large, rim = np.s_[80:84, 100:104], np.s_[60:80, 100:120], np.s_[0:4, 100:104]
    done, values = one_hole(bowl, small)
    assert done.all()
    np.testing.assert_allclose(values, bowl[small], rtol=1e-3)
    assert not one_hole(bowl, large)[0].any()
    assert not one_hole(bowl, rim)[0].any()
    step = np.where(x < 102, bowl, 1.03 * bowl)  # a depth edge through the hole, and one beside it
    assert not one_hole(step, small)[0].any()
    assert not one_hole(step, np.s_[80:84, 104:108])[0].any()
    assert not one_hole(bowl, small, past=1.1)[0].any()  # another view saw past it: a gap
    assert one_hole(bowl, small, past=0.9)[0].all()  # hidden from another view: no objection


def test_written_maps_and_scores(
    scene: tuple[Path, SparseModel], maps: list[DepthMap], tmp_path: Path
) -> None:
    told: list[float] = []
    result = write_depth_maps(
        scene[0], scene[1], tmp_path / "depth", tmp_path / "confidence", options=DepthOptions(),
        progress=told.append,
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert result.scores["depth_share"] == pytest.approx(np.mean([m.depth_valid.mean() for m in maps]))
    assert 0.3 < result.scores["depth_confidence"] <= 1
    for view, expected in zip(scene[1].views, maps, strict=True):
        depth, valid = read_depth(tmp_path / "depth" / view.frame.image)
        assert (valid == expected.depth_valid).all()
        np.testing.assert_allclose(depth[valid], expected.depth[valid], atol=0.6 * DEPTH_SCALE)
        confidence = read_grey(tmp_path / "confidence" / view.frame.image)
        np.testing.assert_allclose(confidence / 255, expected.confidence, atol=0.6 / 255)


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_plain_images_give_no_depth_rather_than_a_wrong_one(
    scene: tuple[Path, SparseModel], tmp_path: Path, noise: float
) -> None:
    views = scene[1].views[:3]
    rng = np.random.default_rng(0)
    for view in views:
        image = 128 + rng.normal(0, noise, (CAMERA.height, CAMERA.width))
        cv2.imwrite(str(tmp_path / view.frame.image), np.rint(image).astype(np.uint8))
    model = SparseModel(
        views=views, points_in_world=scene[1].points_in_world, colors=scene[1].colors,
        errors_px=scene[1].errors_px, observations=scene[1].observations[:3],
    )  # fmt: skip
    for _, found in estimate_depth(tmp_path, model, options=DepthOptions()):
        assert found.depth_valid.mean() < 0.02


def test_depth_through_a_lens_with_distortion() -> None:
    normal = np.array([0.3, -0.2, 1.0])
    camera = Camera(model="SIMPLE_RADIAL", width=160, height=120, params=(150.0, 80.0, 60.0, -0.15))
    for width, height in ((160, 120), (80, 60)):
        small = camera.scaled(width, height)
        pinhole = Camera(model="SIMPLE_PINHOLE", width=width, height=height, params=small.params[:3])

        def planar(camera: Camera) -> Float32Array:
            return (1 / (normalised_rays(camera) @ normal[:2] + normal[2])).astype(np.float32)

        valid = np.ones((height, width), np.bool_)
        valid[:, : width // 4] = False
        confidence = np.where(valid, 0.5, 0).astype(np.float32)
        result = to_image(camera, np.where(valid, planar(pinhole), 0), valid, confidence)
        assert result.depth.shape == (120, 160)
        ok = result.depth_valid
        assert not ok[:, :30].any()
        assert ok[10:-10, 50:-10].all()
        # linear in between pixels, the nearest pixel beside the invalid part
        error = np.abs(result.depth - planar(camera)) / planar(camera)
        assert error[ok].max() < 0.01
        assert np.median(error[ok]) < 1e-4
        assert (result.confidence[ok] == 0.5).all()


def test_specks_go_and_surfaces_stay() -> None:
    valid = np.zeros((40, 40), np.bool_)
    valid[5:25, 5:25] = True
    valid[30:33, 30:33] = True
    kept = remove_specks(valid, np.ones((40, 40), np.float32))
    assert kept[5:25, 5:25].all()
    assert not kept[28:, 28:].any()


# --- choices and refusals ---


def test_sources_about_ten_degrees_away_come_first() -> None:
    views = orbit([0, 2, 10, 25, 60, 180])
    points = np.random.default_rng(0).normal(0, 0.1, (100, 3))
    model = SparseModel(
        views=tuple(views), points_in_world=points, colors=np.zeros((100, 3), np.uint8),
        errors_px=np.zeros(100), observations=(np.arange(100),) * 6,
    )  # fmt: skip
    sources = select_sources(model, 3)
    assert sources[0][0] == 2
    assert set(sources[0].tolist()) == {1, 2, 3}
    assert all(n not in chosen and len(chosen) == 3 for n, chosen in enumerate(sources))
    # no shared points: the directions decide alike
    alone = SparseModel(
        views=tuple(views), points_in_world=points, colors=model.colors, errors_px=model.errors_px,
        observations=(np.zeros(0, np.int64),) * 6,
    )  # fmt: skip
    assert select_sources(alone, 99)[0][0] == 2
    assert len(select_sources(alone, 99)[0]) == 5


def test_unknown_backend(scene: tuple[Path, SparseModel]) -> None:
    with pytest.raises(UsageError, match="colmap_cuda, learned, patchmatch"):
        estimate_depth(*scene, options=DepthOptions(backend="guess"))


def test_cuda_without_a_gpu(scene: tuple[Path, SparseModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.depth.colmap_cuda.cuda_available", lambda: False)
    with pytest.raises(UsageError, match="CUDA"):
        estimate_depth(*scene, options=DepthOptions(backend="colmap_cuda"))  # at the call, no map asked for


def test_fill_with_a_backend_that_cannot(scene: tuple[Path, SparseModel]) -> None:
    with pytest.raises(UsageError, match="fill works with"):
        estimate_depth(*scene, options=DepthOptions(backend="colmap_cuda", fill=True))


def test_one_view_is_not_enough(scene: tuple[Path, SparseModel]) -> None:
    model = SparseModel(
        views=scene[1].views[:1], points_in_world=scene[1].points_in_world, colors=scene[1].colors,
        errors_px=scene[1].errors_px, observations=scene[1].observations[:1],
    )  # fmt: skip
    with pytest.raises(SequenceRejected) as caught:
        estimate_depth(scene[0], model, options=DepthOptions())
    assert caught.value.reason == "no_depth"


# --- files ---


def test_depth_file_round_trip(tmp_path: Path) -> None:
    depth = np.array([[0.5, 1.23456, 6.5535], [6.6, np.nan, np.inf], [0.0, 1.0, -1.0]], np.float32)
    valid = np.ones((3, 3), np.bool_)
    valid[2, 1] = False
    write_depth(tmp_path / "d.png", depth, valid)
    back, ok = read_depth(tmp_path / "d.png")
    assert ok.tolist() == [[True, True, True], [False, False, False], [False, False, False]]
    np.testing.assert_allclose(back[0], depth[0], atol=0.51 * DEPTH_SCALE)
    assert not back[~ok].any()
    assert back.dtype == np.float32
    np.testing.assert_allclose(read_depth(tmp_path / "d.png", scale=1.0)[0][0, 0], 5000)


def test_confidence_keeps_one_value_for_filled_pixels(tmp_path: Path) -> None:
    valid, filled = np.array([[True, True, True, False, False]]), np.array([[False] * 4 + [True]])
    coded = encode_confidence(np.array([[0.0, 0.002, 1.0, 0.0, 0.0]], np.float32), valid, filled)
    assert coded.tolist() == [[2, 2, 255, 0, FILLED]]
    for folder in ("depth", "confidence"):
        (tmp_path / folder).mkdir()
    write_depth(tmp_path / "depth" / "1.png", np.ones((1, 5), np.float32), valid | filled)
    assert read_measured_depth(tmp_path / "depth" / "1.png")[1].sum() == 4  # nothing tells
    write_grey(tmp_path / "confidence" / "1.png", coded)
    depth, ok = read_measured_depth(tmp_path / "depth" / "1.png")
    assert ok.tolist() == valid.tolist()
    assert not depth[~ok].any()
    write_grey(tmp_path / "confidence" / "1.png", coded[:, :3])
    with pytest.raises(FormatError, match="size"):
        read_measured_depth(tmp_path / "depth" / "1.png")


def test_what_is_no_depth_file(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_grey(tmp_path / "grey.png", grey)
    assert (read_grey(tmp_path / "grey.png") == grey).all()
    (tmp_path / "torn.png").write_bytes((tmp_path / "grey.png").read_bytes()[:20])
    for name in ("grey.png", "torn.png", "absent.png"):
        with pytest.raises(FormatError, match=name):
            read_depth(tmp_path / name)
    with pytest.raises(FormatError, match="absent"):
        read_grey(tmp_path / "absent.png")


_FINGERPRINT = """
import hashlib, sys
from pathlib import Path
from walkaround.depth import DepthOptions, estimate_depth
from walkaround.io.colmap import read_sparse_model
from walkaround.types import Frame
folder = Path(sys.argv[1])
frames = tuple(Frame(index=n, image=p.name, source_index=n, timestamp_s=0.0)
               for n, p in enumerate(sorted(folder.glob("*.png")), start=1))
model = read_sparse_model(folder / "sparse", frames)
digest = hashlib.sha256()
for _, found in estimate_depth(folder, model, options=DepthOptions(), num_threads=int(sys.argv[2])):
    digest.update(found.depth.tobytes())
print(digest.hexdigest())
"""


def test_same_bytes_from_fresh_and_cached_kernels_and_any_number_of_threads(
    scene: tuple[Path, SparseModel], tmp_path: Path
) -> None:
    folder, model = scene
    (folder / "sparse").mkdir()
    write_sparse_model(folder / "sparse", model)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", _FINGERPRINT, str(folder), threads],
            env=environment, check=True, capture_output=True, text=True,
        ).stdout
        for threads in ("1", "1", "2")
    }  # fmt: skip
    assert any(tmp_path.rglob("*.nbc"))
    assert len(digests) == 1
