"""Masks without cameras: superpixels, co-segmentation, the command that writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from walkaround.cli import main
from walkaround.errors import InputError
from walkaround.io.depth import read_grey
from walkaround.io.image import as_stored, decode_photo, read_image
from walkaround.masks.central import central_part, fill_holes, move_outline
from walkaround.masks.cosegment import CosegmentOptions, brighten, cosegment
from walkaround.masks.segment import iou
from walkaround.masks.superpixels import build_graph
from walkaround.types import BoolArray, ByteArray

OPTIONS = CosegmentOptions(superpixels=400)


def photo(
    seed: int, size: tuple[int, int] = (240, 180), colour: tuple[int, int, int] = (60, 60, 190)
) -> tuple[ByteArray, BoolArray]:
    """Return an RGB photo of a two-coloured object before a seed's own background, and the true mask."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    ground = rng.integers(90, 160, 3)
    image = np.where((y > 0.55 * height)[..., None], ground, rng.integers(150, 220, 3)).astype(np.float64)
    cv2.rectangle(image, (5, 10), (30, 60), (200, 40, 40), -1)  # a distractor that only hangs on the wall
    cx, cy = (0.5 + 0.06 * rng.standard_normal(2)) * (width, height)
    body = ((x - cx) / (0.14 * width)) ** 2 + ((y - cy) / (0.25 * height)) ** 2 < 1
    arm = (abs(y - cy) < 0.04 * height) & (abs(x - cx) < 0.22 * width)
    image[body], image[arm] = colour, (230, 200, 40)
    image = cv2.GaussianBlur(image + rng.normal(0, 6, image.shape), (0, 0), 0.7)
    return np.clip(image, 0, 255).astype(np.uint8), body | arm


# --- superpixels ---


def test_superpixels_are_connected_and_keep_to_edges() -> None:
    image, truth = photo(0)
    graph = build_graph(image, 300)
    assert 200 < graph.count < 400
    assert set(np.unique(graph.labels)) == set(range(graph.count))
    for label in range(graph.count):
        assert ndimage.label(graph.labels == label)[1] == 1
    pixels = np.bincount(graph.labels.ravel())
    np.testing.assert_allclose(graph.area, pixels / pixels.mean())
    assert graph.at_border.sum() == len(
        np.unique(np.r_[graph.labels[0], graph.labels[-1], graph.labels[:, 0], graph.labels[:, -1]])
    )
    # few pixels lie in a superpixel of the other side
    share = np.bincount(graph.labels.ravel(), truth.ravel()) / pixels
    assert np.minimum(share, 1 - share)[graph.labels].mean() < 0.01


def test_touching_superpixels_against_a_plain_count() -> None:
    labels = build_graph(photo(1, (60, 45))[0], 40)
    expected: dict[tuple[int, int], int] = {}
    rows, columns = labels.labels.shape
    for y in range(rows):
        for x in range(columns):
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < rows and u < columns and labels.labels[y, x] != labels.labels[v, u]:
                    a, b = sorted((int(labels.labels[y, x]), int(labels.labels[v, u])))
                    expected[a, b] = expected.get((a, b), 0) + 1
    side = np.sqrt(labels.labels.size / labels.count)
    found = {(int(a), int(b)): float(n) for (a, b), n in zip(labels.pairs, labels.length, strict=True)}
    assert found == pytest.approx({pair: n / side for pair, n in expected.items()})


def test_a_plain_image_has_superpixels_too() -> None:
    graph = build_graph(np.full((64, 64, 3), 128, np.uint8), 50)
    assert graph.count > 30 and graph.edge.max() < 1e-3


# --- the object ---


def test_one_object_in_photos_of_several_sizes() -> None:
    photos = [photo(seed, (240, 180) if seed % 2 else (160, 200)) for seed in range(5)]
    told: list[float] = []
    results = cosegment([image for image, _ in photos], options=OPTIONS, progress=told.append)
    assert told == sorted(told) and told[-1] == 1
    for result, (image, truth) in zip(results, photos, strict=True):
        assert result.mask.shape == result.fg_probability.shape == image.shape[:2]
        assert result.fg_probability.min() >= 0 and result.fg_probability.max() <= 1
        assert iou(result.mask, truth) > 0.9
        assert result.fg_probability[truth].mean() > 0.8 > 0.1 > result.fg_probability[~truth].mean()


def test_what_the_photos_share_decides() -> None:
    """A box near the object is less likely part of it in one photo than in all; known points settle it."""
    photos = [photo(seed) for seed in range(5)]

    def boxed(image: ByteArray, truth: BoolArray) -> tuple[ByteArray, BoolArray]:
        box = np.zeros_like(truth)
        box[100:130, 165:200] = True
        image = image.copy()
        image[box & ~truth] = (150, 150, 60)
        return image, box & ~truth

    box = boxed(*photos[0])[1]
    everywhere = [boxed(*each)[0] for each in photos]
    once = [everywhere[0], *(image for image, _ in photos[1:])]
    rows, columns = np.nonzero(box)
    points = [np.stack([columns, rows], axis=1).astype(float), *[np.zeros((0, 2))] * 4]
    shares = [
        cosegment(images, options=OPTIONS, points_on_object=hints)[0].fg_probability[box].mean()
        for images, hints in ((once, None), (everywhere, None), (once, points))
    ]
    assert shares[0] < shares[1] - 0.3
    assert shares[0] < shares[2] - 0.3


