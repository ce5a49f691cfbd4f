"""Where each point of the reference lies in another frame of another exposure.

First the camera: a homography a frame. Then dense flow (DIS) from the reference to the frame that the
homography has moved. Where the reference is saturated it shows nothing to follow; there two frames of one
shorter exposure, before and after it, are followed into each other and their way is divided by time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.hdr.alignment import as_recorded, find_homography
from walkaround.types import ByteArray, Float32Array, FloatArray

_BACK_PX = 1.5
"""Forward and backward flow that differ by this count e times less."""
_SATURATED = 248


@dataclass(frozen=True, kw_only=True)
class Motion:
    """From the reference to another frame.

    Attributes
    ----------
    camera
        (H, W, 2) or None when it stands: the homography's flow, px.
    light
        (H, W, 3) radiance of the other frame, moved by the homography.
    flow
        (H, W, 2) inside the moved frame: a point of the reference at x lies at x + flow there, px.
    steadiness
        (H, W) 0..1: 1 where following a point there and back leads to where it began.
    """

    camera: Float32Array | None
    light: Float32Array
    flow: Float32Array
    steadiness: Float32Array

    def total(self) -> Float32Array:  # (H, W, 2)
        """Return the flow into the frame as it was recorded."""
        return self.flow if self.camera is None else self.flow + warp(self.camera, self.flow)


def find_motion(reference: Float32Array, other: Float32Array, longest: float) -> Motion:
    """Follow every pixel of a reference (H, W, 3) radiance into another frame.

    Parameters
    ----------
    longest
        The longer of the two exposures; both are compared as it would have recorded them.
    """
    here, there = as_recorded(reference, longest), as_recorded(other, longest)
    homography = find_homography(here, there)
    camera = None if np.array_equal(homography, np.eye(3)) else _homography_flow(homography, here.shape)
    light = other if camera is None else warp(other, camera)
    moved = there if camera is None else as_recorded(light, longest)
    flow, steadiness = _follow(here, moved)
    return Motion(camera=camera, light=light, flow=flow, steadiness=steadiness)


def bridge(
    reference: Float32Array,
    before: Motion,
    after: Motion,
    *,
    reference_exposure: float,
    exposure: float,
    time: float,
) -> tuple[Motion, Motion]:
    """Improve the motion of two frames of one shorter exposure around the reference by each other.

    Their flow into each other, divided by time, is taken where the reference is saturated, and elsewhere
    where it explains the reference better.

    Parameters
    ----------
    time
        Of the reference between the two, 0..1.
    """
    first, second = as_recorded(before.light, exposure), as_recorded(after.light, exposure)
    way, _ = _follow(first, second)
    start = warp(way, -np.float32(time) * way)  # the point of `before` that passes here at `time`
    here = as_recorded(reference, reference_exposure)
    blind = cv2.dilate((here >= _SATURATED).astype(np.float32), np.ones((3, 3), np.uint8))
    share = cv2.GaussianBlur(blind, (0, 0), 2.0)
    found = []
    for motion, part in ((before, np.float32(-time)), (after, np.float32(1.0 - time))):
        between = part * start
        mixed = motion.flow + share[..., None] * (between - motion.flow)
        found.append(_best(here, motion, as_recorded(motion.light, reference_exposure), (mixed, between)))
    return found[0], found[1]


def settle(reference: Float32Array, motion: Motion, longest: float) -> Motion:
    """Let what is seen past a moving thing keep the camera's motion where the flow cannot explain it."""
    here = as_recorded(reference, longest)
    return _best(here, motion, as_recorded(motion.light, longest), (motion.flow, np.zeros_like(motion.flow)))


def _best(
    here: ByteArray, motion: Motion, moved: ByteArray, flows: tuple[Float32Array, Float32Array]
) -> Motion:
    """Take the first flow, or the second where it explains the reference clearly better."""
    costs = [_mismatch(here, np.asarray(warp(moved, flow))) for flow in flows]  # type: ignore[arg-type]
    other = cv2.medianBlur((costs[1] < 0.8 * costs[0] - 1.0).astype(np.uint8), 5).astype(bool)
    flow = np.where(other[..., None], flows[1], flows[0])
    steadiness = np.where(other, np.float32(1.0), motion.steadiness)
    return dataclasses.replace(motion, flow=flow, steadiness=steadiness)


def warp(image: Float32Array, flow: Float32Array, interpolation: int = cv2.INTER_LINEAR) -> Float32Array:
    """Return ``image`` seen from the reference: its value at x + flow; the border is continued."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(image, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE))


def _follow(first: ByteArray, second: ByteArray) -> tuple[Float32Array, Float32Array]:
    """Return the flow from the first picture to the second and its steadiness.

    DIS: Kroeger et al. 2016, arXiv:1603.03590, as OpenCV has it.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    smooth_first, smooth_second = (cv2.GaussianBlur(image, (0, 0), 0.8) for image in (first, second))
    forward = finder.calc(smooth_first, smooth_second, None)
    backward = finder.calc(smooth_second, smooth_first, None)
    gap = forward + warp(backward, forward)
    share = _needed(first, second, forward)
    steadiness = np.exp(-np.square(gap / _BACK_PX).sum(axis=2))
    return forward * share[..., None], 1.0 - share * (1.0 - steadiness)


def _needed(first: ByteArray, second: ByteArray, flow: Float32Array) -> Float32Array:  # (H, W)
    """Return 1 where the pictures agree only with the flow: what stands is not to be stirred by noise."""
    without = _mismatch(first, second)
    with_it = _mismatch(first, np.asarray(warp(second, flow)))  # type: ignore[arg-type]
    needed = (without > 1.15 * with_it + 0.6).astype(np.float32)
    return np.asarray(
        cv2.GaussianBlur(cv2.dilate(needed, np.ones((9, 9), np.uint8)), (0, 0), 3.0), np.float32
    )


def _mismatch(first: ByteArray, second: ByteArray) -> Float32Array:
    return np.asarray(cv2.blur(cv2.absdiff(first, second).astype(np.float32), (7, 7)), np.float32)


def _homography_flow(homography: FloatArray, shape: tuple[int, ...]) -> Float32Array:  # (H, W, 2)
    x, y = np.arange(shape[1]), np.arange(shape[0])[:, None]
    h = homography
    depth = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    there = [(h[row, 0] * x + h[row, 1] * y + h[row, 2]) / depth - at for row, at in ((0, x), (1, y))]
    return np.stack(there, axis=-1).astype(np.float32)
