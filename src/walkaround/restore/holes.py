"""Large holes, one after the other: a window around each, something that draws, a join without a step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from walkaround.restore.classical import push_pull
from walkaround.restore.join import join
from walkaround.restore.operators import Mask
from walkaround.restore.options import PriorOptions
from walkaround.restore.patches import fill_by_patches
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.solver import Step, solve_prior
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import Box
from walkaround.types import BoolArray, Float32Array

HOLE_RADIUS_PX = 8
"""A missing pixel further than this from any known one lies in a large hole."""
RIM_PX = 64
"""Of the picture around a hole, at least; a wide hole has a rim as wide as itself."""
_ONE_PX = 16
"""Holes nearer to each other are one."""

Tell = Callable[[float, int, float, Callable[[], Float32Array]], None]
"""Called with share, iteration, loss and the window's picture."""
Draw = Callable[[Float32Array, BoolArray, BoolArray, Tell], Float32Array]
"""Of a window (H, W, C), what is known of it and the hole in it: the hole and its rim, drawn."""


def large_holes(known: BoolArray) -> BoolArray:
    """Return (H, W): the missing pixels that belong to a hole with a radius above HOLE_RADIUS_PX."""
    missing = (~known).astype(np.uint8)
    deep = cv2.distanceTransform(
        cv2.copyMakeBorder(missing, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3
    )
    core = deep[1:-1, 1:-1] > HOLE_RADIUS_PX
    _, labels = cv2.connectedComponents(missing, connectivity=4)
    return np.asarray(np.isin(labels, np.unique(labels[core])) & ~known)


def fill_holes(
    image: Float32Array, known: BoolArray, draw: Draw, *, listen: Listen = unheard
) -> Float32Array:
    """Fill (H, W, C) where ``known`` (H, W) is False, hole by hole, each with its own window.

    Known pixels stay as they are.
    """
    out = push_pull(image, known) if not known.all() else image
    holes = list(windows(known))
    for number, (box, hole) in enumerate(holes):
        joined = functools.partial(_joined, out, box, hole)
        tell = functools.partial(_tell, listen, number, len(holes), joined)
        out = joined(draw(np.ascontiguousarray(out[box]), known[box], hole, tell))
    return out


def _joined(out: Float32Array, box: Box, hole: BoolArray, drawn: Float32Array) -> Float32Array:
    """Return the whole picture with one more hole filled."""
    picture = out.copy()
    picture[box] = np.where(hole[..., None], np.clip(join(out[box], drawn, ~hole), 0, 1), out[box])
    return picture


def _tell(
    listen: Listen, number: int, count: int, joined: Callable[[Float32Array], Float32Array],
    share: float, iteration: int, loss: float, picture: Callable[[], Float32Array],
) -> None:  # fmt: skip
    done = (number + share) / count
    listen(Told(share=done, iteration=iteration, loss=loss, picture=lambda: joined(picture())))


def windows(known: BoolArray) -> Iterator[tuple[Box, BoolArray]]:
    """Yield rows and columns around each hole, and (h, w) where in this window the hole is."""
    square = np.ones((_ONE_PX + 1, _ONE_PX + 1), np.uint8)
    _, labels = cv2.connectedComponents(cv2.dilate((~known).astype(np.uint8), square))
    labels[known] = 0
    for label in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == label)
        low, high = places.min(0), places.max(0) + 1
        rim = max(RIM_PX, int((high - low).max()))
        box = (
            slice(max(0, int(low[0]) - rim), int(high[0]) + rim),
            slice(max(0, int(low[1]) - rim), int(high[1]) + rim),
        )
        yield box, np.asarray(labels[box] == label)


def drawn_by_patches(*, seed: int = 0) -> Draw:
    """Return what draws a hole from pieces of its window."""

    def draw(part: Float32Array, known: BoolArray, hole: BoolArray, tell: Tell) -> Float32Array:
        return fill_by_patches(part, known, hole, seed=seed, watch=tell)

    return draw


def drawn_by_prior(*, options: PriorOptions, seed: int = 0, device: str = "cpu") -> Draw:
    """Return what draws a hole and its window with the deep image prior."""

    def draw(part: Float32Array, known: BoolArray, hole: BoolArray, tell: Tell) -> Float32Array:
        def watch(step: Step) -> None:
            tell(step.share, step.iteration, step.loss, lambda: to_array(step.picture()))

        masked = np.where(known[..., None], part, 0).astype(np.float32)
        operator = Mask(to_tensor(known[..., None].astype(np.float32)))
        solved = solve_prior(
            to_tensor(masked), operator, known.shape, options=options, task="inpaint", seed=seed,
            device=device, noise=0.0, watch=watch,
        )  # fmt: skip
        return to_array(solved.picture)

    return draw
