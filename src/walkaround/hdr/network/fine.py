"""Stage 2: align and fuse features, reconstruct (Chen et al. 2021, arXiv:2103.14943, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from walkaround.hdr.network.coarse import Coarse
from walkaround.hdr.network.layers import DeformableAlignment, FrameAttention, ResidualBlock, conv, silent
from walkaround.hdr.network.options import NetworkOptions
from walkaround.hdr.network.tensors import GAMMA, inverse_mu_law, mu_law


class FineNetwork(nn.Module):  # type: ignore[misc]
    """Add to the blend, in the mu-law domain, what features of all frames say; zero when untrained."""

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
        self.skip = nn.Sequential(nn.PixelUnshuffle(2), conv(4 * 11, detail), nn.ReLU())
        self.detail = nn.Sequential(
            conv(detail, detail), nn.ReLU(), conv(detail, detail), nn.ReLU(), silent(conv(detail, 12)),
            nn.PixelShuffle(2),
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
        inputs = [blend, image, mu_law(coarse.classical) - blend, sure, coarse.candidates.trust[:, 0]]
        fine = self.rise(deep) + self.skip(torch.cat(inputs, dim=1))
        radiance = inverse_mu_law(blend + 0.1 * self.detail(fine))
        return keep_reference(radiance, image, exposure, self.kept_within)

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
