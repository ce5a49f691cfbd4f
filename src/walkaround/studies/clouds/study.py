"""``study cloud``: recognition of point clouds from scratch and after pretraining, by share of labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from walkaround.studies.clouds.recipe import PRESETS, SHARES, CloudRecipe
from walkaround.studies.frame import Claim, Job, Metric
from walkaround.types import Progress

_PRETRAINED = "-pretrained"
_SOURCE = "arXiv:2303.06042, MVPNet; arXiv:2203.06604"


def _name(share: float) -> str:
    return f"accuracy_{round(100 * share)}"


def _claim(share: float) -> Claim:
    return Claim(
        text=f"Masked pretraining raises accuracy with {100 * share:g} % of the labels.",
        source=_SOURCE,
        paper="a gain",
        metric=_name(share),
        better="pointmae-pretrained",
        than="pointmae",
    )


class CloudStudy:
    """PointNet, PointNet++, PointMLP and Point-MAE; each from scratch and pretrained, at four shares."""

    name = "cloud"
    text = "Point clouds: networks from scratch and after pretraining, by share of labels."
    recipe_type = CloudRecipe
    presets: ClassVar = PRESETS
    metrics = (
        *(Metric(name=_name(share), text=f"accuracy, {100 * share:g} %", percent=True) for share in SHARES),
        Metric(name="lost", text="lost, 100 to 1 %", percent=True, higher_is_better=False),
    )
    claims = (
        *(_claim(share) for share in SHARES),
        Claim(
            text="It helps most with few labels: less is lost from all of them to 1 %.",
            source=_SOURCE,
            paper="not measured there",
            metric="lost",
            better="pointmae-pretrained",
            than="pointmae",
        ),
    )

    def arms(self, recipe: CloudRecipe) -> tuple[str, ...]:
        """Each network, and again with pretraining."""
        endings = ("", _PRETRAINED) if recipe.pretrain else ("",)
        return tuple(network + ending for network in recipe.networks for ending in endings)

    def prepare(self, recipe: CloudRecipe, folder: Path, progress: Progress) -> None:
        """Read or make the clouds."""
        from walkaround.studies.clouds.prepare import prepare_clouds

        prepare_clouds(recipe, folder, progress)

    def train(self, recipe: CloudRecipe, job: Job) -> None:
        """Pretrain when the arm says so, then train with each share of the labels."""
        from walkaround.studies.clouds.training import fine_tune, part_of, pretrain

        network, start, done = job.arm.removesuffix(_PRETRAINED), None, 0.0
        total = recipe.steps * len(SHARES)
        if job.arm.endswith(_PRETRAINED):
            total += recipe.pretrain_steps
            done = recipe.pretrain_steps / total
            before = part_of(job, "pretraining", 0.0, done)
            pretrain(recipe, before, network)
            start = before.folder / "pretrained.pt"
        for share in SHARES:
            after = done + recipe.steps / total
            fine_tune(recipe, part_of(job, _name(share), done, after), network, share, start)
            done = after

    def evaluate(self, recipe: CloudRecipe, job: Job) -> dict[str, float]:
        """Accuracy on the test clouds at each share."""
        from walkaround.studies.clouds.training import measure, part_of

        network, found = job.arm.removesuffix(_PRETRAINED), dict[str, float]()
        for share in SHARES:
            measured = measure(recipe, part_of(job, _name(share), 0.0, 1.0), network)
            found[_name(share)] = measured["accuracy"]
            found[f"class_{_name(share)}"] = measured["class_accuracy"]
        return found | {"lost": found[_name(1.0)] - found[_name(0.01)]}
