"""PointNet++ with one scale a level (SSG): PointNets on balls (Qi et al. 2017, arXiv:1706.02413)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from walkaround.studies.clouds.layers import CloudNetwork, Head, Shared, Tensor, highest, wide
from walkaround.studies.clouds.neighbours import ball_query, farthest_points, gather


@dataclass(frozen=True, kw_only=True)
class Level:
    """One set abstraction."""

    centres: int
    """Balls a cloud, around its farthest points."""
    radius: float
    """In units of the cloud's radius."""
    neighbours: int
    """Points taken from each ball."""
    widths: tuple[int, ...]
    """Channels of its dense layers."""


PAPER_LEVELS = (
    Level(centres=512, radius=0.2, neighbours=32, widths=(64, 64, 128)),
    Level(centres=128, radius=0.4, neighbours=64, widths=(128, 128, 256)),
)
SMALL_LEVELS = (
    Level(centres=64, radius=0.3, neighbours=16, widths=(64, 64, 128)),
    Level(centres=16, radius=0.6, neighbours=16, widths=(128, 128, 256)),
)


class PointNet2(CloudNetwork):
    """PointNet++ (SSG).

    Parameters
    ----------
    classes
        Scores a cloud.
    width
        Share of the paper's channels.
    levels
        The set abstractions before the last, which takes all points at once.
    """

    def __init__(self, classes: int, *, width: float = 1.0, levels: tuple[Level, ...] = PAPER_LEVELS) -> None:
        super().__init__()
        channels = 0
        self.levels = nn.ModuleList()
        for level in levels:
            widths = wide(level.widths, width)
            self.levels.append(_SetAbstraction(channels, level, widths))
            channels = widths[-1]
        top, low, lower = wide((1024, 512, 256), width)
        self.last = Shared((channels + 3, lower, low, top))
        self.head = Head((top, low, lower), classes, dropout=(0.5, 0.5))

    def forward(self, points: Tensor) -> Tensor:
        features = None  # (B, M, C)
        for level in self.levels:
            points, features = level(points, features)
        x = torch.cat([points, features], dim=2).transpose(1, 2)
        return self.head(highest(self.last(x), 2))


class _SetAbstraction(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, channels: int, level: Level, widths: list[int]) -> None:
        super().__init__()
        self.level = level
        self.shared = Shared((channels + 3, *widths), dims=2)

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Points (B, N, 3) and features (B, N, C) -> centres (B, M, 3) and theirs (B, M, C')."""
        level = self.level
        centres = gather(points, farthest_points(points, level.centres))
        index = ball_query(points, centres, level.radius, level.neighbours)  # (B, M, K)
        grouped = gather(points, index) - centres[:, :, None]
        if features is not None:
            grouped = torch.cat([grouped, gather(features, index)], dim=3)
        x = self.shared(grouped.permute(0, 3, 1, 2))  # (B, C', M, K)
        return centres, highest(x, 3).transpose(1, 2)
