"""frames: which stills are kept, how they are written, and what the motion scores tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import exif_block, hand_held, jpeg_with_exif, texture, walk, write_video
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import InputError, OutputError
from walkaround.frames import FramesOptions, FramesResult, extract_frames
from walkaround.frames.measure import focus, sharpness
from walkaround.io.image import read_image
from walkaround.quality.rules import judge
from walkaround.types import ByteArray


def extract(source: Path, folder: Path, **options: int) -> FramesResult:
    capture = inspect_capture(source, options=CaptureOptions())
    return extract_frames(source, capture, folder, options=FramesOptions(**options))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def add_noise(images: Sequence[ByteArray], sigma: float) -> list[ByteArray]:
    rng = np.random.default_rng(0)
    return [np.clip(i + rng.normal(0, sigma, i.shape), 0, 255).astype(np.uint8) for i in images]


def test_even_in_time_and_numbered(tmp_path: Path) -> None:
    result = extract(write_video(tmp_path / "v.mp4", walk(120)), tmp_path / "images", num_frames=10)
    assert names(tmp_path / "images") == [f"{i:03d}.jpg" for i in range(1, 11)]
    assert [f.image for f in result.frames] == names(tmp_path / "images")
    assert [f.index for f in result.frames] == list(range(1, 11))
    for i, frame in enumerate(result.frames):
        assert frame.timestamp_s == pytest.approx(frame.source_index / 30, abs=0.002)
        assert 0.2 <= frame.timestamp_s / 0.4 - i <= 0.8  # in its interval's middle part
    assert result.scores["num_frames"] == 10


def test_sharpest_of_each_interval_is_kept(tmp_path: Path) -> None:
    images = walk(120)
    sharp = {5, 18, 30, 41, 54, 66, 78, 90, 102, 114}
    blurred = [im if i in sharp else cv2.GaussianBlur(im, (0, 0), 3) for i, im in enumerate(images)]
    result = extract(write_video(tmp_path / "v.mp4", blurred), tmp_path / "images", num_frames=10)
    assert {f.source_index for f in result.frames} == sharp


def test_intervals_follow_real_times(tmp_path: Path) -> None:
    """60 frames in the first second, 9 in the next three: the stills are spread over time, not frames."""
    times = [i / 60 for i in range(60)] + [1 + i / 3 for i in range(9)]
    path = write_video(tmp_path / "v.mp4", walk(69, step=5), times=times)
    stamps = [f.timestamp_s for f in extract(path, tmp_path / "images", num_frames=8).frames]
    assert len(stamps) == 8
    assert sum(t < 1.0 for t in stamps if t is not None) <= 3


def test_fewer_frames_than_asked_for_are_all_kept(tmp_path: Path) -> None:
    result = extract(write_video(tmp_path / "v.mp4", walk(12, step=6)), tmp_path / "images")
    assert [f.source_index for f in result.frames] == list(range(12))


def test_near_duplicates_are_dropped(tmp_path: Path) -> None:
    images = [image for image in walk(20, step=8) for _ in range(3)]
    result = extract(write_video(tmp_path / "v.mp4", images), tmp_path / "images", num_frames=60)
    assert result.scores["num_frames"] == 20


def test_same_input_same_bytes_and_no_stale_files(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(60))
    extract(path, tmp_path / "a", num_frames=12)
    kept = {name: (tmp_path / "a" / name).read_bytes() for name in names(tmp_path / "a")}
    extract(path, tmp_path / "b", num_frames=20)
    extract(path, tmp_path / "b", num_frames=12)
    assert {name: (tmp_path / "b" / name).read_bytes() for name in names(tmp_path / "b")} == kept


def test_long_side_is_limited_never_enlarged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(12, step=6), rotation=(-90, False))
    extract(path, tmp_path / "a", long_side_px=160)
    assert read_image(tmp_path / "a" / "001.jpg").shape == (160, 120, 3)
    extract(path, tmp_path / "b", long_side_px=4000)
    assert read_image(tmp_path / "b" / "001.jpg").shape == (320, 240, 3)


def test_colours_survive(tmp_path: Path) -> None:
    images = [image // 2 + 60 for image in walk(10, step=6)]
    extract(write_video(tmp_path / "v.mp4", images), tmp_path / "images")
    first = read_image(tmp_path / "images" / "001.jpg").astype(int)
    assert np.abs(cv2.blur(first, (9, 9)) - cv2.blur(images[0].astype(int), (9, 9))).mean() < 3


def test_truncated_video_uses_what_decodes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(90), container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.5)])
    assert extract(path, tmp_path / "images", num_frames=10).scores["num_frames"] >= 9


def test_one_frame_and_still_video_are_rejected_by_the_rules(tmp_path: Path) -> None:
    one = extract(write_video(tmp_path / "one.mp4", walk(1)), tmp_path / "a")
    assert "too_few_distinct_frames" in judge(one.scores)[1]
    still = add_noise([texture(240, 320)] * 60, 1.5)
    result = extract(write_video(tmp_path / "still.mp4", still), tmp_path / "b")
    assert {"still_video", "too_few_distinct_frames"} <= set(judge(result.scores)[1])
    black = extract(
        write_video(tmp_path / "black.mp4", [np.zeros((96, 96, 3), np.uint8)] * 40), tmp_path / "c"
    )
    assert {"dark", "too_few_distinct_frames"} <= set(judge(black.scores)[1])


# ---- does the background move?


def test_walk_moves_the_background(tmp_path: Path) -> None:
    result = extract(write_video(tmp_path / "v.mp4", add_noise(walk(90), 3)), tmp_path / "images")
    assert result.scores["background_motion_share"] > 0.9
    assert result.scores["motion_px"] == pytest.approx(3 * 3 * 640 / 320, rel=0.15)  # 3 px a frame, 3 frames


@pytest.mark.parametrize("tremble_px", [0.0, 1.0])
def test_hand_held_object_before_standing_camera(tmp_path: Path, tremble_px: float) -> None:
    images = add_noise(hand_held(90), 3)
    shifts = np.random.default_rng(0).normal(0, tremble_px / 2, (90, 2))
    trembling = [
        cv2.warpAffine(image, np.array([[1, 0, x], [0, 1, y]]), (320, 240), borderMode=cv2.BORDER_REFLECT)
        for image, (x, y) in zip(images, shifts, strict=True)
    ]
    result = extract(write_video(tmp_path / "v.mp4", trembling), tmp_path / "images")
    assert result.scores["background_motion_share"] < 0.25
    assert "static_camera" in judge(result.scores)[1]


def test_plain_background_is_not_guessed(tmp_path: Path) -> None:
    images = []
    thing = texture(120, 140, 3)
    for i in range(90):
        image = np.full((240, 320, 3), 140, np.uint8)
        image[60:180, 90:230] = np.roll(thing, 3 * i, axis=1)
        images.append(image)
    result = extract(write_video(tmp_path / "v.mp4", add_noise(images, 4)), tmp_path / "images")
    assert "background_motion_share" not in result.scores
    assert result.scores["motion_px"] > 5


def test_walk_between_black_bars(tmp_path: Path) -> None:
    bars = [cv2.copyMakeBorder(image, 0, 0, 90, 90, cv2.BORDER_CONSTANT) for image in walk(90)]
    result = extract(write_video(tmp_path / "v.mp4", bars), tmp_path / "images")
    assert result.scores["background_motion_share"] > 0.9


# ---- photos


def photo_folder(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        block = exif_block(6 if i == 1 else 1, 26)
        (folder / f"{i + 1}.jpg").write_bytes(jpeg_with_exif(texture(96, 128, i), block))
    return folder


def test_photos_are_all_kept_upright_without_metadata(tmp_path: Path) -> None:
    source = photo_folder(tmp_path / "photos", 11)
    result = extract(source, tmp_path / "images", long_side_px=64)
    assert [f.source_index for f in result.frames] == list(range(11))
    assert all(f.timestamp_s is None for f in result.frames)
    assert read_image(tmp_path / "images" / "001.jpg").shape == (48, 64, 3)
    assert read_image(tmp_path / "images" / "002.jpg").shape == (64, 48, 3)
    assert not any(b"Exif" in (tmp_path / "images" / n).read_bytes() for n in names(tmp_path / "images"))
    assert result.focal_prior_px == pytest.approx(26 / np.hypot(36, 24) * 80)
    assert set(result.scores) == {"num_frames", "sharpness", "brightness"}


def test_photo_that_vanishes_is_one_clear_error(tmp_path: Path) -> None:
    source = photo_folder(tmp_path / "photos", 4)
    capture = inspect_capture(source, options=CaptureOptions())
    (source / "3.jpg").unlink()
    with pytest.raises(InputError, match=r"3\.jpg cannot be read"):
        extract_frames(source, capture, tmp_path / "images", options=FramesOptions())


# ---- stopping and failing


def test_cancel_leaves_no_half_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(60))
    capture = inspect_capture(path, options=CaptureOptions())

    def cancel(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_frames(path, capture, tmp_path / "images", options=FramesOptions(), progress=cancel)
    left = names(tmp_path / "images")
    assert left == [f"{i + 1:03d}.jpg" for i in range(len(left))]
    assert all(read_image(tmp_path / "images" / name).shape == (240, 320, 3) for name in left)


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(10))
    (tmp_path / "images").write_text("a file where the folder should be")
    with pytest.raises(OutputError):
        extract(path, tmp_path / "images")


def test_progress_rises_to_one(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(30))
    seen: list[float] = []
    capture = inspect_capture(path, options=CaptureOptions())
    extract_frames(path, capture, tmp_path / "i", options=FramesOptions(num_frames=5), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


# ---- measures


def test_sharpness_falls_with_blur_whatever_the_size() -> None:
    blocks = np.random.default_rng(0).integers(0, 255, (18, 24), np.uint8)
    picture = np.kron(blocks, np.ones((40, 40), np.uint8))
    values = [sharpness(picture if s == 0 else cv2.GaussianBlur(picture, (0, 0), s)) for s in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.5 and values[-1] < 0.2
    assert sharpness(np.full((50, 50), 100, np.uint8)) == 0.0


def test_focus_ignores_exposure() -> None:
    picture = cv2.cvtColor(texture(240, 320), cv2.COLOR_RGB2GRAY)
    darker = (picture * 0.7).astype(np.uint8)
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.5)
    assert focus(darker) == pytest.approx(focus(picture), rel=0.25)
    assert focus(blurred) < 0.8 * focus(darker)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "low", "high"), [("apple.mp4", 0.7, 1.0), ("box.mp4", 0.0, 0.25), ("cup.mp4", 0.0, 0.25)]
)
def test_shared_videos(test_data: Path, tmp_path: Path, name: str, low: float, high: float) -> None:
    result = extract(test_data / "captures" / name, tmp_path / "images")
    assert low <= result.scores["background_motion_share"] <= high
    assert result.scores["num_frames"] == 30
    assert ("static_camera" in judge(result.scores)[1]) == (low == 0)


@pytest.mark.data
@pytest.mark.parametrize("name", ["captures/skull", "captures/banana", "masks/espresso/images"])
def test_shared_photo_folders_are_not_judged_by_motion(test_data: Path, tmp_path: Path, name: str) -> None:
    result = extract(test_data / name, tmp_path / "images")
    assert "background_motion_share" not in result.scores and "motion_px" not in result.scores
    assert len(names(tmp_path / "images")) == result.scores["num_frames"]
