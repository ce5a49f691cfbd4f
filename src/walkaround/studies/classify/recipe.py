"""What can be chosen about the classification study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from walkaround.studies.views.recipe import ViewsRecipe

NETWORKS = ("resnet50", "deit_tiny", "small_resnet", "small_vit")


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(ViewsRecipe):
    """Classification of single views, judged across the views of an object."""

    study: ClassVar[str] = "classify"

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

    def tests(self) -> tuple[tuple[bool, str, str], ...]:
        """Return what is right, the field, and what it must be."""
        return (
            *super().tests(),
            (self.network in NETWORKS, "network", f"one of {', '.join(NETWORKS)}"),
            (self.extra_frames >= 1, "extra_frames", "1 or more"),
            (0 <= self.gap_deg <= 180, "gap_deg", "0 to 180"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.batch >= 2, "batch", "2 or more"),
            (self.rate > 0, "rate", "above 0"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
        )


FULL = ClassifyRecipe(
    max_views=30, size_px=224, network="resnet50", extra_frames=8, steps=100_000, batch=256, rate=5e-4,
    checkpoint_every=1000,
)  # fmt: skip
"""For real data (``--data``) and a GPU; nobody has measured it here."""
