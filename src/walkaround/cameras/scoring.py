"""What is measured on a sparse model."""

from __future__ import annotations

import math

import numpy as np

from walkaround.cameras.normalise import arc_around
from walkaround.types import SparseModel

UP = np.array([0.0, 0.0, 1.0])


def measure_model(
    model: SparseModel,
    *,
    num_frames: int,
    num_models: int,
    consistency: float,
    light_conflict: float = math.nan,
) -> dict[str, float]:
    """Return the scores of a registered model (any scale; the arc needs z up and the object at 0)."""
    track = np.zeros(len(model.points_in_world))
    for seen in model.observations:
        track[seen] += 1
    error = float((model.errors_px * track).sum() / max(track.sum(), 1.0))
    centres = np.array([view.centre for view in model.views])
    arc, gap = arc_around(centres, UP)
    elevation = np.degrees(np.arcsin(centres[:, 2] / np.maximum(np.linalg.norm(centres, axis=1), 1e-12)))
    return {
        "registered_share": len(model.views) / max(num_frames, 1),
        "num_registered": float(len(model.views)),
        "reprojection_error_px": error,
        "track_length": float(track.mean()) if len(track) else 0.0,
        "num_sparse_points": float(len(track)),
        "triangulation_angle_deg": triangulation_angle(model),
        "arc_deg": arc,
        "largest_gap_deg": gap,
        "elevation_deg": float(np.median(elevation)),
        "num_models": float(num_models),
        "camera_consistency": consistency,
        **({} if math.isnan(light_conflict) else {"light_conflict": light_conflict}),
    }


def triangulation_angle(model: SparseModel) -> float:
    """Median over the points of the angle between the first and the last ray that see them, in degrees."""
    count = len(model.points_in_world)
    first = np.full((count, 3), np.nan)
    last = np.full((count, 3), np.nan)
    for view, seen in zip(model.views, model.observations, strict=True):
        ray = view.centre - model.points_in_world[seen]
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        new = np.isnan(first[seen, 0])
        first[seen[new]] = ray[new]
        last[seen] = ray
    if count == 0 or np.isnan(first).all():
        return 0.0
    cosine = np.clip((first * last).sum(axis=1), -1, 1)
    return float(np.degrees(np.arccos(np.nanmedian(cosine))))
