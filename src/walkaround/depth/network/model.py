"""The network: feature pyramid, two plane sweeps, 3-D regularisation, soft argmin."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from walkaround.depth.network.options import NetworkOptions
from walkaround.depth.network.sweep import Stereo, even_planes, variance_volume

MULTIPLE = 16
"""Height and width of the images are multiples of this."""


class Estimate(NamedTuple):
    """What a sweep finds."""

    inverse: Tensor  # (B, h, w) inverse depth
    confidence: Tensor  # (B, h, w) 0..1: probability near the estimate
    spacing: Tensor  # (B,) between its planes
    planes: Tensor  # (B, D, h, w) inverse depths that were tried
    probability: Tensor  # (B, D, h, w) of each
    features: Tensor  # (B, N, C, h, w) that it compared


class StereoNetwork(nn.Module):  # type: ignore[misc]
    """MVSNet (Yao et al. 2018, arXiv:1804.02505), small; a cascade as Gu et al. 2020 (arXiv:1912.06378).

    The first sweep goes over the whole range of inverse depth at a quarter of the size, the second around
    its result at half the size. What differs from the papers: grey levels, a tenth of the channels, planes
    even in inverse depth, and group instead of batch normalisation, so that one sample is a batch.
    """

    def __init__(self, options: NetworkOptions | None = None) -> None:
        super().__init__()
        self.options = options or NetworkOptions()
        o = self.options
        self.features = FeaturePyramid(o.coarse_channels, o.fine_channels)
        self.coarse = Regularisation(o.coarse_channels, o.volume_channels)
        self.fine = Regularisation(o.fine_channels, o.volume_channels)

    def forward(self, stereo: Stereo, planes: int = 0) -> tuple[Estimate, Estimate]:
        """Estimate the depth of the references at a quarter and at half the size.

        Parameters
        ----------
        stereo
            Height and width are multiples of MULTIPLE.
        planes
            Of the first sweep; 0 takes what training took. A wider range or larger images want more.
        """
        coarse_features, fine_features = self.features(stereo.images)
        inverse, spacing = even_planes(stereo.inverse_range, planes or self.options.planes)
        h, w = coarse_features.shape[-2:]
        inverse = inverse[:, :, None, None].expand(-1, -1, h, w)
        first = _sweep(coarse_features, stereo, inverse, spacing, self.coarse)
        h, w = fine_features.shape[-2:]
        near = enlarge(first.inverse.detach(), (h, w))
        count = self.options.fine_planes
        steps = torch.arange(count, device=near.device) - 0.5 * (count - 1)
        around = near[:, None] + (0.5 * spacing[:, None] * steps)[:, :, None, None]
        around = around.clamp(min=1e-6)  # in front of the camera
        second = _sweep(fine_features, stereo, around, 0.5 * spacing, self.fine)
        sure = second.confidence * enlarge(first.confidence, (h, w))
        return first, second._replace(confidence=sure)


class FeaturePyramid(nn.Module):  # type: ignore[misc]
    """Features at a quarter and at half of the size of grey images.

    Halving is done by 4x4 kernels: their outputs lie in the middle of two by two pixels, as the pixels of
    the halved image do. A 3x3 or 5x5 kernel would lie half a pixel beside.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.at_full = _flat(1, 8)
        self.at_half = nn.Sequential(_flat(8, 16, halve=True), _flat(16, 16))
        self.at_quarter = nn.Sequential(_flat(16, 32, halve=True), _flat(32, 32), _flat(32, 32))
        self.coarse = nn.Conv2d(32, coarse, 1)
        self.down, self.across = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 16, 1)
        self.fine = nn.Conv2d(16, fine, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, N, 1, H, W) to (B, N, coarse, H / 4, W / 4) and (B, N, fine, H / 2, W / 2), float32."""
        batch, count = images.shape[:2]
        half = self.at_half(self.at_full(images.flatten(0, 1)))
        quarter = self.at_quarter(half)
        merged = self.across(half) + F.interpolate(self.down(quarter), scale_factor=2.0, mode="nearest")
        coarse, fine = self.coarse(quarter).float(), self.fine(merged).float()
        return coarse.unflatten(0, (batch, count)), fine.unflatten(0, (batch, count))


class Regularisation(nn.Module):  # type: ignore[misc]
    """A 3-D U-Net from the cost volume to a score of each plane at each pixel."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        c = channels
        self.first = _solid(inputs, c)
        self.second = nn.Sequential(_solid(c, 2 * c, stride=2), _solid(2 * c, 2 * c))
        self.third = nn.Sequential(_solid(2 * c, 4 * c, stride=2), _solid(4 * c, 4 * c))
        self.up_second, self.up_first = nn.Conv3d(4 * c, 2 * c, 1), nn.Conv3d(2 * c, c, 1)
        self.mix = _solid(2 * c, 2 * c)
        self.score = nn.Conv3d(c, 1, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (B, C, D, h, w) to (B, D, h, w); a higher score is a better match."""
        first = self.first(volume)
        second = self.second(first)
        third = self.third(second)
        second = self.mix(second + _grown(self.up_second(third), second))
        first = torch.relu(first + _grown(self.up_first(second), first))
        return torch.as_tensor(self.score(first)[:, 0].float())


def enlarge(values: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resize (B, h, w) maps linearly; pixels are squares with the centre in the middle, as in COLMAP."""
    return F.interpolate(values[:, None], size=size_hw, mode="bilinear", align_corners=False)[:, 0]


def _sweep(
    features: Tensor, stereo: Stereo, inverse: Tensor, spacing: Tensor, regularise: Regularisation
) -> Estimate:
    volume = variance_volume(features, stereo, inverse)
    probability = torch.softmax(regularise(volume), dim=1)
    estimate = (probability * inverse).sum(dim=1)
    near = (inverse - estimate[:, None]).abs() <= 2.0 * spacing[:, None, None, None]
    confidence = (probability * near).sum(dim=1)
    return Estimate(
        inverse=estimate, confidence=confidence, spacing=spacing, planes=inverse, probability=probability,
        features=features,
    )  # fmt: skip


def _grown(small: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(small, size=like.shape[2:], mode="nearest")


def _flat(inputs: int, outputs: int, *, halve: bool = False) -> nn.Sequential:
    size = {"kernel_size": 4, "stride": 2} if halve else {"kernel_size": 3}
    conv = nn.Conv2d(inputs, outputs, padding=1, bias=False, **size)
    return nn.Sequential(conv, nn.GroupNorm(4, outputs), nn.ReLU(inplace=True))


def _solid(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(4, outputs), nn.ReLU(inplace=True))
