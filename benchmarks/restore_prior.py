"""The prior on every task: ``python benchmarks/restore_prior.py --data DATA [--generator swift]``.

The middle of a picture of Set9 is damaged as in ``benchmarks/restore.py`` and drawn by the prior, as
``walkaround restore --method prior`` does it. Printed: PSNR of what was given (of bicubic for enlarging, of
a thin plate for missing pixels), of the result, and CPU-seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from restore import BLUR_SIGMA, SIGMA, middle

from walkaround.restore.measure import psnr_db
from walkaround.restore.operators import Convolution, Downsample, gaussian_kernel
from walkaround.restore.options import PriorOptions, RestoreOptions, Task
from walkaround.restore.picture import Picture, read_picture
from walkaround.restore.plate import fill_smooth
from walkaround.restore.resample import bicubic
from walkaround.restore.restore import restore_picture
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the prior."""

    data: Path
    """Folder of the shared captures."""
    image: str = "F16"
    """Part of the name of a picture of Set9."""
    crop: int = 128
    """Side of the middle that is taken."""
    generator: str = "swift"
    """Which network."""
    iterations: int = 0
    """At most; 0 is what suits the generator."""
    tasks: tuple[Task, ...] = ("denoise", "inpaint", "upscale", "deblur", "dejpeg")
    """Which tasks."""


def main(arguments: Arguments) -> None:
    """Print a line a task."""
    torch.set_num_threads(1)
    (path,) = (arguments.data / "restore" / "set9").glob(f"*{arguments.image}*")
    truth = middle(read_picture(path).image, arguments.crop)
    prior = PriorOptions(generator=arguments.generator, iterations=arguments.iterations)
    for task, picture, before, more in damaged(truth):
        if task in arguments.tasks:
            options = RestoreOptions(method="prior", prior=prior, **more)
            began = time.process_time()
            done = restore_picture(picture, task, options=options)
            seconds = time.process_time() - began
            print(f"{task}: {psnr_db(before, truth):.2f} -> {psnr_db(done.image, truth):.2f} dB, "
                  f"{seconds:.1f} CPU-s, {done.facts}", flush=True)  # fmt: skip


def damaged(truth: Float32Array) -> Iterator[tuple[Task, Picture, Float32Array, dict[str, object]]]:
    """Yield task, what is given, what it is compared with, and options."""

    def picture(image: Float32Array, alpha: Float32Array | None = None) -> Picture:
        return Picture(image=np.clip(image, 0, 1).astype(np.float32), alpha=alpha, bits=8)

    noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    noisy = np.clip(truth + SIGMA * noise, 0, 1)
    yield "denoise", picture(noisy), noisy, {}
    known = noise[..., 0] <= 0
    holed = np.where(known[..., None], truth, 0).astype(np.float32)
    yield "inpaint", picture(holed, known.astype(np.float32)), fill_smooth(holed, known), {}
    small = Downsample(4, lobes=2)(to_tensor(truth)).clamp(0, 1)
    yield "upscale", picture(to_array(small)), to_array(bicubic(small, truth.shape[:2])), {"factor": 4}
    blur = Convolution(torch.from_numpy(gaussian_kernel(1.6)))
    blurred = to_array(blur(to_tensor(truth))) + BLUR_SIGMA * noise
    yield "deblur", picture(blurred), blurred, {"kernel": "gaussian:1.6"}
    stored = np.round(truth[..., ::-1] * 255).astype(np.uint8)
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    jpeg = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    yield "dejpeg", picture(jpeg), jpeg, {"quality": 10}


if __name__ == "__main__":
    main(tyro.cli(Arguments))
