"""What an object looks like from all around, in 656 bytes: to find the same object in another walk-around.

Each still is cut to its mask. Two things are averaged over the stills, so that neither the start of the walk
nor its direction matters: a histogram of colours (Lab, relative to the object's mean luminance, so that
exposure cancels), and the cut-out at 8 x 8 cells with its mask. The square root of a histogram makes
Euclidean distance the Hellinger distance. Local features of single stills are for :mod:`~.same_object`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.io.image import read_stored
from walkaround.types import ByteArray, Float32Array

VERSION = 1
"""Raise it when fingerprints of equal files change."""
NUM_STILLS = 12
CROP_PX = 256
VECTOR_BYTES = 656

_MIN_MASK_PX = 64
_PAD = 1.1
_CELLS = 8
_BINS = (10, 10, 4)
_COLOUR_WEIGHT = 3.5
_LAYOUT_WEIGHT = 0.35
"""Balance the two parts: on simulated captures, each then spreads about as far as the other."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A still, cut to its object."""

    name: str
    image_bgr: ByteArray  # (256, 256, 3)
    mask: ByteArray  # (256, 256), 0 to 255


def object_crops(sequence_dir: Path, count: int = NUM_STILLS) -> Iterator[Crop]:
    """Yield evenly spread stills that have a mask, cut to it; broken files are passed over."""
    masks = sorted((sequence_dir / "masks").glob("*.png"))
    if len(masks) > count:
        masks = [masks[i] for i in np.linspace(0, len(masks) - 1, count).round().astype(int)]
    for path in masks:
        crop = _crop(_image_of(sequence_dir, path.stem), path)
        if crop is not None:
            yield crop


def describe(crops: list[Crop]) -> ByteArray | None:
    """Return the fingerprint (656,) of an object's crops; None without any."""
    if not crops:
        return None
    lab = [_relative_lab(crop) for crop in crops]
    colour = np.mean([_colours(image, crop.mask) for image, crop in zip(lab, crops, strict=True)], axis=0)
    layout = np.mean([layout_of(crop, image) for image, crop in zip(lab, crops, strict=True)], axis=0)
    parts = (np.sqrt(colour) * 255, (layout.ravel() + 2) * 63.75)
    return np.clip(np.concatenate(parts).round(), 0, 255).astype(np.uint8)


def to_vectors(fingerprints: ByteArray) -> Float32Array:
    """Return (N, 656) fingerprints as vectors whose Euclidean distance says how much two objects differ."""
    vectors = fingerprints.astype(np.float32)
    split = int(np.prod(_BINS))
    vectors[:, :split] *= _COLOUR_WEIGHT / 255
    vectors[:, split:] = (vectors[:, split:] / 63.75 - 2) * _LAYOUT_WEIGHT
    return vectors


def layout_of(crop: Crop, lab: Float32Array | None = None) -> Float32Array:
    """Return a crop at 8 x 8 cells: Lab (over 50, weighted by the mask) and mask, (8, 8, 4)."""
    lab = _relative_lab(crop) if lab is None else lab
    weight = (_small(crop.mask).astype(np.float32) / 255)[..., None]
    stacked = np.concatenate([lab / 50 * weight, weight], axis=2)
    return np.asarray(cv2.resize(stacked, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)


def _image_of(sequence_dir: Path, stem: str) -> Path:
    path = sequence_dir / "images" / f"{stem}.jpg"
    return path if path.is_file() else sequence_dir / "images" / f"{stem}.png"


def _crop(image_path: Path, mask_path: Path) -> Crop | None:
    mask = _read(mask_path, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        return None
    rows, columns = np.flatnonzero((mask > 127).any(axis=1)), np.flatnonzero((mask > 127).any(axis=0))
    if rows.size == 0 or np.count_nonzero(mask > 127) < _MIN_MASK_PX:
        return None
    side = _PAD * max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    image = _read(image_path, _reduced(side))
    if image is None:
        return None
    shrunk = image.shape[1] / mask.shape[1]
    centre = np.array([columns[0] + columns[-1] + 1, rows[0] + rows[-1] + 1]) / 2
    square = _square(image, centre * shrunk, side * shrunk)
    return Crop(name=mask_path.stem, image_bgr=square, mask=_square(mask, centre, side))


def _reduced(side_px: float) -> int:
    """Return the flag that decodes no more than a crop needs: a JPEG's half, quarter or eighth size."""
    flags = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
    return next(
        (int(flag) for factor, flag in flags.items() if side_px / factor >= CROP_PX), cv2.IMREAD_COLOR
    )


def _read(path: Path, flags: int) -> ByteArray | None:
    image = read_stored(path, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if image is None else np.asarray(image, np.uint8)


def _square(image: ByteArray, centre: NDArray[np.float64], side: float) -> ByteArray:
    """Cut a square out and bring it to 256 px; outside the image it is black. Averages when it shrinks."""
    scale = CROP_PX / side
    if scale < 1:
        blur = round(1 / scale) | 1
        image = np.asarray(cv2.blur(image, (blur, blur)))
    # OpenCV's pixel centres are at whole numbers, ours at halves: hence the - 0.5
    shift = CROP_PX / 2 - scale * centre + 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(cv2.warpAffine(image, matrix, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR), np.uint8)


def _small(image: ByteArray) -> ByteArray:
    return np.asarray(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), np.uint8)


def _relative_lab(crop: Crop) -> Float32Array:
    """Return the crop at 32 x 32 in Lab, with the object's mean luminance as middle grey."""
    linear = (_small(crop.image_bgr).astype(np.float32) / 255) ** 2.2
    weight = _small(crop.mask).astype(np.float32) / 255
    mean = float((linear.mean(axis=2) * weight).sum() / max(float(weight.sum()), 1e-6)) + 1e-4
    relative = np.clip(linear / mean, 0, 4) ** (1 / 2.2) / 2
    return np.asarray(cv2.cvtColor(np.clip(relative, 0, 1).astype(np.float32), cv2.COLOR_BGR2Lab), np.float32)


def _colours(lab: Float32Array, mask: ByteArray) -> NDArray[np.float64]:
    """Return a smooth histogram over a, b and L of the object's pixels; its sum is one."""
    from scipy.ndimage import gaussian_filter

    weight = _small(mask).astype(np.float64).ravel() / 255
    values = lab[..., [1, 2, 0]].reshape(-1, 3)
    limits = ((-60, 60), (-60, 60), (0, 100))
    clipped = np.clip(values, [low for low, _ in limits], [high for _, high in limits])
    counts, _ = np.histogramdd(clipped, bins=_BINS, range=limits, weights=weight)
    smooth = gaussian_filter(counts, 0.7, mode="constant").ravel()
    return np.asarray(smooth / max(float(smooth.sum()), 1e-9))
