"""``study radiance``: arms, training, evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from walkaround.studies.frame import Claim, Job, Metric
from walkaround.studies.frame.recipe import Recipe
from walkaround.studies.radiance.recipe import FULL, SOURCES, RadianceRecipe
from walkaround.types import Progress

_SOURCE = "arXiv:2303.06042, radiance field reconstruction"
_PAPER = "claimed; its numbers are of other scenes and not comparable"
MAIN = 4
"""Number of sources of the main comparison."""


class RadianceStudy:
    """See :mod:`walkaround.studies.radiance`."""

    name = "radiance"
    text = "New views: PSNR in dB and SSIM by number of source views; before: untrained on the target."
    recipe_type = RadianceRecipe
    presets: ClassVar[dict[str, Recipe]] = {"miniature": RadianceRecipe(), "full": FULL}
    metrics = (
        *(Metric(name=f"psnr_{count}", text=f"PSNR {count}") for count in SOURCES),
        Metric(name=f"ssim_{MAIN}", text=f"SSIM {MAIN}"),
        Metric(name=f"psnr_{MAIN}_untuned", text=f"PSNR {MAIN} before"),
    )
    claims = (
        Claim(
            text="Pretraining on many objects helps on the target's unseen objects.", source=_SOURCE,
            paper=_PAPER, metric=f"psnr_{MAIN}", better="pre-many", than="scratch",
        ),
        Claim(
            text="It is the objects that help, not the steps alone.", source="ours",
            paper="not asked there", metric=f"psnr_{MAIN}", better="pre-many", than="scratch-long",
        ),
        Claim(
            text="More pretraining objects help more.", source=_SOURCE,
            paper=_PAPER, metric=f"psnr_{MAIN}", better="pre-many", than="pre-few",
        ),
        Claim(
            text="They help more before any training on the target, too.", source=_SOURCE,
            paper=_PAPER, metric=f"psnr_{MAIN}_untuned", better="pre-many", than="pre-few",
        ),
    )  # fmt: skip

    def arms(self, recipe: RadianceRecipe) -> tuple[str, ...]:
        """From scratch, for as long as pretraining and fine-tuning together, and after two pretrainings."""
        return ("scratch", "scratch-long", "pre-few", "pre-many")

    def prepare(self, recipe: RadianceRecipe, folder: Path, progress: Progress) -> None:
        """Read or render the objects."""
        from walkaround.studies.radiance.prepare import prepare

        prepare(recipe, folder, progress)

    def train(self, recipe: RadianceRecipe, job: Job) -> None:
        """Pretrain when the arm says so, then train on the target's training objects."""
        from walkaround.studies.radiance.training import train_arm

        train_arm(recipe, job)

    def evaluate(self, recipe: RadianceRecipe, job: Job) -> dict[str, float]:
        """Render held-out views of the target's test objects."""
        from walkaround.studies.radiance.measure import measure_arm

        return measure_arm(recipe, job)
