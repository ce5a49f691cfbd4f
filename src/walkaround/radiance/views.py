"""The pictures of a scene as the network wants them: one size, pinhole cameras, a range of depths."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError, InputError
from walkaround.geometry import normalised_rays, project
from walkaround.types import (
    BoolArray,
    ByteArray,
    Camera,
    Float32Array,
    FloatArray,
    IntArray,
    Progress,
    View,
    no_progress,
)

logger = logging.getLogger(__name__)

MIN_VIEWS = 3
NEAREST_SHARE, FARTHEST_SHARE = 0.45, 4.0
"""Of a camera's distance to the middle of the scene: rays are looked at from here to there at least, so that
the table before the object and the room behind it lie on them."""
_OBJECT_SHARES = (0.6, 1.6)
"""The same for the part that is looked at closely, of a scene without points."""
_ROOM = (0.93, 1.1)
"""Before the nearest and behind the farthest points."""


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A pinhole camera to render from."""

    K: FloatArray  #: (3, 3) pixels
    cam_from_world: FloatArray  #: (4, 4)
    size_hw: tuple[int, int]
    depth_range: FloatArray  #: (4,) rising: near, where the scene begins, where it ends, far

    @property
    def centre(self) -> FloatArray:  # (3,)
        """Where the camera stands: (3,) in the world."""
        return -self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3]


@dataclass(frozen=True, kw_only=True)
class ViewSet:
    """Pictures of one scene, all of one size and without lens distortion."""

    names: tuple[str, ...]
    """Of the images."""
    images_srgb: ByteArray  # (V, H, W, 3)
    K: FloatArray  #: (V, 3, 3) pixels
    cam_from_world: FloatArray  #: (V, 4, 4)
    middle: FloatArray  #: (3,) what the cameras look at
    depth_range: FloatArray  #: (V, 4) rising: near, where the scene begins, where it ends, far
    depth: Float32Array | None = None  #: (V, H, W), 0 where there is none

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def centres(self) -> FloatArray:  # (V, 3)
        """Where the cameras stand: (V, 3) in the world."""
        rotation, translation = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        return -np.einsum("vji,vj->vi", rotation, translation)

    def target(self, number: int) -> TargetView:
        """Return the camera of a picture, to render it anew."""
        height, width = self.images_srgb.shape[1:3]
        return TargetView(
            K=self.K[number], cam_from_world=self.cam_from_world[number], size_hw=(height, width),
            depth_range=self.depth_range[number],
        )  # fmt: skip

    def without(self, number: int) -> ViewSet:
        """Return the set with one picture held out."""
        return self.part(np.flatnonzero(np.arange(len(self)) != number))

    def part(self, rows: IntArray) -> ViewSet:
        """Return the pictures of these rows."""
        return dataclasses.replace(
            self,
            names=tuple(self.names[row] for row in rows),
            images_srgb=self.images_srgb[rows],
            K=self.K[rows],
            cam_from_world=self.cam_from_world[rows],
            depth_range=self.depth_range[rows],
            depth=None if self.depth is None else self.depth[rows],
        )


def nearest_views(views: ViewSet, target: TargetView, count: int) -> IntArray:
    """Return the rows of the pictures that look at the scene from nearest by, the nearest first.

    Nearness is the angle between the directions from the scene's middle; a camera that stands twice as far
    counts like one 30 degrees off.
    """
    there, here = views.centres - views.middle, target.centre - views.middle
    lengths = np.linalg.norm(there, axis=1), np.linalg.norm(here)
    cosine = there @ here / np.maximum(lengths[0] * lengths[1], 1e-12)
    angle_deg = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    apart_deg = 30 * np.abs(np.log2(np.maximum(lengths[0], 1e-12) / max(lengths[1], 1e-12)))
    return np.argsort(angle_deg + apart_deg, kind="stable")[:count].astype(np.int64)


