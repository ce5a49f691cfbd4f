"""What a scene looks like in viser: each function draws one kind of thing and returns its handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkaround.types import ByteArray, FloatArray, View
from walkaround.viewer.clouds import Level, point_size
from walkaround.viewer.content import Content
from walkaround.viewer.world import plane_patch, vertical_fov

if TYPE_CHECKING:
    import viser

CAMERA_SIZE = 0.065
"""Of a drawn camera, in distances of the cameras from the object."""
ACCENT = (230, 90, 40)
CAMERA = (70, 90, 110)
COVERED, MISSING = (60, 160, 90), (190, 190, 190)
_PLANE = (120, 130, 150)


def quaternion(cam_from_world: FloatArray) -> tuple[float, float, float, float]:
    """Return wxyz of world_from_cam's rotation, as viser wants it."""
    import viser.transforms as tf

    w, x, y, z = tf.SO3.from_matrix(cam_from_world[:3, :3].T).wxyz
    return float(w), float(x), float(y), float(z)


def triple(values: FloatArray) -> tuple[float, float, float]:
    """Return a vector as the tuple that viser wants."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def draw_camera(
    server: viser.ViserServer, content: Content, number: int, view: View
) -> viser.CameraFrustumHandle:
    """Draw one camera, yet without its image."""
    camera = view.camera
    return server.scene.add_camera_frustum(
        f"/cameras/{number:04d}",
        fov=vertical_fov(camera),
        aspect=camera.width / camera.height,
        scale=CAMERA_SIZE * content.around.radius,
        thickness=1.5,
        thickness_units="screen",
        color=CAMERA,
        wxyz=quaternion(view.cam_from_world),
        position=triple(view.centre),
    )


def draw_level(server: viser.ViserServer, number: int, level: Level) -> viser.PointCloudHandle:
    """Draw one level of the dense points."""
    size = point_size(level.points_in_world, level.total)
    return _points(server, f"/object/{number}", level.points_in_world, level.colors, size)


def draw_sparse(
    server: viser.ViserServer, content: Content, *, visible: bool
) -> viser.PointCloudHandle | None:
    """Draw the points of structure from motion."""
    sparse = content.sparse
    if sparse is None or not len(sparse.points_in_world):
        return None
    around = content.around
    near = np.linalg.norm(sparse.points_in_world - around.centre, axis=1) < 20 * around.radius
    size = 0.006 * around.radius
    points = sparse.points_in_world[near]
    return _points(server, "/sparse", points, sparse.colors[near], size, visible=visible)


def _points(
    server: viser.ViserServer,
    name: str,
    points: np.ndarray,
    colors: ByteArray,
    size: float,
    *,
    visible: bool = True,
) -> viser.PointCloudHandle:
    return server.scene.add_point_cloud(
        name,
        points=points,
        colors=colors,
        point_size=size,
        point_shape="circle",
        point_shading="flat",
        precision="float32",
        visible=visible,
    )


def draw_arc(server: viser.ViserServer, content: Content) -> viser.FrameHandle:
    """Draw the circle of the walk, covered and not."""
    parent = server.scene.add_frame("/arc", show_axes=False)
    if content.arc is not None:
        parts = (
            ("covered", content.arc.covered, COVERED, 3.0),
            ("missing", content.arc.missing, MISSING, 1.5),
        )
        for name, segments, colour, width in parts:
            server.scene.add_line_segments(
                f"/arc/{name}", points=segments, colors=colour, thickness=width, thickness_units="screen"
            )
    return parent


def draw_axes(server: viser.ViserServer, content: Content) -> viser.FrameHandle:
    """Draw the world's axes at its origin, and an arrow up from the object."""
    around = content.around
    parent = server.scene.add_frame(
        "/axes", axes_length=0.15 * around.radius, axes_radius=0.003 * around.radius
    )
    tip = around.centre + 0.45 * around.radius * around.up
    server.scene.add_line_segments(
        "/axes/up",
        points=np.array([[around.centre, tip]]),
        colors=ACCENT,
        thickness=2.5,
        thickness_units="screen",
    )
    server.scene.add_label("/axes/up/label", "up", position=triple(tip), font_screen_scale=0.8)
    return parent


def draw_plane(server: viser.ViserServer, content: Content, *, visible: bool) -> viser.MeshHandle | None:
    """Draw the support plane as a disc; None when it is not known."""
    patch = plane_patch(content.around)
    if patch is None:
        return None
    foot, axes = patch
    steps = np.linspace(0, 2 * np.pi, 65)[:-1]
    ring = foot + 0.6 * content.around.radius * (
        np.cos(steps)[:, None] * axes[0] + np.sin(steps)[:, None] * axes[1]
    )
    first = np.arange(64)
    faces = np.stack([np.full(64, 64), first, (first + 1) % 64], axis=1)
    return server.scene.add_mesh_simple(
        "/plane",
        vertices=np.vstack([ring, foot]),
        faces=faces,
        color=_PLANE,
        opacity=0.35,
        side="double",
        cast_shadow=False,
        receive_shadow=False,
        visible=visible,
    )


def draw_solid(server: viser.ViserServer, content: Content) -> viser.MeshHandle | None:
    """Draw the mask solid; None without masks."""
    solid = content.solid
    if solid is None:
        return None
    return server.scene.add_mesh_simple(
        "/solid",
        vertices=solid[0],
        faces=solid[1],
        color=ACCENT,
        opacity=0.45,
        flat_shading=True,
        cast_shadow=False,
        receive_shadow=False,
    )
