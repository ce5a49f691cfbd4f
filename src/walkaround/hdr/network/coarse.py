"""Stage 1: align and blend in image space (Chen et al. 2021, arXiv:2103.14943, section 3.2).

Untrained, it is a classical merge: the flow network's and the weight network's last layers are zero, so
that the motion is OpenCV's and the weights are exposure x support x agreement with the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from walkaround.hdr.network.layers import ResidualBlock, conv, silent
from walkaround.hdr.network.options import NetworkOptions
from walkaround.hdr.network.tensors import Windows, mu_law, radiance_of, recorded, support_of, warp

_UNWARPED = -2.5  # an unwarped neighbour is right only where nothing moves
_TOLERANCE = 0.05  # difference in the recorded curve that halves nothing yet; twice that is a ghost


class Candidates(NamedTuple):
    """K = 2 N - 1 pictures to blend: the reference, warped neighbours, neighbours as they are."""

    image: Tensor  # (B, K, 3, H, W)
    radiance: Tensor  # (B, K, 3, H, W)
    support: Tensor  # (B, K, 1, H, W)
    difference: Tensor  # (B, K, 3, H, W) to the reference, both at the longer exposure of the two
    prior: Tensor  # (B, K, 1, H, W) log weights of the classical merge


class Coarse(NamedTuple):
    """What stage 1 gives."""

    blend: Tensor  # (B, 3, H, W) radiance
    classical: Tensor  # (B, 3, H, W) radiance: the merge without the weight network
    weights: Tensor  # (B, K, 1, H, W)
    candidates: Candidates


class FlowNetwork(nn.Module):  # type: ignore[misc]
    """Mix two estimates of motion and correct them, at a quarter of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv(17, channels)
        self.down = conv(channels, 2 * channels, stride=2)
        self.deep = nn.Sequential(ResidualBlock(2 * channels), ResidualBlock(2 * channels))
        self.up = conv(2 * channels, channels)
        self.leave = silent(conv(channels, 3))

    def forward(self, reference: Tensor, neighbour: Tensor, motion: Tensor, support: Tensor) -> Tensor:
        """Return flow (B, 2, h, w) in pixels of the full size.

        Parameters
        ----------
        reference, neighbour
            (B, 3, h, w) at one exposure, a quarter of the size.
        motion
            (B, 2, 2, h, w): direct, through; pixels of the full size.
        support
            (B, 1, h, w) of the reference.
        """
        direct, through = motion[:, 0], motion[:, 1]
        seen = [warp(neighbour, 0.25 * flow) for flow in (direct, through)]
        gap = (direct - through) / 8.0
        inputs = [reference, *seen, *(image - reference for image in seen), gap.clamp(-4, 4)]
        x = torch.relu(self.enter(torch.cat(inputs, dim=1)))
        wide = self.deep(torch.relu(self.down(x)))
        wide = F.interpolate(wide, size=x.shape[-2:], mode="bilinear", align_corners=False)
        raw = self.leave(x + torch.relu(self.up(wide)))
        share = torch.sigmoid(raw[:, 2:] + 12.0 * (support - 0.3))
        return share * direct + (1.0 - share) * through + 4.0 * raw[:, :2]


class CoarseNetwork(nn.Module):  # type: ignore[misc]
    """Flow network, candidates, weight network, blend."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        width = options.weight_channels
        self.flow = FlowNetwork(options.flow_channels)
        self.weigh = nn.Sequential(
            nn.PixelUnshuffle(2), conv(4 * 15, 2 * width), nn.ReLU(), conv(2 * width, width), nn.ReLU(),
            silent(conv(width, 4)), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, windows: Windows) -> Coarse:
        """Blend (B, N, 3, H, W)."""
        found = gather_candidates(windows, self._motion(windows))
        classical = (torch.softmax(found.prior, dim=1) * found.radiance).sum(dim=1)
        batch, count = found.image.shape[:2]
        around = mu_law(classical)[:, None].expand(-1, count, -1, -1, -1)
        level = found.prior.new_zeros(found.support.shape)
        reference = mu_law(found.radiance[:, :1]).expand(-1, count, -1, -1, -1)
        inputs = torch.cat(
            [
                mu_law(found.radiance) - around, found.difference, found.support,
                (found.prior / 6.0).clamp(min=-2.0), around, reference - around,
                level + found.support[:, :1],
            ],
            dim=2,
        )  # fmt: skip
        change = self.weigh(inputs.flatten(0, 1)).unflatten(0, (batch, count))
        weights = torch.softmax(found.prior + 4.0 * change, dim=1)
        blend = (weights * found.radiance).sum(dim=1)
        return Coarse(blend=blend, classical=classical, weights=weights, candidates=found)

    def _motion(self, windows: Windows) -> Tensor:
        """Return flow (B, N - 1, 2, H, W) of all neighbours."""
        image, exposure, motion = windows
        batch, count, _, height, width = image.shape
        small = F.avg_pool2d(image.flatten(0, 1), 4).unflatten(0, (batch, count))
        coarse = F.avg_pool2d(motion.flatten(0, 2), 2).unflatten(0, (batch, count - 1, 2))
        middle = count // 2
        flows = []
        for number, place in enumerate(n for n in range(count) if n != middle):
            level = torch.maximum(exposure[:, middle], exposure[:, place]).view(-1, 1, 1, 1)
            pair = [
                recorded(radiance_of(small[:, n], exposure[:, n].view(-1, 1, 1, 1)), level)
                for n in (middle, place)
            ]
            flow = self.flow(*pair, coarse[:, number], support_of(small[:, middle]))
            flows.append(F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False))
        return torch.stack(flows, dim=1)


def gather_candidates(windows: Windows, motion: Tensor) -> Candidates:
    """Warp the neighbours and judge all candidates as a classical merge would."""
    image, exposure = windows.image, windows.exposure
    count = image.shape[1]
    middle = count // 2
    order = [middle, *(n for n in range(count) if n != middle)]
    others = order[1:]
    warped = [warp(image[:, place], motion[:, number]) for number, place in enumerate(others)]
    images = torch.stack([image[:, middle], *warped, *(image[:, place] for place in others)], dim=1)
    times = exposure[:, [*order, *others]].view(len(image), -1, 1, 1, 1)
    radiance = radiance_of(images, times)
    support = support_of(images)
    level = torch.maximum(times, times[:, :1])
    difference = recorded(radiance, level) - recorded(radiance[:, :1], level)
    bias = torch.zeros_like(times)
    bias[:, count:] = _UNWARPED
    size = torch.sqrt(_smoothed(difference).square().mean(dim=2, keepdim=True) + 1e-8)
    prior = torch.log(times / times.amax(dim=1, keepdim=True) * support + 1e-4) + bias
    prior = prior - (size / _TOLERANCE).square().clamp(max=16.0)
    return Candidates(image=images, radiance=radiance, support=support, difference=difference, prior=prior)


def _smoothed(difference: Tensor) -> Tensor:
    """Average over 5x5 pixels, so that noise does not look like a ghost."""
    flat = F.pad(difference.flatten(0, 1), (2, 2, 2, 2), mode="replicate")
    return F.avg_pool2d(flat, 5, stride=1).view_as(difference)
