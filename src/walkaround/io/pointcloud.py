"""Point clouds on disk: PLY and PCD, as CloudCompare, MeshLab, Open3D and PCL read and write them.

Read are all their kinds: PLY ascii and binary of both byte orders, PCD ascii, binary and binary_compressed,
fields in any order, colours packed or not. Written are binary little-endian PLY and binary PCD: x y z
(float32), nx ny nz (float32), red green blue (uchar) and num_views (uchar); what a cloud does not have is
left out. PCD packs the colour into one ``rgb`` field (unsigned 32-bit, the PCL convention).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError
from walkaround.io._pcd import from_records, from_words, number_in, parse_pcd, table_type
from walkaround.io.atomic import write_bytes
from walkaround.types import PointCloud

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_NAMES = {"f4": "float", "u1": "uchar", "u4": "uint"}
_PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "<"}


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write a binary little-endian PLY file, atomically; the same cloud gives the same bytes."""
    table = _to_table(cloud, packed=False)
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    for name in table.dtype.names or ():
        lines.append(f"property {_PLY_NAMES[table.dtype[name].str[1:]]} {name}")
    write_bytes(path, "\n".join([*lines, "end_header", ""]).encode() + table.tobytes())


def write_pcd(path: Path, cloud: PointCloud) -> None:
    """Write a binary PCD file (version 0.7), atomically; the same cloud gives the same bytes."""
    table = _to_table(cloud, packed=True)
    names = table.dtype.names or ()
    kinds = [table.dtype[name] for name in names]
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(names),
        "SIZE " + " ".join(str(kind.itemsize) for kind in kinds),
        "TYPE " + " ".join("F" if kind.kind == "f" else "U" for kind in kinds),
        "COUNT " + " ".join("1" for _ in names),
        f"WIDTH {len(table)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(table)}",
        "DATA binary",
        "",
    ]
    write_bytes(path, "\n".join(lines).encode() + table.tobytes())


def read_ply(path: Path) -> PointCloud:
    """Read the vertices of a PLY file: ascii, or binary of either byte order.

    Raises
    ------
    FormatError
        The file is missing, cut off, or no PLY of points.
    """
    return _to_cloud(read_ply_table(path), path)


def read_ply_table(path: Path) -> NDArray[Any]:
    """Read the vertices of a PLY file with all their fields, as a structured array.

    Raises
    ------
    FormatError
        The file is missing, cut off, or no PLY.
    """
    head, body = _split_ply(path)
    lines = head.splitlines()
    kind = next((line.split()[1:2] for line in lines[1:] if line.split()[:1] == ["format"]), [])
    if not lines or lines[0].strip() != "ply" or not kind or kind[0] not in _PLY_ORDERS:
        raise FormatError(f"{path} is no PLY file of format {', '.join(_PLY_ORDERS)}.")
    count, fields, element = -1, list[tuple[str, str, int]](), ""
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            if len(words) != 3:
                raise FormatError(f"{path}: the header line {line!r} is not PLY's.")
            if not element and words[1] != "vertex":
                raise FormatError(f"{path}: the first element is {words[1]}, not vertex.")
            element = words[1]
            count = number_in(words[2], path) if element == "vertex" else count
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _PLY_TYPES:
                raise FormatError(f"{path}: the vertex property {line!r} is not supported.")
            fields.append((words[2], _PLY_ORDERS[kind[0]] + _PLY_TYPES[words[1]], 1))
    if count < 0:
        raise FormatError(f"{path} has no x, y, z for its points.")
    parse = from_words if kind[0] == "ascii" else from_records
    return parse(body, table_type(fields, path), count, path)


def read_pcd(path: Path) -> PointCloud:
    """Read a PCD file: ascii, binary or binary_compressed.

    Raises
    ------
    FormatError
        The file is missing, cut off, or no PCD.
    """
    return _to_cloud(parse_pcd(_bytes(path), path), path)


def read_cloud(path: Path) -> PointCloud:
    """Read a ``.ply`` or ``.pcd`` file by its suffix."""
    return read_pcd(path) if path.suffix.lower() == ".pcd" else read_ply(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error


def _split_ply(path: Path) -> tuple[str, bytes]:
    data = _bytes(path)
    head, found, body = data.partition(b"end_header")
    if not found or len(head) > 1 << 20:
        raise FormatError(f"{path} has no point cloud header ({len(data)} bytes).")
    body = body[2:] if body[:2] == b"\r\n" else body[1:]
    return head.decode("ascii", "replace"), body


def _to_table(cloud: PointCloud, *, packed: bool) -> NDArray[Any]:
    count = len(cloud.points_in_world)
    columns: list[tuple[str, str, NDArray[Any]]] = []

    def add(names: tuple[str, ...], code: str, values: NDArray[Any] | None) -> None:
        if values is None:
            return
        if values.shape != (count, len(names)):
            raise ValueError(f"{'/'.join(names)} has shape {values.shape} for {count} points")
        columns.extend((name, code, values[:, i]) for i, name in enumerate(names))

    add(("x", "y", "z"), "<f4", cloud.points_in_world)
    add(("nx", "ny", "nz") if not packed else ("normal_x", "normal_y", "normal_z"), "<f4", cloud.normals)
    if packed and cloud.colors is not None:
        c = cloud.colors.astype(np.uint32)
        add(("rgb",), "<u4", ((c[:, 0] << 16) | (c[:, 1] << 8) | c[:, 2])[:, None])
    else:
        add(("red", "green", "blue"), "|u1", cloud.colors)
    add(("num_views",), "|u1", None if cloud.num_views is None else cloud.num_views[:, None])
    table = np.empty(count, dtype=[(name, code) for name, code, _ in columns])
    for name, _, values in columns:
        table[name] = values
    return table


def _to_cloud(table: NDArray[Any], path: Path) -> PointCloud:
    def columns(*names: str) -> NDArray[Any] | None:
        if not set(names) <= set(table.dtype.names or ()) or any(table[name].ndim != 1 for name in names):
            return None
        return np.stack([table[name] for name in names], axis=1)

    table = table.astype(table.dtype.newbyteorder("="), copy=False)
    points = columns("x", "y", "z")
    if points is None:
        raise FormatError(f"{path} has no single x, y, z for its points.")
    colors = columns("red", "green", "blue")
    packed = columns("rgb") if "rgb" in (table.dtype.names or ()) else columns("rgba")
    if colors is None and packed is not None and packed.dtype.itemsize == 4:
        word = np.ascontiguousarray(packed[:, 0]).view(np.uint32)
        colors = np.stack([word >> 16 & 255, word >> 8 & 255, word & 255], axis=1)
    if colors is not None and colors.dtype.kind == "f":
        colors = None  # no 8-bit colours: their range is not written anywhere
    normals = columns("nx", "ny", "nz")
    if normals is None:
        normals = columns("normal_x", "normal_y", "normal_z")
    views = columns("num_views")
    with np.errstate(over="ignore", invalid="ignore"):
        return PointCloud(
            points_in_world=points.astype(np.float32),
            colors=None if colors is None else np.clip(colors, 0, 255).astype(np.uint8),
            normals=None if normals is None else normals.astype(np.float32),
            num_views=None if views is None else np.clip(views[:, 0], 0, 255).astype(np.uint8),
        )
