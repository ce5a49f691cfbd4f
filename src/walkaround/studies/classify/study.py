"""The study: arms, training, evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from walkaround.studies.classify.recipe import FULL, ClassifyRecipe
from walkaround.studies.frame.recipe import Recipe
from walkaround.studies.frame.study import Claim, Job, Metric
from walkaround.types import Progress

_SOURCE = "arXiv:2303.06042, view-consistent image classification"
_PAPER = "claimed; its numbers are of ImageNet and MVImgNet and not comparable"


class ClassifyStudy:
    """See :mod:`walkaround.studies.classify`."""

    name = "classify"
    text = "Does training on views of objects make the predictions for their views agree?"
    recipe_type = ClassifyRecipe
    presets: ClassVar[dict[str, Recipe]] = {"miniature": ClassifyRecipe(), "full": FULL}
    metrics = (
        Metric(name="top1", text="top-1 %", percent=True),
        Metric(
            name="confidence_variance", text="variance of the true class's confidence", higher_is_better=False
        ),
        Metric(name="all_right", text="objects with all views right %", percent=True),
        Metric(name="agreement", text="neighbouring views agree %", percent=True),
    )
    claims = (
        Claim(
            text="Views make predictions more even than augmented copies do, at equal image count.",
            source=_SOURCE, paper=_PAPER, metric="confidence_variance", better="mvi-mix", than="mvi-aug",
        ),
        Claim(
            text="Views get more objects right from all sides than augmented copies do.",
            source=_SOURCE, paper=_PAPER, metric="all_right", better="mvi-mix", than="mvi-aug",
        ),
        Claim(
            text="Adding views raises accuracy.",
            source=_SOURCE, paper=_PAPER, metric="top1", better="mvi-mix", than="baseline",
        ),
    )  # fmt: skip

    def arms(self, recipe: ClassifyRecipe) -> tuple[str, ...]:
        """Return the training sets."""
        from walkaround.studies.classify.sets import ARMS

        return ARMS

    def prepare(self, recipe: ClassifyRecipe, folder: Path, progress: Progress) -> None:
        """Render or read the data."""
        from walkaround.studies.views.store import prepare

        prepare(recipe, folder, progress)

    def train(self, recipe: ClassifyRecipe, job: Job) -> None:
        """Train one network on one training set."""
        import torch

        from walkaround.studies.classify.augment import augmented
        from walkaround.studies.classify.sets import make_set
        from walkaround.studies.frame.checkpoints import fit, save_result
        from walkaround.studies.frame.seeds import rng_of
        from walkaround.studies.views.networks import normalised
        from walkaround.studies.views.store import read_store

        store = read_store(job.data_dir)
        training = make_set(
            store.views, job.arm, extra_frames=recipe.extra_frames, gap_deg=recipe.gap_deg, seed=job.seed
        )
        network = _network(recipe, job, len(store.classes)).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)

        def step(number: int) -> float:
            rng = rng_of(job.seed, "batch", number)
            chosen = rng.integers(len(training.rows), size=recipe.batch)
            rows = training.rows[chosen]
            images = torch.from_numpy(np.ascontiguousarray(store.images[rows])).to(job.device)
            images = normalised(augmented(images, training.strong[chosen], rng))
            labels = torch.from_numpy(store.views.label[rows]).to(job.device)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * rate_share(number, recipe.steps)
            loss = torch.nn.functional.cross_entropy(network(images), labels, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        fit(job, {"network": network, "optimizer": optimizer}, step, num_steps=recipe.steps)
        save_result(job.folder / "network.pt", network.state_dict())

    def evaluate(self, recipe: ClassifyRecipe, job: Job) -> dict[str, float]:
        """Classify all views of the objects that no arm has seen."""
        from scipy.special import softmax

        from walkaround.studies.frame.checkpoints import load_result
        from walkaround.studies.views.consistency import measure
        from walkaround.studies.views.networks import outputs
        from walkaround.studies.views.store import read_store

        store = read_store(job.data_dir)
        network = _network(recipe, job, len(store.classes))
        network.load_state_dict(load_result(job.folder / "network.pt", job.device))
        rows = np.flatnonzero(~store.views.is_train)
        logits = outputs(network, store.images, rows, job.device)
        return measure(store.views, rows, softmax(logits.astype(np.float64), axis=1))


def rate_share(number: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest: warm-up, then a cosine."""
    warm = max(1, steps // 20)
    if number < warm:
        return (number + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm)))


def _network(recipe: ClassifyRecipe, job: Job, num_classes: int) -> Any:
    from walkaround.studies.frame.seeds import seeded
    from walkaround.studies.views.networks import make_network

    with seeded(job.seed):
        network = make_network(recipe.network, num_classes=num_classes, size_px=recipe.size_px)
    return network.to(job.device)
