"""Training of the shipped mask model, and the data it starts from."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from walkaround.dataset.readers import Dataset
from walkaround.errors import UsageError
from walkaround.io.atomic import write_json
from walkaround.studies.classify.study import rate_share
from walkaround.studies.frame.checkpoints import fit, save_result
from walkaround.studies.frame.seeds import rng_of, seeded
from walkaround.studies.frame.study import Job
from walkaround.studies.saliency.losses import normalised, supervised_loss
from walkaround.studies.saliency.shipped.backgrounds import make_backgrounds, read_pictures
from walkaround.studies.saliency.shipped.pasting import SampleMaker
from walkaround.studies.saliency.shipped.recipe import ShippedRecipe
from walkaround.studies.saliency.u2net import U2Net, make_network
from walkaround.types import ByteArray

logger = logging.getLogger(__name__)
WEIGHTS, _RECIPE = "weights.pt", "recipe.json"
_LEAST_SHARE, _LARGEST_SHARE = 0.01, 0.8
"""Of the frame; what shows less or more of its object is no sample."""


def claim_folder(folder: Path, recipe: ShippedRecipe) -> None:
    """Note the recipe in the folder of a training; refuse one that was begun with another.

    Raises
    ------
    UsageError
        The folder holds a training with another recipe.
    OutputError
        It cannot be written.
    """
    path, wanted = folder / _RECIPE, dataclasses.asdict(recipe)
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        if found != wanted:
            raise UsageError(f"{folder} holds a training with another recipe ({path}). Choose another --out.")
        return
    write_json(path, wanted)


def make_samples(recipe: ShippedRecipe, data: Path, backgrounds: Path | None) -> SampleMaker:
    """Read all images with masks of a dataset, and make the backgrounds.

    Raises
    ------
    UsageError
        No image of the dataset has a mask of a fit size.
    InputError
        ``backgrounds`` holds no pictures.
    """
    images, masks = read_objects(data, recipe.size_px)
    pictures = [] if backgrounds is None else read_pictures(backgrounds)
    rng = rng_of(recipe.seed, "backgrounds")
    return SampleMaker(
        recipe, images, masks, make_backgrounds(recipe.num_backgrounds, recipe.size_px, pictures, rng)
    )


def read_objects(data: Path, size_px: int) -> tuple[ByteArray, ByteArray]:
    """Return images (N, S, S, 3) and masks (N, S, S), 0..255, of a dataset's masked images."""
    images, masks = [], []
    for scene in Dataset(data):
        for name in scene.image_names:
            probability = scene.read_fg_probability(name)
            if probability is None or not _LEAST_SHARE < float(probability.mean()) < _LARGEST_SHARE:
                continue
            size = (size_px, size_px)
            images.append(cv2.resize(scene.read_image(name), size, interpolation=cv2.INTER_AREA))
            mask = cv2.resize(probability, size, interpolation=cv2.INTER_AREA)
            masks.append(np.rint(mask * 255).astype(np.uint8))
    if not images:
        raise UsageError(
            f"{data} holds no image with a mask. Give a dataset of `walkaround simulate-dataset`."
        )
    logger.info("%d images of %s", len(images), data)
    return np.stack(images), np.stack(masks)


class Average:
    """A running average of a network's weights and statistics."""

    def __init__(self, network: U2Net, decay: float) -> None:
        self._network, self._decay, self._count = network, decay, 0
        self.values = {name: value.clone() for name, value in network.state_dict().items()}

    def update(self) -> None:
        """Take the network's present weights in; the first ones count little."""
        decay = min(self._decay, self._count / (self._count + 10.0))
        self._count += 1
        with torch.no_grad():
            for name, value in self._network.state_dict().items():
                if value.dtype.is_floating_point:
                    self.values[name].lerp_(value, 1.0 - decay)
                else:
                    self.values[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"values": self.values, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a checkpoint's state back."""
        self._count = int(state["count"])
        for name, value in state["values"].items():
            self.values[name].copy_(value)


def train_shipped(recipe: ShippedRecipe, maker: SampleMaker, job: Job) -> U2Net:
    """Train, or go on after the last checkpoint; leaves ``weights.pt`` and returns the averaged network.

    Raises
    ------
    TrainingFailed
        A loss is not finite.
    """
    with seeded(recipe.seed):
        network = make_network(recipe.network).to(job.device, memory_format=torch.channels_last).train()
    average = Average(network, recipe.average)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    kind = torch.device(job.device).type

    def step(number: int) -> float:
        images, masks = maker.batch(number)
        pixels = normalised(torch.from_numpy(images.transpose(0, 3, 1, 2)).to(job.device))
        truth = torch.from_numpy(masks[:, None]).to(job.device).float() / 255
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_share(number, recipe.steps)
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.bfloat16):
            maps = network(pixels.contiguous(memory_format=torch.channels_last))
        loss = supervised_loss(maps, truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update()
        if (number + 1) % 50 == 0:
            logger.info("step %d: loss %.3f", number + 1, float(loss.detach()))
        return float(loss.detach())

    state = {"network": network, "optimizer": optimizer, "average": average}
    fit(job, state, step, num_steps=recipe.steps)
    save_result(job.folder / WEIGHTS, average.values)
    network.load_state_dict(average.values)
    return network.eval()
