"""Flicker: change from frame to frame that the truth does not have."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from walkaround.errors import UsageError
from walkaround.hdr.metrics.curves import mu_law
from walkaround.types import Float32Array, FloatArray

_SAME = 0.02


def flicker(result: Sequence[Float32Array], truth: Sequence[Float32Array]) -> float:
    """Return the mean change of a point's error between frames that follow each other, times 1000.

    A point is followed by the motion of the truth (DIS flow on its mu-law picture) and counts where the
    truth shows the same before and after (within 0.02 on the mu-law). An error that stays does not
    flicker; alternating exposures that are merged badly do, at half or a third of the frame rate.

    Raises
    ------
    UsageError
        The videos differ in length, or have fewer than two frames.
    """
    if len(result) != len(truth) or len(truth) < 2:
        raise UsageError(f"Flicker needs two videos of at least 2 frames; got {len(result)}, {len(truth)}.")
    shown = [mu_law(frame) for frame in truth]
    errors = [mu_law(frame) - own for frame, own in zip(result, shown, strict=True)]
    changes = []
    for now in range(1, len(truth)):
        flow = _motion(shown[now], shown[now - 1])
        same = np.abs(_moved(shown[now - 1], flow) - shown[now]).max(axis=2) < _SAME
        change = np.abs(_moved(errors[now - 1], flow) - errors[now])
        if same.any():
            changes.append(float(change[same].mean()))
    return 1000.0 * float(np.mean(changes)) if changes else 0.0


def _motion(now: FloatArray, before: FloatArray) -> Float32Array:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, second = (np.rint(255.0 * picture.mean(axis=2)).astype(np.uint8) for picture in (now, before))
    return np.asarray(dis.calc(first, second, None), np.float32)


def _moved(picture: FloatArray, flow: Float32Array) -> FloatArray:
    height, width = picture.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float64)
