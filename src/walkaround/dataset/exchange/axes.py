"""Poses in the axes of other tools. Here cameras have OpenCV's: x right, y down, z forward."""

from __future__ import annotations

import numpy as np

from walkaround.types import FloatArray

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Camera axes of nerfstudio, instant-ngp, ARKit, Blender: x right, y up, z back. Its own inverse."""
Z_UP_FROM_Y_UP = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""A turn of the world (x, y, z) -> (z, x, y) that stands y up (ARKit) on z up, as nerfstudio does it."""


def invert_rigid(a_from_b: FloatArray) -> FloatArray:
    """Return ``b_from_a`` of a 4x4 rotation and shift."""
    out = np.eye(4)
    out[:3, :3] = a_from_b[:3, :3].T
    out[:3, 3] = -a_from_b[:3, :3].T @ a_from_b[:3, 3]
    return out


def world_from_opengl_camera(cam_from_world: FloatArray) -> FloatArray:
    """Return the 4x4 camera-to-world matrix of a camera whose axes are OpenGL's."""
    return np.asarray(invert_rigid(cam_from_world) @ OPENGL_FROM_OPENCV)


def cam_from_world_of_opengl(world_from_opengl: FloatArray) -> FloatArray:
    """Return ``cam_from_world`` (OpenCV's axes) of a 4x4 camera-to-world matrix with OpenGL's."""
    return invert_rigid(world_from_opengl @ OPENGL_FROM_OPENCV)
