"""io/video and io/color: probing, orientation, timing, colours against published formulas, broken files."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import exif_block, texture, walk, write_flat, write_video, yuv_code
from walkaround.errors import InputError
from walkaround.io import color
from walkaround.io.video import VideoReader, probe_video

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def quadrants() -> np.ndarray:  # red, green over blue, black
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32] = RED, GREEN, BLUE
    return image


def first_picture(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return next(reader.frames()).image_srgb()


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    h, w = image.shape[:2]
    places = [(4, 4), (4, w - 5), (h - 5, 4), (h - 5, w - 5)]
    return [tuple(int(v > 127) * 255 for v in image[y, x]) for y, x in places]


@pytest.mark.parametrize(
    ("degrees", "hflip", "turn", "expected"),
    [
        (0, False, 0, [RED, GREEN, BLUE, BLACK]),
        (-90, False, 90, [BLUE, RED, BLACK, GREEN]),  # a phone held upright
        (90, False, 270, [GREEN, BLACK, RED, BLUE]),
        (180, False, 180, [BLACK, BLUE, GREEN, RED]),
        (0, True, 0, [GREEN, RED, BLACK, BLUE]),  # a mirrored front camera
    ],
)
def test_display_matrix_turns_the_picture(
    tmp_path: Path, degrees: float, hflip: bool, turn: int, expected: list[tuple[int, ...]]
) -> None:
    path = write_video(tmp_path / "v.mp4", [quadrants()] * 3, rotation=(degrees, hflip))
    info, image = probe_video(path), first_picture(path)
    assert corners(image) == expected
    assert info.rotation_deg == turn
    assert (info.height, info.width) == image.shape[:2]
    assert (info.coded_width, info.coded_height) == (64, 48)


def test_probe_tells_codec_rate_duration(tmp_path: Path) -> None:
    info = probe_video(write_video(tmp_path / "v.mp4", walk(45), rate=30))
    assert (info.codec, info.num_frames, info.bit_depth, info.transfer) == ("h264", 45, 8, "srgb")
    assert info.frame_rate == pytest.approx(30, rel=0.01)
    assert info.duration_s == pytest.approx(1.5, abs=0.02)
    assert not info.variable_frame_rate


def test_variable_frame_rate_keeps_real_times(tmp_path: Path) -> None:
    times = [0.0, 0.03, 0.1, 0.13, 0.4, 0.43, 0.5, 1.2, 1.25, 1.3]
    path = write_video(tmp_path / "v.mp4", walk(10), times=times)
    assert probe_video(path).variable_frame_rate
    with VideoReader(path) as reader:
        assert [f.timestamp_s for f in reader.frames()] == pytest.approx(times, abs=0.002)


def test_name_with_spaces_colon_and_other_letters(tmp_path: Path) -> None:
    path = write_video(tmp_path / "plain.mp4", walk(4)).rename(tmp_path / "concat:Äpfel 苹果 1.mp4")
    assert probe_video(path).num_frames == 4


# ---- colours

SDR = {"color_trc": 1, "color_primaries": 1}


@pytest.mark.parametrize("rgb", [(200, 100, 50), (20, 180, 90), (255, 255, 255), (0, 0, 0), (128, 128, 128)])
@pytest.mark.parametrize(
    ("matrix", "number", "full"),
    [("bt709", 1, False), ("bt709", 1, True), ("bt601", 6, False), ("bt601", 5, True), ("bt2020", 9, False)],
)
def test_sdr_matrices_and_ranges(
    tmp_path: Path, rgb: tuple[int, ...], matrix: str, number: int, full: bool
) -> None:
    code = yuv_code(tuple(v / 255 for v in rgb), matrix=matrix, bits=8, full=full)  # type: ignore[arg-type]
    tags = {**SDR, "colorspace": number, "color_range": 2 if full else 1}
    path = write_flat(tmp_path / "v.mp4", code, codec="libx264", pixel_format="yuv420p", tags=tags)
    assert np.abs(first_picture(path).astype(int) - rgb).max() <= 2


def test_untagged_is_bt601_when_small(tmp_path: Path) -> None:
    code = yuv_code((0.8, 0.4, 0.2), matrix="bt601", bits=8, full=False)
    path = write_flat(tmp_path / "v.mp4", code, codec="libx264", pixel_format="yuv420p", tags={})
    assert np.abs(first_picture(path)[32, 32].astype(int) - (204, 102, 51)).max() <= 2


def signal_of(nits: np.ndarray, transfer: str) -> np.ndarray:
    """BT.2100-2: PQ's inverse EOTF; HLG's inverse OOTF (1000 nits, gamma 1.2) and OETF. BT.2020 RGB."""
    if transfer == "pq":
        y = (nits / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    luminance = nits @ np.array([0.2627, 0.6780, 0.0593])
    scene = nits / 1000 * ((luminance / 1000) ** ((1 - 1.2) / 1.2))[..., None]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(12 * np.maximum(scene, 1 / 12) - b) + c)


# Report ITU-R BT.2087, table 2 (linear BT.709 to BT.2020)
BT2020_FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
@pytest.mark.parametrize("rgb", [(200, 100, 50), (30, 160, 90), (118, 118, 118), (60, 60, 220), (10, 10, 10)])
def test_hdr_below_reference_white_is_exact(tmp_path: Path, transfer: str, rgb: tuple[int, ...]) -> None:
    linear = color.linear_from_srgb(np.array(rgb) / 255)
    signal = signal_of(BT2020_FROM_709 @ linear * 203, transfer)
    code = yuv_code(tuple(signal), matrix="bt2020", bits=10, full=False)  # type: ignore[arg-type]
    tags = {
        "color_trc": 16 if transfer == "pq" else 18,
        "color_primaries": 9,
        "colorspace": 9,
        "color_range": 1,
    }
    path = write_flat(tmp_path / "v.mp4", code, codec="libx265", pixel_format="yuv420p10le", tags=tags)
    info = probe_video(path)
    assert (info.bit_depth, info.transfer, info.primaries, info.codec) == (10, transfer, "bt2020", "hevc")
    assert np.abs(first_picture(path)[32, 32].astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("transfer", "level"), [("pq", 0.5807), ("hlg", 0.75)])
def test_reference_white_is_nearly_white_and_more_is_white(
    tmp_path: Path, transfer: str, level: float
) -> None:
    """BT.2408: diffuse white is 203 nits, 58 % PQ or 75 % HLG."""
    images = []
    for name, value in (("white", level), ("sun", 1.0)):
        code = yuv_code((value, value, value), matrix="bt2020", bits=10, full=False)
        tags = {
            "color_trc": 16 if transfer == "pq" else 18,
            "color_primaries": 9,
            "colorspace": 9,
            "color_range": 1,
        }
        path = tmp_path / f"{name}.mp4"
        write_flat(path, code, codec="libx265", pixel_format="yuv420p10le", tags=tags)
        images.append(first_picture(path)[32, 32])
    assert np.ptp(images[0].astype(int)) <= 1
    assert 249 <= images[0].min() <= images[0].max() <= 253
    assert images[1].min() == 255


def test_p3_becomes_srgb(tmp_path: Path) -> None:
    # Display P3 (0.5, 0.5, 0.5) stays; P3 red of sRGB (1, 0, 0) is (0.9175, 0.2003, 0.1386) (CSS Color 4)
    for p3, srgb in (((0.5, 0.5, 0.5), (128, 128, 128)), ((0.9175, 0.2003, 0.1386), (255, 0, 0))):
        code = yuv_code(p3, matrix="bt709", bits=8, full=False)
        tags = {"color_trc": 1, "color_primaries": 12, "colorspace": 1, "color_range": 1}
        path = write_flat(tmp_path / "v.mp4", code, codec="libx264", pixel_format="yuv420p", tags=tags)
        assert probe_video(path).primaries == "p3"
        assert np.abs(first_picture(path)[32, 32].astype(int) - srgb).max() <= 12  # clipping near red
    assert np.allclose(color.bt709_from("bt2020") @ BT2020_FROM_709, np.eye(3), atol=2e-3)


def test_published_values_of_the_curves() -> None:
    assert color.nits_from_pq(np.array([0.0, 0.5081, 1.0])) == pytest.approx([0, 100, 10000], rel=2e-3)
    assert color.scene_from_hlg(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert color.srgb_from_linear(np.array([0.18, 1.0])) == pytest.approx([0.4614, 1.0], abs=1e-4)
    ramp = np.linspace(0, 5, 2000, dtype=np.float32)[:, None].repeat(3, 1)
    rolled = color.compress_highlights(ramp)[:, 0]
    assert np.all(np.diff(rolled) >= -1e-6) and rolled.max() <= 1.0
    assert np.array_equal(rolled[ramp[:, 0] <= 0.9], ramp[ramp[:, 0] <= 0.9, 0])


def test_luma_is_the_pictures_brightness(tmp_path: Path) -> None:
    image = texture(240, 320)
    with VideoReader(write_video(tmp_path / "v.mp4", [image] * 2)) as reader:
        frame = next(reader.frames())
        small = frame.luma(80)
        assert small.shape == (60, 80)
        gray = frame.image_srgb().reshape(60, 4, 80, 4, 3).mean((1, 3)) @ (0.299, 0.587, 0.114)
    assert np.corrcoef(small.ravel(), gray.ravel())[0, 1] > 0.999


# ---- broken files


def test_truncated_video_yields_what_decodes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", walk(60), container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    info = probe_video(path)
    assert 20 < info.num_frames < 50 and info.promised_frames == 60
    with VideoReader(path) as reader:
        assert abs(len(list(reader.frames())) - info.num_frames) <= 1


def broken_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no video\n" * 50)
    elif kind == "playlist":
        write_video(folder / "inner.mp4", walk(3))
        path.write_text("#EXTM3U\n#EXTINF:1,\ninner.mp4\n#EXT-X-ENDLIST\n")
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    elif kind == "cut_index":
        data = write_video(path, walk(20)).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "garbage":  # an intact index over data that no decoder takes
        write_video(path, walk(20), container_options={"movflags": "faststart"})
        data = path.read_bytes()
        start = data.index(b"mdat") + 4
        path.write_bytes(data[:start] + b"\x55" * (len(data) - start))
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("text", "not a video"),
        ("playlist", "not a video"),
        ("sound", "has no picture, only audio"),
        ("cut_index", "cut off"),
        ("garbage", "No frame"),
    ],
)
def test_unreadable_video_is_one_clear_error(tmp_path: Path, kind: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        probe_video(broken_file(tmp_path, kind))


def test_libav_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from walkaround.io.video import probe_video\n"
        "for name in sys.argv[1:]:\n"
        "    try: probe_video(Path(name))\n"
        "    except Exception: pass\n"
    )
    files = [str(broken_file(tmp_path, kind)) for kind in ("text", "cut_index", "garbage")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout == ""


def test_exif_block_helper_is_a_tiff() -> None:
    assert exif_block(1)[:2] == b"II" and exif_block(1, order=">")[:2] == b"MM"


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_give_frames_or_an_input_error(tmp_path: Path, seed: int) -> None:
    path = write_video(tmp_path / "v.mp4", walk(20), container_options={"movflags": "faststart"})
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(data) if seed % 2 else 1500, 4 + 10 * (seed % 4))
    data[places] = rng.integers(0, 256, len(places))
    path.write_bytes(data.tobytes())
    try:
        probe_video(path)
        with VideoReader(path) as reader:
            for frame in reader.frames():
                assert frame.image_srgb().shape[2] == 3 and frame.timestamp_s >= -60
    except InputError:
        pass
