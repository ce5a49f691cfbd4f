"""Ways for a new camera: around the object, or along the cameras that were there."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from walkaround.errors import UsageError
from walkaround.radiance.views import TargetView, ViewSet
from walkaround.types import FloatArray

PATHS = ("orbit", "walk")
_WHOLE_CIRCLE_GAP_DEG = 75.0
"""Where no camera stands for more than this, an orbit turns back instead of crossing."""
_SMOOTHING_DEG = 15.0
_NEIGHBOURS = 3


def camera_path(
    views: ViewSet, name: str, frames: int, *, up: FloatArray | None = None
) -> tuple[TargetView, ...]:
    """Return the cameras of a film.

    Parameters
    ----------
    name
        ``orbit``: around the middle of the scene, as high and far as the cameras nearby; where they leave a
        gap, to and fro between its ends. ``walk``: along the cameras in their order.
    up
        (3,) unit; the mean of the pictures' up when None.

    Raises
    ------
    UsageError
        There is no such path, or it has no frame.
    """
    if name not in PATHS:
        raise UsageError(f"--path is {name!r:.40}; give {' or '.join(PATHS)}.")
    if frames < 1:
        raise UsageError(f"--frames is {frames}; give 1 or more.")
    poses = _orbit(views, frames, up) if name == "orbit" else _walk(views, frames)
    return tuple(_target(views, pose) for pose in poses)


def looking_at(centre: FloatArray, point: FloatArray, up: FloatArray) -> FloatArray:
    """Return ``cam_from_world`` (4, 4) of a camera at ``centre`` that looks at a point, upright."""
    forward = point - centre
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def _orbit(views: ViewSet, frames: int, up: FloatArray | None) -> list[FloatArray]:
    up = _mean_up(views) if up is None else up
    frame = _upright_frame(up)  # rows: two directions across, up
    away = (views.centres - views.middle) @ frame.T
    azimuth = np.degrees(np.arctan2(away[:, 1], away[:, 0]))
    distance = np.linalg.norm(away, axis=1)
    height = away[:, 2] / np.maximum(distance, 1e-12)
    poses = []
    for angle in _angles(azimuth, frames):
        near = np.exp(-0.5 * (_apart_deg(azimuth, angle) / _SMOOTHING_DEG) ** 2) + 1e-12
        near /= near.sum()
        sine, far = float(near @ height), float(near @ distance)
        across = np.sqrt(max(0.0, 1 - sine**2))
        turn = np.radians(angle)
        centre = views.middle + far * np.array([across * np.cos(turn), across * np.sin(turn), sine]) @ frame
        poses.append(looking_at(centre, views.middle, up))
    return poses


def _angles(azimuth_deg: FloatArray, frames: int) -> FloatArray:
    """Return the film's azimuths: once around, or to and fro where a large part has no camera."""
    order = np.sort(azimuth_deg % 360)
    gaps = np.diff(np.append(order, order[0] + 360))
    widest = int(np.argmax(gaps))
    if gaps[widest] <= _WHOLE_CIRCLE_GAP_DEG:
        return np.asarray(order[0] + 360 * np.arange(frames) / frames)
    first, arc = order[(widest + 1) % len(order)], 360 - gaps[widest]
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / max(frames, 1))
    return np.asarray(first + arc * swing)


def _apart_deg(azimuth_deg: FloatArray, angle_deg: float) -> FloatArray:
    return np.abs((azimuth_deg - angle_deg + 180) % 360 - 180)


def _walk(views: ViewSet, frames: int) -> list[FloatArray]:
    when = np.linspace(0, len(views) - 1, frames)
    turns = Slerp(np.arange(len(views)), Rotation.from_matrix(views.cam_from_world[:, :3, :3]))(when)
    poses = []
    for time, turn in zip(when, turns.as_matrix(), strict=True):
        before = min(int(time), len(views) - 2)
        share = time - before
        centre = (1 - share) * views.centres[before] + share * views.centres[before + 1]
        pose = np.eye(4)
        pose[:3, :3] = turn
        pose[:3, 3] = -turn @ centre
        poses.append(pose)
    return poses


def _mean_up(views: ViewSet) -> FloatArray:
    up = -views.cam_from_world[:, 1, :3].mean(axis=0)
    return np.asarray(up / np.linalg.norm(up))


def _upright_frame(up: FloatArray) -> FloatArray:
    """Return a rotation (3, 3) whose last row is ``up``."""
    across = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])


def _target(views: ViewSet, pose: FloatArray) -> TargetView:
    """Return the camera of a pose: the pictures' median lens, the depths of its neighbours."""
    centre = -pose[:3, :3].T @ pose[:3, 3]
    nearest = np.argsort(np.linalg.norm(views.centres - centre, axis=1))[:_NEIGHBOURS]
    height, width = views.images_srgb.shape[1:3]
    K = np.median(views.K, axis=0)
    K[0, 2], K[1, 2] = width / 2, height / 2
    return TargetView(
        K=K, cam_from_world=pose, size_hw=(height, width),
        depth_range=np.append(
            views.depth_range[nearest, :2].min(axis=0), views.depth_range[nearest, 2:].max(axis=0)
        ),
    )  # fmt: skip
