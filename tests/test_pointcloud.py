"""PLY and PCD: round trips, trimesh as a witness, files of other programs, and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from walkaround.errors import FormatError
from walkaround.io.pointcloud import read_cloud, read_pcd, read_ply, write_pcd, write_ply
from walkaround.types import PointCloud

Write = Callable[[Path, PointCloud], None]
Read = Callable[[Path], PointCloud]
FORMATS = pytest.mark.parametrize(
    ("suffix", "write", "read"), [(".ply", write_ply, read_ply), (".pcd", write_pcd, read_pcd)]
)
HEADER_LINES = [
    "ply", "format binary_little_endian 1.0", "element vertex 2", "element vertex 99999999999",
    "element vertex -1", "element face 1", "property float x", "property float y", "property float z",
    "property double x", "property list uchar int vertex_indices", "property", "element", "end_header",
    "FIELDS x y z", "FIELDS x x z", "FIELDS", "SIZE 4 4 4", "SIZE 3 4 4", "TYPE F F F", "TYPE F U Q",
    "COUNT 1 1 1", "COUNT 0 1 1", "POINTS 1", "POINTS", "POINTS 9999999", "DATA binary", "DATA ascii",
    "DATA binary_compressed", "\0\0\0\0\0\0\0\0", "",
]  # fmt: skip
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some_cloud(
    count: int = 7, *, colors: bool = True, normals: bool = True, views: bool = True
) -> PointCloud:
    rng = np.random.default_rng(count)
    return PointCloud(
        points_in_world=rng.normal(size=(count, 3)).astype(np.float32),
        colors=rng.integers(0, 256, (count, 3), dtype=np.uint8) if colors else None,
        normals=rng.normal(size=(count, 3)).astype(np.float32) if normals else None,
        num_views=rng.integers(0, 256, count, dtype=np.uint8) if views else None,
    )


def assert_same(a: PointCloud, b: PointCloud) -> None:
    for name in ("points_in_world", "colors", "normals", "num_views"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert first.dtype == second.dtype and np.array_equal(first, second), name


@FORMATS
@pytest.mark.parametrize("colors", [True, False])
@pytest.mark.parametrize("normals", [True, False])
@pytest.mark.parametrize("views", [True, False])
def test_round_trip(
    suffix: str, write: Write, read: Read, colors: bool, normals: bool, views: bool, tmp_path: Path
) -> None:
    cloud = some_cloud(colors=colors, normals=normals, views=views)
    write(tmp_path / f"a{suffix}", cloud)
    assert_same(cloud, read(tmp_path / f"a{suffix}"))
    assert_same(cloud, read_cloud(tmp_path / f"a{suffix}"))


@FORMATS
@given(count=st.integers(0, 40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_count(suffix: str, write: Write, read: Read, tmp_path: Path, count: int) -> None:
    write(tmp_path / f"a{suffix}", some_cloud(count))
    assert_same(some_cloud(count), read(tmp_path / f"a{suffix}"))


@FORMATS
def test_special_numbers_and_same_bytes(suffix: str, write: Write, read: Read, tmp_path: Path) -> None:
    points = np.array([[0.0, -0.0, 1e-40], [3.4e38, -3.4e38, np.inf]], dtype=np.float32)
    cloud = PointCloud(points_in_world=points)
    write(tmp_path / f"a{suffix}", cloud)
    write(tmp_path / f"b{suffix}", cloud)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert read(tmp_path / f"a{suffix}").points_in_world.tobytes() == points.tobytes()


def test_trimesh_reads_the_ply(tmp_path: Path) -> None:
    cloud = some_cloud(50)
    write_ply(tmp_path / "a.ply", cloud)
    loaded = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.allclose(loaded.vertices, cloud.points_in_world)
    assert cloud.colors is not None
    assert np.array_equal(np.asarray(loaded.colors)[:, :3], cloud.colors)


def test_ply_of_others(tmp_path: Path) -> None:
    """Double coordinates, extra properties, faces after the points, Windows line ends, comments."""
    table = np.zeros(3, dtype=[("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("curvature", "<f4"), ("red", "u1"),
                               ("green", "u1"), ("blue", "u1"), ("alpha", "u1")])  # fmt: skip
    table["x"], table["blue"] = [1, 2, 3], 9
    header = [
        "ply", "format binary_little_endian 1.0", "comment by hand", "element vertex 3", "property double x",
        "property double y", "property double z", "property float curvature", "property uchar red",
        "property uchar green", "property uchar blue", "property uchar alpha", "element face 1",
        "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    faces = bytes([3]) + np.array([0, 1, 2], dtype="<i4").tobytes()
    for end in ("\n", "\r\n"):
        (tmp_path / "a.ply").write_bytes(end.join(header).encode() + table.tobytes() + faces)
        cloud = read_ply(tmp_path / "a.ply")
        assert cloud.points_in_world[:, 0].tolist() == [1, 2, 3]
        assert cloud.colors is not None and cloud.colors[:, 2].tolist() == [9, 9, 9]
        assert cloud.normals is None and cloud.num_views is None


def test_pcd_of_others(tmp_path: Path) -> None:
    """PCL's habits: the colour in a float, padding fields named _, a field of several numbers."""
    table = np.zeros(2, dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("p", "u1", 4), ("rgb", "<u4"),
                               ("fpfh", "<f4", 33)])  # fmt: skip
    table["z"], table["rgb"] = [5, 6], [0x010203, 0xFF00FF]
    header = "\n".join([
        "VERSION .7", "FIELDS x y z _ rgb fpfh", "SIZE 4 4 4 1 4 4", "TYPE F F F U F F", "COUNT 1 1 1 4 1 33",
        "WIDTH 2", "HEIGHT 1", "POINTS 2", "DATA binary", "",
    ])  # fmt: skip
    (tmp_path / "a.pcd").write_bytes(header.encode() + table.tobytes())
    cloud = read_pcd(tmp_path / "a.pcd")
    assert cloud.points_in_world[:, 2].tolist() == [5, 6]
    assert cloud.colors is not None and cloud.colors.tolist() == [[1, 2, 3], [255, 0, 255]]


