"""An object's cloud and its cameras as a script that a page loads: quantised, base64, read by ``cloud.js``.

A script, because a page opened from ``file://`` may load scripts beside it but no data.
"""

from __future__ import annotations

import base64
import json

import numpy as np

from walkaround.types import FloatArray, PointCloud, SparseModel, View

_STEPS = 65535
_MAX_CAMERAS = 200


def thinned(cloud: PointCloud, num_points: int) -> PointCloud:
    """Return at most ``num_points`` of the points, in an order of chance, always the same."""
    count = len(cloud.points_in_world)
    chosen = np.random.default_rng(0).permutation(count)[:num_points]
    return PointCloud(
        points_in_world=cloud.points_in_world[chosen],
        colors=None if cloud.colors is None else cloud.colors[chosen],
        normals=None if cloud.normals is None else cloud.normals[chosen],
    )


def cloud_script(cloud: PointCloud, model: SparseModel | None, front_deg: float) -> str:
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
