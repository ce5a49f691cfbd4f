"""What can be chosen about the study of radiance fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkaround.errors import UsageError
from walkaround.studies.frame.recipe import Recipe

SOURCES = (2, 4, 8)
"""Numbers of pictures that test views are rendered from."""
SMALLEST_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class RadianceRecipe(Recipe):
    """A generalisable radiance field: from scratch on a target set, and after pretraining on others."""

    pretrain_data: Path | None = None
    """Dataset to pretrain on, any that the readers open; None renders a miniature."""
    target_data: Path | None = None
    """Dataset of the target set; its splits tell training and test, else a share of its objects is tested.
    None renders a miniature of other classes than those of the pretraining."""
    captures: tuple[Path, ...] = ()
    """Sequences (folders) to render as well: their PSNR goes into results.json as psnr_<id>."""
    few: int = 4
    """Objects of the arm pre-few."""
    many: int = 80
    """Objects of the arm pre-many."""
    target_objects: int = 2
    """Objects of the target set to train on; of a dataset, at most."""
    test_objects: int = 6
    """Objects of the target set to test; of a dataset, at most."""
    views: int = 16
    """Pictures an object; of a dataset, at most, evenly."""
    size_px: int = 64
    """Long side of the pictures."""
    test_views: int = 2
    """Pictures of a test object that are rendered from its others."""
    pretrain_steps: int = 5000
    """Steps on the pretraining objects."""
    tune_steps: int = 80
    """Steps on the target's training objects: all there is for scratch."""
    rays: int = 128
    """Rays a step."""
    coarse: int = 20
    """Samples of the coarse look."""
    fine: int = 12
    """Samples of the fine look."""
    rate: float = 3e-3
    """Highest learning rate (Adam; warm-up, cosine)."""
    tune_rate: float = 2e-4
    """The same for fine-tuning of what was pretrained."""
    orbit_frames: int = 12
    """Frames of the film around a test object, of the first seed of pre-many; 0: no film."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        super().check()
        tests = (
            (1 <= self.few <= self.many, "few", "1 to many"),
            (self.pretrain_data is not None or self.many <= 1000, "many", "1000 or fewer of the miniature"),
            (
                self.target_objects >= 1 and self.test_objects >= 1,
                "target_objects and test_objects",
                "1 or more",
            ),
            (self.views >= max(SOURCES) + 1, "views", f"{max(SOURCES) + 1} or more"),
            (SMALLEST_SIZE <= self.size_px <= 2048 and self.size_px % 2 == 0, "size_px", "even, 32 to 2048"),
            (1 <= self.test_views <= self.views, "test_views", "1 to views"),
            (self.pretrain_steps >= 1 and self.tune_steps >= 1, "pretrain_steps and tune_steps", "1 or more"),
            (self.rays >= 1, "rays", "1 or more"),
            (self.coarse >= 4 and self.fine >= 4, "coarse and fine", "4 or more"),
            (self.rate > 0 and self.tune_rate > 0, "rate and tune_rate", "above 0"),
            (self.orbit_frames >= 0, "orbit_frames", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                values = ", ".join(str(getattr(self, part)) for part in name.split(" and "))
                raise UsageError(f"study radiance: {name}: {values}; it must be {wanted}.")


FULL = RadianceRecipe(
    few=100, many=5000, target_objects=100, test_objects=100, views=32, size_px=256, test_views=4,
    pretrain_steps=200_000, tune_steps=20_000, rays=2048, coarse=64, fine=64, rate=5e-4, tune_rate=2e-4,
    orbit_frames=60, checkpoint_every=1000,
)  # fmt: skip
"""For real data and a GPU; nobody has measured it here."""
