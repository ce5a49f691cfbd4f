"""Noise: pairs of pictures with more noise and with other noise, and non-local means as the base."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from walkaround.errors import UsageError
from walkaround.restore.classical import NLM_HALO_PX, nlm
from walkaround.restore.options import PairsOptions
from walkaround.restore.pairs import Corrector, Pair, correct, learn
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.randomness import own_source
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.tiles import TILE_PX, learning_parts, tiles
from walkaround.types import Float32Array

RECORRUPTION = 0.5
"""How much noise is added to the input, as a share of the noise that is there."""


def denoise_by_pairs(
    image: Float32Array,
    sigma: float,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    tile_px: int = TILE_PX,
    guide: Float32Array | None = None,
    listen: Listen = unheard,
) -> Float32Array:
    """Denoise (H, W, C) with white noise of deviation ``sigma``; no truth, no other pictures.

    Two pictures are made of the noisy one, ``y + a n`` and ``y - n / a`` with new noise ``n`` as strong as
    the old: their errors are independent, so a network that draws the second from the first learns the
    clean one. Source: Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021. What is new here is the base,
    non-local means of the first, which makes a minute on a processor enough.

    Parameters
    ----------
    guide
        (H, W, G) another picture of the same view, with little noise: taken with a flash, or longer exposed.
        The network sees it; what it says about edges is learned, its colours are not taken over.

    Raises
    ------
    UsageError
        The guide has another size.
    """
    if guide is None:
        guide = np.empty((*image.shape[:2], 0), np.float32)
    if guide.shape[:2] != image.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (guide.shape, image.shape)]
        raise UsageError(
            f"The guide has {sizes[0]} px, the picture {sizes[1]}. They must show the same pixels."
        )
    source = own_source(seed)
    parts = learning_parts((image.shape[0], image.shape[1]), seed)
    repeats = -(-options.draws // len(parts))
    pairs = [
        _recorrupted(image[part], guide[part], sigma, source)
        for _ in range(max(1, repeats))
        for part in parts
    ]
    base = nlm_tiled(image, sigma, tile_px)
    seen = np.concatenate([image, guide], 2) if guide.size else image

    def watch(iteration: int, share: float, loss: float, network: Corrector) -> None:
        def picture() -> Float32Array:
            return _apply(network, seen, base, 1, device, tile_px)

        listen(Told(iteration=iteration, share=share, loss=loss, picture=picture))

    network = learn(pairs, options=options, seed=seed, device=device, watch=watch)
    return _apply(network, seen, base, 0, device, tile_px)


def _apply(
    network: Corrector, seen: Float32Array, base: Float32Array, turns: int, device: str, tile_px: int
) -> Float32Array:
    done = correct(network, to_tensor(base), to_tensor(seen), turns=turns, tile_px=tile_px, device=device)
    return to_array(done.clamp_(0, 1))


def _recorrupted(image: Float32Array, guide: Float32Array, sigma: float, source: np.random.Generator) -> Pair:
    added = (sigma * source.standard_normal(image.shape)).astype(np.float32)
    worse = image + RECORRUPTION * added
    base = nlm(worse, sigma * float(np.hypot(1, RECORRUPTION)))
    extra = to_tensor(np.concatenate([worse, guide], 2))
    return Pair(base=to_tensor(base), extra=extra, target=to_tensor(image - added / RECORRUPTION))


def nlm_tiled(image: Float32Array, sigma: float, tile_px: int = TILE_PX) -> Float32Array:
    """Non-local means in bounded memory, the same as of the whole picture but at its border."""
    out = np.empty(image.shape, np.float32)
    for tile in tiles((image.shape[0], image.shape[1]), halo_px=NLM_HALO_PX, tile_px=tile_px):
        out[tile.target] = nlm(np.ascontiguousarray(image[tile.outer]), sigma)[tile.inner]
    return out


def learn_noise(
    images: list[Float32Array],
    sigma: float,
    *,
    options: PairsOptions,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[float], None] = lambda _: None,
) -> Corrector:
    """Learn from several noisy (H, W, C) pictures of the same things, parts of the same size of each."""
    source = own_source(seed)
    pairs = []
    for number, image in enumerate(images):
        parts = learning_parts((image.shape[0], image.shape[1]), seed + number)
        for part in parts[: max(1, 2 * len(parts) // len(images))]:
            none = np.empty((*image[part].shape[:2], 0), np.float32)
            pairs.append(_recorrupted(image[part], none, sigma, source))
    return learn(pairs, options=options, seed=seed, device=device, watch=lambda _, share, *__: watch(share))


def correct_noise(
    network: Corrector, image: Float32Array, sigma: float, *, device: str = "cpu"
) -> Float32Array:
    """Denoise (H, W, C) by what :func:`learn_noise` learned."""
    base = nlm_tiled(image, sigma)
    return _apply(network, image, base, 1, device, TILE_PX)
