"""Pretraining, fine-tuning and measuring of one network on clouds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from walkaround.studies.clouds.augment import TRAINING, augment_batch
from walkaround.studies.clouds.layers import CloudNetwork
from walkaround.studies.clouds.networks import build_network, mae_shape
from walkaround.studies.clouds.pointmae import MaskedAutoencoder
from walkaround.studies.clouds.recipe import CloudRecipe
from walkaround.studies.clouds.samples import CloudSet, share_of_labels
from walkaround.studies.frame import Job, fit, load_result, rng_of, save_result, seeded
from walkaround.studies.frame.schedule import warm_cosine
from walkaround.types import Float32Array, IntArray

Tensor = Any
_GRADIENT_LIMIT = 10.0


def pretrain(recipe: CloudRecipe, job: Job, network: str) -> None:
    """Leave ``pretrained.pt`` in the job's folder: what fine-tuning starts from.

    Point-MAE fills in masked patches, without labels; the others learn the classes of the source.
    """
    path = job.folder / "pretrained.pt"
    if path.is_file():
        return
    source = CloudSet.load(job.data_dir / "source")
    if network == "pointmae":
        with seeded(job.seed):
            autoencoder = MaskedAutoencoder(mae_shape(recipe.size)).to(job.device)
        _fit_masked(recipe, job, autoencoder, source)
        kept = {f"encoder.{name}": value for name, value in autoencoder.encoder.state_dict().items()}
    else:
        classifier = _fresh(recipe, network, len(source.class_names), job)
        fit_classes(recipe, job, classifier, source, np.arange(len(source)), recipe.pretrain_steps)
        last = f"head.{len(classifier.head) - 1}."
        kept = {k: v for k, v in classifier.state_dict().items() if not k.startswith(last)}
    save_result(path, kept)
    job.checkpoint_path.unlink(missing_ok=True)


def fine_tune(recipe: CloudRecipe, job: Job, network: str, share: float, start: Path | None) -> None:
    """Leave ``net.pt`` in the job's folder, trained with a share of the labels.

    Parameters
    ----------
    start
        What :func:`pretrain` left; None for random weights.
    """
    path = job.folder / "net.pt"
    if path.is_file():
        return
    train = CloudSet.load(job.data_dir / "train")
    classifier = _fresh(recipe, network, len(train.class_names), job)
    if start is not None:
        classifier.load_state_dict(load_result(start, job.device), strict=False)
    chosen = share_of_labels(train.labels, share, seed=job.seed)
    fit_classes(recipe, job, classifier, train, chosen, recipe.steps)
    save_result(path, classifier.state_dict())
    job.checkpoint_path.unlink(missing_ok=True)


def measure(recipe: CloudRecipe, job: Job, network: str) -> dict[str, float]:
    """Return the accuracy on the test clouds of the ``net.pt`` in the job's folder.

    Returns
    -------
    dict
        ``accuracy`` over all clouds, ``class_accuracy`` its mean over the classes; shares.
    """
    test = CloudSet.load(job.data_dir / "test")
    classifier = _fresh(recipe, network, len(test.class_names), job)
    classifier.load_state_dict(load_result(job.folder / "net.pt", job.device))
    classifier.eval()
    right = np.zeros(len(test), dtype=np.bool_)
    with torch.no_grad():
        for at in range(0, len(test), 64):
            points = np.array(test.points[at : at + 64])
            found = classifier(torch.from_numpy(points).to(job.device)).argmax(dim=1).cpu().numpy()
            right[at : at + 64] = found == test.labels[at : at + 64]
    by_class = [right[test.labels == label].mean() for label in np.unique(test.labels)]
    return {"accuracy": float(right.mean()), "class_accuracy": float(np.mean(by_class))}


def fit_classes(
    recipe: CloudRecipe, job: Job, network: CloudNetwork, data: CloudSet, chosen: IntArray, steps: int
) -> None:
    """Train a network to tell the classes of the chosen clouds."""
    optimizer, schedule = _optimiser(recipe, network, steps)

    def step(number: int) -> float:
        network.train()
        points, labels = _batch(recipe, job, data, chosen, number)
        scores = network(points.to(job.device))
        loss = functional.cross_entropy(scores, labels.to(job.device), label_smoothing=recipe.label_smoothing)
        return _descend(network, loss + network.penalty(), optimizer, schedule)

    fit(job, {"net": network, "optimizer": optimizer, "schedule": schedule}, step, num_steps=steps)


def _fit_masked(recipe: CloudRecipe, job: Job, network: MaskedAutoencoder, data: CloudSet) -> None:
    steps = recipe.pretrain_steps
    optimizer, schedule = _optimiser(recipe, network, steps)

    def step(number: int) -> float:
        network.train()
        points, _ = _batch(recipe, job, data, np.arange(len(data)), number)
        return _descend(network, network(points.to(job.device)), optimizer, schedule)

    fit(job, {"net": network, "optimizer": optimizer, "schedule": schedule}, step, num_steps=steps)


def _fresh(recipe: CloudRecipe, network: str, classes: int, job: Job) -> CloudNetwork:
    with seeded(job.seed):
        return build_network(network, classes, size=recipe.size).to(job.device)


def _batch(
    recipe: CloudRecipe, job: Job, data: CloudSet, chosen: IntArray, number: int
) -> tuple[Tensor, Tensor]:
    """Draw augmented clouds, their points shuffled; one seed and number give the same in every arm."""
    rng = rng_of(job.seed, "batch", len(chosen), number)
    index = chosen[rng.integers(len(chosen), size=recipe.batch_size)]
    points: Float32Array = augment_batch(data.points[index], TRAINING, rng)
    order = rng.permuted(np.tile(np.arange(points.shape[1]), (len(points), 1)), axis=1)
    points = np.take_along_axis(points, order[:, :, None], axis=1)
    return torch.from_numpy(points), torch.from_numpy(data.labels[index])


def _optimiser(recipe: CloudRecipe, network: Any, steps: int) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    return optimizer, warm_cosine(optimizer, steps)


def _descend(network: Any, loss: Tensor, optimizer: Any, schedule: Any) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
    optimizer.step()
    schedule.step()
    return float(loss.item())


def part_of(job: Job, name: str, first: float, last: float) -> Job:
    """Return a job inside of a job: a folder of its own, and a part of its progress."""
    folder = job.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    return replace(job, folder=folder, progress=lambda done: job.progress(first + (last - first) * done))
