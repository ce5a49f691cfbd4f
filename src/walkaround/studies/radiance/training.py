"""Pretraining and training on the target."""

from __future__ import annotations

from dataclasses import replace

import torch

from walkaround.radiance.network import RadianceNetwork
from walkaround.radiance.training import TrainingOptions, batch_loss, draw_batch, rate_share
from walkaround.radiance.views import ViewSet
from walkaround.studies.frame import Job, fit, load_result, rng_of, save_result, seeded
from walkaround.studies.radiance.prepare import PRETRAIN, TRAIN, read_objects
from walkaround.studies.radiance.recipe import SOURCES, RadianceRecipe

UNTUNED, TUNED = "untuned.pt", "tuned.pt"
_GRADIENT_LIMIT = 1.0
_POOL = 1.5


def train_arm(recipe: RadianceRecipe, job: Job) -> None:
    """Leave the network before and after its training on the target in the job's folder."""
    network = fresh_network(job)
    steps, rate, before = recipe.tune_steps, recipe.rate, 0
    if job.arm.startswith("pre-"):
        before, rate = recipe.pretrain_steps, recipe.tune_rate
        if not (job.folder / UNTUNED).is_file():
            count = recipe.few if job.arm == "pre-few" else recipe.many
            scenes = read_objects(job.data_dir, PRETRAIN, count)
            part = _part(job, 0.0, before / (before + steps))
            _fit(recipe, part, network, scenes, before, recipe.rate)
    elif job.arm == "scratch-long":
        steps += recipe.pretrain_steps
    if not (job.folder / UNTUNED).is_file():
        save_result(job.folder / UNTUNED, network.state_dict())
        job.checkpoint_path.unlink(missing_ok=True)
    network.load_state_dict(load_result(job.folder / UNTUNED, job.device))
    scenes = read_objects(job.data_dir, TRAIN)
    _fit(recipe, _part(job, before / (before + steps), 1.0), network, scenes, steps, rate)
    save_result(job.folder / TUNED, network.state_dict())


def fresh_network(job: Job) -> RadianceNetwork:
    """Return an untrained network of the job's seed on its device."""
    with seeded(job.seed):
        return RadianceNetwork().to(job.device)


def _fit(
    recipe: RadianceRecipe, job: Job, network: RadianceNetwork, scenes: list[ViewSet], steps: int, rate: float
) -> None:
    options = TrainingOptions(
        rays=recipe.rays, min_sources=min(SOURCES), max_sources=max(SOURCES), coarse=recipe.coarse,
        fine=recipe.fine, rate=rate, depth_weight=0.0, depth_guided=0.0, light=0.0, pool=_POOL,
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)

    def step(number: int) -> float:
        rng = rng_of(job.seed, "batch", len(scenes), number)
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_share(number, steps)
        loss, _ = batch_loss(network, draw_batch(scenes, options, rng), options, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
        optimizer.step()
        return float(loss.detach())

    network.train()
    fit(job, {"network": network, "optimizer": optimizer}, step, num_steps=steps)
    network.eval()


def _part(job: Job, first: float, last: float) -> Job:
    """Return the job with a part of its progress."""
    return replace(job, progress=lambda share: job.progress(first + (last - first) * share))
