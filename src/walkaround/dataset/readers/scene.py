"""One object of a dataset: its images, and whatever else is there of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeVar

import cv2
import numpy as np

from walkaround.dataset.readers.files import SceneFiles
from walkaround.dataset.readers.scan import IMAGE_SUFFIXES
from walkaround.dataset.schema import RECORD_NAME, SequenceRecord, record_from_dict
from walkaround.errors import FormatError
from walkaround.io.colmap_views import parse_views
from walkaround.io.image import decode_stored
from walkaround.io.image_size import stated_size_wh
from walkaround.types import BoolArray, ByteArray, Float32Array, Frame, PointCloud, SparseModel, View

_T = TypeVar("_T")
SPARSE = "sparse/0"
_SPARSE_FILES = ("cameras", "images", "points3D")


@dataclass(frozen=True)
class Scene:
    """What a dataset holds of one object. Nothing is read before it is asked for.

    Of a released scene anything may be missing: ``views`` is empty without cameras, the ``read_`` methods of
    masks, depth and cloud return None. What is there and broken raises :class:`FormatError`.
    """

    class_label: str
    """The name of the class's folder: an id in released datasets."""
    instance_id: str
    files: SceneFiles
    class_id: str | None = None
    class_name: str | None = None
    repaired: tuple[str, ...] = ()
    """Parts that come from an overlay."""

    @property
    def key(self) -> str:
        """``<class label>/<instance id>``, unique in the dataset."""
        return f"{self.class_label}/{self.instance_id}"

    @cached_property
    def record(self) -> SequenceRecord | None:
        """Our own ``sequence.json``; None in other layouts.

        Raises
        ------
        FormatError
            It is broken.
        """
        if self.files.size(RECORD_NAME) is None:
            return None
        where = self.files.where(RECORD_NAME)
        try:
            value = json.loads(self.files.read(RECORD_NAME))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{where} cannot be read as JSON: {error}") from error
        return record_from_dict(value, where=where)

    @cached_property
    def image_names(self) -> tuple[str, ...]:
        """Names of the images that are there, as people count."""
        return tuple(
            n for n in self.files.names("images") if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES
        )

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """What is known of each image; the times only in our own datasets."""
        if self.record is not None and self.record.frames:
            return tuple(
                Frame(index=number + 1, image=f.image, source_index=f.source_index, timestamp_s=f.timestamp_s)
                for number, f in enumerate(self.record.frames)
            )
        return tuple(
            Frame(index=number + 1, image=name, source_index=number, timestamp_s=None)
            for number, name in enumerate(self.image_names)
        )

    def image_bytes(self, image: str) -> bytes:
        """Return the bytes of an image file.

        Raises
        ------
        FormatError
            It is missing.
        """
        return self.files.read(f"images/{image}")

    def read_image(self, image: str) -> ByteArray:
        """Return an image as (H, W, 3) sRGB, its pixels as they are stored (what cameras and masks refer to).

        Raises
        ------
        FormatError
            It is missing or cannot be decoded.
        """
        path = f"images/{image}"
        pixels = decode_stored(self.files.read(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None:
            raise FormatError(f"{self.files.where(path)} is not a readable image.")
        return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)

    def image_size_wh(self, image: str) -> tuple[int, int]:
        """Return width and height as the file's header states them.

        Raises
        ------
        FormatError
            The image is missing, or has no header.
        """
        size_wh = stated_size_wh(self.image_bytes(image))
        if size_wh is None:
            raise FormatError(f"{self.files.where(f'images/{image}')} is not a readable image.")
        return size_wh

    @property
    def has_cameras(self) -> bool:
        """True when ``sparse/0`` lists images, broken or not."""
        return any((self.files.size(f"{SPARSE}/images.{kind}") or 0) > 8 for kind in ("bin", "txt"))

    @cached_property
    def views(self) -> tuple[View, ...]:
        """Images with cameras, by name; empty when the scene has none.

        Raises
        ------
        FormatError
            The COLMAP files are broken.
        """
        if not self.has_cameras:
            return ()
        if self.files.size(f"{SPARSE}/images.bin") is None:
            model = self.read_sparse()
            return () if model is None else model.views
        cameras, images = (self.files.read(f"{SPARSE}/{name}.bin") for name in ("cameras", "images"))
        try:
            return parse_views(cameras, images, self.frames)
        except FormatError as error:
            raise FormatError(f"{self.files.where(SPARSE)}: {error}") from error

    def read_sparse(self) -> SparseModel | None:
        """Return cameras and sparse points; None without cameras.

        Raises
        ------
        FormatError
            The COLMAP files are broken.
        """
        from walkaround.io.colmap import read_sparse_model

        if not self.has_cameras:
            return None
        kind = "txt" if self.files.size(f"{SPARSE}/images.bin") is None else "bin"
        with tempfile.TemporaryDirectory(prefix="walkaround-sparse-") as scratch:
            for name in _SPARSE_FILES:
                (Path(scratch) / f"{name}.{kind}").write_bytes(self.files.read(f"{SPARSE}/{name}.{kind}"))
            try:
                return read_sparse_model(Path(scratch), self.frames)
            except FormatError as error:
                said = str(error).replace(scratch, self.files.where(SPARSE))
                raise FormatError(said) from error

    def mask_name(self, image: str) -> str | None:
        """Return the file name of an image's mask, with or without the image's suffix; None without one."""
        stem = PurePosixPath(image).stem
        for name in (f"{image}.png", f"{stem}.png", image, f"{stem}.jpg", f"{image}.jpg"):
            if name in self._mask_names:
                return name
        return None

    def read_fg_probability(self, image: str) -> Float32Array | None:
        """Return how likely each pixel is object, (H, W) in 0..1: soft masks as they are; None without one.

        Raises
        ------
        FormatError
            It cannot be decoded.
        """
        name = self.mask_name(image)
        if name is None:
            return None
        path = f"masks/{name}"
        values = decode_stored(self.files.read(path), cv2.IMREAD_GRAYSCALE)
        if values is None:
            raise FormatError(f"{self.files.where(path)} is not a readable image.")
        return np.asarray(values, dtype=np.float32) / np.float32(255)

    def read_mask(self, image: str) -> BoolArray | None:
        """Return where the object is, (H, W): where it is likelier than not; None without a mask.

        Raises
        ------
        FormatError
            It cannot be decoded.
        """
        probability = self.read_fg_probability(image)
        return None if probability is None else probability > 0.5

    def read_depth(self, image: str) -> tuple[Float32Array, BoolArray] | None:
        """Return (H, W) depth in units of the cameras' world and where it is valid; None without a map.

        Raises
        ------
        FormatError
            It is no 16-bit grey image.
        """
        path = f"depth/{PurePosixPath(image).stem}.png"
        if self.record is None or self.files.size(path) is None:
            return None
        values = decode_stored(self.files.read(path), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2 or values.dtype != np.uint16:
            raise FormatError(f"{self.files.where(path)} is not a 16-bit grey depth map.")
        return (values * self.record.depth_scale).astype(np.float32), values > 0

    def read_cloud(self) -> PointCloud | None:
        """Return the object's dense points; None without any.

        Raises
        ------
        FormatError
            The file is broken.
        """
        from walkaround.io.pointcloud import read_pcd, read_ply

        for name, read in (("cloud.ply", read_ply), ("cloud.pcd", read_pcd)):
            if self.files.size(name) is not None:
                return self._by_file(name, read)
        return None

    def _by_file(self, path: str, read: Callable[[Path], _T]) -> _T:
        """Read by a function that wants a file."""
        with tempfile.TemporaryDirectory(prefix="walkaround-") as scratch:
            copy = Path(scratch) / PurePosixPath(path).name
            copy.write_bytes(self.files.read(path))
            try:
                return read(copy)
            except FormatError as error:
                raise FormatError(str(error).replace(str(copy), self.files.where(path))) from error

    @cached_property
    def _mask_names(self) -> frozenset[str]:
        return frozenset(self.files.names("masks"))
