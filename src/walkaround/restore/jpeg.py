"""JPEG as a differentiable operator, and what a JPEG file says about how it was made."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.errors import InputError
from walkaround.restore.operators import Operator
from walkaround.types import FloatArray

# ITU-T T.81, annex K, tables K.1 and K.2: what quality 50 means in the IJG's encoder.
_LUMINANCE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMINANCE = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99" + 36 * " 99"
)
# Rows: Y, Cb, Cr of R, G, B (JFIF: ITU-R BT.601, full range).
_YCC_FROM_RGB = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)


@dataclass(frozen=True, kw_only=True)
class JpegTables:
    """How a JPEG rounds.

    Attributes
    ----------
    luminance, chrominance
        (8, 8) steps of quantisation, of an 8-bit picture.
    halved
        Whether colour is stored at half the rows and half the columns (4:2:0); else all of it (4:4:4), or
        half the columns only (4:2:2).
    halved_rows
        The same for the rows alone.
    """

    luminance: FloatArray
    chrominance: FloatArray
    halved: bool = True
    halved_rows: bool = True


def tables_of_quality(quality: int, *, halved: bool = True) -> JpegTables:
    """Return the tables of the IJG's encoder (libjpeg, OpenCV, Pillow) for a quality of 1 to 100."""
    quality = min(max(quality, 1), 100)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    luminance, chrominance = (
        np.clip((np.array(text.split(), float).reshape(8, 8) * scale + 50) // 100, 1, 255)
        for text in (_LUMINANCE, _CHROMINANCE)
    )
    return JpegTables(luminance=luminance, chrominance=chrominance, halved=halved, halved_rows=halved)


def read_tables(data: bytes, name: str) -> JpegTables:
    """Read the tables that a baseline or progressive JPEG file carries.

    Raises
    ------
    InputError
        The bytes are no JPEG, or one without tables of 8 bits.
    """
    if data[:2] != b"\xff\xd8":
        raise InputError(f"{name} is not a JPEG: its blocks cannot be known. Pass the JPEG itself.")
    tables: dict[int, FloatArray] = {}
    sampling: list[tuple[int, int]] = []
    ids: list[int] = []
    for marker, body in _segments(data):
        if marker == 0xDB:
            tables.update(_quantisation(body))
        elif 0xC0 <= marker <= 0xC2 and len(body) > 6:
            parts = [body[6 + 3 * i : 9 + 3 * i] for i in range(body[5])]
            sampling = [(part[1] >> 4, part[1] & 15) for part in parts if len(part) == 3]
            ids = [part[2] for part in parts if len(part) == 3]
    if not tables or not sampling or any(i not in tables for i in ids):
        raise InputError(f"{name} carries no tables of quantisation. Save it again as a baseline JPEG.")
    wide = sampling[0][0] >= 2 * sampling[-1][0] and len(sampling) > 1
    tall = sampling[0][1] >= 2 * sampling[-1][1] and len(sampling) > 1
    return JpegTables(luminance=tables[ids[0]], chrominance=tables[ids[-1]], halved=wide, halved_rows=tall)


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Return (marker, body) up to the start of the scan."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + max(length, 2)
    return found


def _quantisation(body: bytes) -> dict[int, FloatArray]:
    tables, at = {}, 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        values = np.frombuffer(body[at + 1 : at + 1 + 64 * (1 + wide)], ">u2" if wide else np.uint8)
        if len(values) != 64:
            break
        table = np.zeros(64)
        table[_zigzag()] = values
        tables[number] = np.maximum(table, 1).reshape(8, 8)
        at += 1 + 64 * (1 + wide)
    return tables


def _zigzag() -> list[int]:
    """Return the place in a row-major block of each value in the order of the file."""
    order = sorted(
        ((r, c) for r in range(8) for c in range(8)),
        key=lambda rc: (rc[0] + rc[1], rc[0] if (rc[0] + rc[1]) % 2 else rc[1]),
    )
    return [8 * r + c for r, c in order]


class Jpeg(Operator):
    """JPEG of grey or colour pictures, with rounding that has a derivative.

    Rounding is ``r + (v - r)^3`` with ``r`` the nearest whole number: exact where a coefficient is one, and
    never flat. Source: Shin and Song, 2017, "JPEG-resistant adversarial images". Any size: the border
    repeats up to a whole block.
    """

    linear = False

    def __init__(self, tables: JpegTables) -> None:
        self.tables = tables

    def apply(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        planes = self.coefficients(x)
        return self.picture([(soft_round(plane / step) * step, step) for plane, step in planes], size)

    def coefficients(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return (DCT coefficients (N, h, w, 8, 8), steps (8, 8)) of each plane, in units of 8-bit values."""
        out = []
        for number, plane in enumerate(self._planes(x)):
            step = self.tables.luminance if number == 0 else self.tables.chrominance
            out.append((_dct(_blocks(plane)), torch.from_numpy(step).to(x)))
        return out

    def picture(self, planes: list[tuple[Tensor, Tensor]], size: torch.Size) -> Tensor:
        """Return the picture (N, C, H, W) of ``size`` that coefficients decode to."""
        height, width = size
        shapes = [(height, width)] + [self._colour_size(height, width)] * (len(planes) - 1)
        images = [_unblocks(_idct(values), shape) for (values, _), shape in zip(planes, shapes, strict=True)]
        if len(images) == 1:
            return ((images[0] + 128) / 255)[:, None]
        colour = [self._enlarge(plane)[:, :height, :width] for plane in images[1:]]
        ycc = torch.stack([images[0] + 128, *colour], 1) / 255
        rgb_from_ycc = torch.linalg.inv(torch.tensor(_YCC_FROM_RGB, dtype=torch.float64)).to(ycc)
        return torch.einsum("ij,njhw->nihw", rgb_from_ycc, ycc)

    def _enlarge(self, plane: Tensor) -> Tensor:
        """Enlarge a plane of colour as decoders do, by triangles."""
        rows, columns = (2 if self.tables.halved_rows else 1), (2 if self.tables.halved else 1)
        if rows * columns == 1:
            return plane
        large = F.interpolate(
            plane[:, None], scale_factor=(rows, columns), mode="bilinear", align_corners=False
        )
        return large[:, 0]

    def _colour_size(self, height: int, width: int) -> tuple[int, int]:
        rows = 2 if self.tables.halved_rows else 1
        columns = 2 if self.tables.halved else 1
        return -(-height // rows), -(-width // columns)

    def _planes(self, x: Tensor) -> list[Tensor]:
        if x.shape[1] == 1:
            return [x[:, 0] * 255 - 128]
        ycc = torch.einsum("ij,njhw->nihw", torch.tensor(_YCC_FROM_RGB).to(x), x) * 255
        rows, columns = (2 if self.tables.halved_rows else 1), (2 if self.tables.halved else 1)
        colour = ycc[:, 1:]
        if rows * columns > 1:
            odd = (-colour.shape[-1] % columns, -colour.shape[-2] % rows)
            colour = F.avg_pool2d(F.pad(colour, (0, odd[0], 0, odd[1]), mode="replicate"), (rows, columns))
        return [ycc[:, 0] - 128, colour[:, 0], colour[:, 1]]


def soft_round(values: Tensor) -> Tensor:
    """Round with a derivative that is not zero."""
    nearest = values.detach().round()
    return nearest + (values - nearest) ** 3


def _dct_matrix(like: Tensor) -> Tensor:  # (8, 8), orthonormal
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    matrix = np.cos(np.pi * (2 * n + 1) * k / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    return torch.from_numpy(matrix).to(like)


def _dct(blocks: Tensor) -> Tensor:
    matrix = _dct_matrix(blocks)
    return matrix @ blocks @ matrix.T


def _idct(values: Tensor) -> Tensor:
    matrix = _dct_matrix(values)
    return matrix.T @ values @ matrix


def _blocks(plane: Tensor) -> Tensor:  # (N, H, W) -> (N, h, w, 8, 8)
    height, width = plane.shape[-2:]
    padded = F.pad(plane[:, None], (0, -width % 8, 0, -height % 8), mode="replicate")[:, 0]
    return padded.unfold(1, 8, 8).unfold(2, 8, 8)


def _unblocks(blocks: Tensor, size_hw: tuple[int, int]) -> Tensor:  # (N, h, w, 8, 8) -> (N, H, W)
    count, rows, columns = blocks.shape[:3]
    plane = blocks.permute(0, 1, 3, 2, 4).reshape(count, 8 * rows, 8 * columns)
    return plane[:, : size_hw[0], : size_hw[1]]
