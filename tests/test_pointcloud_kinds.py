"""PCD and PLY of all kinds: ascii, compressed, big-endian, fields in any order, packed colours, hostile."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_pointcloud import assert_same, some_cloud
from walkaround.errors import FormatError
from walkaround.io._pcd import unpack_lzf
from walkaround.io.pointcloud import read_cloud, read_pcd, read_ply, write_pcd, write_ply
from walkaround.types import PointCloud

FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ("ascii", "binary", "binary_compressed")


def pack_lzf(data: bytes) -> bytes:
    """LZF, greedy and slow: what a later three bytes repeat is a reference, the rest literals."""
    out, literal, at, last = bytearray(), bytearray(), 0, dict[bytes, int]()

    def flush() -> None:
        for start in range(0, len(literal), 32):
            part = literal[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        literal.clear()

    while at < len(data):
        key = data[at : at + 3]
        before = last.get(key, -1) if len(key) == 3 else -1
        last[key] = at
        if before < 0 or at - before > 8192:
            literal.append(data[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(data) and data[before + length] == data[at + length]:
            length += 1
        flush()
        offset = at - before - 1
        if length - 2 < 7:
            out.extend([(length - 2) << 5 | offset >> 8, offset & 255])
        else:
            out.extend([7 << 5 | offset >> 8, length - 9, offset & 255])
        at += length
    flush()
    return bytes(out)


def pcd(table: np.ndarray, kind: str) -> bytes:
    """Write a table as PCL would."""
    names = table.dtype.names or ()
    letters = {"f": "F", "u": "U", "i": "I"}
    kinds = [table.dtype[name] for name in names]
    counts = [int(np.prod(k.shape, dtype=int)) for k in kinds]
    head = "\n".join(
        [
            "# .PCD v0.7", "VERSION 0.7", f"FIELDS {' '.join(names)}",
            f"SIZE {' '.join(str(k.base.itemsize) for k in kinds)}",
            f"TYPE {' '.join(letters[k.base.kind] for k in kinds)}",
            f"COUNT {' '.join(map(str, counts))}", f"WIDTH {len(table)}", "HEIGHT 1",
            "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(table)}", f"DATA {kind}", "",
        ]
    ).encode()  # fmt: skip
    if kind == "binary":
        return head + table.tobytes()
    if kind == "ascii":
        rows = (" ".join(repr(v.item()) for name in names for v in np.ravel(row[name])) for row in table)
        return head + ("\n".join(rows) + "\n").encode()
    columns = b"".join(np.ascontiguousarray(table[name]).tobytes() for name in names)
    packed = pack_lzf(columns)
    return head + struct.pack("<II", len(packed), len(columns)) + packed


def pcl_table(count: int, *, float_rgb: bool, shuffled: bool) -> np.ndarray:
    """Points as PCL has them: rgb in a float or an unsigned integer, doubles, a descriptor, padding."""
    rng = np.random.default_rng(count)
    fields: list[Any] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4" if float_rgb else "<u4"),
                         ("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4"), ("label", "<i2"),
                         ("far", "<f8"), ("fpfh", "<f4", (5,))]  # fmt: skip
    table = np.zeros(count, fields if not shuffled else [fields[i] for i in (7, 3, 2, 9, 0, 8, 4, 6, 5, 1)])
    for name in ("x", "y", "z", "normal_x", "normal_y", "normal_z", "far"):
        table[name] = rng.normal(size=count)
    words = rng.integers(0, 1 << 24, count).astype(np.uint32)
    table["rgb"] = words.view(np.float32) if float_rgb else words
    return table


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("float_rgb", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_pcd_kinds(tmp_path: Path, kind: str, float_rgb: bool, shuffled: bool) -> None:
    table = pcl_table(500, float_rgb=float_rgb, shuffled=shuffled)
    (tmp_path / "a.pcd").write_bytes(pcd(table, kind))
    cloud = read_cloud(tmp_path / "a.pcd")
    assert cloud.colors is not None and cloud.normals is not None
    for axis, name in enumerate(("x", "y", "z")):
        assert np.array_equal(cloud.points_in_world[:, axis], table[name])
        assert np.array_equal(cloud.normals[:, axis], table[f"normal_{name}"])
    words = np.ascontiguousarray(table["rgb"]).view(np.uint32)
    assert np.array_equal(cloud.colors, np.stack([words >> 16 & 255, words >> 8 & 255, words & 255], axis=1))


def test_small_things_of_pcd(tmp_path: Path) -> None:
    """WIDTH and HEIGHT without POINTS, rgba, nan as text, no COUNT, DATA in the first line."""
    head = b"FIELDS x y z rgba\nSIZE 4 4 4 4\nTYPE F F F U\nWIDTH 1\nHEIGHT 2\nDATA ascii\n"
    (tmp_path / "a.pcd").write_bytes(head + b"1 2 3 16909060\r\nnan -inf 1e3 4294967295\n\n")
    cloud = read_pcd(tmp_path / "a.pcd")
    assert cloud.colors is not None and cloud.colors.tolist() == [[2, 3, 4], [255, 255, 255]]
    assert np.isnan(cloud.points_in_world[1, 0]) and cloud.points_in_world[1, 2] == 1000
    (tmp_path / "a.pcd").write_bytes(b"DATA ascii\n")
    with pytest.raises(FormatError, match="lacks FIELDS"):
        read_pcd(tmp_path / "a.pcd")


@pytest.mark.parametrize("order", ["ascii", "binary_big_endian"])
def test_ply_kinds(tmp_path: Path, order: str) -> None:
    cloud = some_cloud(20)
    write_ply(tmp_path / "a.ply", cloud)
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    codes = {"float": "<f4", "uchar": "u1"}
    fields = [line.split() for line in head.decode().splitlines() if line.startswith("property")]
    table = np.frombuffer(body, [(name, codes[kind]) for _, kind, name in fields])
    head = head.replace(b"binary_little_endian", order.encode())
    if order == "ascii":
        text = "\n".join(" ".join(repr(value.item()) for value in row) for row in table) + "\n3 0 1 2\n"
        data = (
            head.replace(b"element vertex", b"comment by hand\nelement vertex")
            + b"end_header\n"
            + text.encode()
        )
    else:
        data = head + b"end_header\n" + table.astype(table.dtype.newbyteorder(">")).tobytes()
    (tmp_path / "b.ply").write_bytes(data)
    assert_same(read_ply(tmp_path / "b.ply"), cloud)


@given(data=st.binary(max_size=600), runs=st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_lzf_is_the_inverse_of_packing(data: bytes, runs: int) -> None:
    whole = data * runs
    packed = np.frombuffer(pack_lzf(whole), np.uint8)
    out = np.empty(len(whole), np.uint8)
    assert unpack_lzf(packed, out) and out.tobytes() == whole


@given(packed=st.binary(max_size=80), size=st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_lzf_of_anything_stays_in_its_bounds(packed: bytes, size: int) -> None:
    """Python's own bounds are the plain twin: an index out of them would raise here."""
    out = np.zeros(size, np.uint8)
    assert unpack_lzf(np.frombuffer(packed, np.uint8), out) in (True, False)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FUZZ
