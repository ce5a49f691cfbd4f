"""Blocks and rings of JPEG: what smaller sizes of the picture, compressed again, teach.

A smaller picture has hardly any blocks left. Compressed with the tables of the file it gets new ones; a
network learns to take them away.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.restore.jpeg import Jpeg, JpegTables
from walkaround.restore.operators import Downsample
from walkaround.restore.options import PairsOptions
from walkaround.restore.pairs import Corrector, Pair, correct, learn
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import learning_parts, tiles
from walkaround.types import Float32Array

SMALLER = (2, 3)
OFFSETS = ((0, 0), (3, 5), (5, 2))
"""Where the blocks of the smaller pictures begin: the same edges are cut in other places."""
SHIFT_PX = 2
"""Step between the shifts of :func:`average_of_shifts`; 1 is four times as dear and hardly better."""


def compress(x: Tensor, operator: Jpeg) -> Tensor:
    """Return what a JPEG file of ``x`` would show."""
    size = torch.Size(x.shape[-2:])
    return operator.picture([((v / s).round() * s, s) for v, s in operator.coefficients(x)], size).clamp(0, 1)


def average_of_shifts(x: Tensor, operator: Jpeg) -> Tensor:
    """Compress with the blocks in other places and average: the classical cure.

    Source: Nosratinia, 2001, "Enhancement of JPEG-compressed images by re-application of JPEG",
    doi:10.1023/A:1011174306930.
    """
    total, count = torch.zeros_like(x), 0
    for down in range(0, 8, SHIFT_PX):
        for across in range(0, 8, SHIFT_PX):
            moved = F.pad(x, (across, 0, down, 0), mode="replicate")
            total += compress(moved, operator)[..., down:, across:]
            count += 1
    return total / count


def dejpeg_by_pairs(
    image: Float32Array,
    tables: JpegTables,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    listen: Listen = unheard,
) -> Float32Array:
    """Take the traces of JPEG from (H, W, C), the decoded file with these tables."""
    y, operator = to_tensor(image), Jpeg(tables)
    pairs = [
        pair
        for part in learning_parts((image.shape[0], image.shape[1]), seed)
        for pair in _pairs(y[..., *part], operator)
    ]
    base, extra = _averaged_in_tiles(y, operator), _seen(y)
    if not pairs:  # too small to learn from
        return to_array(base.clamp(0, 1))

    def finish(network: Corrector, turns: int) -> Float32Array:
        return to_array(correct(network, base, extra, turns=turns, device=device).clamp(0, 1))

    def watch(iteration: int, share: float, loss: float, network: Corrector) -> None:
        listen(Told(iteration=iteration, share=share, loss=loss, picture=lambda: finish(network, 1)))

    return finish(learn(pairs, options=options, seed=seed, device=device, watch=watch), 0)


def _pairs(y: Tensor, operator: Jpeg) -> list[Pair]:
    """Compress smaller sizes of (1, C, H, W) once more."""
    pairs = []
    for factor in SMALLER:
        small = Downsample(factor)(y).clamp(0, 1)
        for down, across in OFFSETS:
            target = small[..., down:, across:]
            if min(target.shape[-2:]) >= 24:
                worse = compress(target, operator)
                base = average_of_shifts(worse, operator)
                pairs.append(Pair(base=base, extra=_seen(worse), target=target))
    return pairs


def _averaged_in_tiles(y: Tensor, operator: Jpeg) -> Tensor:
    """Average shifts in pieces that begin where blocks of colour do."""
    out = torch.empty_like(y)
    for tile in tiles((y.shape[-2], y.shape[-1]), halo_px=32):
        out[..., *tile.target] = average_of_shifts(y[..., *tile.outer], operator)[..., *tile.inner]
    return out


def _seen(y: Tensor) -> Tensor:
    """Return the picture and where its blocks end: two maps that a turned block shares."""
    rows, columns = (torch.from_numpy(np.abs(np.arange(size) % 8 - 3.5) / 3.5).to(y) for size in y.shape[-2:])
    down, across = torch.broadcast_tensors(rows[:, None], columns[None, :])
    ends = torch.stack([torch.maximum(down, across), torch.minimum(down, across)])[None]
    return torch.cat([y, ends], 1)
