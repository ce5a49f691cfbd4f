"""The network: features of pictures, aggregation over views, density along a ray, blended colours.

After IBRNet (Wang et al. 2021, arXiv:2102.13090), smaller: one network serves the coarse and the fine look.
Tensors have channels before samples, ``(V, C, N)`` for V pictures and N samples of all rays, so that the
reductions over views run over memory in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from walkaround.radiance.options import NetworkOptions

_DIRECTIONS = 4
_WAVES = 4
_FAINT = -2.0
"""What a density starts from, before the sigmoid: rays go through several samples at first."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the pictures show at samples of rays."""

    values: Tensor  # (V, 3 + features, N); colours 0..1 first
    directions: Tensor  # (V, 4, N): difference of the directions of view (unit or 0), their cosine
    inside: Tensor  # (V, 1, N) 1 where the sample lies in the picture, before its camera; else 0


class FeatureNetwork(nn.Module):  # type: ignore[misc]
    """Pictures (V, 3, H, W) of 0..1 to features (V, F, H/2, W/2) that see about 40 pixels around."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.sharp = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.wide = nn.Sequential(
            nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.ReLU(),
            nn.Conv2d(32, 16, 3, padding=1),
        )  # fmt: skip
        self.last = nn.Conv2d(16, features, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features; half a picture's size, its odd last row and column are seen in part."""
        sharp = self.sharp(2 * images - 1)
        wide = functional.interpolate(
            self.wide(sharp), size=sharp.shape[2:], mode="bilinear", align_corners=False
        )
        found: Tensor = self.last(functional.relu(sharp + wide))
        return found


class Pointwise(nn.Linear):  # type: ignore[misc]
    """A linear map of the channels of (V, C, N): faster on a CPU than a convolution of one pixel."""

    def forward(self, values: Tensor) -> Tensor:
        """Return (V, D, N)."""
        weight = self.weight.expand(len(values), -1, -1)
        if self.bias is None:
            return torch.bmm(weight, values)
        return torch.baddbmm(self.bias[:, None], weight, values)


class RadianceNetwork(nn.Module):  # type: ignore[misc]
    """See :mod:`walkaround.radiance`; :meth:`forward` takes what was gathered along rays."""

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        self.options.check()
        width, ray = self.options.width, self.options.ray_width
        channels = 3 + self.options.features
        self.pictures = FeatureNetwork(self.options.features)
        self.own = Pointwise(channels, width)
        self.turned = Pointwise(_DIRECTIONS, width, bias=False)
        self.others = nn.Linear(2 * channels, width, bias=False)
        self.mixed = Pointwise(width, width)
        self.visible = Pointwise(width, 1)
        self.surface = nn.Sequential(nn.Linear(2 * width + 1, 2 * ray), nn.ReLU(), nn.Linear(2 * ray, ray))
        self.trust = nn.Sequential(Pointwise(width + _DIRECTIONS, 16), nn.ReLU(), Pointwise(16, 1))
        self.nearness = nn.Parameter(torch.tensor(10.0))
        self.along = RayMixer(ray, self.options.ray_heads)

    def forward(self, seen: Gathered, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each sample stops of its ray, (R, S) of 0..1, and its colour, (R, S, 3).

        Parameters
        ----------
        places
            (R, S) of 0..1, from near to far in inverse depth, rising.
        """
        rays, samples = places.shape
        values, inside = seen.values, seen.inside
        nearness = self.nearness.abs() * (seen.directions[:, 3:] - 1)
        mean, deviation = _moments(values, _shares(nearness, inside))
        both = self.others(torch.cat([mean, deviation]).t()).t()  # (width, N)
        hidden = functional.relu(self.own(values) + self.turned(seen.directions) + both)
        hidden = hidden + functional.relu(self.mixed(hidden))
        visible = torch.sigmoid(self.visible(hidden)) * inside
        total = visible.sum(dim=0, keepdim=True)
        mean, deviation = _moments(hidden, visible / (total + 1e-6))
        count = inside.sum(dim=0)
        pooled = torch.cat([mean, deviation, total[0] / count.clamp(min=1)])
        on_ray = self.surface(pooled.t()).view(rays, samples, -1)
        stopped = self.along(on_ray, places)
        stopped = stopped * (count.view(rays, samples) > 0)
        logits = self.trust(torch.cat([hidden, seen.directions], dim=1)) + nearness
        colour = (values[:, :3] * _shares(logits, inside)).sum(dim=0)  # (3, N)
        return stopped, colour.t().view(rays, samples, 3)


class RayMixer(nn.Module):  # type: ignore[misc]
    """One layer of attention between the samples of a ray, then what each of them stops."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Linear(2 * _WAVES + 2, width)
        self.before = nn.LayerNorm(width)
        self.queries = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.after = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU())
        self.stop = nn.Linear(2 * width, 1)

    def forward(self, samples: Tensor, places: Tensor) -> Tensor:
        """Return (R, S) of 0..1 from (R, S, width)."""
        rays, count, width = samples.shape
        samples = samples + self.place(_waves(places))
        packed = self.queries(self.before(samples)).view(rays, count, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        # written out: for so few channels the fused form is slower
        likeness = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3))
        mixed = torch.matmul(torch.softmax(likeness, dim=-1), value)
        samples = samples + self.out(mixed.transpose(1, 2).reshape(rays, count, width))
        found: Tensor = torch.sigmoid(self.stop(self.after(samples))[..., 0] + _FAINT)
        return found


def _waves(places: Tensor) -> Tensor:
    """Describe where samples lie and how densely: (R, S) to (R, S, 2 waves + 2)."""
    octaves = 2.0 ** torch.arange(_WAVES, device=places.device, dtype=places.dtype) * math.pi
    angle = places[..., None] * octaves
    step = torch.diff(places, dim=1)
    step = torch.cat([step, step[:, -1:]], dim=1)
    density = torch.log(step.clamp(min=1e-5))[..., None] / 4 + 1
    return torch.cat([angle.sin(), angle.cos(), places[..., None], density], dim=-1)


def _shares(logits: Tensor, inside: Tensor) -> Tensor:
    """Softmax over the pictures that see a sample; all 0 where none does."""
    shifted = logits.masked_fill(inside == 0, -1e4)
    return torch.softmax(shifted, dim=0) * inside


def _moments(values: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation over views of (V, C, N): (C, N) each."""
    mean = (values * shares).sum(dim=0)
    variance = ((values - mean) ** 2 * shares).sum(dim=0)
    return mean, torch.sqrt(variance + 1e-5)


def num_parameters(network: Any) -> int:
    """Return how many numbers a network has."""
    return sum(part.numel() for part in network.parameters())
