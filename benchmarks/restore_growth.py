"""Does growing help the prior? ``python benchmarks/restore_growth.py --data DATA [--generator swift]``.

The generator draws a crop with noise of sigma 25 at a quarter, a half and all of its size, the weights
carried over and the input made smaller with the picture, or at once at its size. Printed: CPU-seconds until
the running average first reaches each PSNR, and its best.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

from walkaround.restore.generators import build_generator
from walkaround.restore.measure import psnr_db
from walkaround.restore.picture import read_picture
from walkaround.restore.tensors import to_array, to_tensor

SIGMA = 25 / 255


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare growth with none."""

    data: Path
    """Folder of the shared captures."""
    images: tuple[str, ...] = ("F16", "kodim03")
    """Parts of names of pictures of Set9."""
    crop: int = 160
    """Side of the middle that is taken; a multiple of 32."""
    generator: str = "swift"
    """One that works at any size: swift, skip or unet."""
    iterations: int = 450
    """At full size."""
    coarse: tuple[int, ...] = (100, 100)
    """At a quarter and at a half."""
    goals: tuple[float, ...] = (24, 25, 26, 27, 27.5, 28, 28.5, 29)
    """PSNR."""


def main(arguments: Arguments) -> None:
    """Print a table a picture."""
    torch.set_num_threads(1)
    for name in arguments.images:
        (path,) = (arguments.data / "restore" / "set9").glob(f"*{name}*")
        image, side = read_picture(path).image, arguments.crop
        top, left = ((size - side) // 2 for size in image.shape[:2])
        truth = np.ascontiguousarray(image[top : top + side, left : left + side])
        noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
        measured = to_tensor(np.clip(truth + SIGMA * noise, 0, 1))
        for label, coarse in (("at once", ()), ("growing", arguments.coarse)):
            curve = list(solve(measured, truth, coarse, arguments))
            reached = [next((f"{s:.1f}" for s, v in curve if v >= goal), "-") for goal in arguments.goals]
            best, at = max((value, seconds) for seconds, value in curve)
            pairs = "  ".join(f"{g:g} dB {r} s" for g, r in zip(arguments.goals, reached, strict=True))
            print(f"{name}, {label}: best {best:.2f} dB at {at:.1f} s; {pairs}", flush=True)


def solve(
    measured: Tensor, truth: np.ndarray, coarse: tuple[int, ...], arguments: Arguments
) -> Iterator[tuple[float, float]]:
    """Yield CPU-seconds and PSNR of the average, every tenth iteration at full size."""
    size_hw = (measured.shape[-2], measured.shape[-1])
    generator = build_generator(arguments.generator, measured.shape[1], size_hw)
    network, source = generator.network, torch.Generator().manual_seed(7919)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=generator.learning_rate)
    seconds, steps = 0.0, [*coarse, arguments.iterations]
    for level, iterations in enumerate(steps):
        factor = 2 ** (len(steps) - 1 - level)
        target, z = (F.avg_pool2d(x, factor) for x in (measured, generator.z))
        z = (z - z.mean()) * (generator.z.std() / z.std()) + z.mean()
        average: Tensor | None = None
        for iteration in range(1, iterations + 1):
            began = time.process_time()
            disturbed = z + generator.input_noise * torch.randn(z.shape, generator=source)
            output = network(disturbed)[..., : target.shape[-2], : target.shape[-1]]
            loss = F.mse_loss(output, target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            output = output.detach()
            average = output.clone() if average is None else average.lerp_(output, 0.02)
            seconds += time.process_time() - began
            if factor == 1 and iteration % 10 == 0:
                yield seconds, psnr_db(to_array(average), truth)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
