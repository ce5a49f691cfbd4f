"""COLMAP's models, text or binary, and its undistorted layout: https://colmap.github.io/format.html

Our own conventions for cameras, poses and pixels are COLMAP's; nothing is converted. Masks are
``masks/<image name>.png``, black where no features are to be taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.stills import Still, sparse_of, stills_of, with_points
from walkaround.dataset.exchange.undistort import Fit
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.io.colmap import model_as_text, write_sparse_model
from walkaround.io.depth import write_grey
from walkaround.io.pointcloud import write_ply
from walkaround.types import PointCloud

_NAMES = ("cameras", "images", "points3D")
_MAX_START_POINTS = 100_000
"""3D Gaussian splatting starts from as many points of the cloud where there are no sparse ones."""


class ColmapExporter(Exporter):
    """``images/``, ``sparse/0/`` (binary), ``masks/<image name>.png``."""

    is_text = False

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options)
        write_images(folder, stills)
        if self.options.masks:
            write_colmap_masks(folder, stills)
        if all(still.is_copy for still in stills):
            _copy_model(scene, folder / "sparse" / "0", text=self.is_text)
        else:
            write_sparse_model(folder / "sparse" / "0", sparse_of(scene, stills))
            if self.is_text:
                _to_text(folder / "sparse" / "0")


class ColmapTextExporter(ColmapExporter):
    """The same with ``cameras.txt``, ``images.txt`` and ``points3D.txt``."""

    is_text = True


class OpenMvsExporter(Exporter):
    """What ``colmap image_undistorter`` leaves, for ``InterfaceCOLMAP -i`` and ``colmap patch_match_stereo``.

    PINHOLE cameras, ``sparse/*.bin`` without a ``0``, ``stereo/*.cfg``. Masks are ``masks/<stem>.mask.png``,
    as ``DensifyPointCloud --mask-path`` reads them.
    """

    fit: Fit = "same"

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options, fit=self.fit)
        write_images(folder, stills)
        write_sparse_model(folder / "sparse", sparse_of(scene, stills))
        names = [still.name for still in stills]
        pairs = "".join(f"{name}\n__auto__, 20\n" for name in names)
        write_bytes(folder / "stereo" / "patch-match.cfg", pairs.encode())
        write_bytes(folder / "stereo" / "fusion.cfg", "".join(f"{name}\n" for name in names).encode())
        for still in stills if self.options.masks else ():
            mask = still.mask()
            if mask is not None:
                path = folder / "masks" / f"{still.stem}.mask.png"
                write_grey(path, mask.astype(np.uint8) * np.uint8(255))


class SplattingExporter(Exporter):
    """Input of 3D Gaussian splatting: undistorted PINHOLE, ``sparse/0``, ``points3D.ply``.

    Its loader (github.com/graphdeco-inria/gaussian-splatting, scene/dataset_readers.py) turns focal lengths
    into fields of view and leaves the principal point out, so images are shifted until it is in the middle.
    """

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options, fit="centred")
        write_images(folder, stills)
        model = with_points(scene, sparse_of(scene, stills), max_points=_MAX_START_POINTS)
        write_sparse_model(folder / "sparse" / "0", model)
        points = model.points_in_world.astype(np.float32)
        cloud = PointCloud(points_in_world=points, colors=model.colors, normals=np.zeros_like(points))
        write_ply(folder / "sparse" / "0" / "points3D.ply", cloud)
        if self.options.masks:
            write_colmap_masks(folder, stills)


def write_images(folder: Path, stills: Iterable[Still]) -> None:
    """Write ``images/<name>``."""
    for still in stills:
        write_bytes(folder / "images" / still.name, still.image_bytes())


def write_colmap_masks(folder: Path, stills: Iterable[Still]) -> None:
    """Write ``masks/<image name>.png`` of the images that have one: 255 the object, 0 the rest."""
    for still in stills:
        mask = still.mask()
        if mask is not None:
            write_grey(folder / "masks" / f"{still.name}.png", mask.astype(np.uint8) * np.uint8(255))


def _copy_model(scene: Scene, folder: Path, *, text: bool) -> None:
    """Copy the scene's own files: with all features and tracks, as they are."""
    kind = "bin" if scene.files.size("sparse/0/images.bin") is not None else "txt"
    for name in _NAMES:
        write_bytes(folder / f"{name}.{kind}", scene.files.read(f"sparse/0/{name}.{kind}"))
    if text and kind == "bin":
        _to_text(folder)
    elif not text and kind == "txt":
        model = scene.read_sparse()
        if model is None:
            raise FormatError(f"{scene.key} has no cameras.")
        write_sparse_model(folder, model)
        for name in _NAMES:
            (folder / f"{name}.txt").unlink()


def _to_text(folder: Path) -> None:
    """Turn the binary model in a folder into text."""
    with tempfile.TemporaryDirectory(prefix="walkaround-text-") as scratch:
        model_as_text(folder, Path(scratch))
        for name in _NAMES:
            write_bytes(folder / f"{name}.txt", (Path(scratch) / f"{name}.txt").read_bytes())
            (folder / f"{name}.bin").unlink()
