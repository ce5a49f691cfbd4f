"""How much brighter each frame of a clip is than the one before, over the same points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.hdr.alignment import as_recorded, find_homography
from walkaround.hdr.response import Response
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray, Progress, no_progress

_LONG_SIDE_PX = 320
_CELL_PX = 4
_LEAST_CELLS = 60
_DARK, _BRIGHT = (0.12, 0.07), 0.93
"""Recorded values that count as well exposed; the second where exposures lie far apart."""
_AGREE_EV = 0.35
_LEAST_AGREEING = 0.45
"""Share of the cells whose ratio is the common one: over 0.85 where frames lie over each other, 0.2 to 0.4
where they do not."""
_QUANTILES = np.linspace(0.02, 0.98, 97)
_LEAST_QUANTILES = 5
_DARK_QUANTILE = (*_DARK, 0.03)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """From each frame to the next.

    Attributes
    ----------
    ev
        (N - 1,) log2 of the ratio of light; NaN where two frames share too few well exposed points, or
        cannot be laid over each other.
    rough_ev
        (N - 1,) the same from the quantiles of whole frames, whatever moves; NaN where they share none.
    well_exposed
        (N,) share of each frame that is neither dark nor saturated.
    """

    ev: FloatArray
    rough_ev: FloatArray
    well_exposed: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Small:
    image: Float32Array  # (h, w, 3) as recorded
    equal: Float32Array  # (h, w) grey with an equal histogram: alike at any exposure


def measure_steps(
    frames: Iterable[tuple[int, Float32Array]],
    response: Response,
    num_frames: int,
    progress: Progress = no_progress,
) -> Steps:
    """Measure the brightness from frame to frame.

    Parameters
    ----------
    frames
        All frames in order, (H, W, 3) 0..1 as recorded.
    """
    evs: list[float] = []
    rough: list[float] = []
    shares: list[float] = []
    before: _Small | None = None
    for number, image in frames:
        small = _shrink(image)
        shares.append(float(_well_exposed(small.image, _DARK[0]).mean()))
        if before is not None:
            evs.append(_step(before, small, response))
            rough.append(_rough_step(before.image, small.image, response))
        before = small
        progress((number + 1) / max(1, num_frames))
    return Steps(
        ev=np.array(evs, np.float64),
        rough_ev=np.array(rough, np.float64),
        well_exposed=np.array(shares, np.float64),
    )


def _shrink(image: Float32Array) -> _Small:
    scale = min(1.0, _LONG_SIDE_PX / max(image.shape))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    grey: ByteArray = np.rint(np.asarray(small).mean(axis=2) * 255).astype(np.uint8)
    return _Small(image=np.asarray(small, np.float32), equal=cv2.equalizeHist(grey).astype(np.float32))


def _step(first: _Small, second: _Small, response: Response) -> float:
    """Return log2 of the ratio of light over the cells that both frames expose well.

    A shift of the whole picture gives a first ratio; with it both are brought to one exposure and laid over
    each other properly, for the second.
    """
    window = cv2.createHanningWindow((first.equal.shape[1], first.equal.shape[0]), cv2.CV_32F)
    (x, y), strength = cv2.phaseCorrelate(first.equal, second.equal, window)
    shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) if strength > 0.05 else np.eye(3)
    guess, agreeing = _ratio_ev(first.image, second.image, shift, response)
    if not np.isfinite(guess):
        return guess
    lights = response.linear(first.image), response.linear(second.image)
    gains = np.exp2(max(guess, 0.0)), np.exp2(max(-guess, 0.0))
    greys = [as_recorded(light, gain) for light, gain in zip(lights, gains, strict=True)]
    found, then = _ratio_ev(first.image, second.image, find_homography(*greys), response)
    if np.isfinite(found):
        guess, agreeing = found, then
    return guess if agreeing >= _LEAST_AGREEING else float("nan")


def _rough_step(first: Float32Array, second: Float32Array, response: Response) -> float:
    """Return log2 of the ratio of light over the quantiles that both frames expose well."""
    recorded = [np.quantile(image.max(axis=2), _QUANTILES) for image in (first, second)]
    light = [np.quantile(response.linear(image).mean(axis=2), _QUANTILES) for image in (first, second)]
    for dark in _DARK_QUANTILE:
        good = np.all([(values > dark) & (values < _BRIGHT) for values in recorded], axis=0)
        if good.sum() >= _LEAST_QUANTILES:
            return float(np.median(np.log2(light[1][good] / light[0][good])))
    return float("nan")


def _ratio_ev(
    first: Float32Array, second: Float32Array, second_from_first: FloatArray, response: Response
) -> tuple[float, float]:
    """Return the ratio in EV on which most cells agree, and their share; NaN and 0 when there are too few."""
    size = (first.shape[1], first.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = np.asarray(cv2.warpPerspective(second, second_from_first, size, flags=flags), np.float32)
    for dark in _DARK:
        good = _well_exposed(first, dark) & _well_exposed(moved, dark)
        whole = _cells(good.astype(np.float32)[..., None])[..., 0] > 0.999
        if whole.sum() >= _LEAST_CELLS:
            break
    else:
        return float("nan"), 0.0
    light = [_cells(response.linear(image))[whole].sum(axis=1) for image in (first, moved)]
    ev = np.log2(light[1] / light[0])
    counts, edges = np.histogram(ev, bins=np.arange(ev.min() - 0.3, ev.max() + 0.3, 0.1))
    top = int(np.convolve(counts, np.ones(3), "same").argmax())
    near = np.abs(ev - edges[top : top + 2].mean()) < _AGREE_EV  # what moves otherwise has any ratio
    return float(np.median(ev[near])), float(near.mean())


def _well_exposed(image: Float32Array, dark: float) -> BoolArray:  # (h, w)
    peak = image.max(axis=2)
    return (peak < _BRIGHT) & (peak > dark)


def _cells(image: Float32Array) -> Float32Array:  # (h, w, c) -> (h / 4, w / 4, c)
    """Average blocks of four by four pixels: a shift that is a pixel off hardly matters to them."""
    height, width = (side // _CELL_PX * _CELL_PX for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // _CELL_PX, _CELL_PX, width // _CELL_PX, _CELL_PX, -1)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)
