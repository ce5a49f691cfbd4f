"""A window as tensors, and the few formulas that all parts of the network share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from walkaround.hdr.clip import Exposed
from walkaround.hdr.network.motion import estimate_motion

GAMMA = 2.2
"""The curve of what the network takes."""
MU = 5000.0
MULTIPLE = 8
"""Height and width of what the network takes are multiples of this."""


class Windows(NamedTuple):
    """B windows of N frames; the reference is the middle one."""

    image: Tensor  # (B, N, 3, H, W) recorded with a curve of 2.2, 0..1
    exposure: Tensor  # (B, N)
    motion: Tensor  # (B, N - 1, 2, 2, H / 2, W / 2): neighbour, direct or through, x y; pixels of full size

    def to(self, device: torch.device) -> Windows:
        """Return the same on a device."""
        return Windows(*(tensor.to(device, non_blocking=True) for tensor in self))


def windows_of(window: Sequence[Exposed]) -> Windows:
    """Turn one window (H and W multiples of 8, curve 2.2) into tensors, B = 1."""
    images = np.stack([frame.image for frame in window]).transpose(0, 3, 1, 2)
    return Windows(
        image=torch.from_numpy(np.ascontiguousarray(images, np.float32))[None],
        exposure=torch.tensor([[frame.exposure for frame in window]], dtype=torch.float32),
        motion=torch.from_numpy(estimate_motion(window))[None],
    )


def mu_law(radiance: Tensor) -> Tensor:
    """Compress radiance 0..1 to 0..1 (Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609)."""
    return torch.log1p(MU * radiance.clamp(min=0.0)) / math.log1p(MU)


def inverse_mu_law(value: Tensor) -> Tensor:
    """Undo :func:`mu_law`; below 0 counts as 0."""
    return torch.expm1(value.clamp(min=0.0) * math.log1p(MU)) / MU


def radiance_of(image: Tensor, exposure: Tensor) -> Tensor:
    """Undo curve and exposure: (..., 3, H, W) and an exposure that broadcasts against it."""
    return image**GAMMA / exposure


def recorded(radiance: Tensor, exposure: Tensor) -> Tensor:
    """Return what an exposure would have recorded, without noise; the root is cut off near 0."""
    return (radiance * exposure).clamp(1e-6, 1.0) ** (1.0 / GAMMA)


def support_of(image: Tensor) -> Tensor:  # (..., 3, H, W) -> (..., 1, H, W)
    """How well exposed a pixel is, 0..1: 0 when any channel is saturated, little when it is nearly black."""
    top = image.amax(dim=-3, keepdim=True)
    low = image.mean(dim=-3, keepdim=True)
    return ((0.985 - top) / 0.06).clamp(0.0, 1.0) * (low / 0.06).clamp(0.05, 1.0)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Return ``image(x + flow)``, bilinear, the border repeated: (B, C, H, W) and (B, 2, H, W) in pixels."""
    height, width = image.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    x = (xs + flow[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (ys + flow[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack([x, y], dim=-1)  # pixel indices: align_corners puts index 0 at -1, the last at 1
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
