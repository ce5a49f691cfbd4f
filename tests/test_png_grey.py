"""Grey PNG files: the values that OpenCV finds, whatever the filters; nothing else is touched."""

from __future__ import annotations

import struct
import sys
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkaround.io.png_grey import decode_grey_png, decode_mask, warm_up


def encode(values: Any, filters: list[int]) -> bytes:
    """Write a grey PNG by the book, each row with its own filter: the slow, plain twin."""
    depth, step = (8, 1) if values.dtype == np.uint8 else (16, 2)
    height, width = values.shape
    rows = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">"))).view(np.uint8)
    raw = bytearray()
    for y, kind in enumerate(filters):
        raw.append(kind)
        for x in range(width * step):
            a = int(rows[y, x - step]) if x >= step else 0
            b = int(rows[y - 1, x]) if y else 0
            c = int(rows[y - 1, x - step]) if y and x >= step else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            raw.append((int(rows[y, x]) - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
    packed = zlib.compress(bytes(raw))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)),
        (b"IDAT", packed[:10]),
        (b"IDAT", packed[10:]),
        (b"IEND", b""),
    )
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.integers(0, 4), min_size=1, max_size=7),
    st.sampled_from([8, 16]),
    st.data(),
)
def test_every_filter(width: int, filters: list[int], depth: int, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1000))
    kind = np.uint8 if depth == 8 else np.uint16
    values = np.random.default_rng(seed).integers(0, 2**depth, (len(filters), width)).astype(kind)
    found = decode_grey_png(encode(values, filters))
    assert found is not None and found.dtype == kind
    np.testing.assert_array_equal(found, values)


def test_opencv_agrees_and_python_does_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    files = [
        bytes(cv2.imencode(".png", rng.integers(0, 2**depth, (40, 31)).astype(kind))[1])
        for depth, kind in ((8, np.uint8), (16, np.uint16))
    ]
    for _ in range(2):
        for data in files:
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(decode_grey_png(data), expected)
        monkeypatch.setitem(sys.modules, "zlib_ng", None)


def test_anything_else_is_left_to_opencv() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    for suffix, image in ((".jpg", grey), (".png", np.dstack([grey] * 3)), (".png", np.dstack([grey] * 4))):
        data = bytes(cv2.imencode(suffix, image)[1])
        assert decode_grey_png(data) is None
        mask = decode_mask(data)
        assert mask is not None and mask.shape == (20, 30)
    deep = decode_mask(bytes(cv2.imencode(".png", grey.astype(np.uint16) * 257)[1]))
    np.testing.assert_array_equal(deep, grey)
    data = bytes(cv2.imencode(".png", grey)[1])
    for broken in (b"", data[:30], data[:60], data[:-20], data[:45] + b"\0" + data[46:], data + b"x" * 9):
        found = decode_grey_png(broken)
        assert found is None or np.array_equal(found, grey)
    bomb = bytearray(data)
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    assert decode_grey_png(bytes(bomb)) is None
    warm_up()
