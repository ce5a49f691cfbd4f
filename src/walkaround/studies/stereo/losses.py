"""What depth is trained by: true depth, or the views alone.

Without depth, after JDACS (Xu et al. 2021, arXiv:2104.05374): views warped by the estimate look like the
reference (L1 and SSIM, of the best views only), inverse depth is smooth where the image is, co-segmented
parts meet their like (``cosegment``), and altered images give the same depth (``training``).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from walkaround.depth.network.model import Estimate, enlarge
from walkaround.depth.network.sweep import Stereo, land, sample

_SSIM_SHARE = 0.85
"""Of SSIM against L1, as in Godard et al. 2017 (arXiv:1609.03677)."""
_UNSEEN = 0.6
"""Dissimilarity of what a view does not show: as of unlike patches."""
_FAR = 10.0
"""Planes beyond which a mistake costs no more gradient."""


def supervised_loss(estimates: tuple[Estimate, Estimate], depth: Tensor) -> Tensor:
    """Return the mean distance from the truth in planes, of both sweeps; (B, H, W) depth, 0 unknown."""
    total = depth.new_zeros(())
    for estimate, weight in zip(estimates, (0.5, 1.0), strict=True):
        truth, known = shrink_depth(depth, estimate.inverse.shape[-2:])
        error = (estimate.inverse - truth).abs() / estimate.spacing[:, None, None]
        total = total + weight * (error.clamp(max=_FAR) * known).sum() / known.sum().clamp(min=1)
    return total


def shrink_depth(depth: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return inverse depth (B, h, w) and where it is known: where all pixels are, on one surface (3 %)."""
    known = depth > 0
    inverse = torch.where(known, 1.0 / depth.clamp(min=1e-9), 0.0)[:, None]
    step = (depth.shape[-2] // size_hw[0], depth.shape[-1] // size_hw[1])
    mean = F.avg_pool2d(inverse, step)[:, 0]
    highest = F.max_pool2d(inverse, step)[:, 0]
    lowest = -F.max_pool2d(-inverse, step)[:, 0]
    return mean, (lowest > 0) & (highest < 1.03 * lowest)


def view_loss(estimate: Estimate, stereo: Stereo, size_hw: tuple[int, int], smooth_weight: float) -> Tensor:
    """Return photometric inconsistency plus roughness of one sweep, with images of ``size_hw``."""
    height, width = stereo.images.shape[-2:]
    step = (height // size_hw[0], width // size_hw[1])
    small = F.avg_pool2d(stereo.images.flatten(0, 1), step).unflatten(0, stereo.images.shape[:2])
    inverse = enlarge(estimate.inverse, size_hw)
    reference = small[:, 0]
    errors = []
    for source in range(1, small.shape[1]):
        grid = land(stereo, source, inverse[:, None])
        warped = sample(small[:, source], grid)[:, :, 0]
        inside = (grid.abs() < 1.0).all(dim=-1)  # (B, 1, h, w)
        errors.append(torch.where(inside, dissimilarity(reference, warped), math.inf))
    consistent = best_views(torch.cat(errors, dim=1))
    return consistent + smooth_weight * roughness(inverse / estimate.spacing[:, None, None], reference)


def sweep_loss(estimate: Estimate, stereo: Stereo) -> Tensor:
    """Return the expected dissimilarity under a sweep's probabilities, on images of twice its size.

    :func:`view_loss` knows only which way from the estimate is better; this one knows all planes, so that a
    wrong estimate finds the right surface however far away it is.
    """
    planes = estimate.planes.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    batch, count, h, w = planes.shape
    step = (stereo.images.shape[-2] // h, stereo.images.shape[-1] // w)
    small = F.avg_pool2d(stereo.images.flatten(0, 1), step).unflatten(0, stereo.images.shape[:2])
    reference = small[:, :1].expand(-1, count, -1, -1, -1).flatten(0, 1)
    errors = []
    with torch.no_grad():
        for source in range(1, small.shape[1]):
            grid = land(stereo, source, planes)
            warped = sample(small[:, source], grid).view(batch * count, 1, h, w)
            error = dissimilarity(reference, warped).view(batch, count, h, w)
            errors.append(torch.where((grid.abs() < 1.0).all(dim=-1), error, _UNSEEN))
        stacked = torch.stack(errors, dim=1)
        best = stacked.topk(max(1, len(errors) // 2), dim=1, largest=False).values.mean(dim=1)
        cost = F.avg_pool2d(best, 2)
    return (estimate.probability * cost).sum(dim=1).mean()


def best_views(errors: Tensor) -> Tensor:
    """Return the mean over pixels of the mean over the better half of the views: others may be hidden.

    (B, N - 1, h, w); infinite where a view does not reach. Pixels that no view reaches are left out.
    """
    best = errors.topk(max(1, errors.shape[1] // 2), dim=1, largest=False).values
    reached = torch.isfinite(best)
    return torch.where(reached, best, 0.0).sum() / reached.sum().clamp(min=1)


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """Return L1 mixed with (1 - SSIM) / 2 over 3x3 pixels, (B, 1, h, w), of images of deviation 1.

    SSIM: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a.square(), mean(b * b) - mean_b.square()
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.05**2, 0.15**2  # the constants 0.01 and 0.03 of the range, which is about 5 deviations
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    ssim = ssim / ((mean_a.square() + mean_b.square() + c1) * (var_a.clamp(min=0) + var_b.clamp(min=0) + c2))
    return _SSIM_SHARE * 0.5 * (1.0 - ssim).clamp(0.0, 2.0) + (1.0 - _SSIM_SHARE) * (a - b).abs()


def roughness(values: Tensor, image: Tensor) -> Tensor:
    """Return the mean difference of neighbours of (B, h, w) values, less where (B, 1, h, w) images differ."""
    image = image[:, 0]
    down = (values[:, 1:] - values[:, :-1]).abs() * torch.exp(-(image[:, 1:] - image[:, :-1]).abs() * 2.0)
    right = (values[:, :, 1:] - values[:, :, :-1]).abs()
    right = right * torch.exp(-(image[:, :, 1:] - image[:, :, :-1]).abs() * 2.0)
    return down.mean() + right.mean()


def segment_loss(inverse: Tensor, stereo: Stereo, parts: Tensor) -> Tensor:
    """Return the cross-entropy of the sources' parts, warped by the estimate, with the reference's.

    Parameters
    ----------
    inverse
        (B, h, w).
    parts
        (B, N, K, h, w), from :func:`~walkaround.studies.stereo.cosegment.cosegment`.
    """
    label = parts[:, 0].argmax(dim=1)
    errors = []
    for source in range(1, parts.shape[1]):
        grid = land(stereo, source, inverse[:, None])
        warped = sample(parts[:, source], grid)[:, :, 0]  # (B, K, h, w)
        entropy = F.nll_loss(torch.log(warped.clamp(min=1e-3)), label, reduction="none")[:, None]
        errors.append(torch.where((grid.abs() < 1.0).all(dim=-1), entropy, math.inf))
    return best_views(torch.cat(errors, dim=1))


def agreement_loss(
    altered: tuple[Estimate, Estimate], plain: tuple[Estimate, Estimate], seen: Tensor
) -> Tensor:
    """Return how far altered images' depth is from that of the plain ones, in planes, where ``seen``.

    Parameters
    ----------
    seen
        (B, 1, H, W): 0 where the alteration hides the reference. No gradient flows into ``plain``.
    """
    total = seen.new_zeros(())
    for new, old in zip(altered, plain, strict=True):
        kept = F.interpolate(seen, size=new.inverse.shape[-2:], mode="area")[:, 0] > 0.99
        error = (new.inverse - old.inverse.detach()).abs() / new.spacing[:, None, None]
        total = total + (error.clamp(max=_FAR) * kept).sum() / kept.sum().clamp(min=1)
    return total
