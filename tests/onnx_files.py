"""Small ONNX files made by hand: protocol buffers, a few dozen bytes."""

from __future__ import annotations

from pathlib import Path


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
