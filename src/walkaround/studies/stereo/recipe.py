"""The recipe of ``study stereo``; its defaults are the miniature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe

SHARES = (1, 10, 50, 100)
"""Percent of the labelled objects that are trained with; at least one object."""
MULTIPLE = 16
"""The network wants sides that are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class StereoRecipe(Recipe):
    """What to pretrain on without depth, what to fine-tune and test on with it, and how."""

    source: Path | None = None
    """A dataset for pretraining: images and cameras, no depth (ours, MVImgNet's layout). Simulated when not
    given."""
    data: Path | None = None
    """A dataset with depth to fine-tune and test on, by its splits. Simulated when not given."""
    dtu: Path | None = None
    """DTU as MVSNet's authors arranged it (Cameras, Rectified, Depths), instead of data."""
    dtu_light: int = 3
    """Which of DTU's seven lights, 0 to 6."""
    size_px: int = 64
    """Side of the square images; of DTU's, the height. A multiple of 16."""
    crop: str = "whole"
    """What is cut out of a dataset's images: whole, centre (square), or object (around its mask)."""
    views: int = 5
    """Views of an object, next to each other; of DTU all 49. Each is a reference once."""
    num_sources: int = 2
    """Views that each reference is matched with."""
    classes: int = 20
    """Families of simulated objects."""
    source_instances: int = 3
    """Simulated objects a class for pretraining."""
    train_instances: int = 4
    """Simulated objects a class with depth to train with."""
    test_instances: int = 1
    """Simulated objects a class to test with."""
    arc_deg: float = 48.0
    """How far the camera walks around each simulated object."""
    max_objects: int = 0
    """Objects taken of a dataset's part; 0: all."""
    pretrain_steps: int = 200
    """Steps of pretraining without depth."""
    steps: int = 100
    """Steps of training with depth, the same for each share."""
    batch_size: int = 2
    """References a step."""
    rate: float = 2e-3
    """Highest learning rate, of Adam; it rises over a tenth of the steps and falls as a cosine."""
    smooth_weight: float = 0.005
    """Pretraining: of the smoothness of inverse depth, where the image is smooth."""
    segment_weight: float = 0.02
    """Pretraining: of the agreement of co-segmented parts; 0 leaves them out."""
    segments: int = 4
    """Pretraining: parts of the co-segmentation."""
    augment_weight: float = 0.02
    """Pretraining: of the agreement with what altered images give; in every other step."""

    def check(self) -> None:
        """Raise UsageError when a value makes no sense."""
        super().check()
        if self.data is not None and self.dtu is not None:
            raise UsageError("--data and --dtu are both given; the labelled views come from one of them.")
        if self.size_px < 32 or self.size_px % MULTIPLE:
            raise UsageError(f"--size-px is {self.size_px}; give a multiple of {MULTIPLE}, at least 32.")
        if self.crop not in ("whole", "centre", "object"):
            raise UsageError(f"--crop is {self.crop!r:.40}; give whole, centre or object.")
        if not 0 <= self.dtu_light <= 6:
            raise UsageError(f"--dtu-light is {self.dtu_light}; give 0 to 6.")
        if not 1 <= self.num_sources < self.views:
            raise UsageError(f"--num-sources is {self.num_sources}; give 1 to {self.views - 1} (views - 1).")
        for name in (
            "source_instances", "train_instances", "test_instances", "pretrain_steps", "steps", "batch_size",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more.")
        weights = self.smooth_weight, self.segment_weight, self.augment_weight
        if self.rate <= 0 or min(weights) < 0 or self.segments < 2 or self.max_objects < 0:
            raise UsageError(
                f"--rate {self.rate}, the weights {weights}, --segments {self.segments}, --max-objects"
                f" {self.max_objects}: give a rate above 0, no negative weight or number, 2 segments or more."
            )


PRESETS = {
    "miniature": StereoRecipe(),
    "full": StereoRecipe(
        size_px=512, crop="centre", views=8, num_sources=4, pretrain_steps=100_000, steps=50_000,
        batch_size=4, rate=1e-3, checkpoint_every=2000,
    ),
}  # fmt: skip
"""``full`` wants ``--source`` (MVImgNet) and ``--dtu`` or ``--data``, and a GPU."""
