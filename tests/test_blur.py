"""Blurring what detectors find: where, how thoroughly, and what the record says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import clips, onnx_files
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import UsageError
from walkaround.frames import FramesOptions, extract_frames
from walkaround.frames.blur import Blur, blur_boxes
from walkaround.frames.detectors import Detector
from walkaround.limits import check_limits
from walkaround.types import ByteArray
from walkaround.workspace import options_to_dict

pytest.importorskip("onnxruntime")
GREY = np.full((64, 64, 3), 90, np.uint8)


def with_red(image: ByteArray, x: int, y: int, width: int, height: int) -> ByteArray:
    out = image.copy()
    out[y : y + height, x : x + width] = (230, 20, 20)
    return out


@pytest.mark.parametrize("layout", ["v8", "v5", "ends"])
def test_layouts_of_yolo(layout: str, tmp_path: Path) -> None:
    detector = Detector(onnx_files.write_red_detector(tmp_path / "m.onnx", layout=layout), min_score=0.3)
    image = with_red(with_red(GREY, 16, 8, 8, 8), 40, 56, 8, 8)
    found = detector.boxes(image)
    assert sorted(found.tolist()) == [[16, 8, 24, 16], [40, 56, 48, 64]]
    assert detector.boxes(GREY).shape == (0, 4)


@pytest.mark.parametrize("size_hw", [(32, 64), (64, 32), (90, 70)])
def test_boxes_are_in_the_pixels_of_the_picture(size_hw: tuple[int, int], tmp_path: Path) -> None:
    """The picture is shrunk or enlarged into the model's square, and never stretched."""
    detector = Detector(onnx_files.write_red_detector(tmp_path / "m.onnx"), min_score=0.3)
    height, width = size_hw
    scale = 64 / max(size_hw)
    box = [round(edge / scale) for edge in (8, 16, 16, 24)]
    image = with_red(
        np.full((height, width, 3), 90, np.uint8), box[0], box[1], box[2] - box[0], box[3] - box[1]
    )
    found = detector.boxes(image)
    assert len(found) == 1 and np.abs(found[0] - box).max() <= 1.5


def test_small_things_in_large_pictures(tmp_path: Path) -> None:
    """What vanishes when the whole picture is shrunk is found in its parts."""
    detector = Detector(onnx_files.write_red_detector(tmp_path / "m.onnx"), min_score=0.45)
    image = with_red(np.full((128, 128, 3), 90, np.uint8), 100, 28, 12, 12)
    found = detector.boxes(image)
    assert len(found) >= 1
    left, top, right, bottom = found[0]
    assert left < 106 < right and top < 34 < bottom


def test_yunet(tmp_path: Path) -> None:
    face = (20.0, 25.0, 18.0, 30.0)
    detector = Detector(onnx_files.write_yunet(tmp_path / "m.onnx", face), min_score=0.5)
    np.testing.assert_allclose(detector.boxes(GREY), [[20, 25, 38, 55]], atol=1e-4)
    assert len(Detector(onnx_files.write_yunet(tmp_path / "m.onnx", face), min_score=0.95).boxes(GREY)) == 0


def test_nothing_of_a_region_is_left() -> None:
    """Two pictures that differ in every pixel, but not in the averages, become the same."""
    rng = np.random.default_rng(0)
    scene = clips.texture(120, 160)
    one, other = scene.copy(), scene.copy()
    face = rng.integers(60, 200, (40, 40, 3), np.uint8)
    one[40:80, 60:100] = face
    cells = face.reshape(4, 10, 4, 10, 3).transpose(0, 2, 1, 3, 4).reshape(16, 100, 3)
    shuffled = rng.permuted(cells, axis=1).reshape(4, 4, 10, 10, 3).transpose(0, 2, 1, 3, 4)
    other[40:80, 60:100] = shuffled.reshape(40, 40, 3)
    inner = np.array([[60 + 40 / 6, 40 + 40 / 6, 100 - 40 / 6, 80 - 40 / 6]])  # with its margin: the face
    blurred = blur_boxes(one, inner)
    assert (one != other).any(axis=2)[40:80, 60:100].mean() > 0.9
    np.testing.assert_array_equal(blurred, blur_boxes(other, inner))
    outside = np.ones((120, 160), bool)
    outside[40:80, 60:100] = False
    np.testing.assert_array_equal(blurred[outside], scene[outside])
    assert len(np.unique(blurred[40:80, 60:100].reshape(-1, 3), axis=0)) < 1600


