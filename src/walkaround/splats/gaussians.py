"""Gaussians in the world, and what they look like from a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from walkaround.radiance.views import TargetView
from walkaround.splats._kernels import LEAST_ALPHA
from walkaround.splats.rasterise import rasterise

SH_DC = 0.28209479177387814
"""The constant spherical harmonic: a colour is 0.5 plus it times the first coefficient."""
MAX_DEGREE = 3
_BLUR_PX2 = 0.3
"""Added to each covariance: no splat is thinner than a pixel."""
_OUTSIDE = 1.3
"""Of half the field of view: further out, a splat keeps the shape it has there."""


@dataclass(frozen=True, kw_only=True)
class Gaussians:
    """Splats as 3DGS has them (arXiv:2308.04079); float32."""

    means: Tensor  # (N, 3) in the world
    log_scales: Tensor  # (N, 3)
    rotations: Tensor  # (N, 4) quaternions (w, x, y, z), of any length
    logits: Tensor  # (N,) opacity before the sigmoid
    harmonics: Tensor  # (N, (degree + 1)^2, 3) of the colours

    def __len__(self) -> int:
        return len(self.means)

    def parts(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def at(self, numbers: Tensor) -> Gaussians:
        """Return some of them."""
        return Gaussians(**{name: part[numbers] for name, part in self.parts().items()})

    @property
    def degree(self) -> int:
        """Of the spherical harmonics: 0 to 3."""
        return math.isqrt(self.harmonics.shape[1]) - 1


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture of Gaussians."""

    image: Tensor  # (H, W, 3) of 0..1 before the background
    passed: Tensor  # (H, W) of the background's light
    places: Tensor  # (M, 2) of the splats in the picture; its gradient says where more are needed
    shown: Tensor  # (M,) their numbers
    reach: Tensor  # (M, 2) pixels to both sides


def draw(gaussians: Gaussians, target: TargetView, *, num_threads: int = 1) -> Drawn:
    """Draw Gaussians from a pinhole camera, differentiably, on the CPU."""
    K, pose = (torch.from_numpy(part).float() for part in (target.K, target.cam_from_world))
    in_cam = gaussians.means @ pose[:3, :3].t() + pose[:3, 3]
    opacity = torch.sigmoid(gaussians.logits)
    # none right before a camera: fog there fits one picture and spoils the others
    near = float(target.depth_range[0])
    shown = torch.nonzero((in_cam[:, 2] > near) & (opacity > LEAST_ALPHA * 1.01))[:, 0]
    in_cam, opacity = in_cam[shown], opacity[shown]
    places = in_cam[:, :2] / in_cam[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    covariance = _covariance(gaussians, shown, in_cam, K, pose, target.size_hw)
    a, b, c = covariance.unbind(1)
    determinant = (a * c - b * b).clamp(min=1e-12)
    conic = torch.stack([c, -b, a], dim=1) / determinant[:, None]
    with torch.no_grad():
        # from where on a splat stops less than the least alpha
        radius = torch.sqrt(2 * torch.log(opacity / LEAST_ALPHA))
        reach = radius[:, None] * torch.sqrt(torch.stack([a, c], dim=1))
        height, width = target.size_hw
        inside = ((places + reach > 0) & (places - reach < torch.tensor([width, height]))).all(dim=1)
        inside = torch.nonzero(inside)[:, 0]
    shown = shown[inside]
    away = gaussians.means[shown] - torch.from_numpy(target.centre).float()
    colours = colours_of(gaussians.harmonics[shown], functional.normalize(away, dim=1))
    places = places[inside]
    if places.requires_grad:
        places.retain_grad()
    splats = torch.cat([places, conic[inside], colours, opacity[inside, None]], dim=1)
    image, passed = rasterise(splats, reach[inside], in_cam[inside, 2].detach(), target.size_hw, num_threads)
    return Drawn(image=image, passed=passed, places=places, shown=shown, reach=reach[inside])


def colours_of(harmonics: Tensor, directions: Tensor) -> Tensor:
    """Return (N, 3) colours, 0 or more, seen along (N, 3) unit directions from (N, K, 3) coefficients."""
    basis = _basis(directions, math.isqrt(harmonics.shape[1]) - 1)  # (N, K)
    return ((basis[:, :, None] * harmonics).sum(dim=1) + 0.5).clamp(min=0)


def rotation_matrices(rotations: Tensor) -> Tensor:
    """Turn (N, 4) quaternions (w, x, y, z) of any length into (N, 3, 3)."""
    w, x, y, z = functional.normalize(rotations, dim=1).unbind(1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def _covariance(
    gaussians: Gaussians, shown: Tensor, in_cam: Tensor, K: Tensor, pose: Tensor, size_hw: tuple[int, int]
) -> Tensor:
    """Return (M, 3) covariances in pixels: xx, xy, yy (the linear part of the projection, Zwicker 2001)."""
    height, width = size_hw
    z = in_cam[:, 2]
    limit = _OUTSIDE * 0.5 * torch.tensor([width, height]) / K[[0, 1], [0, 1]]
    middle = (torch.tensor([width, height]) / 2 - K[:2, 2]) / K[[0, 1], [0, 1]]
    slope = torch.minimum(torch.maximum(in_cam[:, :2] / z[:, None], middle - limit), middle + limit)
    zero = torch.zeros_like(z)
    rows = [
        torch.stack([K[0, 0] / z, zero, -K[0, 0] * slope[:, 0] / z], dim=1),
        torch.stack([zero, K[1, 1] / z, -K[1, 1] * slope[:, 1] / z], dim=1),
    ]
    axes = rotation_matrices(gaussians.rotations[shown]) * torch.exp(gaussians.log_scales[shown])[:, None]
    along = torch.stack(rows, dim=1) @ pose[:3, :3] @ axes  # (M, 2, 3)
    u, v = along.unbind(1)
    return torch.stack([(u * u).sum(1) + _BLUR_PX2, (u * v).sum(1), (v * v).sum(1) + _BLUR_PX2], dim=1)


def _basis(directions: Tensor, degree: int) -> Tensor:
    """Return the real spherical harmonics of (N, 3) directions, (N, (degree + 1)^2), in 3DGS's order."""
    x, y, z = directions.unbind(1)
    found = [torch.full_like(x, SH_DC)]
    if degree >= 1:
        found += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        found += [
            1.0925484305920792 * x * y, -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y), -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]  # fmt: skip
    if degree >= 3:
        found += [
            -0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
            0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
            1.445305721320277 * z * (x * x - y * y), -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    return torch.stack(found, dim=1)
