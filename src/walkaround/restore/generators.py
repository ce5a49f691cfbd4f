"""Networks that draw a picture, by name: each maps a fixed input to (1, C, H, W) of 0..1, any H and W.

What such a network draws first is smooth and repeats itself; noise and damage come last. That is the prior.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from walkaround.errors import UsageError
from walkaround.restore.hourglass import (
    SETTINGS,
    HourglassSettings,
    Level,
    convolution,
    enlarge,
    hourglass,
)


@dataclass(frozen=True, kw_only=True)
class Generator:
    """An untrained network with its input.

    Attributes
    ----------
    network
        Maps ``z`` to the picture.
    z
        (1, D, h, w) the fixed input.
    input_noise
        Deviation of the noise to add to ``z`` anew in each iteration.
    learning_rate, iterations
        What suits it.
    """

    network: nn.Module
    z: Tensor
    input_noise: float
    learning_rate: float
    iterations: int

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())


Builder = Callable[[int, tuple[int, int], str, torch.Generator], Generator]


def build_generator(
    name: str, channels: int, size_hw: tuple[int, int], *, task: str = "denoise", seed: int = 0
) -> Generator:
    """Return a generator of :data:`GENERATORS` with weights and input drawn from ``seed``.

    Raises
    ------
    UsageError
        There is no such generator or task.
    """
    if name not in GENERATORS:
        raise UsageError(f"There is no generator {name!r}. Use one of {', '.join(GENERATORS)}.")
    if task not in SETTINGS:
        raise UsageError(f"There is no task {task!r}. Use one of {', '.join(SETTINGS)}.")
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global source
        torch.manual_seed(seed)
        least = 3 << len(SETTINGS[task].down)  # the deepest level needs three pixels
        drawn_hw = (max(size_hw[0], least), max(size_hw[1], least))
        generator = GENERATORS[name](channels, drawn_hw, task, source)
    if drawn_hw == size_hw:
        return generator
    return dataclasses.replace(generator, network=nn.Sequential(generator.network, Crop(size_hw)))


class Crop(nn.Module):  # type: ignore[misc]
    """Cut off the upper left ``size_hw``."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.size_hw = size_hw

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.size_hw[0], : self.size_hw[1]]


def _noise(depth: int, size_hw: tuple[int, int], source: torch.Generator) -> Tensor:
    return 0.1 * torch.rand(1, depth, *size_hw, generator=source)


def _skip(channels: int, size_hw: tuple[int, int], task: str, source: torch.Generator) -> Generator:
    return _from_settings(channels, size_hw, SETTINGS[task], source)


def _from_settings(
    channels: int, size_hw: tuple[int, int], settings: HourglassSettings, source: torch.Generator
) -> Generator:
    return Generator(
        network=hourglass(channels, settings),
        z=_noise(settings.input_depth, size_hw, source),
        input_noise=settings.input_noise,
        learning_rate=settings.learning_rate,
        iterations=settings.iterations,
    )


def _unet(channels: int, size_hw: tuple[int, int], task: str, source: torch.Generator) -> Generator:
    """Return a U-Net: as many channels jump over as come from below (arXiv:1505.04597)."""
    widths = (32, 64, 96, 128)
    settings = HourglassSettings(down=widths, skip=widths, last_1x1=False, input_noise=0.03)
    return _from_settings(channels, size_hw, settings, source)


SWIFT = HourglassSettings(down=(48,) * 4, skip=(4,) * 4, input_noise=0.03, iterations=1500)
"""Of our own fast generator, for every task."""


