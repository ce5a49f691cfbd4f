"""The one module that imports pycolmap, and the COLMAP files of a sequence.

Traps met (docs/pipeline.md): ``import zlib`` must come first, because the wheel exports its own zlib
symbols; the import installs signal handlers, which are put back; ALIKED and LightGlue abort the process.
"""

from __future__ import annotations

import functools
import shutil
import signal
import zlib  # noqa: F401  before pycolmap: see above
from pathlib import Path
from types import ModuleType

import numpy as np

from walkaround.errors import FormatError
from walkaround.io._colmap_binary import check_files, write_model
from walkaround.types import CAMERA_MODELS, Camera, FloatArray, Frame, SparseModel, View

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL)


@functools.cache
def load_pycolmap() -> ModuleType:
    """Import pycolmap with Python's signal handlers kept and its log limited to errors."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    import pycolmap

    for number, handler in handlers.items():
        try:
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        except ValueError:  # not the main thread: nothing to restore from here
            break
    pycolmap.logging.minloglevel = 3
    return pycolmap


def write_sparse_model(folder: Path, model: SparseModel) -> None:
    """Write ``cameras.bin``, ``images.bin``, ``points3D.bin`` (COLMAP 3.x layout, no frames or rigs).

    ``folder`` must exist. Observations are written with the points projected into the views.
    Image ids are the frames' indices; one camera a distinct :class:`Camera`.
    """
    write_model(folder, model)


def read_sparse_model(folder: Path, frames: tuple[Frame, ...] | None = None) -> SparseModel:
    """Read a COLMAP binary or text model.

    Raises
    ------
    FormatError
        A file is missing, empty or not COLMAP's.
    """
    pycolmap = load_pycolmap()
    if not (folder / "cameras.bin").exists() and not (folder / "cameras.txt").exists():
        raise FormatError(f"{folder} holds no COLMAP model (cameras.bin or cameras.txt is missing).")
    if (folder / "cameras.bin").exists():
        check_files(folder)
    try:
        reconstruction = pycolmap.Reconstruction(str(folder))
    except (ValueError, RuntimeError, IndexError) as error:
        raise FormatError(f"{folder} is not a readable COLMAP model: {error}") from error
    models = {camera.model.name for camera in reconstruction.cameras.values()}
    if not models <= set(CAMERA_MODELS):
        raise FormatError(
            f"{folder} uses the camera models {sorted(models)}; supported are {', '.join(CAMERA_MODELS)}. "
            "Undistort the images with COLMAP first."
        )
    return from_reconstruction(reconstruction, frames)


def model_as_text(folder: Path, out: Path) -> None:
    """Write the model in ``folder`` as ``cameras.txt``, ``images.txt`` and ``points3D.txt``, all of it.

    Raises
    ------
    FormatError
        It is missing or broken.
    """
    if (folder / "cameras.bin").exists():
        check_files(folder)
    try:
        load_pycolmap().Reconstruction(str(folder)).write_text(str(out))
    except (ValueError, RuntimeError, IndexError) as error:
        raise FormatError(f"{folder} is not a readable COLMAP model: {error}") from error


def from_reconstruction(reconstruction: object, frames: tuple[Frame, ...] | None = None) -> SparseModel:
    """Copy a ``pycolmap.Reconstruction`` into arrays; views in the order of image names."""
    rec = reconstruction
    by_name = {frame.image: frame for frame in frames or ()}
    point_ids = sorted(rec.points3D)  # type: ignore[attr-defined]
    index_of = {point_id: index for index, point_id in enumerate(point_ids)}
    points = [rec.points3D[i] for i in point_ids]  # type: ignore[attr-defined]
    views, observations = [], []
    images = [im for im in rec.images.values() if im.has_pose]  # type: ignore[attr-defined]
    for number, image in enumerate(sorted(images, key=lambda im: im.name)):
        frame = by_name.get(image.name) or Frame(
            index=number + 1, image=image.name, source_index=number, timestamp_s=None
        )
        cam_from_world = np.eye(4)
        cam_from_world[:3] = image.cam_from_world().matrix()
        source = rec.cameras[image.camera_id]  # type: ignore[attr-defined]
        camera = Camera(
            model=source.model.name,
            width=int(source.width),
            height=int(source.height),
            params=tuple(float(p) for p in source.params),
        )
        views.append(View(frame=frame, camera=camera, cam_from_world=cam_from_world))
        seen = {index_of[p.point3D_id] for p in image.points2D if p.has_point3D()}
        observations.append(np.array(sorted(seen), dtype=np.int64))
    xyz = np.array([p.xyz for p in points], dtype=np.float64).reshape(-1, 3)
    colors = np.array([p.color for p in points], dtype=np.uint8).reshape(-1, 3)
    errors: FloatArray = np.array([p.error for p in points], dtype=np.float64)
    return SparseModel(
        views=tuple(views),
        points_in_world=xyz,
        colors=colors,
        errors_px=errors,
        observations=tuple(observations),
    )


def remove_tree(folder: Path) -> None:
    """Remove a scratch folder of ours if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
