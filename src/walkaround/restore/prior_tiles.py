"""Large pictures by the prior, piece by piece: each piece begins with the weights of the one before.

What a network has learned of one piece (its edges, its textures) is worth something to the next, so a piece
takes fewer iterations; and no more than a piece is ever in the network.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from walkaround.restore.blend import fade
from walkaround.restore.operators import Operator
from walkaround.restore.options import PriorOptions
from walkaround.restore.solver import Solved, Step, Watch, Weights, ignore, solve_prior
from walkaround.restore.tiles import Tile, tiles

_STEP_PX = 24
"""Pieces begin at multiples of this, which every factor of down-sampling divides."""
_HALO_PX = 48


def solve_in_tiles(
    measured: Tensor,
    operator: Operator,
    size_hw: tuple[int, int],
    *,
    options: PriorOptions,
    task: str = "denoise",
    seed: int = 0,
    device: str = "cpu",
    noise: float | None = None,
    watch: Watch = ignore,
) -> Solved:
    """Restore a picture of any size in bounded memory; see :func:`solve_prior` for the parameters.

    A picture of at most twice ``options.tile_px`` squared pixels is drawn at once. Pieces of a larger one
    overlap, and fade into each other over the middle of what they share.
    """
    if size_hw[0] * size_hw[1] <= 2 * options.tile_px**2:
        return solve_prior(
            measured, operator, size_hw, options=options, task=task, seed=seed, device=device, noise=noise,
            watch=watch,
        )  # fmt: skip
    halo = _HALO_PX + _STEP_PX * math.ceil(2 * operator.reach_px / _STEP_PX)
    side = max(_STEP_PX, options.tile_px // _STEP_PX * _STEP_PX)
    pieces = list(tiles(size_hw, halo_px=halo, tile_px=side))
    sheet = _Sheet(measured.shape[1], size_hw, halo)
    weights: Weights | None = None
    done: list[Solved] = []
    for number, piece in enumerate(pieces):

        def tell(step: Step, number: int = number, piece: Tile = piece) -> None:
            share = (number + step.share) / len(pieces)
            watch(replace(step, share=share, picture=lambda: sheet.with_piece(piece, step.picture())))

        outer_hw = (piece.outer[0].stop - piece.outer[0].start, piece.outer[1].stop - piece.outer[1].start)
        solved = solve_prior(
            _measured(measured, piece, operator.factor), operator.part(*piece.outer), outer_hw,
            options=options, task=task, seed=seed, device=device, noise=noise, weights=weights, watch=tell,
        )  # fmt: skip
        sheet.add(piece, solved.picture)
        weights = solved.weights
        done.append(replace(solved, picture=torch.empty(0), weights={}))
    return Solved(
        picture=sheet.picture(),
        iterations=sum(solved.iterations for solved in done),
        best_iteration=done[-1].best_iteration,
        rollbacks=sum(solved.rollbacks for solved in done),
        log=tuple(entry for solved in done for entry in solved.log),
    )


def _measured(measured: Tensor, piece: Tile, factor: int) -> Tensor:
    rows, columns = (slice(s.start // factor, -(-s.stop // factor)) for s in piece.outer)
    return measured[..., rows, columns].contiguous()


class _Sheet:
    """The picture that the pieces make up."""

    def __init__(self, channels: int, size_hw: tuple[int, int], halo: int) -> None:
        self.size_hw, self.halo = size_hw, halo
        self.sum = torch.zeros(1, channels, *size_hw)
        self.total = torch.zeros(1, 1, *size_hw)

    def add(self, piece: Tile, drawn: Tensor) -> None:
        sides = zip(piece.outer, self.size_hw, strict=True)
        down, across = (fade(part, size, self.halo) for part, size in sides)
        weight = down[:, None] * across
        self.sum[..., *piece.outer] += weight * drawn
        self.total[..., *piece.outer] += weight

    def picture(self) -> Tensor:
        """Return what is there; 0 where no piece was yet."""
        return self.sum / self.total.clamp(min=1e-6)

    def with_piece(self, piece: Tile, drawn: Tensor) -> Tensor:
        """Return the picture with the piece at work in it."""
        picture = self.picture()
        picture[..., *piece.target] = drawn[..., *piece.inner]
        return picture
