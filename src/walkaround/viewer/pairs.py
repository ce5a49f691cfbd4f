"""Two frames beside each other: the points that both see, and where a pixel of one can lie in the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.dataset.readers.scene import SPARSE, Scene
from walkaround.geometry import normalised_rays, project, transform_points
from walkaround.io.colmap_views import parse_observations, parse_poses
from walkaround.types import FloatArray, IntArray, View

_STEPS = 96
_NEAREST, _FARTHEST = 0.05, 50.0
"""The part of a ray that is looked at, in distances of the camera from the object."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Points of structure from motion that two frames both see."""

    first_px: FloatArray  # (M, 2) where they were found
    second_px: FloatArray  # (M, 2)
    residual_px: FloatArray  # (M,) of the second from the epipolar line of the first
    angle_deg: float
    """Between the two cameras, seen from the object."""


def read_observations(scene: Scene) -> dict[str, tuple[FloatArray, IntArray]]:
    """Return image name -> pixels (N, 2) and ids (N,) of the points it sees; empty unless COLMAP's binary.

    Raises
    ------
    FormatError
        ``images.bin`` is broken.
    """
    if (scene.files.size(f"{SPARSE}/images.bin") or 0) <= 8:
        return {}
    data = scene.files.read(f"{SPARSE}/images.bin")
    return {pose.name: parse_observations(data, pose) for pose in parse_poses(data)}


def match(
    first: View, second: View, observations: dict[str, tuple[FloatArray, IntArray]], centre: FloatArray
) -> Matches:
    """Return what two views both see.

    Parameters
    ----------
    observations
        As :func:`read_observations` gives them.
    centre
        (3,) the object, for the angle.
    """
    nothing = np.empty((0, 2)), np.empty(0, np.int64)
    (pixels, ids), (other_pixels, other_ids) = (
        observations.get(view.frame.image, nothing) for view in (first, second)
    )
    _, here, there = np.intersect1d(ids, other_ids, return_indices=True)
    rays = [view.centre - centre for view in (first, second)]
    cosine = float(rays[0] @ rays[1] / max(float(np.linalg.norm(rays[0]) * np.linalg.norm(rays[1])), 1e-12))
    return Matches(
        first_px=pixels[here],
        second_px=other_pixels[there],
        residual_px=residuals(first, second, pixels[here], other_pixels[there]),
        angle_deg=float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
    )


def epipolar_curve(first: View, second: View, pixel: FloatArray, centre: FloatArray) -> FloatArray:
    """Return where in the second image a pixel (2,) of the first can lie, as (S, 2) from near to far.

    The ray of the pixel is followed through the second camera with its lens, so the curve of a distorted
    image is not straight. Only what lies in front of the second camera and near its image is kept.
    """
    x, y = normalised_rays(first.camera, np.asarray(pixel, dtype=np.float64))
    distance = max(float(np.linalg.norm(first.centre - centre)), 1e-9)
    depths = distance / np.linspace(1 / _NEAREST, 1 / _FARTHEST, _STEPS)
    in_first = np.stack([x * depths, y * depths, depths], axis=1)
    second_from_first = second.cam_from_world @ np.linalg.inv(first.cam_from_world)
    in_second = transform_points(second_from_first, in_first)
    seen = project(second.camera, in_second)
    camera = second.camera
    margin = 0.5 * max(camera.width, camera.height)
    low, high = -margin, np.array([camera.width, camera.height]) + margin
    with np.errstate(invalid="ignore"):
        kept = np.isfinite(seen).all(axis=1) & (seen > low).all(axis=1) & (seen < high).all(axis=1)
    return np.asarray(seen[kept])


def residuals(first: View, second: View, first_px: FloatArray, second_px: FloatArray) -> FloatArray:
    """Return how far (M,) pixels of the second image lie from the epipolar lines of those of the first.

    In pixels of the second image without its lens distortion.
    """
    if not len(first_px):
        return np.empty(0)
    relative = second.cam_from_world @ np.linalg.inv(first.cam_from_world)
    shift = relative[:3, 3]
    cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
    rays = (_homogeneous(normalised_rays(v.camera, p)) for v, p in ((first, first_px), (second, second_px)))
    one, other = rays
    lines = one @ (cross @ relative[:3, :3]).T
    length = np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-15)
    focal = float(second.camera.K[[0, 1], [0, 1]].mean())
    return np.asarray(np.abs((lines * other).sum(axis=1)) / length * focal)


def good_partner(image: str, observations: dict[str, tuple[FloatArray, IntArray]]) -> str | None:
    """Return a frame to set beside one: of those with half as many common points as the best, the last."""
    own = observations.get(image)
    if own is None:
        return None
    shared = {
        name: len(np.intersect1d(own[1], ids)) for name, (_, ids) in observations.items() if name != image
    }
    most = max(shared.values(), default=0)
    wanted = [name for name, count in shared.items() if count >= 0.5 * most]
    return min(wanted, key=lambda name: (shared[name], name)) if most else None


def _homogeneous(rays: FloatArray) -> FloatArray:
    return np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
