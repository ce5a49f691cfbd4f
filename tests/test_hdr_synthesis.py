"""Synthetic clips of alternating exposures: same seed same clip, truth that the frames agree with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from walkaround.errors import InputError, UsageError
from walkaround.hdr.synthesis import HELD_OUT, CameraOptions, ClipOptions, find_sources, synthesise_clip
from walkaround.hdr.synthesis.camera import grade, graded, record
from walkaround.hdr.synthesis.leaves import draw_leaves
from walkaround.hdr.synthesis.sources import leaves_source, linearise
from walkaround.hdr.windows import window_around, window_indices
from walkaround.io.radiance import read_radiance

PERFECT = CameraOptions(shot_noise=0, read_noise=0, bits=0)
SMALL = ClipOptions(size=(96, 64), num_frames=5, exposures=(1.0, 4.0, 16.0))


def leaves(seed: int = 0) -> np.ndarray:
    return draw_leaves((160, 120), np.random.default_rng(seed), num_shapes=200)


def test_the_same_seed_gives_the_same_clip() -> None:
    first, again = (synthesise_clip(leaves(), [leaves(1)], SMALL, seed=3) for _ in range(2))
    other = synthesise_clip(leaves(), [leaves(1)], SMALL, seed=4)
    for a, b, c in zip(first.frames, again.frames, other.frames, strict=True):
        assert np.array_equal(a.image, b.image) and not np.array_equal(a.image, c.image)


def test_frames_are_what_a_camera_would_record_of_the_truth() -> None:
    clip = synthesise_clip(leaves(), [leaves(1)], replace(SMALL, camera=PERFECT), seed=1)
    assert sorted(clip.exposures) == [1.0, 4.0, 16.0]
    for number, (frame, truth) in enumerate(zip(clip.frames, clip.truth, strict=True)):
        assert frame.exposure == clip.exposures[number % 3]
        radiance = frame.image**2.2 / frame.exposure
        seen = frame.image < 1
        assert np.abs(radiance - truth)[seen].max() < 1e-5
        assert (truth[~seen] * frame.exposure >= 0.999).all()


def test_noise_has_the_stated_variance() -> None:
    options = CameraOptions(shot_noise=4e-4, read_noise=2e-3, gamma=1.0, bits=0)
    grey = np.full((200, 200, 3), 0.3, np.float32)
    seen = record(grey, 1.0, options, np.random.default_rng(0)).image
    assert seen.var() == pytest.approx(4e-4 * 0.3 + 4e-6, rel=0.03)
    assert record(grey, 8.0, options, np.random.default_rng(0)).image.max() == 1.0


def test_quantisation_and_wrong_tone() -> None:
    ramp = np.linspace(0, 1, 3000, dtype=np.float32).reshape(10, 100, 3)
    coarse = record(ramp, 1.0, replace(PERFECT, bits=4), np.random.default_rng(0)).image
    assert len(np.unique(coarse)) == 16
    right = record(ramp, 1.0, PERFECT, np.random.default_rng(0)).image
    wrong = record(ramp, 1.0, replace(PERFECT, tone=0.3), np.random.default_rng(0)).image
    assert 0.01 < np.abs(right - wrong).max() < 0.2


def test_things_move_unlike_the_background() -> None:
    still = replace(SMALL, motion_px=0.0, zoom=0.0, rotation_deg=0.0, camera=PERFECT)
    alone = synthesise_clip(leaves(), [], still, seed=0)
    assert np.abs(alone.truth[0] - alone.truth[4]).max() < 1e-6
    moving = synthesise_clip(leaves(), [leaves(1)], replace(still, layer_motion_px=8.0), seed=0)
    changed = np.abs(moving.truth[0] - moving.truth[4]).max(axis=2) > 1e-6
    assert 0.02 < changed.mean() < 0.8


def test_grading_reaches_share_and_median() -> None:
    radiance = leaves()
    out = graded(radiance, *grade(radiance, 0.02, 0.05))
    assert (out.max(axis=2) > 1).mean() == pytest.approx(0.02, abs=0.003)
    assert np.median(out.mean(axis=2)) == pytest.approx(0.05, rel=0.1)


def test_windows_repeat_the_nearest_of_the_same_exposure() -> None:
    assert window_indices(3, 8, 2) == (2, 3, 4)
    assert window_indices(0, 8, 2) == (1, 0, 1)
    assert window_indices(7, 8, 3) == (5, 6, 7, 5, 6)
    clip = synthesise_clip(leaves(), [], SMALL, seed=0)
    for index in range(5):
        window = window_around(clip.frames, index, 3)
        assert window[2] is clip.frames[index]
        wanted = [clip.exposures[(index + step) % 3] for step in (-2, -1, 0, 1, 2)]
        assert [frame.exposure for frame in window] == wanted
    with pytest.raises(UsageError, match="2 frames does not hold each of 3 exposures"):
        window_indices(0, 2, 3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"exposures": (2.0, 8.0)}, "exposures is"),
        ({"exposures": (1.0, 1.0)}, "different"),
        ({"size": (8, 64)}, "size is"),
        ({"camera": CameraOptions(bits=20)}, "camera.bits is 20"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        synthesise_clip(leaves(), [], replace(SMALL, **wrong), seed=0)  # type: ignore[arg-type]


def test_linearised_video_keeps_order_and_spreads_white() -> None:
    steps = np.repeat(np.arange(0, 256, 5, dtype=np.uint8), 12).reshape(1, -1, 1).repeat(9, 0).repeat(3, 2)
    out = linearise(steps, stretch=3.0)[4, 6::12, 0]
    assert (np.diff(out) > 0).all() and out[-1] == pytest.approx(3.0, rel=0.05)


def test_sources_and_files(tmp_path: Path) -> None:
    picture = leaves()[:32, :40]
    for name in ("room.hdr", "Desk.hdr"):
        cv2.imwrite(str(tmp_path / name), picture[..., ::-1])
    assert [source.name for source in find_sources(tmp_path, held_out=False)] == ["room"]
    (kept,) = find_sources(tmp_path, held_out=True)
    assert kept.name in HELD_OUT
    assert np.abs(kept.read() - picture).max() <= 0.01 * picture.max()
    assert leaves_source(5).read().shape == (480, 640, 3)
    with pytest.raises(InputError, match="no folder"):
        find_sources(tmp_path / "nothing", held_out=False)


def test_exr(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    picture = np.ones((4, 5, 3), np.float16)
    picture[0, 0] = (-1.0, np.inf, np.nan)
    picture[1, 1] = (1.0, 60.0, 1.0)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": picture}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert read_radiance(tmp_path / "a.exr")[0, 0].tolist() == [0.0, 60.0, 0.0]
    (tmp_path / "b.exr").write_bytes(b"no exr")
    with pytest.raises(InputError, match="damaged or not an OpenEXR"):
        read_radiance(tmp_path / "b.exr")
    with pytest.raises(InputError, match="ends in"):
        (tmp_path / "c.png").write_bytes(b"")
        read_radiance(tmp_path / "c.png")


@pytest.mark.data
def test_the_shared_radiance_images(test_data: Path) -> None:
    pytest.importorskip("OpenEXR")
    train, kept = (find_sources(test_data / "hdr", held_out=held) for held in (False, True))
    assert {source.name for source in kept} == set(HELD_OUT)
    assert not {source.name for source in train} & set(HELD_OUT) and len(train) == 14
    clip = synthesise_clip(kept[0].read(), [], SMALL, seed=0)
    assert 0 < np.median(clip.truth[0]) < 0.3
