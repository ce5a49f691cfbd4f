"""Samples: a number gives a window and its truth, the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from walkaround.hdr.network.tensors import arrays_of
from walkaround.hdr.synthesis.camera import grade, graded
from walkaround.hdr.synthesis.clip import Clip, record_clip, synthesise_clip
from walkaround.hdr.synthesis.footage import Footage
from walkaround.hdr.synthesis.options import CameraOptions, ClipOptions
from walkaround.hdr.synthesis.sources import Source, leaves_source
from walkaround.hdr.training.options import Recipe
from walkaround.types import ByteArray, Float32Array

MARGIN = 24
"""Pixels around a patch that only the motion estimate sees."""
_NUM_LEAVES = 48


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One window with truth, and the one before it when it was asked for."""

    windows: tuple[tuple[Float32Array, ...], ...]  # the earlier first; each what `Windows` holds
    truths: tuple[Float32Array, ...]  # (3, P, P)
    back: Float32Array | None  # (2, P, P) true motion from the reference to the one before; with two windows


@dataclass(frozen=True)
class SampleMaker:
    """Makes samples from sources; sources are read once and kept."""

    recipe: Recipe
    sources: tuple[Source, ...]
    footage: tuple[Footage, ...] = ()

    def make(self, index: int, *, period: int, temporal: bool) -> Sample:
        """Return sample ``index``: a window of ``2 * period - 1`` frames, with ``temporal`` two of them."""
        rng = np.random.default_rng([self.recipe.seed, 74, index])
        clip = self._clip(rng, period, 2 * period if temporal else 2 * period - 1)
        references = (period - 1, period) if temporal else (period - 1,)
        return Sample(
            windows=tuple(_window(clip, reference) for reference in references),
            truths=tuple(_channels_first(clip.truth[reference]) for reference in references),
            back=_true_motion(clip.truth[period], clip.truth[period - 1]) if temporal else None,
        )

    def _clip(self, rng: np.random.Generator, period: int, num_frames: int) -> Clip:
        options = _draw_options(rng, self.recipe, period, num_frames)
        seed = int(rng.integers(2**31))
        if self.footage and rng.uniform() < self.recipe.footage:
            shown = self.footage[int(rng.integers(len(self.footage)))]
            return _filmed(shown, options, rng, seed)
        things = [self._texture(rng) for _ in range(min(options.num_layers, 2))]
        return synthesise_clip(self._texture(rng), things, options, seed=seed)

    def _texture(self, rng: np.random.Generator) -> Float32Array:
        if not self.sources or rng.uniform() < self.recipe.leaves:
            radiance = _read(leaves_source(int(rng.integers(_NUM_LEAVES)), (480, 360)))
        else:
            radiance = _read(self.sources[int(rng.integers(len(self.sources)))])
        tint = np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
        return radiance[..., rng.permutation(3)] * tint


@lru_cache(maxsize=128)
def _read(source: Source) -> Float32Array:
    return source.read()


def _draw_options(rng: np.random.Generator, recipe: Recipe, period: int, num_frames: int) -> ClipOptions:
    """Draw motion, noise and light: from still to fast, from clean to noisy, from dim to glaring."""
    ratio = float(rng.choice(recipe.ratios if period == 2 else recipe.steps))
    side = recipe.patch + 2 * MARGIN
    still = rng.uniform() < 0.1
    return ClipOptions(
        size=(side, side),
        num_frames=num_frames,
        exposures=tuple(ratio**n for n in range(period)),
        motion_px=0.0 if still else float(rng.uniform(0.5, 14)),
        zoom=0.0 if still else float(rng.uniform(0, 0.02)),
        rotation_deg=0.0 if still else float(rng.uniform(0, 1.2)),
        num_layers=int(rng.integers(0, 4)),
        layer_motion_px=float(rng.uniform(0, 28)),
        saturated_share=float(10 ** rng.uniform(-3.5, -1.3)),
        median_light=float(np.exp(rng.uniform(np.log(0.008), np.log(0.12)))),
        camera=CameraOptions(
            shot_noise=float(10 ** rng.uniform(-4.3, -2.9)),
            read_noise=float(10 ** rng.uniform(-3.5, -2.6)),
            tone=0.02,
        ),
    )


def _filmed(footage: Footage, options: ClipOptions, rng: np.random.Generator, seed: int) -> Clip:
    """Record a random part of a video."""
    stride = int(rng.integers(1, 3)) if footage.num_frames >= 2 * options.num_frames else 1
    start = int(rng.integers(0, footage.num_frames - stride * (options.num_frames - 1)))
    pictures = [footage.read(start + stride * n) for n in range(options.num_frames)]
    height, width = pictures[0].shape[:2]
    w, h = options.size
    if width < w or height < h:
        grow = max(w / width, h / height)
        size = (max(round(width * grow), w), max(round(height * grow), h))
        pictures = [cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) for picture in pictures]
        width, height = size
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    pictures = [np.ascontiguousarray(picture[y : y + h, x : x + w]) for picture in pictures]
    numbers = grade(pictures[len(pictures) // 2], options.saturated_share, options.median_light)
    pictures = [graded(picture, *numbers) for picture in pictures]
    first = int(rng.integers(len(options.exposures)))
    exposures = (*options.exposures[first:], *options.exposures[:first])
    return record_clip(pictures, exposures, options.camera, seed=seed)


def _window(clip: Clip, reference: int) -> tuple[Float32Array, ...]:
    """Return a window's arrays, the margin cut off after the motion was found."""
    reach = clip.period - 1
    arrays = arrays_of(clip.frames[reference - reach : reference + reach + 1])
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return tuple(array if array.ndim == 1 else np.ascontiguousarray(array[inside]) for array in arrays)


def _channels_first(image: Float32Array) -> Float32Array:
    """Cut the margin off and put channels first."""
    return np.ascontiguousarray(image[MARGIN:-MARGIN, MARGIN:-MARGIN].transpose(2, 0, 1))


def _true_motion(truth: Float32Array, before: Float32Array) -> Float32Array:
    """Estimate the motion between two clean frames, which is near enough to the truth to compare results."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _channels_first(np.asarray(dis.calc(_shown(truth), _shown(before), None), np.float32))


def _shown(truth: Float32Array) -> ByteArray:
    grey = np.log1p(5000.0 * truth.mean(axis=2)) / np.log(5001.0)
    return np.asarray(np.rint(grey * 255.0), np.uint8)


def stack(samples: Sequence[Sample], window: int) -> tuple[Float32Array, ...]:
    """Return what `Windows` holds of window ``window`` of all samples, as batches."""
    return tuple(np.stack(arrays) for arrays in zip(*(s.windows[window] for s in samples), strict=True))
