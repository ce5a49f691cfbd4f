"""The world of a sequence: z up, origin at the object, median camera distance 1."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from walkaround.cameras.support import SupportPlane, find_support_plane
from walkaround.geometry import Similarity
from walkaround.types import FloatArray, SparseModel

NARROW_SPREAD = 1e-3
"""Below this (third over first eigenvalue) the optical axes are nearly parallel and meet nowhere."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """``normalised_from_world`` and where it came from."""

    normalised_from_world: Similarity
    up_source: str
    """``support_plane``, ``orbit`` or ``cameras``."""
    support_plane: tuple[float, float, float, float] | None
    """(a, b, c, d) of ``a x + b y + c z + d = 0`` in the normalised world; None when none was found."""


def normalise(model: SparseModel) -> tuple[SparseModel, Normalisation]:
    """Move a model into the world that the dataset uses.

    A proper similarity (no mirror): the origin at the point that the cameras look at, z along the normal of
    the surface that the object stands on (or of the orbit, or the cameras' up), scale by the median camera
    distance, the first camera above the +x axis.
    """
    centres = np.array([view.centre for view in model.views])
    forward = np.array([view.cam_from_world[2, :3] for view in model.views])
    target = look_at_point(centres, forward, model.points_in_world)
    camera_up, source = up_from_cameras(model, centres, target)
    distance = float(np.median(np.linalg.norm(centres - target, axis=1)))
    plane = find_support_plane(model, target=target, distance=distance, camera_up=camera_up)
    up = camera_up
    if plane is not None:
        up, source = plane.normal, "support_plane"
    target = refine_target(model, target, distance, up, plane)
    scale = 1.0 / max(float(np.median(np.linalg.norm(centres - target, axis=1))), 1e-12)
    rotation = _rotation_to_z(up, centres[0] - target)
    transform = Similarity(scale=scale, rotation=rotation, translation=-scale * rotation @ target)
    moved_plane = None
    if plane is not None:
        height = float(transform.apply(plane.point)[2])
        moved_plane = (0.0, 0.0, 1.0, -height)
    return apply_similarity(model, transform), Normalisation(
        normalised_from_world=transform, up_source=source, support_plane=moved_plane
    )


def apply_similarity(model: SparseModel, transform: Similarity) -> SparseModel:
    """Move views and points into another world."""
    views = tuple(
        replace(view, cam_from_world=transform.apply_pose(view.cam_from_world)) for view in model.views
    )
    return replace(model, views=views, points_in_world=transform.apply(model.points_in_world))


def look_at_point(centres: FloatArray, forward: FloatArray, points: FloatArray) -> FloatArray:
    """Return the point closest to all optical axes, robustly (least absolute distances by reweighting).

    Parameters
    ----------
    centres, forward
        (N, 3) camera centres and unit viewing directions in the world.
    points
        (P, 3) sparse points; along nearly parallel axes their median depth decides.
    """
    projectors = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    weights = np.ones(len(centres))
    prior = _median_depth_point(centres, forward, points)
    target = prior
    spread = np.linalg.eigvalsh(projectors.mean(axis=0))[0]
    # A weak pull to the points' median depth where the axes say little (a narrow arc).
    pull = NARROW_SPREAD * 0.1 if spread > NARROW_SPREAD else 1.0 * NARROW_SPREAD
    for _ in range(30):
        lhs = np.einsum("n,nij->ij", weights, projectors) / weights.sum() + pull * np.eye(3)
        rhs = np.einsum("n,nij,nj->i", weights, projectors, centres) / weights.sum() + pull * prior
        target = np.linalg.solve(lhs, rhs)
        miss = np.linalg.norm(np.einsum("nij,nj->ni", projectors, target - centres), axis=1)
        weights = 1.0 / np.maximum(miss, 0.5 * np.median(miss) + 1e-12)
    in_front = np.einsum("ni,ni->n", target - centres, forward) > 0
    return target if in_front.mean() > 0.5 else prior


def _median_depth_point(centres: FloatArray, forward: FloatArray, points: FloatArray) -> FloatArray:
    if len(points) == 0:
        return np.asarray((centres + forward).mean(axis=0))
    depth = [np.median((points - c) @ f) for c, f in zip(centres, forward, strict=True)]
    return np.asarray(np.median(centres + np.maximum(depth, 1e-9)[:, None] * forward, axis=0))


def up_from_cameras(model: SparseModel, centres: FloatArray, target: FloatArray) -> tuple[FloatArray, str]:
    """Return a unit up vector and its source (``orbit`` or ``cameras``).

    The orbit's normal when the cameras lie near a plane and go more than 90 degrees around; else the
    direction most perpendicular to the cameras' x axes (people hold phones level), near their mean -y.
    """
    minus_y = -np.array([view.cam_from_world[1, :3] for view in model.views])
    mean_up = minus_y.mean(axis=0)
    mean_up /= max(float(np.linalg.norm(mean_up)), 1e-12)
    offset = centres - centres.mean(axis=0)
    _, s, vt = np.linalg.svd(offset, full_matrices=False)
    if len(centres) >= 6 and s[1] > 0.3 * s[0] and s[2] < 0.35 * s[1]:
        normal = vt[2] * np.sign(vt[2] @ mean_up or 1.0)
        if arc_around(centres - target, normal)[0] > 90 and normal @ mean_up > np.cos(np.radians(60)):
            return normal, "orbit"
    x_axes = np.array([view.cam_from_world[0, :3] for view in model.views])
    values, vectors = np.linalg.eigh(x_axes.T @ x_axes / len(x_axes))
    level = vectors[:, 0] * np.sign(vectors[:, 0] @ mean_up or 1.0)
    if values[1] > 0.05 and level @ mean_up > np.cos(np.radians(45)):
        return level, "cameras"
    return mean_up, "cameras"


def arc_around(offsets: FloatArray, up: FloatArray) -> tuple[float, float]:
    """Return the arc covered and the largest gap around ``up``, in degrees.

    Parameters
    ----------
    offsets
        (N, 3) camera centres from the object.
    """
    basis = _rotation_to_z(up, offsets[0])
    flat = offsets @ basis.T
    reach = np.linalg.norm(flat, axis=1)
    flat = flat[np.linalg.norm(flat[:, :2], axis=1) > 0.15 * np.median(reach)]
    if len(flat) < 2:
        return 0.0, 360.0
    angles = np.sort(np.degrees(np.arctan2(flat[:, 1], flat[:, 0])))
    gaps = np.diff(np.concatenate([angles, [angles[0] + 360.0]]))
    return float(360.0 - gaps.max()), float(gaps.max())


def refine_target(
    model: SparseModel, target: FloatArray, distance: float, up: FloatArray, plane: SupportPlane | None
) -> FloatArray:
    """Move the look-at point to the middle of the sparse points of the object near it.

    With a support plane: the points that stand above it; without: those that many views see.
    """
    points = model.points_in_world
    if len(points) == 0:
        return target
    offset = points - target
    height = offset @ up
    radius = np.linalg.norm(offset - height[:, None] * up, axis=1)
    track = np.zeros(len(points))
    for seen in model.observations:
        track[seen] += 1
    near = (radius < 0.4 * distance) & (np.abs(height) < 0.5 * distance)
    if plane is not None:
        near &= (points - plane.point) @ plane.normal > 0.02 * distance
    if near.sum() < 20:
        return target
    near &= track >= np.median(track[near])
    middle = np.median(points[near], axis=0)
    step = middle - target
    length = float(np.linalg.norm(step))
    return target + step * min(1.0, 0.25 * distance / max(length, 1e-12))


def _rotation_to_z(up: FloatArray, toward_x: FloatArray) -> FloatArray:
    """Return the proper rotation that takes ``up`` to +z and ``toward_x`` above +x."""
    z = up / np.linalg.norm(up)
    x = toward_x - (toward_x @ z) * z
    if np.linalg.norm(x) < 1e-9:
        x = np.cross(z, [1.0, 0.0, 0.0] if abs(z[0]) < 0.9 else [0.0, 1.0, 0.0])
    x = x / np.linalg.norm(x)
    return np.array([x, np.cross(z, x), z])
