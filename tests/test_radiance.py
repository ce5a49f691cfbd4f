"""The radiance field: its geometry against plain twins, its memory, its weights, the commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from walkaround.dataset.readers import Dataset
from walkaround.dataset.readers.place import open_folder
from walkaround.dataset.schema import read_record
from walkaround.errors import FormatError, InputError, UsageError
from walkaround.geometry import project, transform_points
from walkaround.io.video import probe_video
from walkaround.radiance.options import NetworkOptions, SamplingOptions
from walkaround.radiance.path import camera_path
from walkaround.radiance.views import ViewSet, depth_range_of, load_views, middle_of, nearest_views
from walkaround.types import Camera, FloatArray

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from walkaround.radiance import network as networks  # noqa: E402
from walkaround.radiance import sampling  # noqa: E402
from walkaround.radiance.changes import (  # noqa: E402
    lit_from_one_side,
    recoloured,
    surface_normals,
    turned_before_a_room,
    with_holes,
)
from walkaround.radiance.render import guided, look, render_view  # noqa: E402
from walkaround.radiance.score import rerender, rerender_scores  # noqa: E402
from walkaround.radiance.training import TrainingOptions, batch_loss, draw_batch, rate_share  # noqa: E402
from walkaround.radiance.weights import read_weights, write_weights  # noqa: E402

SIZE = 40
TINY = NetworkOptions(features=4, width=8, ray_width=8, ray_heads=2)
FEW = SamplingOptions(sources=3, coarse=12, fine=8, chunk=500)


def pose_at(centre: FloatArray, at: FloatArray) -> FloatArray:
    """Return ``cam_from_world`` of a camera that looks at a point, the world's z up."""
    forward = (at - centre) / np.linalg.norm(at - centre)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def plane_views(count: int = 6) -> ViewSet:
    """Pictures of a table z = 0 with a smooth pattern, rendered ray by ray, with their depth."""
    K = np.array([[1.2 * SIZE, 0, SIZE / 2], [0, 1.2 * SIZE, SIZE / 2], [0, 0, 1.0]])
    angles = np.linspace(0, 1.2, count)
    centres = np.stack([0.8 * np.cos(angles), 0.8 * np.sin(angles), np.full(count, 0.9)], axis=1)
    poses = np.stack([pose_at(centre, np.zeros(3)) for centre in centres])
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    rays_in_cam = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    images, depths = [], []
    for centre, pose in zip(centres, poses, strict=True):
        ray = rays_in_cam @ pose[:3, :3]
        depth = -centre[2] / ray[..., 2]
        x, y, _ = np.moveaxis(centre + depth[..., None] * ray, 2, 0)
        images.append(np.stack([np.sin(7 * x), np.cos(6 * y), np.sin(5 * (x + y))], axis=-1) * 100 + 127)
        depths.append(depth.astype(np.float32))
    return ViewSet(
        names=tuple(f"{i}.png" for i in range(count)),
        images_srgb=np.stack(images).astype(np.uint8),
        K=np.tile(K, (count, 1, 1)),
        cam_from_world=poses,
        middle=middle_of(poses),
        depth_range=np.stack([depth_range_of(pose, np.zeros(3), np.zeros((0, 3))) for pose in poses]),
        depth=np.stack(depths),
    )


@pytest.fixture(scope="module")
def plane() -> ViewSet:
    return plane_views()


@pytest.fixture
def tiny() -> networks.RadianceNetwork:
    torch.manual_seed(0)
    return networks.RadianceNetwork(TINY).eval()


def all_rays(plane: ViewSet, number: int) -> sampling.Rays:
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    pixels = torch.from_numpy(np.stack([u, v], axis=-1).reshape(-1, 2)).float()
    return sampling.rays_of(plane.target(number), pixels)


def test_middle_and_nearest(plane: ViewSet) -> None:
    assert np.allclose(plane.middle, 0, atol=5e-3)
    assert nearest_views(plane, plane.target(2), 3)[0] == 2
    assert set(nearest_views(plane.without(2), plane.target(2), 2)) == {1, 2}, "its neighbours"
    assert "2.png" not in plane.without(2).names and plane.without(2).names[2] == "3.png"


