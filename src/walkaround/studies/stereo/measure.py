"""How good the depth of a network is: shares within thresholds, mean error, and the cloud it makes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from walkaround.depth.network.model import StereoNetwork, enlarge
from walkaround.depth.network.sweep import normalised
from walkaround.studies.stereo.scenes import StereoSet
from walkaround.studies.stereo.training import gather
from walkaround.types import BoolArray, Float32Array, FloatArray, IntArray

WITHIN = (1, 2, 5)
"""Percent of depth."""
_CAP = 0.05
"""Of the object's depth: distances between clouds count up to this, as DTU's count up to 20 mm."""
_CONFIRMED = 0.02
"""Relative difference of depth under which another view confirms a point."""


def measure(network: StereoNetwork, data: StereoSet, device: str) -> dict[str, float]:
    """Return the metrics of the study on labelled scenes.

    Depth metrics are means over the objects' pixels of all references; clouds are made of the points that at
    least one other view confirms, and compared with the points of the true depth of all views. Cloud
    distances are shares of the scene's median depth.
    """
    if data.depth is None:
        raise RuntimeError("measuring needs true depth")
    network.eval()
    errors, accuracy, completeness = [], [], []
    for scene in range(len(data)):
        found = predict_scene(network, data, scene, device)
        truth = np.asarray(data.depth[scene])
        known = truth > 0
        errors.append(np.abs(found[known] - truth[known]) / truth[known])
        near, full = compare_clouds(data, scene, found, truth)
        accuracy.append(near)
        completeness.append(full)
    error = np.concatenate(errors)
    shares = {f"within_{percent}": float((error < percent / 100).mean()) for percent in WITHIN}
    clouds = {"cloud_accuracy": float(np.mean(accuracy)), "cloud_completeness": float(np.mean(completeness))}
    return {**shares, "mean_error": float(error.mean()), **clouds}


def predict_scene(network: StereoNetwork, data: StereoSet, scene: int, device: str) -> Float32Array:
    """Return the depth of all views of a scene at the size of its images, (V, H, W)."""
    out = []
    with torch.no_grad():
        for reference in range(data.images.shape[1]):
            stereo, _ = gather(data, np.array([scene]), np.array([reference]))
            stereo = stereo._replace(images=normalised(stereo.images / 255.0))
            _, fine = network(stereo.to(device))
            inverse = enlarge(fine.inverse, (data.images.shape[2], data.images.shape[3]))
            out.append((1.0 / inverse.clamp(min=1e-9))[0].cpu().numpy())
    return np.stack(out)


def compare_clouds(
    data: StereoSet, scene: int, found: Float32Array, truth: Float32Array
) -> tuple[float, float]:
    """Return accuracy (mean distance of found points to true ones) and completeness (the other way).

    Only pixels of the object are compared. Without any confirmed point both are the cap.
    """
    known = truth > 0
    unit = float(np.median(truth[known]))
    true_points = np.concatenate([_points(data, scene, v, truth[v], known[v]) for v in range(len(truth))])
    kept = [known[v] & _confirmed(data, scene, v, found) for v in range(len(found))]
    points = np.concatenate([_points(data, scene, v, found[v], kept[v]) for v in range(len(found))])
    if not len(points):
        return _CAP, _CAP
    near = np.minimum(cKDTree(true_points).query(points)[0] / unit, _CAP)
    full = np.minimum(cKDTree(points).query(true_points)[0] / unit, _CAP)
    return float(near.mean()), float(full.mean())


def _points(data: StereoSet, scene: int, view: int, depth: Float32Array, chosen: BoolArray) -> FloatArray:
    """Return the chosen pixels' points in the world, (P, 3); pixel centres are COLMAP's."""
    rows, columns = np.nonzero(chosen)
    K, pose = (a[scene, view].astype(np.float64) for a in (data.K, data.cam_from_world))
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    points = np.linalg.solve(K, pixels) * depth[rows, columns]
    return np.asarray((points - pose[:3, 3:]).T @ pose[:3, :3])


def _confirmed(data: StereoSet, scene: int, view: int, found: Float32Array) -> BoolArray:
    """Return where a source of the view has about the same depth for the point, (H, W)."""
    height, width = found.shape[1:]
    points = _points(data, scene, view, found[view], np.ones((height, width), dtype=bool))
    agreed = np.zeros(height * width, dtype=bool)
    sources: IntArray = data.sources[scene, view]
    for source in sources:
        K, pose = (a[scene, source].astype(np.float64) for a in (data.K, data.cam_from_world))
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        z = np.maximum(seen[:, 2], 1e-9)
        column, row = np.floor((seen @ K.T)[:, :2] / z[:, None]).astype(np.int64).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (seen[:, 2] > 0)
        there = np.zeros(len(points))
        there[inside] = found[source][row[inside], column[inside]]
        agreed |= inside & (np.abs(there - z) < _CONFIRMED * z)
    return agreed.reshape(height, width)
