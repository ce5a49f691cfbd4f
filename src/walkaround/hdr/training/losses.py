"""What training minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from walkaround.hdr.network.model import Merged
from walkaround.hdr.network.tensors import mu_law, warp
from walkaround.hdr.training.options import Recipe

_SCALES = 3
_STAGE_ONE = 0.5
_SAME_PLACE = 0.03


class Loss(NamedTuple):
    """The sum, and its parts for the record."""

    total: Tensor
    parts: dict[str, float]


def compute_loss(
    merged: Merged, truth: Tensor, recipe: Recipe, earlier: tuple[Tensor, Tensor, Tensor] | None
) -> Loss:
    """L1 on the mu-law, of both stages; gradients; the frame before.

    Parameters
    ----------
    merged
        The network's result.
    truth
        (B, 3, H, W) radiance 0..1.
    earlier
        The network's result and the truth of the frame before, (B, 3, H, W) each, and the motion to it
        (B, 2, H, W); None when there is none.
    """
    shown, target = mu_law(merged.radiance), mu_law(truth)
    pixels = F.l1_loss(shown, target)
    stage = F.l1_loss(mu_law(merged.coarse.blend), target)
    features = feature_loss(shown, target)
    total = pixels + _STAGE_ONE * stage + recipe.feature_weight * features
    parts = {"pixels": pixels.item(), "stage1": stage.item(), "features": features.item()}
    if earlier is not None:
        temporal = temporal_loss(shown, target, *earlier)
        total = total + recipe.temporal_weight * temporal
        parts["temporal"] = temporal.item()
    with torch.no_grad():
        errors = (shown - target).square().mean(dim=(1, 2, 3))
        parts["psnr_mu"] = float((-10 * torch.log10(errors + 1e-10)).mean())
        base = (mu_law(merged.coarse.classical) - target).square().mean(dim=(1, 2, 3))
        parts["psnr_mu_classical"] = float((-10 * torch.log10(base + 1e-10)).mean())
    return Loss(total, parts)


def feature_loss(shown: Tensor, target: Tensor) -> Tensor:
    """L1 between first differences along x and y at three scales.

    It stands in for the perceptual loss of the paper (VGG features), which needs downloaded weights:
    ghosts and blur are wrong edges, and differences see edges and nothing else.
    """
    total = shown.new_zeros(())
    for scale in range(_SCALES):
        if scale:
            shown, target = F.avg_pool2d(shown, 2), F.avg_pool2d(target, 2)
        error = shown - target
        total = total + (error[..., 1:] - error[..., :-1]).abs().mean()
        total = total + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return total / _SCALES


def temporal_loss(shown: Tensor, target: Tensor, before: Tensor, truth: Tensor, motion: Tensor) -> Tensor:
    """L1 to the result of the frame before, moved here, where the truth says that it shows the same."""
    moved = warp(mu_law(before.detach()), motion)
    same = ((warp(mu_law(truth), motion) - target).abs().amax(dim=1, keepdim=True) < _SAME_PLACE).float()
    return (same * (shown - moved).abs()).mean()
