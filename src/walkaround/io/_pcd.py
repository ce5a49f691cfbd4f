"""The bytes of PCD files in all three kinds: ascii, binary and binary_compressed (LZF, fields one by one).

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError

MAX_POINTS = 1 << 31
MAX_UNPACKED_BYTES = 1 << 32
_TYPES = {
    ("I", 1): "i1", ("I", 2): "i2", ("I", 4): "i4", ("I", 8): "i8", ("U", 1): "u1", ("U", 2): "u2",
    ("U", 4): "u4", ("U", 8): "u8", ("F", 4): "f4", ("F", 8): "f8",
}  # fmt: skip


def parse_pcd(data: bytes, path: Path) -> NDArray[Any]:
    """Return the points as a table of the file's fields; padding is named ``_0``, ``_1``, ...

    Raises
    ------
    FormatError
        The bytes are cut off, hostile, or no PCD.
    """
    head, kind, body = _split(data, path)
    fields, count = _fields(head, path)
    dtype = table_type(fields, path)
    if kind == "binary":
        return from_records(body, dtype, count, path)
    if kind == "ascii":
        return from_words(body, dtype, count, path)
    if kind == "binary_compressed":
        return _from_columns(_unpacked(body, count * dtype.itemsize, path), dtype, count)
    raise FormatError(f"{path}: DATA is {kind[:20]!r}, expected ascii, binary or binary_compressed.")


def number_in(text: str, path: Path) -> int:
    """Return a count that a header states; FormatError when it is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > MAX_POINTS:
        raise FormatError(f"{path}: {text[:40]!r} is not a usable number in the header.")
    return int(text)


def table_type(fields: list[tuple[str, str, int]], path: Path) -> np.dtype[Any]:
    """Return the type of a row; a name that comes again, and padding, is named after its place.

    Parameters
    ----------
    fields
        Name, NumPy's type code and how many numbers.
    """
    names = [field[0] for field in fields]
    if not {"x", "y", "z"} <= set(names):
        raise FormatError(f"{path} has no x, y, z for its points.")
    kept = [name if name not in names[:i] and name != "_" else f"_{i}" for i, name in enumerate(names)]
    if len(set(kept)) != len(kept):
        raise FormatError(f"{path} has two fields of one name.")
    row: list[Any] = [
        (name, code) if number == 1 else (name, code, (number,))
        for name, (_, code, number) in zip(kept, fields, strict=True)
    ]
    return np.dtype(row)


def from_records(body: bytes, dtype: np.dtype[Any], count: int, path: Path) -> NDArray[Any]:
    """Return ``count`` rows that lie one after the other."""
    if len(body) < count * dtype.itemsize:
        raise FormatError(
            f"{path} is cut off: {len(body)} bytes for {count} points of {dtype.itemsize} bytes."
        )
    return np.frombuffer(body, dtype=dtype, count=count)


def from_words(body: bytes, dtype: np.dtype[Any], count: int, path: Path) -> NDArray[Any]:
    """Return ``count`` rows of numbers written as text; words after them are left alone."""
    widths = [int(np.prod(dtype[name].shape, dtype=int)) for name in dtype.names or ()]
    if 2 * count * sum(widths) > len(body) + 1:
        raise FormatError(f"{path} is cut off: {len(body)} bytes of text for {count} points.")
    words = body.split(maxsplit=count * sum(widths))[: count * sum(widths)]
    if len(words) < count * sum(widths):
        raise FormatError(f"{path} is cut off: {len(words)} numbers for {count} points of {sum(widths)}.")
    try:
        numbers = np.array([float(word) for word in words]).reshape(count, sum(widths))
    except ValueError as error:
        raise FormatError(f"{path}: a point is no list of numbers ({str(error)[:80]}).") from error
    table = np.zeros(count, dtype=dtype)
    for name, width, start in zip(dtype.names or (), widths, np.cumsum([0, *widths[:-1]]), strict=True):
        table[name] = _cast(numbers[:, start : start + width], dtype[name].base).reshape(table[name].shape)
    return table


def _cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers as a type; what an integer type cannot hold becomes its nearest value, NaN 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        low, high = float(limits.min), float(np.nextafter(float(limits.max) + 1, 0))
        return np.clip(np.nan_to_num(values, nan=0.0), low, min(high, float(limits.max))).astype(dtype)


