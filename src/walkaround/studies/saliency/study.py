"""The study: arms, training, evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe
from walkaround.studies.frame.study import Claim, Job, Metric
from walkaround.studies.saliency.recipe import FULL, SaliencyRecipe
from walkaround.types import Progress

SUPERVISED, CONSISTENT = "supervised", "consistent"
F_BETA_SLACK = 0.005
"""A loss of F-beta smaller than this is none; ours, and fixed before anything was measured."""
_SOURCE = "arXiv:2303.06042, view-consistent salient object detection"
_PAPER = "claimed; its numbers are of MVImgNet and not comparable"


class SaliencyStudy:
    """See :mod:`walkaround.studies.saliency`."""

    name = "saliency"
    text = "Does a loss on warped predictions make the masks of neighbouring views agree?"
    recipe_type = SaliencyRecipe
    presets: ClassVar[dict[str, Recipe]] = {"miniature": SaliencyRecipe(), "full": FULL}
    metrics = (
        Metric(name="warp_agreement", text="views agree %", percent=True),
        Metric(name="warp_error", text="differ by", higher_is_better=False),
        Metric(name="flow_agreement", text="agree by flow %", percent=True),
        Metric(name="f_beta", text="F-beta"),
        Metric(name="mae", text="MAE", higher_is_better=False),
        Metric(name="s_measure", text="S"),
        Metric(name="e_measure", text="E"),
        Metric(name="iou", text="IoU"),
    )
    claims = (
        Claim(
            text="The consistency loss raises the agreement of warped predictions.",
            source=_SOURCE, paper=_PAPER, metric="warp_agreement", better=CONSISTENT, than=SUPERVISED,
        ),
        Claim(
            text="It brings warped predictions nearer to each other.",
            source=_SOURCE, paper=_PAPER, metric="warp_error", better=CONSISTENT, than=SUPERVISED,
        ),
        Claim(
            text=f"It costs no F-beta (less than {F_BETA_SLACK}).",
            source=_SOURCE, paper=_PAPER, metric="f_beta", better=CONSISTENT, than=SUPERVISED,
            slack=F_BETA_SLACK,
        ),
    )  # fmt: skip

    def arms(self, recipe: SaliencyRecipe) -> tuple[str, ...]:
        """Return the two trainings."""
        return SUPERVISED, CONSISTENT

    def prepare(self, recipe: SaliencyRecipe, folder: Path, progress: Progress) -> None:
        """Render or read the data."""
        from walkaround.studies.saliency.prepare import prepare

        prepare(recipe, folder, progress)

    def train(self, recipe: SaliencyRecipe, job: Job) -> None:
        """Train one network; both arms see the same images in the same order."""
        from walkaround.studies.saliency.training import train

        train(recipe, job, consistent=job.arm == CONSISTENT)

    def evaluate(self, recipe: SaliencyRecipe, job: Job) -> dict[str, float]:
        """Measure maps and their agreement on objects that no arm has seen."""
        from walkaround.studies.saliency.measures import Measures
        from walkaround.studies.saliency.prepare import read_store

        store = read_store(job.data_dir)
        rows = np.flatnonzero(~store.is_train)
        if not len(rows):
            raise UsageError("There are no test images.")
        found = np.zeros((len(store.is_train), *store.images.shape[2:]), np.float32)
        found[rows] = _maps(recipe, job, store.images, rows)
        measures = Measures()
        for row in rows:
            measures.add(found[row].astype(np.float64), store.masks[row] > 127)
        return {**measures.results(), **_agreement(store, found)}


def _maps(recipe: SaliencyRecipe, job: Job, images: Any, rows: Any) -> Any:
    """Return the probabilities (M, S, S) of some images."""
    import torch

    from walkaround.studies.frame.checkpoints import load_result
    from walkaround.studies.saliency.losses import normalised
    from walkaround.studies.saliency.u2net import make_network

    network = make_network(recipe.network).to(job.device)
    network.load_state_dict(load_result(job.folder / "network.pt", job.device))
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), 32):
            part = np.ascontiguousarray(images[rows[start : start + 32]])
            logits = network(normalised(torch.from_numpy(part).to(job.device)))[0]
            parts.append(logits.float().sigmoid()[:, 0].cpu().numpy())
    return np.concatenate(parts)


def _agreement(store: Any, found: Any) -> dict[str, float]:
    """Compare the maps of all test pairs, warped by the true flow and by the recipe's.

    ``*_agreement`` is the share of confirmed pixels where both maps say object, or both say none (above 0.5);
    ``warp_error`` the mean difference of the maps. Without depth anywhere the true flow is the recipe's.
    """
    test = np.flatnonzero(~store.is_train[store.first])
    has_truth = bool(store.truth_valid[test].any())
    by_flow = _compared(store, found, test, store.flow, store.valid)
    by_truth = _compared(store, found, test, store.truth_flow, store.truth_valid) if has_truth else by_flow
    return {
        "warp_agreement": by_truth[0],
        "warp_error": by_truth[1],
        "flow_agreement": by_flow[0],
        "flow_error": by_flow[1],
        "warp_is_exact": float(has_truth),
    }


def _compared(store: Any, found: Any, pairs: Any, flow: Any, valid: Any) -> tuple[float, float]:
    import torch

    from walkaround.studies.saliency.losses import warped

    same = away = count = 0.0
    for pair in pairs:
        other = torch.from_numpy(found[store.second[pair]])[None, None]
        moved = warped(other, torch.from_numpy(flow[pair].astype(np.float32))[None])[0, 0].numpy()
        own, here = found[store.first[pair]], np.asarray(valid[pair])
        same += float(((own > 0.5) == (moved > 0.5))[here].sum())
        away += float(np.abs(own - moved)[here].sum())
        count += float(here.sum())
    return same / max(count, 1.0), away / max(count, 1.0)
