"""Building blocks: convolutions, residual blocks, modulated deformable sampling, attention over frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from walkaround.hdr.network.tensors import warp


def conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size (or halves it)."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer to zero: what it adds is nothing until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two convolutions added to the input; the second starts small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels), conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return x + self.second(torch.relu(self.first(x)))


class DeformableAlignment(nn.Module):  # type: ignore[misc]
    """Bring a neighbour's features to the reference: nine samples a pixel at learned places, weighted.

    Modulated deformable convolution (Zhu et al. 2019, arXiv:1811.11168), written with bilinear sampling in
    plain torch: the samples of a regular 3x3 grid are shifted by offsets and scaled by weights that a small
    network sees in both feature maps; a 1x1 convolution then mixes samples and channels.
    """

    TAPS = 9

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Sequential(conv(2 * channels, channels), nn.ReLU())
        self.offsets = silent(conv(channels, 3 * self.TAPS))
        self.mix = nn.Conv2d(self.TAPS * channels, channels, 1)
        steps = torch.tensor([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])
        self.register_buffer("grid", steps.view(self.TAPS, 2, 1, 1), persistent=False)

    def forward(self, neighbour: Tensor, reference: Tensor) -> Tensor:
        """Align (B, C, h, w) to (B, C, h, w)."""
        raw = self.offsets(self.look(torch.cat([neighbour, reference], dim=1)))
        batch, _, height, width = raw.shape
        raw = raw.view(batch, self.TAPS, 3, height, width)
        samples = []
        for tap in range(self.TAPS):
            sample = warp(neighbour, raw[:, tap, :2] + self.grid[tap])
            samples.append(sample * (2.0 * torch.sigmoid(raw[:, tap, 2:])))
        return torch.as_tensor(self.mix(torch.cat(samples, dim=1)))


class FrameAttention(nn.Module):  # type: ignore[misc]
    """Fuse any number of aligned feature maps: a softmax over frames of their likeness to the reference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.scale = channels**-0.5

    def forward(self, frames: Tensor, reference: Tensor) -> Tensor:
        """Fuse (B, N, C, h, w) around (B, C, h, w); returns (B, C, h, w)."""
        batch, count, channels, height, width = frames.shape
        flat = frames.reshape(batch * count, channels, height, width)
        keys = self.key(flat).view_as(frames)
        values = self.value(flat).view_as(frames)
        query = self.query(reference)[:, None]
        share = torch.softmax((query * keys).sum(dim=2, keepdim=True) * self.scale, dim=1)
        return (share * values).sum(dim=1)
