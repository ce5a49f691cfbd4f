"""The training of both arms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from walkaround.studies.classify.study import rate_share
from walkaround.studies.frame.checkpoints import fit, save_result
from walkaround.studies.frame.seeds import rng_of, seeded
from walkaround.studies.frame.study import Job
from walkaround.studies.saliency.losses import consistency_loss, normalised, supervised_loss
from walkaround.studies.saliency.prepare import Store, read_store
from walkaround.studies.saliency.recipe import SaliencyRecipe
from walkaround.studies.saliency.u2net import make_network


def train(recipe: SaliencyRecipe, job: Job, *, consistent: bool) -> None:
    """Train on pairs of neighbouring frames and leave ``network.pt``.

    Both arms take the same pairs, changed alike, with the supervised loss on each frame; ``consistent`` adds
    the consistency loss between the two.
    """
    store = read_store(job.data_dir)
    pairs = np.flatnonzero(store.is_train[store.first])
    with seeded(job.seed):
        network = make_network(recipe.network).to(job.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    kind = torch.device(job.device).type

    def step(number: int) -> float:
        rng = rng_of(job.seed, "batch", number)
        chosen = pairs[rng.integers(len(pairs), size=recipe.batch)]
        images, masks, flow, valid = drawn_batch(store, chosen, rng, job.device)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_share(number, recipe.steps)
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.bfloat16):
            maps = network(images.contiguous(memory_format=torch.channels_last))
        loss = supervised_loss(maps, masks)
        if consistent and number >= recipe.consistent_from * recipe.steps:
            first, second = maps[0].float().sigmoid().chunk(2)
            loss = loss + recipe.weight * consistency_loss(first, second, flow, valid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    fit(job, {"network": network, "optimizer": optimizer}, step, num_steps=recipe.steps)
    save_result(job.folder / "network.pt", network.state_dict())


def drawn_batch(
    store: Store, pairs: np.ndarray, rng: np.random.Generator, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images (2B, 3, S, S), first frames before second ones, masks (2B, 1, S, S), flow, validity.

    Half of the pairs are mirrored, both frames and their flow; light, contrast, colour and noise differ from
    frame to frame, so that two frames of a pair do not look alike for nothing.
    """
    rows = np.concatenate([store.first[pairs], store.second[pairs]])
    images = torch.from_numpy(store.images[rows].astype(np.float32)).to(device)
    masks = torch.from_numpy(store.masks[rows][:, None].astype(np.float32) / 255).to(device)
    flow = torch.from_numpy(store.flow[pairs].astype(np.float32)).to(device)
    valid = torch.from_numpy(store.valid[pairs].astype(np.float32)).to(device)
    mirror = torch.from_numpy(rng.uniform(size=len(pairs)) < 0.5).to(device)
    both = torch.cat([mirror, mirror])[:, None, None, None]
    images, masks = (torch.where(both, each.flip(3), each) for each in (images, masks))
    sign = torch.tensor([-1.0, 1.0], device=device)[:, None, None]
    flow = torch.where(mirror[:, None, None, None], flow.flip(3) * sign, flow)
    valid = torch.where(mirror[:, None, None], valid.flip(2), valid)
    return normalised(_relit(images, rng)), masks, flow, valid


def _relit(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Change light, contrast and colour of each image (N, 3, H, W), 0..255, and add noise."""
    count = len(images)
    gain = 1 + 0.25 * rng.uniform(-1, 1, (count, 1)) + 0.1 * rng.uniform(-1, 1, (count, 3))
    contrast = 1 + 0.25 * rng.uniform(-1, 1, count)
    noise = rng.normal(0, 1, images.shape) * rng.uniform(0, 8, (count, 1, 1, 1))
    gains = torch.from_numpy(gain.astype(np.float32)).to(images.device)[:, :, None, None]
    contrasts = torch.from_numpy(contrast.astype(np.float32)).to(images.device)[:, None, None, None]
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    out = ((images - middle) * contrasts + middle) * gains
    return (out + torch.from_numpy(noise.astype(np.float32)).to(images.device)).clamp(0, 255)