def load_views(
    scene: Scene,
    long_side_px: int,
    *,
    with_depth: bool = True,
    leave_out_broken: bool = False,
    needed: str = "",
    progress: Progress = no_progress,
) -> ViewSet:
    """Read the pictures of a scene that have cameras.

    Parameters
    ----------
    long_side_px
        Pictures are made this large, none larger than it is.
    leave_out_broken
        Go on without images and depth maps that cannot be read, with a warning.
    needed
        Name of an image that is never left out.

    Raises
    ------
    InputError
        Fewer than three pictures have a camera, or can be read.
    FormatError
        A file is broken or missing, and not to be left out.
    """
    model = scene.read_sparse()
    views = () if model is None else model.views
    if model is None or len(views) < MIN_VIEWS:
        raise InputError(
            f"{scene.key} has {len(views)} images with cameras; rendering needs {MIN_VIEWS}. Build it with"
            " `walkaround build`, or bring cameras with `walkaround import`."
        )
    canvas = _canvas(views[0].camera, long_side_px)
    reader = _Reader(scene, canvas, with_depth=with_depth, leave_out_broken=leave_out_broken, needed=needed)
    read = []
    for number, view in enumerate(views):
        read.append(reader.read(view))
        progress((number + 1) / len(views))
    reader.warn()
    views = tuple(view for view, found in zip(views, read, strict=True) if found is not None)
    if len(views) < MIN_VIEWS:
        raise InputError(
            f"{scene.key}: {len(views)} of its images can be read; rendering needs {MIN_VIEWS}. The first"
            f" that cannot: {reader.broken_images[0]}"
        )
    images, depths, cameras = zip(*(found for found in read if found is not None), strict=True)
    poses = np.stack([view.cam_from_world for view in views])
    middle = middle_of(poses)
    maps = [np.zeros(canvas, np.float32) if depth is None else depth for depth in depths]
    return ViewSet(
        names=tuple(view.frame.image for view in views),
        images_srgb=np.stack(images),
        K=np.stack(cameras),
        cam_from_world=poses,
        middle=middle,
        depth_range=np.stack([depth_range_of(pose, middle, model.points_in_world) for pose in poses]),
        depth=np.stack(maps) if any(depth is not None for depth in depths) else None,
    )


def middle_of(cam_from_world: FloatArray) -> FloatArray:
    """Return the point nearest to the optical axes of (V, 4, 4) cameras, in least squares: (3,)."""
    rotation, translation = cam_from_world[:, :3, :3], cam_from_world[:, :3, 3]
    axes = rotation[:, 2]  # (V, 3)
    centres = -np.einsum("vji,vj->vi", rotation, translation)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # (V, 3, 3)
    # a little towards the cameras' mean, for axes that are all parallel
    total = across.sum(axis=0) + 1e-3 * np.eye(3)
    found: FloatArray = np.linalg.solve(
        total, np.einsum("vij,vj->i", across, centres) + 1e-3 * centres.mean(axis=0)
    )
    return found


def depth_range_of(cam_from_world: FloatArray, middle: FloatArray, points_in_world: FloatArray) -> FloatArray:
    """Return where a camera's rays are looked at, (4,) rising depths: near, begin, end, far.

    Most samples go between begin and end, where the sparse points lie; what stands before and behind them
    gets the others.

    Parameters
    ----------
    points_in_world
        (P, 3), of which those before the camera count; may be empty.
    """
    distance = float(np.linalg.norm(cam_from_world[:3, :3] @ middle + cam_from_world[:3, 3]))
    near, far = NEAREST_SHARE * distance, FARTHEST_SHARE * distance
    begin, end = (share * distance for share in _OBJECT_SHARES)
    z = points_in_world @ cam_from_world[2, :3] + cam_from_world[2, 3]
    z = z[z > 0.05 * distance]
    if len(z) >= 10:
        low, high = np.quantile(z, [0.01, 0.99])
        begin, end = _ROOM[0] * low, _ROOM[1] * high
    return np.array([min(near, 0.9 * begin), begin, end, max(far, 1.25 * end)])


