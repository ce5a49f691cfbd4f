"""The recipe of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what is learned; it is written into the weights."""

    seed: int = 0
    """Of the network's first weights and of every sample."""
    batch: int = 4
    """Windows a step."""
    patch: int = 128
    """Width and height of a window in pixels, a multiple of 8."""
    learning_rate: float = 1e-3
    """Of Adam, after a warm-up of 50 steps; falls to nothing over the last two fifths of the steps."""
    average: float = 0.998
    """Decay of the running average of the weights, which is what is kept."""
    ratios: tuple[float, ...] = (8.0, 8.0, 8.0, 4.0, 16.0)
    """Ratios of two exposures, drawn from with equal chance."""
    steps: tuple[float, ...] = (4.0, 4.0, 4.0, 2.0, 3.0)
    """Ratios between neighbours of three exposures, likewise."""
    leaves: float = 0.35
    """Share of backgrounds that are drawn dead leaves instead of given radiance."""
    footage: float = 0.2
    """Share of windows from videos, when there are any."""
    temporal: float = 0.25
    """Share of steps that also compare a result with the one of the frame before."""
    feature_weight: float = 0.5
    """Weight of the loss on gradients at three scales."""
    temporal_weight: float = 0.2
    """Weight of the loss against the frame before."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (self.batch >= 1, "batch", "at least 1"),
            (self.patch >= 64 and self.patch % 8 == 0, "patch", "a multiple of 8, at least 64"),
            (0 < self.learning_rate < 1, "learning_rate", "between 0 and 1"),
            (0 <= self.average < 1, "average", "0 to 1"),
            (bool(self.ratios or self.steps), "ratios", "given, or steps are"),
            (all(r > 1 for r in (*self.ratios, *self.steps)), "ratios", "above 1, and so steps"),
            (all(0 <= s <= 1 for s in (self.leaves, self.footage, self.temporal)), "leaves", "shares 0 to 1"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"recipe: {name} is {getattr(self, name)!r}; it must be {wanted}.")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long and on what to train; the same recipe may go on anywhere."""

    iterations: int = 20000
    """Steps in all, those of earlier runs included."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    precision: str = "auto"
    """float32, bfloat16 (mixed, by autocast), or auto: bfloat16 on cuda, float32 on cpu."""
    threads: int = 0
    """Threads of torch; 0 leaves them."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (self.iterations >= 1, "iterations", "at least 1"),
            (self.checkpoint_every >= 1, "checkpoint_every", "at least 1"),
            (self.device in DEVICES, "device", f"one of {', '.join(DEVICES)}"),
            (self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}"),
            (self.threads >= 0, "threads", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"hdr-train: {name} is {getattr(self, name)!r}; it must be {wanted}.")
