"""Where things stand: cameras, the up axis, the support plane, the arc that the cameras cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkaround.types import Camera, FloatArray, View


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The frame of reference that a scene is looked at in."""

    centre: FloatArray  # (3,) what the cameras look at
    up: FloatArray  # (3,) unit
    radius: float
    """Median distance of the cameras from the centre; of a cloud alone, half its extent."""
    front: FloatArray  # (3,) unit, across up: the side that the cameras are on
    plane: FloatArray | None
    """(a, b, c, d) of the surface the object stands on; None when it is not known."""


@dataclass(frozen=True, kw_only=True)
class Arc:
    """How the cameras stand around the up axis."""

    covered: FloatArray  # (S, 2, 3) segments of the circle with cameras along it
    missing: FloatArray  # (T, 2, 3) segments of the widest gap
    covered_deg: float


def surroundings(views: Sequence[View], notes: dict[str, Any] | None) -> Surroundings:
    """Say where the object is and what is up.

    Parameters
    ----------
    views
        At least one.
    notes
        The notes of a record of ours, whose world is upright with the object at the origin; None for
        released scenes, whose centre is the point nearest to all optical axes and whose up is the normal of
        the orbit, or that of the images on average when the cameras lie on no plane.
    """
    centres = np.array([view.centre for view in views])
    if notes is not None:
        centre, up = np.zeros(3), np.array([0.0, 0.0, 1.0])
    else:
        axes = np.array([view.cam_from_world[2, :3] for view in views])
        centre = _nearest_to_rays(centres, axes)
        up = _up_of(centres, -np.mean([view.cam_from_world[1, :3] for view in views], axis=0))
    radius = float(np.median(np.linalg.norm(centres - centre, axis=1)))
    return Surroundings(
        centre=centre,
        up=up,
        radius=radius if radius > 1e-9 else 1.0,
        front=_across(up, (centres - centre).mean(axis=0)),
        plane=_support_plane(notes or {}),
    )


def surroundings_of_points(points: FloatArray) -> Surroundings:
    """Say where a cloud without cameras is: z is taken for up."""
    low, high = np.percentile(points, [1, 99], axis=0)
    extent = float(np.linalg.norm(high - low))
    return upright(centre=(low + high) / 2, radius=max(extent, 1e-6))


def upright(*, centre: FloatArray, radius: float) -> Surroundings:
    """Return surroundings of which nothing but a place and a size is known: z is taken for up."""
    up = np.array([0.0, 0.0, 1.0])
    return Surroundings(centre=centre, up=up, radius=radius, front=np.array([1.0, 0.0, 0.0]), plane=None)


def arc_of(views: Sequence[View], around: Surroundings, *, num_segments: int = 120) -> Arc:
    """Return the circle of the walk, divided into what is covered and the widest gap.

    The covered angle is the full turn without the widest gap, as the score ``arc_deg`` has it.
    """
    frame = _frame_around(around.up)
    offsets = np.array([view.centre - around.centre for view in views])
    angles = np.sort(np.arctan2(offsets @ frame[1], offsets @ frame[0]))
    gaps = np.diff([*angles, angles[0] + 2 * np.pi])
    widest = int(np.argmax(gaps))
    start = angles[(widest + 1) % len(angles)]
    covered = 2 * np.pi - float(gaps[widest])
    height = around.centre + np.median(offsets @ around.up) * around.up
    radius = float(np.median(np.hypot(offsets @ frame[0], offsets @ frame[1])))

    def segments(first: float, span: float) -> FloatArray:
        steps = first + np.linspace(0, span, max(round(num_segments * span / (2 * np.pi)), 1) + 1)
        ring = height + radius * (np.cos(steps)[:, None] * frame[0] + np.sin(steps)[:, None] * frame[1])
        return np.stack([ring[:-1], ring[1:]], axis=1)

    return Arc(
        covered=segments(start, covered),
        missing=segments(start + covered, 2 * np.pi - covered),
        covered_deg=float(np.degrees(covered)),
    )


