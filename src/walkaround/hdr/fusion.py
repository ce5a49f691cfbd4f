"""A frame of radiance from a window of exposures: aligned, checked and averaged by how much each pixel knows.

The reference in the middle of the window says where everything is. Its neighbours are laid over it
(:mod:`walkaround.hdr.motion`) and count where they agree with it, or where it is saturated and cannot object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from walkaround.errors import InputError
from walkaround.hdr.clip import Exposed, Fused, FuseWindow
from walkaround.hdr.motion import Motion, bridge, find_motion, settle, warp
from walkaround.hdr.noise import ExposureTable, NoiseModel, exposure_table
from walkaround.hdr.parallel import for_each
from walkaround.hdr.response import Response
from walkaround.types import Float32Array

_STRIP_ROWS = 128
_LAST_WORD = np.float32(1e-3)
"""Trust in a saturated pixel of the shortest exposure: nothing else can say how bright it is at least."""
_LEAST_AGREEMENT = np.float32(1e-4)
"""A shorter neighbour that disagrees still says more about a saturated pixel than the reference does."""


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """How exposures are merged."""

    long_side_px: int = 1280
    """Motion is found at this size; the merge itself has the frames' own."""
    tolerance: float = 0.06
    """Share by which aligned frames may differ before they count as not the same thing."""
    noise: NoiseModel = field(default_factory=NoiseModel)
    """Of the camera."""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A frame and how it is laid over the reference, at the frames' own size."""

    frame: Exposed
    flow: Float32Array | None  # (H, W, 2) px; None: as it is
    agreement: Float32Array  # (H, W) 0..1


