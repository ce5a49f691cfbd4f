"""How the learning rate goes."""

from __future__ import annotations

import math
from typing import Any


def warm_cosine(optimizer: Any, steps: int) -> Any:
    """Return a torch schedule: up over a tenth of ``steps``, then down as a cosine to a thousandth.

    Source: Loshchilov, Hutter, "SGDR", ICLR 2017, arXiv:1608.03983, without restarts.
    """
    import torch

    warm = max(1, steps // 10)

    def factor(number: int) -> float:
        if number < warm:
            return (number + 1) / warm
        return max(1e-3, 0.5 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
