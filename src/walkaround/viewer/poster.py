"""A first picture of a scene, drawn here: it stands in for the 3-D view until a browser has that ready.

It shows the first level of the points and the cameras from where the 3-D view will look first.
"""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import ByteArray, FloatArray, View
from walkaround.viewer.clouds import Level, point_size
from walkaround.viewer.content import Content
from walkaround.viewer.drawing import CAMERA, CAMERA_SIZE, COVERED, MISSING
from walkaround.viewer.flight import HOME_FOV, home_position

MAX_PX = 2000
_DARK = 20


def draw_poster(
    content: Content, level: Level | None, size_wh: tuple[int, int], *, dark: bool = False
) -> ByteArray:
    """Return (h, w, 3) sRGB on white, or on the dark of viser's canvas.

    Parameters
    ----------
    level
        The first points of the cloud; None without a cloud.
    """
    width, height = size_wh
    image = np.full((height, width, 3), _DARK if dark else 255, np.uint8)
    eye = _eye(content, width / height)
    focal = height / 2 / np.tan(HOME_FOV / 2)
    if content.arc is not None:
        for segments, colour in ((content.arc.missing, MISSING), (content.arc.covered, COVERED)):
            _draw_lines(image, eye, focal, segments, colour)
    for view in content.views:
        _draw_camera(image, eye, focal, view, CAMERA_SIZE * content.around.radius)
    if level is not None:
        width_of_point = point_size(level.points_in_world, level.total)
        _draw_points(image, eye, focal, level, width_of_point)
    return image


def _eye(content: Content, aspect: float) -> FloatArray:
    """Return the pose (4, 4), cam_from_world, that the 3-D view begins with."""
    around = content.around
    position = home_position(around, aspect)
    forward = around.centre - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, around.up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ position
    return pose


def _projected(image: ByteArray, eye: FloatArray, focal: float, points: FloatArray) -> FloatArray:
    """Return pixels and depth, (N, 3)."""
    in_eye = points @ eye[:3, :3].T + eye[:3, 3]
    depth = np.maximum(in_eye[:, 2], 1e-9)
    middle = np.array([image.shape[1], image.shape[0]]) / 2
    return np.column_stack([in_eye[:, :2] * (focal / depth)[:, None] + middle, in_eye[:, 2]])


def _draw_points(image: ByteArray, eye: FloatArray, focal: float, level: Level, width: float) -> None:
    """Draw points as squares, the far ones first."""
    found = _projected(image, eye, focal, level.points_in_world.astype(np.float64))
    order = np.argsort(-found[:, 2])
    order = order[found[order, 2] > 1e-6]
    found, colors = found[order], level.colors[order]
    typical = float(np.median(found[:, 2])) if len(found) else 1.0
    side = int(np.clip(np.ceil(focal * width / typical), 1, 9))
    corner = np.clip(np.floor(found[:, :2] - side / 2 + 0.5), -(10**6), 10**6).astype(np.int64)
    for y in range(side):
        for x in range(side):
            columns, rows = corner[:, 0] + x, corner[:, 1] + y
            inside = (columns >= 0) & (rows >= 0) & (columns < image.shape[1]) & (rows < image.shape[0])
            image[rows[inside], columns[inside]] = colors[inside]


def _draw_lines(
    image: ByteArray, eye: FloatArray, focal: float, lines: FloatArray, colour: tuple[int, int, int]
) -> None:
    """Draw lines (N, M, 3) of M points each, but for those that reach behind the eye or far out."""
    found = _projected(image, eye, focal, lines.reshape(-1, 3)).reshape(lines.shape)
    near = (found[..., 2] > 1e-6).all(axis=1) & (np.abs(found) < 10**5).all(axis=(1, 2))
    pixels = list(np.rint(found[near][..., :2]).astype(np.int32))
    cv2.polylines(image, pixels, isClosed=False, color=colour, thickness=1, lineType=cv2.LINE_AA)


def _draw_camera(image: ByteArray, eye: FloatArray, focal: float, view: View, size: float) -> None:
    """Draw the frustum of a camera, as large as the 3-D view draws it."""
    camera, matrix = view.camera, view.camera.K
    half = np.array([camera.width / matrix[0, 0], camera.height / matrix[1, 1]]) / 2
    scale = size / max(float(np.cbrt(half.prod() / 3)), 1e-9)  # viser's: of one volume, whatever the lens
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = np.column_stack([signs * half, np.ones(4)]) * scale
    corners = np.concatenate([np.zeros((1, 3)), corners])
    in_world = (corners - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
    edges = in_world[[[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]]]
    _draw_lines(image, eye, focal, edges, CAMERA)