def make_fusion(response: Response, options: FusionOptions | None = None) -> FuseWindow:
    """Return the function that fuses a window of frames of a camera with this response."""
    chosen = options or FusionOptions()
    table = exposure_table(response, chosen.noise)

    def fuse(window: Sequence[Exposed]) -> Fused:
        _check(window)
        neighbours = lay_over(window, response, chosen)
        return _merge(window[len(window) // 2], neighbours, response, table)

    return fuse


def naive_merge(response: Response, options: FusionOptions | None = None) -> FuseWindow:
    """Return the floor that everything is measured against: the same weights, no alignment, no check."""
    chosen = options or FusionOptions()
    table = exposure_table(response, chosen.noise)

    def merge(window: Sequence[Exposed]) -> Fused:
        _check(window)
        reference = window[len(window) // 2]
        full = np.ones(reference.image.shape[:2], np.float32)
        others = [Neighbour(frame=f, flow=None, agreement=full) for f in window if f is not reference]
        return _merge(reference, others, response, table, keep_saturated=False)

    return merge


def _check(window: Sequence[Exposed]) -> None:
    sizes = {frame.image.shape for frame in window}
    if len(window) % 2 == 0 or len(sizes) > 1:
        raise InputError(
            f"A window of {len(window)} frames of {len(sizes)} sizes cannot be fused; "
            "give an odd number of frames of one size."
        )


def _small_light(frame: Exposed, response: Response, long_side_px: int) -> Float32Array:
    """Return the radiance at the size at which motion is found."""
    light = response.linear(frame.image)
    scale = min(1.0, long_side_px / max(light.shape))
    if scale < 1.0:
        light = cv2.resize(light, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return light / np.float32(frame.exposure)


def lay_over(window: Sequence[Exposed], response: Response, options: FusionOptions) -> list[Neighbour]:
    """Find where each frame lies over the reference, and where both show the same."""
    middle = len(window) // 2
    reference, others = window[middle], [i for i in range(len(window)) if i != middle]
    small = for_each(lambda frame: _small_light(frame, response, options.long_side_px), window)

    def follow(i: int) -> Motion:
        return find_motion(small[middle], small[i], max(reference.exposure, window[i].exposure))

    def join(pair: tuple[int, int]) -> tuple[Motion, Motion]:
        i, j = pair
        return bridge(
            small[middle], motions[i], motions[j],
            reference_exposure=reference.exposure, exposure=window[i].exposure, time=(middle - i) / (j - i),
        )  # fmt: skip

    motions = dict(zip(others, for_each(follow, others), strict=True))
    pairs = _pairs(window)
    for (i, j), joined in zip(pairs, for_each(join, pairs), strict=True):
        motions[i], motions[j] = joined
    return for_each(lambda i: _neighbour(reference, window[i], small[middle], motions[i], options), others)


def _pairs(window: Sequence[Exposed]) -> list[tuple[int, int]]:
    """Return the places of two frames of one shorter exposure, before and after the reference."""
    middle = len(window) // 2
    return [
        (i, j)
        for i in range(middle)
        for j in range(middle + 1, len(window))
        if window[i] is not window[j]  # at an end of the clip one frame stands in for two
        and window[i].exposure == window[j].exposure < window[middle].exposure
    ]


def _neighbour(
    reference: Exposed, frame: Exposed, light: Float32Array, motion: Motion, options: FusionOptions
) -> Neighbour:
    """Compare a frame that was laid over the reference with it, and bring both to the frames' own size."""
    longest = max(reference.exposure, frame.exposure)
    motion = settle(light, motion, longest)
    moved = warp(motion.light, motion.flow)
    alike = _alike(
        light * longest, moved * longest, reference.exposure / longest, frame.exposure / longest, options
    )
    size = (reference.image.shape[1], reference.image.shape[0])
    agreement, flow = alike * motion.steadiness, motion.total()
    if flow.shape[:2] != size[::-1]:
        up = np.array([size[0] / flow.shape[1], size[1] / flow.shape[0]], np.float32)
        flow = cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR) * up
        agreement = cv2.resize(agreement, size, interpolation=cv2.INTER_LINEAR)
    return Neighbour(frame=frame, flow=flow, agreement=agreement)


def _alike(
    first: Float32Array, second: Float32Array, share: float, other_share: float, options: FusionOptions
) -> Float32Array:  # (H, W)
    """Return 0..1: whether two pictures of one exposure differ by no more than noise and tolerance.

    Both are clipped where the longer exposure saturates: what only the shorter one knows cannot contradict.
    ``share`` is each picture's own exposure over the longer one: its noise was amplified by the inverse.
    """
    a, b = np.minimum(first, 1.0), np.minimum(second, 1.0)
    difference, level = _highest(np.square(a - b)), _highest(np.maximum(a, b))
    noise, variance = options.noise, np.float32(0.0)
    for own in (share, other_share):
        rounding = (2.2 * np.power(level * own, 0.545) / (np.sqrt(12) * (2**noise.bits - 1))) ** 2
        variance = variance + (noise.read**2 + noise.shot * level * own + rounding) / own**2
    allowed = 3.0 * variance + np.square(options.tolerance * level)
    ratio = cv2.blur(difference, (5, 5)) / cv2.blur(allowed.astype(np.float32), (5, 5))
    return np.asarray(np.exp(-np.maximum(ratio - 1.0, 0.0)), np.float32)


def _highest(values: Float32Array) -> Float32Array:  # (H, W, 3) -> (H, W)
    return np.asarray(np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2]))


def _merge(
    reference: Exposed,
    neighbours: Sequence[Neighbour],
    response: Response,
    table: ExposureTable,
    *,
    keep_saturated: bool = True,
) -> Fused:
    """Average strip by strip: memory holds the frames and the result, and little else."""
    height, width = reference.image.shape[:2]
    radiance = np.empty((height, width, 3), np.float32)
    confidence = np.empty((height, width), np.float32)

    def merge(start: int) -> None:
        rows = slice(start, min(start + _STRIP_ROWS, height))
        radiance[rows], confidence[rows] = _merge_rows(
            reference, neighbours, response, table, rows, keep_saturated
        )

    for_each(merge, range(0, height, _STRIP_ROWS))
    return Fused(radiance=radiance, confidence=confidence)


def _merge_rows(
    reference: Exposed,
    neighbours: Sequence[Neighbour],
    response: Response,
    table: ExposureTable,
    rows: slice,
    keep_saturated: bool,
) -> tuple[Float32Array, Float32Array]:
    image = reference.image[rows]
    shortest = min(frame.exposure for frame in (reference, *(n.frame for n in neighbours)))
    weight, trust = _weights(image, reference.exposure, table, last=reference.exposure == shortest)
    light = response.linear(image) / np.float32(reference.exposure)
    total, weights, known = weight * light, weight, trust
    for neighbour in neighbours:
        recorded = _seen(neighbour, rows)
        exposure = neighbour.frame.exposure
        own_weight, own_trust = _weights(recorded, exposure, table, last=exposure == shortest)
        agreement = neighbour.agreement[rows][..., None]
        shorter = exposure < reference.exposure
        if exposure > reference.exposure:
            own_weight = own_weight * _unclipped(recorded, table)
        own_weight = own_weight * (np.maximum(agreement, _LEAST_AGREEMENT) if shorter else agreement)
        total = total + own_weight * response.linear(recorded) / np.float32(exposure)
        weights = weights + own_weight
        known = np.maximum(known, own_trust * agreement)
    merged = np.where(weights > 1e-12, total / np.maximum(weights, 1e-12), light)
    if keep_saturated:  # a saturated pixel of the reference is at least as bright as it says
        merged = np.where(image >= 0.995, np.maximum(merged, light), merged)
    return merged, known.min(axis=2)


def _weights(
    recorded: Float32Array, exposure: float, table: ExposureTable, *, last: bool
) -> tuple[Float32Array, Float32Array]:
    """Return the inverse variance of the radiance, 0 where saturated, and the trust, both (h, W, 3)."""
    codes = np.rint(recorded * 255.0).astype(np.uint8)
    trust = table.trust[codes]
    inverse = np.float32(exposure**2) / table.variance
    weight = np.stack([inverse[:, c][codes[..., c]] for c in range(3)], axis=-1)
    return weight * (np.maximum(trust, _LAST_WORD) if last else trust), trust


def _unclipped(recorded: Float32Array, table: ExposureTable) -> Float32Array:  # (h, w, 1)
    """Return 0 where a pixel or one beside it saturates in any channel, else 1.

    A longer frame weighs much, and where it saturates nothing contradicts it: what is left of such a pixel,
    moved and interpolated, is a colour that the scene does not have.
    """
    highest = cv2.dilate(_highest(recorded), np.ones((3, 3), np.uint8))
    return np.asarray(table.trust[np.rint(highest * 255.0).astype(np.uint8)][..., None])


def _seen(neighbour: Neighbour, rows: slice) -> Float32Array:
    """Return rows of a neighbour as recorded, laid over the reference."""
    if neighbour.flow is None:
        return neighbour.frame.image[rows]
    flow = neighbour.flow[rows]
    x = flow[..., 0] + np.arange(flow.shape[1], dtype=np.float32)
    y = flow[..., 1] + np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    laid = cv2.remap(neighbour.frame.image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.clip(laid, 0.0, 1.0)
