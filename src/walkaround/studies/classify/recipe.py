"""What can be chosen about the classification study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe

NETWORKS = ("resnet50", "deit_tiny", "small_resnet", "small_vit")


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """Classification of single views, judged across the views of an object."""

    data: Path | None = None
    """A dataset: one of ours, or MVImgNet's; None renders a miniature (`walkaround simulate-dataset`)."""
    classes: int = 10
    """Classes of the rendered miniature."""
    instances: int = 24
    """Objects a class of the rendered miniature."""
    views: int = 12
    """Views an object of the rendered miniature."""
    max_objects: int = 0
    """Of a dataset, take so many objects a class at most; 0: all."""
    max_views: int = 24
    """Of each object, take so many views at most, evenly."""
    size_px: int = 64
    """Side of the images that the network sees."""
    crop: str = "object"
    """object: a square around the mask. whole: the whole image."""
    network: str = "small_resnet"
    """resnet50, deit_tiny, or their small versions small_resnet, small_vit."""
    extra_frames: int = 5
    """Images that an object gives besides its canonical view, in every arm but the baseline."""
    gap_deg: float = 45.0
    """MVI-Gap: least difference in azimuth between the images of an object, as far as its views allow."""
    steps: int = 900
    """Training steps, the same for every arm."""
    batch: int = 32
    """Images a step."""
    rate: float = 1e-3
    """Highest learning rate (AdamW; warm-up for a twentieth of the steps, then a cosine to 0)."""
    weight_decay: float = 0.05
    """Of AdamW."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        super().check()
        tests = (
            (self.network in NETWORKS, "network", f"one of {', '.join(NETWORKS)}"),
            (self.crop in ("object", "whole"), "crop", "object or whole"),
            (self.classes >= 2, "classes", "2 or more"),
            (self.instances >= 3, "instances", "3 or more: training, validation and test need one each"),
            (self.views >= 2, "views", "2 or more"),
            (self.max_objects >= 0, "max_objects", "0 (all) or more"),
            (self.max_views >= 2, "max_views", "2 or more"),
            (32 <= self.size_px <= 512 and self.size_px % 16 == 0, "size_px", "a multiple of 16, 32 to 512"),
            (self.extra_frames >= 1, "extra_frames", "1 or more"),
            (0 <= self.gap_deg <= 180, "gap_deg", "0 to 180"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.batch >= 2, "batch", "2 or more"),
            (self.rate > 0, "rate", "above 0"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"study classify: {name} is {getattr(self, name)!r}; it must be {wanted}.")


FULL = ClassifyRecipe(
    max_views=30, size_px=224, network="resnet50", extra_frames=8, steps=100_000, batch=256, rate=5e-4,
    checkpoint_every=1000,
)  # fmt: skip
"""For real data (``--data``) and a GPU; nobody has measured it here."""
