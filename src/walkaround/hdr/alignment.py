"""Laying one frame of a clip over another of a different exposure: one homography for the whole picture.

Corners are followed from the reference into the other frame (pyramidal Lucas-Kanade) after both were brought
to the same exposure and clipped where either saturates: nothing is followed that only one of them shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from walkaround.hdr.clip import Exposed
from walkaround.hdr.response import Response
from walkaround.types import ByteArray, Float32Array, FloatArray

_LONG_SIDE_PX = 640
_CORNERS = 800
_LEAST_INLIERS = 24
_STILL_PX = 0.15
"""When three quarters of the corners move by less, the camera stands and nothing is interpolated."""
_CURVE = 1.0 / 2.2


def as_recorded(radiance: Float32Array, exposure: float) -> ByteArray:  # (H, W, 3) -> (H, W)
    """Return the grey picture, gamma 2.2, that an exposure makes of radiance (H, W, 3)."""
    grey = cv2.transform(radiance, np.array([[0.25, 0.5, 0.25]], np.float32) * np.float32(exposure))
    return np.asarray(cv2.pow(np.clip(grey, 0.0, 1.0), _CURVE) * np.float32(255.0) + np.float32(0.5)).astype(
        np.uint8
    )


def find_homography(reference: ByteArray, other: ByteArray) -> FloatArray:  # (3, 3)
    """Return ``other_from_reference`` in OpenCV's pixels (the centre of the top-left pixel is (0, 0)).

    Both (H, W) 0..255 as one exposure records them (:func:`as_recorded`), 255 where saturated.

    The identity when the camera stands or too few corners agree: then the dense flow has to do it alone.
    """
    scale = min(1.0, _LONG_SIDE_PX / max(reference.shape))
    first, second = (_small(image, scale) for image in (reference, other))
    mask = np.where((first > 4) & (first < 250), 255, 0).astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(
        first, _CORNERS, 0.005, 6, mask=cv2.erode(mask, np.ones((5, 5), np.uint8))
    )
    if corners is None or len(corners) < _LEAST_INLIERS:
        return np.eye(3)
    there, back = _follow(first, second, corners)
    good = np.linalg.norm(back - corners, axis=2)[:, 0] < 0.5
    if good.sum() < _LEAST_INLIERS:
        return np.eye(3)
    before, after = corners[good], there[good]
    if np.percentile(np.linalg.norm(after - before, axis=2), 75) < _STILL_PX:
        return np.eye(3)
    up = np.diag([1.0 / scale, 1.0 / scale, 1.0])
    return up @ _fit(before, after) @ np.linalg.inv(up)


def _fit(before: Float32Array, after: Float32Array) -> FloatArray:  # (N, 1, 2), (N, 1, 2) -> (3, 3)
    """Fit a homography, of few corners a similarity, which goes less astray where there are none."""
    found, inliers = cv2.findHomography(before, after, cv2.USAC_MAGSAC, 1.0, maxIters=2000)
    if found is not None and inliers.sum() >= max(4 * _LEAST_INLIERS, 0.25 * len(before)):
        return np.asarray(found, np.float64)
    turned, inliers = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=1.0)
    if turned is None or inliers.sum() < max(_LEAST_INLIERS, 0.25 * len(before)):
        return np.eye(3)
    return np.vstack([turned, [0.0, 0.0, 1.0]])


def _small(image: ByteArray, scale: float) -> ByteArray:
    if scale == 1.0:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _follow(first: ByteArray, second: ByteArray, corners: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Follow corners (N, 1, 2) into the second image and back, starting from the whole picture's shift."""
    shift, _ = cv2.phaseCorrelate(first.astype(np.float32), second.astype(np.float32), _window(first.shape))
    guess = (corners + np.array(shift, np.float32)).astype(np.float32)
    options: dict[str, Any] = {
        "winSize": (21, 21), "maxLevel": 4, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }  # fmt: skip
    there, seen, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, guess, **options)
    back, also, _ = cv2.calcOpticalFlowPyrLK(second, first, there, corners.copy(), **options)
    back[(seen == 0) | (also == 0)] = np.inf
    return there, back


def _window(shape: tuple[int, ...]) -> Float32Array:
    return np.asarray(cv2.createHanningWindow((shape[1], shape[0]), cv2.CV_32F), np.float32)


def aligned_bracket(frames: Sequence[Exposed], response: Response) -> list[Exposed]:
    """Lay frames over the middle one, for estimating the response."""
    middle = frames[len(frames) // 2]
    light = response.linear(middle.image) / np.float32(middle.exposure)
    laid = []
    for frame in frames:
        other = response.linear(frame.image) / np.float32(frame.exposure)
        longest = max(middle.exposure, frame.exposure)
        homography = find_homography(as_recorded(light, longest), as_recorded(other, longest))
        size = (middle.image.shape[1], middle.image.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpPerspective(
            frame.image, homography, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        laid.append(Exposed(image=image, exposure=frame.exposure))
    return laid
