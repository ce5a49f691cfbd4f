"""Which neighbouring views each view is compared with."""

from __future__ import annotations

import numpy as np

from walkaround.types import IntArray, SparseModel


def select_sources(model: SparseModel, count: int) -> tuple[IntArray, ...]:
    """Return, for each view, the indices of its best source views, best first.

    The score of a pair sums over the sparse points both see a weight of the triangulation angle that
    peaks at 10 degrees (Yao et al. 2018, MVSNet, arXiv:1804.02505). Points near the object count
    ten times; without shared points the angle between the optical axes decides.
    """
    n = len(model.views)
    centres = np.array([view.centre for view in model.views])
    near = np.linalg.norm(model.points_in_world, axis=1) < 0.6
    seen = np.zeros((n, len(model.points_in_world)), dtype=bool)
    for index, points in enumerate(model.observations):
        seen[index, points] = True
    weight = np.where(near, 1.0, 0.1)
    result = []
    for i in range(n):
        scores = np.full(n, -np.inf)
        rays_i = _rays(model, centres[i])
        for j in range(n):
            if j == i:
                continue
            both = seen[i] & seen[j]
            angle_axes = _angle(-centres[i][None], -centres[j][None])[0]
            scores[j] = _preference(angle_axes) * 3.0
            if both.any():
                angle = _angle(rays_i[both], _rays(model, centres[j])[both])
                scores[j] += float((_preference(angle) * weight[both]).sum())
        order = np.argsort(-scores, kind="stable")[: min(count, n - 1)]
        result.append(order.astype(np.int64))
    return tuple(result)


def _rays(model: SparseModel, centre: np.ndarray) -> np.ndarray:
    return np.asarray(model.points_in_world - centre)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _preference(angle_deg: np.ndarray) -> np.ndarray:
    width = np.where(angle_deg < 10.0, 5.0, 12.0)
    return np.asarray(np.exp(-0.5 * ((angle_deg - 10.0) / width) ** 2))