def test_damaged_pcd(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    bad = bytearray(pcd(pcl_table(9, float_rgb=True, shuffled=True), kind))
    del bad[data.draw(st.integers(0, len(bad))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if bad:
            bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "bad.pcd").write_bytes(bytes(bad))
    try:
        cloud = read_pcd(tmp_path / "bad.pcd")
    except FormatError as error:
        assert "bad.pcd" in str(error)
    else:
        assert cloud.points_in_world.shape[1:] == (3,)


@given(
    lines=st.lists(
        st.sampled_from(["1 2 3", "nan inf x", "1e999 0 0", "\0", "", "1", "0x10 1 1"]), max_size=5
    )
)
@FUZZ
def test_hostile_ascii(tmp_path: Path, lines: list[str]) -> None:
    text = "\n".join(lines)
    for head in (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty uchar y\nproperty int z\n"
        "end_header\n",
        "FIELDS x y z\nSIZE 4 1 8\nTYPE F U I\nPOINTS 2\nDATA ascii\n",
    ):
        path = tmp_path / ("a.ply" if head.startswith("ply") else "a.pcd")
        path.write_text(head + text)
        try:
            assert len(read_cloud(path).points_in_world) == 2
        except FormatError as error:
            assert path.name in str(error)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "cut off"),
        (struct.pack("<II", 4, 12) + b"\0\0\0", "cut off"),
        (struct.pack("<II", 2, 99) + b"\0\0", "states 99 unpacked bytes"),
        (struct.pack("<II", 2, 12) + b"\0\0", "damaged"),
        (struct.pack("<II", 3, 12) + b"\xe0\x00\x00", "damaged"),
    ],
)
def test_damaged_lzf(tmp_path: Path, body: bytes, match: str) -> None:
    head = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 1\nDATA binary_compressed\n"
    (tmp_path / "a.pcd").write_bytes(head + body)
    with pytest.raises(FormatError, match=match):
        read_pcd(tmp_path / "a.pcd")


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    head = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 300000000\nDATA "
    body = b"binary_compressed\n" + struct.pack("<II", 2, 3_600_000_000) + b"\0\0"
    (tmp_path / "a.pcd").write_bytes(head + body)
    with pytest.raises(FormatError, match="LZF cannot do"):
        read_pcd(tmp_path / "a.pcd")
    (tmp_path / "a.pcd").write_bytes(head + b"ascii\n1 2 3\n")
    with pytest.raises(FormatError, match="cut off"):
        read_pcd(tmp_path / "a.pcd")


def test_ours_are_read_as_before(tmp_path: Path) -> None:
    cloud: PointCloud = some_cloud(30)
    write_pcd(tmp_path / "a.pcd", cloud)
    assert_same(read_pcd(tmp_path / "a.pcd"), cloud)