def test_the_same_again() -> None:
    images = [photo(seed)[0] for seed in range(3)]
    first, second = cosegment(images, options=OPTIONS), cosegment(images, options=OPTIONS)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_array_equal(a.fg_probability, b.fg_probability)


def test_dark_photos() -> None:
    photos = [photo(seed) for seed in range(3)]
    dark = [(image * 0.15).astype(np.uint8) for image, _ in photos]
    assert brighten(dark[0]).max() > 240
    assert brighten(photos[0][0]).mean() < 1.4 * photos[0][0].mean()
    for result, (_, truth) in zip(cosegment(dark, options=OPTIONS), photos, strict=True):
        assert iou(result.mask, truth) > 0.85


def test_photos_that_show_nothing() -> None:
    """No object: whatever comes out has the right shape, and nothing fails."""
    plain = [np.full((90, 120, 3), grey, np.uint8) for grey in (0, 128, 255)]
    assert [result.mask.shape for result in cosegment(plain, options=OPTIONS)] == [(90, 120)] * 3


def test_photos_that_cannot_be_used() -> None:
    for images in ([], [np.zeros((20, 200, 3), np.uint8)]):
        with pytest.raises(InputError, match="at least 32 x 32"):
            cosegment(images)


# --- parts ---


def test_the_central_part_and_its_holes() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[40:70, 40:70] = True
    mask[0:35, 0:35] = True  # larger, in a corner
    central = central_part(mask)
    assert central[50, 50] and not central[10, 10]
    central[50:53, 50:53] = False  # a pinhole
    central[55:65, 55:65] = False  # a handle's
    filled = fill_holes(central)
    assert filled[51, 51] and not filled[60, 60]
    assert not central_part(np.zeros((9, 9), np.bool_)).any()


def test_the_outline_moves_to_the_edge() -> None:
    image, truth = photo(2)
    rough = ndimage.binary_dilation(truth, iterations=4)
    assert iou(rough, truth) < 0.85
    assert iou(move_outline(image, rough), truth) > iou(rough, truth) + 0.08
    assert not move_outline(image, np.zeros_like(truth)).any()
    assert move_outline(image, np.ones_like(truth)).all()


# --- the command ---


def exif(orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("orientation", range(1, 9))
def test_back_to_stored_pixels(orientation: int) -> None:
    stored = photo(0, (48, 64))[0]
    data = cv2.imencode(".jpg", stored)[1].tobytes()
    upright = decode_photo(data[:2] + exif(orientation) + data[2:], "x.jpg").image_srgb
    plain = decode_photo(data, "x.jpg").image_srgb
    np.testing.assert_array_equal(as_stored(upright, orientation), plain)
    np.testing.assert_array_equal(as_stored(upright[..., 0], orientation), plain[..., 0])


def write_photos(folder: Path, count: int = 3) -> list[BoolArray]:
    folder.mkdir()
    truths = []
    for seed in range(count):
        image, truth = photo(seed)
        data = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
        if seed == 1:  # stored on its side
            data = data[:2] + exif(6) + data[2:]
        (folder / f"photo {seed}.jpg").write_bytes(data)
        truths.append(truth)
    return truths


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truths = write_photos(tmp_path / "photos")
    command = ["masks", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "3 masks written" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "overview.png", "photo 0.png", "photo 1.png", "photo 2.png",
    ]  # fmt: skip
    for seed, truth in enumerate(truths):
        mask = read_grey(tmp_path / "out" / f"photo {seed}.png")
        assert set(np.unique(mask)) == {0, 255}
        assert iou(mask > 0, truth) > 0.85
    assert read_image(tmp_path / "out" / "overview.png").shape[1] == 3 * 240
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_the_command_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    from tests.onnx_files import write_channel_mean

    write_photos(tmp_path / "photos")
    model = write_channel_mean(tmp_path / "mean.onnx")
    command = ["masks", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--model", str(model)]
    assert main(command) == 0
    assert read_grey(tmp_path / "out" / "photo 1.png").shape == (180, 240)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "holds no photos"),
        (["a.jpg", "a.png"], "named a; their masks"),
        (["overview.jpg"], "overview"),
        (["a.jpg"], "empty"),
        (["a.jpg", "b.png"], "2 of 2 photos cannot be read"),
    ],
)
def test_folders_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], said: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"")
    assert main(["masks", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["masks", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == 2
    assert main(["masks", str(folder), "--out", str(tmp_path / "out"), "--model", "u2nett"]) == 2
    assert "neither a file nor a known name" in capsys.readouterr().err


@pytest.mark.data
def test_real_photos(test_data: Path) -> None:
    """Measured: 0.97; the other two sets, harder and slower, are in benchmarks/masks.py."""
    folder = test_data / "masks" / "human-toy"
    paths = sorted((folder / "images").iterdir())
    results = cosegment([read_image(path) for path in paths])
    truths = [read_grey(folder / "masks" / f"{path.stem}.png") > 127 for path in paths]
    assert np.mean([iou(r.mask, truth) for r, truth in zip(results, truths, strict=True)]) > 0.93
