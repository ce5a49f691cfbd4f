"""First estimates of motion, by OpenCV: what the flow network mixes and corrects.

Two estimates for each neighbour of the reference, because each fails where the other works:

- *direct*: flow from the reference to the neighbour, both at the longer exposure of the two. Exact where
  the reference is well exposed, a guess where it is saturated or black.
- *through*: half (a third, ...) of the flow between the two frames of equal exposure before and after the
  reference, as in Kalantari et al. 2013, doi:10.1145/2508363.2508402. Needs nothing of the reference, but
  assumes even motion.

Both are DIS flow (Kroeger et al. 2016, arXiv:1603.03590) at half the size.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from walkaround.hdr.clip import Exposed
from walkaround.types import ByteArray, Float32Array

GAMMA = 2.2
_STEPS = 3


def estimate_motion(window: Sequence[Exposed]) -> Float32Array:  # (N - 1, 2, 2, h, w)
    """Estimate the motion from the reference to each neighbour.

    Parameters
    ----------
    window
        N frames recorded with a curve of 2.2, H and W even.

    Returns
    -------
    For each neighbour in time order, for *direct* and *through*, (x, y) in pixels of the full size on a
    grid of half the size: ``reference(x) = neighbour(x + flow)``.
    """
    middle = len(window) // 2
    small = [_halved(frame.image) for frame in window]
    exposures = [frame.exposure for frame in window]
    flows = []
    through: dict[int, Float32Array] = {}
    for place in range(len(window)):
        if place == middle:
            continue
        level = max(exposures[middle], exposures[place])
        direct = dense_flow(
            _lifted(small[middle], exposures[middle], level), _lifted(small[place], exposures[place], level)
        )
        if place not in through:
            through.update(_through(small, exposures, place, middle))
        flows.append(np.stack([direct, through.get(place, direct)]))
    return np.ascontiguousarray(2.0 * np.stack(flows).transpose(0, 1, 4, 2, 3), np.float32)


def _through(
    small: list[Float32Array], exposures: list[float], place: int, middle: int
) -> dict[int, Float32Array]:
    """Flow from the reference to the two frames of one exposure before and after it, on its own grid."""
    other = _partner(exposures, place, middle)
    if other is None:
        return {}
    first, last = sorted((place, other))
    across = dense_flow(_lifted(small[first], 1.0, 1.0), _lifted(small[last], 1.0, 1.0))
    span = float(last - first)
    height, width = across.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32)
    speed = across / span
    for _ in range(_STEPS):  # speed(x) = across(x + speed(x) * (first - middle)) / span
        at = grid + speed * np.float32(first - middle)
        speed = cv2.remap(across, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / span
    return {n: np.asarray(speed * np.float32(n - middle), np.float32) for n in (first, last)}


def _partner(exposures: list[float], place: int, middle: int) -> int | None:
    """Return the frame of the same exposure on the other side of the reference; None without one."""
    others = range(middle + 1, len(exposures)) if place < middle else range(middle)
    return next((n for n in others if exposures[n] == exposures[place]), None)


def _halved(image: Float32Array) -> Float32Array:
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)


def _lifted(image: Float32Array, exposure: float, level: float) -> ByteArray:
    """Return the grey picture that an exposure of ``level`` would have recorded."""
    gain = np.float32((level / exposure) ** (1.0 / GAMMA))
    grey = cv2.cvtColor(np.minimum(image * gain, 1.0), cv2.COLOR_RGB2GRAY)
    return np.asarray(np.rint(grey * 255.0), np.uint8)


def dense_flow(first: ByteArray, second: ByteArray) -> Float32Array:
    """DIS flow, (h, w, 2): ``first(x) = second(x + flow)``; zero for pictures too small for its patches."""
    if min(first.shape) < 16:
        return np.zeros((*first.shape, 2), np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(first, second, None), np.float32)
