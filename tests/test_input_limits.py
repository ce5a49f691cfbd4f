"""Pictures and videos that are too large, too long, or lie about it: refused before they cost anything."""

from __future__ import annotations

import os
import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import clips
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import FormatError, InputError
from walkaround.io.depth import read_depth, read_grey
from walkaround.io.image import decode_photo, read_file
from walkaround.io.image_size import stated_size_wh
from walkaround.io.video import VideoReader, probe_video
from walkaround.quality.rules import judge

PICTURE = clips.texture(50, 70)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that states any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    picture = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", picture) + chunk(b"IEND", b"")


def jpeg_that_lies(width: int, height: int) -> bytes:
    """A small JPEG whose frame header states another size."""
    data = bytearray(cv2.imencode(".jpg", PICTURE)[1].tobytes())
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("shape", [(50, 70, 3), (1, 1, 3), (50, 70), (33, 300, 3)])
def test_the_stated_size_is_the_decoded_one(suffix: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    data = cv2.imencode(suffix, image)[1].tobytes()
    assert stated_size_wh(data) == (shape[1], shape[0])


@pytest.mark.parametrize("options", [[cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]])
def test_other_jpegs(options: list[int]) -> None:
    assert stated_size_wh(cv2.imencode(".jpg", PICTURE, options)[1].tobytes()) == (70, 50)
    with_exif = clips.jpeg_with_exif(PICTURE, clips.exif_block(6))
    assert stated_size_wh(with_exif[:2] + b"\xff\xff" + with_exif[2:]) == (70, 50)


def test_lossless_webp() -> None:
    data = cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert data[12:16] == b"VP8L" and stated_size_wh(data) == (70, 50)


@pytest.mark.parametrize("suffix", [".jp2", ".ppm", ".gif", ".hdr", ".pfm"])
def test_other_formats_reach_no_decoder(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = PICTURE.astype(np.float32) if suffix in (".hdr", ".pfm") else PICTURE
    data = cv2.imencode(suffix, image)[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match="not a JPEG, PNG, WebP, TIFF or BMP"):
        decode_photo(data, "x.jpg")


@pytest.mark.parametrize(
    "data", [png_bomb(60_000, 60_000), jpeg_that_lies(65_500, 65_500)], ids=["png", "jpeg"]
)
def test_photo_bombs_are_refused_by_their_header(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"6\d{4} x 6\d{4} pixels; at most 120000000.*--capture\.max-pixels"):
        decode_photo(data, "x")


def test_maps_of_a_dataset_that_state_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fuzzing: a damaged header of a depth map took gigabytes."""
    path = tmp_path / "001.png"
    path.write_bytes(png_bomb(60_000, 20_000))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for read in (read_depth, read_grey):
        with pytest.raises(FormatError):
            read(path)


@pytest.mark.parametrize("place", [33, -12], ids=["picture", "end"])
def test_a_png_whose_parts_reach_beyond_its_end(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fuzzing: OpenCV made 4 GB of room for a chunk that said it was so long."""
    data = bytearray(cv2.imencode(".png", PICTURE)[1].tobytes())
    at = place % len(data)
    data[at : at + 4] = b"\xff\xff\xff\xf0"
    assert stated_size_wh(bytes(data)) is None
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match="damaged"):
        decode_photo(bytes(data), "x.png")


def test_a_bomb_among_photos_is_left_out(tmp_path: Path) -> None:
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), clips.texture(48, 64, seed=number))
    (tmp_path / "8.png").write_bytes(png_bomb(60_000, 60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    capture = inspect_capture(tmp_path, options=CaptureOptions())
    assert capture.num_frames == 8 and "1 of 9 photos could not be read" in capture.warnings[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB
    with pytest.raises(InputError, match="None of the 9 photos"):
        inspect_capture(tmp_path, options=CaptureOptions(max_pixels=1000))


def test_files_that_are_no_photos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match="is not a file"):
        read_file(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(InputError, match="larger than 1 GiB"):
        read_file(tmp_path / "sparse.jpg")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        probe_video(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        probe_video(Path("/dev/zero"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write_video(tmp_path_factory.mktemp("v") / "v.mp4", clips.walk(30))


def test_a_video_of_too_many_bytes_is_not_opened(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.capture.inspect.probe_video", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(InputError, match=r"at most 0\.001 MB.*--capture\.max-size-mb"):
        inspect_capture(video, options=CaptureOptions(max_size_mb=0.001))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CaptureOptions(max_duration_s=0.5), "30 frames in 1.0 s; the limits are 100000 frames and 0.5 s"),
        (CaptureOptions(max_frames=10), "more than 10 frames in 0.4 s"),
    ],
)
def test_a_long_video_is_rejected(video: Path, options: CaptureOptions, said: str) -> None:
    capture = inspect_capture(video, options=options)
    assert said in " ".join(capture.warnings) and "cut off" not in " ".join(capture.warnings)
    status, reasons = judge(capture.scores)
    assert status == "rejected" and "too_long" in reasons
    assert "length_share" not in inspect_capture(video, options=CaptureOptions()).scores


def test_large_pictures_of_a_video(video: Path) -> None:
    with pytest.raises(InputError, match=r"320 x 240 pixels; at most 76799"):
        inspect_capture(video, options=CaptureOptions(max_pixels=320 * 240 - 1))
    assert inspect_capture(video, options=CaptureOptions(max_pixels=320 * 240)).width == 320


def test_pixels_that_are_a_thousand_times_as_wide_as_high(tmp_path: Path) -> None:
    """The shape of a pixel multiplies the size as shown: it counts, too."""
    path = clips.write_video(tmp_path / "wide.mp4", clips.walk(3), options={"aspect": "2"})
    data = path.read_bytes()
    at = data.index(b"pasp") + 4
    path.write_bytes(data[:at] + struct.pack(">II", 60_000, 1) + data[at + 8 :])
    with pytest.raises(InputError, match="19200000 x 240 pixels"):
        probe_video(path)


def test_pictures_that_grow_within_a_video(tmp_path: Path) -> None:
    """A raw stream of two sizes, the larger one beyond what opening looks at."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (256, 256, 3), np.uint8) for _ in range(80)]
    small = clips.write_video(tmp_path / "a.h264", noise)
    large = clips.write_video(tmp_path / "b.h264", clips.walk(5, height=480, width=640))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())

    def sizes(max_pixels: int) -> set[int]:
        with VideoReader(both, num_threads=1, max_pixels=max_pixels) as reader:
            return {frame.luma(4096).shape[0] for frame in reader.frames()}

    assert sizes(640 * 480) == {256, 480}
    assert sizes(640 * 480 - 1) == {256}
