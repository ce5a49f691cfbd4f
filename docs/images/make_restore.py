"""Draw docs/images/restore.jpg: ``python docs/images/make_restore.py DATA WORK``.

DATA is the folder of captures, WORK that of ``benchmarks/restore.py`` with results of seed 0. A row a task:
the damaged picture, a classical estimate where there is one, ours, the truth.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from restore import SIGMA

from walkaround.restore.classical import nlm
from walkaround.restore.jpeg import Jpeg, tables_of_quality
from walkaround.restore.operators import Convolution, Downsample, motion_kernel
from walkaround.restore.picture import read_picture
from walkaround.restore.plate import fill_smooth
from walkaround.restore.resample import bicubic
from walkaround.restore.tensors import to_array, to_tensor

SIDE_PX = 200
ROWS = (
    ("denoise", "image_F16_512rgb", (190, 150)),
    ("inpaint50", "image_Lena512rgb", (220, 220)),
    ("upscale", "image_House256rgb", (40, 40)),
    ("motion", "image_F16_512rgb", (190, 150)),
    ("dejpeg", "image_Lena512rgb", (220, 220)),
)


def main(data: Path, work: Path) -> None:
    """Write the picture of the rows whose results are there."""
    rows = []
    for task, name, place in ROWS:
        result = work / f"{task}-{name}-0.png"
        if result.exists():
            truth = read_picture(data / "restore" / "set9" / f"{name}.png").image
            damaged, classical = damage(task, truth)
            pictures = (damaged, classical, read_picture(result).image, truth)
            window = tuple(slice(start, start + SIDE_PX) for start in place)
            rows.append(np.concatenate([np.clip(picture[window], 0, 1) for picture in pictures], 1))
    sheet = (np.concatenate(rows)[..., ::-1] * 255).round().astype(np.uint8)
    cv2.imwrite(str(Path(__file__).parent / "restore.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


def damage(task: str, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the benchmark gave to the method, and the classical estimate it begins with."""
    noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    if task == "denoise":
        noisy = np.clip(truth + SIGMA * noise, 0, 1)
        return noisy, nlm(noisy, SIGMA)
    if task == "inpaint50":
        missing = noise[..., 0] > 0
        holed = np.where(missing[..., None], 0, truth).astype(np.float32)
        return holed, fill_smooth(holed, ~missing)
    if task == "upscale":
        small = Downsample(4, lobes=2)(to_tensor(truth)).clamp(0, 1)
        size = (truth.shape[0], truth.shape[1])
        return np.repeat(np.repeat(to_array(small), 4, 0), 4, 1), to_array(bicubic(small, size))
    return other_damage(task, truth, noise)


def other_damage(task: str, truth: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of motion blur and of JPEG."""
    import torch

    from walkaround.restore.deblur import wiener
    from walkaround.restore.dejpeg import average_of_shifts, compress

    if task == "motion":
        kernel = torch.from_numpy(motion_kernel(15, 30))
        blurred = to_array(Convolution(kernel)(to_tensor(truth))) + 2 / 255 * noise
        return blurred, to_array(wiener(to_tensor(blurred), kernel, 0.015))
    operator = Jpeg(tables_of_quality(10))
    blocks = compress(to_tensor(truth), operator)
    return to_array(blocks), to_array(average_of_shifts(blocks, operator))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
