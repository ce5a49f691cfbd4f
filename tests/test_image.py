"""io/image and io/exif: orientation, focal length, natural order, broken files, nothing passed on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clips import exif_block, jpeg_with_exif, texture
from walkaround.errors import InputError
from walkaround.io.exif import Exif, read_exif
from walkaround.io.image import decode_photo, encode_jpeg, natural_order, read_image, shrink, write_jpeg

PICTURE = texture(48, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_equals_opencvs_own(orientation: int, order: str) -> None:
    data = jpeg_with_exif(PICTURE, exif_block(orientation, order=order))
    photo = decode_photo(data, "x.jpg")
    twin = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.array_equal(photo.image_srgb, twin)
    assert photo.rotation_deg == {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}.get(orientation, 0)


def test_focal_length_for_the_diagonal() -> None:
    photo = decode_photo(jpeg_with_exif(PICTURE, exif_block(6, focal_35mm=26)), "x.jpg")
    assert photo.image_srgb.shape == (64, 48, 3)
    assert photo.focal_prior_px == pytest.approx(26 / np.hypot(36, 24) * np.hypot(48, 64))


def test_exif_of_png_webp_and_tiff() -> None:
    block = exif_block(8, focal_35mm=50)
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x01" + b"IHDR" + b"\0" + b"CRC!"
    png += len(block).to_bytes(4, "big") + b"eXIf" + block + b"CRC!"
    webp = b"RIFF\0\0\0\0WEBP" + b"VP8X" + (3).to_bytes(4, "little") + b"abc\0"
    webp += b"EXIF" + len(block).to_bytes(4, "little") + block
    for data in (png, webp, block):
        assert read_exif(data) == Exif(orientation=8, focal_35mm=50.0)


@given(st.binary(max_size=300))
def test_exif_reader_survives_anything(data: bytes) -> None:
    for head in (b"", b"\xff\xd8\xff\xe1\x00\x80Exif\0\0II*\0", b"II*\0", b"MM\0*", b"RIFF0000WEBP"):
        assert 1 <= read_exif(head + data).orientation <= 8


@given(st.data())
def test_exif_reader_survives_changed_bytes(data: st.DataObject) -> None:
    block = bytearray(exif_block(6, focal_35mm=26))
    for _ in range(data.draw(st.integers(1, 5))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    assert 1 <= read_exif(jpeg_with_exif(PICTURE[:8, :8], bytes(block))).orientation <= 8


def test_truncated_and_foreign_bytes_are_refused() -> None:
    whole = encode_jpeg(PICTURE)
    for data in (whole[: len(whole) // 2], whole[:-2], b"no image at all", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(
            InputError, match=r"x\.jpg is damaged or not an? (JPEG, PNG, WebP, TIFF or BMP )?image"
        ):
            decode_photo(data, "x.jpg")
    with pytest.raises(InputError, match="empty"):
        decode_photo(b"", "x.jpg")
    assert decode_photo(whole + b"a phone's trailer", "x.jpg").image_srgb.shape == (48, 64, 3)


def test_thumbnail_in_exif_does_not_hide_the_cut() -> None:
    with_thumbnail = jpeg_with_exif(PICTURE, exif_block(1) + encode_jpeg(PICTURE[:8, :8]))
    assert decode_photo(with_thumbnail, "x.jpg").image_srgb.shape == (48, 64, 3)
    with pytest.raises(InputError):
        decode_photo(with_thumbnail[:-200], "x.jpg")


def test_natural_order() -> None:
    names = ["10.jpg", "9.jpg", "IMG_2 (3).JPG", "img_2 (12).jpg", "1.jpg", "a.jpg"]
    expected = ["1.jpg", "9.jpg", "10.jpg", "a.jpg", "IMG_2 (3).JPG", "img_2 (12).jpg"]
    assert [path.name for path in natural_order(map(Path, names))] == expected


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8)))
def test_natural_order_takes_any_names(names: list[str]) -> None:
    assert sorted(p.name for p in natural_order(map(Path, names))) == sorted(Path(n).name for n in names)


def test_shrink_never_enlarges() -> None:
    assert shrink(PICTURE, 32).shape == (24, 32, 3)
    assert shrink(PICTURE, 640) is PICTURE


def test_written_jpeg_holds_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new" / "001.jpg"
    write_jpeg(path, decode_photo(jpeg_with_exif(PICTURE, exif_block(1, 26)), "x.jpg").image_srgb)
    data = path.read_bytes()
    assert b"Exif" not in data and b"\xff\xe1" not in data[:40]
    assert np.abs(read_image(path).astype(int) - PICTURE).mean() < 6
    assert [p.name for p in path.parent.iterdir()] == ["001.jpg"]
