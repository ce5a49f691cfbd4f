"""What can be chosen about the study of contrastive learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from walkaround.studies.views.recipe import ViewsRecipe

NETWORKS = ("resnet50", "small_resnet")


@dataclass(frozen=True, kw_only=True)
class ContrastRecipe(ViewsRecipe):
    """MoCo v2 with augmented positives and with positives from another view."""

    study: ClassVar[str] = "contrast"

    size_px: int = 32
    """Side of the images that the network sees."""
    network: str = "small_resnet"
    """resnet50 or small_resnet."""
    near_deg: float = 30.0
    """Arm view-near: difference in azimuth between the two views of a pair, as nearly as there are views."""
    far_deg: float = 90.0
    """The same of the arm view-far."""
    steps: int = 800
    """Training steps, the same for every arm."""
    batch: int = 64
    """Pairs a step."""
    groups: int = 2
    """Parts of a batch, each normalised by itself; keys are shuffled over them, as MoCo does over GPUs."""
    queue: int = 256
    """Keys kept as negatives; a multiple of the batch."""
    momentum: float = 0.99
    """Of the key encoder: its share that a step keeps."""
    temperature: float = 0.2
    """By which similarities are divided."""
    rate: float = 0.06
    """Learning rate at the start (SGD with momentum 0.9; a cosine to 0)."""
    weight_decay: float = 5e-4
    """Of SGD."""
    probe_views: int = 0
    """Views of each training object, evenly, that linear probe and k-NN have; 0: all."""
    probe_decay: float = 1e-3
    """L2 penalty of the linear probe, on features of unit variance."""
    neighbours: int = 20
    """k of k-NN."""

    def tests(self) -> tuple[tuple[bool, str, str], ...]:
        """Return what is right, the field, and what it must be."""
        parts = max(1, self.groups)
        return (
            *super().tests(),
            (self.network in NETWORKS, "network", f"one of {', '.join(NETWORKS)}"),
            (0 < self.near_deg <= 180, "near_deg", "above 0, to 180"),
            (self.near_deg < self.far_deg <= 180, "far_deg", f"above near_deg ({self.near_deg:g}), to 180"),
            (self.steps >= 1, "steps", "1 or more"),
            (self.groups >= 1, "groups", "1 or more"),
            (
                self.batch >= 2 * parts and self.batch % parts == 0,
                "batch",
                f"a multiple of groups ({parts}), 2 or more to each",
            ),
            (
                self.queue >= self.batch and self.queue % max(1, self.batch) == 0,
                "queue",
                f"a multiple of batch ({self.batch})",
            ),
            (0 <= self.momentum < 1, "momentum", "0 to below 1"),
            (self.temperature > 0, "temperature", "above 0"),
            (self.rate > 0, "rate", "above 0"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
            (self.probe_views >= 0, "probe_views", "0 (all) or more"),
            (self.probe_decay > 0, "probe_decay", "above 0"),
            (self.neighbours >= 1, "neighbours", "1 or more"),
        )


FULL = ContrastRecipe(
    max_views=12, size_px=224, network="resnet50", steps=200_000, batch=256, groups=8, queue=65_536,
    momentum=0.999, rate=0.03, weight_decay=1e-4, probe_views=4, neighbours=200, checkpoint_every=1000,
)  # fmt: skip
"""MoCo v2's own settings, for real data (``--data``) and a GPU; nobody has measured it here.

All of MVImgNet so takes about 400 GB below OUT; ``--max-objects`` takes less.
"""
