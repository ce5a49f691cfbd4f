"""Small ONNX files made by hand: protocol buffers, a few dozen bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _int(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _number(field << 3 | 2) + _number(len(data)) + data


def _tensor(name: str, shape: tuple[int | str, ...]) -> bytes:
    """ValueInfoProto of a float tensor; a string is a free dimension."""
    dims = b"".join(_bytes(1, _int(1, n) if isinstance(n, int) else _bytes(2, n)) for n in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _int(1, 1) + _bytes(2, dims)))


def _constant(name: str, values: NDArray[Any]) -> bytes:
    """TensorProto of float32 or int64 values."""
    kind = 7 if values.dtype == np.int64 else 1
    dims = b"".join(_int(1, size) for size in values.shape)
    return dims + _int(2, kind) + _bytes(8, name) + _bytes(9, values.tobytes())


def _node(kind: str, inputs: list[str], output: str, **attributes: list[int] | int) -> bytes:
    out = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            out += _bytes(5, _bytes(1, name) + _int(3, value) + _int(20, 2))
        else:
            out += _bytes(5, _bytes(1, name) + b"".join(_int(8, item) for item in value) + _int(20, 7))
    return out


def _write(path: Path, nodes: list[bytes], constants: list[bytes], ends: tuple[bytes, list[bytes]]) -> Path:
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, "graph")
    graph += b"".join(_bytes(5, constant) for constant in constants) + _bytes(11, ends[0])
    graph += b"".join(_bytes(12, output) for output in ends[1])
    path.write_bytes(_int(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _int(2, 13)))
    return path


def write_red_detector(path: Path, *, layout: str = "v8", side: int = 64, cell: int = 8) -> Path:
    """Write a YOLO-style detector: a box in each cell of a grid, its score the red minus the green in it.

    ``layout`` is ``v8`` (1, 5, N), ``v5`` (1, N, 5) with the score in the place of the objectness, or
    ``ends`` (1, N, 6): corners, score and class.
    """
    count = (side // cell) ** 2
    weights = np.zeros((1, 3, cell, cell), np.float32)
    weights[0, 0], weights[0, 1] = 1 / cell**2, -1 / cell**2
    row, column = np.divmod(np.arange(count), side // cell)
    centre = (np.stack([column, row]) + 0.5) * cell
    half = np.full_like(centre, cell / 2)
    corners = layout == "ends"
    boxes = np.concatenate([centre - half, centre + half] if corners else [centre, 2 * half])[None]
    nodes = [
        _node("Conv", ["image", "weights"], "map", kernel_shape=[cell, cell], strides=[cell, cell]),
        _node("Reshape", ["map", "shape"], "score"),
        _node("Concat", ["boxes", "score", *(["class"] if corners else [])], "wide", axis=1),
        _node("Transpose", ["wide"], "table", perm=[0, 1, 2] if layout == "v8" else [0, 2, 1]),
    ]
    constants = [
        _constant("weights", weights),
        _constant("shape", np.array([1, 1, count], np.int64)),
        _constant("boxes", boxes.astype(np.float32)),
        _constant("class", np.zeros((1, 1, count), np.float32)),
    ]
    columns = 6 if corners else 5
    shape = (1, columns, count) if layout == "v8" else (1, count, columns)
    return _write(path, nodes, constants, (_tensor("image", (1, 3, side, side)), [_tensor("table", shape)]))


def write_yunet(path: Path, face_xywh: tuple[float, float, float, float], *, side: int = 64) -> Path:
    """Write a model with YuNet's outputs that sees one face in every picture, in a cell of stride 16."""
    nodes, constants, outputs = [_node("Identity", ["image"], "unused")], [], []
    x, y, width, height = face_xywh
    for stride in (8, 16, 32):
        count = (side // stride) ** 2
        values = {
            "cls": np.zeros((1, count, 1)),
            "obj": np.ones((1, count, 1)),
            "bbox": np.zeros((1, count, 4)),
        }
        if stride == 16:
            column, row = int((x + width / 2) // 16), int((y + height / 2) // 16)
            place = row * (side // 16) + column
            values["cls"][0, place] = 0.81
            values["bbox"][0, place] = [
                (x + width / 2) / 16 - column,
                (y + height / 2) / 16 - row,
                np.log(width / 16),
                np.log(height / 16),
            ]
        for kind, value in values.items():
            constants.append(_constant(f"{kind}{stride}", value.astype(np.float32)))
            nodes.append(_node("Identity", [f"{kind}{stride}"], f"{kind}_{stride}"))
            outputs.append(_tensor(f"{kind}_{stride}", value.shape))
    return _write(path, nodes, constants, (_tensor("image", (1, 3, side, side)), outputs))


def write_channel_mean(path: Path, shape: tuple[int | str, ...] = (1, 3, 32, 48)) -> Path:
    """Write a model (1, 3, h, w) -> (1, 1, h, w) whose output is the mean over the channels."""
    axes = _bytes(1, "axes") + _int(8, 1) + _int(20, 7)
    node = _bytes(1, "image") + _bytes(2, "map") + _bytes(4, "ReduceMean") + _bytes(5, axes)
    out = (shape[0], 1, *shape[2:])
    graph = (
        _bytes(1, node)
        + _bytes(2, "mean")
        + _bytes(11, _tensor("image", shape))
        + _bytes(12, _tensor("map", out))
    )
    opset = _bytes(1, "") + _int(2, 13)
    path.write_bytes(_int(1, 8) + _bytes(7, graph) + _bytes(8, opset))
    return path
