"""What a training step of the network sees, and its loss. The studies' frame runs the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from walkaround.errors import UsageError
from walkaround.radiance.changes import (
    lit_from_one_side,
    recoloured,
    turned_before_a_room,
    with_holes,
)
from walkaround.radiance.network import RadianceNetwork
from walkaround.radiance.render import guided, look
from walkaround.radiance.sampling import (
    Rays,
    depth_weights,
    drawn_places,
    even_places,
    make_sources,
    rays_of,
)
from walkaround.radiance.views import ViewSet, nearest_views
from walkaround.types import IntArray

_COARSE_SHARE = 0.3
_WARM_UP = 0.03


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How the network is trained."""

    rays: int = 512
    """Rays of one picture a step."""
    min_sources: int = 4
    """Fewest pictures that a view is rendered from; drawn for each step."""
    max_sources: int = 8
    """Most of them."""
    pool: float = 2.5
    """They are drawn from so many times as many of the nearest ones: other distances between cameras."""
    coarse: int = 32
    """Samples of the coarse look."""
    fine: int = 20
    """Samples of the fine look."""
    rate: float = 2e-3
    """Highest learning rate (Adam; a short warm-up, then a cosine to a fiftieth)."""
    depth_weight: float = 0.1
    """Weight of the error in inverse depth, where a picture has depth; 0: colours alone."""
    depth_guided: float = 0.5
    """Share of the steps in which depth maps guide the fine look."""
    recolour: bool = True
    """Swap and scale the colours of a scene at random."""
    light: float = 0.5
    """Brightness changes with the direction of view by up to so much, as an exponent: as where an object
    turns before standing lights, or a camera sets its exposure. Teaches to believe the nearer pictures."""
    turntable: float = 0.4
    """Share of the steps that show an object as if it turned before a standing room (needs depth maps)."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (self.rays >= 1, "rays", "1 or more"),
            (2 <= self.min_sources <= self.max_sources, "min_sources", "2 to max_sources"),
            (self.pool >= 1, "pool", "1 or more"),
            (self.coarse >= 4 and self.fine >= 4, "coarse or fine", "4 or more"),
            (self.rate > 0, "rate", "above 0"),
            (self.depth_weight >= 0, "depth_weight", "0 or more"),
            (0 <= self.light <= 2, "light", "0 to 2"),
            (0 <= self.turntable <= 1, "turntable", "0 to 1"),
            (0 <= self.depth_guided <= 1, "depth_guided", "0 to 1"),
        )
        for passed, name, wanted in tests:
            if not passed:
                found = getattr(self, name, (self.coarse, self.fine))
                raise UsageError(f"radiance training: {name} is {found!r}; it must be {wanted}.")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One picture to render in part, and what from."""

    truth: ViewSet
    """The picture alone."""
    sources: ViewSet
    """The pictures that it is rendered from."""
    pixels: IntArray  #: (R, 2) column and row
    use_depth: bool


def draw_batch(scenes: Sequence[ViewSet], options: TrainingOptions, rng: np.random.Generator) -> Batch:
    """Draw a scene, one of its pictures, others near it, and pixels; change what they look like."""
    views = scenes[int(rng.integers(len(scenes)))]
    number = int(rng.integers(len(views)))
    count = int(rng.integers(options.min_sources, options.max_sources + 1))
    near = nearest_views(views, views.target(number), len(views))
    near = near[near != number][: math.ceil(count * rng.uniform(1, options.pool))]
    rows = np.sort(rng.permutation(near)[:count])
    shown = views.part(np.append(number, rows))
    if options.recolour:
        shown = recoloured(shown, rng)
    if views.depth is not None and rng.uniform() < options.turntable:
        shown = turned_before_a_room(shown, rng)
    else:
        shown = lit_from_one_side(shown, options.light, rng)
    sources = shown.part(np.arange(1, len(shown)))
    return Batch(
        truth=shown.part(np.arange(1)),
        sources=with_holes(sources, rng),
        pixels=_draw_pixels(views, number, options.rays, rng),
        use_depth=bool(rng.uniform() < options.depth_guided),
    )


def batch_loss(
    network: RadianceNetwork, batch: Batch, options: TrainingOptions, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """Return the loss of a batch and the PSNR of its pixels in dB."""
    device = next(network.parameters()).device
    sources = make_sources(batch.sources, np.arange(len(batch.sources)), network.pictures, str(device))
    pixels = torch.from_numpy(batch.pixels).to(device)
    rays = rays_of(batch.truth.target(0), pixels + 0.5)

    def jitter(count: int) -> Tensor:
        return torch.from_numpy(rng.uniform(size=(len(pixels), count)).astype(np.float32)).to(device)

    parts = options.coarse if batch.use_depth else 0
    places = even_places(len(pixels), options.coarse, device, jitter(options.coarse))
    coarse = look(network, sources, rays, places, depth_parts=parts)
    weights = coarse.weights.detach()
    if batch.use_depth:
        weights = guided(weights, depth_weights(sources, rays, places))
    places = drawn_places(weights, options.fine, jitter(options.fine))
    fine = look(network, sources, rays, places, depth_parts=parts)
    truth = _truth(batch, device)
    errors = [((found.colour - truth) ** 2).mean() for found in (coarse, fine)]
    loss = _COARSE_SHARE * errors[0] + errors[1]
    if options.depth_weight and batch.truth.depth is not None:
        loss = loss + options.depth_weight * sum(
            share * _depth_error(found.inverse_depth, batch, rays)
            for share, found in ((_COARSE_SHARE, coarse), (1.0, fine))
        )
    return loss, float(-10 * torch.log10(errors[1].detach() + 1e-10))


def rate_share(number: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest: warm-up, then a cosine to 0.02."""
    warm = max(1, round(_WARM_UP * steps))
    if number < warm:
        return (number + 1) / warm
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm)))


def _draw_pixels(views: ViewSet, number: int, count: int, rng: np.random.Generator) -> IntArray:
    """Draw (count, 2) pixels of a picture; half of them around what its depth map knows."""
    height, width = views.images_srgb.shape[1:3]
    size, share = np.array([width, height]), rng.uniform(size=(count, 2))
    pixels = share * size
    known = np.zeros((0, 2)) if views.depth is None else np.argwhere(views.depth[number] > 0)[:, ::-1]
    if len(known):
        margin = 0.05 * size
        low, high = np.maximum(0, known.min(0) - margin), np.minimum(size, known.max(0) + 1 + margin)
        pixels[::2] = (low + share * (high - low))[::2]
    return np.minimum(pixels.astype(np.int64), size - 1)


def _truth(batch: Batch, device: torch.device) -> Tensor:
    colours = batch.truth.images_srgb[0][batch.pixels[:, 1], batch.pixels[:, 0]] / 255.0
    return torch.from_numpy(colours).float().to(device)


def _depth_error(inverse_depth: Tensor, batch: Batch, rays: Rays) -> Tensor:
    """Return the mean error in inverse depth, as a share of the range, where the picture has depth."""
    if batch.truth.depth is None:
        return inverse_depth.new_zeros(())
    found = batch.truth.depth[0][batch.pixels[:, 1], batch.pixels[:, 0]]
    depth = torch.from_numpy(found).to(inverse_depth.device)
    off = (inverse_depth - 1 / depth.clamp(min=1e-3)).abs() / (
        1 / rays.depth_range[1] - 1 / rays.depth_range[2]
    )
    return (off * (depth > 0)).sum() / max(1, len(found))
