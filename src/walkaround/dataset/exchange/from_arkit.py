"""Reading folders of phones' scanners: an image and a JSON file with its pose each.

Polycam's raw export (``keyframes/{images,cameras}``, or the ``corrected_`` ones; ``t_00`` ... ``t_23``,
``fx``, ``fy``, ``cx``, ``cy``): https://github.com/PolyCam/polyform. 3D Scanner App (``cameraPoseARFrame``,
``intrinsics``, by rows). Others that say ``transform`` or ``transform_matrix``. All are ARKit's:
camera-to-world in metres, camera axes x right, y up, z back, a world with y up, which is turned to z up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.exchange.axes import Z_UP_FROM_Y_UP, cam_from_world_of_opengl
from walkaround.dataset.exchange.capture import (
    GivenCapture,
    GivenView,
    image_size_wh,
    images_in,
    in_order,
    mask_beside,
    matrix_of,
    number_of,
    pinhole_camera,
    read_json,
    rigid_of,
)
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.errors import FormatError
from walkaround.types import Camera, FloatArray

_PLACES = (
    ("keyframes/corrected_images", "keyframes/corrected_cameras"),
    ("keyframes/images", "keyframes/cameras"),
    ("corrected_images", "corrected_cameras"),
    ("images", "cameras"),
    (".", "."),
    ("images", "."),
    ("images", "images"),
)
_POSES = ("cameraPoseARFrame", "transform", "transform_matrix")


def find_arkit(source: Path) -> tuple[Path, Path] | None:
    """Return the folders of images and of cameras; None when this is no such source."""
    for images, cameras in _PLACES:
        if images_in(source / images) and _pairs(source / images, source / cameras, first_only=True):
            return source / images, source / cameras
    return None


def read_arkit(source: Path, options: ImportOptions) -> GivenCapture:
    """Read images with poses in JSON files of the same names.

    Raises
    ------
    FormatError
        There are none, or one is broken.
    """
    places = find_arkit(source)
    if places is None:
        raise FormatError(f"{source} holds no images with a JSON file of the same name that states a pose.")
    masks = (source / "masks", places[0].parent / "masks") if options.masks else ()
    pairs = _pairs(*places)
    views = []
    for image, path in pairs:
        values = read_json(path)
        size_wh = image_size_wh(image)
        views.append(
            GivenView(
                image=image,
                camera=_camera(values, size_wh, str(path)),
                cam_from_world=cam_from_world_of_opengl(Z_UP_FROM_Y_UP @ _pose(values, str(path))),
                mask=mask_beside(masks, image),
            )
        )
    used = {image for image, _ in pairs}
    return GivenCapture(
        views=in_order(views),
        others=tuple(image for image in images_in(places[0]) if image not in used),
        metric=True,
        notes={"format": "arkit", "camera_axes": "OpenGL", "world_turned": "y up to z up"},
    )


def _pairs(images: Path, cameras: Path, *, first_only: bool = False) -> list[tuple[Path, Path]]:
    """Return images with the JSON file of their stem, if it states a pose."""
    out = []
    for image in images_in(images):
        path = cameras / f"{image.stem}.json"
        if path.is_file() and _states_pose(path):
            out.append((image, path))
            if first_only:
                break
    return out


def _states_pose(path: Path) -> bool:
    try:
        values = read_json(path)
    except FormatError:
        return True  # broken ones are said when they are read
    return isinstance(values, dict) and ("t_00" in values or any(name in values for name in _POSES))


def _pose(values: Any, where: str) -> FloatArray:
    """Return the 4x4 camera-to-world matrix."""
    if not isinstance(values, dict):
        raise FormatError(f"{where} is no object.")
    if "t_00" in values:
        numbers = [values.get(f"t_{row}{column}") for row in range(3) for column in range(4)]
        return rigid_of(numbers, f"{where}: t_00 ... t_23")
    name = next((name for name in _POSES if name in values), None)
    if name is None:
        raise FormatError(f"{where} states no pose (t_00 ..., {', '.join(_POSES)}).")
    return rigid_of(values[name], f"{where}: {name}")


def _camera(values: Mapping[str, Any], size_wh: tuple[int, int], where: str) -> Camera:
    """Return the camera for the image as it is: intrinsics for another size are scaled."""
    if "intrinsics" in values:
        K = matrix_of(values["intrinsics"], (3, 3), f"{where}: intrinsics")
    else:
        K = np.eye(3)
        for name, (row, column) in {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}.items():
            K[row, column] = number_of(values.get(name), f"{where}: {name}", positive=column < 2)
    if K[0, 0] <= 0 or K[1, 1] <= 0 or abs(K[0, 1]) > 1e-6 * K[0, 0]:
        raise FormatError(f"{where}: the intrinsics are no pinhole with fx, fy, cx, cy by rows.")
    stated = (values.get("width", values.get("w")), values.get("height", values.get("h")))
    if not all(isinstance(side, int) and side > 0 for side in stated):
        return pinhole_camera(K, size_wh)
    camera = pinhole_camera(K, (int(stated[0] or 0), int(stated[1] or 0)))
    return camera if stated == size_wh else camera.scaled(*size_wh)