@pytest.mark.parametrize(
    "box",
    [[-50, -50, 20, 20], [150, 110, 400, 300], [-9, -9, 500, 500], [10, 10, 10, 10], [300, 300, 320, 320]],
)
def test_boxes_beyond_the_border(box: list[float]) -> None:
    scene = clips.texture(120, 160)
    assert blur_boxes(scene, np.array([box], float)).shape == scene.shape


def test_a_plate_keeps_no_letters() -> None:
    plate = np.full((30, 150, 3), 255, np.uint8)
    cv2.putText(plate, "B QX 4711", (5, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
    blurred = blur_boxes(plate, np.array([[0.0, 0, 150, 30]]))
    assert blurred.std(axis=0).max() < 1  # one average high
    assert plate.std() > 90 and blurred.std() < 25


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        scene = clips.texture(96, 128, seed=number) // 3 + 60
        image = with_red(scene, 32, 32, 16, 16) if number != 1 else scene
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


def test_stills_are_written_blurred(photos: Path, tmp_path: Path) -> None:
    model = onnx_files.write_red_detector(tmp_path / "m.onnx")
    capture = inspect_capture(photos, options=CaptureOptions())
    options = FramesOptions(blur_models=(model,), blur_min_score=0.45)
    result = extract_frames(photos, capture, tmp_path / "blurred", options=options)
    plain = extract_frames(photos, capture, tmp_path / "plain", options=FramesOptions())
    assert plain.notes == {} and result.notes["blurred_frames"] == 2 and result.notes["blurred_regions"] >= 2
    for number, name in enumerate(["001.jpg", "002.jpg", "003.jpg"]):
        before = cv2.imread(str(tmp_path / "plain" / name)).astype(int)
        after = cv2.imread(str(tmp_path / "blurred" / name)).astype(int)
        assert (np.abs(after - before)[34:46, 34:46].mean() > 20) == (number != 1)
        np.testing.assert_array_equal(after[64:, :16], before[64:, :16])
    again = extract_frames(photos, capture, tmp_path / "again", options=options)
    assert again.notes == result.notes
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (tmp_path / "blurred" / path.name).read_bytes()


def test_several_models_add_up(tmp_path: Path) -> None:
    red = onnx_files.write_red_detector(tmp_path / "red.onnx")
    face = onnx_files.write_yunet(tmp_path / "face.onnx", (4.0, 40.0, 12.0, 16.0))
    blur = Blur([red, face], min_score=0.3)
    image = with_red(clips.texture(64, 64) // 3 + 60, 48, 8, 8, 8)
    changed = (blur(image) != image).any(axis=2)
    assert changed[8:16, 48:56].mean() > 0.9 and changed[40:56, 4:16].mean() > 0.9 and blur.num_regions == 2


def test_the_models_bytes_are_in_the_key(tmp_path: Path) -> None:
    model = onnx_files.write_red_detector(tmp_path / "Jolanda.onnx")
    options = FramesOptions(blur_models=(model,))
    kept = options_to_dict(options)["blur_models"]
    assert len(kept) == 1 and kept[0].startswith("sha256:")
    onnx_files.write_red_detector(model, layout="v5")
    assert options_to_dict(options)["blur_models"] != kept


def test_files_that_are_no_detectors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        check_limits(dataclasses.asdict(_Options(FramesOptions(blur_models=(tmp_path / "none.onnx",)))))
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    for path, message in (
        (tmp_path / "bad.onnx", "not a readable ONNX model"),
        (onnx_files.write_channel_mean(tmp_path / "mean.onnx"), "one table"),
        (onnx_files.write_channel_mean(tmp_path / "wide.onnx", (1, 1, 8, 8)), r"a \(1, 3, h, w\) image"),
    ):
        with pytest.raises(UsageError, match=message):
            Detector(path, min_score=0.3).boxes(GREY)


@dataclasses.dataclass(frozen=True)
class _Options:
    frames: FramesOptions