@FORMATS
@given(data=st.data())
@FUZZ
def test_damaged_files_raise_format_errors_only(
    suffix: str, write: Write, read: Read, tmp_path: Path, data: st.DataObject
) -> None:
    write(tmp_path / f"good{suffix}", some_cloud())
    good = (tmp_path / f"good{suffix}").read_bytes()
    bad = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if bad:
            bad[data.draw(st.integers(0, min(len(bad), 400) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"bad{suffix}").write_bytes(bytes(bad))
    try:
        cloud = read(tmp_path / f"bad{suffix}")
    except FormatError as error:
        assert f"bad{suffix}" in str(error)
    else:
        assert cloud.points_in_world.shape[1:] == (3,)


@FORMATS
@given(lines=st.lists(st.sampled_from(HEADER_LINES), max_size=14))
@FUZZ
def test_shuffled_headers_raise_format_errors_only(
    suffix: str, write: Write, read: Read, tmp_path: Path, lines: list[str]
) -> None:
    (tmp_path / f"a{suffix}").write_bytes("\n".join(lines).encode() + bytes(24))
    try:
        cloud = read(tmp_path / f"a{suffix}")
    except FormatError:
        return
    assert cloud.points_in_world.shape[1:] == (3,)


@FORMATS
@given(content=st.binary(max_size=300))
@FUZZ
def test_noise_raises_format_errors_only(
    suffix: str, write: Write, read: Read, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(FormatError):
        read(tmp_path / f"a{suffix}")


@FORMATS
def test_missing_and_cut(suffix: str, write: Write, read: Read, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read(tmp_path / f"none{suffix}")
    write(tmp_path / f"a{suffix}", some_cloud())
    whole = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="cut off"):
        read(tmp_path / f"a{suffix}")


@FORMATS
def test_wrong_shapes_are_refused(suffix: str, write: Write, read: Read, tmp_path: Path) -> None:
    points = np.zeros((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="shape"):
        write(tmp_path / f"a{suffix}", PointCloud(points_in_world=points, normals=points[:3]))
    assert not list(tmp_path.iterdir())
