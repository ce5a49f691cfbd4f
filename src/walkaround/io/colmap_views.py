"""Cameras and poses from the bytes of COLMAP's binary files, without its points.

For loading many scenes: pycolmap reads whole models (all observations and points) from a folder; here poses
come in a tenth of a millisecond, also out of an archive. Every count is checked against the bytes that are
there. The tests compare this with pycolmap.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from walkaround.errors import FormatError
from walkaround.types import Camera, FloatArray, Frame, IntArray, View

_MODELS = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
}  # fmt: skip
_OTHER_MODELS = {5: 8, 6: 12, 7: 5, 8: 4, 9: 5, 10: 12, 11: 16}
"""Numbers of parameters of COLMAP's models that :class:`Camera` does not know."""


@dataclass(frozen=True, kw_only=True)
class StoredPose:
    """One image of ``images.bin``."""

    image_id: int
    camera_id: int
    name: str
    cam_from_world: FloatArray  # (4, 4)
    num_observations: int
    """Of points, and of features without one."""
    observations_at: int = 0
    """Where they begin in the file."""


def parse_cameras(data: bytes, where: str = "cameras.bin") -> dict[int, Camera]:
    """Return the cameras by their ids.

    Raises
    ------
    FormatError
        The bytes are cut off or not COLMAP's, or a camera model is unknown.
    """
    try:
        (count,) = struct.unpack_from("<Q", data)
        offset, cameras = 8, {}
        for _ in range(count):
            camera_id, model_id, width, height = struct.unpack_from("<IiQQ", data, offset)
            if model_id not in _MODELS:
                known = ", ".join(name for name, _ in _MODELS.values())
                if model_id in _OTHER_MODELS:
                    raise FormatError(
                        f"{where}: camera {camera_id} has COLMAP's model {model_id}, not {known}."
                    )
                raise FormatError(f"{where}: camera {camera_id} has the unknown model {model_id}.")
            name, num_params = _MODELS[model_id]
            params = struct.unpack_from(f"<{num_params}d", data, offset + 24)
            cameras[camera_id] = Camera(model=name, width=width, height=height, params=params)
            offset += 24 + 8 * num_params
    except struct.error as error:
        raise cut_off(where, data) from error
    check_end(where, data, offset)
    return cameras


def parse_poses(data: bytes, where: str = "images.bin") -> list[StoredPose]:
    """Return the images' poses in the order of the file.

    Raises
    ------
    FormatError
        The bytes are cut off or not COLMAP's.
    """
    poses = []
    try:
        (count,) = struct.unpack_from("<Q", data)
        offset = 8
        for _ in range(count):
            image_id, *numbers, camera_id = struct.unpack_from("<I7dI", data, offset)
            end = data.index(b"\0", offset + 64)
            (num_points,) = struct.unpack_from("<Q", data, end + 1)
            poses.append(
                StoredPose(
                    image_id=image_id,
                    camera_id=camera_id,
                    name=data[offset + 64 : end].decode("utf-8", errors="replace"),
                    cam_from_world=_rigid(numbers),
                    num_observations=num_points,
                    observations_at=end + 9,
                )
            )
            offset = end + 9 + 24 * num_points
    except (struct.error, ValueError) as error:
        raise cut_off(where, data) from error
    check_end(where, data, offset)
    return poses


def parse_observations(data: bytes, pose: StoredPose) -> tuple[FloatArray, IntArray]:
    """Return where an image saw points: pixels (N, 2) and their ids (N,) in ``points3D.bin``.

    ``data`` and ``pose`` are what :func:`parse_poses` took and gave.
    """
    stored = np.frombuffer(
        data,
        dtype=[("xy", "<f8", (2,)), ("id", "<i8")],
        count=pose.num_observations,
        offset=pose.observations_at,
    )
    seen = stored[(stored["id"] >= 0) & np.isfinite(stored["xy"]).all(axis=1)]
    return seen["xy"].astype(np.float64), seen["id"].astype(np.int64)


def parse_views(cameras: bytes, images: bytes, frames: tuple[Frame, ...] = ()) -> tuple[View, ...]:
    """Return registered views in the order of their images' names.

    Parameters
    ----------
    frames
        What is known of the images; others are numbered in the order of the names.

    Raises
    ------
    FormatError
        As :func:`parse_cameras` and :func:`parse_poses`, or an image has a camera that is not there or a
        pose that is no rotation and shift.
    """
    known = parse_cameras(cameras)
    by_name = {frame.image: frame for frame in frames}
    views = []
    for number, pose in enumerate(sorted(parse_poses(images), key=lambda pose: pose.name)):
        if pose.camera_id not in known:
            raise FormatError(
                f"images.bin: {pose.name} has camera {pose.camera_id}, which cameras.bin lacks."
            )
        if not np.isfinite(pose.cam_from_world).all():
            raise FormatError(f"images.bin: the pose of {pose.name} is not finite.")
        frame = by_name.get(pose.name) or Frame(
            index=number + 1, image=pose.name, source_index=number, timestamp_s=None
        )
        views.append(View(frame=frame, camera=known[pose.camera_id], cam_from_world=pose.cam_from_world))
    return tuple(views)


def _rigid(numbers: list[float]) -> FloatArray:
    """Return the 4x4 matrix of a quaternion (w x y z, of any length) and a shift."""
    length = sum(value * value for value in numbers[:4])
    w, x, y, z = (value / length**0.5 if length > 0 else float("nan") for value in numbers[:4])
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), numbers[4]],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), numbers[5]],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), numbers[6]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def cut_off(where: str, data: bytes) -> FormatError:
    """Return the error of a file that ends too early."""
    return FormatError(f"{where} is cut off or not a COLMAP file ({len(data)} bytes).")


def check_end(where: str, data: bytes, offset: int) -> None:
    """Raise FormatError unless what was read ends where the bytes end."""
    if offset > len(data):
        raise cut_off(where, data)
    if offset < len(data):
        raise FormatError(f"{where} has {len(data) - offset} bytes too many; it is not a COLMAP 3 file.")
