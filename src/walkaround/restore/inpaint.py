"""Missing pixels: scattered ones are learned from the known ones, large holes are drawn by the prior."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.errors import UsageError
from walkaround.restore.operators import Mask
from walkaround.restore.options import PairsOptions, PriorOptions
from walkaround.restore.pairs import Corrector, Pair, correct, learn
from walkaround.restore.plate import fill_smooth
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.randomness import own_source
from walkaround.restore.solver import Step, solve_prior
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import learning_parts
from walkaround.types import BoolArray, Float32Array

HOLE_RADIUS_PX = 8
"""A missing pixel further than this from any known one lies in a large hole."""
DROP = 0.4
"""Share of the known pixels to hide, at most: as many as are missing."""
_RIM_PX = 64
_FADE_PX = 5.0


def check_known(known: BoolArray) -> None:
    """Refuse a mask that leaves nothing to learn from.

    Raises
    ------
    UsageError
        Fewer than one pixel in fifty is known.
    """
    if known.mean() < 0.02:
        raise UsageError(f"Only {known.mean():.1%} of the pixels are known; at least 2 % are needed.")


def inpaint_by_pairs(
    image: Float32Array,
    known: BoolArray,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    listen: Listen = unheard,
) -> Float32Array:
    """Fill (H, W, C) where ``known`` (H, W) is False, by a network that drew hidden known pixels before.

    It learns from pictures in which more pixels are hidden, and only those count; the base is a
    thin plate. Known pixels stay as they are. Where nothing is near, nothing is invented: use
    :func:`fill_hole` for large holes.
    """
    check_known(known)
    source = own_source(seed)
    mask = to_tensor(known[..., None].astype(np.float32))
    parts = learning_parts(known.shape, seed)
    repeats = max(1, -(-options.draws // len(parts)))
    pairs = [_hidden(image[part], known[part], source) for _ in range(repeats) for part in parts]
    base = to_tensor(fill_smooth(image, known))

    def finish(network: Corrector, turns: int) -> Float32Array:
        filled = np.clip(to_array(correct(network, base, mask, turns=turns, device=device)), 0, 1)
        return np.where(known[..., None], image, filled)

    def watch(iteration: int, share: float, loss: float, network: Corrector) -> None:
        listen(Told(iteration=iteration, share=share, loss=loss, picture=lambda: finish(network, 1)))

    return finish(learn(pairs, options=options, seed=seed, device=device, watch=watch), 0)


def _hidden(image: Float32Array, known: BoolArray, source: np.random.Generator) -> Pair:
    """Hide known pixels in the way that pixels are missing: the mask itself, moved and turned, or at random.

    A moved mask has the shapes of what is missing (letters, scratches); it is thinned by chance so that not
    too much is hidden.
    """
    missing = ~known
    turned = np.rot90(missing, 2 * int(source.integers(2)))
    moved = np.roll(turned, source.integers(1, np.array(known.shape)), (0, 1))
    drop = moved & (source.random(known.shape) < min(1.0, DROP / max(float(missing.mean()), 1e-3)))
    drop |= source.random(known.shape) < 0.02
    left, hidden = known & ~drop, known & drop
    return Pair(
        base=to_tensor(fill_smooth(image, left)),
        extra=to_tensor(left[..., None].astype(np.float32)),
        target=to_tensor(image),
        weight=to_tensor(hidden[..., None].astype(np.float32)),
    )


def large_holes(known: BoolArray) -> BoolArray:
    """Return (H, W): the missing pixels that belong to a hole with a radius above HOLE_RADIUS_PX."""
    missing = (~known).astype(np.uint8)
    deep = cv2.distanceTransform(
        cv2.copyMakeBorder(missing, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3
    )
    core = deep[1:-1, 1:-1] > HOLE_RADIUS_PX
    _, labels = cv2.connectedComponents(missing, connectivity=4)
    return np.asarray(np.isin(labels, np.unique(labels[core])) & ~known)


def fill_hole(
    image: Float32Array,
    known: BoolArray,
    *,
    options: PriorOptions,
    seed: int = 0,
    device: str = "cpu",
    listen: Listen = unheard,
) -> Float32Array:
    """Draw what is missing of (H, W, C) with the deep image prior, and join it to its rim without a step.

    Only the holes' surroundings are drawn. What is drawn differs a little from what is known around a hole;
    the smooth part of this difference fades into the hole, so that no step is seen.
    """
    check_known(known)
    rows, columns = np.nonzero(~known)
    if not len(rows):
        return image
    box = (
        slice(max(0, int(rows.min()) - _RIM_PX), int(rows.max()) + _RIM_PX + 1),
        slice(max(0, int(columns.min()) - _RIM_PX), int(columns.max()) + _RIM_PX + 1),
    )
    part, visible = np.ascontiguousarray(image[box]), np.ascontiguousarray(known[box])
    masked = np.where(visible[..., None], part, 0).astype(np.float32)

    def join(drawn: Float32Array) -> Float32Array:
        joined = np.where(visible[..., None], part, drawn + _difference(part, drawn, visible))
        out = image.copy()
        out[box] = np.clip(joined, 0, 1)
        return out

    def watch(step: Step) -> None:
        listen(
            Told(
                iteration=step.iteration,
                share=step.share,
                loss=step.loss,
                picture=lambda: join(to_array(step.picture())),
            )
        )

    operator = Mask(to_tensor(visible[..., None].astype(np.float32)))
    solved = solve_prior(
        to_tensor(masked), operator, visible.shape, options=options, task="inpaint", seed=seed,
        device=device, watch=watch,
    )  # fmt: skip
    return join(to_array(solved.picture))


def _difference(part: Float32Array, drawn: Float32Array, visible: BoolArray) -> Float32Array:
    """Return the local mean of ``part - drawn`` over visible pixels; it fades where none are near."""
    rest = np.where(visible[..., None], part - drawn, 0).astype(np.float32)
    mean = cv2.GaussianBlur(rest, (0, 0), _FADE_PX).reshape(rest.shape)
    weight = cv2.GaussianBlur(visible.astype(np.float32), (0, 0), _FADE_PX)[..., None]
    return np.asarray(mean / (weight + 0.05), np.float32)
