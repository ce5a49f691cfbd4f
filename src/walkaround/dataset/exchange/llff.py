"""LLFF's ``poses_bounds.npy``: github.com/Fyusion/LLFF, "Using your own poses without running COLMAP".

A row of 17 numbers an image: a 3x5 matrix by rows, then the nearest and farthest depth. The matrix is
camera-to-world with the axes down, right, backwards, and a fifth column height, width, focal length. There is
one focal length, and the principal point is the middle of the image.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from walkaround.dataset.exchange.axes import invert_rigid
from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.nerfstudio import one_size
from walkaround.dataset.exchange.stills import sparse_of, stills_of, with_points
from walkaround.dataset.readers import Scene
from walkaround.geometry import transform_points
from walkaround.io.atomic import write_bytes
from walkaround.types import FloatArray, View

_BOUNDS_PERCENT = (0.1, 99.9)


class LlffExporter(Exporter):
    """``images/`` and ``poses_bounds.npy``, its rows in the order of the images' names."""

    def add(self, scene: Scene, folder: Path) -> None:
        stills = sorted(stills_of(scene, self.options, fit="single"), key=lambda still: still.name)
        one_size(tuple(stills), "LLFF")
        model = with_points(scene, sparse_of(scene, tuple(stills)))
        seen = {view.frame.image: o for view, o in zip(model.views, model.observations, strict=True)}
        rows = []
        for still in stills:
            write_bytes(folder / "images" / still.name, still.image_bytes())
            points = model.points_in_world[seen[still.name]]
            depth = transform_points(still.view.cam_from_world, points)[:, 2]
            bounds = np.percentile(depth[depth > 0], _BOUNDS_PERCENT)
            rows.append(np.concatenate([llff_pose(still.view).ravel(), bounds]))
        data = io.BytesIO()
        np.save(data, np.array(rows))
        write_bytes(folder / "poses_bounds.npy", data.getvalue())


def llff_pose(view: View) -> FloatArray:
    """Return the 3x5 matrix of a view."""
    world_from_cam = invert_rigid(view.cam_from_world)
    right, down, forward, centre = world_from_cam[:3].T
    camera = view.camera
    size = np.array([camera.height, camera.width, camera.K[0, 0]])
    return np.stack([down, right, -forward, centre, size], axis=1)
