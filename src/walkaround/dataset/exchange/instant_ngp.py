"""instant-ngp's ``transforms.json``: github.com/NVlabs/instant-ngp, docs/nerf_dataset_tips.md, nerf_loader.cu

As nerfstudio's, but points are not read, masks say what to leave out, and the depth's step is in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from walkaround.dataset.exchange.axes import world_from_opengl_camera
from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.nerfstudio import intrinsics
from walkaround.dataset.exchange.stills import Still, stills_of
from walkaround.dataset.readers import Scene
from walkaround.io.atomic import write_bytes, write_json
from walkaround.io.depth import DEPTH_SCALE, encode_depth_steps, write_grey

AABB_SCALE = 4
"""How many unit cubes the scene may fill. instant-ngp shrinks the world to a third, so that cameras 1 away
stay inside."""


class InstantNgpExporter(Exporter):
    """``transforms.json`` with images, ``dynamic_mask_*.png`` beside them, and depth."""

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options)
        frames = [self._frame(still, folder) for still in stills]
        transforms: dict[str, Any] = intrinsics(stills[0].camera)
        if len({still.camera for still in stills}) > 1:
            for frame, still in zip(frames, stills, strict=True):
                frame |= intrinsics(still.camera)
        transforms |= {"aabb_scale": AABB_SCALE}
        if any("depth_path" in frame for frame in frames):
            transforms |= {"enable_depth_loading": True, "integer_depth_scale": _step(scene)}
        write_json(folder / "transforms.json", {**transforms, "frames": frames})

    def _frame(self, still: Still, folder: Path) -> dict[str, Any]:
        write_bytes(folder / "images" / still.name, still.image_bytes())
        frame: dict[str, Any] = {
            "file_path": f"images/{still.name}",
            "transform_matrix": world_from_opengl_camera(still.view.cam_from_world).tolist(),
        }
        mask = still.mask() if self.options.masks else None
        if mask is not None:  # what is not black there is left out
            path = folder / "images" / f"dynamic_mask_{still.stem}.png"
            write_grey(path, np.where(mask, 0, 255).astype(np.uint8))
        depth = still.depth() if self.options.depth else None
        if depth is not None:
            frame["depth_path"] = f"depth/{still.stem}.png"
            path = folder / "depth" / f"{still.stem}.png"
            write_bytes(path, encode_depth_steps(*depth, _step(still.scene)))
        return frame


def _step(scene: Scene) -> float:
    """Return the world's units a step of the depth maps."""
    return scene.record.depth_scale if scene.record is not None else DEPTH_SCALE
