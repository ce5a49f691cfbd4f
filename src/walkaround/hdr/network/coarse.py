"""Stage 1: align and blend in image space (Chen et al. 2021, arXiv:2103.14943, section 3.2).

Motion, agreement and weights begin as those of the classical fusion (:mod:`walkaround.hdr.fusion`). The
flow network corrects the motion, the weight network the weights; their last layers start at zero, so that
the untrained stage is the fusion, but for a trace of the neighbours as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from walkaround.hdr.network.layers import ResidualBlock, conv, silent
from walkaround.hdr.network.options import NetworkOptions
from walkaround.hdr.network.tensors import (
    Windows,
    mu_law,
    precision_of,
    radiance_of,
    recorded,
    trust_of,
    unclipped,
    warp,
)

_UNWARPED = -10.0  # log share of a neighbour as it is: right only where nothing moves
_TOLERANCE = 0.05  # of the recorded curve, for a neighbour as it is
_LEAST_TRUST = 1e-3  # in a saturated pixel of the shortest exposure, as the fusion has it
_LEAST_AGREEMENT = 1e-4  # of a shorter neighbour
_SATURATED = 0.995


class Candidates(NamedTuple):
    """K = 2 N - 1 pictures to blend: the reference, warped neighbours, neighbours as they are."""

    image: Tensor  # (B, K, 3, H, W)
    radiance: Tensor  # (B, K, 3, H, W)
    trust: Tensor  # (B, K, 1, H, W) 0..1: agrees and is not saturated
    difference: Tensor  # (B, K, 3, H, W) to the reference, both at the longer exposure of the two
    prior: Tensor  # (B, K, 3, H, W) log weights of the fusion
    longest: Tensor  # (B, 1, 1, 1) longest exposure


class Coarse(NamedTuple):
    """What stage 1 gives."""

    blend: Tensor  # (B, 3, H, W) radiance
    classical: Tensor  # (B, 3, H, W) radiance: before the weight network
    weights: Tensor  # (B, K, 3, H, W)
    candidates: Candidates


class FlowNetwork(nn.Module):  # type: ignore[misc]
    """Correct the motion to one neighbour, at a quarter of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv(12, channels)
        self.down = conv(channels, 2 * channels, stride=2)
        self.deep = nn.Sequential(ResidualBlock(2 * channels), ResidualBlock(2 * channels))
        self.up = conv(2 * channels, channels)
        self.leave = silent(conv(channels, 2))

    def forward(self, reference: Tensor, neighbour: Tensor, motion: Tensor, known: Tensor) -> Tensor:
        """Return what to add to the motion, (B, 2, h, w) in pixels of the full size.

        Parameters
        ----------
        reference, neighbour
            (B, 3, h, w) at one exposure, a quarter of the size.
        motion
            (B, 2, h, w) so far, in pixels of the full size.
        known
            (B, 3, h, w): agreement of both, trust in the reference, trust in the neighbour.
        """
        seen = warp(neighbour, 0.25 * motion)
        x = torch.relu(self.enter(torch.cat([reference, seen, seen - reference, known], dim=1)))
        wide = self.deep(torch.relu(self.down(x)))
        wide = F.interpolate(wide, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.as_tensor(4.0 * self.leave(x + torch.relu(self.up(wide))))


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
        found = gather_candidates(windows, windows.motion + self._correction(windows))
        classical = blend_candidates(found, found.prior)
        batch, count = found.image.shape[:2]
        around = mu_law(classical)[:, None].expand(-1, count, -1, -1, -1)
        reference = mu_law(found.radiance[:, :1]).expand(-1, count, -1, -1, -1)
        inputs = torch.cat(
            [
                mu_law(found.radiance) - around, 4.0 * found.difference, found.trust,
                (found.prior.mean(dim=2, keepdim=True) / 6.0).clamp(min=-2.0), around, reference - around,
                found.trust[:, :1].expand(-1, count, -1, -1, -1),
            ],
            dim=2,
        )  # fmt: skip
        change = self.weigh(inputs.flatten(0, 1)).unflatten(0, (batch, count))
        logits = found.prior + 4.0 * change
        return Coarse(
            blend=blend_candidates(found, logits),
            classical=classical,
            weights=torch.softmax(logits, dim=1),
            candidates=found,
        )

    def _correction(self, windows: Windows) -> Tensor:
        """Return what to add to the motion of all neighbours, (B, N - 1, 2, H, W)."""
        image, exposure, motion, agreement = windows
        batch, count, _, height, width = image.shape
        small = F.avg_pool2d(image.flatten(0, 1), 4).unflatten(0, (batch, count))
        coarse = F.avg_pool2d(motion.flatten(0, 1), 4).unflatten(0, (batch, count - 1))
        agreed = F.avg_pool2d(agreement.flatten(0, 1), 4).unflatten(0, (batch, count - 1))
        sure = trust_of(small).amin(dim=2, keepdim=True)
        middle = count // 2
        flows = []
        for number, place in enumerate(n for n in range(count) if n != middle):
            level = torch.maximum(exposure[:, middle], exposure[:, place]).view(-1, 1, 1, 1)
            pair = [
                recorded(radiance_of(small[:, n], exposure[:, n].view(-1, 1, 1, 1)), level)
                for n in (middle, place)
            ]
            known = torch.cat([agreed[:, number], sure[:, middle], sure[:, place]], dim=1)
            flow = self.flow(*pair, coarse[:, number], known)
            flows.append(F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False))
        return torch.stack(flows, dim=1)


