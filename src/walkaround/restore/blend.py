"""Weights of overlapping pieces, which add up to 1 where they are divided by their sum."""

from __future__ import annotations

import torch
from torch import Tensor


def fade(part: slice, size: int, halo: int) -> Tensor:  # (part.stop - part.start,)
    """Return weights from 0 to 1 over the middle of what a piece shares with its neighbour; sums are 1."""
    places = torch.arange(part.start, part.stop, dtype=torch.float32) + 0.5
    inside = torch.full_like(places, float("inf"))
    if part.start > 0:
        inside = torch.minimum(inside, places - part.start)
    if part.stop < size:
        inside = torch.minimum(inside, part.stop - places)
    return ((inside - halo / 2) / halo).clamp(0, 1)
