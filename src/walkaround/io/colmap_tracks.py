"""COLMAP's binary files as arrays, observations and points included, of any camera model.

For checking many models, broken ones among them: pycolmap takes a tenth of a second a model, repairs some
faults silently and aborts on others. Nothing is put right here; every count is checked against the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError
from walkaround.io.colmap_views import check_end, cut_off
from walkaround.types import FloatArray, IntArray

NUM_PARAMS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8, 5: 8, 6: 12, 7: 5, 8: 4, 9: 5, 10: 12, 11: 16}
"""COLMAP's camera model -> number of its parameters."""
_NUM_FOCALS = {0: 1, 1: 2, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 1, 9: 1, 10: 2, 11: 2}
_POINT = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


@dataclass(frozen=True, kw_only=True)
class RawCamera:
    """One camera of ``cameras.bin``, as it is written there."""

    model_id: int
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def focals(self) -> tuple[float, ...]:
        return self.params[: _NUM_FOCALS[self.model_id]]

    @property
    def principal_point(self) -> tuple[float, float]:
        at = _NUM_FOCALS[self.model_id]
        return self.params[at], self.params[at + 1]


@dataclass(frozen=True, kw_only=True)
class RawImage:
    """One image of ``images.bin``, as it is written there."""

    camera_id: int
    name: str
    quaternion: FloatArray  # (4,) w x y z
    translation: FloatArray  # (3,)
    xy: FloatArray  # (P, 2) pixels of its observations of points
    point_ids: IntArray  # (P,)


@dataclass(frozen=True, kw_only=True)
class RawModel:
    """The three files."""

    cameras: dict[int, RawCamera]
    images: tuple[RawImage, ...]
    point_ids: IntArray  # (N,) sorted
    points_in_world: FloatArray  # (N, 3) in that order


def parse_model(cameras: bytes, images: bytes, points: bytes) -> RawModel:
    """Take the three binary files apart.

    Raises
    ------
    FormatError
        One is cut off, has bytes too many, or names a camera model that COLMAP does not have.
    """
    ids, xyz = _parse_points(points)
    order = np.argsort(ids, kind="stable")
    return RawModel(
        cameras=_parse_cameras(cameras),
        images=tuple(_parse_images(images)),
        point_ids=ids[order],
        points_in_world=xyz[order],
    )


def _parse_cameras(data: bytes) -> dict[int, RawCamera]:
    try:
        (count,) = struct.unpack_from("<Q", data)
        offset, out = 8, {}
        for _ in range(count):
            camera_id, model_id, width, height = struct.unpack_from("<IiQQ", data, offset)
            if model_id not in NUM_PARAMS:
                raise FormatError(f"cameras.bin: camera {camera_id} has the unknown model {model_id}.")
            params = struct.unpack_from(f"<{NUM_PARAMS[model_id]}d", data, offset + 24)
            out[camera_id] = RawCamera(model_id=model_id, width=width, height=height, params=params)
            offset += 24 + 8 * NUM_PARAMS[model_id]
    except struct.error as error:
        raise cut_off("cameras.bin", data) from error
    check_end("cameras.bin", data, offset)
    return out


def _parse_images(data: bytes) -> list[RawImage]:
    out = []
    try:
        (count,) = struct.unpack_from("<Q", data)
        offset = 8
        for _ in range(count):
            numbers = np.array(struct.unpack_from("<7d", data, offset + 4))
            (camera_id,) = struct.unpack_from("<I", data, offset + 60)
            end = data.index(b"\0", offset + 64)
            (num_points,) = struct.unpack_from("<Q", data, end + 1)
            seen = np.frombuffer(data, _POINT, num_points, end + 9)
            seen = seen[seen["point"] >= 0]
            out.append(
                RawImage(
                    camera_id=camera_id,
                    name=data[offset + 64 : end].decode("utf-8", errors="replace"),
                    quaternion=numbers[:4],
                    translation=numbers[4:],
                    xy=seen["xy"],
                    point_ids=seen["point"],
                )
            )
            offset = end + 9 + _POINT.itemsize * num_points
    except (struct.error, ValueError, OverflowError) as error:
        raise cut_off("images.bin", data) from error
    check_end("images.bin", data, offset)
    return out


def _parse_points(data: bytes) -> tuple[IntArray, FloatArray]:
    """Return the points' ids and places in the order of the file."""
    try:
        (count,) = struct.unpack_from("<Q", data)
        if count > len(data) // 51:
            raise cut_off("points3D.bin", data)
        starts = np.empty(count, np.int64)
        offset, read = 8, struct.Struct("<Q").unpack_from
        for number in range(count):
            starts[number] = offset
            offset += 51 + 8 * read(data, offset + 43)[0]
    except (struct.error, OverflowError) as error:
        raise cut_off("points3D.bin", data) from error
    check_end("points3D.bin", data, offset)
    rows: NDArray[np.uint8] = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(32)]
    flat = np.ascontiguousarray(rows)
    return flat[:, :8].copy().view("<i8").reshape(-1), flat[:, 8:].copy().view("<f8").reshape(-1, 3)
