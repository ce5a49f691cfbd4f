"""Read the point clouds that walkaround writes: binary little-endian PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from walkaround.errors import FormatError
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

    def columns(*names: str) -> np.ndarray | None:  # type: ignore[type-arg]
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
