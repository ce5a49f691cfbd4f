"""What exporters take from a scene: its registered images, as the cameras of the format see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import cv2
import numpy as np

from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.undistort import (
    Fit,
    is_unchanged,
    pinhole,
    undistort_depth,
    undistort_image,
    undistort_mask,
)
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.geometry import project, transform_points
from walkaround.io.image import encode_jpeg
from walkaround.types import BoolArray, ByteArray, Camera, Float32Array, SparseModel, View

JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class Still:
    """One registered image of a scene, perhaps undistorted."""

    scene: Scene
    source: View
    """As the scene has it."""
    camera: Camera
    """Of what is exported."""
    jpeg_quality: int

    @property
    def name(self) -> str:
        """The image's file name in the scene."""
        return self.source.frame.image

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def view(self) -> View:
        """The view with the exported camera."""
        return replace(self.source, camera=self.camera)

    @property
    def is_copy(self) -> bool:
        """True when the image is exported as it is stored."""
        return is_unchanged(self.source.camera, self.camera) or self.camera == self.source.camera

    def image_srgb(self) -> ByteArray:
        """Return the (H, W, 3) pixels.

        Raises
        ------
        FormatError
            The image is missing or broken, or is not of its camera's size.
        """
        image = self.scene.read_image(self.name)
        self._check_size("image", image.shape)
        if self.is_copy:
            return image
        return np.asarray(undistort_image(image, self.source.camera, self.camera), dtype=np.uint8)

    def image_bytes(self, suffix: str | None = None) -> bytes:
        """Return the image's file: as stored where nothing changes, otherwise encoded again.

        Parameters
        ----------
        suffix
            The format that is wanted; None for that of the stored file.
        """
        own = PurePosixPath(self.name).suffix.lower()
        wanted = own if suffix is None else suffix
        kinds = [".jpg" if kind in JPEG_SUFFIXES else kind for kind in (own, wanted)]
        if self.is_copy and kinds[0] == kinds[1]:
            return self.scene.image_bytes(self.name)
        if wanted in JPEG_SUFFIXES:
            return encode_jpeg(self.image_srgb(), self.jpeg_quality)
        ok, data = cv2.imencode(wanted, cv2.cvtColor(self.image_srgb(), cv2.COLOR_RGB2BGR))
        if not ok:
            raise FormatError(f"{self.scene.key}: {self.name} cannot be written as {wanted}.")
        return bytes(data)

    def mask(self) -> BoolArray | None:
        """Return where the object is, (H, W); None without a mask."""
        mask = self.scene.read_mask(self.name)
        if mask is not None:
            self._check_size("mask", mask.shape)
        if mask is None or self.is_copy:
            return mask
        return undistort_mask(mask, self.source.camera, self.camera)

    def depth(self) -> tuple[Float32Array, BoolArray] | None:
        """Return (H, W) depth and where it is valid; None without a map."""
        found = self.scene.read_depth(self.name)
        if found is not None:
            self._check_size("depth map", found[0].shape)
        if found is None or self.is_copy:
            return found
        return undistort_depth(*found, self.source.camera, self.camera)

    @property
    def has_mask(self) -> bool:
        return self.scene.mask_name(self.name) is not None

    @property
    def has_depth(self) -> bool:
        return self.scene.record is not None and self.scene.files.size(f"depth/{self.stem}.png") is not None

    def _check_size(self, what: str, shape: tuple[int, ...]) -> None:
        camera = self.source.camera
        if shape[:2] != (camera.height, camera.width):
            raise FormatError(
                f"{self.scene.key}: the {what} of {self.name} has {shape[1]}x{shape[0]} pixels, its camera "
                f"{camera.width}x{camera.height}. `walkaround audit` lists such scenes."
            )


def stills_of(scene: Scene, options: ExportOptions, *, fit: Fit | None = None) -> tuple[Still, ...]:
    """Return the registered images of a scene, by name.

    Parameters
    ----------
    fit
        What the format can say of a camera without distortion; None when it knows distortion, so that
        images stay as they are (unless ``options.undistort``).

    Raises
    ------
    FormatError
        The scene has no cameras, or broken ones.
    """
    if not scene.views:
        raise FormatError(
            f"{scene.key} has no cameras (sparse/0 is missing or empty), so there is nothing to export. "
            "Build or repair it first."
        )
    wanted: Fit | None = "same" if fit is None and options.undistort else fit
    out = []
    for view in scene.views:
        camera = view.camera if wanted is None else pinhole(view.camera, fit=wanted, crop=options.crop)
        out.append(Still(scene=scene, source=view, camera=camera, jpeg_quality=options.jpeg_quality))
    return tuple(out)


def sparse_of(scene: Scene, stills: tuple[Still, ...]) -> SparseModel:
    """Return the scene's sparse model with the exported cameras.

    Raises
    ------
    FormatError
        The scene has no cameras, or broken ones.
    """
    model = scene.read_sparse()
    if model is None:
        raise FormatError(f"{scene.key} has no cameras.")
    by_name = {still.name: still.view for still in stills}
    return replace(model, views=tuple(by_name[view.frame.image] for view in model.views))


def with_points(scene: Scene, model: SparseModel, *, max_points: int = 5000) -> SparseModel:
    """Return the model with points: where it has none, those of the cloud, seen by all views they fall into.

    Parameters
    ----------
    max_points
        Of a cloud, about as many are taken, evenly over the file.

    Raises
    ------
    FormatError
        The scene has neither.
    """
    if len(model.points_in_world) and all(len(seen) for seen in model.observations):
        return model
    cloud = scene.read_cloud()
    if cloud is None or not len(cloud.points_in_world):
        raise FormatError(
            f"{scene.key} has views without sparse points, and no cloud; this format needs points. "
            "Build or repair the scene first."
        )
    step = max(1, len(cloud.points_in_world) // max_points)
    points = cloud.points_in_world[::step].astype(np.float64)
    seen = []
    for view in model.views:
        pixels = project(view.camera, transform_points(view.cam_from_world, points))
        inside = (pixels >= 0) & (pixels < [view.camera.width, view.camera.height])
        seen.append(np.flatnonzero(inside.all(axis=1)))
    return SparseModel(
        views=model.views,
        points_in_world=points,
        colors=np.full((len(points), 3), 128, np.uint8) if cloud.colors is None else cloud.colors[::step],
        errors_px=np.zeros(len(points)),
        observations=tuple(seen),
    )
