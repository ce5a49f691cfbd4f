"""Draw docs/images/restore.jpg: ``python docs/images/make_restore.py DATA/truth/bunny/images/001.png``.

A row a task: what was given, the classical estimate, the result, the truth, of a piece of the picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from walkaround.restore.classical import nlm
from walkaround.restore.deblur import deblur_by_pairs, wiener
from walkaround.restore.dejpeg import average_of_shifts, dejpeg_by_pairs
from walkaround.restore.denoise import denoise_by_pairs
from walkaround.restore.inpaint import inpaint_by_pairs
from walkaround.restore.jpeg import Jpeg, read_tables
from walkaround.restore.operators import Convolution, Downsample, motion_kernel
from walkaround.restore.options import PairsOptions
from walkaround.restore.picture import read_picture
from walkaround.restore.plate import fill_smooth
from walkaround.restore.resample import bicubic
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.upscale import upscale_by_pairs

PLACE, SIDE_PX, SHOWN_PX = (110, 400), 256, 176
SIGMA = 25 / 255
OPTIONS = PairsOptions(iterations=400)
Row = tuple[np.ndarray, np.ndarray, np.ndarray]


def main(path: Path) -> None:
    """Restore and draw."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    window = tuple(slice(start, start + SIDE_PX) for start in PLACE)
    truth = np.ascontiguousarray(read_picture(path).image[window])
    noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    rows = []
    for make in (denoise, inpaint, upscale, deblur, dejpeg):
        pictures = [np.clip(picture, 0, 1) for picture in (*make(truth, noise), truth)]
        start = (SIDE_PX - SHOWN_PX) // 2
        rows.append(
            np.concatenate([p[start : start + SHOWN_PX, start : start + SHOWN_PX] for p in pictures], 1)
        )
        print(make.__name__, *(f"{-10 * np.log10(np.square(p - truth).mean()):.2f}" for p in pictures[:-1]))
    sheet = (np.concatenate(rows)[..., ::-1] * 255).round().astype(np.uint8)
    cv2.imwrite(str(Path(__file__).parent / "restore.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


def denoise(truth: np.ndarray, noise: np.ndarray) -> Row:
    """Noise of sigma 25."""
    noisy = np.clip(truth + SIGMA * noise, 0, 1)
    return noisy, nlm(noisy, SIGMA), denoise_by_pairs(noisy, SIGMA, options=OPTIONS)


def inpaint(truth: np.ndarray, noise: np.ndarray) -> Row:
    """Half of the pixels."""
    known = noise[..., 0] > 0
    holed = np.where(known[..., None], truth, 0).astype(np.float32)
    return holed, fill_smooth(holed, known), inpaint_by_pairs(holed, known, options=OPTIONS)


def upscale(truth: np.ndarray, noise: np.ndarray) -> Row:
    """Four times smaller."""
    small = Downsample(4, lobes=2)(to_tensor(truth)).clamp(0, 1)
    shown = np.repeat(np.repeat(to_array(small), 4, 0), 4, 1)
    large = to_array(bicubic(small, (SIDE_PX, SIDE_PX)))
    return shown, large, upscale_by_pairs(to_array(small), 4, options=OPTIONS)


def deblur(truth: np.ndarray, noise: np.ndarray) -> Row:
    """Motion of 15 pixels, noise of sigma 2."""
    kernel = motion_kernel(15, 30)
    blurred = to_array(Convolution(torch.from_numpy(kernel))(to_tensor(truth))) + 2 / 255 * noise
    filtered = to_array(wiener(to_tensor(blurred), torch.from_numpy(kernel), 0.015))
    return blurred, filtered, deblur_by_pairs(blurred, kernel, 2 / 255, options=OPTIONS)


def dejpeg(truth: np.ndarray, noise: np.ndarray) -> Row:
    """Quality 10."""
    stored = np.round(truth[..., ::-1] * 255).astype(np.uint8)
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    tables = read_tables(data.tobytes(), "picture")
    average = to_array(average_of_shifts(to_tensor(image), Jpeg(tables)))
    return image, average, dejpeg_by_pairs(image, tables, options=OPTIONS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
