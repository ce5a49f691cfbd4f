"""Backgrounds to paste objects on: drawn, and cut from pictures without an object of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.hdr.synthesis.leaves import draw_leaves
from walkaround.io.radiance import RADIANCE_SUFFIXES, read_radiance
from walkaround.types import ByteArray, Float32Array

_SUFFIXES = (*RADIANCE_SUFFIXES, ".jpg", ".jpeg", ".png")


def read_pictures(folder: Path) -> list[Float32Array]:
    """Return all pictures of a folder, linear, (H, W, 3).

    Raises
    ------
    InputError
        There are none, or one cannot be read.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no pictures ({', '.join(_SUFFIXES)}).")
    return [_read(path) for path in paths]


def _read(path: Path) -> Float32Array:
    if path.suffix.lower() in RADIANCE_SUFFIXES:
        return read_radiance(path)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be read as a picture.")
    return np.asarray((image[..., ::-1] / np.float32(255)) ** np.float32(2.2), np.float32)


def make_backgrounds(
    count: int, size_px: int, pictures: list[Float32Array], rng: np.random.Generator
) -> ByteArray:
    """Return (count, S, S, 3) sRGB: pieces of pictures, dead leaves, walls, and walls over tables."""
    makers: list[Callable[[], Float32Array]] = [
        lambda: leaves(size_px, rng),
        lambda: wall(size_px, rng),
        lambda: joined(wall(size_px, rng), wall(size_px, rng), rng),
        lambda: joined(wall(size_px, rng), leaves(size_px, rng), rng),
    ]
    if pictures:
        makers += [lambda: piece(pictures[int(rng.integers(len(pictures)))], size_px, rng)] * 3
        makers.append(
            lambda: joined(
                piece(pictures[int(rng.integers(len(pictures)))], size_px, rng), wall(size_px, rng), rng
            )
        )
    out = [makers[number % len(makers)]() for number in range(count)]
    return np.asarray(np.clip(np.stack(out) * 255, 0, 255), np.uint8)


def shown(radiance: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return (H, W, 3) radiance as a picture 0..1 of a random exposure."""
    level = float(np.median(radiance.mean(axis=2))) + 1e-6
    exposed = radiance * np.float32(rng.uniform(0.1, 0.5) / level)
    return np.asarray(np.clip(exposed, 0, 1) ** np.float32(1 / 2.2), np.float32)


def piece(picture: Float32Array, size_px: int, rng: np.random.Generator) -> Float32Array:
    """Return a square piece of a linear picture, at a random scale, mirrored or not."""
    height, width = picture.shape[:2]
    side = int(rng.uniform(0.2, 0.8) * min(height, width))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    cut = picture[top : top + side, left : left + side]
    if rng.uniform() < 0.5:
        cut = cut[:, ::-1]
    cut = cv2.resize(np.ascontiguousarray(cut), (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    if rng.uniform() < 0.4:
        cut = cv2.GaussianBlur(cut, (0, 0), rng.uniform(0.5, 4))
    return shown(cut, rng)


def wall(size_px: int, rng: np.random.Generator) -> Float32Array:
    """Return a surface 0..1 of one colour in uneven light, with grain, stripes or squares, or plain."""
    color = np.full(3, rng.uniform(0.03, 1.0)) * np.exp(rng.normal(0, rng.choice([0.03, 0.3]), 3))
    v, u = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px
    angle = rng.uniform(0, 2 * np.pi)
    along = u * np.float32(np.cos(angle)) + v * np.float32(np.sin(angle))
    picture = color[None, None] * (1 + rng.uniform(0, 0.5) * (along - 0.3))[..., None]
    kind = rng.uniform()
    if kind < 0.2:
        wave = np.sin(2 * np.pi * along * rng.uniform(3, 25) + rng.uniform(0, 6))
        picture = picture * (1 + rng.uniform(0.05, 0.5) * np.sign(wave))[..., None]
    elif kind < 0.4:
        cells = rng.uniform(3, 16)
        square = (np.floor(cells * along) + np.floor(cells * (v * np.cos(angle) - u * np.sin(angle)))) % 2
        picture = picture * np.where(square[..., None] > 0, np.exp(rng.normal(0, 0.4, 3)), 1)
    if rng.uniform() < 0.7:
        for cells in (int(rng.integers(3, 12)), int(rng.integers(20, size_px))):
            grain = rng.standard_normal((cells, max(2, int(cells * rng.uniform(0.1, 1))))).astype(np.float32)
            grain = cv2.resize(grain, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
            picture = picture * np.exp(rng.uniform(0, 0.2) * grain)[..., None]
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def joined(above: Float32Array, below: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return one background above a slanting line and another below: a wall and a table."""
    size = len(above)
    v, u = np.mgrid[0:size, 0:size].astype(np.float32) / size
    line = rng.uniform(0.15, 0.7) + rng.normal(0, 0.08) * (u - 0.5)
    lower = np.clip((v - line) * size / rng.uniform(1, 4) + 0.5, 0, 1)[..., None]
    return np.asarray(above * (1 - lower) + below * lower, np.float32)


def leaves(size_px: int, rng: np.random.Generator) -> Float32Array:
    """Return a part of a picture of dead leaves: small or large ones, with more or less contrast."""
    picture = draw_leaves((size_px, size_px), rng, num_shapes=int(rng.integers(60, 500)))
    side = int(size_px * rng.uniform(0.2, 1.0))
    part = cv2.resize(picture[:side, :side], (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    middle = np.median(part)
    return shown(np.asarray(middle + (part - middle) * rng.uniform(0.2, 1.0), np.float32), rng)
