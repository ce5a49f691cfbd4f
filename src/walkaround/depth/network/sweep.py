"""The differentiable plane sweep: source features on planes of the reference camera, and their variance.

Yao et al. 2018, MVSNet, arXiv:1804.02505. A reference pixel p = (u, v, 1) at inverse depth w meets the source
at ``A p + w b``, with ``A = K_s R K_r^-1`` and ``b = K_s t``: the homography of the plane z = 1 / w is
``A + w b (0, 0, 1)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Stereo(NamedTuple):
    """B references with N - 1 sources each; the reference is the first of the N views."""

    images: Tensor  # (B, N, 1, H, W) grey levels, mean 0 and deviation 1 (see ``normalised``)
    K: Tensor  # (B, N, 3, 3) px of these images
    cam_from_world: Tensor  # (B, N, 4, 4)
    inverse_range: Tensor  # (B, 2) least and largest inverse depth of the reference

    def to(self, device: torch.device | str) -> Stereo:
        """Return the same on a device."""
        return Stereo(*(tensor.to(device) for tensor in self))


def normalised(images: Tensor) -> Tensor:
    """Take the mean off each of (..., H, W) images and divide by the deviation: exposures need not agree."""
    deviation, mean = torch.std_mean(images, dim=(-2, -1), keepdim=True)
    return (images - mean) / (deviation + 1e-3 * (images.abs().amax() + 1e-6))


def even_planes(inverse_range: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return ``count`` inverse depths from least to largest, (B, D), and their distance, (B,)."""
    low, high = inverse_range.unbind(dim=1)
    steps = torch.linspace(0.0, 1.0, count, device=low.device, dtype=low.dtype)
    return low[:, None] + (high - low)[:, None] * steps, (high - low) / max(count - 1, 1)


def land(stereo: Stereo, source: int, inverse: Tensor) -> Tensor:
    """Return where the pixels of a reference grid meet a source, for ``grid_sample``.

    Parameters
    ----------
    source
        1 to N - 1.
    inverse
        (B, D, h, w) inverse depths at the pixels of the reference, whose image is resized to (h, w).

    Returns
    -------
    Tensor
        (B, D, h, w, 2): -1 and 1 are the corners of the source's image, whatever its size; a point behind
        the camera gets a place outside.
    """
    height, width = stereo.images.shape[-2:]
    h, w = inverse.shape[-2:]
    relative = stereo.cam_from_world[:, source] @ torch.linalg.inv(stereo.cam_from_world[:, 0])
    K_source = stereo.K[:, source]
    A = K_source @ relative[:, :3, :3] @ torch.linalg.inv(stereo.K[:, 0])  # (B, 3, 3)
    b = (K_source @ relative[:, :3, 3:]).view(-1, 3, 1, 1, 1)
    pixels = _pixels(h, w, height, width, inverse.device)  # (3, h * w)
    rays = (A @ pixels).view(-1, 3, 1, h, w)
    points = rays + inverse[:, None] * b  # (B, 3, D, h, w)
    z = points[:, 2]
    ahead = z > 1e-6
    z = z.clamp(min=1e-6)
    # With align_corners=False the corner of the image is -1 and its far corner 1: COLMAP's 0 and width.
    # So COLMAP's coordinates need no half pixel here; align_corners=True would need one.
    x = torch.where(ahead, points[:, 0] / z * (2.0 / width) - 1.0, -4.0)
    y = torch.where(ahead, points[:, 1] / z * (2.0 / height) - 1.0, -4.0)
    return torch.stack([x.clamp(-4.0, 4.0), y.clamp(-4.0, 4.0)], dim=-1)


def sample(source: Tensor, grid: Tensor) -> Tensor:
    """Sample (B, C, h', w') at (B, D, h, w, 2), bilinearly, 0 outside: (B, C, D, h, w)."""
    batch, planes, h, w, _ = grid.shape
    flat = grid.view(batch, planes * h, w, 2)
    out = F.grid_sample(source, flat, mode="bilinear", padding_mode="zeros", align_corners=False)
    return out.view(batch, -1, planes, h, w)


def variance_volume(features: Tensor, stereo: Stereo, inverse: Tensor) -> Tensor:
    """Return the variance over the views of features swept over planes.

    Parameters
    ----------
    features
        (B, N, C, h, w).
    inverse
        (B, D, h, w) inverse depths.

    Returns
    -------
    Tensor
        (B, C, D, h, w); small where the views show the same. What lies outside of a source counts as 0
        there, as in the paper.
    """
    count = features.shape[1]
    reference = features[:, 0, :, None].expand(-1, -1, inverse.shape[1], -1, -1)
    total, squares = reference.clone(), reference.square()
    for source in range(1, count):
        seen = sample(features[:, source], land(stereo, source, inverse))
        total += seen
        squares += seen.square()
    return (squares - total.square() / count) / count


def _pixels(h: int, w: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return the centres of an (h, w) grid in the pixels of the (height, width) image, (3, h * w).

    COLMAP's coordinates: the centre of the first pixel of the grid is half of its size from the corner.
    """
    v = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) * (height / h)
    u = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) * (width / w)
    vv, uu = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([uu.reshape(-1), vv.reshape(-1), torch.ones(h * w, device=device)])
