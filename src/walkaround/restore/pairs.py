"""The fast way: a small network learns on pieces of the measured picture, then restores all of it.

A pair is the measured picture made worse in the way it is bad already, and what it was before. The network
corrects a classical estimate of the worse one; what repeats within a picture is what it can learn. No
training data, no weights to load: for each picture a new network, as with the deep image prior, but one that
sees the picture and works on 64 x 64 pieces, so that its time does not grow with the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from walkaround.restore.options import PairsOptions
from walkaround.restore.tiles import TILE_PX, tiles

STRIDE_PX = 8
"""Pieces begin at multiples of this: the network halves the size three times."""
MANY_PX = 4_000_000
HALO_PX = 64
"""No output pixel depends on an input further away."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What the network sees, and what it should give.

    Attributes
    ----------
    base
        (1, C, H, W) an estimate; the network adds to it.
    extra
        (1, E, H, W) what else it sees.
    target
        (1, C, H, W)
    weight
        (1, 1, H, W) how much each pixel counts; None for all alike.
    """

    base: Tensor
    extra: Tensor
    target: Tensor
    weight: Tensor | None = None


class Corrector(nn.Module):  # type: ignore[misc]
    """A U-Net of three scales, the first at half the size; at first it changes nothing.

    Parameters
    ----------
    channels, extra
        Of the picture, and of what it sees besides.
    scale
        About the deviation of the corrections: the network's own numbers are then about 1.
    """

    def __init__(self, channels: int, extra: int, width: int, *, scale: float = 0.1) -> None:
        super().__init__()
        self.scale = scale
        inputs = 4 * (channels + extra)
        self.down = nn.ModuleList([_block(inputs, width), _block(width, width), _block(width, width)])
        self.up = nn.ModuleList([_block(2 * width, width), _block(2 * width, width)])
        self.last = nn.Conv2d(width, 4 * channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.1)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.last.weight)

    def forward(self, base: Tensor, extra: Tensor) -> Tensor:
        """Return the corrected base; sides must be multiples of :data:`STRIDE_PX`."""
        return base + self.correction(base, extra)

    def correction(self, base: Tensor, extra: Tensor) -> Tensor:
        """Return what is to be added to the base."""
        x = F.pixel_unshuffle(torch.cat([base, extra], 1) * 4 - 2, 2)
        fine = self.down[0](x)
        middle = self.down[1](F.avg_pool2d(fine, 2))
        x = self.up[0](torch.cat([middle, _double(self.down[2](F.avg_pool2d(middle, 2)))], 1))
        x = self.up[1](torch.cat([fine, _double(x)], 1))
        return self.scale * F.pixel_shuffle(self.last(x), 2)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def learn(
    pairs: Sequence[Pair],
    *,
    options: PairsOptions,
    seed: int,
    device: str = "cpu",
    scale: float = 0.1,
    watch: Callable[[int, float, float, Corrector], None] = lambda *_: None,
) -> Corrector:
    """Train a new network on random pieces of the pairs, turned and mirrored.

    Parameters
    ----------
    watch
        Called now and then with the iteration, the share done, the loss and the network so far.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Corrector(pairs[0].base.shape[1], pairs[0].extra.shape[1], options.channels, scale=scale)
    network = network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    source = torch.Generator().manual_seed(seed + 1)
    half = options.precision == "bfloat16" or (options.precision == "auto" and half_helps(device))
    began, iteration, share = time.process_time(), 0, 0.0
    while share < 1:
        iteration += 1
        loss = _loss(network, *_pieces(pairs, options, source, device), half=half)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.05)
        optimiser.param_groups[0]["lr"] = options.learning_rate * max(0.02, min(1.0, 2 - 2 * share))
        optimiser.step()
        if options.seconds > 0:
            share = min(1.0, (time.process_time() - began) / options.seconds)
        else:
            share = iteration / max(1, options.iterations)
        if iteration % 10 == 0 or share == 1:
            watch(iteration, share, float(loss.detach()), network)
    return network.eval()


