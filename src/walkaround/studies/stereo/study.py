"""``study stereo``: depth of views from scratch and after pretraining without depth, by share of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from walkaround.studies.frame import Claim, Job, Metric
from walkaround.studies.stereo.recipe import PRESETS, SHARES, StereoRecipe

if TYPE_CHECKING:
    from pathlib import Path

    from walkaround.types import Progress

BEFORE, AFTER, LONGER = "pretrained", "scratch", "scratch-50-longer"
_SOURCE = "arXiv:2303.06042, section on multi-view stereo"
NETWORK = "net.safetensors"


def _claim(text: str, better: str, than: str, paper: str) -> Claim:
    return Claim(text=text, source=_SOURCE, paper=paper, metric="within_2", better=better, than=than)


class StereoStudy:
    """An MVSNet-class network, from scratch and after self-supervised pretraining, by share of labels."""

    name = "stereo"
    text = "Multi-view stereo: from scratch and after pretraining without depth, by share of labels."
    recipe_type = StereoRecipe
    presets: ClassVar = PRESETS
    metrics = (
        *(Metric(name=f"within_{n}", text=f"within {n} % of depth", percent=True) for n in (1, 2, 5)),
        Metric(name="mean_error", text="mean error", percent=True, higher_is_better=False),
        Metric(name="cloud_accuracy", text="cloud accuracy", percent=True, higher_is_better=False),
        Metric(name="cloud_completeness", text="cloud completeness", percent=True, higher_is_better=False),
    )
    claims = (
        *(
            _claim(
                f"Pretraining helps with {share} % of the labels.",
                f"{BEFORE}-{share}", f"{AFTER}-{share}", "a gain",
            )
            for share in SHARES
        ),
        _claim(
            "Pretrained, 10 % of the labels are worth more than 50 % from scratch.",
            f"{BEFORE}-10", f"{AFTER}-50", "not measured there",
        ),
        _claim(
            "The same, when scratch gets the steps of pretraining too.",
            f"{BEFORE}-10", LONGER, "not measured there",
        ),
    )  # fmt: skip

    def arms(self, recipe: StereoRecipe) -> tuple[str, ...]:
        """Pretrained with 0 to 100 % of the labels, from scratch with 1 to 100 %, and one for longer."""
        pretrained = (f"{BEFORE}-{share}" for share in (0, *SHARES))
        return (*pretrained, *(f"{AFTER}-{share}" for share in SHARES), LONGER)

    def prepare(self, recipe: StereoRecipe, folder: Path, progress: Progress) -> None:
        """Read or simulate the views."""
        from walkaround.studies.stereo.prepare import prepare_scenes

        prepare_scenes(recipe, folder, progress)

    def train(self, recipe: StereoRecipe, job: Job) -> None:
        """Pretrain (the first arm), or train with a share of the labels; leaves ``net.safetensors``."""
        from walkaround.studies.stereo.training import (
            fine_tune,
            fresh_network,
            pretrain,
            read_network,
            write_network,
        )

        kind, percent = job.arm.split("-")[:2]
        if percent == "0":
            network = fresh_network(job)
            pretrain(recipe, job, network)
        else:
            start = job.folder_of(f"{BEFORE}-0") / NETWORK
            network = read_network(start, job) if kind == BEFORE else fresh_network(job)
            steps = recipe.steps + (recipe.pretrain_steps if job.arm == LONGER else 0)
            fine_tune(recipe, job, network, int(percent), steps)
        write_network(job.folder / NETWORK, network, job)

    def evaluate(self, recipe: StereoRecipe, job: Job) -> dict[str, float]:
        """Depth and clouds of the test objects against the truth."""
        from walkaround.studies.stereo.measure import measure
        from walkaround.studies.stereo.scenes import StereoSet
        from walkaround.studies.stereo.training import read_network

        network = read_network(job.folder / NETWORK, job)
        return measure(network, StereoSet.load(job.data_dir / "test"), job.device)
