"""A picture from a new place: a sparse coarse look, then a fine look at every pixel, in chunks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from walkaround.errors import UsageError
from walkaround.radiance.network import RadianceNetwork
from walkaround.radiance.options import SamplingOptions
from walkaround.radiance.sampling import (
    Rays,
    Sources,
    composited,
    depth_stops,
    depth_weights,
    drawn_places,
    even_places,
    gather,
    make_sources,
    rays_of,
)
from walkaround.radiance.views import TargetView, ViewSet, nearest_views
from walkaround.types import ByteArray, Float32Array, Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A picture of a new view."""

    image_srgb: ByteArray  # (H, W, 3)
    depth: Float32Array  # (H, W)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found along rays."""

    colour: Tensor  # (R, 3) of 0..1
    inverse_depth: Tensor  # (R,)
    weights: Tensor  # (R, S)


def look(
    network: RadianceNetwork, sources: Sources, rays: Rays, places: Tensor, *, depth_parts: int = 0
) -> Look:
    """Look along rays at (R, S) places and composite what is there.

    Parameters
    ----------
    depth_parts
        Samples of the coarse look, to let the depth maps say what stops a ray; 0: the network alone.
    """
    seen = gather(sources, rays.points(places), rays.start)
    stopped, colours = network(seen, places)
    if depth_parts:
        measured, trust = depth_stops(sources, rays, places, depth_parts)
        stopped = stopped + trust * (measured - stopped)
    weights = composited(stopped, last=True)
    inverse = 1 / rays.depths(places)
    return Look(
        colour=(weights[..., None] * colours).sum(dim=1),
        inverse_depth=(weights * inverse).sum(dim=1),
        weights=weights,
    )


def guided(coarse: Tensor, known: Tensor) -> Tensor:
    """Join the weights of the coarse look with those of the depth maps, which come first; both (R, S)."""
    return coarse * (1 - known.sum(dim=1, keepdim=True)) + known


def render_view(
    network: RadianceNetwork,
    views: ViewSet,
    target: TargetView,
    *,
    options: SamplingOptions | None = None,
    progress: Progress = no_progress,
) -> Rendered:
    """Render a new view of a scene from its nearest pictures.

    Memory grows with the pictures and ``options.chunk``, hardly with the size of the view.

    Parameters
    ----------
    network
        On the device to use.

    Raises
    ------
    UsageError
        An option makes no sense.
    """
    options = options or SamplingOptions()
    options.check()
    if len(views) < 2:
        raise UsageError(f"A view is rendered from two pictures or more; there are {len(views)}.")
    device = str(next(network.parameters()).device)
    with torch.inference_mode():
        rows = nearest_views(views, target, options.sources)
        sources = make_sources(views, rows, network.pictures, device)
        weights = _coarse_look(network, sources, target, options, device, lambda s: progress(0.2 * s))
        pixels = _pixels(target.size_hw, 1, device)
        parent = _parents(target.size_hw, options.coarse_step_px, device)
        colours, inverse = [], []
        for start in range(0, len(pixels), options.chunk):
            rows_now = slice(start, start + options.chunk)
            rays = rays_of(target, pixels[rows_now])
            places = drawn_places(weights[parent[rows_now]], options.fine)
            parts = options.coarse if options.use_depth else 0
            found = look(network, sources, rays, places, depth_parts=parts)
            colours.append(found.colour)
            inverse.append(found.inverse_depth)
            progress(0.2 + 0.8 * min(1.0, (start + options.chunk) / len(pixels)))
        colour, depth = torch.cat(colours), 1 / torch.cat(inverse)
    height, width = target.size_hw
    image = (colour.clamp(0, 1) * 255).round().to(torch.uint8).view(height, width, 3)
    return Rendered(
        image_srgb=np.asarray(image.cpu().numpy()),
        depth=np.asarray(depth.view(height, width).float().cpu().numpy()),
    )


def _coarse_look(
    network: RadianceNetwork,
    sources: Sources,
    target: TargetView,
    options: SamplingOptions,
    device: str,
    progress: Progress,
) -> Tensor:
    """Return where rays stop, (R, S), for every few pixels, each with its neighbours' surfaces too."""
    step = options.coarse_step_px
    pixels = _pixels(target.size_hw, step, device)
    parts = []
    for start in range(0, len(pixels), options.chunk):
        rays = rays_of(target, pixels[start : start + options.chunk])
        places = even_places(len(rays.step), options.coarse, device)
        parts_of_depth = options.coarse if options.use_depth else 0
        weights = look(network, sources, rays, places, depth_parts=parts_of_depth).weights
        if options.use_depth:
            weights = guided(weights, depth_weights(sources, rays, places))
        parts.append(weights)
        progress(min(1.0, (start + options.chunk) / len(pixels)))
    weights = torch.cat(parts)
    if step == 1:
        return weights
    rows, columns = (-(-side // step) for side in target.size_hw)
    plane = weights.t().reshape(1, -1, rows, columns)
    # an outline between two coarse rays needs the surfaces of both
    plane = functional.max_pool2d(plane, 3, stride=1, padding=1)
    return plane.reshape(weights.shape[1], -1).t().contiguous()


def _pixels(size_hw: tuple[int, int], step: int, device: str) -> Tensor:
    """Return the middles of the pixels, or of blocks of ``step`` x ``step``: (R, 2), row by row."""
    y, x = (torch.arange(0, side, step, device=device) + 0.5 * step for side in size_hw)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def _parents(size_hw: tuple[int, int], step: int, device: str) -> Tensor:
    """Return for each pixel the number of its block."""
    height, width = size_hw
    columns = -(-width // step)
    y, x = torch.arange(height, device=device) // step, torch.arange(width, device=device) // step
    return (y[:, None] * columns + x[None]).reshape(-1)
