"""Augmentation of clouds: turn, scale, move, cut, jitter, stray points. Each draws from a given generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from walkaround.errors import UsageError
from walkaround.types import Float32Array, FloatArray

ROTATIONS = ("none", "upright", "any")


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """What to do to a cloud of radius 1."""

    rotation: str = "none"
    """none, upright (about the z axis) or any."""
    tilt_deg: float = 0.0
    """Highest angle by which the z axis is tilted besides."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the factor of each axis."""
    shift: float = 0.0
    """Highest movement along each axis."""
    cut: float = 0.0
    """Highest share of points that a plane cuts off; others come again in their place."""
    jitter: float = 0.0
    """Standard deviation of each coordinate's noise; it is cut at three of them."""
    stray: float = 0.0
    """Share of points put anywhere in the unit ball."""

    def check(self) -> None:
        """Raise UsageError when a value makes no sense."""
        if self.rotation not in ROTATIONS:
            raise UsageError(f"rotation is {self.rotation!r:.40}; give one of {', '.join(ROTATIONS)}.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"scale is {self.scale}; give two factors above 0, the lower one first.")
        for name in ("tilt_deg", "shift", "jitter"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; give 0 or more.")
        for name in ("cut", "stray"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give a share from 0 to below 1.")


TRAINING = AugmentOptions(rotation="upright", scale=(0.8, 1.2), shift=0.1, jitter=0.005)
"""Usual in training: scale and shift as PointNet++ has them, with turns about the vertical."""
HARD = AugmentOptions(rotation="upright", tilt_deg=15.0, scale=(0.9, 1.1), cut=0.4, jitter=0.02, stray=0.05)
"""The miniature's stand-in for scans: noisy, cut, turned, with stray points."""


def augment_cloud(points: Float32Array, options: AugmentOptions, rng: np.random.Generator) -> Float32Array:
    """Change a cloud; it keeps its number of points.

    Parameters
    ----------
    points
        (N, 3), of radius 1.

    Returns
    -------
    Float32Array
        (N, 3).
    """
    out = points.astype(np.float64)
    if options.rotation != "none" or options.tilt_deg > 0:
        out = out @ _turn(options, rng).T
    if options.scale != (1.0, 1.0):
        out = out * rng.uniform(*options.scale, size=3)
    if options.cut > 0:
        out = _cut(out, options.cut * rng.uniform(), rng)
    if options.jitter > 0:
        out = out + options.jitter * np.clip(rng.normal(size=out.shape), -3, 3)
    if options.stray > 0:
        out = _with_strays(out, options.stray, rng)
    if options.shift > 0:
        out = out + rng.uniform(-options.shift, options.shift, size=3)
    changed: Float32Array = out.astype(np.float32)
    return changed


def augment_batch(points: Float32Array, options: AugmentOptions, rng: np.random.Generator) -> Float32Array:
    """Change each of (B, N, 3) clouds in its own way."""
    return np.stack([augment_cloud(cloud, options, rng) for cloud in points])


def _turn(options: AugmentOptions, rng: np.random.Generator) -> FloatArray:
    if options.rotation == "any":
        turned: FloatArray = Rotation.random(rng=rng).as_matrix()
        return turned
    about_z = rng.uniform(0, 360) if options.rotation == "upright" else 0.0
    towards, tilt = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(0, options.tilt_deg))
    axis = tilt * np.array([np.cos(towards), np.sin(towards), 0.0])
    matrix: FloatArray = (
        Rotation.from_rotvec(axis) * Rotation.from_euler("z", about_z, degrees=True)
    ).as_matrix()
    return matrix


def _cut(points: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Remove the share of points farthest along a direction; some of the others take their places."""
    direction = rng.normal(size=3)
    order = np.argsort(points @ direction, kind="stable")
    kept = order[: max(1, len(points) - int(share * len(points)))]
    again = rng.choice(kept, size=len(points) - len(kept))
    cut: FloatArray = points[np.concatenate([np.sort(kept), again])]
    return cut


def _with_strays(points: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    out = points.copy()
    index = rng.choice(len(points), size=round(share * len(points)), replace=False)
    direction = rng.normal(size=(len(index), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    out[index] = direction * np.cbrt(rng.uniform(size=(len(index), 1)))
    return out
