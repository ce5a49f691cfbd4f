"""capture: what a video or a photo folder is, and what is wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import exif_block, jpeg_with_exif, texture, walk, write_video
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import InputError
from walkaround.quality.rules import judge
from walkaround.types import CaptureInfo


def inspect(source: Path, max_photos: int = 200) -> CaptureInfo:
    return inspect_capture(source, options=CaptureOptions(max_photos=max_photos))


def photo_folder(folder: Path, count: int = 8, height: int = 48, width: int = 64) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        (folder / f"IMG {i + 1}.jpg").write_bytes(
            jpeg_with_exif(texture(height, width, i), exif_block(1, 26))
        )
    return folder


def test_video(tmp_path: Path) -> None:
    info = inspect(write_video(tmp_path / "v.mp4", walk(40), rotation=(-90, False)))
    assert (info.kind, info.width, info.height, info.rotation_deg) == ("video", 240, 320, 90)
    assert info.scores == {
        "num_source_frames": 40.0,
        "duration_s": pytest.approx(4 / 3, abs=0.02),
        "long_side_px": 320.0,
    }
    assert len(info.sha256) == 64 and not info.warnings and info.photo_paths == ()


def test_truncated_video_warns(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(60), container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    (warning,) = inspect(path).warnings
    assert "cut off" in warning and "60" in warning


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".flv", ".avi"])
def test_truncated_video_of_any_container_warns(tmp_path: Path, suffix: str) -> None:
    """Matroska, Flash and AVI do not count their frames: the declared duration or a torn packet tells."""
    container = ".mkv" if suffix == ".webm" else suffix  # the encoder at hand is H.264
    path = write_video(tmp_path / f"v{container}", walk(90)).rename(tmp_path / f"v{suffix}")
    assert inspect(path).warnings == ()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    info = inspect(path)
    assert 30 < info.num_frames < 80
    (warning,) = info.warnings
    assert "cut off" in warning and ("of its 3.0 s" in warning or str(info.num_frames) in warning)


def test_one_frame_video_is_a_score_not_a_crash(tmp_path: Path) -> None:
    info = inspect(write_video(tmp_path / "v.mp4", walk(1)))
    assert info.num_frames == 1
    assert judge(info.scores)[0] == "rejected" and "too_few_frames" in judge(info.scores)[1]


def test_photos_in_natural_order_with_focal_prior(tmp_path: Path) -> None:
    info = inspect(photo_folder(tmp_path / "my photos", 12))
    assert [path.name for path in info.photo_paths] == [f"IMG {i + 1}.jpg" for i in range(12)]
    assert (info.kind, info.width, info.height, info.codec) == ("photos", 64, 48, "jpeg")
    assert info.focal_prior_px == pytest.approx(26 / np.hypot(36, 24) * 80)
    assert "duration_s" not in info.scores


def test_hash_is_of_contents_and_order_not_of_names(tmp_path: Path) -> None:
    first = inspect(photo_folder(tmp_path / "a"))
    renamed = photo_folder(tmp_path / "b")
    for i, path in enumerate(first.photo_paths):
        (renamed / path.name).rename(renamed / f"holiday{i:03d}.jpeg")
    assert inspect(renamed).sha256 == first.sha256
    (renamed / "holiday000.jpeg").rename(renamed / "z.jpeg")
    assert inspect(renamed).sha256 != first.sha256


def test_broken_photo_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "p")
    path = folder / "IMG 3.jpg"
    path.write_bytes(path.read_bytes()[:500])
    (folder / "notes.txt").write_text("x")
    (folder / ".IMG 9.jpg").write_text("a sidecar of some systems")
    info = inspect(folder)
    assert info.num_frames == 7
    assert info.warnings == ("1 of 8 photos could not be read and was left out.",)


def test_copies_of_a_photo_count_once(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "p")
    whole = inspect(folder)
    for number in (3, 5):
        shutil.copy(whole.photo_paths[number], folder / f"z copy {number}.jpg")
    info = inspect(folder)
    assert info.warnings == ("2 photos are copies of others and were left out.",)
    assert (info.sha256, info.photo_paths) == (whole.sha256, whole.photo_paths)


def test_many_photos_are_thinned_evenly(tmp_path: Path) -> None:
    info = inspect(photo_folder(tmp_path / "p", 30), max_photos=10)
    assert info.num_frames == 10 and "evenly" in info.warnings[0]
    numbers = [int(path.stem.split()[1]) for path in info.photo_paths]
    assert (numbers[0], numbers[-1]) == (1, 30) and set(np.diff(numbers)) <= {3, 4}


def test_portrait_and_landscape_mix_is_no_matter(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "p", 5)
    (folder / "IMG 9.jpg").write_bytes(jpeg_with_exif(texture(48, 64), exif_block(6, 26)))
    info = inspect(folder)
    assert info.warnings == () and (info.width, info.height) == (64, 48)
    (folder / "IMG 10.png").write_bytes(bytes(cv2.imencode(".png", texture(60, 90))[1]))
    assert "1 of 7 photos has another size" in inspect(folder).warnings[0]


def test_changed_zoom_gives_no_focal_prior(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "p")
    (folder / "tele.jpg").write_bytes(jpeg_with_exif(texture(48, 64), exif_block(1, 77)))
    info = inspect(folder)
    assert info.focal_prior_px is None and "focal lengths" in info.warnings[0]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff", ".bmp", ".JPG"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    for i in range(3):
        data = bytes(cv2.imencode(suffix.lower(), texture(48, 64, i))[1])
        (tmp_path / f"{i}{suffix}").write_bytes(data)
    assert inspect(tmp_path).num_frames == 3


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no photos"),
        ({"a.txt": b"x"}, "holds no photos"),
        ({"a.heic": b"x", "b.HEIC": b"x"}, "HEIC"),
        ({"a.jpg": b"x", "b.png": b""}, "None of the 2 photos"),
    ],
)
def test_unusable_folders(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=says):
        inspect(tmp_path)


def test_missing_and_single_photo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "nothing.mp4")
    with pytest.raises(InputError, match="single photo"):
        inspect(photo_folder(tmp_path / "p") / "IMG 1.jpg")


@pytest.mark.data
def test_shared_captures(test_data: Path, tmp_path: Path) -> None:
    info = inspect(test_data / "captures" / "apple.mp4")
    assert (info.num_frames, info.width, info.height, info.codec) == (50, 1296, 720, "h264")
    assert inspect(test_data / "captures" / "skull").num_frames == 66
    espresso = inspect(test_data / "masks" / "espresso" / "images")
    assert espresso.num_frames == 7 and espresso.focal_prior_px is not None
    copy = tmp_path / "Äpfel 1.mp4"
    shutil.copy(test_data / "captures" / "apple.mp4", copy)
    assert inspect(copy).sha256 == info.sha256
