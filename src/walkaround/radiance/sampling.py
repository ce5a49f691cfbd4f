"""Rays of a camera, places along them, and what the pictures show there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from walkaround.radiance.network import FeatureNetwork, Gathered
from walkaround.radiance.views import TargetView, ViewSet
from walkaround.types import IntArray

_BEHIND = 1e-3
_KNOTS = (0.0, 0.12, 0.88, 1.0)
"""Places on a ray of the four depths of its range."""
_SLACK = 0.15
"""Of a step of the coarse look: how far before a measured surface a sample may lie to be on it."""
_EVERYWHERE = 0.01
"""Share of the fine samples that go where the coarse look found nothing."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Pictures to render from, on a device."""

    colours: Tensor  # (V, 3, H, W) of 0..1
    features: Tensor  # (V, F, H/2, W/2)
    pixel_from_world: Tensor  # (V, 3, 4): K times the pose
    centres: Tensor  # (V, 3)
    depth: Tensor | None  # (V, 1, H, W), 0 where there is none


@dataclass(frozen=True, kw_only=True)
class Rays:
    """Rays of one camera; the point at depth z is ``start + z * step``."""

    start: Tensor  # (3,)
    step: Tensor  # (R, 3) for a depth of 1
    depth_range: tuple[float, ...]
    """Near, where the scene begins, where it ends, far."""

    def depths(self, places: Tensor) -> Tensor:
        """Turn places 0..1 into depths: even in inverse depth in each of three parts, most in the middle."""
        inverse = torch.full_like(places, 1 / self.depth_range[0])
        for part in range(3):
            first, last = _KNOTS[part : part + 2]
            share = ((places - first) / (last - first)).clamp(0, 1)
            inverse = inverse + share * (1 / self.depth_range[part + 1] - 1 / self.depth_range[part])
        return 1 / inverse

    def points(self, places: Tensor) -> Tensor:
        """Return the points of (R, S) places: (R, S, 3) in the world."""
        return self.start + self.depths(places)[..., None] * self.step[:, None]

    def part(self, rows: slice | Tensor) -> Rays:
        """Return some of the rays."""
        return Rays(start=self.start, step=self.step[rows], depth_range=self.depth_range)


def make_sources(
    views: ViewSet,
    rows: IntArray,
    pictures: FeatureNetwork,
    device: str,
) -> Sources:
    """Put the pictures of these rows on the device and look at them."""
    images = torch.from_numpy(np.ascontiguousarray(views.images_srgb[rows])).to(device).float().div(255)
    colours = images.permute(0, 3, 1, 2)  # channels last in memory, which convolutions like
    projection = views.K[rows] @ views.cam_from_world[rows, :3]
    depth = None
    if views.depth is not None:
        depth = torch.from_numpy(np.ascontiguousarray(views.depth[rows, None])).to(device)
    return Sources(
        colours=colours.contiguous(),
        features=pictures(colours).contiguous(),
        pixel_from_world=torch.from_numpy(projection).float().to(device),
        centres=torch.from_numpy(views.centres[rows]).float().to(device),
        depth=depth,
    )


def rays_of(target: TargetView, pixels: Tensor) -> Rays:
    """Return the rays through (R, 2) pixels; the centre of the first pixel is (0.5, 0.5)."""
    K = torch.from_numpy(target.K).float().to(pixels.device)
    world_from_cam = torch.from_numpy(np.ascontiguousarray(target.cam_from_world[:3, :3].T)).float()
    x = (pixels[:, 0] - K[0, 2]) / K[0, 0]
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1]
    in_cam = torch.stack([x, y, torch.ones_like(x)], dim=1)
    step = in_cam @ world_from_cam.to(pixels.device).t()
    start = torch.from_numpy(target.centre).float().to(pixels.device)
    return Rays(start=start, step=step, depth_range=tuple(float(depth) for depth in target.depth_range))


def even_places(rays: int, count: int, device: str | torch.device, jitter: Tensor | None = None) -> Tensor:
    """Return (rays, count) places, one in each of as many equal parts: in its middle, or at ``jitter``."""
    first = torch.arange(count, device=device, dtype=torch.float32)
    offset: Tensor | float = 0.5 if jitter is None else jitter
    return ((first + offset) / count).expand(rays, count)


def drawn_places(weights: Tensor, count: int, jitter: Tensor | None = None) -> Tensor:
    """Draw places where the coarse look found something, evenly by its weight.

    Parameters
    ----------
    weights
        (R, S) for S equal parts of the ray; they are spread to the neighbouring parts first.
    jitter
        (R, count) of 0..1 for training; the middle of each share of the weight when None.
    """
    padded = functional.pad(weights, (1, 1))
    spread = torch.maximum(padded[:, :-1], padded[:, 1:])
    spread = 0.5 * (spread[:, :-1] + spread[:, 1:])
    parts = weights.shape[1]
    share = spread / spread.sum(dim=1, keepdim=True).clamp(min=1e-8)
    share = (1 - _EVERYWHERE) * share + _EVERYWHERE / parts
    reached = functional.pad(share.cumsum(dim=1), (1, 0)).clamp(max=1.0)
    wanted = even_places(len(weights), count, weights.device, jitter).contiguous()
    part = (torch.searchsorted(reached, wanted, right=True) - 1).clamp(0, parts - 1)
    before, own = reached.gather(1, part), share.gather(1, part)
    return ((part + ((wanted - before) / own).clamp(0, 1)) / parts).clamp(0, 1)


