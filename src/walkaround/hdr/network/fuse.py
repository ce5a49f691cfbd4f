"""The network as a method: a window of any size in, a frame of radiance out, tile by tile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from walkaround.errors import InputError, UsageError
from walkaround.hdr.clip import Exposed, Fused, FuseWindow
from walkaround.hdr.fusion import FusionOptions
from walkaround.hdr.network.model import HdrNetwork
from walkaround.hdr.network.tensors import GAMMA, MULTIPLE, Windows, arrays_of
from walkaround.hdr.network.weights import SHIPPED, read_weights
from walkaround.hdr.response import Response
from walkaround.types import Float32Array

MARGIN = 32
"""Pixels around a tile that are computed and thrown away: how far the network looks, nearly."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how the network runs."""

    weights: Path = SHIPPED
    """A file of weights that `walkaround hdr-train` wrote."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    tile_wh: tuple[int, int] = (640, 384)
    """Largest width and height of a tile; memory grows with it, about 2 GB for five frames."""


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A part of the frame: what is computed, and what of it is kept."""

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice


def make_network(
    response: Response, options: FusionOptions | None = None, run: RunOptions | None = None
) -> FuseWindow:
    """Return the function that merges a window of frames of a camera with this response.

    Raises
    ------
    UsageError
        The device is not there.
    InputError
        There are no weights.
    FormatError
        They are not of this network.
    """
    chosen = run or RunOptions()
    device = _device(chosen.device)
    network = _loaded(chosen.weights, str(device))

    def fuse(window: Sequence[Exposed]) -> Fused:
        _check(window)
        arrays = arrays_of([_in_gamma(frame, response) for frame in window], options)
        return _run(network, arrays, device, chosen.tile_wh)

    return fuse


@lru_cache(maxsize=2)
def _loaded(path: Path, device: str) -> HdrNetwork:
    network, _ = read_weights(path)
    return network.to(torch.device(device))


def _in_gamma(frame: Exposed, response: Response) -> Exposed:
    """Return a frame as a camera with a curve of 2.2 would have recorded it."""
    if response.name == "gamma":
        return frame
    image = np.power(np.clip(response.linear(frame.image), 0.0, 1.0), np.float32(1.0 / GAMMA))
    return Exposed(image=np.asarray(image, np.float32), exposure=frame.exposure)


def _run(
    network: HdrNetwork, arrays: tuple[Float32Array, ...], device: torch.device, tile_wh: tuple[int, int]
) -> Fused:
    height, width = arrays[0].shape[-2:]
    radiance = np.empty((height, width, 3), np.float32)
    confidence = np.empty((height, width), np.float32)
    with torch.inference_mode():
        for tile in cut_tiles(height, width, tile_wh):
            merged = network(_windows(arrays, tile).to(device))
            sure = (merged.coarse.weights.mean(dim=2) * merged.coarse.candidates.trust[:, :, 0]).sum(dim=1)
            inside = (
                slice(tile.kept_rows.start - tile.rows.start, tile.kept_rows.stop - tile.rows.start),
                slice(
                    tile.kept_columns.start - tile.columns.start, tile.kept_columns.stop - tile.columns.start
                ),
            )
            place = (tile.kept_rows, tile.kept_columns)
            radiance[place] = merged.radiance[0].permute(1, 2, 0).cpu().numpy()[inside]
            confidence[place] = sure[0].clamp(0.0, 1.0).cpu().numpy()[inside]
    return Fused(radiance=radiance, confidence=confidence)


def _windows(arrays: tuple[Float32Array, ...], tile: _Tile) -> Windows:
    """Cut a tile out of all arrays and continue its border to a multiple of 8."""
    tensors = []
    for array in arrays:
        if array.ndim > 1:
            part = array[..., tile.rows, tile.columns]
            high, wide = (-size % MULTIPLE for size in part.shape[-2:])
            array = np.pad(part, [(0, 0)] * (part.ndim - 2) + [(0, high), (0, wide)], mode="edge")
        tensors.append(torch.from_numpy(np.ascontiguousarray(array))[None])
    return Windows(*tensors)


def cut_tiles(height: int, width: int, tile_wh: tuple[int, int]) -> Iterator[_Tile]:
    """Cut a frame into equal tiles no larger than ``tile_wh``, each with a margin where there is more."""
    for kept_rows, rows in _spans(height, tile_wh[1]):
        for kept_columns, columns in _spans(width, tile_wh[0]):
            yield _Tile(rows=rows, columns=columns, kept_rows=kept_rows, kept_columns=kept_columns)


def _spans(length: int, most: int) -> list[tuple[slice, slice]]:
    count = -(-length // most)
    cuts = [MULTIPLE * round(length * n / count / MULTIPLE) for n in range(count)] + [length]
    return [
        (slice(low, high), slice(max(low - MARGIN, 0), min(high + MARGIN, length)))
        for low, high in itertools.pairwise(cuts)
    ]


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if there else "cpu")
    if name == "cuda" and not there:
        raise UsageError("--device is cuda, and torch finds no such device. Use cpu or auto.")
    return torch.device(name)


def _check(window: Sequence[Exposed]) -> None:
    sizes = {frame.image.shape for frame in window}
    if len(window) % 2 == 0 or len(window) < 3 or len(sizes) > 1:
        raise InputError(
            f"A window of {len(window)} frames of {len(sizes)} sizes cannot be merged; give 3 frames for two "
            "exposures or 5 for three, all of one size."
        )
