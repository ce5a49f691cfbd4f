"""Faults as people meet them, planted into whole scenes; for the tests and ``benchmarks/audit.py``.

Each function breaks a copy of a scene in MVImgNet 2.0's layout and returns the codes that an audit must find.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.dataset.audit import AuditOptions
from walkaround.dataset.audit.scene import audit_scenes
from walkaround.dataset.readers import Scene
from walkaround.io.colmap import load_pycolmap

Planter = Callable[[Path], set[str]]


def images(scene: Path) -> list[Path]:
    return sorted((scene / "images").iterdir())


def masks(scene: Path) -> list[Path]:
    return sorted((scene / "masks").iterdir())


def missing_image(scene: Path) -> set[str]:
    images(scene)[3].unlink()
    return {"missing_image"}


def missing_images(scene: Path) -> set[str]:
    for path in images(scene)[-3:]:
        path.unlink()
    return {"missing_image"}


def empty_image(scene: Path) -> set[str]:
    images(scene)[2].write_bytes(b"")
    return {"unreadable_image"}


def no_image(scene: Path) -> set[str]:
    images(scene)[4].write_bytes(b"<html>404 Not Found</html>")
    return {"unreadable_image"}


def cut_off_image(scene: Path) -> set[str]:
    path = images(scene)[5]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"cut_off_image"}


def no_sparse(scene: Path) -> set[str]:
    shutil.rmtree(scene / "sparse")
    return {"no_cameras"}


def empty_sparse(scene: Path) -> set[str]:
    for path in (scene / "sparse" / "0").iterdir():
        path.write_bytes(struct.pack("<Q", 0))
    return {"no_cameras"}


def cut_off_sparse(scene: Path) -> set[str]:
    path = scene / "sparse" / "0" / "images.bin"
    path.write_bytes(path.read_bytes()[:-1000])
    return {"broken_sparse"}


def cut_off_points(scene: Path) -> set[str]:
    path = scene / "sparse" / "0" / "points3D.bin"
    path.write_bytes(path.read_bytes()[:-7])
    return {"broken_sparse"}


def partial_cameras(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        keep = sorted(image.name for image in model.images.values())[:5]
        for image in list(model.images.values()):
            if image.name not in keep:
                model.deregister_frame(image.frame_id)
    return {"partial_cameras"}


def wrong_suffix(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        for image in model.images.values():
            image.name = image.name.replace(".jpg", ".png")
    return {"wrong_names"}


def wrong_folder(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        for image in model.images.values():
            image.name = f"/home/somebody/images/{int(image.name[:-4])}.jpg"
    return {"wrong_names"}


def resized_images(scene: Path) -> set[str]:
    for path in images(scene):
        image = cv2.imread(str(path))
        cv2.imwrite(str(path), cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    for path in masks(scene):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return {"wrong_camera_size"}


def one_resized_image(scene: Path) -> set[str]:
    for folder in (images, masks):
        path = folder(scene)[4]
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return {"wrong_camera_size"}


def swapped_size(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        for camera in model.cameras.values():
            camera.width, camera.height = camera.height, camera.width
    return {"wrong_camera_size"}


def absurd_focal(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        for camera in model.cameras.values():
            camera.params = [1.0, *camera.params[1:]]
    return {"bad_intrinsics"}


def no_masks(scene: Path) -> set[str]:
    shutil.rmtree(scene / "masks")
    return {"no_masks"}


def missing_mask(scene: Path) -> set[str]:
    masks(scene)[1].unlink()
    return {"missing_mask"}


def small_masks(scene: Path) -> set[str]:
    for path in masks(scene):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return {"wrong_mask_size"}


def empty_mask(scene: Path) -> set[str]:
    _change_mask(scene, 2, np.zeros_like)
    return {"empty_mask"}


def full_mask(scene: Path) -> set[str]:
    _change_mask(scene, 6, lambda mask: np.full_like(mask, 255))
    return {"full_mask"}


def inverted_mask(scene: Path) -> set[str]:
    _change_mask(scene, 4, lambda mask: 255 - mask)
    return {"inverted_mask"}


def shifted_mask(scene: Path) -> set[str]:
    _change_mask(scene, 3, lambda mask: np.roll(mask, mask.shape[1] // 3, axis=1))
    return {"masks_disagree"}


def other_object(scene: Path) -> set[str]:
    def corner(mask: np.ndarray) -> np.ndarray:
        out = np.zeros_like(mask)
        height, width = mask.shape
        cv2.ellipse(out, (width // 6, height // 5), (width // 10, height // 8), 0, 0, 360, 255, -1)
        return out

    for number in (0, 5):
        _change_mask(scene, number, corner)
    return {"masks_disagree"}


def two_models(scene: Path) -> set[str]:
    shutil.copytree(scene / "sparse" / "0", scene / "sparse" / "1")
    return {"disconnected_model"}


def two_parts(scene: Path) -> set[str]:
    with changed_model(scene) as model:
        names = sorted(image.name for image in model.images.values())
        first = {image.image_id for image in model.images.values() if image.name in names[: len(names) // 2]}
        for number, point in enumerate(sorted(model.points3D)):
            seen = [(item.image_id, item.point2D_idx) for item in model.points3D[point].track.elements]
            for image_id, place in seen:
                if (image_id in first) == bool(number % 2) and model.exists_point3D(point):
                    model.delete_observation(image_id, place)
    return {"disconnected_model"}


def not_finite(scene: Path) -> set[str]:
    path = scene / "sparse" / "0" / "images.bin"
    data = bytearray(path.read_bytes())
    data[12:20] = struct.pack("<d", float("nan"))
    path.write_bytes(bytes(data))
    return {"bad_pose"}


def one_place(scene: Path) -> set[str]:
    _move(scene, lambda rotation, _: (rotation, np.zeros(3)))
    return {"no_parallax"}


def inverted_poses(scene: Path) -> set[str]:
    _move(scene, lambda rotation, shift: (rotation.T, -rotation.T @ shift))
    return {"poses_disagree"}


def behind(scene: Path) -> set[str]:
    turn = np.diag([-1.0, 1.0, -1.0])
    _move(scene, lambda rotation, shift: (turn @ rotation, turn @ shift))
    return {"points_behind"}


FAULTS: dict[str, Planter] = {
    function.__name__: function
    for function in (
        missing_image, missing_images, empty_image, no_image, cut_off_image, no_sparse, empty_sparse,
        cut_off_sparse, cut_off_points, partial_cameras, wrong_suffix, wrong_folder, resized_images,
        one_resized_image, swapped_size, absurd_focal, no_masks, missing_mask, small_masks, empty_mask,
        full_mask, inverted_mask, shifted_mask, other_object, two_models, two_parts, not_finite,
        one_place, inverted_poses, behind,
    )
}  # fmt: skip
"""Name -> how it is planted."""
ALSO = {"inverted_poses": {"no_parallax"}}
"""Fault -> what it can show as instead: cameras on a circle, inverted, stand in one place."""


class changed_model:
    """Open a scene's COLMAP model, and write it again at the end."""

    def __init__(self, scene: Path) -> None:
        self.folder = scene / "sparse" / "0"
        self.model = load_pycolmap().Reconstruction(str(self.folder))

    def __enter__(self) -> object:
        return self.model

    def __exit__(self, *_: object) -> None:
        self.model.write_binary(str(self.folder))
        for name in ("rigs.bin", "frames.bin"):
            (self.folder / name).unlink(missing_ok=True)


