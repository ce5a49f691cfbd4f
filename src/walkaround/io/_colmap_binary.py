"""The three classic COLMAP files: written with pycolmap, the same bytes each time; checked before reading.

pycolmap trusts the counts in a file: a truncated one sends it into endless loops or huge allocations. So the
files' structure is walked first.
"""

from __future__ import annotations

import functools
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.errors import FormatError
from walkaround.geometry import project, transform_points
from walkaround.io.atomic import output_error, write_bytes
from walkaround.types import Camera, FloatArray, IntArray, SparseModel, View

CLASSIC_FILES = ("cameras.bin", "images.bin", "points3D.bin")


def write_model(folder: Path, model: SparseModel) -> None:
    """Write ``cameras.bin``, ``images.bin`` and ``points3D.bin`` into ``folder``, each atomically.

    pycolmap 4 writes ``rigs.bin`` and ``frames.bin`` beside them; they say nothing more here (each camera
    is its own rig) and readers of COLMAP 3.x do not expect them, so they are left out.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    reconstruction = to_reconstruction(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".colmap-", dir=folder) as scratch:
            reconstruction.write_binary(scratch)
            contents = {name: (Path(scratch) / name).read_bytes() for name in CLASSIC_FILES}
    except OSError as error:
        raise output_error(folder, error) from error
    for name, data in contents.items():
        write_bytes(folder / name, data)


def to_reconstruction(model: SparseModel) -> Any:
    """Build a ``pycolmap.Reconstruction``: image ids are the frames' indices, one camera a distinct Camera.

    Each observation's pixel is the projection of its point; points that no view sees (or that lie behind
    one) are kept with the rest of their track.
    """
    from walkaround.io.colmap import load_pycolmap

    pycolmap = load_pycolmap()
    reconstruction = pycolmap.Reconstruction()
    camera_ids: dict[Camera, int] = {}
    for view in model.views:
        if view.camera not in camera_ids:
            camera_ids[view.camera] = len(camera_ids) + 1
            reconstruction.add_camera_with_trivial_rig(
                pycolmap.Camera(
                    model=view.camera.model,
                    width=view.camera.width,
                    height=view.camera.height,
                    params=list(view.camera.params),
                    camera_id=camera_ids[view.camera],
                )
            )
    tracks: list[list[Any]] = [[] for _ in range(len(model.points_in_world))]
    for view, indices in zip(model.views, model.observations, strict=True):
        pixels, seen = _pixels(view, model, indices)
        image = pycolmap.Image(
            name=view.frame.image,
            keypoints=pixels,
            camera_id=camera_ids[view.camera],
            image_id=view.frame.index,
        )
        matrix = view.cam_from_world
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(matrix[:3, :3]), matrix[:3, 3])
        reconstruction.add_image_with_trivial_frame(image, pose)
        for position, index in enumerate(seen):
            tracks[index].append(pycolmap.TrackElement(view.frame.index, position))
    for index, xyz in enumerate(model.points_in_world):
        point = pycolmap.Point3D()
        point.xyz, point.color = xyz, model.colors[index]
        point.error = float(model.errors_px[index])
        point.track = pycolmap.Track(tracks[index])
        reconstruction.add_point3D_with_id(index + 1, point)
    return reconstruction


def _pixels(view: View, model: SparseModel, indices: IntArray) -> tuple[FloatArray, IntArray]:
    points = transform_points(view.cam_from_world, model.points_in_world[indices])
    pixels = project(view.camera, points)
    good = np.isfinite(pixels).all(axis=1)
    return pixels[good].reshape(-1, 2), indices[good]


def check_files(folder: Path) -> None:
    """Walk ``cameras.bin``, ``images.bin`` and ``points3D.bin``: every count must fit the file's size.

    Raises
    ------
    FormatError
        A file is missing, cut off, or not COLMAP's.
    """
    for name, walk in (
        ("cameras.bin", _walk_camera),
        ("images.bin", _walk_image),
        ("points3D.bin", _walk_point),
    ):
        path = folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FormatError(
                f"{path} cannot be read ({error.strerror}); the COLMAP model is incomplete."
            ) from error
        try:
            (count,) = struct.unpack_from("<Q", data)
            offset = 8
            for _ in range(count):
                offset = walk(data, offset)
                if offset > len(data):
                    raise ValueError("too short")
        except (struct.error, ValueError) as error:
            raise FormatError(
                f"{path} is cut off or not a COLMAP file ({len(data)} bytes); copy or download it again."
            ) from error
        if offset != len(data):
            raise FormatError(f"{path} has {len(data) - offset} bytes too many; it is not a COLMAP 3 file.")


def _walk_camera(data: bytes, offset: int) -> int:
    _, model_id = struct.unpack_from("<Ii", data, offset)
    count = _num_params().get(model_id)
    if count is None:
        raise ValueError(f"unknown camera model {model_id}")
    return offset + 24 + 8 * count


def _walk_image(data: bytes, offset: int) -> int:
    end = data.index(b"\0", offset + 64)
    (count,) = struct.unpack_from("<Q", data, end + 1)
    return int(end + 9 + 24 * count)


def _walk_point(data: bytes, offset: int) -> int:
    (length,) = struct.unpack_from("<Q", data, offset + 43)
    return int(offset + 51 + 8 * length)


@functools.cache
def _num_params() -> dict[int, int]:
    from walkaround.io.colmap import load_pycolmap

    pycolmap = load_pycolmap()
    models = [m for m in pycolmap.CameraModelId.__members__.values() if m.value >= 0]
    return {m.value: len(pycolmap.Camera.create_from_model_id(1, m, 100.0, 100, 100).params) for m in models}
