"""Between (H, W, C) arrays and (1, C, H, W) tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from walkaround.types import Float32Array


def to_tensor(image: Float32Array) -> Tensor:
    """Return (H, W, C) as (1, C, H, W), which shares its memory where it can."""
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]


def to_array(picture: Tensor) -> Float32Array:
    """Return (1, C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(picture[0].detach().cpu().float().numpy().transpose(1, 2, 0))
