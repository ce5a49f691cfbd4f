"""PointMLP and its light form: residual dense layers, neighbourhoods scaled by themselves.

Ma et al. 2022, arXiv:2202.07123. The scale of a stage is taken over one cloud, as the paper's equation 2
does; an early release took it over the whole batch, so that a cloud's scores depended on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from walkaround.studies.clouds.layers import CloudNetwork, Head, Shared, Tensor, highest
from walkaround.studies.clouds.neighbours import farthest_points, gather, nearest_points


@dataclass(frozen=True, kw_only=True)
class MlpShape:
    """The proportions of a PointMLP: one number a stage."""

    first: int
    """Channels of the embedding."""
    growth: tuple[int, ...]
    """Channels out of a stage over those into it."""
    before: tuple[int, ...]
    """Residual blocks on each neighbourhood, before its maximum."""
    after: tuple[int, ...]
    """Residual blocks on the centres, after it."""
    bottleneck: float
    """Channels inside of a block over those of the block."""
    neighbours: int
    """Points a neighbourhood; each stage halves the points of the one before."""


PAPER_SHAPE = MlpShape(
    first=64, growth=(2, 2, 2, 2), before=(2, 2, 2, 2), after=(2, 2, 2, 2), bottleneck=1.0, neighbours=24
)
ELITE_SHAPE = MlpShape(
    first=32, growth=(2, 2, 2, 1), before=(1, 1, 2, 1), after=(1, 1, 2, 1), bottleneck=0.25, neighbours=24
)
SMALL_SHAPE = MlpShape(
    first=16, growth=(2, 2, 2), before=(1, 1, 1), after=(1, 1, 1), bottleneck=0.5, neighbours=8
)


class PointMLP(CloudNetwork):
    """PointMLP; ``ELITE_SHAPE`` is the paper's PointMLP-elite.

    Parameters
    ----------
    classes
        Scores a cloud.
    shape
        Its proportions.
    first_centres
        Centres of the first stage; None for half of the points.
    """

    def __init__(
        self,
        classes: int,
        *,
        shape: MlpShape = PAPER_SHAPE,
        head: tuple[int, int] = (512, 256),
        first_centres: int | None = None,
    ) -> None:
        super().__init__()
        self.first_centres = first_centres
        self.embedding = Shared((3, shape.first), bias=False)
        self.stages = nn.ModuleList()
        channels = shape.first
        for growth, before, after in zip(shape.growth, shape.before, shape.after, strict=True):
            self.stages.append(_Stage(channels, channels * growth, before, after, shape))
            channels *= growth
        self.head = Head((channels, *head), classes, dropout=(0.5, 0.5))

    def forward(self, points: Tensor) -> Tensor:
        features = self.embedding(points.transpose(1, 2)).transpose(1, 2)  # (B, N, C)
        centres = self.first_centres or points.shape[1] // 2
        for stage in self.stages:
            points, features = stage(points, features, centres)
            centres //= 2
        return self.head(highest(features, 1))


class _Stage(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, channels: int, out: int, before: int, after: int, shape: MlpShape) -> None:
        super().__init__()
        self.neighbours = shape.neighbours
        self.scale = nn.Parameter(torch.ones(1, 1, 1, channels))
        self.shift = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.transfer = Shared((2 * channels, out), bias=False)
        self.before = nn.Sequential(*[_Residual(out, shape.bottleneck) for _ in range(before)])
        self.after = nn.Sequential(*[_Residual(out, shape.bottleneck) for _ in range(after)])

    def forward(self, points: Tensor, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Points (B, N, 3) and features (B, N, C) -> centres (B, M, 3) and theirs (B, M, C')."""
        chosen = farthest_points(points, count)
        centres, anchors = gather(points, chosen), gather(features, chosen)[:, :, None]  # (B, M, 1, C)
        grouped = gather(features, nearest_points(points, centres, self.neighbours)) - anchors
        spread = grouped.flatten(1).std(dim=1)[:, None, None, None]
        grouped = self.scale * (grouped / (spread + 1e-5)) + self.shift
        x = torch.cat([grouped, anchors.expand_as(grouped)], dim=3)  # (B, M, K, 2C)
        x = self.before(self.transfer(x.flatten(0, 1).transpose(1, 2)))  # (B M, C', K)
        x = highest(x, 2).reshape(*centres.shape[:2], -1).transpose(1, 2)  # (B, C', M)
        return centres, self.after(x).transpose(1, 2)


class _Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, channels: int, bottleneck: float) -> None:
        super().__init__()
        inner = int(channels * bottleneck)
        self.first = Shared((channels, inner), bias=False)
        self.second = nn.Sequential(nn.Conv1d(inner, channels, 1, bias=False), nn.BatchNorm1d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + x)


def small_pointmlp(classes: int) -> PointMLP:
    """Return the miniature's network."""
    return PointMLP(classes, shape=SMALL_SHAPE, head=(128, 64), first_centres=64)
