"""Blur by a known kernel: Wiener filters of several strengths, joined by what smaller sizes teach.

Made smaller, a blurred picture is nearly sharp and has less noise. There the blur is applied again, filtered
away again, and what is lacking is learned.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.errors import UsageError
from walkaround.restore.blend import fade
from walkaround.restore.operators import Convolution, Downsample, UnknownConvolution
from walkaround.restore.options import PairsOptions, PriorOptions
from walkaround.restore.pairs import Corrector, Pair, correct, learn
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.randomness import own_source
from walkaround.restore.solver import solve_prior
from walkaround.restore.spectrum import estimate_blur, gaussian_of
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import TILE_PX, learning_parts, tiles
from walkaround.types import Float32Array

STRENGTHS = (1.0, 0.3, 3.0)
"""Of the Wiener filters, relative to the noise; the first is the base."""
SMALLER = (2, 3, 4)
"""Times smaller: where it learns."""
DRAWS = 2
"""Pictures with other noise at each size."""
_LEAST_SIGMA = 0.5 / 255  # rounding to 8 bits, and what the kernel is not exactly
_GRADIENT_VARIANCE = 0.004  # of photos of 0..1
_BLIND_PX, _BLIND_ITERATIONS = 256, 350


def wiener(y: Tensor, kernel: Tensor, noise_to_signal: float) -> Tensor:
    """Undo a blur of (1, C, H, W) in the spectrum, with a penalty on gradients.

    The border is continued so that both ends meet: no ringing from a jump where the spectrum wraps around.
    Source: Hunt, 1973, "constrained least squares restoration", doi:10.1109/TC.1973.5009169.
    """
    height, width = y.shape[-2:]
    gap = 4 * max(kernel.shape)
    closed = _close(_close(y, gap).transpose(-1, -2), gap).transpose(-1, -2)
    size = (closed.shape[-2], closed.shape[-1])
    transfer = _transfer(kernel.to(y), size)
    across = _transfer(torch.tensor([[0.0, -1.0, 1.0]]).to(y), size)
    down = _transfer(torch.tensor([[0.0], [-1.0], [1.0]]).to(y), size)
    penalty = noise_to_signal * (across.abs() ** 2 + down.abs() ** 2) + 1e-8
    spectrum = torch.conj(transfer) * torch.fft.rfft2(closed) / (transfer.abs() ** 2 + penalty)
    return torch.fft.irfft2(spectrum, s=size)[..., :height, :width]


def _close(y: Tensor, gap: int) -> Tensor:
    """Add columns on the right that fade from the mirrored right end to the mirrored left end."""
    gap = min(gap, y.shape[-1] - 1)
    right = F.pad(y, (0, gap, 0, 0), mode="reflect")[..., -gap:]
    left = F.pad(y, (gap, 0, 0, 0), mode="reflect")[..., :gap]
    fade = (torch.arange(gap, device=y.device, dtype=y.dtype) + 1) / (gap + 1)
    return torch.cat([y, (1 - fade) * right + fade * left], -1)


def _transfer(kernel: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return the spectrum of a kernel whose middle is the origin."""
    rows, columns = kernel.shape
    grid = torch.zeros(size_hw, dtype=kernel.dtype, device=kernel.device)
    grid[:rows, :columns] = kernel
    return torch.fft.rfft2(torch.roll(grid, (-(rows // 2), -(columns // 2)), (0, 1)))


def deblur_by_pairs(
    image: Float32Array,
    kernel: Float32Array,
    sigma: float,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    listen: Listen = unheard,
) -> Float32Array:
    """Sharpen (H, W, C) that was blurred by ``kernel`` and has noise of deviation ``sigma``.

    Raises
    ------
    UsageError
        The kernel is none, or too large for the picture.
    """
    blur = Convolution(torch.from_numpy(np.asarray(kernel, np.float32)))
    least = SMALLER[0] * (max(kernel.shape) + 8)
    if min(image.shape[:2]) < least:
        size = f"{image.shape[1]} x {image.shape[0]} px"
        raise UsageError(
            f"A kernel of {kernel.shape} needs a picture of {least} px at least, this has {size}."
        )
    y, sigma = to_tensor(image), max(sigma, _LEAST_SIGMA)
    noise = torch.Generator().manual_seed(int(own_source(seed).integers(2**62)))
    pairs = [
        pair
        for part in learning_parts((image.shape[0], image.shape[1]), seed)
        for pair in _pairs(y[..., *part], blur, sigma, noise)
    ]
    base, extra = _filtered_in_tiles(y, blur, sigma)

    def watch(iteration: int, share: float, loss: float, network: Corrector) -> None:
        def draw() -> Float32Array:
            return to_array(correct(network, base, extra, turns=1, device=device).clamp(0, 1))

        listen(Told(iteration=iteration, share=share, loss=loss, picture=draw))

    network = learn(pairs, options=options, seed=seed, device=device, watch=watch)
    return to_array(correct(network, base, extra, device=device).clamp(0, 1))


def _pairs(y: Tensor, blur: Convolution, sigma: float, noise: torch.Generator) -> list[Pair]:
    """Blur smaller sizes of (1, C, H, W) once more."""
    pairs = []
    for factor in SMALLER:
        target = Downsample(factor)(y)
        if min(target.shape[-2:]) < max(max(blur.kernel.shape) + 8, 24):
            continue
        for _ in range(DRAWS):
            worse = blur(target) + sigma * torch.randn(target.shape, generator=noise)
            base, extra = _filtered(worse, blur, sigma)
            pairs.append(Pair(base=base, extra=extra, target=target))
    return pairs


def _filtered_in_tiles(y: Tensor, blur: Convolution, sigma: float) -> tuple[Tensor, Tensor]:
    """Filter a large picture in pieces that fade into each other.

    A motion blur's filter reaches far: two pieces differ a little even a halo away from their ends, and side
    by side they would show a step.
    """
    halo, size_hw = 64 + 4 * max(blur.kernel.shape), (y.shape[-2], y.shape[-1])
    base, total = torch.zeros_like(y), torch.zeros(1, 1, *size_hw)
    extra = torch.zeros(1, y.shape[1] * len(STRENGTHS), *size_hw)
    for tile in tiles(size_hw, halo_px=halo, tile_px=2 * TILE_PX):
        done = _filtered(y[..., *tile.outer], blur, sigma)
        down, across = (fade(part, size, halo) for part, size in zip(tile.outer, size_hw, strict=True))
        weight = down[:, None] * across
        base[..., *tile.outer] += weight * done[0]
        extra[..., *tile.outer] += weight * done[1]
        total[..., *tile.outer] += weight
    return base.div_(total), extra.div_(total)


def _filtered(y: Tensor, blur: Convolution, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the base and what else the network sees: other strengths, and the blurred picture."""
    usual = sigma**2 / _GRADIENT_VARIANCE
    filtered = [wiener(y, blur.kernel, share * usual) for share in STRENGTHS]
    return filtered[0], torch.cat([*filtered[1:], y], 1)


def estimate_kernel(
    image: Float32Array,
    size: int,
    sigma: float,
    *,
    options: PriorOptions,
    seed: int = 0,
    device: str = "cpu",
) -> Float32Array:  # (size, size)
    """Estimate an unknown blur: a Gaussian from the spectrum, changed together with what the prior draws.

    Not always for the better; without the spectrum, kernel and picture settle on hardly any blur.

    Parameters
    ----------
    sigma
        Deviation of the noise, 0..1.
    """
    start = gaussian_of(estimate_blur(image), size)
    operator = UnknownConvolution(size, start=torch.from_numpy(start))
    top, left = (max(0, (side - _BLIND_PX) // 2) for side in image.shape[:2])
    part = to_tensor(image[top : top + _BLIND_PX, left : left + _BLIND_PX])
    options = replace(options, iterations=options.iterations or _BLIND_ITERATIONS, restarts=1)
    solve_prior(
        part, operator, (part.shape[-2], part.shape[-1]), options=options, task="deblur", seed=seed,
        device=device, noise=sigma,
    )  # fmt: skip
    return np.asarray(operator.kernel.detach().cpu().numpy(), np.float32)
