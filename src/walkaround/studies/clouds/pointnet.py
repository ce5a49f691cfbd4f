"""PointNet: dense layers at each point, one maximum over all (Qi et al. 2017, arXiv:1612.00593)."""

from __future__ import annotations

import torch
from torch import nn

from walkaround.studies.clouds.layers import CloudNetwork, Head, Shared, Tensor, highest, wide


class PointNet(CloudNetwork):
    """PointNet with its two transform networks.

    Parameters
    ----------
    classes
        Scores a cloud.
    width
        Share of the paper's channels; 1 is the paper's network.
    orthogonality
        Weight of the paper's term that keeps the feature transform near a rotation.
    """

    def __init__(self, classes: int, *, width: float = 1.0, orthogonality: float = 0.001) -> None:
        super().__init__()
        local, middle, top, low, lower = wide((64, 128, 1024, 512, 256), width)
        self.orthogonality = orthogonality
        self.input_transform = _Transform(3, (local, middle, top), (low, lower))
        self.first = Shared((3, local, local))
        self.feature_transform = _Transform(local, (local, middle, top), (low, lower))
        self.second = Shared((local, local, middle, top))
        self.head = Head((top, low, lower), classes, dropout=(0.0, 0.3))
        self._last_transform: Tensor | None = None

    def forward(self, points: Tensor) -> Tensor:
        x = points.transpose(1, 2)  # (B, 3, N)
        x = self.first(self.input_transform(x) @ x)
        transform = self.feature_transform(x)
        self._last_transform = transform if self.training else None
        return self.head(highest(self.second(transform @ x), 2))

    def penalty(self) -> Tensor:
        """Return the weighted squared distance of the last feature transform from an orthogonal matrix."""
        if self._last_transform is None:
            return 0.0
        a = self._last_transform
        off = a @ a.transpose(1, 2) - torch.eye(a.shape[1], device=a.device)
        return self.orthogonality * 0.5 * off.square().sum(dim=(1, 2)).mean()


class _Transform(nn.Module):  # type: ignore[misc, unused-ignore]
    """A small PointNet that gives each cloud a (size, size) matrix, the identity at first."""

    def __init__(self, size: int, widths: tuple[int, int, int], head: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.shared = Shared((size, *widths))
        self.head = Head((widths[-1], *head), size * size, dropout=(0.0, 0.0))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        change = self.head(highest(self.shared(x), 2)).reshape(-1, self.size, self.size)
        return change + torch.eye(self.size, device=x.device)
