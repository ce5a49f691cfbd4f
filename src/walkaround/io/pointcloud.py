"""Point clouds on disk: binary little-endian PLY and binary PCD, as CloudCompare, MeshLab and Open3D read.

Written here: x y z (float32), nx ny nz (float32), red green blue (uchar) and num_views (uchar); what a cloud
does not have is left out. PCD packs the colour into one ``rgb`` field (unsigned 32-bit, the PCL convention).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.types import PointCloud

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_NAMES = {"f4": "float", "u1": "uchar", "u4": "uint"}
_PCD_TYPES = {
    ("I", 1): "i1", ("I", 2): "i2", ("I", 4): "i4", ("I", 8): "i8", ("U", 1): "u1", ("U", 2): "u2",
    ("U", 4): "u4", ("U", 8): "u8", ("F", 4): "f4", ("F", 8): "f8",
}  # fmt: skip
_MAX_POINTS = 1 << 31
_Fields = list[tuple[str, str]] | list[tuple[str, str, tuple[int]]]


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
    """Read the vertices of a binary little-endian PLY file.

    Raises
    ------
    FormatError
        The file is missing, cut off, or another kind of PLY.
    """
    head, body = _split(path, b"end_header")
    lines = head.splitlines()
    if (
        not lines
        or lines[0].strip() != "ply"
        or "format binary_little_endian 1.0" not in map(str.strip, lines)
    ):
        raise FormatError(f"{path} is not a binary little-endian PLY file. Convert it first.")
    count, fields, element = -1, [], ""
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            if len(words) != 3:
                raise FormatError(f"{path}: the header line {line!r} is not PLY's.")
            if not element and words[1] != "vertex":
                raise FormatError(f"{path}: the first element is {words[1]}, not vertex.")
            element = words[1]
            count = _count(words[2], path) if element == "vertex" else count
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _PLY_TYPES:
                raise FormatError(f"{path}: the vertex property {line!r} is not supported.")
            fields.append((words[2], "<" + _PLY_TYPES[words[1]]))
    return _to_cloud(_table(path, body, count, fields), path)


def read_pcd(path: Path) -> PointCloud:
    """Read a binary PCD file.

    Raises
    ------
    FormatError
        The file is missing, cut off, or not a binary PCD (ASCII and compressed ones are not read).
    """
    head, body = _split(path, b"\nDATA ")
    kind, _, body = body.partition(b"\n")
    header = {}
    for line in head.splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
    if kind.strip() != b"binary" or not {"FIELDS", "SIZE", "TYPE", "POINTS"} <= set(header):
        raise FormatError(f"{path} is not a binary PCD file (DATA {kind[:20].decode('ascii', 'replace')}).")
    names, sizes, types = header["FIELDS"], header["SIZE"], header["TYPE"]
    counts = header.get("COUNT", ["1"] * len(names))
    if not len(names) == len(sizes) == len(types) == len(counts) or len(header["POINTS"]) != 1:
        raise FormatError(f"{path}: FIELDS, SIZE, TYPE and COUNT have different lengths.")
    fields: list[Any] = []
    for name, size, letter, repeat in zip(names, sizes, types, counts, strict=True):
        code = _PCD_TYPES.get((letter, _count(size, path)))
        number = _count(repeat, path)
        if code is None or not 1 <= number <= 1024:
            raise FormatError(f"{path}: the field {name} has type {letter}, size {size}, count {repeat}.")
        fields.append((name, "<" + code) if number == 1 else (name, "<" + code, (number,)))
    return _to_cloud(_table(path, body, _count(header["POINTS"][0], path), fields), path)


def read_cloud(path: Path) -> PointCloud:
    """Read a ``.ply`` or ``.pcd`` file by its suffix."""
    return read_pcd(path) if path.suffix.lower() == ".pcd" else read_ply(path)


def _split(path: Path, mark: bytes) -> tuple[str, bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    head, found, body = data.partition(mark)
    if not found or len(head) > 1 << 20:
        raise FormatError(f"{path} has no point cloud header ({len(data)} bytes).")
    if mark == b"end_header":
        body = body[2:] if body[:2] == b"\r\n" else body[1:]
    return head.decode("ascii", "replace"), body


def _count(text: str, path: Path) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > _MAX_POINTS:
        raise FormatError(f"{path}: {text[:40]!r} is not a usable number in the header.")
    return int(text)


def _table(path: Path, body: bytes, count: int, fields: _Fields) -> NDArray[Any]:
    names = [field[0] for field in fields]
    if not {"x", "y", "z"} <= set(names) or count < 0:
        raise FormatError(f"{path} has no x, y, z for its points.")
    kept = [name if name not in names[:i] and name != "_" else f"_{i}" for i, name in enumerate(names)]
    if len(set(kept)) != len(kept):
        raise FormatError(f"{path} has two fields of one name.")
    dtype = np.dtype([(name, *field[1:]) for name, field in zip(kept, fields, strict=True)])
    if len(body) < count * dtype.itemsize:
        raise FormatError(
            f"{path} is cut off: {len(body)} bytes for {count} points of {dtype.itemsize} bytes."
        )
    return np.frombuffer(body, dtype=dtype, count=count)


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

    points = columns("x", "y", "z")
    if points is None:
        raise FormatError(f"{path} has no single x, y, z for its points.")
    colors = columns("red", "green", "blue")
    packed = columns("rgb")
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
