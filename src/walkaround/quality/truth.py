"""Read what is known to be true about a capture: ``cameras.json`` with masks, depth and mesh beside it.

Also read: ``reference.json`` (cameras of one trusted reconstruction, poses as wxyz and xyz, nothing else).
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.io.image import read_stored
from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class TruthFrame:
    """One frame of the truth."""

    image: str
    source_index: int
    """0-based: as written, or else the position in the natural order of the names."""
    timestamp_s: float | None
    cam_from_world: FloatArray  # (4, 4)
    K: FloatArray | None  # (3, 3)
    size_wh: tuple[int, int] | None = None
    """Width and height of the image in pixels."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A truth folder. Masks, depth and mesh are optional and read when asked for."""

    folder: Path
    frames: tuple[TruthFrame, ...]

    @property
    def mesh_path(self) -> Path | None:
        """The mesh, if there is one."""
        path = self.folder / "mesh.ply"
        return path if path.is_file() else None

    def mask(self, frame: TruthFrame) -> BoolArray | None:
        """The object's visible pixels (H, W), or None when there is no mask."""
        path = self.folder / "masks" / f"{Path(frame.image).stem}.png"
        if not path.is_file():
            return None
        values = read_stored(path, cv2.IMREAD_GRAYSCALE)
        if values is None:
            raise FormatError(f"{path} is not a readable mask.")
        return np.asarray(values > 127)

    def depth(self, frame: TruthFrame) -> Float32Array | None:
        """z-depth (H, W) of the object, 0 where there is nothing of it; None when there is no file."""
        path = self.folder / "depth" / f"{Path(frame.image).stem}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                depth = arrays["depth"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(f"{path} holds no array named depth: {error}.") from error
        if depth.ndim != 2 or depth.dtype.kind != "f":
            raise FormatError(
                f"{path}: depth has shape {depth.shape} and type {depth.dtype}, not (H, W) float."
            )
        return np.asarray(depth, dtype=np.float32)


def read_truth(path: Path) -> Truth:
    """Read a truth folder, or the JSON file in it.

    Raises
    ------
    FormatError
        The cameras are missing or malformed.
    """
    file = path
    if path.is_dir():
        file = next((path / n for n in ("cameras.json", "reference.json") if (path / n).is_file()), path)
    if not file.is_file():
        raise FormatError(f"{path} holds neither cameras.json nor reference.json; see docs/format.md.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file} is not readable JSON: {error}.") from error
    entries = record.get("frames") if isinstance(record, dict) else None
    if not isinstance(entries, list) or not entries:
        raise FormatError(f"{file} has no list of frames.")
    frames = [_frame(entry, number, file) for number, entry in enumerate(entries)]
    if len({frame.image for frame in frames}) != len(frames):
        raise FormatError(f"{file} names an image twice.")
    order = sorted(frames, key=lambda frame: _natural_key(frame.image))
    position = {frame.image: number for number, frame in enumerate(order)}
    numbered = [
        TruthFrame(
            image=frame.image,
            source_index=frame.source_index if frame.source_index >= 0 else position[frame.image],
            timestamp_s=frame.timestamp_s,
            cam_from_world=frame.cam_from_world,
            K=frame.K,
            size_wh=frame.size_wh,
        )
        for frame in frames
    ]
    if len({frame.source_index for frame in numbered}) != len(numbered):
        raise FormatError(f"{file} gives a source_index twice.")
    return Truth(folder=file.parent, frames=tuple(numbered))


def read_mesh(path: Path) -> tuple[FloatArray, IntArray]:
    """Read vertices (V, 3) and triangles (F, 3).

    Raises
    ------
    FormatError
        The file is no triangle mesh.
    """
    import trimesh

    try:
        mesh: Any = trimesh.load(str(path), process=False, force="mesh")
        vertices = np.asarray(mesh.vertices, dtype=np.float64)
        faces = np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise FormatError(f"{path} is not a readable mesh: {error}.") from error
    if vertices.ndim != 2 or not len(faces) or not np.isfinite(vertices).all():
        raise FormatError(f"{path} has no triangles.")
    return vertices, faces


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _frame(entry: Any, number: int, file: Path) -> TruthFrame:
    where = f"{file}, frame {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise FormatError(f"{where}: no image name.")
    name = entry["image"]
    if not name or Path(name).name != name:
        raise FormatError(f"{where}: the image {name!r} must be a plain file name.")
    if "cam_from_world" in entry:
        pose = _array(entry["cam_from_world"], (4, 4), f"{where}: cam_from_world")
    else:
        pose = np.eye(4)
        pose[:3, :3] = _rotation(
            _array(entry.get("cam_from_world_wxyz"), (4,), f"{where}: cam_from_world_wxyz")
        )
        pose[:3, 3] = _array(entry.get("cam_from_world_xyz"), (3,), f"{where}: cam_from_world_xyz")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise FormatError(f"{where}: cam_from_world holds no rotation.")
    time, index = entry.get("timestamp_s"), entry.get("source_index", -1)
    if not isinstance(index, int) or not (time is None or isinstance(time, int | float)):
        raise FormatError(f"{where}: source_index must be a whole number, timestamp_s a number.")
    K = _array(entry["K"], (3, 3), f"{where}: K") if "K" in entry else None
    width, height = entry.get("width"), entry.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    return TruthFrame(
        image=name, source_index=index, timestamp_s=time, cam_from_world=pose, K=K,
        size_wh=size,
    )  # fmt: skip


def _array(value: Any, shape: tuple[int, ...], what: str) -> FloatArray:
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{what} is not made of numbers: {error}.") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise FormatError(f"{what} has shape {array.shape}, not {shape}, or is not finite.")
    return array


def _rotation(wxyz: FloatArray) -> FloatArray:
    norm = float(np.linalg.norm(wxyz))
    w, x, y, z = wxyz / (norm if norm > 1e-9 else 1.0)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
