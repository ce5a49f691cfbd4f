"""Reading truth folders: ``cameras.json`` and ``reference.json`` (docs/format.md). Our own conventions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.exchange.capture import (
    GivenCapture,
    GivenView,
    image_size_wh,
    images_in,
    in_order,
    inside,
    mask_beside,
    matrix_of,
    number_of,
    pinhole_camera,
    read_json,
    rigid_of,
)
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import FormatError
from walkaround.types import CAMERA_MODELS, Camera, FloatArray

_NAMES = ("cameras.json", "reference.json")
_NUM_PARAMS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8}


def find_truth(source: Path) -> Path | None:
    """Return the JSON file of a source."""
    if source.is_file():
        return source if source.name in _NAMES else None
    return next((source / name for name in _NAMES if (source / name).is_file()), None)


def read_truth_cameras(source: Path, options: ImportOptions) -> GivenCapture:
    """Read a truth folder with ``images/`` (or images beside the JSON) and ``masks/``.

    Raises
    ------
    FormatError
        Something is missing or broken.
    """
    path = find_truth(source)
    if path is None:
        raise FormatError(f"{source} holds neither cameras.json nor reference.json.")
    record = read_json(path)
    frames = record.get("frames") if isinstance(record, dict) else None
    if not isinstance(frames, list) or not frames:
        raise FormatError(f"{path} has no list of frames.")
    folder = path.parent / "images" if images_in(path.parent / "images") else path.parent
    masks = (path.parent / "masks",) if options.masks else ()
    views = []
    for number, frame in enumerate(frames):
        where = f"{path}, frame {number}"
        if not isinstance(frame, dict):
            raise FormatError(f"{where} is no object.")
        image = inside(folder, frame.get("image"), f"{where}: image")
        views.append(
            GivenView(
                image=image,
                camera=_camera(record, frame, image_size_wh(image), where),
                cam_from_world=_pose(frame, where),
                mask=mask_beside(masks, image),
            )
        )
    used = {view.image for view in views}
    return GivenCapture(
        views=in_order(views),
        others=tuple(image for image in images_in(folder) if image not in used),
        metric=record.get("units") == "m",
        notes={"format": "truth"},
    )


def _pose(frame: Mapping[str, Any], where: str) -> FloatArray:
    if "cam_from_world" in frame:
        return rigid_of(frame["cam_from_world"], f"{where}: cam_from_world")
    wxyz = matrix_of(frame.get("cam_from_world_wxyz"), (4,), f"{where}: cam_from_world_wxyz")
    length = float(np.linalg.norm(wxyz))
    if length < 1e-9:
        raise FormatError(f"{where}: cam_from_world_wxyz is zero.")
    w, x, y, z = wxyz / length
    out = np.eye(4)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, 3] = matrix_of(frame.get("cam_from_world_xyz"), (3,), f"{where}: cam_from_world_xyz")
    return out


def _camera(
    record: Mapping[str, Any], frame: Mapping[str, Any], size_wh: tuple[int, int], where: str
) -> Camera:
    if "K" in frame:
        K = matrix_of(frame["K"], (3, 3), f"{where}: K")
        if K[0, 0] <= 0 or K[1, 1] <= 0 or K[0, 1] != 0:
            raise FormatError(f"{where}: K is no pinhole without skew.")
        return pinhole_camera(K, size_wh)
    value = frame.get("camera", record.get("camera"))
    if not isinstance(value, dict) or value.get("model") not in CAMERA_MODELS:
        raise FormatError(
            f"{where}: neither K nor a camera with one of the models {', '.join(CAMERA_MODELS)}."
        )
    params = matrix_of(value.get("params"), (_NUM_PARAMS[value["model"]],), f"{where}: params")
    size = tuple(round(number_of(value.get(name), f"{where}: {name}")) for name in ("width", "height"))
    if size != size_wh:
        raise FormatError(
            f"{where}: its camera is for {size[0]}x{size[1]}, the image has {size_wh[0]}x{size_wh[1]}."
        )
    return Camera(
        model=value["model"], width=size_wh[0], height=size_wh[1], params=tuple(float(p) for p in params)
    )
