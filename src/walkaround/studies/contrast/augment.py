"""MoCo v2's augmentation (Chen et al. 2020, arXiv:2003.04297), of a whole batch at once.

Crops of 20 to 100 % of the area, mirroring, colour jitter (0.4, 0.4, 0.4, 0.1; of 80 %), grey (20 %), blur
(half of them). Unlike there, colour changes have one order, hue turns in YIQ rather than in HSV, and blur
keeps its size relative to the image: a sigma of 0.1 to 2 px is of 224 px.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from walkaround.types import FloatArray

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_GREY = np.tile(_YIQ[0], (3, 1))


def augmented(images: Any, rng: np.random.Generator) -> Any:
    """Return changed float images 0..1 of uint8 images, both (N, 3, S, S); each differs."""
    count, _, size, _ = images.shape
    device = images.device
    where = torch.from_numpy(_crops(count, rng).astype(np.float32)).to(device)
    grid = torch.nn.functional.affine_grid(where, list(images.shape), align_corners=False)
    out = torch.nn.functional.grid_sample(
        images.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    jittered = rng.random(count) < 0.8
    contrast = np.where(jittered, rng.uniform(0.6, 1.4, count), 1.0)
    matrix = torch.from_numpy(_colours(count, jittered, rng).astype(np.float32)).to(device)
    amount = torch.from_numpy(contrast.astype(np.float32)).to(device)[:, None, None, None]
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    out = torch.einsum("nij,njhw->nihw", matrix, (out - mean) * amount + mean).clamp(0, 1)
    sigma = np.where(rng.random(count) < 0.5, rng.uniform(0.1, 2.0, count) * size / 224, 1e-3)
    return _blurred(out, sigma, reach=math.ceil(6.0 * size / 224))


def _crops(count: int, rng: np.random.Generator) -> FloatArray:
    """Return (N, 2, 3): from places in the result to places in the image, both -1..1."""
    area = rng.uniform(0.2, 1.0, count)
    ratio = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count))
    size = np.minimum(np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1), 1.0)  # (N, 2)
    theta = np.zeros((count, 2, 3))
    theta[:, 0, 0] = size[:, 0] * np.where(rng.random(count) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = size[:, 1]
    theta[:, :, 2] = (1 - size) * rng.uniform(-1, 1, (count, 2))
    return theta


def _colours(count: int, jittered: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return (N, 3, 3): brightness, saturation, hue and grey as one matrix on RGB."""
    brightness = np.where(jittered, rng.uniform(0.6, 1.4, count), 1.0)
    saturation = np.where(jittered, rng.uniform(0.6, 1.4, count), 1.0)
    angle = 2 * np.pi * np.where(jittered, rng.uniform(-0.1, 0.1, count), 0.0)
    turn = np.zeros((count, 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    hue = np.linalg.inv(_YIQ) @ turn @ _YIQ
    tint = _GREY + saturation[:, None, None] * (np.eye(3) - _GREY)
    grey = np.where((rng.random(count) < 0.2)[:, None, None], _GREY, np.eye(3))
    return np.asarray(grey @ hue @ tint * brightness[:, None, None])


def _blurred(images: Any, sigma_px: FloatArray, *, reach: int) -> Any:
    """Blur each image (N, 3, S, S) by its own Gaussian, cut ``reach`` pixels from its middle."""
    count, channels, _, _ = images.shape
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / sigma_px[:, None]) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    weight = torch.from_numpy(kernel.astype(np.float32)).to(images.device).repeat_interleave(channels, dim=0)
    flat = torch.nn.functional.pad(images, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]
    groups = count * channels
    flat = torch.nn.functional.conv2d(flat, weight[:, None, None, :], groups=groups)
    flat = torch.nn.functional.conv2d(flat, weight[:, None, :, None], groups=groups)
    return flat.reshape(images.shape)