def gather_candidates(windows: Windows, motion: Tensor) -> Candidates:
    """Warp the neighbours and weigh all candidates as the fusion does."""
    image, exposure = windows.image, windows.exposure
    count = image.shape[1]
    middle = count // 2
    order = [middle, *(n for n in range(count) if n != middle)]
    others = order[1:]
    warped = [
        warp(image[:, place], motion[:, number], "bicubic").clamp(0.0, 1.0)
        for number, place in enumerate(others)
    ]
    images = torch.stack([image[:, middle], *warped, *(image[:, place] for place in others)], dim=1)
    times = exposure[:, [*order, *others]].view(len(image), -1, 1, 1, 1)
    radiance = radiance_of(images, times)
    level = torch.maximum(times, times[:, :1])
    difference = recorded(radiance, level) - recorded(radiance[:, :1], level)
    agreement = _agreements(windows.agreement, times)
    trust = trust_of(images)
    floor = _LEAST_TRUST * (times == times.amin(dim=1, keepdim=True)).float()
    weights = precision_of(images, times) * torch.maximum(trust, floor) * agreement
    weights = torch.where(times > times[:, :1], weights * unclipped(images), weights)
    prior = torch.log(weights / times.amax(dim=1, keepdim=True).square() + 1e-7)
    still = _UNWARPED - (_smoothed(difference[:, count:]) / _TOLERANCE).square().clamp(max=16.0)
    prior = torch.cat([prior[:, :count], prior[:, count:] + still], dim=1)
    agreed = trust.amin(dim=2, keepdim=True) * agreement
    return Candidates(
        image=images,
        radiance=radiance,
        trust=agreed,
        difference=difference,
        prior=prior,
        longest=times.amax(dim=1),
    )


def blend_candidates(found: Candidates, logits: Tensor) -> Tensor:
    """Average radiance with log weights; a saturated reference is at least as bright as it says."""
    blend = (torch.softmax(logits, dim=1) * found.radiance).sum(dim=1)
    least = torch.where(found.image[:, 0] >= _SATURATED, found.radiance[:, 0], torch.zeros_like(blend))
    return torch.maximum(blend, least)


def _agreements(agreement: Tensor, times: Tensor) -> Tensor:
    """Return the agreement of all candidates (B, K, 1, H, W): 1 for the reference."""
    own = torch.ones_like(agreement[:, :1])
    floor = _LEAST_AGREEMENT * (times < times[:, :1]).float()
    return torch.maximum(torch.cat([own, agreement, agreement], dim=1), floor)


def _smoothed(difference: Tensor) -> Tensor:
    """Return the size of a difference (B, N, 3, H, W) over 5x5 pixels, so that noise is no motion."""
    flat = F.avg_pool2d(difference.flatten(0, 1), 5, stride=1, padding=2, count_include_pad=False)
    size = torch.sqrt(flat.square().mean(dim=1, keepdim=True) + 1e-8)
    return size.unflatten(0, difference.shape[:2])