def plane_patch(around: Surroundings) -> tuple[FloatArray, FloatArray] | None:
    """Return centre (3,) and axes (3, 3: two in the plane, its normal) of the support plane; None without."""
    if around.plane is None:
        return None
    normal, offset = around.plane[:3], float(around.plane[3])
    length = float(np.linalg.norm(normal))
    normal, offset = normal / length, offset / length
    foot = around.centre - (normal @ around.centre + offset) * normal
    return foot, _frame_around(normal)


def vertical_fov(camera: Camera) -> float:
    """Return the vertical field of view in radians, lens distortion aside."""
    return 2 * float(np.arctan2(camera.height / 2, camera.K[1, 1]))


def fov_to_see_all(camera: Camera, aspect: float) -> float:
    """Return the vertical field of view (radians) that shows the whole image on a canvas of an aspect."""
    needed = max(camera.height, camera.width / max(aspect, 1e-3))
    return 2 * float(np.arctan2(needed / 2, camera.K[1, 1]))


def backdrop(view: View, distance: float) -> tuple[FloatArray, float, float]:
    """Return where an image stands upright before its camera: centre (3,) in the world, width, height.

    The centre heeds the principal point, so that points and pixels lie upon each other.
    """
    matrix = view.camera.K
    width = distance * view.camera.width / matrix[0, 0]
    height = distance * view.camera.height / matrix[1, 1]
    x = (view.camera.width / 2 - matrix[0, 2]) / matrix[0, 0] * distance
    y = (view.camera.height / 2 - matrix[1, 2]) / matrix[1, 1] * distance
    world_from_cam = np.linalg.inv(view.cam_from_world)
    centre = world_from_cam[:3, :3] @ np.array([x, y, distance]) + world_from_cam[:3, 3]
    return centre, float(width), float(height)


def depth_of(view: View, point: FloatArray) -> float:
    """Return the depth of a point in a view's camera."""
    return float(view.cam_from_world[2, :3] @ point + view.cam_from_world[2, 3])


def _support_plane(notes: dict[str, Any]) -> FloatArray | None:
    for stage in ("masks", "cameras"):
        plane = notes.get(stage, {}).get("support_plane")
        if isinstance(plane, list) and len(plane) == 4:
            values = np.array(plane, dtype=np.float64)
            if np.isfinite(values).all() and np.linalg.norm(values[:3]) > 1e-9:
                return values
    return None


def _nearest_to_rays(origins: FloatArray, directions: FloatArray) -> FloatArray:
    """Return the point with the least squared distance to rays; their mean origin when they are parallel."""
    away = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    total = away.sum(axis=0)
    if np.linalg.cond(total) > 1e6:
        return np.asarray(origins.mean(axis=0) + directions.mean(axis=0))
    return np.asarray(np.linalg.solve(total, np.einsum("nij,nj->i", away, origins)))


def _up_of(centres: FloatArray, image_up: FloatArray) -> FloatArray:
    """Return the normal of the plane that camera centres (N, 3) lie on, on the images' upper side."""
    if len(centres) > 3:
        _, spread, axes = np.linalg.svd(centres - centres.mean(axis=0))
        normal = axes[2] * (1.0 if axes[2] @ image_up >= 0 else -1.0)
        if spread[1] > 0.2 * spread[0] and spread[2] < 0.3 * spread[1] and normal @ image_up > 0.5:
            return np.asarray(normal)
    length = float(np.linalg.norm(image_up))
    return image_up / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])


def _across(up: FloatArray, towards: FloatArray) -> FloatArray:
    """Return the unit vector across ``up`` that points most nearly ``towards``."""
    level = towards - (towards @ up) * up
    length = float(np.linalg.norm(level))
    return level / length if length > 1e-6 else np.asarray(_frame_around(up)[0])


def _frame_around(up: FloatArray) -> FloatArray:
    """Return a right-handed frame (3, 3), its rows two axes across ``up`` and ``up`` itself."""
    side = np.zeros(3)
    side[np.argmin(np.abs(up))] = 1.0
    first = np.cross(side, up)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first), up])
