"""The views while their depth is being computed: pinhole images in four sizes, planes, costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.depth._matching import pack_corners
from walkaround.errors import InputError
from walkaround.types import BoolArray, Camera, Float32Array, FloatArray, IntArray, SparseModel, View


@dataclass(kw_only=True)
class Level:
    """One view at one size of the pyramid, as a pinhole camera without distortion."""

    image: Float32Array  # (h, w) grey levels
    K: FloatArray  # (3, 3)

    @cached_property
    def corners(self) -> Any:
        """The image as the kernels sample it, (h * w,) uint32."""
        return pack_corners(self.image)


@dataclass(kw_only=True)
class StereoView:
    """A view while its depth is being computed."""

    view: View
    levels: list[Level]  # full, half, quarter, eighth of the working size
    neighbours: IntArray  # the views whose depth must agree, best first
    sources: IntArray  # the views it is matched with
    w_low: float
    w_high: float
    planes: Float32Array | None = None  # (h, w, 3) at the size last worked on
    cost: Float32Array | None = None
    texture: Float32Array | None = None
    active: BoolArray | None = None


def load_views(
    image_dir: Path, model: SparseModel, sources: list[IntArray], neighbours: list[IntArray], max_size: int
) -> list[StereoView]:
    """Read, undistort and shrink the images; bound the inverse depth by the sparse points seen."""
    views = []
    for index, view in enumerate(model.views):
        path = image_dir / view.frame.image
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if grey is None:
            raise InputError(f"{path} cannot be read; run again with --overwrite to extract the frames anew.")
        camera = view.camera
        if np.any(camera.distortion):
            # half a pixel between COLMAP's (0.5, 0.5) and OpenCV's (0, 0) for the first pixel's centre
            K = camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
            grey = cv2.undistort(grey, K, camera.distortion)
        width, height = working_size(camera, max_size)
        if (width, height) != (camera.width, camera.height):
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        levels = [Level(image=grey.astype(np.float32), K=camera.scaled(width, height).K)]
        for _ in range(3):
            levels.append(_half(levels[-1]))
        low, high = _inverse_range(model, index)
        views.append(
            StereoView(
                view=view,
                levels=levels,
                sources=sources[index],
                neighbours=neighbours[index],
                w_low=low,
                w_high=high,
            )
        )
    return views


def working_size(camera: Camera, max_size: int) -> tuple[int, int]:
    """Return the (width, height) at which depth is computed."""
    scale = min(1.0, max_size / max(camera.width, camera.height))
    return max(16, round(camera.width * scale)), max(16, round(camera.height * scale))


def _half(level: Level) -> Level:
    height, width = level.image.shape
    size = max(8, (width + 1) // 2), max(8, (height + 1) // 2)
    image = cv2.resize(level.image, size, interpolation=cv2.INTER_AREA)
    K = level.K.copy()
    K[0] *= size[0] / width
    K[1] *= size[1] / height
    return Level(image=image, K=K)


def _inverse_range(model: SparseModel, index: int) -> tuple[float, float]:
    pose = model.views[index].cam_from_world
    z = model.points_in_world[model.observations[index]] @ pose[2, :3] + pose[2, 3]
    z = z[z > 1e-6]
    if len(z) < 8:
        distance = float(np.linalg.norm(model.views[index].centre))
        z = np.array([0.5 * distance, 2.0 * distance])
    low, high = np.percentile(z, [1.0, 99.0])
    return 0.5 / float(high), 1.4 / float(low)


def points_of(view: StereoView, level: int, step: int = 1) -> FloatArray:
    """Return every ``step``-th pixel's surface point in the world, (h, w, 3), from the current planes."""
    if view.planes is None:
        raise RuntimeError("no planes yet")
    inverse = view.planes[::step, ::step, 0]
    height, width = view.planes.shape[:2]
    u, v = np.meshgrid(np.arange(width)[::step] + 0.5, np.arange(height)[::step] + 0.5)
    z = 1.0 / np.maximum(inverse.astype(np.float64), 1e-9)
    K = view.levels[level].K
    points = np.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], axis=-1)
    return np.asarray((points - view.view.cam_from_world[:3, 3]) @ view.view.cam_from_world[:3, :3])


def enlarge(mask: BoolArray, size_hw: tuple[int, int]) -> BoolArray:
    """Resize a boolean map, nearest neighbour."""
    return np.asarray(cv2.resize(mask.astype(np.uint8), size_hw[::-1], interpolation=cv2.INTER_NEAREST) > 0)