class HalfSize(nn.Module):  # type: ignore[misc]
    """A narrow skip hourglass at half the size; each of its pixels draws 2x2 of the picture.

    Its last weights begin as in Aitken et al., 2017, arXiv:1707.02937.
    """

    def __init__(self, channels: int, size_hw: tuple[int, int], settings: HourglassSettings) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.first = Level(settings.input_depth, 0, settings)
        self.last = nn.Conv2d(settings.down[0], 4 * channels, 1)
        with torch.no_grad():  # the four of a 2x2 begin alike: no chequers where nothing is measured
            self.last.weight.copy_(self.last.weight[::4].repeat_interleave(4, 0))
            self.last.bias.copy_(self.last.bias[::4].repeat_interleave(4, 0))

    def forward(self, z: Tensor) -> Tensor:
        drawn = F.pixel_shuffle(self.last(self.first(z)), 2)
        return torch.sigmoid(drawn[..., : self.size_hw[0], : self.size_hw[1]])


def _swift(channels: int, size_hw: tuple[int, int], task: str, source: torch.Generator) -> Generator:
    half_hw = (-(-size_hw[0] // 2), -(-size_hw[1] // 2))
    return Generator(
        network=HalfSize(channels, size_hw, SWIFT), z=_noise(SWIFT.input_depth, half_hw, source),
        input_noise=SWIFT.input_noise, learning_rate=SWIFT.learning_rate, iterations=SWIFT.iterations,
    )  # fmt: skip


class ResNet(nn.Module):  # type: ignore[misc]
    """Residual blocks at full size, no down-sampling: a weak prior, for comparison."""

    def __init__(self, depth: int, channels: int, width: int = 32, blocks: int = 8) -> None:
        super().__init__()
        self.first = convolution(depth, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                convolution(width, width), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z)
        for block in self.blocks:
            x = x + block(x)
        return torch.sigmoid(self.last(x))


def _resnet(channels: int, size_hw: tuple[int, int], task: str, source: torch.Generator) -> Generator:
    return Generator(
        network=ResNet(32, channels), z=_noise(32, size_hw, source), input_noise=0.03,
        learning_rate=0.001, iterations=3000,
    )  # fmt: skip


class Decoder(nn.Module):  # type: ignore[misc]
    """From a small noise upwards, doubling the size at each level; the last size is cut to the picture's.

    With 1x1 kernels the deep decoder (Heckel, Hand, ICLR 2019, arXiv:1810.03982), with 3x3 kernels the
    ConvDecoder (Darestani, Heckel, 2021, arXiv:2007.02471).
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        size_hw: tuple[int, int],
        *,
        kernel: int,
        upsample: str,
    ) -> None:
        super().__init__()
        self.size_hw, self.upsample = size_hw, upsample
        inputs = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(convolution(a, b, kernel) for a, b in zip(inputs, widths, strict=True))
        self.last = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        sizes = decoder_sizes(self.size_hw, len(self.levels))
        x = z
        for number, level in enumerate(self.levels):
            x = level(enlarge(x, sizes[number], self.upsample) if number else x)
        return torch.sigmoid(self.last(x)[..., : self.size_hw[0], : self.size_hw[1]])


def decoder_sizes(size_hw: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    """Return the sizes of a decoder's levels, the smallest first, each half of the next, rounded up."""
    sizes = [size_hw]
    for _ in range(levels - 1):
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def _decoder(widths: tuple[int, ...], kernel: int, upsample: str) -> Builder:
    def build(channels: int, size_hw: tuple[int, int], task: str, source: torch.Generator) -> Generator:
        network = Decoder(channels, widths, size_hw, kernel=kernel, upsample=upsample)
        smallest = decoder_sizes(size_hw, len(widths))[0]
        z = torch.rand(1, widths[0], *smallest, generator=source)
        return Generator(network=network, z=z, input_noise=0.0, learning_rate=0.01, iterations=3000)

    return build


GENERATORS: dict[str, Builder] = {
    "skip": _skip,
    "unet": _unet,
    "resnet": _resnet,
    "deep-decoder": _decoder((128,) * 6, 1, "bilinear"),
    "conv-decoder": _decoder((128, 128, 128, 128, 64, 64), 3, "nearest"),
    "swift": _swift,
}
