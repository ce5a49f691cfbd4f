"""U2-Net: U-Nets of residual U-blocks (Qin et al. 2020, arXiv:2005.09007), full, small and smaller.

An input image passes six stages, each a small U-Net whose output is added to its input (RSU), and five on the
way back. Every stage of the way back, and the sixth, gives a map; the seventh is drawn from those six.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from walkaround.errors import UsageError

NUM_OUTPUTS = 7


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Channels of a network: a pair (inside, out) for each of the eleven blocks."""

    down: tuple[tuple[int, int], ...]
    """Stages 1 to 6."""
    up: tuple[tuple[int, int], ...]
    """Stages 5 to 1 of the way back."""
    stem: int = 0
    """Channels of a 3x3 convolution of stride 2 before all else, as in IS-Net (arXiv:2203.03041); 0: none."""


NETWORKS: dict[str, Widths] = {
    "full": Widths(
        down=((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512)),
        up=((256, 512), (128, 256), (64, 128), (32, 64), (16, 64)),
    ),
    "small": Widths(down=((16, 64),) * 6, up=((16, 64),) * 5),
    "tiny": Widths(down=((12, 32),) * 6, up=((12, 32),) * 5, stem=24),
}
"""``full`` and ``small`` as published, with 44.0 and 1.13 million parameters; ``tiny`` is ours."""

_HEIGHTS = (7, 6, 5, 4, 0, 0)
"""Levels of the blocks of stages 1 to 6; 0: dilated instead (RSU-4F)."""


class ConvUnit(nn.Sequential):  # type: ignore[misc]
    """3x3 convolution of some dilation, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Rsu(nn.Module):  # type: ignore[misc]
    """Residual U-block of ``height`` levels; each but the first and the last halves the size.

    (N, inputs, h, w) -> (N, outputs, h, w).
    """

    def __init__(self, height: int, inputs: int, inside: int, outputs: int) -> None:
        super().__init__()
        self.entry = ConvUnit(inputs, outputs)
        self.down = nn.ModuleList(ConvUnit(inside if n else outputs, inside) for n in range(height - 1))
        self.bottom = ConvUnit(inside, inside, dilation=2)
        self.up = nn.ModuleList(
            ConvUnit(2 * inside, outputs if n == height - 2 else inside) for n in range(height - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Go down, come back, and add what came in."""
        entry = here = self.entry(x)
        beside = []
        for number, unit in enumerate(self.down):
            here = unit(here if number == 0 else halved(here))
            beside.append(here)
        here = self.bottom(here)
        for unit in self.up:
            other = beside.pop()
            here = unit(torch.cat([resized(here, other), other], dim=1))
        return entry + here


class DilatedRsu(nn.Module):  # type: ignore[misc]
    """RSU-4F: dilations 1, 2, 4, 8 and back instead of smaller sizes. Shapes as :class:`Rsu`."""

    def __init__(self, inputs: int, inside: int, outputs: int) -> None:
        super().__init__()
        self.entry = ConvUnit(inputs, outputs)
        self.down = nn.ModuleList(ConvUnit(inside if n else outputs, inside, dilation=2**n) for n in range(3))
        self.bottom = ConvUnit(inside, inside, dilation=8)
        self.up = nn.ModuleList(
            ConvUnit(2 * inside, outputs if dilation == 1 else inside, dilation) for dilation in (4, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Go down, come back, and add what came in."""
        entry = here = self.entry(x)
        beside = []
        for unit in self.down:
            here = unit(here)
            beside.append(here)
        here = self.bottom(here)
        for unit in self.up:
            here = unit(torch.cat([here, beside.pop()], dim=1))
        return entry + here


class U2Net(nn.Module):  # type: ignore[misc]
    """(N, 3, H, W) normalised RGB -> seven maps (N, 1, H, W) of logits; the first is the one to use.

    Height and width are 64 pixels or more with a stem, 32 without.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        first = widths.stem or 3
        self.stem = nn.Conv2d(3, first, 3, stride=2, padding=1) if widths.stem else nn.Identity()
        outs = [out for _, out in widths.down]
        self.down = nn.ModuleList(
            _block(height, before, inside, out)
            for height, before, (inside, out) in zip(_HEIGHTS, [first, *outs], widths.down, strict=False)
        )
        ups = [out for _, out in widths.up]
        coming = [below + beside for below, beside in zip([outs[5], *ups], outs[4::-1], strict=False)]
        self.up = nn.ModuleList(
            _block(height, inputs, inside, out)
            for height, inputs, (inside, out) in zip(_HEIGHTS[4::-1], coming, widths.up, strict=True)
        )
        self.sides = nn.ModuleList(nn.Conv2d(n, 1, 3, padding=1) for n in [*ups[::-1], outs[5]])
        self.fuse = nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the fused map, then those of stages 1 to 6."""
        here = self.stem(images)
        beside = []
        for number, block in enumerate(self.down):
            here = block(here if number == 0 else halved(here))
            beside.append(here)
        stages = [here]
        beside.pop()
        for block in self.up:
            other = beside.pop()
            here = block(torch.cat([resized(here, other), other], dim=1))
            stages.insert(0, here)
        maps = [side(stage) for side, stage in zip(self.sides, stages, strict=True)]
        maps = [maps[0], *(resized(each, maps[0]) for each in maps[1:])]
        maps = [self.fuse(torch.cat(maps, dim=1)), *maps]
        return [resized(each, images) for each in maps]


def make_network(name: str) -> U2Net:
    """Return an untrained network, one of :data:`NETWORKS`.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    if name not in NETWORKS:
        raise UsageError(f"There is no saliency network {name!r:.40}; there are {', '.join(NETWORKS)}.")
    return U2Net(NETWORKS[name])


def halved(x: Tensor) -> Tensor:
    """Take the largest of each 2x2; an odd size is rounded up."""
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bring ``x`` to the height and width of ``like``, bilinearly; the corners' outer edges stay."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _block(height: int, inputs: int, inside: int, outputs: int) -> nn.Module:
    return Rsu(height, inputs, inside, outputs) if height else DilatedRsu(inputs, inside, outputs)
