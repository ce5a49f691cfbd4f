"""CO3D's annotations, as uCO3D and Implicitron read them: github.com/facebookresearch/co3d, data_types.py

Cameras are PyTorch3D's (pytorch3d.org/docs/cameras): points are rows, ``X_cam = X_world @ R + T``; x left,
y up, z forward; focal length and principal point in NDC, where +1 is the left and upper edge of the image.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from walkaround.dataset.exchange.base import About, Exporter
from walkaround.dataset.exchange.options import ExportOptions
from walkaround.dataset.exchange.stills import Still, stills_of
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.io.atomic import write_bytes
from walkaround.io.depth import write_grey
from walkaround.io.pointcloud import write_ply
from walkaround.types import View

PYTORCH3D_FROM_OPENCV = np.diag([-1.0, -1.0, 1.0])
UNKNOWN_TIME = -1.0


class Co3dExporter(Exporter):
    """``<category>/{frame,sequence}_annotations.jgz``, ``<category>/<sequence>/{images,masks,depths}``."""

    one_dataset = True

    def __init__(self, out: Path, options: ExportOptions, about: About) -> None:
        super().__init__(out, options, about)
        self._frames: dict[str, list[dict[str, Any]]] = {}
        self._sequences: dict[str, list[dict[str, Any]]] = {}

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options, fit="same")
        frames = [self._frame(still, folder, number) for number, still in enumerate(stills)]
        self._frames.setdefault(scene.class_label, []).extend(frames)
        self._sequences.setdefault(scene.class_label, []).append(self._sequence(scene, folder))

    def finish(self) -> None:
        for category, frames in self._frames.items():
            sequences = self._sequences[category]
            for name, values in (("frame", frames), ("sequence", sequences)):
                data = gzip.compress(json.dumps(values).encode(), mtime=0)
                write_bytes(self.out / category / f"{name}_annotations.jgz", data)

    def _frame(self, still: Still, folder: Path, number: int) -> dict[str, Any]:
        camera, frame = still.camera, still.source.frame
        suffix = Path(still.name).suffix
        image = folder / "images" / f"frame{number:06d}{suffix}"
        write_bytes(image, still.image_bytes())
        return {
            "sequence_name": still.scene.instance_id,
            "frame_number": number,
            "frame_timestamp": UNKNOWN_TIME if frame.timestamp_s is None else frame.timestamp_s,
            "image": {"path": self._path(image), "size": [camera.height, camera.width]},
            "depth": self._depth(still, folder, number),
            "mask": self._mask(still, folder, number),
            "viewpoint": viewpoint(still.view, self.options.ndc),
            "meta": None,
        }

    def _mask(self, still: Still, folder: Path, number: int) -> dict[str, Any] | None:
        mask = still.mask() if self.options.masks else None
        if mask is None:
            return None
        path = folder / "masks" / f"frame{number:06d}.png"
        write_grey(path, mask.astype(np.uint8) * np.uint8(255))
        return {"path": self._path(path), "mass": float(mask.sum())}

    def _depth(self, still: Still, folder: Path, number: int) -> dict[str, Any] | None:
        """Write depth as CO3D does: half floats whose 16 bits are the values of a PNG."""
        found = still.depth() if self.options.depth else None
        if found is None:
            return None
        depth, valid = found
        bits = np.where(valid, depth, 0).astype(np.float16).view(np.uint16)
        ok, data = cv2.imencode(".png", bits)
        if not ok:
            raise FormatError(f"{still.scene.key}: the depth of {still.name} cannot be written as PNG.")
        path = folder / "depths" / f"frame{number:06d}.jpg.geometric.png"
        write_bytes(path, bytes(data))
        where = folder / "depth_masks" / f"frame{number:06d}.png"
        write_grey(where, valid.astype(np.uint8) * np.uint8(255))
        return {"path": self._path(path), "scale_adjustment": 1.0, "mask_path": self._path(where)}

    def _sequence(self, scene: Scene, folder: Path) -> dict[str, Any]:
        cloud = scene.read_cloud()
        points = None
        if cloud is not None:
            write_ply(folder / "pointcloud.ply", cloud)
            count = len(cloud.points_in_world)
            points = {
                "path": self._path(folder / "pointcloud.ply"),
                "quality_score": float(count),
                "n_points": count,
            }
        scores = scene.record.scores if scene.record is not None else {}
        return {
            "sequence_name": scene.instance_id,
            "category": scene.class_label,
            "video": None,
            "point_cloud": points,
            "viewpoint_quality_score": scores.get("camera_consistency"),
        }

    def _path(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()


def viewpoint(view: View, ndc: Literal["isotropic", "norm_image_bounds"]) -> dict[str, Any]:
    """Return a ``ViewpointAnnotation``.

    NDC ``isotropic`` divides by half the shorter side, ``norm_image_bounds`` by half of each side.
    """
    camera, K = view.camera, view.camera.K
    half = np.array([camera.width, camera.height]) / 2
    unit = np.full(2, half.min()) if ndc == "isotropic" else half
    R = (PYTORCH3D_FROM_OPENCV @ view.cam_from_world[:3, :3]).T
    T = PYTORCH3D_FROM_OPENCV @ view.cam_from_world[:3, 3]
    return {
        "R": R.tolist(),
        "T": T.tolist(),
        "focal_length": (K[[0, 1], [0, 1]] / unit).tolist(),
        "principal_point": ((half - K[:2, 2]) / unit).tolist(),
        "intrinsics_format": f"ndc_{ndc}",
    }
