"""Large pictures in pieces: where to learn, and how to work through all of it in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from walkaround.restore.randomness import own_source

TILE_PX = 512
LEARN_PX = 512 * 512
"""Of a picture twice as large, parts of this many pixels together are learned from."""
_PART_PX = 256

Box = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A piece to compute.

    Attributes
    ----------
    outer
        Rows and columns of the picture to compute on, with a halo.
    target
        Rows and columns of the picture to fill.
    inner
        Where these lie within what was computed on ``outer``.
    """

    outer: Box
    target: Box
    inner: Box


def tiles(size_hw: tuple[int, int], *, halo_px: int, tile_px: int = TILE_PX) -> Iterator[Tile]:
    """Yield pieces that cover a picture once; outer pieces begin at multiples of 8 where both numbers are."""
    for top in range(0, size_hw[0], tile_px):
        for left in range(0, size_hw[1], tile_px):
            ends = (min(size_hw[0], top + tile_px), min(size_hw[1], left + tile_px))
            starts = (max(0, top - halo_px), max(0, left - halo_px))
            yield Tile(
                outer=(
                    slice(starts[0], min(size_hw[0], ends[0] + halo_px)),
                    slice(starts[1], min(size_hw[1], ends[1] + halo_px)),
                ),
                target=(slice(top, ends[0]), slice(left, ends[1])),
                inner=(
                    slice(top - starts[0], ends[0] - starts[0]),
                    slice(left - starts[1], ends[1] - starts[1]),
                ),
            )


def learning_parts(size_hw: tuple[int, int], seed: int) -> list[Box]:
    """Return all of a picture, or squares from all over a large one, with corners at multiples of 8."""
    height, width = size_hw
    if height * width <= 2 * LEARN_PX:
        return [(slice(0, height), slice(0, width))]
    count, side = LEARN_PX // _PART_PX**2, min(_PART_PX, height, width)
    source = own_source(seed)
    tops = source.integers(0, (height - side) // 8 + 1, 2 * count) * 8
    lefts = source.integers(0, (width - side) // 8 + 1, 2 * count) * 8
    return [
        (slice(int(top), int(top) + side), slice(int(left), int(left) + side))
        for top, left in zip(tops, lefts, strict=True)
    ]
