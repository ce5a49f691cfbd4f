"""An object's cloud and its cameras as a script that a page loads: quantised, base64, read by ``cloud.js``.

A script, because a page opened from ``file://`` may load scripts beside it but no data.
"""

from __future__ import annotations

import base64
import json

import numpy as np

from walkaround.types import FloatArray, IntArray, PointCloud, SparseModel, View

_STEPS = 65535
_MAX_CAMERAS = 200
_MAX_ROUNDS = 8


def thinned(cloud: PointCloud, num_points: int) -> tuple[PointCloud, float]:
    """Return at most ``num_points`` of the points, spread evenly, and how far they lie apart.

    One point of each cell of a grid as fine as that number allows; which one is chance, always the same.
    """
    points = np.asarray(cloud.points_in_world, dtype=np.float64)
    order = np.random.default_rng(0).permutation(len(points))
    chosen, cell = order, 0.0
    if len(points) > num_points:
        cell = max(float(np.ptp(points, axis=0).max()), 1e-9) / max(num_points**0.5, 1.0)
        for _ in range(_MAX_ROUNDS):
            chosen = order[_first_of_cells(points[order], cell)]
            if 0.9 * num_points <= len(chosen) <= num_points:
                break
            # occupied cells of a surface: as the square of its size over theirs
            cell *= float(np.clip(np.sqrt(len(chosen) / (0.95 * num_points)), 0.25, 4.0))
        chosen = chosen[:num_points]
    kept = PointCloud(
        points_in_world=cloud.points_in_world[chosen],
        colors=None if cloud.colors is None else cloud.colors[chosen],
        normals=None if cloud.normals is None else cloud.normals[chosen],
    )
    return kept, max(cell, _spacing(points[chosen]))


def _first_of_cells(points: FloatArray, cell: float) -> IntArray:
    """Return the place of the first point in each occupied cell, in order."""
    places = np.minimum((points - points.min(axis=0)) / cell, (1 << 21) - 1).astype(np.int64)
    _, first = np.unique((places[:, 0] << 42) | (places[:, 1] << 21) | places[:, 2], return_index=True)
    return np.sort(first)


def _spacing(points: FloatArray) -> float:
    """Return the median distance of a point to its nearest neighbour."""
    from scipy.spatial import KDTree

    if len(points) < 2:
        return 0.0
    tree = KDTree(points, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(points[:: max(1, len(points) // 1000)], k=2)
    return float(np.median(distance[:, 1]))


def cloud_script(cloud: PointCloud, model: SparseModel | None, front_deg: float, spacing: float) -> str:
    """Return ``walkaroundCloud({...})``.

    ``points`` are three 16-bit steps of ``step`` from ``low``; ``colours`` three bytes, ``normals`` three
    signed bytes a point; ``cameras`` a list of 15 numbers each: the centre and the four corners of its image,
    top left first, clockwise, at a tenth of its distance from the cloud.

    Parameters
    ----------
    cloud
        Not empty; (N, 3) points, what ``num_points`` left of them.
    front_deg
        Azimuth to look from first.
    spacing
        How far the points lie apart.
    """
    points = np.asarray(cloud.points_in_world, dtype=np.float64)
    low = points.min(axis=0)
    step = max(float((points.max(axis=0) - low).max()), 1e-12) / _STEPS
    middle = (np.percentile(points, 1, axis=0) + np.percentile(points, 99, axis=0)) / 2
    radius = float(np.percentile(np.linalg.norm(points - middle, axis=1), 99)) or 1.0
    value = {
        "count": len(points),
        "low": _rounded(low),
        "step": float(f"{step:.6g}"),
        "middle": _rounded(middle),
        "radius": float(f"{radius:.5g}"),
        "spacing": float(f"{spacing:.5g}"),
        "front": round(front_deg, 1),
        "points": _packed(np.rint((points - low) / step).astype("<u2")),
        "colours": "" if cloud.colors is None else _packed(cloud.colors),
        "normals": "" if cloud.normals is None else _packed(np.rint(cloud.normals * 127).astype(np.int8)),
        "cameras": [_rounded(_frustum(view, middle)) for view in model.views[:_MAX_CAMERAS]] if model else [],
    }
    return f"walkaroundCloud({json.dumps(value, separators=(',', ':'))});\n"


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _rounded(values: FloatArray) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values).ravel()]


def _frustum(view: View, middle: FloatArray) -> FloatArray:
    """Return the centre and the corners of the image in the world, (5, 3)."""
    camera, rotation = view.camera, view.cam_from_world[:3, :3]
    depth = 0.1 * float(np.linalg.norm(view.centre - middle))
    w, h = camera.width, camera.height
    pixels = np.array([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], dtype=np.float64)
    rays = pixels @ np.linalg.inv(camera.K).T
    return np.concatenate([view.centre[None], view.centre + depth * rays @ rotation])
