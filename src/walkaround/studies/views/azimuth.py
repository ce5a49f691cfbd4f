"""Where views stand around an object, from their cameras alone."""

from __future__ import annotations

import numpy as np

from walkaround.types import FloatArray


def azimuths_deg(cam_from_world: FloatArray, *, own_world: bool, canonical: bool) -> FloatArray:
    """Return (V,) azimuths in degrees, -180 to 180, 0 being the canonical view's.

    Parameters
    ----------
    cam_from_world
        (V, 4, 4).
    own_world
        z is up and the origin lies in the object, as in our datasets. Else up is the normal of the plane
        nearest to the cameras, and the object is where the optical axes meet.
    canonical
        The world's x axis points to the object's front. Else the first view is taken for the canonical one.
    """
    rotations, shifts = cam_from_world[:, :3, :3], cam_from_world[:, :3, 3]
    centres = -np.einsum("vji,vj->vi", rotations, shifts)
    if own_world:
        across, up_across = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    else:
        centres = centres - _middle(centres, rotations[:, 2])
        across, up_across = np.linalg.svd(centres - centres.mean(axis=0))[2][:2]
    angle = np.degrees(np.arctan2(centres @ up_across, centres @ across))
    if not canonical:
        angle = angle - angle[0]
    return np.asarray((angle + 180) % 360 - 180)


def is_whole_circle(azimuth_deg: FloatArray) -> bool:
    """Return True when no gap between views is over 130 degrees or two and a half times the usual one."""
    ordered = np.sort(azimuth_deg % 360)
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    return bool(gaps.max() <= min(130.0, 2.5 * float(np.median(gaps)) + 1e-6)) and len(gaps) > 2


def angle_between(a_deg: FloatArray, b_deg: FloatArray | float) -> FloatArray:
    """Return the difference of azimuths, 0 to 180 degrees."""
    return np.abs((np.asarray(a_deg) - b_deg + 180) % 360 - 180)


def _middle(centres: FloatArray, axes: FloatArray) -> FloatArray:
    """Return the point (3,) nearest to all optical axes; the cameras' mean where these hardly meet."""
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] <= 1e-4 * len(axes):
        return np.asarray(centres.mean(axis=0))
    return np.asarray(np.linalg.solve(total, np.einsum("vij,vj->i", across, centres)))
