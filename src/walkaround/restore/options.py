"""What a user can set about restoration. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from walkaround.errors import UsageError

Task = Literal["denoise", "inpaint", "upscale", "deblur", "dejpeg"]

GENERATOR_NAMES = ("skip", "unet", "resnet", "deep-decoder", "conv-decoder", "swift")
"""Of :data:`walkaround.restore.generators.GENERATORS`, known without torch."""
FACTORS = (2, 3, 4, 8)
"""Of down-sampling and enlarging."""
_MOST_SEED = 2**62


def _check_range(options: Any, prefix: str, limits: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers outside (least, most); NaN is outside of everything.

    Raises
    ------
    UsageError
        It names the option, the value and the limits.
    """
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not low <= value <= high or math.isinf(value):
            most = "" if math.isinf(high) else f" to {high:g}"
            more = " or more" if math.isinf(high) else ""
            option = f"--{prefix}{name.replace('_', '-')}"
            raise UsageError(f"{option} {value:g} is out of range. Use {low:g}{most}{more}.")


def check_seed(seed: int) -> None:
    """Refuse a seed that no source of random numbers takes.

    Raises
    ------
    UsageError
        It is negative or has more than 62 bits.
    """
    if not 0 <= seed <= _MOST_SEED:
        raise UsageError(f"--seed {seed} is out of range. Use 0 to {_MOST_SEED}.")


def check_sigma(sigma: float | None, prefix: str = "") -> None:
    """Refuse a deviation that is no noise of an 8-bit picture.

    Raises
    ------
    UsageError
        It lies outside 0..128.
    """
    if sigma is not None and not 0 <= sigma <= 128:
        raise UsageError(f"--{prefix}sigma {sigma:g} is out of range. Use 0 to 128 (8-bit values).")


@dataclass(frozen=True, kw_only=True)
class PriorOptions:
    """The deep image prior: one network draws one picture until it explains what was measured."""

    generator: str = "swift"
    """skip (the paper's hourglass), unet, resnet, deep-decoder, conv-decoder or swift (made for a CPU)."""
    iterations: int = 0
    """At most so many; 0 is what the generator's settings say."""
    learning_rate: float = 0.0
    """Of Adam, at most 1; 0 is what the generator's settings say."""
    average: float = 0.99
    """Share of the past, 0 to below 1, in the running average of outputs, which is the result."""
    window: int = 100
    """Outputs whose variance decides when to stop (ES-WMV)."""
    patience: int = 300
    """Stop so many iterations after the least variance and take the average of that moment; it is
    looked for once the loss is down at the noise. 0 goes on to the last iteration, as it does without any."""
    restarts: int = 1
    """Solve so often from other weights and average the results."""
    tile_px: int = 512
    """Draw a picture of more than twice so many pixels squared in pieces of this side, one after the other:
    memory stays bounded. Each begins with the weights of the one before."""

    def check(self, prefix: str = "prior.") -> None:
        """Refuse values that mean nothing; ``prefix`` is of their names on the command line.

        Raises
        ------
        UsageError
            It names the option, the value and what may be given.
        """
        if self.generator not in GENERATOR_NAMES:
            names = ", ".join(GENERATOR_NAMES)
            raise UsageError(f"There is no generator {self.generator!r}. Use one of {names}.")
        limits = {
            "iterations": (0, math.inf), "learning_rate": (0, 1), "average": (0, 0.999999),
            "window": (2, math.inf), "patience": (0, math.inf), "restarts": (1, math.inf),
            "tile_px": (48, 8192),
        }  # fmt: skip
        _check_range(self, prefix, limits)


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
    """Side of the pieces it learns from, a multiple of 8."""
    batch: int = 4
    """Pieces an iteration."""
    draws: int = 3
    """Pairs of pictures to make, where they are drawn by chance."""
    learning_rate: float = 2e-3
    """Of Adam, falling to nothing over the second half."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the numbers while it learns; auto takes bfloat16 where the processor computes with it."""

    def check(self, prefix: str = "pairs.") -> None:
        """Refuse values that mean nothing; ``prefix`` is of their names on the command line.

        Raises
        ------
        UsageError
            It names the option, the value and what may be given.
        """
        limits = {
            "iterations": (1, math.inf), "seconds": (0, math.inf), "channels": (1, 1024),
            "patch_px": (8, 2048), "batch": (1, 1024), "draws": (1, 1024), "learning_rate": (1e-9, 1),
        }  # fmt: skip
        _check_range(self, prefix, limits)
        if self.patch_px % 8:
            near = max(8, round(self.patch_px / 8) * 8)
            raise UsageError(
                f"--{prefix}patch-px {self.patch_px} is no multiple of 8: the network halves the size three "
                f"times. Use {near}."
            )


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How one picture is restored; a task looks only at what is its own."""

    method: Literal["pairs", "prior"] = "pairs"
    """pairs (fast) or prior (the deep image prior: minutes; better where it stops in time)."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """Where torch computes: cpu, cuda, cuda:1, mps."""
    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..128); None measures it. denoise (0: as it is), deblur."""
    guide: Path | None = None
    """The same view with little noise, with a flash or longer exposed. denoise, pairs."""
    mask: Path | None = None
    """Picture of what is missing: there it is white; soft edges, from 16 of 255 on, count as well. None takes
    fully transparent pixels. inpaint."""
    factor: int = 4
    """2, 3, 4 or 8. upscale."""
    kernel: str = ""
    """gaussian:SIGMA_PX, motion:LENGTH_PX,ANGLE_DEG, unknown:SIDE_PX, or a grey picture of it. deblur."""
    quality: int = 0
    """Of the IJG's encoder, 1..100, when the picture is no longer the JPEG file; 0 reads the file. dejpeg."""
    pairs: PairsOptions = field(default_factory=PairsOptions)
    prior: PriorOptions = field(default_factory=PriorOptions)

    def check(self) -> None:
        """Refuse values that mean nothing for any picture.

        Raises
        ------
        UsageError
            It names the option, the value and what may be given.
        """
        check_seed(self.seed)
        check_sigma(self.sigma)
        if self.guide is not None and self.method == "prior":
            raise UsageError("--guide works with --method pairs, not with prior. Leave one of them out.")
        if self.factor not in FACTORS:
            raise UsageError(f"A factor of {self.factor} is not offered. Use one of {FACTORS}.")
        if not 0 <= self.quality <= 100:
            raise UsageError(
                f"--quality {self.quality} is out of range. Use 1 to 100, or 0 to read the file."
            )
        self.pairs.check()
        self.prior.check()


@dataclass(frozen=True, kw_only=True)
class RestoreFramesOptions:
    """Restoration of a capture's frames before anything is made of them."""

    task: Literal["none", "denoise"] = "none"
    """denoise takes noise from the frames; needs torch."""
    sigma: float | None = None
    """Deviation of the noise in 8-bit values (0..128); None measures it."""
    pairs: PairsOptions = field(default_factory=PairsOptions)

    def check(self) -> None:
        """Refuse values that mean nothing.

        Raises
        ------
        UsageError
            It names the option, the value and what may be given.
        """
        check_sigma(self.sigma, "restore.")
        self.pairs.check("restore.pairs.")
