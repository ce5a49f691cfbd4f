"""More Gaussians where the picture asks for them, none where they are not seen."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from walkaround.splats.gaussians import Drawn, Gaussians, rotation_matrices

_LEAST_OPACITY = 0.01
_FASTEST = 0.5
"""Of the Gaussians there are: no more are split or doubled at a time."""
_SPLIT_SIZE = 1.6
"""A Gaussian that is split becomes two, each so many times smaller."""


class Demand:
    """How strongly the pictures pull at each Gaussian since the last change."""

    def __init__(self, count: int) -> None:
        self.pull = torch.zeros(count)
        self.times = torch.zeros(count)

    def add(self, drawn: Drawn, size_hw: tuple[int, int]) -> None:
        """Note the gradient of the places in a picture, as a share of its size."""
        gradient = drawn.places.grad
        if gradient is None:
            return
        height, width = size_hw
        self.pull[drawn.shown] += (gradient * torch.tensor([width, height]) / 2).norm(dim=1)
        self.times[drawn.shown] += 1

    def mean(self) -> Tensor:
        """Return the mean pull, (N,)."""
        return self.pull / self.times.clamp(min=1)


def pruned(gaussians: Gaussians) -> Tensor:
    """Return the numbers of those that can be seen at all."""
    return torch.nonzero(torch.sigmoid(gaussians.logits) > _LEAST_OPACITY)[:, 0]


def grown(
    gaussians: Gaussians, demand: Tensor, count: int, small: float, generator: torch.Generator
) -> tuple[Gaussians, Tensor]:
    """Split large and double small Gaussians that are pulled most.

    Parameters
    ----------
    count
        How many; fewer where few are pulled at all, half of those that there are at most.
    small
        Length in the world up to which one is doubled and not split.

    Returns
    -------
    gaussians, origin
        The origin (N,) is the number of each one before; -1 for new ones.
    """
    count = min(count, math.ceil(_FASTEST * len(gaussians)), int((demand > 0).sum()))
    if count <= 0:
        return gaussians, torch.arange(len(gaussians))
    chosen = torch.topk(demand, count).indices
    size = torch.exp(gaussians.log_scales[chosen]).amax(dim=1)
    large = size > small
    parts = {name: part.clone() for name, part in gaussians.parts().items()}
    new = {name: part[chosen].clone() for name, part in parts.items()}
    turn = rotation_matrices(parts["rotations"][chosen])
    along = torch.randn(len(chosen), 3, generator=generator) * torch.exp(parts["log_scales"][chosen])
    offset = (turn @ along[:, :, None])[:, :, 0] * large[:, None]
    smaller = torch.log(torch.tensor(_SPLIT_SIZE)) * large[:, None]
    new["means"] = new["means"] + offset
    parts["means"][chosen] -= offset
    new["log_scales"] -= smaller
    parts["log_scales"][chosen] = new["log_scales"]
    joined = {name: torch.cat([parts[name], new[name]]) for name in parts}
    origin = torch.cat([torch.arange(len(gaussians)), torch.full((len(chosen),), -1)])
    origin[chosen[large]] = -1
    return dataclasses.replace(gaussians, **joined), origin