def _split(data: bytes, path: Path) -> tuple[dict[str, list[str]], str, bytes]:
    """Return the header's lines by their first word, the kind of data, and the data."""
    start = 0 if data.startswith(b"DATA ") else data.find(b"\nDATA ") + 1
    if start < 0 or not data[start:].startswith(b"DATA ") or start > 1 << 20:
        raise FormatError(f"{path} has no point cloud header ({len(data)} bytes).")
    line, _, body = data[start:].partition(b"\n")
    header = {}
    for text in data[:start].decode("ascii", "replace").splitlines():
        words = text.split()
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
    return header, line[5:].strip().decode("ascii", "replace"), body


def _fields(header: dict[str, list[str]], path: Path) -> tuple[list[tuple[str, str, int]], int]:
    """Return name, type code and number of each field, and the number of points."""
    if not {"FIELDS", "SIZE", "TYPE"} <= set(header) or not ("POINTS" in header or "WIDTH" in header):
        raise FormatError(f"{path}: the header lacks FIELDS, SIZE, TYPE or POINTS.")
    names, sizes, types = header["FIELDS"], header["SIZE"], header["TYPE"]
    counts = header.get("COUNT", ["1"] * len(names))
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise FormatError(f"{path}: FIELDS, SIZE, TYPE and COUNT have different lengths.")
    fields = []
    for name, size, letter, repeat in zip(names, sizes, types, counts, strict=True):
        code = _TYPES.get((letter, number_in(size, path)))
        number = number_in(repeat, path)
        if code is None or not 1 <= number <= 1024:
            raise FormatError(f"{path}: the field {name} has type {letter}, size {size}, count {repeat}.")
        fields.append((name, "<" + code, number))
    return fields, _count(header, path)


def _count(header: dict[str, list[str]], path: Path) -> int:
    if "POINTS" in header:
        stated = header["POINTS"]
        if len(stated) != 1:
            raise FormatError(f"{path}: POINTS is no single number.")
        return number_in(stated[0], path)
    sides = [header[name] for name in ("WIDTH", "HEIGHT") if name in header]
    if any(len(side) != 1 for side in sides):
        raise FormatError(f"{path}: WIDTH or HEIGHT is no single number.")
    return int(np.prod([number_in(side[0], path) for side in sides]))


def _unpacked(body: bytes, expected: int, path: Path) -> bytes:
    """Return the unpacked bytes of a ``binary_compressed`` file: two sizes, then LZF."""
    if len(body) < 8:
        raise FormatError(f"{path} is cut off: {len(body)} bytes after DATA.")
    packed, size = struct.unpack_from("<II", body)
    if size != expected or size > MAX_UNPACKED_BYTES:
        raise FormatError(f"{path} states {size} unpacked bytes; its points take {expected}.")
    if len(body) < 8 + packed:
        raise FormatError(f"{path} is cut off: {len(body) - 8} of {packed} packed bytes.")
    if size > 300 * (packed + 1):  # 3 bytes of LZF stand for 264 at most
        raise FormatError(f"{path} states {size} bytes packed into {packed}, which LZF cannot do.")
    out = np.empty(size, np.uint8)
    if not _unpack()(np.frombuffer(body, np.uint8, packed, 8), out):
        raise FormatError(f"{path}: its packed points are damaged.")
    return out.tobytes()


def _from_columns(data: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Put fields that lie one after the other, each of all points, into rows."""
    table = np.empty(count, dtype=dtype)
    offset = 0
    for name in dtype.names or ():
        kind = dtype[name]
        numbers = count * int(np.prod(kind.shape, dtype=int))
        values = np.frombuffer(data, kind.base, numbers, offset)
        table[name] = values.reshape(table[name].shape)
        offset += numbers * kind.base.itemsize
    return table


@functools.cache
def _unpack() -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], bool]:
    """Compile the loop below, once a process."""
    from numba import njit

    compiled: Callable[[NDArray[np.uint8], NDArray[np.uint8]], bool] = njit(cache=True)(unpack_lzf)
    return compiled


def unpack_lzf(packed: NDArray[np.uint8], out: NDArray[np.uint8]) -> bool:
    """Unpack LZF (Lehmann's liblzf) into ``out``; False when the bytes do not fill it exactly."""
    at, put, end, size = 0, 0, len(packed), len(out)
    while at < end:
        control = int(packed[at])
        at += 1
        if control < 32:  # literal bytes
            length = control + 1
            if at + length > end or put + length > size:
                return False
            for i in range(length):
                out[put + i] = packed[at + i]
            at += length
        else:  # bytes that came before
            length = control >> 5
            if length == 7:
                if at >= end:
                    return False
                length += int(packed[at])
                at += 1
            if at >= end:
                return False
            start = put - ((control & 31) << 8) - int(packed[at]) - 1
            at += 1
            length += 2
            if start < 0 or put + length > size:
                return False
            for i in range(length):
                out[put + i] = out[start + i]
        put += length
    return put == size
