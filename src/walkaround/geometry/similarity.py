"""Similarity transforms between two sets of matching points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """``a = scale * rotation @ b + translation``."""

    scale: float
    rotation: FloatArray  # (3, 3)
    translation: FloatArray  # (3,)

    def apply(self, points_in_b: FloatArray) -> FloatArray:
        """Map (..., 3) points."""
        return self.scale * (points_in_b @ self.rotation.T) + self.translation

    def inverse(self) -> Similarity:
        """Return the map from a back to b."""
        rotation = self.rotation.T
        return Similarity(
            scale=1 / self.scale,
            rotation=rotation,
            translation=-(rotation @ self.translation) / self.scale,
        )

    def apply_pose(self, cam_from_b: FloatArray) -> FloatArray:
        """Return ``cam_from_a`` (4x4), camera coordinates scaled along with the world."""
        out = np.eye(4)
        out[:3, :3] = cam_from_b[:3, :3] @ self.rotation.T
        centre = self.apply(-cam_from_b[:3, :3].T @ cam_from_b[:3, 3])
        out[:3, 3] = -out[:3, :3] @ centre
        return out


def umeyama(a: FloatArray, b: FloatArray) -> Similarity:
    """Least-squares similarity ``a_from_b`` of matching (N, 3) points (Umeyama 1991, 10.1109/34.88573)."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    da, db = a - mean_a, b - mean_b
    u, s, vt = np.linalg.svd(da.T @ db / len(a))
    sign = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sign[2] = -1
    rotation = u @ np.diag(sign) @ vt
    scale = float((s * sign).sum() / max((db**2).sum() / len(b), 1e-300))
    return Similarity(scale=scale, rotation=rotation, translation=mean_a - scale * rotation @ mean_b)


def robust_similarity(a: FloatArray, b: FloatArray, *, iterations: int = 2000, seed: int = 0) -> Similarity:
    """Similarity ``a_from_b`` that a minority of wrong points cannot bend.

    Least median of squares over random triples, then a least-squares fit on the points within 2.5
    robust standard deviations (Rousseeuw 1984, 10.1080/01621459.1984.10477105).
    """
    n = len(a)
    if n < 4:
        return umeyama(a, b)
    rng = np.random.default_rng(seed)
    best, best_median = umeyama(a, b), np.inf
    for _ in range(iterations):
        pick = rng.choice(n, 3, replace=False)
        fit = umeyama(a[pick], b[pick])
        residual = np.linalg.norm(fit.apply(b) - a, axis=1)
        median = float(np.median(residual))
        if median < best_median:
            best, best_median = fit, median
    spread = 1.4826 * best_median + 1e-12
    for _ in range(5):
        keep = np.linalg.norm(best.apply(b) - a, axis=1) < 2.5 * spread
        if keep.sum() < 3:
            break
        best = umeyama(a[keep], b[keep])
    return best
