"""The eye of a browser: flying to a camera, seeing everything, a picture of what it sees."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from walkaround.types import FloatArray, View
from walkaround.viewer.drawing import quaternion, triple
from walkaround.viewer.link import Eye, carried_over
from walkaround.viewer.world import Surroundings, depth_of, fov_to_see_all

if TYPE_CHECKING:
    import viser

_FLIGHT_S, _STEPS = 0.4, 16
HOME_FOV = float(np.radians(45.0))


_WIDE_ENOUGH = 1.4
"""Width over height at which a walk around the object fits into the view from its usual distance."""


def home_position(around: Surroundings, aspect: float) -> FloatArray:
    """Return where one sees the object and all cameras from: above, on the cameras' side, beside them.

    Parameters
    ----------
    aspect
        Width over height of the view; through a narrow one, one looks from further away.
    """
    direction = 0.65 * around.front + 0.75 * np.cross(around.up, around.front) + 0.55 * around.up
    distance = 2.3 * around.radius * max(1.0, _WIDE_ENOUGH / max(aspect, 0.2))
    return np.asarray(around.centre + distance * direction / np.linalg.norm(direction))


def look_at_all(
    client: viser.ClientHandle,
    around: Surroundings,
    *,
    leader: Surroundings | None = None,
    aspect: float | None = None,
) -> None:
    """Put the eye where it sees everything, upright.

    Parameters
    ----------
    leader
        What is shown beside it and begins at its own side; None of a view that stands alone or leads.
    aspect
        Width over height of the narrowest view that shares the eye; None is the browser's own.
    """
    leader = leader or around
    position = home_position(leader, client.camera.aspect if aspect is None else aspect)
    home = Eye(position=position, look_at=leader.centre, up=leader.up, fov=HOME_FOV)
    eye = carried_over(home, leader, around)
    with client.atomic():
        camera = client.camera
        camera.near, camera.far = 0.005 * around.radius, 200 * around.radius
        camera.fov = eye.fov
        camera.up_direction = eye.up
        camera.position = eye.position
        camera.look_at = eye.look_at


def fly_to(client: viser.ClientHandle, view: View, around: Surroundings) -> None:
    """Move the eye into a camera in a short flight; it turns about the object from there."""
    import viser.transforms as tf

    camera = client.camera
    start = tf.SE3.from_rotation_and_translation(tf.SO3(camera.wxyz), camera.position)
    rotation = tf.SO3(np.array(quaternion(view.cam_from_world)))
    end = tf.SE3.from_rotation_and_translation(rotation, np.asarray(view.centre))
    step = (start.inverse() @ end).log()
    fov = fov_to_see_all(view.camera, camera.aspect)
    first_fov = camera.fov
    for number in range(1, _STEPS + 1):
        share = number / _STEPS
        eased = share * share * (3 - 2 * share)
        pose = start @ tf.SE3.exp(step * eased) if number < _STEPS else end
        with client.atomic():
            camera.wxyz = pose.rotation().wxyz
            camera.position = pose.translation()
            camera.fov = first_fov + (fov - first_fov) * eased
        client.flush()
        time.sleep(_FLIGHT_S / _STEPS)
    distance = max(depth_of(view, around.centre), 0.05 * around.radius)
    camera.look_at = triple(view.centre + distance * view.cam_from_world[2, :3])


def send_screenshot(client: viser.ClientHandle, name: str) -> None:
    """Let a browser save what its 3-D view shows as a PNG."""
    height, width = max(client.camera.image_height, 64), max(client.camera.image_width, 64)
    seen = client.get_render(height=height, width=width, transport_format="png", timeout=60.0)
    alpha = seen[..., 3:].astype(np.float32) / 255
    opaque = np.rint(seen[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    coded = cv2.imencode(".png", opaque[..., ::-1])[1]
    client.send_file_download(name, coded.tobytes(), save_immediately=True)
