"""Carry a mask to a neighbouring frame that structure from motion could not place."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import BoolArray, ByteArray


def carry_mask(source_image: ByteArray, source_mask: BoolArray, target_image: ByteArray) -> BoolArray:
    """Warp ``source_mask`` into ``target_image`` by dense optical flow.

    DIS flow (Kroeger et al. 2016, arXiv:1603.03590) from the target to the source, both (H, W, 3) images
    brought to the source's size. Returns a mask of the source's size.
    """
    height, width = source_mask.shape
    target = cv2.resize(target_image, (width, height), interpolation=cv2.INTER_AREA)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
        cv2.cvtColor(target, cv2.COLOR_BGR2GRAY), cv2.cvtColor(source_image, cv2.COLOR_BGR2GRAY), None
    )
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        source_mask.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return np.asarray(cv2.medianBlur((moved > 0.5).astype(np.uint8), 5) > 0)
