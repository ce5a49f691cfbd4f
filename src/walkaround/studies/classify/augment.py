"""2-D augmentation of a batch, all random numbers from a NumPy generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from walkaround.types import BoolArray


def augmented(images: Any, strong: BoolArray, rng: np.random.Generator) -> Any:
    """Return changed float images 0..1.

    All are shifted by up to a sixteenth and scaled by up to 5 %; ``strong`` ones are also mirrored, turned by
    up to 25 degrees, cut to as little as 60 % of the side, and changed in brightness, contrast and colour.

    Parameters
    ----------
    images
        (N, 3, S, S) uint8.
    strong
        (N,).
    """
    import torch

    count = len(images)
    draw = rng.uniform(-1, 1, (9, count))
    scale = np.where(strong, 0.8 + 0.2 * draw[0], 1 + 0.05 * draw[0])
    angle = np.where(strong, np.radians(25) * draw[1], 0.0)
    mirror = np.where(strong & (draw[2] > 0), -1.0, 1.0)
    shift = np.where(strong, 1.05 - np.minimum(scale, 1), 0.125)[None] * draw[3:5]
    theta = np.empty((count, 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = scale * np.cos(angle) * mirror, -scale * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * np.sin(angle) * mirror, scale * np.cos(angle)
    theta[:, :, 2] = shift.T
    where = torch.from_numpy(theta.astype(np.float32)).to(images.device)
    grid = torch.nn.functional.affine_grid(where, list(images.shape), align_corners=False)
    out = torch.nn.functional.grid_sample(
        images.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    level = np.where(strong, 1.0, 0.0)
    gain = 1 + 0.3 * level * draw[5] + 0.15 * level[None] * rng.uniform(-1, 1, (3, count))
    contrast = 1 + 0.3 * level * draw[6]
    gain_t = torch.from_numpy(gain.T.astype(np.float32)).to(images.device)[:, :, None, None]
    contrast_t = torch.from_numpy(contrast.astype(np.float32)).to(images.device)[:, None, None, None]
    mean = out.mean(dim=(1, 2, 3), keepdim=True)
    return (((out - mean) * contrast_t + mean) * gain_t).clamp(0, 1)
