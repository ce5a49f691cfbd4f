"""The miniature's clouds: points on simulated shapes, clean, and noisy, cut and turned as a scan would be."""

from __future__ import annotations

import numpy as np

from walkaround.errors import UsageError
from walkaround.simulate.families import FAMILIES, make_instance
from walkaround.simulate.surface import TriangleMesh
from walkaround.studies.clouds.augment import AugmentOptions, augment_cloud
from walkaround.studies.clouds.samples import CloudSet, unit_cloud
from walkaround.types import Float32Array, Progress, no_progress

RESOLUTION = 32
"""Cells along a shape's longest side: coarse, since a few hundred points show no more."""


def make_shapes(
    num_classes: int,
    instances: int,
    *,
    first: int,
    num_points: int,
    hard: AugmentOptions | None = None,
    progress: Progress = no_progress,
) -> CloudSet:
    """Draw points on instances of the shape families.

    Parameters
    ----------
    num_classes
        Families to use, in the order of their list.
    instances
        Of each family.
    first
        Seed of the first instance; sets whose ranges of seeds do not meet share no shape.
    hard
        What to do to each cloud, for the counterpart of scans; None leaves them clean.

    Raises
    ------
    UsageError
        There are fewer families.
    """
    names = tuple(FAMILIES)[:num_classes]
    if not 2 <= num_classes <= len(FAMILIES):
        raise UsageError(f"--classes is {num_classes}; the simulator has 2 to {len(FAMILIES)} families.")
    points = np.empty((num_classes * instances, num_points, 3), dtype=np.float32)
    labels = np.repeat(np.arange(num_classes), instances)
    seeds = np.tile(np.arange(first, first + instances), num_classes)
    for i, (label, seed) in enumerate(zip(labels, seeds, strict=True)):
        mesh = make_instance(names[label], int(seed), resolution=RESOLUTION)
        rng = np.random.default_rng([int(seed), int(label), 43])
        cloud = unit_cloud(points_on(mesh, num_points, rng))
        points[i] = cloud if hard is None else unit_cloud(augment_cloud(cloud, hard, rng))
        progress((i + 1) / len(points))
    return CloudSet(
        points=points,
        labels=labels.astype(np.int64),
        class_names=names,
        keys=tuple(f"{names[label]}/{seed}" for label, seed in zip(labels, seeds, strict=True)),
    )


def points_on(mesh: TriangleMesh, count: int, rng: np.random.Generator) -> Float32Array:
    """Draw (count, 3) points evenly from a mesh's surface."""
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    face = rng.choice(len(areas), size=count, p=areas / areas.sum())
    u, v = rng.uniform(size=(2, count, 1))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    drawn: Float32Array = (corners[face, 0] + u * sides[face, 0] + v * sides[face, 1]).astype(np.float32)
    return drawn
