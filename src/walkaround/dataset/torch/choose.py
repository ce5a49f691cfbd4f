"""Which views of a scene become a sample."""

from __future__ import annotations

import numpy as np

from walkaround.dataset.torch.options import ViewOptions
from walkaround.errors import FormatError
from walkaround.types import FloatArray, IntArray


def choose_views(cam_from_world: FloatArray, options: ViewOptions, rng: np.random.Generator) -> IntArray:
    """Return the numbers of the chosen views, all different.

    Parameters
    ----------
    cam_from_world
        (V, 4, 4), in the order of the capture.

    Raises
    ------
    FormatError
        There are too few views, or none as far apart as asked.
    """
    count, wanted = len(cam_from_world), options.num_views
    if count < wanted:
        raise FormatError(f"it has {count} views, {wanted} are wanted")
    if options.choose == "random":
        return rng.permutation(count)[:wanted]
    if options.choose == "even":
        start = rng.integers(count)
        return np.asarray((start + np.arange(wanted) * count // wanted) % count)
    reference = int(rng.integers(count))
    angles = angles_deg(cam_from_world, reference)
    if options.choose == "nearest":
        angles[reference] = -1
        return np.argsort(angles, kind="stable")[:wanted]
    return _pairs(angles, reference, options, rng)


def angles_deg(cam_from_world: FloatArray, reference: int) -> FloatArray:  # (V,)
    """Return the angles between the optical axes of all views and that of one."""
    axes = cam_from_world[:, 2, :3]  # the camera's z axis in the world
    return np.degrees(np.arccos(np.clip(axes @ axes[reference], -1, 1)))


def _pairs(angles: FloatArray, reference: int, options: ViewOptions, rng: np.random.Generator) -> IntArray:
    """Return a source and its targets."""
    low, high = options.pair_angle_deg
    fitting = np.flatnonzero((angles >= low) & (angles <= high))
    fitting = fitting[fitting != reference]
    if len(fitting) < options.num_views - 1:
        raise FormatError(
            f"{len(fitting)} views differ from view {reference} by {low:g} to {high:g} degrees,"
            f" {options.num_views - 1} are wanted"
        )
    targets = rng.permutation(fitting)[: options.num_views - 1]
    return np.concatenate([[reference], targets])
