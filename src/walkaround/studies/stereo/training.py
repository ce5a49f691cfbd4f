"""Pretraining without depth, and training with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from walkaround.depth.network.model import StereoNetwork
from walkaround.depth.network.sweep import Stereo, normalised
from walkaround.depth.network.weights import read_weights, write_weights
from walkaround.studies.frame import Job, fit, rng_of, seeded
from walkaround.studies.frame.schedule import warm_cosine
from walkaround.studies.stereo.cosegment import cosegment
from walkaround.studies.stereo.losses import (
    agreement_loss,
    segment_loss,
    supervised_loss,
    sweep_loss,
    view_loss,
)
from walkaround.studies.stereo.recipe import StereoRecipe
from walkaround.studies.stereo.scenes import StereoSet
from walkaround.types import ByteArray, Float32Array, IntArray

_GRADIENT_LIMIT = 1.0


def fresh_network(job: Job) -> StereoNetwork:
    """Return a network of random weights: the same for the same seed."""
    with seeded(job.seed):
        return StereoNetwork().to(job.device)


def write_network(path: Path, network: StereoNetwork, job: Job) -> None:
    """Write a network so that ``--depth.weights`` takes it, too."""
    write_weights(path, network, {"arm": job.arm, "seed": str(job.seed)})


def read_network(path: Path, job: Job) -> StereoNetwork:
    """Return the network that an arm left."""
    network, _ = read_weights(path)
    return network.to(job.device)


def pretrain(recipe: StereoRecipe, job: Job, network: StereoNetwork) -> None:
    """Train a network on the views of the source, without depth."""
    source = StereoSet.load(job.data_dir / "source")

    def loss_of(number: int, rng: np.random.Generator) -> Tensor:
        stereo, _ = draw_batch(source, np.arange(len(source)), recipe.batch_size, rng)
        return self_supervised_loss(network, stereo.to(job.device), recipe, rng, number)

    _fit(recipe, job, network, loss_of, recipe.pretrain_steps)


def fine_tune(recipe: StereoRecipe, job: Job, network: StereoNetwork, percent: int, steps: int) -> None:
    """Train a network with the depth of a share of the labelled objects."""
    train = StereoSet.load(job.data_dir / "train")
    if train.depth is None:
        raise RuntimeError("prepared without depth")
    chosen = share_of_objects(len(train), percent, job.seed)

    def loss_of(number: int, rng: np.random.Generator) -> Tensor:
        stereo, depth = draw_batch(train, chosen, recipe.batch_size, rng)
        if depth is None:
            raise RuntimeError("prepared without depth")
        return supervised_loss(network(stereo.to(job.device)), depth.to(job.device))

    _fit(recipe, job, network, loss_of, steps)


def self_supervised_loss(
    network: StereoNetwork, stereo: Stereo, recipe: StereoRecipe, rng: np.random.Generator, number: int
) -> Tensor:
    """Return the loss of a batch without depth in step ``number``; in every other one with altered images."""
    height, width = stereo.images.shape[-2:]
    first, second = network(stereo)
    loss = 0.5 * view_loss(first, stereo, (height // 2, width // 2), recipe.smooth_weight)
    loss = loss + view_loss(second, stereo, (height, width), recipe.smooth_weight)
    loss = loss + sweep_loss(first, stereo) + sweep_loss(second, stereo)
    if recipe.segment_weight:
        parts = cosegment(first.features, recipe.segments)
        small = torch.nn.functional.avg_pool2d(second.inverse[:, None], 2)[:, 0]
        entropy = segment_loss(first.inverse, stereo, parts) + segment_loss(small, stereo, parts)
        loss = loss + recipe.segment_weight * entropy
    if recipe.augment_weight and number % 2:
        altered, seen = alter(stereo, rng)
        agreement = agreement_loss(network(altered), (first, second), seen)
        loss = loss + recipe.augment_weight * agreement
    return loss


def draw_batch(
    data: StereoSet, chosen: IntArray, size: int, rng: np.random.Generator
) -> tuple[Stereo, Tensor | None]:
    """Draw references of the chosen objects, with their sources, and their depth where it is known.

    Each view gets a gamma and some noise of its own.
    """
    scenes = chosen[rng.integers(len(chosen), size=size)]
    references = rng.integers(data.images.shape[1], size=size)
    stereo, depth = gather(data, scenes, references)
    gamma = torch.from_numpy(rng.uniform(0.8, 1.25, stereo.images.shape[:2]).astype(np.float32))
    images = (stereo.images / 255.0).clamp(min=1e-3) ** gamma[:, :, None, None, None]
    noise = rng.normal(0.0, 0.01, images.shape).astype(np.float32)
    return stereo._replace(images=normalised(images + torch.from_numpy(noise))), depth


def gather(data: StereoSet, scenes: IntArray, references: IntArray) -> tuple[Stereo, Tensor | None]:
    """Return references with their sources, grey levels 0..255 as they are stored."""
    rows = [np.array([r, *data.sources[s, r]]) for s, r in zip(scenes, references, strict=True)]
    images: ByteArray = np.stack([data.images[s][row] for s, row in zip(scenes, rows, strict=True)])
    stereo = Stereo(
        images=torch.from_numpy(images.astype(np.float32))[:, :, None],
        K=torch.from_numpy(np.stack([data.K[s][row] for s, row in zip(scenes, rows, strict=True)])),
        cam_from_world=torch.from_numpy(
            np.stack([data.cam_from_world[s][row] for s, row in zip(scenes, rows, strict=True)])
        ),
        inverse_range=torch.from_numpy(data.inverse_range[scenes, references]),
    )
    if data.depth is None:
        return stereo, None
    depth: Float32Array = np.stack([data.depth[s][r] for s, r in zip(scenes, references, strict=True)])
    return stereo, torch.from_numpy(depth)


def alter(stereo: Stereo, rng: np.random.Generator) -> tuple[Stereo, Tensor]:
    """Change contrast and noise of each view and hide a box of the reference, as JDACS does.

    Returns
    -------
    tuple
        The altered batch, and (B, 1, H, W): 0 in the box, else 1.
    """
    images = stereo.images
    batch, count, _, height, width = images.shape

    def drawn(values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(images.device)

    bend = drawn(rng.uniform(-0.15, 0.15, (batch, count, 1, 1, 1)))
    noise = drawn(rng.normal(0.0, 0.1, images.shape))
    changed = images + bend * images.square() + noise
    seen = torch.ones((batch, 1, height, width), device=images.device)
    for sample in range(batch):
        h, w = (int(side * rng.uniform(0.2, 0.4)) for side in (height, width))
        y, x = int(rng.integers(height - h)), int(rng.integers(width - w))
        seen[sample, :, y : y + h, x : x + w] = 0.0
    hidden = torch.cat([changed[:, :1] * seen[:, None], changed[:, 1:]], dim=1)
    return stereo._replace(images=hidden), seen


def share_of_objects(count: int, percent: int, seed: int) -> IntArray:
    """Draw a share of the objects, at least one; the larger share holds the smaller."""
    order = rng_of(seed, "objects").permutation(count)
    return np.sort(order[: max(1, math.ceil(count * percent / 100))])


def make_optimiser(network: StereoNetwork, rate: float, steps: int) -> tuple[Any, Any]:
    """Return Adam, and its rate: it rises over a tenth of the steps and falls as a cosine."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    return optimizer, warm_cosine(optimizer, steps)


def _fit(
    recipe: StereoRecipe,
    job: Job,
    network: StereoNetwork,
    loss_of: Callable[[int, np.random.Generator], Tensor],
    steps: int,
) -> None:
    optimizer, schedule = make_optimiser(network, recipe.rate, steps)

    def step(number: int) -> float:
        network.train()
        loss = loss_of(number, rng_of(job.seed, "batch", number))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
        optimizer.step()
        schedule.step()
        return float(loss.item())

    fit(job, {"net": network, "optimizer": optimizer, "schedule": schedule}, step, num_steps=steps)
