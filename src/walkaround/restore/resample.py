"""Enlarging, and making an enlarged picture agree with what was measured."""

from __future__ import annotations

import cv2
from torch import Tensor

from walkaround.restore.operators import Operator
from walkaround.restore.tensors import to_array, to_tensor


def bicubic(y: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Enlarge (1, C, h, w) to ``size_hw`` by OpenCV's bicubic interpolation."""
    image = to_array(y)
    large = cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC)
    return to_tensor(large.reshape(*size_hw, image.shape[2]))


def back_project(x: Tensor, y: Tensor, operator: Operator, iterations: int = 10) -> Tensor:
    """Add the enlarged error of ``A x`` to ``x`` until ``A x`` is about ``y``.

    Source: Irani and Peleg, 1991, doi:10.1016/1049-9652(91)90045-L.
    """
    size_hw = (x.shape[-2], x.shape[-1])
    for _ in range(iterations):
        x = x + bicubic(y - operator(x), size_hw)
    return x
