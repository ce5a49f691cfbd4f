"""What a user can set about restoration. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PriorOptions:
    """The deep image prior: one network draws one picture until it explains what was measured."""

    generator: str = "swift"
    """skip (the paper's hourglass), unet, resnet, deep-decoder, conv-decoder or swift (made for a CPU)."""
    iterations: int = 0
    """At most so many; 0 is what the generator's settings say."""
    learning_rate: float = 0.0
    """Of Adam; 0 is what the generator's settings say."""
    average: float = 0.99
    """Share of the past in the running average of outputs, which is the result."""
    window: int = 100
    """Outputs whose variance decides when to stop (ES-WMV)."""
    patience: int = 300
    """Stop so many iterations after the least variance and take the average of that moment; 0 goes on to
    the last iteration."""
    restarts: int = 1
    """Solve so often from other weights and average the results."""


@dataclass(frozen=True, kw_only=True)
class PairsOptions:
    """The fast way: a small network learns from pairs that are made of the measured picture itself."""

    seconds: float = 60.0
    """CPU time to learn for; less for a small picture would do. Where iterations are given they count."""
    iterations: int = 0
    """Learn for so many instead: the same result whatever the machine is doing."""
    channels: int = 48
    """Width of the network."""
    patch_px: int = 64
    """Side of the pieces it learns from."""
    batch: int = 4
    """Pieces an iteration."""
    draws: int = 6
    """Pairs of pictures to make."""
    learning_rate: float = 2e-3
    """Of Adam, falling to nothing over the second half."""
