"""nerfstudio's ``transforms.json``: https://docs.nerf.studio/quickstart/data_conventions.html

Camera-to-world matrices with OpenGL's camera axes, a world with z up, pixels as COLMAP counts them, OpenCV's
distortion. Depth maps are 16-bit PNG; nerfstudio's default step is 0.001 of the world's unit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.exchange.axes import world_from_opengl_camera
from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.stills import Still, stills_of
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes, write_json
from walkaround.io.depth import encode_depth_steps, write_grey
from walkaround.io.pointcloud import write_ply
from walkaround.types import Camera, PointCloud

DEPTH_STEP = 1e-3
"""nerfstudio's ``depth_unit_scale_factor``, which no file can change. Deepest: 65.5 units."""
PLY_NAME = "points.ply"


class NerfstudioExporter(Exporter):
    """``transforms.json`` with images, masks, depth and points beside it."""

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options)
        has_masks = self.options.masks and all(still.has_mask for still in stills)
        has_depth = self.options.depth and all(still.has_depth for still in stills)
        frames = [self._frame(still, folder, masks=has_masks, depth=has_depth) for still in stills]
        transforms: dict[str, Any] = {"camera_model": "OPENCV"}
        cameras = {still.camera for still in stills}
        if len(cameras) == 1:
            transforms |= intrinsics(cameras.pop())
        else:
            for frame, still in zip(frames, stills, strict=True):
                frame |= intrinsics(still.camera)
        transforms["applied_transform"] = np.eye(4)[:3].tolist()
        if write_points(folder / PLY_NAME, scene):
            transforms["ply_file_path"] = PLY_NAME
        write_json(folder / "transforms.json", {**transforms, "frames": frames})

    def _frame(self, still: Still, folder: Path, *, masks: bool, depth: bool) -> dict[str, Any]:
        """Write the files of an image and return its entry.

        nerfstudio wants masks, and depth, of all images or of none.
        """
        write_bytes(folder / "images" / still.name, still.image_bytes())
        frame: dict[str, Any] = {
            "file_path": f"images/{still.name}",
            "transform_matrix": world_from_opengl_camera(still.view.cam_from_world).tolist(),
        }
        mask, map_ = still.mask() if masks else None, still.depth() if depth else None
        if mask is not None:
            frame["mask_path"] = f"masks/{still.stem}.png"
            write_grey(folder / "masks" / f"{still.stem}.png", mask.astype(np.uint8) * np.uint8(255))
        if map_ is not None:
            frame["depth_file_path"] = f"depths/{still.stem}.png"
            write_bytes(folder / "depths" / f"{still.stem}.png", encode_depth_steps(*map_, DEPTH_STEP))
        return frame


def intrinsics(camera: Camera) -> dict[str, Any]:
    """Return the intrinsics as ``transforms.json`` names them."""
    K, (k1, k2, p1, p2) = camera.K, camera.distortion
    return {
        "w": camera.width, "h": camera.height,
        "fl_x": float(K[0, 0]), "fl_y": float(K[1, 1]), "cx": float(K[0, 2]), "cy": float(K[1, 2]),
        "k1": float(k1), "k2": float(k2), "p1": float(p1), "p2": float(p2),
    }  # fmt: skip


def write_points(path: Path, scene: Scene) -> bool:
    """Write the sparse points, or the cloud where there are none; return whether there are any."""
    model = scene.read_sparse()
    if model is not None and len(model.points_in_world):
        points = model.points_in_world.astype(np.float32)
        write_ply(path, PointCloud(points_in_world=points, colors=model.colors))
        return True
    cloud = scene.read_cloud()
    if cloud is None or not len(cloud.points_in_world):
        return False
    write_ply(path, cloud)
    return True


def one_size(stills: tuple[Still, ...], format_name: str) -> tuple[int, int]:
    """Return the width and height that all images share.

    Raises
    ------
    FormatError
        They have several.
    """
    sizes = {(still.camera.width, still.camera.height) for still in stills}
    if len(sizes) != 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:4])
        raise FormatError(
            f"{stills[0].scene.key} has images of several sizes ({listed}); {format_name} knows one. "
            "Export it to another format, or leave --crop out."
        )
    return sizes.pop()
