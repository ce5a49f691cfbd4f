"""What the networks on clouds share: their base, and rows of dense layers over points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

Tensor = Any


class CloudNetwork(nn.Module):  # type: ignore[misc, unused-ignore]
    """Points (B, N, 3) in, one row of class scores (B, classes) out."""

    def penalty(self) -> Tensor:
        """Return what the last forward pass adds to the loss; 0 unless a network says otherwise."""
        return 0.0


class Shared(nn.Sequential):  # type: ignore[misc, unused-ignore]
    """The same dense layers at each point: channels first, (B, C, N) or (B, C, M, K).

    Parameters
    ----------
    widths
        Channels in, then out of each layer; each is followed by batch normalisation and ReLU.
    dims
        1 for (B, C, N), 2 for (B, C, M, K).
    """

    def __init__(self, widths: Sequence[int], *, dims: int = 1, bias: bool = True) -> None:
        dense, norm = (nn.Conv1d, nn.BatchNorm1d) if dims == 1 else (nn.Conv2d, nn.BatchNorm2d)
        layers: list[nn.Module] = []
        for here, there in pairwise(widths):
            layers += [dense(here, there, 1, bias=bias), norm(there), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Head(nn.Sequential):  # type: ignore[misc, unused-ignore]
    """Dense layers on one vector a cloud, then the class scores.

    Parameters
    ----------
    widths
        Features in, then out of each hidden layer (batch normalisation, ReLU, dropout).
    dropout
        A share for each hidden layer.
    """

    def __init__(self, widths: Sequence[int], classes: int, *, dropout: Sequence[float]) -> None:
        layers: list[nn.Module] = []
        for (here, there), share in zip(pairwise(widths), dropout, strict=True):
            layers += [nn.Linear(here, there), nn.BatchNorm1d(there), nn.ReLU(inplace=True)]
            if share > 0:
                layers.append(nn.Dropout(share))
        super().__init__(*layers, nn.Linear(widths[-1], classes))


def wide(widths: Sequence[int], share: float) -> list[int]:
    """Scale layer widths to a multiple of 8, at least 8."""
    return [max(8, round(width * share / 8) * 8) for width in widths]


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def highest(features: Tensor, dim: int) -> Tensor:
    """Return the largest value along ``dim``."""
    return torch.amax(features, dim=dim)
