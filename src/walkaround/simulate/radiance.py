"""A capture as light: what a perfect camera of unlimited range would see."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from walkaround.simulate.motion import make_path
from walkaround.simulate.options import SimulateOptions
from walkaround.simulate.render import render_frame
from walkaround.simulate.scene import bake_light, make_scene
from walkaround.types import Float32Array


def render_radiance(options: SimulateOptions) -> Iterator[Float32Array]:
    """Render the frames of a capture before the sensor: (H, W, 3) each, linear, without noise or limit.

    Raises
    ------
    UsageError
        An option makes no sense.
    """
    options.check()
    scene = make_scene(options)
    focal_px = options.focal_35mm / 36.0 * max(options.size)
    K = np.array(
        [[focal_px, 0.0, options.size[0] / 2], [0.0, focal_px, options.size[1] / 2], [0.0, 0.0, 1.0]]
    )
    path = make_path(options, scene.object_mesh.vertices, focal_px)
    still = bake_light(scene, np.eye(3), min(32, max(6, max(options.size) // 30)))
    for index in range(options.num_frames):
        time_s = index * options.duration_s / options.num_frames
        light = bake_light(scene, path.object_from_room(time_s), 6) if options.moving_object else still
        yield render_frame(scene, path, K, time_s, index, light).radiance
