"""The study: arms, training, evaluation.

Every arm but ``random`` trains an encoder by MoCo v2 without labels, on all views of the training objects,
for the same number of steps; both images of a pair are augmented. The arms differ in the pair alone:

- ``random``: no training at all, the floor.
- ``augmented``: a view and itself, as in MoCo v2.
- ``view-near``, ``view-far``: a view and another one of the same object, at ``near_deg`` or ``far_deg``.

The queue knows no objects, so in all arms other views of a query's object may be among its negatives.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from walkaround.studies.contrast.recipe import FULL, ContrastRecipe
from walkaround.studies.frame.recipe import Recipe
from walkaround.studies.frame.study import Claim, Job, Metric
from walkaround.studies.views.rows import Views
from walkaround.types import IntArray, Progress

_SOURCE = "our reading of arXiv:2303.06042, view-consistent image understanding"
_PAPER = "claimed in words as we read them; its numbers are not quoted here"


class ContrastStudy:
    """See :mod:`walkaround.studies.contrast`."""

    name = "contrast"
    text = "Are other views of an object better positives for contrastive learning than augmented copies?"
    recipe_type = ContrastRecipe
    presets: ClassVar[dict[str, Recipe]] = {"miniature": ContrastRecipe(), "full": FULL}
    metrics = (
        Metric(name="top1", text="linear probe, top-1 %", percent=True),
        Metric(name="knn", text="k-NN, top-1 %", percent=True),
        Metric(
            name="confidence_variance", text="variance of the true class's confidence", higher_is_better=False
        ),
        Metric(name="all_right", text="objects with all views right %", percent=True),
        Metric(name="agreement", text="neighbouring views agree %", percent=True),
    )
    claims = (
        Claim(
            text="Near views are better positives than augmented copies, by linear probe.",
            source=_SOURCE, paper=_PAPER, metric="top1", better="view-near", than="augmented",
        ),
        Claim(
            text="Far views are better positives than augmented copies, by linear probe.",
            source=_SOURCE, paper=_PAPER, metric="top1", better="view-far", than="augmented",
        ),
        Claim(
            text="Near views are better positives than augmented copies, by k-NN.",
            source=_SOURCE, paper=_PAPER, metric="knn", better="view-near", than="augmented",
        ),
        Claim(
            text="Near views as positives make predictions more even across views.",
            source=_SOURCE, paper=_PAPER, metric="confidence_variance", better="view-near", than="augmented",
        ),
    )  # fmt: skip

    def arms(self, recipe: ContrastRecipe) -> tuple[str, ...]:
        """Return the kinds of positives."""
        return ("random", "augmented", "view-near", "view-far")

    def prepare(self, recipe: ContrastRecipe, folder: Path, progress: Progress) -> None:
        """Render or read the data."""
        from walkaround.studies.views.store import prepare

        prepare(recipe, folder, progress)

    def train(self, recipe: ContrastRecipe, job: Job) -> None:
        """Train one encoder with one kind of positives."""
        import torch

        from walkaround.studies.frame.checkpoints import fit, save_result
        from walkaround.studies.views.store import read_store

        model = _model(recipe, job).train()
        if job.arm == "random":
            save_result(job.folder / "encoder.pt", model.encoder.state_dict())
            return
        store = read_store(job.data_dir)
        first, second = positives(store.views, job.arm, recipe)
        optimizer = torch.optim.SGD(
            model.query.parameters(), lr=recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay
        )

        def step(number: int) -> float:
            queries, keys, order = _batch(store.images, first, second, recipe, job, number)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * 0.5 * (1 + math.cos(math.pi * number / recipe.steps))
            loss = model(queries, keys, order)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        fit(job, {"model": model, "optimizer": optimizer}, step, num_steps=recipe.steps)
        save_result(job.folder / "encoder.pt", model.encoder.state_dict())

    def evaluate(self, recipe: ContrastRecipe, job: Job) -> dict[str, float]:
        """Classify all views of the objects that were not trained on, by frozen features."""
        from walkaround.studies.contrast.probe import linear_probe, nearest_neighbours
        from walkaround.studies.frame.checkpoints import load_result
        from walkaround.studies.views.consistency import measure
        from walkaround.studies.views.networks import outputs
        from walkaround.studies.views.store import read_store

        store = read_store(job.data_dir)
        encoder = _model(recipe, job).encoder
        encoder.load_state_dict(load_result(job.folder / "encoder.pt", job.device))
        known, rows = probed_rows(store.views, recipe.probe_views), np.flatnonzero(~store.views.is_train)
        train, test = (outputs(encoder, store.images, part, job.device) for part in (known, rows))
        label, num_classes = store.views.label[known], len(store.classes)
        probability = linear_probe(
            train, label, test, num_classes=num_classes, decay=recipe.probe_decay, device=job.device
        )
        voted = nearest_neighbours(
            train, label, test, num_classes=num_classes, neighbours=recipe.neighbours, device=job.device
        )
        knn = float((voted == store.views.label[rows]).mean())
        return {**measure(store.views, rows, probability), "knn": knn}


def positives(views: Views, arm: str, recipe: ContrastRecipe) -> tuple[IntArray, IntArray]:
    """Return the training rows (M,), and for each the rows (M, P) of which one at random is its positive.

    Raises
    ------
    ValueError
        There is no such arm.
    """
    from walkaround.studies.contrast.pairs import partners

    rows = np.flatnonzero(views.is_train)
    if arm == "augmented":
        return rows, rows[:, None]
    gaps = {"view-near": recipe.near_deg, "view-far": recipe.far_deg}
    if arm not in gaps:
        raise ValueError(f"There is no arm {arm!r} that is trained; there are augmented, {', '.join(gaps)}.")
    return rows, partners(views, rows, gaps[arm])


def probed_rows(views: Views, count: int) -> IntArray:
    """Return the rows of training objects that the probe has: ``count`` of each, evenly; 0: all."""
    rows = np.flatnonzero(views.is_train)
    if not count:
        return rows
    chosen = []
    for thing in np.unique(views.thing[rows]):
        own = rows[views.thing[rows] == thing]
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, count).round().astype(int))])
    return np.concatenate(chosen)


def _batch(
    images: Any, first: IntArray, second: IntArray, recipe: ContrastRecipe, job: Job, number: int
) -> tuple[Any, Any, Any]:
    """Return queries and keys (N, 3, S, S), augmented and normalised, and the order of the keys (N,)."""
    import torch

    from walkaround.studies.contrast.augment import augmented
    from walkaround.studies.frame.seeds import rng_of
    from walkaround.studies.views.networks import normalised

    rng = rng_of(job.seed, "batch", number)  # the same for all arms: queries differ in nothing
    chosen = rng.choice(len(first), recipe.batch, replace=len(first) < recipe.batch)
    order = torch.from_numpy(rng.permutation(recipe.batch)).to(job.device)
    side = rng.integers(2, size=recipe.batch) % second.shape[1]
    pair = []
    for rows in (first[chosen], second[chosen, side]):
        part = torch.from_numpy(np.ascontiguousarray(images[rows])).to(job.device)
        pair.append(normalised(augmented(part, rng)))
    return pair[0], pair[1], order


def _model(recipe: ContrastRecipe, job: Job) -> Any:
    from walkaround.studies.contrast.moco import MomentumContrast
    from walkaround.studies.frame.seeds import seeded

    with seeded(job.seed):
        model = MomentumContrast(
            recipe.network,
            queue=recipe.queue,
            momentum=recipe.momentum,
            temperature=recipe.temperature,
            groups=recipe.groups,
        )
    return model.to(job.device)
