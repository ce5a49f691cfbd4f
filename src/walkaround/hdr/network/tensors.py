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
from walkaround.hdr.fusion import FusionOptions, lay_over
from walkaround.hdr.noise import NoiseModel
from walkaround.hdr.response import known_response
from walkaround.types import Float32Array

GAMMA = 2.2
"""The curve of what the network takes."""
MU = 5000.0
MULTIPLE = 8
"""Height and width of what the network takes are multiples of this."""


class Windows(NamedTuple):
    """B windows of N frames; the reference is the middle one."""

    image: Tensor  # (B, N, 3, H, W) recorded with a curve of 2.2, 0..1
    exposure: Tensor  # (B, N)
    motion: Tensor  # (B, N - 1, 2, H, W) px: reference(x) = neighbour(x + motion), neighbours in time order
    agreement: Tensor  # (B, N - 1, 1, H, W) 0..1: whether both show the same there

    def to(self, device: torch.device) -> Windows:
        """Return the same on a device."""
        return Windows(*(tensor.to(device, non_blocking=True) for tensor in self))


def windows_of(window: Sequence[Exposed]) -> Windows:
    """Turn one window (H and W multiples of 8, curve 2.2) into tensors, B = 1."""
    arrays = arrays_of(window)
    return Windows(*(torch.from_numpy(array)[None] for array in arrays))


def arrays_of(
    window: Sequence[Exposed], options: FusionOptions | None = None
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Return what :class:`Windows` holds of one window; motion and agreement are those of the fusion."""
    images = np.stack([frame.image for frame in window]).transpose(0, 3, 1, 2)
    exposures = np.array([frame.exposure for frame in window], np.float32)
    laid = lay_over(window, known_response("gamma"), options or FusionOptions())
    shape = (*images.shape[2:], 2)
    still = np.zeros(shape, np.float32)
    flows = np.stack([still if one.flow is None else one.flow for one in laid]).transpose(0, 3, 1, 2)
    agreement = np.stack([one.agreement for one in laid])[:, None]
    return (
        np.ascontiguousarray(images, np.float32),
        exposures,
        np.ascontiguousarray(flows, np.float32),
        np.ascontiguousarray(agreement, np.float32),
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


def unclipped(images: Tensor) -> Tensor:  # (B, K, 3, H, W) -> (B, K, 1, H, W)
    """Return 0 where a pixel or one beside it saturates in any channel, else 1 (as in the fusion)."""
    highest = torch.nn.functional.max_pool2d(images.amax(dim=2), 3, stride=1, padding=1)
    return trust_of(highest)[:, :, None]


def trust_of(image: Tensor) -> Tensor:
    """Return 1 where a value tells the light, 0 at saturation, smooth between (as in the fusion)."""
    t = ((image - 0.90) / 0.085).clamp(0.0, 1.0)
    return 1.0 - t * t * (3.0 - 2.0 * t)


def precision_of(image: Tensor, exposure: Tensor) -> Tensor:
    """Return the inverse variance of the radiance that a recorded value stands for (the fusion's model)."""
    noise = NoiseModel()
    rounding = GAMMA * image.clamp(min=1e-4) ** (GAMMA - 1.0) / (math.sqrt(12.0) * (2**noise.bits - 1))
    return exposure.square() / (noise.read**2 + noise.shot * image**GAMMA + rounding.square())


def warp(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Return ``image(x + flow)``, the border repeated: (B, C, H, W) and (B, 2, H, W) in pixels."""
    height, width = image.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    x = (xs + flow[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (ys + flow[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack([x, y], dim=-1)  # pixel indices: align_corners puts index 0 at -1, the last at 1
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)
