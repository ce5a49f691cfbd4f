"""Point clouds on disk: binary PLY, read and written, and PCD, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.types import PointCloud

_PLY_TYPES = {
    "char": "<i1", "int8": "<i1", "uchar": "<u1", "uint8": "<u1", "short": "<i2", "int16": "<i2",
    "ushort": "<u2", "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4",
    "float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8",
}  # fmt: skip


def read_ply(path: Path) -> PointCloud:
    """Read the vertices of a binary little-endian PLY file.

    Raises
    ------
    FormatError
        The file is missing, cut off, or another kind of PLY.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    head, mark, body = data.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").split("\n")
    if not mark or lines[0] != "ply" or "format binary_little_endian 1.0" not in lines:
        raise FormatError(f"{path} is not a binary little-endian PLY file.")
    count, fields = _vertex_layout(lines, path)
    dtype = np.dtype(fields)
    if len(body) < count * dtype.itemsize or not {"x", "y", "z"} <= set(dtype.names or ()):
        raise FormatError(f"{path} is cut off or has no vertices: {len(body)} bytes for {count} points.")
    vertices = np.frombuffer(body, dtype=dtype, count=count)

    def columns(*names: str) -> NDArray[Any] | None:
        if not set(names) <= set(vertices.dtype.names or ()):
            return None
        return np.stack([vertices[name] for name in names], axis=1)

    points, colors = columns("x", "y", "z"), columns("red", "green", "blue")
    normals, views = columns("nx", "ny", "nz"), columns("num_views")
    assert points is not None  # checked above
    return PointCloud(
        points_in_world=points.astype(np.float32),
        colors=None if colors is None else colors.astype(np.uint8),
        normals=None if normals is None else normals.astype(np.float32),
        num_views=None if views is None else views[:, 0].astype(np.uint8),
    )


def _vertex_layout(lines: list[str], path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of vertices and their fields; vertices must be the first element."""
    count, fields, inside = 0, [], False
    for words in (line.split() for line in lines):
        if words[:1] == ["element"]:
            if inside:
                break
            if len(words) != 3 or words[1] != "vertex" or not words[2].isdigit():
                raise FormatError(f"{path}: the first element of the PLY file is not its vertices.")
            count, inside = int(words[2]), True
        elif words[:1] == ["property"] and inside:
            if len(words) != 3 or words[1] not in _PLY_TYPES:
                raise FormatError(f"{path}: unknown vertex property {' '.join(words[1:])!r}.")
            fields.append((words[2], _PLY_TYPES[words[1]]))
    return count, fields


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write a binary little-endian PLY: xyz, and normals, colours, num_views where the cloud has them."""
    table = _table(cloud)
    names = {"<f4": "float", "|u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    lines += [f"property {names[dtype.str]} {name}" for name, (dtype, _) in _fields(table)]
    write_bytes(path, ("\n".join([*lines, "end_header"]) + "\n").encode() + table.tobytes())


def write_pcd(path: Path, cloud: PointCloud) -> None:
    """Write a binary PCD 0.7 with x y z, packed ``rgb`` and normals, as PCL and Open3D read it."""
    n = len(cloud.points_in_world)
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if cloud.colors is not None:
        fields.append(("rgb", "<u4"))
    if cloud.normals is not None:
        fields += [("normal_x", "<f4"), ("normal_y", "<f4"), ("normal_z", "<f4")]
    table = np.zeros(n, dtype=fields)
    _fill(table, ("x", "y", "z"), cloud.points_in_world)
    if cloud.colors is not None:
        c = cloud.colors.astype(np.uint32)
        table["rgb"] = (c[:, 0] << 16) | (c[:, 1] << 8) | c[:, 2]
    if cloud.normals is not None:
        _fill(table, ("normal_x", "normal_y", "normal_z"), cloud.normals)
    types = " ".join("F" for _ in fields)  # rgb is a float by PCL's convention, its bits the packed colour
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(name for name, _ in fields)}\nSIZE {' '.join('4' for _ in fields)}\n"
        f"TYPE {types}\nCOUNT {' '.join('1' for _ in fields)}\nWIDTH {n}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA binary\n"
    )
    write_bytes(path, header.encode() + table.tobytes())


def _table(cloud: PointCloud) -> NDArray[Any]:
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if cloud.normals is not None:
        fields += [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
    if cloud.colors is not None:
        fields += [("red", "<u1"), ("green", "<u1"), ("blue", "<u1")]
    if cloud.num_views is not None:
        fields.append(("num_views", "<u1"))
    table = np.zeros(len(cloud.points_in_world), dtype=fields)
    _fill(table, ("x", "y", "z"), cloud.points_in_world)
    if cloud.normals is not None:
        _fill(table, ("nx", "ny", "nz"), cloud.normals)
    if cloud.colors is not None:
        _fill(table, ("red", "green", "blue"), cloud.colors)
    if cloud.num_views is not None:
        table["num_views"] = cloud.num_views
    return table


def _fill(table: NDArray[Any], names: tuple[str, ...], values: NDArray[Any]) -> None:
    for column, name in enumerate(names):
        table[name] = values[:, column]


def _fields(table: NDArray[Any]) -> list[tuple[str, Any]]:
    return [(name, table.dtype.fields[name]) for name in table.dtype.names or ()]  # type: ignore[index]