def _change_mask(scene: Path, number: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = masks(scene)[number]
    cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))


def _move(scene: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Change the poses in ``images.bin`` and nothing else."""
    pycolmap = load_pycolmap()
    path = scene / "sparse" / "0" / "images.bin"
    data = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<Q", data)
    offset = 8
    for _ in range(count):
        w, x, y, z, *shift = struct.unpack_from("<7d", data, offset + 4)
        rotation = pycolmap.Rotation3d(np.array([x, y, z, w])).matrix()
        turned, moved = change(rotation, np.array(shift))
        x, y, z, w = pycolmap.Rotation3d(turned).quat
        struct.pack_into("<7d", data, offset + 4, w, x, y, z, *moved)
        end = data.index(b"\0", offset + 64)
        (num_points,) = struct.unpack_from("<Q", data, end + 1)
        offset = end + 9 + 24 * num_points
    path.write_bytes(bytes(data))


def audit_or_die(scenes: list[Scene], options: AuditOptions, *, progress: Any) -> list[dict[str, Any]]:
    """Audit scenes, and abort at one of them as a broken decoder would."""
    for scene in scenes:
        progress(scene.key, 0.0)
        if scene.instance_id == "0a00b2":
            os.abort()
    return audit_scenes(scenes, options, progress=progress)