def _canvas(camera: Camera, long_side_px: int) -> tuple[int, int]:
    """Return the common height and width of the pictures."""
    scale = min(1.0, long_side_px / max(camera.width, camera.height))
    return max(16, round(camera.height * scale)), max(16, round(camera.width * scale))


class _Reader:
    """Reads views onto the canvas, and remembers which files it had to leave out."""

    def __init__(
        self,
        scene: Scene,
        canvas: tuple[int, int],
        *,
        with_depth: bool,
        leave_out_broken: bool,
        needed: str,
    ) -> None:
        self.scene, self.canvas = scene, canvas
        self.with_depth, self.leave_out_broken, self.needed = with_depth, leave_out_broken, needed
        self.broken_images: list[FormatError] = []
        self.broken_depth: list[FormatError] = []

    def read(self, view: View) -> tuple[ByteArray, Float32Array | None, FloatArray] | None:
        """Return picture, depth and K of a view, without lens distortion; None when it is left out."""
        name = view.frame.image
        try:
            image = self.scene.read_image(name)
        except FormatError as error:
            if not self.leave_out_broken or name == self.needed:
                raise
            self.broken_images.append(error)
            return None
        return _resampled(view, self.canvas, image, self._depth(name) if self.with_depth else None)

    def _depth(self, name: str) -> tuple[Float32Array, BoolArray] | None:
        try:
            return self.scene.read_depth(name)
        except FormatError as error:
            if not self.leave_out_broken:
                raise
            self.broken_depth.append(error)
            return None

    def warn(self) -> None:
        """Say what was left out, one line for images and one for depth maps."""
        for what, errors in (("images", self.broken_images), ("depth maps", self.broken_depth)):
            if errors:
                said = " ".join(str(error) for error in errors[:3])
                more = f" And {len(errors) - 3} more." if len(errors) > 3 else ""
                logger.warning("%s: %s left out (%d): %s%s", self.scene.key, what, len(errors), said, more)


def _resampled(
    view: View, canvas: tuple[int, int], image: ByteArray, found: tuple[Float32Array, BoolArray] | None
) -> tuple[ByteArray, Float32Array | None, FloatArray]:
    """Return picture, depth and K of a view on the canvas, without lens distortion."""
    height, width = canvas
    scale = min(width / view.camera.width, height / view.camera.height)
    fitted = view.camera.scaled(round(view.camera.width * scale), round(view.camera.height * scale))
    image = np.asarray(cv2.resize(image, (fitted.width, fitted.height), interpolation=cv2.INTER_AREA))
    depth = None
    if found is not None:
        known = np.where(found[1], found[0], 0).astype(np.float32)
        depth = cv2.resize(known, (fitted.width, fitted.height), interpolation=cv2.INTER_NEAREST)
    K = fitted.K
    if (fitted.height, fitted.width) == canvas and not fitted.distortion.any():
        return image, depth, K
    wanted = Camera(model="PINHOLE", width=width, height=height, params=(K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    at = _where_from(fitted, wanted)
    image = cv2.remap(image, *at, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if depth is not None:
        depth = cv2.remap(depth, *at, interpolation=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return image, depth, K


def _where_from(camera: Camera, wanted: Camera) -> tuple[Float32Array, Float32Array]:
    """Return for each pixel of a pinhole camera where it lies in another's picture, as OpenCV counts."""
    rays = normalised_rays(wanted)
    pixels = project(camera, np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    # OpenCV's first pixel has its centre at 0, ours at 0.5
    return (pixels[..., 0] - 0.5).astype(np.float32), (pixels[..., 1] - 0.5).astype(np.float32)


def object_mask(views: ViewSet, scene: Scene, number: int) -> BoolArray | None:
    """Return the object's mask on the canvas, (H, W); None without one."""
    mask = scene.read_mask(views.names[number])
    if mask is None:
        return None
    height, width = views.images_srgb.shape[1:3]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small > 0)
