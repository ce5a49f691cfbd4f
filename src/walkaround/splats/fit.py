"""Fit Gaussians to the pictures of one sequence."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from walkaround.radiance.views import TargetView, ViewSet
from walkaround.splats.density import Demand, grown, pruned
from walkaround.splats.gaussians import Gaussians, draw
from walkaround.splats.options import SplatOptions
from walkaround.types import BoolArray, ByteArray, Progress, no_progress

_RATES = {"means": 4e-4, "log_scales": 1e-2, "rotations": 3e-3, "logits": 5e-2, "harmonics": 1e-2}
"""Of Adam; that of the means as a share of the cameras' distance, falling to a hundredth."""
_DIRECTED = 0.1
"""The rate of the colours' change with the direction, as a share of theirs."""
_SIZES = ((0.25, 0.1), (0.5, 0.35), (1.0, 1.0))
"""Size of the pictures and until which share of the steps: small ones are quick and show the large shapes."""
_GROWING = (0.05, 0.6)
_GROW_EVERY = 100
_SSIM_SHARE = 0.2
_SMALL = 0.01
"""Of the cameras' distance."""
_MOMENTUM, _SECOND = 0.9, 0.999


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture to compare with, at one size."""

    target: TargetView
    colours: Tensor  # (H, W, 3) of 0..1
    mask: Tensor | None  # (H, W) of 0..1


def fit_splats(
    views: ViewSet,
    first: Gaussians,
    options: SplatOptions,
    *,
    masks: BoolArray | None = None,
    num_threads: int = 1,
    progress: Progress = no_progress,
) -> Gaussians:
    """Change Gaussians until they look like the pictures from the pictures' cameras.

    Parameters
    ----------
    masks
        (V, H, W) of the object: it alone is fitted, before nothing.
    """
    options.check()
    rng = np.random.default_rng((options.seed, 1))
    chance = torch.Generator().manual_seed(options.seed)
    sizes = [_pictures(views, masks, share) for share, _ in _SIZES]
    distance = float(np.median(np.linalg.norm(views.centres - views.middle, axis=1)))
    adam = _Adam(first)
    demand = Demand(len(first))
    order: list[int] = []
    for step in range(options.steps):
        share = step / options.steps
        pictures = sizes[next(k for k, (_, until) in enumerate(_SIZES) if share < until)]
        order = order or [int(number) for number in rng.permutation(len(views))]
        picture = pictures[order.pop()]
        drawn = draw(adam.gaussians, picture.target, num_threads=num_threads)
        background = torch.from_numpy(rng.uniform(size=3)).float() if masks is not None else torch.zeros(3)
        image = drawn.image + drawn.passed[..., None] * background
        _loss(image, picture, background).backward()
        demand.add(drawn, picture.target.size_hw)
        adam.step({**_RATES, "means": _RATES["means"] * distance * 0.01**share})
        if (step + 1) % _GROW_EVERY == 0 and _GROWING[0] <= share < _GROWING[1]:
            rounds_left = 1 + int((_GROWING[1] * options.steps - step - 1) / _GROW_EVERY)
            wanted = math.ceil((options.most - len(demand.pull)) / rounds_left)
            more, origin = grown(adam.plain(), demand.mean(), wanted, _SMALL * distance, chance)
            adam.replace(more, origin)
            kept = pruned(adam.plain())
            adam.replace(adam.plain().at(kept), kept)
            demand = Demand(len(kept))
        progress((step + 1) / options.steps)
    found = adam.plain()
    return found.at(pruned(found))


def picture_of(gaussians: Gaussians, target: TargetView, *, num_threads: int = 1) -> ByteArray:
    """Draw Gaussians before black: (H, W, 3)."""
    with torch.no_grad():
        image = draw(gaussians, target, num_threads=num_threads).image
    return np.asarray((image.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


class _Adam:
    """Adam (Kingma and Ba 2015) on Gaussians whose number changes."""

    def __init__(self, first: Gaussians) -> None:
        self.gaussians = first
        self.moments = {
            name: (torch.zeros_like(part), torch.zeros_like(part)) for name, part in first.parts().items()
        }
        self.count = 0
        self._watch(first)

    def _watch(self, gaussians: Gaussians) -> None:
        parts = {name: part.detach().clone().requires_grad_(True) for name, part in gaussians.parts().items()}
        self.gaussians = dataclasses.replace(gaussians, **parts)

    def plain(self) -> Gaussians:
        """Return the Gaussians without gradients."""
        parts = {name: part.detach() for name, part in self.gaussians.parts().items()}
        return dataclasses.replace(self.gaussians, **parts)

    def step(self, rates: dict[str, float]) -> None:
        """Go down the gradients, and clear them."""
        self.count += 1
        correction = math.sqrt(1 - _SECOND**self.count) / (1 - _MOMENTUM**self.count)
        for name, part in self.gaussians.parts().items():
            first, second = self.moments[name]
            if part.grad is None:
                continue
            first.mul_(_MOMENTUM).add_(part.grad, alpha=1 - _MOMENTUM)
            second.mul_(_SECOND).addcmul_(part.grad, part.grad, value=1 - _SECOND)
            change = rates[name] * correction * first / (second.sqrt() + 1e-15)
            if name == "harmonics":
                change[:, 1:] *= _DIRECTED
            with torch.no_grad():
                part -= change
            part.grad = None

    def replace(self, gaussians: Gaussians, origin: Tensor) -> None:
        """Go on with other Gaussians; those that were there before (origin 0 or more) keep their moments."""
        old = origin.clamp(min=0)
        fresh = origin < 0
        for name, both in self.moments.items():
            moved = tuple(moment[old] for moment in both)
            for moment in moved:
                moment[fresh] = 0
            self.moments[name] = moved
        self._watch(gaussians)


def _pictures(views: ViewSet, masks: BoolArray | None, share: float) -> list[_Picture]:
    height, width = (max(16, round(share * side)) for side in views.images_srgb.shape[1:3])
    scale = np.array([width, height]) / views.images_srgb.shape[2:0:-1]
    found = []
    for number in range(len(views)):
        target = views.target(number)
        K = target.K.copy()
        K[:2] *= scale[:, None]
        image = cv2.resize(views.images_srgb[number], (width, height), interpolation=cv2.INTER_AREA)
        mask = None
        if masks is not None:
            small = cv2.resize(
                masks[number].astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
            )
            mask = torch.from_numpy(small)
        found.append(
            _Picture(
                target=dataclasses.replace(target, K=K, size_hw=(height, width)),
                colours=torch.from_numpy(image).float() / 255,
                mask=mask,
            )
        )
    return found


def _loss(image: Tensor, picture: _Picture, background: Tensor) -> Tensor:
    truth = picture.colours
    if picture.mask is not None:
        truth = truth * picture.mask[..., None] + background * (1 - picture.mask[..., None])
    off = (image - truth).abs().mean()
    return (1 - _SSIM_SHARE) * off + _SSIM_SHARE * (1 - _similarity(image, truth))


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean structural similarity (Wang et al. 2004) of (H, W, 3), differentiably."""
    places = torch.arange(11, dtype=torch.float32) - 5
    weights = torch.exp(-0.5 * (places / 1.5) ** 2)
    weights = weights / weights.sum()
    both = torch.stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2).reshape(1, 15, *a.shape[:2])
    across = functional.conv2d(
        both, weights.view(1, 1, 1, 11).expand(15, 1, 1, 11), padding=(0, 5), groups=15
    )
    smooth = functional.conv2d(
        across, weights.view(1, 1, 11, 1).expand(15, 1, 11, 1), padding=(5, 0), groups=15
    )
    mean_a, mean_b, square_a, square_b, product = smooth.view(5, 3, *a.shape[:2]).unbind(0)
    shared = mean_a * mean_b
    high = (2 * shared + 1e-4) * (2 * (product - shared) + 9e-4)
    low = (mean_a**2 + mean_b**2 + 1e-4) * (square_a - mean_a**2 + square_b - mean_b**2 + 9e-4)
    return (high / low).mean()
