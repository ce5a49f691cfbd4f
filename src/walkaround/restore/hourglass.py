"""The skip hourglass of the deep image prior, with the settings its authors give for each task.

Source: Ulyanov, Vedaldi, Lempitsky, IJCV 2020, doi:10.1007/s11263-020-01303-4, arXiv:1711.10925, and the
hyper-parameters of its supplement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class HourglassSettings:
    """Shape and training of one hourglass."""

    down: tuple[int, ...] = (128,) * 5
    """Channels of each level on the way down; the way up has the same."""
    skip: tuple[int, ...] = (4,) * 5
    """Channels that jump over to the way up; 0 for none."""
    kernel_down: int = 3
    upsample: str = "bilinear"
    last_1x1: bool = True
    """Whether each level ends in a 1x1 convolution."""
    input_depth: int = 32
    input_noise: float = 1 / 30
    """Deviation of the noise that is added to the input anew in each iteration."""
    iterations: int = 3000
    learning_rate: float = 0.01


SETTINGS = {
    "denoise": HourglassSettings(iterations=3000),
    "inpaint": HourglassSettings(skip=(128,) * 5, upsample="nearest", input_noise=0.03, iterations=6000),
    "hole": HourglassSettings(
        down=(16, 32, 64, 128, 128, 128), skip=(0,) * 6, kernel_down=5, upsample="nearest",
        last_1x1=False, input_depth=1, input_noise=0.0, iterations=3000,
    ),
    "upscale": HourglassSettings(input_noise=0.03, iterations=2000),
    "dejpeg": HourglassSettings(
        down=(8, 16, 32, 64, 128), skip=(0, 0, 0, 4, 4), input_depth=3, iterations=2400
    ),
    "deblur": HourglassSettings(),
}  # fmt: skip
"""The paper's, by task; it has no deblurring, which gets the settings of denoising."""


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution that mirrors the border, batch normalisation and a leaky rectifier."""
    mode = "reflect" if kernel > 1 else "zeros"
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode=mode),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2),
    )


class Level(nn.Module):  # type: ignore[misc]
    """One scale: down, what is below it, up, beside a thin skip. Odd sizes are rounded up on the way down."""

    def __init__(self, inputs: int, level: int, settings: HourglassSettings) -> None:
        super().__init__()
        width, skip = settings.down[level], settings.skip[level]
        self.skip = convolution(inputs, skip, 1) if skip else None
        self.down = nn.Sequential(
            convolution(inputs, width, settings.kernel_down, 2),
            convolution(width, width, settings.kernel_down),
        )
        deepest = level + 1 == len(settings.down)
        self.below = None if deepest else Level(width, level + 1, settings)
        from_below = width if deepest else settings.down[level + 1]
        self.norm = nn.BatchNorm2d(skip + from_below)
        self.up = convolution(skip + from_below, width)
        self.last = convolution(width, width, 1) if settings.last_1x1 else None
        self.upsample = settings.upsample

    def forward(self, x: Tensor) -> Tensor:
        inner = self.down(x)
        if self.below is not None:
            inner = self.below(inner)
        inner = enlarge(inner, x.shape[-2:], self.upsample)
        if self.skip is not None:
            inner = torch.cat([self.skip(x), inner], 1)
        out = self.up(self.norm(inner))
        return self.last(out) if self.last is not None else out


def enlarge(x: Tensor, size_hw: Sequence[int], mode: str) -> Tensor:
    """Double the size and cut off what is too much, so that pixels stay where they are."""
    large = F.interpolate(x, scale_factor=2, mode=mode, align_corners=False if mode == "bilinear" else None)
    return large[..., : size_hw[0], : size_hw[1]]


def hourglass(channels: int, settings: HourglassSettings) -> nn.Module:
    """Return the network, from noise of ``settings.input_depth`` channels to ``channels`` of 0..1.

    With the settings of denoising and three channels it has the paper's 2,217,831 parameters.
    """
    return nn.Sequential(
        Level(settings.input_depth, 0, settings), nn.Conv2d(settings.down[0], channels, 1), nn.Sigmoid()
    )