def gather(sources: Sources, points: Tensor, eye: Tensor) -> Gathered:
    """Return what the pictures show at (R, S, 3) points that are seen from ``eye`` (3,)."""
    flat = points.reshape(-1, 3)
    grid, inside, _ = _projected(sources, flat)
    at = grid[:, None]  # (V, 1, N, 2)
    # grid_sample without align_corners counts as we do: -1 and 1 are the picture's outer edges
    colours = functional.grid_sample(
        sources.colours, at, align_corners=False, padding_mode="border"
    )  # (V, 3, 1, N)
    features = functional.grid_sample(sources.features, at, align_corners=False, padding_mode="border")
    directions = _directions(flat, eye, sources.centres)
    values = torch.cat([colours, features], dim=1)[:, :, 0]
    return Gathered(values=values, directions=directions, inside=inside[:, None].to(values.dtype))


def depth_weights(sources: Sources, rays: Rays, places: Tensor) -> Tensor:
    """Return where the pictures' depth maps say that rays stop: (R, S) weights, their sum at most 1.

    A picture whose depth is near a sample's speaks for it, one that sees past it against it; one that sees
    something before it says nothing.
    """
    if sources.depth is None:
        return torch.zeros_like(places)
    before, known = _before_surface(sources, rays.points(places).reshape(-1, 3))
    apart = -torch.diff(1 / rays.depths(places), dim=1)
    step = 0.75 * torch.cat([apart, apart[:, -1:]], dim=1).reshape(-1)
    agree = ((before.abs() < step) & known & _in_scene(places)).sum(dim=0).to(places.dtype)
    past = ((before > step) & known).sum(dim=0).to(places.dtype)
    return composited((agree / (agree + past + 0.5)).view(places.shape))


def depth_stops(sources: Sources, rays: Rays, places: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Return what depth maps say that samples stop, (R, S) of 0..1, and how far they are to be trusted.

    Unlike :func:`depth_weights` for samples that lie close together: one behind a surface stops the ray, one
    before it does not. The trust is 0 where no picture knows, 0.9 of one picture, 0.99 of two: a view that
    sees past a place proves it empty, whatever the colours say.

    Parameters
    ----------
    parts
        Of the coarse look: two of its steps behind a surface, the depth map says nothing any more.
    """
    if sources.depth is None:
        return torch.zeros_like(places), torch.zeros_like(places)
    before, known = _before_surface(sources, rays.points(places).reshape(-1, 3))
    step = (1 / rays.depth_range[1] - 1 / rays.depth_range[2]) / (parts * (_KNOTS[2] - _KNOTS[1]))
    past = ((before > _SLACK * step) & known).sum(dim=0).to(places.dtype)
    behind = (before <= _SLACK * step) & (before > -2 * step) & known & _in_scene(places)
    behind = behind.sum(dim=0).to(places.dtype)
    count = past + behind
    stops, trust = behind / count.clamp(min=1), 1 - 0.1**count
    return stops.view(places.shape), trust.view(places.shape)


def _in_scene(places: Tensor) -> Tensor:
    """Return which samples do not lie before the scene, (N,): no depth map is believed to see anything there.

    A room that stands while an object turns looks, to stereo, like things right before the cameras.
    """
    return places.reshape(-1) >= _KNOTS[1]


def composited(stopped: Tensor, *, last: bool = False) -> Tensor:
    """Return each sample's weight, (R, S), from what it stops; with ``last``, the last one stops the rest."""
    if last:
        stopped = torch.cat([stopped[:, :-1], torch.ones_like(stopped[:, -1:])], dim=1)
    passed = torch.cumprod(1 - stopped[:, :-1] + 1e-7, dim=1)
    return stopped * functional.pad(passed, (1, 0), value=1.0)


def _before_surface(sources: Sources, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far (N, 3) points lie before what pictures see there, in inverse depth, and where known.

    Both are (V, N); negative behind the surface.
    """
    grid, inside, z = _projected(sources, points)
    found = functional.grid_sample(
        sources.depth, grid[:, None], mode="nearest", align_corners=False, padding_mode="zeros"
    )[:, 0, 0]
    return 1 / z.clamp(min=_BEHIND) - 1 / found.clamp(min=_BEHIND), (found > 0) & inside


def _projected(sources: Sources, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project (N, 3): places for ``grid_sample`` (V, N, 2), whether they lie inside and z, (V, N) each."""
    height, width = sources.colours.shape[2:]
    matrix = sources.pixel_from_world
    in_cam = torch.matmul(matrix[:, :, :3], points.t()) + matrix[:, :, 3:]  # (V, 3, N)
    z = in_cam[:, 2]
    ahead = z > _BEHIND
    pixels = in_cam[:, :2] / torch.where(ahead, z, torch.ones_like(z))[:, None]
    grid = torch.stack([2 * pixels[:, 0] / width - 1, 2 * pixels[:, 1] / height - 1], dim=-1)
    inside = ahead & (grid.abs() <= 1).all(dim=-1)
    return grid.clamp(-2, 2), inside, z


def _directions(points: Tensor, eye: Tensor, centres: Tensor) -> Tensor:
    """Return how the pictures' directions of view differ from ours: (V, 4, N)."""
    ours = functional.normalize(points - eye, dim=1).t()  # (3, N)
    theirs = functional.normalize(points[None] - centres[:, None], dim=2).transpose(1, 2)  # (V, 3, N)
    apart = functional.normalize(ours - theirs, dim=1, eps=1e-4)
    cosine = (ours * theirs).sum(dim=1, keepdim=True)
    return torch.cat([apart, cosine], dim=1)
