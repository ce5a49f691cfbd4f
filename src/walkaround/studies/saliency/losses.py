"""The published loss on all seven maps, and agreement of a warped prediction with its neighbour's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.studies.views.networks import DEVIATION, MEAN


def supervised_loss(maps: list[Tensor], masks: Tensor) -> Tensor:
    """Return the sum of the binary cross-entropies of all maps (arXiv:2005.09007, equation 1, all weights 1).

    Parameters
    ----------
    maps
        Logits (N, 1, H, W).
    masks
        (N, 1, H, W), 0..1.
    """
    losses = [F.binary_cross_entropy_with_logits(each.float(), masks) for each in maps]
    return torch.stack(losses).sum()


def consistency_loss(first: Tensor, second: Tensor, flow_px: Tensor, valid: Tensor) -> Tensor:
    """Return how much two predictions differ where both show the same point.

    The second prediction is sampled where the flow says that the first one's pixels have gone; the loss is
    the mean absolute difference over the valid pixels, 0 without any.

    Parameters
    ----------
    first, second
        Probabilities (N, 1, H, W) of two frames.
    flow_px
        (N, 2, H, W), x and y: a pixel of the first frame at p shows what the second one shows at p + flow.
    valid
        (N, H, W), where the flow is known and its end is in sight.
    """
    away = (first - warped(second, flow_px)).abs()[:, 0]
    return (away * valid).sum() / valid.sum().clamp(min=1)


def warped(values: Tensor, flow_px: Tensor) -> Tensor:
    """Return (N, C, H, W) values sampled at each pixel plus its flow (N, 2, H, W), bilinearly, 0 outside."""
    height, width = values.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=values.device), torch.arange(width, device=values.device), indexing="ij"
    )
    # grid_sample's -1 and 1 are the image's edges, so a pixel's centre lies at its index and a half
    at_x = (x + 0.5 + flow_px[:, 0]) * (2 / width) - 1
    at_y = (y + 0.5 + flow_px[:, 1]) * (2 / height) - 1
    grid = torch.stack([at_x, at_y], dim=3)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def normalised(images: Tensor) -> Tensor:
    """Return uint8 images (N, 3, H, W), or floats of that range, as what the networks take."""
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    deviation = torch.tensor(DEVIATION, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / deviation
