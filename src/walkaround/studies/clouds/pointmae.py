"""Point-MAE: a transformer on patches of a cloud, pretrained by filling in masked patches.

Pang et al. 2022, arXiv:2203.06604.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from walkaround.studies.clouds.layers import CloudNetwork, Head, Tensor, highest
from walkaround.studies.clouds.neighbours import farthest_points, gather, nearest_points


@dataclass(frozen=True, kw_only=True)
class MaeShape:
    """The proportions of a Point-MAE."""

    patches: int = 64
    """Patches a cloud; the paper takes 128 on ScanObjectNN's 2,048 points."""
    patch_points: int = 32
    """Points a patch."""
    channels: int = 384
    """Features a patch."""
    patch_channels: int = 128
    """First layer of the net on each patch; its others have 2 and 4 times as many."""
    depth: int = 12
    """Blocks of the encoder."""
    decoder_depth: int = 4
    """Blocks of the decoder."""
    heads: int = 6
    """Of each attention."""
    drop_path: float = 0.1
    """Highest share of skipped blocks in training; it grows with depth."""
    masked: float = 0.6
    """Share of the patches that pretraining hides."""


SMALL_MAE = MaeShape(
    patches=24, patch_points=16, channels=96, patch_channels=32, depth=4, decoder_depth=2, heads=4
)


class MaskedAutoencoder(nn.Module):  # type: ignore[misc, unused-ignore]
    """Hides most patches, encodes the others, and draws the points of the hidden ones."""

    def __init__(self, shape: MaeShape = MaeShape()) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = PatchEncoder(shape)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, shape.channels))
        self.place = _place(shape.channels)
        self.blocks = _blocks(shape, shape.decoder_depth)
        self.norm = nn.LayerNorm(shape.channels)
        self.draw = nn.Linear(shape.channels, 3 * shape.patch_points)
        self.apply(_start)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, points: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the loss of clouds (B, N, 3): chamfer distance (squared) of the hidden patches' points."""
        patches, centres = self.encoder.divide(points)
        seen, hidden = self._hide(centres, generator)
        features = self.encoder.encode(gather(patches.flatten(2), seen), gather(centres, seen))
        tokens = self.mask_token.expand(len(points), hidden.shape[1], -1)
        place = self.place(gather(centres, torch.cat([seen, hidden], dim=1)))
        x = torch.cat([features, tokens], dim=1)
        for block in self.blocks:
            x = block(x + place)
        drawn = self.draw(self.norm(x[:, seen.shape[1] :]))
        truth = gather(patches.flatten(2), hidden)
        return chamfer_distance(
            drawn.reshape(-1, self.shape.patch_points, 3), truth.reshape(-1, self.shape.patch_points, 3)
        )

    def _hide(self, centres: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Divide the numbers of the patches at random: (B, seen) and (B, hidden)."""
        batch, patches = centres.shape[:2]
        order = torch.rand(batch, patches, generator=generator).argsort(dim=1).to(centres.device)
        hidden = int(self.shape.masked * patches)
        return order[:, hidden:], order[:, :hidden]


class PointTransformer(CloudNetwork):
    """The classifier: Point-MAE's encoder with a class token.

    Parameters
    ----------
    classes
        Scores a cloud.
    shape
        Its proportions.
    """

    def __init__(self, classes: int, *, shape: MaeShape = MaeShape()) -> None:
        super().__init__()
        self.encoder = PatchEncoder(shape)
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.channels))
        self.class_place = nn.Parameter(torch.zeros(1, 1, shape.channels))
        self.apply(_start)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.class_place, std=0.02)
        hidden = 256 if shape.channels >= 256 else 64
        self.head = Head((2 * shape.channels, hidden, hidden), classes, dropout=(0.5, 0.5))

    def forward(self, points: Tensor) -> Tensor:
        patches, centres = self.encoder.divide(points)
        x = self.encoder.encode(patches.flatten(2), centres, (self.class_token, self.class_place))
        return self.head(torch.cat([x[:, 0], highest(x[:, 1:], 1)], dim=1))


class PatchEncoder(nn.Module):  # type: ignore[misc, unused-ignore]
    """Divides clouds into patches and encodes them; what pretraining hands on."""

    def __init__(self, shape: MaeShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch = _PatchNet(shape.patch_channels, shape.channels)
        self.place = _place(shape.channels)
        self.blocks = _blocks(shape, shape.depth)
        self.norm = nn.LayerNorm(shape.channels)

    def divide(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Clouds (B, N, 3) -> patches (B, G, K, 3) relative to their centres (B, G, 3)."""
        centres = gather(points, farthest_points(points, self.shape.patches))
        index = nearest_points(points, centres, self.shape.patch_points)
        return gather(points, index) - centres[:, :, None], centres

    def encode(self, patches: Tensor, centres: Tensor, extra: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Patches (B, G, 3 K) and centres (B, G, 3) -> features (B, G, C); ``extra`` goes before them."""
        x, place = self.patch(patches.reshape(*patches.shape[:2], -1, 3)), self.place(centres)
        if extra is not None:
            token, token_place = (value.expand(len(x), -1, -1) for value in extra)
            x, place = torch.cat([token, x], dim=1), torch.cat([token_place, place], dim=1)
        for block in self.blocks:
            x = block(x + place)
        return self.norm(x)


def chamfer_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance of each point of ``a`` (P, K, 3) to ``b`` (P, L, 3), plus the other way round."""
    squared = (a[:, :, None] - b[:, None]).square().sum(dim=3)
    return squared.amin(dim=2).mean() + squared.amin(dim=1).mean()


class _PatchNet(nn.Module):  # type: ignore[misc, unused-ignore]
    """A two-step PointNet on each patch."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.first = _two_layers(3, width, 2 * width)
        self.second = _two_layers(4 * width, 4 * width, channels)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, G, K, 3) -> (B, G, C)."""
        x = self.first(patches.flatten(0, 1).transpose(1, 2))  # (B G, 256, K)
        whole = highest(x, 2)[:, :, None].expand_as(x)
        return highest(self.second(torch.cat([whole, x], dim=1)), 2).reshape(*patches.shape[:2], -1)


class _Block(nn.Module):  # type: ignore[misc, unused-ignore]
    """Attention and dense layers, normalised before, each skipped at random in training."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.heads, self.drop_path = heads, drop_path
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.dense = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._skipped(self._attend(self.norm1(x)))
        return x + self._skipped(self.dense(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def _skipped(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return x
        kept = 1 - self.drop_path
        return x * (torch.rand(len(x), 1, 1, device=x.device) < kept) / kept


def _blocks(shape: MaeShape, depth: int) -> nn.ModuleList:
    shares = [shape.drop_path * i / max(depth - 1, 1) for i in range(depth)]
    return nn.ModuleList([_Block(shape.channels, shape.heads, share) for share in shares])


def _two_layers(channels: int, middle: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(channels, middle, 1),
        nn.BatchNorm1d(middle),
        nn.ReLU(inplace=True),
        nn.Conv1d(middle, out, 1),
    )


def _place(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, channels))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
