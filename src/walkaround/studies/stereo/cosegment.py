"""Co-segmentation: parts that the views of one object share, by non-negative matrix factorisation.

The features of all views' pixels are one non-negative matrix F (pixels x channels), F = P Q with few rows in
Q: a row is a part's look, a column of P says where it is. Collins et al. 2018 (arXiv:1806.10206), as used for
stereo by Xu et al. 2021, JDACS (arXiv:2104.05374). There the features are VGG's, pretrained on ImageNet; here
no such weights are at hand, and they are the network's own, as far as it is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-6


def cosegment(features: Tensor, parts: int, *, iterations: int = 30, seed: int = 0) -> Tensor:
    """Divide the pixels of each sample's views among parts.

    Parameters
    ----------
    features
        (B, N, C, h, w); what is negative counts as 0. No gradient flows through.
    parts
        Columns of P.
    seed
        Of the start of the factorisation; the same for all samples.

    Returns
    -------
    Tensor
        (B, N, parts, h, w): shares that sum to 1 at each pixel.
    """
    with torch.no_grad():
        batch, count, channels, h, w = features.shape
        flat = features.clamp(min=0.0).permute(0, 1, 3, 4, 2).reshape(batch, -1, channels)
        flat = flat / (flat.mean(dim=(1, 2), keepdim=True) + _TINY)
        where, look = factorise(flat, parts, iterations=iterations, seed=seed)
        where = where * look.sum(dim=2)[:, None]  # so that parts of different loudness compare
        where = where / (where.sum(dim=2, keepdim=True) + _TINY)
        return where.view(batch, count, h, w, parts).permute(0, 1, 4, 2, 3)


def factorise(matrix: Tensor, rank: int, *, iterations: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Factorise non-negative (B, M, C) into (B, M, rank) and (B, rank, C), both non-negative.

    The multiplicative updates of Lee and Seung 2000 for the squared error, which never rises.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, rows, columns = matrix.shape

    def start(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) + 0.1).to(matrix).expand(batch, -1, -1)

    left, right = start(rows, rank), start(rank, columns)
    for _ in range(iterations):
        right = right * (left.mT @ matrix) / (left.mT @ left @ right + _TINY)
        left = left * (matrix @ right.mT) / (left @ (right @ right.mT) + _TINY)
    return left, right
