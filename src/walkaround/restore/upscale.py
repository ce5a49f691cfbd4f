"""Enlarging: what the picture's own smaller sizes teach, a factor of two at a time.

Source: "Zero-shot" super-resolution, Shocher, Cohen, Irani, CVPR 2018, arXiv:1712.06087. Here the network
corrects a back-projected enlargement, and each step is made to agree with the picture that was given.
"""

from __future__ import annotations

import dataclasses

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from walkaround.errors import UsageError
from walkaround.restore.operators import Downsample
from walkaround.restore.options import FACTORS, PairsOptions
from walkaround.restore.pairs import MANY_PX, Corrector, Pair, correct, learn
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.resample import back_project, bicubic
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import learning_parts
from walkaround.types import Float32Array

LOBES = 2
"""Of the Lanczos window that the picture is thought to have been made smaller with."""
SMALLER = (1.0, 0.9, 0.8, 0.7)
"""Sizes of the picture that it learns from: the same things are seen in more sizes."""


def upscale_by_pairs(
    image: Float32Array,
    factor: int,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    listen: Listen = unheard,
) -> Float32Array:
    """Enlarge (h, w, C) by 2, 3, 4 or 8.

    Raises
    ------
    UsageError
        Another factor, or a picture of less than 16 pixels to a side.
    """
    if factor not in FACTORS:
        raise UsageError(f"A factor of {factor} is not offered. Use one of {FACTORS}.")
    if min(image.shape[:2]) < 16:
        raise UsageError(f"A picture of {image.shape[1]} x {image.shape[0]} px is too small to learn from.")
    y = to_tensor(image)
    steps = [3] if factor == 3 else [2] * (factor.bit_length() - 1)
    part = dataclasses.replace(
        options,
        seconds=options.seconds / len(steps),
        patch_px=min(options.patch_px, 48),
    )
    current, done = y, 1
    for number, step in enumerate(steps):

        def listen_part(told: Told, before: int = number) -> None:
            listen(dataclasses.replace(told, share=(before + told.share) / len(steps)))

        current = _enlarge(current, step, part, seed + number, device, listen_part)
        done *= step
        current = back_project(current, y, Downsample(done, lobes=LOBES))
    return to_array(current.clamp(0, 1))


def _enlarge(
    picture: Tensor, step: int, options: PairsOptions, seed: int, device: str, listen: Listen
) -> Tensor:
    operator = Downsample(step, lobes=LOBES)
    parts = learning_parts((picture.shape[-2], picture.shape[-1]), seed)
    pairs = [
        _pair(_smaller(picture[..., *part], share), step, operator) for part in parts for share in SMALLER
    ]
    base = _base(picture, step, operator)

    def watch(iteration: int, share: float, loss: float, network: Corrector) -> None:
        def draw() -> Float32Array:
            return to_array(correct(network, base, base[:, :0], turns=1, device=device).clamp(0, 1))

        listen(Told(iteration=iteration, share=share, loss=loss, picture=draw))

    network = learn(pairs, options=options, seed=seed, device=device, watch=watch)
    turns = 8 if base.shape[-2] * base.shape[-1] <= MANY_PX else 1
    return correct(network, base, base[:, :0], turns=turns, device=device)


def _base(picture: Tensor, step: int, operator: Downsample) -> Tensor:
    large = bicubic(picture, (picture.shape[-2] * step, picture.shape[-1] * step))
    return back_project(large, picture, operator)


def _pair(picture: Tensor, step: int, operator: Downsample) -> Pair:
    height, width = (size // step * step for size in picture.shape[-2:])
    target = picture[..., :height, :width]
    base = _base(operator(target), step, operator)
    return Pair(base=base, extra=base[:, :0], target=target)


def _smaller(picture: Tensor, share: float) -> Tensor:
    if share == 1:
        return picture
    height, width = (max(16, round(share * size)) for size in picture.shape[-2:])
    image = cv2.resize(to_array(picture), (width, height), interpolation=cv2.INTER_AREA)
    return to_tensor(image.reshape(height, width, -1))


def luminance(picture: Tensor) -> Tensor:  # (1, C, H, W) -> (1, 1, H, W)
    """Return ITU-R BT.601's Y of 0..1."""
    if picture.shape[1] == 1:
        return picture
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return F.conv2d(picture, weights.to(picture))
