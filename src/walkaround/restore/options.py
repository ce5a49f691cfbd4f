"""What a user can set about restoration. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Task = Literal["denoise", "inpaint", "upscale", "deblur", "dejpeg"]


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

    iterations: int = 600
    """To learn for; the time does not grow with the picture."""
    seconds: float = 0.0
    """CPU time to learn for instead; the result then depends on the machine. 0 counts iterations."""
    channels: int = 48
    """Width of the network."""
    patch_px: int = 64
    """Side of the pieces it learns from."""
    batch: int = 4
    """Pieces an iteration."""
    draws: int = 3
    """Pairs of pictures to make, where they are drawn by chance."""
    learning_rate: float = 2e-3
    """Of Adam, falling to nothing over the second half."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the numbers while it learns; auto takes bfloat16 where the processor computes with it."""


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How one picture is restored; a task looks only at what is its own."""

    method: Literal["pairs", "prior"] = "pairs"
    """pairs (fast, and better in our measurements) or prior (the deep image prior)."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """Where torch computes: cpu, cuda, cuda:1, mps."""
    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..255); None measures it. denoise, deblur."""
    guide: Path | None = None
    """The same view with little noise, with a flash or longer exposed. denoise, pairs."""
    mask: Path | None = None
    """Picture of what is missing: there it is white. None takes transparent pixels. inpaint."""
    factor: int = 4
    """2, 3, 4 or 8. upscale."""
    kernel: str = ""
    """gaussian:SIGMA_PX, motion:LENGTH_PX,ANGLE_DEG, unknown:SIDE_PX, or a grey picture of it. deblur."""
    quality: int = 0
    """Of the IJG's encoder, 1..100, when the picture is no longer the JPEG file; 0 reads the file. dejpeg."""
    pairs: PairsOptions = field(default_factory=PairsOptions)
    prior: PriorOptions = field(default_factory=PriorOptions)


@dataclass(frozen=True, kw_only=True)
class RestoreFramesOptions:
    """Restoration of a capture's frames before anything is made of them."""

    task: Literal["none", "denoise"] = "none"
    """denoise takes noise from the frames; needs torch."""
    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..255); None measures it."""
    pairs: PairsOptions = field(default_factory=PairsOptions)
