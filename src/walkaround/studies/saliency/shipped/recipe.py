"""What can be chosen about the training of the shipped mask model."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ShippedRecipe:
    """Everything that decides the weights, beside the data."""

    network: str = "tiny"
    """full, small or tiny."""
    size_px: int = 128
    """Side of the square that the network sees; below 96 the deepest maps are one pixel, which OpenCV 5.0
    computes wrongly."""
    steps: int = 1500
    """Training steps."""
    batch: int = 16
    """Images a step."""
    rate: float = 2e-3
    """Highest learning rate (AdamW; a warm-up, then a cosine to 0)."""
    weight_decay: float = 0.01
    """Of AdamW."""
    average: float = 0.995
    """Decay of the running average of the weights, which is what is kept."""
    pasted: float = 0.6
    """Share of samples whose object is cut out and pasted before another background."""
    drawn: float = 0.2
    """Share of pasted objects that are drawn shapes instead of rendered ones."""
    num_backgrounds: int = 600
    """Backgrounds that are drawn or cut at the start."""
    seed: int = 0
    """Of the first weights, the backgrounds and every sample."""
    bfloat16: bool = True
    """Convolutions in bfloat16 (autocast)."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        from walkaround.studies.saliency.recipe import NETWORK_NAMES

        tests = (
            (self.network in NETWORK_NAMES, "network", f"one of {', '.join(NETWORK_NAMES)}"),
            (
                96 <= self.size_px <= 1024 and self.size_px % 32 == 0,
                "size_px",
                "a multiple of 32, 96 to 1024",
            ),
            (self.steps >= 1, "steps", "1 or more"),
            (self.batch >= 2, "batch", "2 or more"),
            (self.rate > 0, "rate", "above 0"),
            (self.weight_decay >= 0, "weight_decay", "0 or more"),
            (0 <= self.average < 1, "average", "0 or more, below 1"),
            (0 <= self.pasted <= 1, "pasted", "a share 0 to 1"),
            (0 <= self.drawn <= 1, "drawn", "a share 0 to 1"),
            (self.num_backgrounds >= 1, "num_backgrounds", "1 or more"),
            (self.seed >= 0, "seed", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"saliency-train: {name} is {getattr(self, name)!r}; it must be {wanted}.")