def half_helps(device: str) -> bool:
    """Return whether ``device`` computes in bfloat16 itself; elsewhere it would be slower than float32."""
    if device.startswith("cuda"):
        return True
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public question for it
    return device == "cpu" and known is not None and bool(known())


def _loss(
    network: Corrector, base: Tensor, extra: Tensor, target: Tensor, weight: Tensor, half: bool = False
) -> Tensor:
    with torch.autocast(base.device.type, dtype=torch.bfloat16, enabled=half):
        correction = network.correction(base, extra)
    squared = (base + correction.float() - target).square() * weight
    return squared.sum() / (weight.sum() * target.shape[1]).clamp(min=1)


def _pieces(
    pairs: Sequence[Pair], options: PairsOptions, source: torch.Generator, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a batch of pieces at the same places of base, extra, target and weight."""
    pair = pairs[_random(len(pairs), source)]
    weight = torch.ones_like(pair.target[:, :1]) if pair.weight is None else pair.weight
    sheet = torch.cat([pair.base, pair.extra, pair.target, weight], 1)
    height, width = sheet.shape[-2:]
    size = min(options.patch_px, height // STRIDE_PX * STRIDE_PX, width // STRIDE_PX * STRIDE_PX)
    pieces = []
    for _ in range(options.batch):
        row, column = _random(height - size + 1, source), _random(width - size + 1, source)
        piece = sheet[..., row : row + size, column : column + size]
        turns = _random(8, source)
        piece = torch.rot90(piece.flip(3) if turns & 4 else piece, turns & 3, (2, 3))
        pieces.append(piece)
    batch = torch.cat(pieces).to(device).contiguous(memory_format=torch.channels_last)
    channels = pair.base.shape[1]
    sizes = (channels, pair.extra.shape[1], channels, 1)
    base, extra, target, weights = batch.split(sizes, 1)
    return base, extra, target, weights


def _random(below: int, source: torch.Generator) -> int:
    return int(torch.randint(below, (1,), generator=source))


@torch.no_grad()
def correct(
    network: Corrector,
    base: Tensor,
    extra: Tensor,
    *,
    turns: int = 0,
    tile_px: int = TILE_PX,
    device: str = "cpu",
) -> Tensor:
    """Correct a picture of any size, tile by tile, and average over ``turns`` quarter turns of each tile.

    Beyond four the tile is mirrored as well; eight are all there are. With 0 turns it takes four, or one for
    a picture of more than MANY_PX, where time counts.

    Each tile is computed with all that its pixels depend on, from places that the network's own grid
    shares: the tiles join without a seam, exactly as if the picture had been done at once.
    """
    turns = turns or (4 if base.shape[-2] * base.shape[-1] <= MANY_PX else 1)
    channels, out = base.shape[1], torch.empty(base.shape, dtype=base.dtype)
    for tile in tiles((base.shape[-2], base.shape[-1]), halo_px=HALO_PX, tile_px=tile_px):
        seen = torch.cat([base[..., *tile.outer], extra[..., *tile.outer]], 1).to(device)
        lacking = (0, -seen.shape[-1] % STRIDE_PX, 0, -seen.shape[-2] % STRIDE_PX)
        seen = F.pad(seen, lacking, mode="replicate")
        done = torch.zeros_like(seen[:, :channels])
        for turn in range(turns):
            turned = torch.rot90(seen.flip(3) if turn & 4 else seen, turn & 3, (2, 3))
            turned = turned.contiguous(memory_format=torch.channels_last)
            corrected = network(turned[:, :channels], turned[:, channels:])
            back = torch.rot90(corrected, -(turn & 3), (2, 3))
            done += (back.flip(3) if turn & 4 else back) / turns
        out[..., *tile.target] = done[..., *tile.inner].to(out)
    return out
