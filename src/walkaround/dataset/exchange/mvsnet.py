"""MVSNet's folders: ``cams/%08d_cam.txt``, ``images/%08d.jpg``, ``pair.txt`` (arXiv:1804.02505).

Format and view selection: github.com/YoYo000/MVSNet, README and mvsnet/colmap2mvsnet.py. The extrinsic is
``cam_from_world`` with OpenCV's axes, K has COLMAP's pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from walkaround.dataset.exchange.base import Exporter
from walkaround.dataset.exchange.stills import Still, sparse_of, stills_of, with_points
from walkaround.dataset.readers import Scene
from walkaround.errors import FormatError
from walkaround.geometry import transform_points
from walkaround.io.atomic import write_bytes
from walkaround.io.depth import write_grey
from walkaround.types import FloatArray, IntArray, SparseModel, View

NUM_SOURCES = 10
BEST_ANGLE_DEG, SIGMA_BELOW_DEG, SIGMA_ABOVE_DEG = 5.0, 1.0, 10.0
"""The paper's theta_0, sigma_1, sigma_2: a point counts most when two views see it 5 degrees apart."""
_NEAR_SHARE, _FAR_SHARE = 0.01, 0.99


class MvsnetExporter(Exporter):
    """``cams``, ``images``, ``pair.txt`` and ``masks``."""

    def add(self, scene: Scene, folder: Path) -> None:
        stills = stills_of(scene, self.options, fit="same")
        model = with_points(scene, sparse_of(scene, stills))
        for number, (still, seen) in enumerate(zip(stills, model.observations, strict=True)):
            near, far = depth_range(still.view, model.points_in_world[seen])
            text = cam_text(still.view, near, far, self.options.planes)
            write_bytes(folder / "cams" / f"{number:08d}_cam.txt", text.encode())
            write_bytes(folder / "images" / f"{number:08d}.jpg", still.image_bytes(".jpg"))
            self._write_mask(still, folder / "masks" / f"{number:08d}.png")
        write_bytes(folder / "pair.txt", pair_text(view_scores(model)).encode())

    def _write_mask(self, still: Still, path: Path) -> None:
        mask = still.mask() if self.options.masks else None
        if mask is not None:
            write_grey(path, mask.astype(np.uint8) * np.uint8(255))


def depth_range(view: View, points: FloatArray) -> tuple[float, float]:
    """Return the depth that 1 % of a view's points are nearer than, and the one that 1 % are farther than.

    Raises
    ------
    FormatError
        The view sees no point.
    """
    depth = np.sort(transform_points(view.cam_from_world, points)[:, 2])
    depth = depth[depth > 0]
    if not len(depth):
        raise FormatError(f"{view.frame.image} sees no point, so its depth range is unknown.")
    near, far = depth[int(len(depth) * _NEAR_SHARE)], depth[int(len(depth) * _FAR_SHARE)]
    return float(near), float(max(far, near * (1 + 1e-3)))


def cam_text(view: View, near: float, far: float, planes: int) -> str:
    """Return a ``_cam.txt``: extrinsic, intrinsic, and DEPTH_MIN DEPTH_INTERVAL DEPTH_NUM DEPTH_MAX."""

    def rows(matrix: FloatArray) -> str:
        return "".join(" ".join(f"{value:.17g}" for value in row) + "\n" for row in matrix)

    interval = (far - near) / max(planes - 1, 1)
    depth = f"{near:.9g} {interval:.9g} {planes} {far:.9g}\n"
    return f"extrinsic\n{rows(view.cam_from_world)}\nintrinsic\n{rows(view.camera.K)}\n{depth}"


def view_scores(model: SparseModel) -> FloatArray:
    """Return (N, N) how well two views go together: the paper's sum over the points that both see.

    A point adds exp(-(angle - 5 deg)^2 / (2 sigma^2)), sigma 1 degree below the best angle, 10 above.
    """
    centres = np.array([view.centre for view in model.views])
    scores = np.zeros((len(centres), len(centres)))
    for i, first in enumerate(model.observations):
        for j in range(i + 1, len(centres)):
            shared = np.intersect1d(first, model.observations[j], assume_unique=True)
            scores[i, j] = scores[j, i] = _score(centres[i], centres[j], model.points_in_world[shared])
    return scores


def _score(a: FloatArray, b: FloatArray, points: FloatArray) -> float:
    to_a, to_b = a - points, b - points
    cosine = (to_a * to_b).sum(1) / np.maximum(
        np.linalg.norm(to_a, axis=1) * np.linalg.norm(to_b, axis=1), 1e-300
    )
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    sigma = np.where(angle <= BEST_ANGLE_DEG, SIGMA_BELOW_DEG, SIGMA_ABOVE_DEG)
    return float(np.exp(-((angle - BEST_ANGLE_DEG) ** 2) / (2 * sigma**2)).sum())


def pair_text(scores: FloatArray) -> str:
    """Return ``pair.txt``: the number of images, then each with its best sources and their scores."""
    lines = [str(len(scores))]
    for number, row in enumerate(scores):
        order: IntArray = np.argsort(-row, kind="stable")
        best = [int(other) for other in order if other != number][:NUM_SOURCES]
        lines += [str(number), " ".join([str(len(best)), *(f"{o} {row[o]:.6f}" for o in best)])]
    return "\n".join(lines) + "\n"
