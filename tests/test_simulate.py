"""The renderer against an independent ray cast; same seed, same bytes; options do what they say."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import trimesh

from walkaround.errors import OutputError, UsageError
from walkaround.io.color import linear_from_srgb
from walkaround.io.video_write import Mp4Writer
from walkaround.quality.truth import Truth, read_mesh, read_truth
from walkaround.simulate import OBJECT_NAMES, SimulateOptions, simulate_capture
from walkaround.simulate.objects import make_object
from walkaround.simulate.radiance import render_radiance
from walkaround.simulate.shading import find_edges
from walkaround.types import BoolArray, ByteArray, FloatArray

SMALL = SimulateOptions(object="mug", num_frames=6, duration_s=1.0, size=(160, 96), jitter=1.0)


def truth_of(folder: Path, **changes: Any) -> Truth:
    return read_truth(simulate_capture(folder, options=dataclasses.replace(SMALL, **changes)).truth_dir)


def image_of(truth: Truth, number: int) -> ByteArray:
    image = cv2.imread(str(truth.folder / "images" / truth.frames[number].image))
    assert image is not None
    return np.asarray(image, dtype=np.uint8)


def mask_of(truth: Truth, number: int) -> BoolArray:
    mask = truth.mask(truth.frames[number])
    assert mask is not None
    return mask


def centres_of(truth: Truth) -> FloatArray:
    poses = np.array([frame.cam_from_world for frame in truth.frames])
    return -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])


@pytest.fixture(scope="module")
def plain_truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return truth_of(tmp_path_factory.mktemp("simulated"))


def cast(truth: Truth, number: int, triangles: FloatArray, uv: FloatArray) -> FloatArray:
    """Depth by brute force in double precision: every ray against every triangle."""
    frame = truth.frames[number]
    assert frame.K is not None
    rays = np.concatenate([uv, np.ones((len(uv), 1))], axis=1) @ np.linalg.inv(frame.K).T
    a, b, c = np.moveaxis(triangles @ frame.cam_from_world[:3, :3].T + frame.cam_from_world[:3, 3], 1, 0)
    planes = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)  # seen from the camera at 0
    volume = (a * planes[:, 0]).sum(axis=1)
    depth = np.zeros(len(uv))
    for number, ray in enumerate(rays):
        sides = planes @ ray
        inside = (sides > 0).all(axis=1) | (sides < 0).all(axis=1)
        t = volume[inside] / sides[inside].sum(axis=1)
        depth[number] = t[t > 0].min() if (t > 0).any() else 0.0
    return depth


def test_depth_and_mask_match_an_independent_ray_cast(tmp_path: Path) -> None:
    """Surface points projected with the written cameras fall on their pixels to better than 1e-6 px."""
    truth = truth_of(tmp_path, object="blob", num_frames=2)
    assert truth.mesh_path is not None
    vertices, faces = read_mesh(truth.mesh_path)
    rng = np.random.default_rng(0)
    for number, frame in enumerate(truth.frames):
        depth_map, mask_map = truth.depth(frame), mask_of(truth, number)
        assert depth_map is not None and frame.K is not None
        assert np.array_equal(depth_map > 0, mask_map)
        rows, cols = rng.integers(0, 96, 150), rng.integers(20, 140, 150)
        uv, depth = np.stack([cols, rows], axis=1) + 0.5, depth_map[rows, cols].astype(np.float64)
        expected = cast(truth, number, vertices[faces], uv)
        assert np.count_nonzero((depth > 0) ^ (expected > 0)) <= 1  # a ray may graze the outline
        both = (depth > 0) & (expected > 0)
        assert both.sum() > 30
        off = np.abs(depth[both] - expected[both]) / expected[both]
        assert np.sort(off)[-2] < 1e-6  # single precision on disk; a ray may graze a fold
        rays = np.concatenate([uv, np.ones((len(uv), 1))], axis=1)[both] @ np.linalg.inv(frame.K).T
        world = (rays * depth[both][:, None] - frame.cam_from_world[:3, 3]) @ frame.cam_from_world[:3, :3]
        again = world @ frame.cam_from_world[:3, :3].T + frame.cam_from_world[:3, 3]
        projected = (again[:, :2] / again[:, 2:]) @ frame.K[:2, :2].T + frame.K[:2, 2]
        assert np.abs(projected - uv[both]).max() < 1e-6
        surface = (rays * expected[both][:, None] - frame.cam_from_world[:3, 3]) @ frame.cam_from_world[
            :3, :3
        ]
        assert np.quantile(np.linalg.norm(surface - world, axis=1), 0.98) < 1e-6


def test_truth_is_complete(plain_truth: Truth) -> None:
    assert len(plain_truth.frames) == SMALL.num_frames
    for number, frame in enumerate(plain_truth.frames):
        depth = plain_truth.depth(frame)
        assert depth is not None and depth.shape == (96, 160)
        assert image_of(plain_truth, number).shape == (96, 160, 3)
        assert 0.05 < mask_of(plain_truth, number).mean() < 0.5
        assert frame.source_index == number
        assert frame.timestamp_s == pytest.approx(number / 6)
        rotation = frame.cam_from_world[:3, :3]
        assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12


def test_video_shows_the_images(plain_truth: Truth) -> None:
    with av.open(str(plain_truth.folder / "capture.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(frames) == SMALL.num_frames
    for number, frame in enumerate(frames):
        difference = np.abs(frame.astype(int) - image_of(plain_truth, number).astype(int))
        assert np.median(difference) < 6


def test_same_seed_same_bytes(plain_truth: Truth, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    again = simulate_capture(tmp_path / "again", options=SMALL, num_threads=1)
    assert digests(again.truth_dir) == digests(plain_truth.folder)
    other = truth_of(tmp_path / "other", seed=1)
    assert not np.array_equal(image_of(other, 0), image_of(plain_truth, 0))


def test_encoding_again_gives_the_same_bytes(plain_truth: Truth, tmp_path: Path) -> None:
    """Fifty times, between allocations of any size.

    On some virtual machines a few of fifty differ, whatever x264 is told: with one thread, adaptive
    quantisation or none, memory filled with anything. An order of threads or of memory that mattered would
    part the fifty about evenly; so nine in ten must be the same.
    """
    images = [image_of(plain_truth, number)[..., ::-1] for number in range(SMALL.num_frames)]
    rng = np.random.default_rng(0)
    found: Counter[bytes] = Counter()
    for number in range(50):
        junk = [bytes(int(size)) for size in rng.integers(1, 200_000, 5)]
        path = tmp_path / f"{number}.mp4"
        with Mp4Writer(path, SMALL.size, Fraction(6), crf=SMALL.crf) as encoder:
            for image in images:
                encoder.add(image)
        found[hashlib.sha256(path.read_bytes()).digest()] += 1
        del junk
    assert found.most_common(1)[0][1] >= 45


def test_finished_capture_is_kept_and_a_changed_one_replaced_when_asked(tmp_path: Path) -> None:
    options = dataclasses.replace(SMALL, num_frames=3, size=(64, 48))
    capture = simulate_capture(tmp_path, options=options)
    (tmp_path / "images" / "mine.png").write_bytes(b"keep")
    before = capture.video_path.stat().st_mtime_ns
    simulate_capture(tmp_path, options=options)
    assert capture.video_path.stat().st_mtime_ns == before
    fewer = dataclasses.replace(options, num_frames=2, seed=7)
    with pytest.raises(UsageError, match=r"made with seed 0, not 7; num_frames 3, not 2. Pass --overwrite"):
        simulate_capture(tmp_path, options=fewer)
    assert capture.video_path.stat().st_mtime_ns == before
    simulate_capture(tmp_path, options=fewer, overwrite=True)
    assert sorted(path.name for path in capture.image_dir.iterdir()) == ["001.png", "002.png", "mine.png"]
    assert len(read_truth(tmp_path).frames) == 2
    (tmp_path / "masks" / "001.png").unlink()
    simulate_capture(tmp_path, options=fewer)
    assert (tmp_path / "masks" / "001.png").is_file()
    names = {"cameras.json", "capture.mp4", "depth", "images", "masks", "mesh.ply"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("name", ["cameras.json", "images/001.png", "capture.mp4"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "truth" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"frames": []}')
    with pytest.raises(UsageError, match="--overwrite"):
        simulate_capture(tmp_path / "truth", options=SMALL)
    assert path.read_text() == '{"frames": []}'
    assert [p for p in (tmp_path / "truth").rglob("*") if p.is_file()] == [path]


def test_an_interrupted_simulation_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_capture(tmp_path / "new", options=SMALL, progress=interrupt)
    assert not (tmp_path / "new").exists()
    capture = simulate_capture(tmp_path / "old", options=SMALL)
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    other = dataclasses.replace(SMALL, seed=1)
    with pytest.raises(KeyboardInterrupt):
        simulate_capture(capture.truth_dir, options=other, overwrite=True, progress=interrupt)
    assert {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()} == before


def test_a_simulation_killed_while_moving_is_made_again(tmp_path: Path) -> None:
    simulate_capture(tmp_path, options=SMALL)
    (tmp_path / ".simulate.tmp").mkdir()
    (tmp_path / "cameras.json").rename(tmp_path / ".simulate.tmp" / "cameras.json")
    simulate_capture(tmp_path, options=SMALL)
    assert len(read_truth(tmp_path).frames) == SMALL.num_frames and not (tmp_path / ".simulate.tmp").exists()


@pytest.mark.parametrize("arc_deg", [90.0, -360.0])
def test_arc(arc_deg: float, tmp_path: Path) -> None:
    truth = truth_of(tmp_path, arc_deg=arc_deg, jitter=0.0, num_frames=9, size=(32, 32), samples=1)
    centres = centres_of(truth)
    angles = np.degrees(np.unwrap(np.arctan2(centres[:, 1], centres[:, 0])))
    assert angles[-1] - angles[0] == pytest.approx(arc_deg * 8 / 9)
    heights = np.ptp(centres[:, 2])
    assert heights < 1e-9
    if arc_deg == 90.0:
        shaky = truth_of(tmp_path / "shaky", arc_deg=arc_deg, num_frames=9, size=(32, 32), samples=1)
        assert np.ptp(centres_of(shaky)[:, 2]) > 1e-3


def test_moving_object(tmp_path: Path) -> None:
    """The background stands still, the object turns; the cameras are written as the object sees them."""
    truth = truth_of(tmp_path, moving_object=True, arc_deg=90.0, jitter=0.0, noise=0.0)
    first, last = image_of(truth, 0).astype(int), image_of(truth, 5).astype(int)
    background = ~cv2.dilate((mask_of(truth, 0) | mask_of(truth, 5)).astype(np.uint8), np.ones((5, 5)))
    upper = np.zeros_like(background, dtype=bool)
    upper[:24] = True  # the room; on the table the shadow moves
    still = upper & (background == 255)
    assert still.sum() > 500
    assert np.abs(first - last)[still].max() <= 1
    centres = centres_of(truth)
    angles = np.degrees(np.unwrap(np.arctan2(centres[:, 1], centres[:, 0])))
    assert abs(angles[-1] - angles[0]) == pytest.approx(90 * 5 / 6)


def test_clutter_is_seen_and_no_part_of_the_truth(plain_truth: Truth, tmp_path: Path) -> None:
    """The cameras and the mesh stay; the pictures change; neighbours hide the object and are never it."""
    cluttered = truth_of(tmp_path, clutter=5)
    assert plain_truth.mesh_path is not None and cluttered.mesh_path is not None
    assert plain_truth.mesh_path.read_bytes() == cluttered.mesh_path.read_bytes()
    np.testing.assert_array_equal(centres_of(plain_truth), centres_of(cluttered))
    hidden = 0
    for number in range(len(cluttered.frames)):
        alone, among = mask_of(plain_truth, number), mask_of(cluttered, number)
        assert not (among & ~alone).any()
        hidden += int((alone & ~among).sum())
        apart = np.abs(image_of(plain_truth, number).astype(int) - image_of(cluttered, number)).max(axis=2)
        assert float((apart[~alone] > 40).mean()) > 0.05
    assert hidden > 20


def test_nearness_brings_the_object_to_the_border(plain_truth: Truth, tmp_path: Path) -> None:
    near = truth_of(tmp_path, nearness=0.6)
    assert np.median(np.linalg.norm(centres_of(near), axis=1)) < 0.75 * np.median(
        np.linalg.norm(centres_of(plain_truth), axis=1)
    )
    for number in range(len(near.frames)):
        mask = mask_of(near, number)
        assert mask[0].any() or mask[-1].any()
        alone = mask_of(plain_truth, number)
        assert not (alone[0].any() or alone[-1].any() or alone[:, 0].any() or alone[:, -1].any())


def test_light_noise_texture_and_blur(plain_truth: Truth, tmp_path: Path) -> None:
    one = {"num_frames": 1}
    mask = mask_of(plain_truth, 0)
    usual = image_of(plain_truth, 0).astype(float)
    dark = image_of(truth_of(tmp_path / "dark", exposure=0.08, **one), 0)
    assert dark.mean() < 0.4 * usual.mean()
    noisy = image_of(truth_of(tmp_path / "noise", noise=0.1, **one), 0)
    clean = image_of(truth_of(tmp_path / "clean", noise=0.0, **one), 0)
    assert np.abs(noisy - clean.astype(float)).mean() > 5 * np.abs(usual - clean).mean()
    weak = image_of(truth_of(tmp_path / "weak", texture=0.05, noise=0.0, **one), 0)
    assert weak[mask].std() < 0.5 * clean[mask].std()
    blurred = truth_of(tmp_path / "blur", blur_s=0.01, noise=0.0, **one)
    assert np.array_equal(mask_of(blurred, 0), mask)  # the truth is that of the middle of the exposure

    def detail(image: ByteArray) -> float:
        return float(np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean())

    assert detail(image_of(blurred, 0)) < 0.8 * detail(clean)


def test_plain_background_has_no_texture(tmp_path: Path) -> None:
    changes = {"num_frames": 1, "noise": 0.0}
    plain = truth_of(tmp_path / "plain", plain_background=True, table="plain", **changes)
    usual = truth_of(tmp_path / "usual", **changes)

    def edges_outside(truth: Truth) -> float:
        outside = cv2.dilate(mask_of(truth, 0).astype(np.uint8), np.ones((5, 5))) == 0
        image = cv2.cvtColor(image_of(truth, 0), cv2.COLOR_BGR2GRAY)
        return float((np.abs(cv2.Laplacian(image, cv2.CV_32F))[outside] > 12).mean())

    assert edges_outside(plain) < 0.05 < 0.15 < edges_outside(usual)


def test_antialiasing_at_edges_only_is_near_antialiasing_everywhere(tmp_path: Path) -> None:
    """The fast way (rays at edges) against its slow twin (nine rays in every pixel)."""
    changes = {"num_frames": 1, "noise": 0.0, "jitter": 0.0}
    fast = image_of(truth_of(tmp_path / "fast", samples=9, **changes), 0)
    slow = image_of(truth_of(tmp_path / "slow", samples=9, blur_s=1e-9, **changes), 0)
    difference = np.abs(fast.astype(int) - slow.astype(int))
    assert difference.mean() < 2.5
    assert np.quantile(difference, 0.99) < 25


def test_find_edges() -> None:
    patches = np.zeros((4, 5), dtype=np.int64)
    patches[:, 3:] = 7
    depth = np.ones((4, 5))
    depth[3] = 2.0
    edges = find_edges(patches, depth, 0.1)
    assert edges[:, 2:4].all() and edges[2:].all()
    assert not edges[:2, :2].any() and not edges[:2, 4].any()


@pytest.mark.parametrize("name", OBJECT_NAMES)
def test_objects_are_closed_and_stand_on_the_table(name: str) -> None:
    made = make_object(name, seed=3)
    mesh = trimesh.Trimesh(made.vertices, made.faces, process=False)
    _, uses = np.unique(np.sort(mesh.edges, axis=1), axis=0, return_counts=True)
    assert (uses % 2 == 0).all()  # closed: four faces may meet in an edge
    assert mesh.volume > 1e-5
    assert made.vertices[:, 2].min() == pytest.approx(0.0, abs=1e-12)
    assert np.linalg.norm(made.normals, axis=1) == pytest.approx(1.0)
    corners = made.vertices[made.faces]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    agree = (faces * made.normals[made.faces[:, 0]]).sum(axis=1) > 0
    assert agree.mean() > 0.96  # but at thin rims


@pytest.mark.parametrize(
    "changes", [{"object": "cube"}, {"size": (33, 32)}, {"num_frames": 0}, {"texture": 2.0}, {"seed": -1}]
)
def test_wrong_options_name_the_right_ones(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        simulate_capture(tmp_path, options=dataclasses.replace(SMALL, **changes))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="out"):
        simulate_capture(tmp_path / "out", options=SMALL)


def test_alternating_exposures_and_hard_light(tmp_path: Path) -> None:
    same: dict[str, Any] = {"num_frames": 4, "jitter": 0.0, "arc_deg": 1.0, "noise": 0.0, "exposure": 0.2}
    truth = truth_of(tmp_path / "a", **same, exposures_ev=(0.0, 3.0))
    first, second, third = (image_of(truth, number).astype(float) for number in (0, 1, 2))
    assert abs(first.mean() - third.mean()) < 2
    good = (second.max(axis=2) < 235) & (first.min(axis=2) > 12)
    linear = [linear_from_srgb(image[good] / 255.0) for image in (first, second)]
    assert np.median(linear[1] / linear[0]) == pytest.approx(8, rel=0.08)
    assert (second == 255).any(), "no shoulder: the sensor clips"
    hard = truth_of(tmp_path / "b", **same, exposures_ev=(0.0, 3.0), contrast_ev=6.0)
    image = image_of(hard, 0).astype(float)
    assert image.max() > first.max() and np.percentile(image, 5) < np.percentile(first, 5)


def test_a_capture_from_before_an_option_existed_is_kept(tmp_path: Path) -> None:
    simulate_capture(tmp_path, options=SMALL)
    path = tmp_path / "cameras.json"
    record = json.loads(path.read_text())
    del record["options"]["exposures_ev"], record["options"]["contrast_ev"]
    path.write_text(json.dumps(record))
    written = path.stat().st_mtime_ns
    simulate_capture(tmp_path, options=SMALL)
    assert path.stat().st_mtime_ns == written


def test_radiance_is_what_the_sensor_records(tmp_path: Path) -> None:
    """Light before the sensor, exposed and encoded, is the picture; it goes above what a sensor holds."""
    options = dataclasses.replace(SMALL, noise=0.0, num_frames=2, exposures_ev=(0.0, 2.0), contrast_ev=4.0)
    truth = read_truth(simulate_capture(tmp_path, options=options).truth_dir)
    frames = list(render_radiance(options))
    assert len(frames) == 2 and max(frame.max() for frame in frames) > 2.0
    for number, frame in enumerate(frames):
        light = np.clip(0.8 * 4.0**number * frame.astype(np.float64), 0, 1)
        seen = linear_from_srgb(image_of(truth, number)[..., ::-1] / 255.0)
        assert np.abs(light - seen).max() < 0.006
