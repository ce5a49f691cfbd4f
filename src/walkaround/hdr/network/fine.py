"""Stage 2: align and fuse features, reconstruct (Chen et al. 2021, arXiv:2103.14943, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from walkaround.hdr.network.coarse import Coarse
from walkaround.hdr.network.layers import DeformableAlignment, FrameAttention, ResidualBlock, conv, silent
from walkaround.hdr.network.options import NetworkOptions
from walkaround.hdr.network.tensors import GAMMA, MU, inverse_mu_law, mu_law

_REACH = 2
AROUND = tuple((x, y) for d in (1, 2) for y in (-d, 0, d) for x in (-d, 0, d) if (x, y) != (0, 0))
"""Steps (x, y) to the pixels that a filter sees: 8 next to the middle, 8 two away."""


class FineNetwork(nn.Module):  # type: ignore[misc]
    """Change the blend, in the mu-law domain, by what features of all frames say; nothing when untrained.

    Two things are added to a pixel: a residual, and differences to 16 pixels around it, each times a number
    that the network gives for that place (dynamic filters: Jia et al. 2016, arXiv:1605.09673). Noise in the
    blend is small beside its edges: filters learned to average it away within a hundred steps, where a
    residual alone had learned nothing after 500. Negative numbers sharpen what interpolation has smoothed.
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.kept_within = options.kept_within
        features, body, detail = options.feature_channels, options.body_channels, options.detail_channels
        self.encode = nn.Sequential(
            nn.PixelUnshuffle(4), conv(16 * 7, features), nn.ReLU(), conv(features, features)
        )
        self.align = DeformableAlignment(features)
        self.attend = FrameAttention(features)
        self.enter = nn.Sequential(conv(2 * features + 16 * 4, body), nn.ReLU())
        self.body = nn.Sequential(*(ResidualBlock(body) for _ in range(options.num_blocks)))
        self.rise = nn.Sequential(nn.Conv2d(body, 4 * detail, 1), nn.PixelShuffle(2))
        self.skip = nn.Sequential(nn.PixelUnshuffle(2), conv(4 * 15, detail), nn.ReLU())
        self.detail = nn.Sequential(
            conv(detail, detail), nn.ReLU(), conv(detail, detail), nn.ReLU(),
            silent(conv(detail, 4 * (3 + len(AROUND)))), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, coarse: Coarse, exposure: Tensor) -> Tensor:
        """Return radiance (B, 3, H, W).

        Parameters
        ----------
        exposure
            (B,) of the reference.
        """
        fused, reference = self._fuse(coarse)
        image = coarse.candidates.image[:, 0]
        blend = mu_law(coarse.blend)
        sure = (coarse.weights.mean(dim=2, keepdim=True) * coarse.candidates.trust).sum(dim=1)
        wide = nn.functional.pixel_unshuffle(torch.cat([blend, sure], dim=1), 4)
        deep = self.body(self.enter(torch.cat([fused, reference, wide], dim=1)))
        noise = expected_noise(coarse)
        inputs = [
            blend, image, mu_law(coarse.classical) - blend, sure, noise.log().mean(dim=1, keepdim=True) + 5.0,
            coarse.candidates.trust[:, 0], ((blend - _blurred(blend)) / noise).clamp(-6.0, 6.0),
        ]  # fmt: skip
        raw = self.detail(self.rise(deep) + self.skip(torch.cat(inputs, dim=1)))
        changed = blend + 0.1 * raw[:, :3] + 0.5 * filter_around(blend, raw[:, 3:])
        return keep_reference(inverse_mu_law(changed), image, exposure, self.kept_within)

    def _fuse(self, coarse: Coarse) -> tuple[Tensor, Tensor]:
        """Return fused features and the reference's, (B, C, H / 4, W / 4)."""
        found = coarse.candidates
        frames = (found.image.shape[1] + 1) // 2  # the reference and the warped neighbours
        parts = [mu_law(found.radiance[:, :frames]), found.image[:, :frames], found.trust[:, :frames]]
        inputs = torch.cat(parts, dim=2)
        features = self.encode(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        reference = features[:, 0]
        aligned = [self.align(features[:, n], reference) for n in range(1, frames)]
        return self.attend(torch.stack([reference, *aligned], dim=1), reference), reference


def filter_around(image: Tensor, factors: Tensor) -> Tensor:
    """Return the sum of differences to the pixels of :data:`AROUND`, (B, 3, H, W), times (B, 16, H, W)."""
    height, width = image.shape[-2:]
    padded = nn.functional.pad(image, (_REACH, _REACH, _REACH, _REACH), mode="replicate")
    total = torch.zeros_like(image)
    for number, (x, y) in enumerate(AROUND):
        top, left = _REACH + y, _REACH + x
        moved = padded[..., top : top + height, left : left + width]
        total = total + factors[:, number : number + 1] * (moved - image)
    return total


def expected_noise(coarse: Coarse) -> Tensor:
    """Return the standard deviation of the fusion's result (B, 3, H, W) in the mu-law, from its weights."""
    precision = torch.logsumexp(coarse.candidates.prior, dim=1)
    spread = torch.exp(-0.5 * precision) / coarse.candidates.longest
    slope = MU / (1.0 + MU * coarse.classical) / math.log1p(MU)
    return (spread * slope).clamp(1e-4, 0.2)


def _blurred(image: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)


def keep_reference(radiance: Tensor, image: Tensor, exposure: Tensor, within: float) -> Tensor:
    """Hold the result near the reference where that is well exposed.

    In the recorded curve, the result may differ from the reference by ``within`` where the reference is
    between 0.35 and 0.85, and by anything where it is below 0.2 or above 0.95.
    """
    top, low = image.amax(dim=1, keepdim=True), image.amin(dim=1, keepdim=True)
    keep = ((0.95 - top) / 0.1).clamp(0.0, 1.0) * ((low - 0.2) / 0.15).clamp(0.0, 1.0)
    slack = within / keep.clamp(min=within)  # 1 where nothing is kept
    times = exposure.view(-1, 1, 1, 1)
    lowest = (image - slack).clamp(min=0.0) ** GAMMA / times
    highest = torch.where(keep > 0, (image + slack) ** GAMMA / times, torch.full_like(image, 4.0))
    return torch.minimum(torch.maximum(radiance, lowest), highest)