def test_range_of_depths_holds_the_points_and_the_surroundings(plane: ViewSet) -> None:
    pose = plane.cam_from_world[0]
    distance = np.linalg.norm(plane.centres[0])
    near, begin, end, far = depth_range_of(pose, np.zeros(3), np.zeros((0, 3)))
    assert near < 0.5 * distance < begin < distance < end < 3 * distance < far
    away = plane.centres[0] + pose[2, :3] * np.linspace(0.3, 9, 50)[:, None]
    wide = depth_range_of(pose, np.zeros(3), away)
    assert wide[1] < 0.5 and wide[2] > 9 and (np.diff(wide) > 0).all()


def test_rays_and_gathering_agree_with_projection(plane: ViewSet) -> None:
    """A point on the ray of a pixel projects there; what is gathered is the bilinear picture."""
    rays = all_rays(plane, 1)
    places = sampling.even_places(len(rays.step), 5, "cpu")
    points = rays.points(places)
    pose, K = plane.cam_from_world[1], plane.K[1]
    camera = Camera(model="PINHOLE", width=SIZE, height=SIZE, params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    in_cam = transform_points(pose, points.numpy().astype(np.float64))
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    assert np.allclose(project(camera, in_cam)[:, 3], np.stack([u, v], axis=-1).reshape(-1, 2), atol=1e-3)
    assert np.allclose(in_cam[..., 2], rays.depths(places).numpy(), atol=1e-4)
    torch.manual_seed(0)
    pictures = networks.FeatureNetwork(4)
    with torch.no_grad():
        sources = sampling.make_sources(plane, np.array([1, 4]), pictures, "cpu")
        seen = sampling.gather(sources, points, rays.start)
    own = seen.values[0, :3].reshape(3, SIZE, SIZE, 5)[..., 2].permute(1, 2, 0).numpy()
    assert np.allclose(own, plane.images_srgb[1] / 255, atol=2e-3), "a view sees its own pixels"
    assert np.allclose(seen.directions[0, 3], 1, atol=1e-5), "from its own direction"
    other = transform_points(plane.cam_from_world[4], points.numpy().astype(np.float64)).reshape(-1, 3)
    at = project(camera, other)
    inside = (at > 0.5).all(axis=1) & (at < SIZE - 0.5).all(axis=1)
    map_xy = (at - 0.5).astype(np.float32)  # OpenCV's first pixel is centred at 0
    wanted = cv2.remap(plane.images_srgb[4].astype(np.float32), map_xy[None], None, cv2.INTER_LINEAR)[0]
    found = seen.values[1, :3].t().numpy() * 255
    # remap places to 1/32 of a pixel
    assert np.abs(found - wanted)[inside].max() < 3 and inside.mean() > 0.3
    assert (seen.inside[1, 0].numpy()[inside] == 1).all()


def test_depth_maps_show_where_rays_stop(plane: ViewSet) -> None:
    rays = all_rays(plane, 2)
    places = sampling.even_places(len(rays.step), 48, "cpu")
    with torch.no_grad():
        sources = sampling.make_sources(plane, np.array([1, 3, 4]), networks.FeatureNetwork(4), "cpu")
        weights = sampling.depth_weights(sources, rays, places)
    assert plane.depth is not None
    truth = torch.from_numpy(plane.depth[2]).reshape(-1)
    best = rays.depths(places).gather(1, weights.argmax(dim=1, keepdim=True))[:, 0]
    seen = weights.sum(dim=1) > 0.3
    step = (1 / rays.depth_range[1] - 1 / rays.depth_range[2]) / (48 * 0.76)
    assert seen.float().mean() > 0.8
    assert ((1 / best - 1 / truth).abs()[seen] < 1.6 * step).float().mean() > 0.97
    assert weights.sum(dim=1).max() <= 1 + 1e-5
    near_truth = torch.linspace(-0.02, 0.02, 9)[None]
    places = sampling.even_places(1, 1000, "cpu")
    at = torch.searchsorted(rays.depths(places)[0], truth) / 1000
    stops, trust = sampling.depth_stops(sources, rays, (at[:, None] + near_truth).clamp(0, 1), 48)
    sure = trust.min(dim=1).values > 0.6
    assert sure.float().mean() > 0.6
    assert stops[sure, 0].max() == 0 and (stops[sure, -1] == 1).float().mean() > 0.97
    joined = guided(torch.full_like(weights, 1 / 48), weights)
    assert torch.allclose(joined.sum(dim=1), torch.ones(len(joined)), atol=1e-4)


def test_no_depth_map_puts_anything_before_the_scene(plane: ViewSet) -> None:
    assert plane.depth is not None
    rays = all_rays(plane, 2)
    near, begin = rays.depth_range[:2]
    shown = []
    for depth in (0.5 * (near + begin), 1.3 * begin):
        # pictures that see a wall right before the camera of view 2, wrongly, or one within the scene
        wall = dataclasses.replace(plane, depth=np.full_like(plane.depth, depth))
        with torch.no_grad():
            sources = sampling.make_sources(wall, np.array([2]), networks.FeatureNetwork(4), "cpu")
            places = sampling.even_places(len(rays.step), 48, "cpu")
            weights = sampling.depth_weights(sources, rays, places)
            stops, trust = sampling.depth_stops(sources, rays, places, 48)
        before = places[0] < 0.12
        assert not weights[:, before].any() and not (stops * trust)[:, before].any()
        shown.append(bool(weights.any()) and bool((stops * trust).any()))
    assert shown == [False, True]


def test_fine_samples_go_where_the_weight_is() -> None:
    weights = torch.zeros(2, 10)
    weights[0, 3], weights[1, 8] = 1.0, 1.0
    places = sampling.drawn_places(weights, 100)
    assert (places.diff(dim=1) >= 0).all() and places.min() >= 0 and places.max() <= 1
    near = ((places[0] > 0.2) & (places[0] < 0.5)).float().mean()
    assert near > 0.95, "in the part and its neighbours"
    assert ((places[1] > 0.7) & (places[1] <= 1)).float().mean() > 0.95
    even = sampling.drawn_places(torch.ones(1, 10), 20)
    assert torch.allclose(even[0, 4:16], ((torch.arange(20) + 0.5) / 20)[4:16], atol=0.06)


def test_weights_of_a_ray_add_up_to_one() -> None:
    stopped = torch.rand(5, 7)
    weights = sampling.composited(stopped, last=True)
    assert torch.allclose(weights.sum(dim=1), torch.ones(5), atol=1e-4)
    assert torch.allclose(weights[:, 1], stopped[:, 1] * (1 - stopped[:, 0]), atol=1e-5)


def test_chunks_change_nothing(plane: ViewSet, tiny: networks.RadianceNetwork) -> None:
    rest, target = plane.without(2), plane.target(2)
    whole = render_view(tiny, rest, target, options=SamplingOptions(sources=3, coarse=12, fine=8, chunk=5000))
    parts = render_view(tiny, rest, target, options=FEW)
    assert whole.image_srgb.shape == (SIZE, SIZE, 3) and whole.depth.shape == (SIZE, SIZE)
    assert np.abs(whole.image_srgb.astype(int) - parts.image_srgb).max() <= 1
    near, _, _, far = plane.depth_range[2]
    assert whole.depth.min() >= near - 1e-3 and whole.depth.max() <= far + 1e-3


def test_what_no_picture_sees_is_black_and_stops_no_ray(
    plane: ViewSet, tiny: networks.RadianceNetwork
) -> None:
    with torch.no_grad():
        sources = sampling.make_sources(plane, np.array([0, 1]), tiny.pictures, "cpu")
        rays = all_rays(plane, 0)
        away = sampling.Rays(start=rays.start, step=-rays.step[:9], depth_range=rays.depth_range)
        found = look(tiny, sources, away, sampling.even_places(9, 6, "cpu"))
    assert found.colour.abs().max() == 0 and torch.allclose(found.weights[:, -1], torch.ones(9))


def test_training_learns_the_plane(plane: ViewSet) -> None:
    torch.manual_seed(1)
    network = networks.RadianceNetwork(TINY)
    options = TrainingOptions(
        rays=128,
        min_sources=3,
        max_sources=3,
        coarse=12,
        fine=8,
        recolour=False,
        light=0.0,
        turntable=0.0,
        depth_guided=0.0,
        pool=1.5,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    found = []
    for number in range(41):
        # the same view before and after
        rng = np.random.default_rng(0 if number in (0, 40) else number)
        loss, psnr_db = batch_loss(network, draw_batch([plane], options, rng), options, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(psnr_db)
    assert found[-1] > found[0] + 1.5


def test_light_from_one_side_darkens_pictures_by_their_direction(plane: ViewSet) -> None:
    flat = dataclasses.replace(plane, images_srgb=np.full_like(plane.images_srgb, 200))
    gains = lit_from_one_side(flat, 1.0, np.random.default_rng(3)).images_srgb[:, 0, 0, 0] / 200
    assert gains.max() == 1 and np.exp(-2) < gains.min() < 0.95
    assert (np.diff(gains) > 0).all() or (np.diff(gains) < 0).all()


def test_paint_is_the_same_in_all_pictures(plane: ViewSet) -> None:
    painted = recoloured(plane, np.random.default_rng(1)).images_srgb.reshape(len(plane), -1, 3) / 255
    given = plane.images_srgb.reshape(len(plane), -1, 3) / 255
    found = [np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(given, painted, strict=True)]
    assert np.allclose(found, found[0], atol=0.02)
    assert not np.allclose(found[0], np.eye(3), atol=0.1)


def test_normals_of_a_depth_map_face_the_camera(plane: ViewSet) -> None:
    assert plane.depth is not None
    for number in (0, 4):
        found = surface_normals(plane.depth[number], plane.K[number])[2:-2, 2:-2]
        up_in_cam = plane.cam_from_world[number, :3, 2]
        assert up_in_cam[2] < 0, "the table's normal looks at the camera"
        assert np.abs(found - up_in_cam).max() < 0.02
    none = surface_normals(np.zeros((5, 6), np.float32), plane.K[0])
    assert none.shape == (5, 6, 3) and not none.any()


def test_an_object_turns_before_a_room_that_stands(plane: ViewSet) -> None:
    assert plane.depth is not None
    # planes of other directions: inverse depth falls along a row
    tilt = 0.2 * np.arange(len(plane))[:, None, None] * np.linspace(0, 1, SIZE)
    depth = (1 / (1 / plane.depth + tilt)).astype(np.float32)
    depth[:, :, SIZE // 2 :] = 0
    views = dataclasses.replace(plane, depth=depth)
    swings = []
    for seed in range(6):
        shown = turned_before_a_room(views, np.random.default_rng(seed)).images_srgb
        room = shown[:, :, SIZE // 2 :].astype(float)
        share = room.sum(axis=(1, 2, 3)) / max(1, room[0].sum())
        assert np.abs(room - share[:, None, None, None] * room[0]).max() < 2.5, "one room, but for a gain"
        lit, given = shown[:, 5:-5, 5 : SIZE // 2 - 5], plane.images_srgb[:, 5:-5, 5 : SIZE // 2 - 5]
        usable = (lit < 255) & (given > 80)
        ratios = [lit[number][usable[number]] / given[number][usable[number]] for number in range(len(plane))]
        # a plane has one direction, so one light
        assert max(np.ptp(ratio) for ratio in ratios) < 0.05
        swings.append(np.ptp([np.median(ratio) for ratio in ratios]))
    assert max(swings) > 0.05, "as it turns, its light changes"
    bare = dataclasses.replace(plane, depth=None)
    assert turned_before_a_room(bare, np.random.default_rng(5)) is bare


def test_holes_take_depth_away_and_nothing_else(plane: ViewSet) -> None:
    assert plane.depth is not None
    found = with_holes(plane, np.random.default_rng(2))
    assert found.depth is not None and found.images_srgb is plane.images_srgb
    kept = found.depth > 0
    assert np.array_equal(found.depth[kept], plane.depth[kept])
    assert 0.2 < kept.mean() < 1 and not (kept == kept[0]).all()


def test_batches_never_hold_the_picture_they_render(plane: ViewSet) -> None:
    options = TrainingOptions(rays=4, min_sources=2, max_sources=4)
    for seed in range(30):
        batch = draw_batch([plane], options, np.random.default_rng(seed))
        assert len(batch.truth) == 1 and 2 <= len(batch.sources) <= 4
        assert batch.truth.names[0] not in batch.sources.names
        assert batch.pixels.shape == (4, 2) and batch.pixels.min() >= 0 and batch.pixels.max() < SIZE


def test_the_rate_warms_up_and_falls() -> None:
    assert rate_share(0, 1000) < 0.1 and rate_share(30, 1000) == pytest.approx(1.0, abs=0.01)
    assert rate_share(999, 1000) == pytest.approx(0.02, abs=1e-3)


def test_weights_are_kept_and_broken_ones_refused(
    tmp_path: Path, plane: ViewSet, tiny: networks.RadianceNetwork
) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, tiny.state_dict(), tiny.options, {"steps": "3"})
    first = path.read_bytes()
    again, facts = read_weights(path)
    write_weights(path, again.state_dict(), again.options, facts)
    assert path.read_bytes() == first and facts == {"steps": "3"} and again.options == TINY
    one, other = (render_view(n, plane.without(0), plane.target(0), options=FEW) for n in (tiny, again))
    assert np.array_equal(one.image_srgb, other.image_srgb)
    path.write_bytes(first[:-40])
    with pytest.raises(FormatError, match="no weights of the radiance network"):
        read_weights(path)
    with pytest.raises(InputError, match="no weights"):
        read_weights(tmp_path / "none.safetensors")


def test_senseless_options_are_refused(plane: ViewSet, tiny: networks.RadianceNetwork) -> None:
    with pytest.raises(UsageError, match="sources is 1"):
        SamplingOptions(sources=1).check()
    with pytest.raises(UsageError, match="multiple"):
        NetworkOptions(ray_width=15).check()
    with pytest.raises(UsageError, match="two pictures"):
        render_view(tiny, plane.part(np.array([0])), plane.target(1))
    with pytest.raises(UsageError, match="min_sources"):
        TrainingOptions(min_sources=9).check()


def test_views_of_a_sequence(toys: Path) -> None:
    scene = open_folder(toys / "mug" / "mug-0000")
    views = load_views(scene, 32)
    assert len(views) == 10 and views.images_srgb.shape == (10, 32, 32, 3)
    assert np.abs(views.middle).max() < 0.1, "they look at the object, which is at the origin"
    assert views.depth is not None and (views.depth > 0).mean() > 0.05
    half = load_views(scene, 16, with_depth=False)
    assert half.depth is None and np.allclose(half.K[:, :2], views.K[:, :2] / 2)


def test_lens_distortion_is_taken_out() -> None:
    """A point that the distorted camera sees at a pixel lies where the pinhole camera projects it."""
    from walkaround.radiance.views import _where_from

    camera = Camera(model="SIMPLE_RADIAL", width=64, height=48, params=(60.0, 32.0, 24.0, -0.2))
    pinhole = Camera(model="PINHOLE", width=64, height=48, params=(60.0, 60.0, 32.0, 24.0))
    point = np.array([0.3, -0.2, 1.0])
    at, seen = project(pinhole, point), project(camera, point)
    x, y = _where_from(camera, pinhole)
    place = (at - 0.5).astype(np.float32)[None, None]  # OpenCV's first pixel is centred at 0
    ramp_x, ramp_y = (cv2.remap(ramp, place, None, cv2.INTER_LINEAR) for ramp in (x, y))
    assert np.allclose([ramp_x[0, 0] + 0.5, ramp_y[0, 0] + 0.5], seen, atol=0.05)


def test_an_orbit_goes_around_and_a_part_of_one_to_and_fro(plane: ViewSet, toys: Path) -> None:
    views = load_views(open_folder(toys / "bottle" / "bottle-0000"), 32)
    whole = camera_path(views, "orbit", 24, up=np.array([0, 0, 1.0]))
    centres = np.stack([target.centre for target in whole])
    turned = np.degrees(np.unwrap(np.arctan2(centres[:, 1], centres[:, 0])))
    assert turned[-1] - turned[0] == pytest.approx(345, abs=5)
    assert np.abs(np.linalg.norm(centres - views.middle, axis=1) - 1).max() < 0.1
    part = np.stack([target.centre for target in camera_path(plane, "orbit", 20)])
    angles = np.degrees(np.arctan2(part[:, 1], part[:, 0]))
    assert angles.min() > -8 and angles.max() < np.degrees(1.2) + 8, "where cameras stand"
    assert np.argmax(np.abs(angles - angles[0])) == 10, "and back again"
    for target in (*whole, *camera_path(plane, "walk", 5)):
        rotation = target.cam_from_world[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.allclose(camera_path(plane, "walk", 6)[3].cam_from_world, plane.cam_from_world[3], atol=1e-6)
    with pytest.raises(UsageError, match="--path"):
        camera_path(plane, "spiral", 5)


def render_cli(*arguments: object) -> int:
    from walkaround.cli import main

    quick = ("--coarse", "8", "--fine", "6", "--threads", "1", "--device", "cpu")
    return main(["render", *(str(argument) for argument in arguments), *quick])


def test_the_command_renders_a_film_and_a_picture(
    toys: Path, tmp_path: Path, tiny: networks.RadianceNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence, weights = toys / "mug" / "mug-0001", tmp_path / "w.safetensors"
    write_weights(weights, tiny.state_dict(), tiny.options, {})
    film, picture = tmp_path / "orbit.mp4", tmp_path / "view.png"
    assert render_cli(sequence, "--out", film, "--frames", 3, "--size", 32, "--weights", weights) == 0
    assert probe_video(film).num_frames == 3
    assert render_cli(sequence, "--out", picture, "--view", 4, "--beside", "--size", 32) == 0, (
        "shipped weights"
    )
    shown = cv2.imread(str(picture))
    assert shown.shape == (32, 66, 3)
    truth = open_folder(sequence).read_image("004.jpg")[..., ::-1]
    assert np.abs(shown[:, :32].astype(int) - truth).max() <= 1
    assert "004.jpg from the others" in capsys.readouterr().err


def test_the_command_says_what_is_wrong(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = toys / "mug" / "mug-0001"
    for arguments, said in (
        ((toys, "--out", tmp_path / "a.mp4"), "no cameras"),
        ((tmp_path / "none", "--out", tmp_path / "a.mp4"), "no folder"),
        ((sequence, "--out", tmp_path / "a.gif"), ".mp4"),
        ((sequence, "--out", tmp_path / "a.mp4", "--view", "1"), "one picture"),
        ((sequence, "--out", tmp_path / "a.png", "--beside"), "--view"),
        ((sequence, "--out", tmp_path / "a.png", "--view", "99"), "1 to 10"),
        ((sequence, "--out", tmp_path / "a.mp4", "--frame-rate", "0"), "more than 0 and at most 240"),
        ((sequence, "--out", tmp_path / "a.mp4", "--frame-rate", "nan"), "more than 0 and at most 240"),
    ):
        assert render_cli(*arguments) == 2
        assert said in capsys.readouterr().err


def test_what_cannot_be_read_is_left_out(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence = shutil.copytree(toys / "mug" / "mug-0001", tmp_path / "mug" / "mug-0001")
    (sequence / "images" / "002.jpg").unlink()
    (sequence / "images" / "007.jpg").write_bytes(b"no picture")
    (sequence / "depth" / "005.png").write_bytes(b"no map")
    scene, view = open_folder(sequence), ("--out", tmp_path / "a.png", "--size", 32, "--view")
    with pytest.raises(FormatError, match=r"002\.jpg"):
        load_views(scene, 32)
    assert render_cli(sequence, *view, "4") == 0
    said = capsys.readouterr().err
    assert "004.jpg from the others" in said, "numbers stay"
    assert said.count("left out") == 2 and all(name in said for name in ("002.jpg", "007.jpg", "005.png"))
    views = load_views(scene, 32, leave_out_broken=True)
    assert len(views) == 8 and views.depth is not None
    assert views.depth[views.names.index("005.jpg")].max() == 0 < views.depth[0].max()
    assert render_cli(sequence, *view, "002.jpg") == 2 and "002.jpg" in capsys.readouterr().err
    assert render_cli(sequence, *view, "4", "--no-use-depth") == 0
    assert "005.png" not in capsys.readouterr().err
    for number in (3, 4, 5, 6, 8, 9):
        (sequence / "images" / f"{number:03}.jpg").unlink()
    assert render_cli(sequence, *view, "1") == 2
    assert "2 of its images can be read; rendering needs 3" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["render", "rerender"])
def test_the_help_of_a_switch_says_what_the_switch_does(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from walkaround.cli import main

    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out.split("--no-use-depth")[1].split("--coarse-step-px")[0]
    assert "Leave the sequence's depth maps out" in said and "default: True" not in said


def test_rerender_scores_a_sequence_and_writes_it_down(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from walkaround.cli import main

    root = shutil.copytree(toys, tmp_path / "toys")
    folder = root / "bottle" / "bottle-0001"
    quick = [
        "--views",
        "2",
        "--size",
        "32",
        "--coarse",
        "8",
        "--fine",
        "6",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["rerender", str(folder), "--write", "--json", *quick]) == 0
    found = json.loads(capsys.readouterr().out)["bottle/bottle-0001"]
    assert len(found["views"]) == 2 and found["rerender_worst_db"] == min(found["views"].values())
    record = read_record(folder)
    assert record.scores["rerender_psnr_db"] == pytest.approx(found["rerender_psnr_db"])
    assert list(record.stages.values())[-1].scores["rerender_ssim"] == pytest.approx(found["rerender_ssim"])
    kept = Dataset(root).query("map_contains(scores, 'rerender_psnr_db')")
    assert [scene.instance_id for scene in kept] == ["bottle-0001"]
    assert main(["rerender", str(tmp_path / "none"), *quick]) == 2


def test_pictures_of_equal_instances_in_two_classes_are_all_kept(toys: Path, tmp_path: Path) -> None:
    from walkaround.cli import main

    for label in ("cup", "mug"):
        shutil.copytree(toys / "mug" / "mug-0001", tmp_path / "toys" / label / "same")
    quick = [
        "--views",
        "1",
        "--size",
        "32",
        "--coarse",
        "4",
        "--fine",
        "4",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["rerender", str(tmp_path / "toys"), "--pictures", str(tmp_path / "look"), *quick]) == 0
    kept = sorted(path.relative_to(tmp_path / "look").as_posix() for path in tmp_path.glob("look/**/*.png"))
    assert kept == ["cup/same/006.png", "mug/same/006.png"]


def test_turned_cameras_lower_the_score(toys: Path) -> None:
    """With the shipped weights; each camera is turned about its place by 3 degrees."""
    views = load_views(open_folder(toys / "mug" / "mug-0000"), 32)
    network, _ = read_weights()
    options = SamplingOptions(coarse=16, fine=8)
    turned = views.cam_from_world.copy()
    axes = np.random.default_rng(0).normal(size=(len(views), 3))
    axes *= np.radians(3) / np.linalg.norm(axes, axis=1, keepdims=True)
    turned[:, :3] = Rotation.from_rotvec(axes).as_matrix() @ turned[:, :3]
    right, wrong = (
        rerender_scores(
            rerender(network, dataclasses.replace(views, cam_from_world=poses), 4, options=options)
        )
        for poses in (views.cam_from_world, turned)
    )
    assert right["rerender_psnr_db"] > wrong["rerender_psnr_db"] + 0.5
