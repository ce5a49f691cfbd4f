"""Reading ``transforms.json`` of nerfstudio, instant-ngp and the Blender scenes of NeRF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.exchange.axes import cam_from_world_of_opengl
from walkaround.dataset.exchange.capture import (
    GivenCapture,
    GivenView,
    image_size_wh,
    in_order,
    inside,
    number_of,
    read_json,
    rigid_of,
)
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import FormatError
from walkaround.io.pointcloud import read_ply
from walkaround.types import Camera, FloatArray

_NAME = "transforms.json"
_BLENDER_NAME = "transforms_train.json"
_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL")
_DISTORTION = ("k1", "k2", "p1", "p2")
_LEFT_OUT = "dynamic_mask_"


def find_transforms(source: Path) -> Path | None:
    """Return the JSON file of a source, a folder or the file itself."""
    if source.suffix.lower() == ".json":
        return source if source.is_file() and source.name.startswith("transforms") else None
    return next((source / name for name in (_NAME, _BLENDER_NAME) if (source / name).is_file()), None)


def read_transforms(source: Path, options: ImportOptions) -> GivenCapture:
    """Read a ``transforms.json`` and its images.

    ``applied_transform`` and ``applied_scale`` are undone for poses and points, so that the world is that of
    the first tool: nerfstudio writes the points of ``ply_file_path`` in the world of its poses.

    Raises
    ------
    FormatError
        The file or an image is missing or broken, or its lens is no pinhole with OpenCV's k1, k2, p1, p2.
    """
    path = find_transforms(source)
    if path is None:
        raise FormatError(f"{source} holds no {_NAME}.")
    meta = read_json(path)
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not isinstance(frames, list) or not frames:
        raise FormatError(f"{path} has no list of frames.")
    undo = _undo(meta, path)
    views = [
        _view(meta, frame, undo, f"{path}, frame {n}", path.parent, options) for n, frame in enumerate(frames)
    ]
    points, colors = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    if meta.get("ply_file_path") is not None:
        cloud = read_ply(inside(path.parent, meta["ply_file_path"], f"{path}: ply_file_path"))
        points = cloud.points_in_world.astype(np.float64) / undo[1] @ undo[0][:3, :3].T + undo[0][:3, 3]
        colors = np.zeros((len(points), 3), np.uint8) if cloud.colors is None else cloud.colors
    return GivenCapture(
        views=in_order(views),
        points_in_world=points,
        colors=colors,
        notes={"format": "transforms", "camera_axes": "OpenGL"},
    )


def _undo(meta: Mapping[str, Any], path: Path) -> tuple[FloatArray, float]:
    """Return ``source_from_file`` (4x4 rigid) and the scale that positions were multiplied by."""
    applied = np.eye(4)
    if meta.get("applied_transform") is not None:
        applied = rigid_of(meta["applied_transform"], f"{path}: applied_transform")
    scale = number_of(meta.get("applied_scale", 1.0), f"{path}: applied_scale", positive=True)
    return np.asarray(np.linalg.inv(applied), dtype=np.float64), scale


def _view(
    meta: Mapping[str, Any],
    frame: Any,
    undo: tuple[FloatArray, float],
    where: str,
    folder: Path,
    options: ImportOptions,
) -> GivenView:
    if not isinstance(frame, dict):
        raise FormatError(f"{where} is no object.")
    image = inside(folder, frame.get("file_path"), f"{where}: file_path")
    if not image.suffix:  # the Blender scenes leave it out
        image = image.with_name(f"{image.name}.png")
    file_from_camera = rigid_of(frame.get("transform_matrix"), f"{where}: transform_matrix")
    file_from_camera[:3, 3] /= undo[1]
    mask = _mask(frame, image, where, folder) if options.masks else None
    return GivenView(
        image=image,
        camera=_camera({**meta, **frame}, image, where),
        cam_from_world=cam_from_world_of_opengl(undo[0] @ file_from_camera),
        mask=mask,
        mask_is_inverted=mask is not None and mask.name.startswith(_LEFT_OUT),
    )


def _camera(values: Mapping[str, Any], image: Path, where: str) -> Camera:
    """Return the camera of a frame: its own values before those of the file."""
    model = values.get("camera_model", "OPENCV")
    if model not in _MODELS or values.get("is_fisheye"):
        raise FormatError(
            f"{where}: the lens is {model!r:.40}{' (fisheye)' if values.get('is_fisheye') else ''}; "
            f"supported are {', '.join(_MODELS)}. Undistort the images first."
        )
    for name in ("k3", "k4"):
        if number_of(values.get(name, 0), f"{where}: {name}") != 0:
            raise FormatError(
                f"{where}: {name} is not 0, which is not supported. Undistort the images first."
            )
    width, height = image_size_wh(image)
    for name, size in (("w", width), ("h", height)):
        if name in values and round(number_of(values[name], f"{where}: {name}")) != size:
            raise FormatError(f"{where}: {name} is {values[name]}, the image has {width}x{height} pixels.")
    fx = _focal(values, "x", width, where)
    fy = _focal(values, "y", height, where) if {"fl_y", "camera_angle_y"} & values.keys() else fx
    if fx is None or fy is None:
        raise FormatError(f"{where}: no focal length (fl_x or camera_angle_x).")
    cx = number_of(values.get("cx", width / 2), f"{where}: cx")
    cy = number_of(values.get("cy", height / 2), f"{where}: cy")
    rest = tuple(number_of(values.get(name, 0), f"{where}: {name}") for name in _DISTORTION)
    if not any(rest):
        return Camera(model="PINHOLE", width=width, height=height, params=(fx, fy, cx, cy))
    return Camera(model="OPENCV", width=width, height=height, params=(fx, fy, cx, cy, *rest))


def _focal(values: Mapping[str, Any], axis: str, size: int, where: str) -> float | None:
    if f"fl_{axis}" in values:
        return number_of(values[f"fl_{axis}"], f"{where}: fl_{axis}", positive=True)
    if f"camera_angle_{axis}" in values:
        angle = number_of(values[f"camera_angle_{axis}"], f"{where}: camera_angle_{axis}", positive=True)
        return size / 2 / math.tan(min(angle, math.pi * 0.999) / 2)
    return None


def _mask(frame: Mapping[str, Any], image: Path, where: str, folder: Path) -> Path | None:
    """Return the mask that the file names, or instant-ngp's beside the image."""
    if frame.get("mask_path") is None:
        left_out = image.with_name(f"{_LEFT_OUT}{image.stem}.png")
        return left_out if left_out.is_file() else None
    return inside(folder, frame["mask_path"], f"{where}: mask_path")
