"""The views while their depth is being computed: pinhole images in four sizes, planes, costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.depth._matching import pack_corners
from walkaround.depth.store import ArrayStore
from walkaround.errors import InputError
from walkaround.types import (
    BoolArray,
    ByteArray,
    Camera,
    Float32Array,
    FloatArray,
    IntArray,
    SparseModel,
    View,
)


@dataclass(frozen=True, kw_only=True)
class Level:
    """One view at one size of the pyramid, as a pinhole camera without distortion."""

    K: FloatArray  # (3, 3)
    size_hw: tuple[int, int]
    name: str  # in the store
    store: ArrayStore

    @property
    def image(self) -> Float32Array:
        """Grey levels, (h, w)."""
        return np.asarray(self.store.get(self.name), dtype=np.float32)

    @property
    def corners(self) -> Any:
        """The image as the kernels sample it, (h * w,) uint32."""
        return self.store.derived(f"{self.name} corners", lambda: pack_corners(self.image))


_KEPT = "planes", "cost", "active"


@dataclass(kw_only=True)
class StereoView:
    """A view while its depth is being computed."""

    view: View
    levels: list[Level]  # full, half, quarter, eighth of the working size
    neighbours: IntArray  # the views whose depth must agree, best first
    sources: IntArray  # the views it is matched with
    w_low: float
    w_high: float
    # at the size last worked on; None while the view waits in the store
    planes: Float32Array | None = None  # (h, w, 3)
    cost: Float32Array | None = None
    texture: Float32Array | None = None
    active: BoolArray | None = None

    def wait(self, store: ArrayStore) -> None:
        """Leave the arrays to the store until :meth:`resume`."""
        for name in _KEPT:
            store.put(f"{self.view.frame.image} {name}", getattr(self, name))
        self.forget()

    def resume(self, store: ArrayStore) -> None:
        """Take the arrays out of the store again."""
        for name in _KEPT:
            setattr(self, name, store.take(f"{self.view.frame.image} {name}"))

    def forget(self) -> None:
        """Let the arrays go."""
        self.planes = self.cost = self.texture = self.active = None


def load_views(
    image_dir: Path,
    model: SparseModel,
    sources: list[IntArray],
    neighbours: list[IntArray],
    max_size: int,
    store: ArrayStore,
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
        low, high = inverse_range(model, index)
        views.append(
            StereoView(
                view=view,
                levels=make_pyramid(store, view.frame.image, grey, camera.scaled(width, height).K),
                sources=sources[index],
                neighbours=neighbours[index],
                w_low=low,
                w_high=high,
            )
        )
    return views


def make_pyramid(store: ArrayStore, name: str, grey: ByteArray, K: FloatArray) -> list[Level]:
    """Put the image at full (8 bit), half, quarter and eighth size (float32) into the store."""
    image: Float32Array | ByteArray = grey
    levels = []
    for halvings in range(4):
        levels.append(
            Level(K=K, size_hw=(image.shape[0], image.shape[1]), name=f"{name} image {halvings}", store=store)
        )
        store.put(levels[-1].name, image)
        height, width = image.shape
        size = max(8, (width + 1) // 2), max(8, (height + 1) // 2)
        image = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        K = K.copy()
        K[0] *= size[0] / width
        K[1] *= size[1] / height
    return levels


def working_size(camera: Camera, max_size: int) -> tuple[int, int]:
    """Return the (width, height) at which depth is computed."""
    scale = min(1.0, max_size / max(camera.width, camera.height))
    return max(16, round(camera.width * scale)), max(16, round(camera.height * scale))


def inverse_range(model: SparseModel, index: int) -> tuple[float, float]:
    """Return the least and largest inverse depth to search in a view, by the sparse points that it sees."""
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
