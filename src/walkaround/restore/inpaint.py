"""Missing pixels, learned from the known ones; :mod:`walkaround.restore.holes` has the large holes."""

from __future__ import annotations

import numpy as np

from walkaround.errors import UsageError
from walkaround.restore.options import PairsOptions
from walkaround.restore.pairs import Corrector, Pair, correct, learn
from walkaround.restore.plate import fill_smooth
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.randomness import own_source
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import learning_parts
from walkaround.types import BoolArray, Float32Array

DROP = 0.4
"""Share of the known pixels to hide, at most: as many as are missing."""


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
    :func:`walkaround.restore.holes.fill_holes` for large holes.
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
