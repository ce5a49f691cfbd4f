"""One frame: embree's first hits, compiled shading, a sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.simulate.motion import Poses
from walkaround.simulate.scene import Scene
from walkaround.simulate.shading import find_edges, meet_faces, shade_pixels
from walkaround.types import BoolArray, ByteArray, Float32Array, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class RenderedFrame:
    """A picture and its truth at the middle of the exposure."""

    image_srgb: ByteArray  # (H, W, 3)
    depth: Float32Array  # (H, W) z in the camera, metres; 0 = nothing of the object
    mask: BoolArray  # (H, W)
    cam_from_room: FloatArray  # (4, 4)
    cam_from_object: FloatArray  # (4, 4)


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """Where rays through pixels meet the object first."""

    face: IntArray  # (N,) -1: nowhere
    bary: FloatArray  # (N, 2)
    depth: FloatArray  # (N,) z in the camera


def render_frame(
    scene: Scene,
    path: Poses,
    K: FloatArray,
    time_s: float,
    index: int,
    light: tuple[FloatArray, FloatArray],
) -> RenderedFrame:
    """Render the frame of ``time_s``; ``index`` seeds its noise.

    Without motion blur one ray a pixel is enough where the colour is smooth (the textures fade below the
    pixel's footprint): only edges get ``samples`` rays.
    """
    o = scene.options
    shape = (o.size[1], o.size[0])
    everywhere = np.arange(shape[0] * shape[1])
    linear = np.zeros((len(everywhere), 3), dtype=np.float32)
    middle = np.array([0.5, 0.5])
    cam_from_room, cam_from_object = _poses(path, time_s)
    hits = _trace(scene, cam_from_object, K, everywhere, middle)
    if o.blur_s > 0:
        count = max(o.samples, 8)
        for n in range(count):
            moment = time_s + o.blur_s * ((n + 0.5) / count - 0.5)
            moved = _trace(scene, _poses(path, moment)[1], K, everywhere, _shift(n, count))
            _shade(scene, path, K, moment, everywhere, moved, _shift(n, count), 1.0 / count, light, linear)
    else:
        patches = _shade(scene, path, K, time_s, everywhere, hits, middle, 1.0, light, linear)
        if o.samples > 1:
            edges = np.flatnonzero(
                find_edges(patches.reshape(shape), hits.depth.reshape(shape), 6 / K[0, 0]).ravel()
            )
            linear[edges] = 0
            for n in range(o.samples):
                shift = _shift(n, o.samples)
                again = _trace(scene, cam_from_object, K, edges, shift)
                _shade(scene, path, K, time_s, edges, again, shift, 1.0 / o.samples, light, linear)
    own = (hits.face >= 0) & (hits.face < len(scene.object_mesh.faces))
    depth = np.where(own, hits.depth, 0.0).reshape(shape).astype(np.float32)
    noise = np.random.default_rng([o.seed, 53, index])
    return RenderedFrame(
        image_srgb=_expose(linear.reshape(*shape, 3), o.exposure, o.noise, noise),
        depth=depth,
        mask=depth > 0,
        cam_from_room=cam_from_room,
        cam_from_object=cam_from_object,
    )


def _poses(path: Poses, time_s: float) -> tuple[FloatArray, FloatArray]:
    """Where the camera is in the room and in the object's own frame."""
    cam_from_room = path.cam_from_room(time_s)
    cam_from_object = cam_from_room.copy()
    cam_from_object[:3, :3] = cam_from_room[:3, :3] @ path.object_from_room(time_s).T
    return cam_from_room, cam_from_object


def _shift(n: int, count: int) -> FloatArray:
    """Place of sample ``n`` in the pixel: a rotated grid for 4, else a Hammersley set."""
    if count == 4:
        return np.array([(0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875)][n])
    low, bits = 0.0, n
    scale = 0.5
    while bits:
        low += scale * (bits & 1)
        bits >>= 1
        scale *= 0.5
    return np.array([(low + 0.5 / count) % 1.0, (n + 0.5) / count])


def _trace(
    scene: Scene, cam_from_object: FloatArray, K: FloatArray, pixels: IntArray, shift: FloatArray
) -> _Hits:
    """First hits on the object; only pixels in the image of its bounding box are traced."""
    width, height = scene.options.size
    low, high = scene.mesh.vertices.min(axis=0), scene.mesh.vertices.max(axis=0)
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), axis=-1).reshape(-1, 3)
    points = corners @ cam_from_object[:3, :3].T + cam_from_object[:3, 3]
    box = np.array([0, 0, width, height])
    if points[:, 2].min() > 1e-3:
        uv = (points[:, :2] / points[:, 2:]) @ K[:2, :2].T + K[:2, 2]
        box[:2], box[2:] = np.floor(uv.min(axis=0)) - 1, np.ceil(uv.max(axis=0)) + 1
    row, col = np.divmod(pixels, width)
    near = np.flatnonzero((col >= box[0]) & (col < box[2]) & (row >= box[1]) & (row < box[3]))
    origin = -cam_from_object[:3, :3].T @ cam_from_object[:3, 3]
    ray_matrix = cam_from_object[:3, :3].T @ np.linalg.inv(K)  # z in the camera is 1: t is the depth
    rays = np.stack([col[near] + shift[0], row[near] + shift[1], np.ones(len(near))], axis=1) @ ray_matrix.T
    face, bary, depth = np.full(len(pixels), -1), np.zeros((len(pixels), 2)), np.zeros(len(pixels))
    face[near] = scene.tracer.first_faces(origin, rays)
    meet_faces(near, rays, origin, scene.mesh.vertices, scene.mesh.faces, face, bary, depth)
    return _Hits(face=face, bary=bary, depth=depth)


def _shade(
    scene: Scene,
    path: Poses,
    K: FloatArray,
    time_s: float,
    pixels: IntArray,
    hits: _Hits,
    shift: FloatArray,
    weight: float,
    light: tuple[FloatArray, FloatArray],
    linear: Float32Array,
) -> IntArray:
    """Add the light of one sample a pixel to ``linear``; return the patch of colour that each pixel hit."""
    o = scene.options
    cam_from_room, turn = path.cam_from_room(time_s), path.object_from_room(time_s)
    patches = np.zeros(len(linear), dtype=np.int64)
    room_from_cam = cam_from_room[:3, :3].T
    shade_pixels(
        linear, patches, pixels, hits.face, hits.bary, hits.depth, o.size[0], weight,
        -room_from_cam @ cam_from_room[:3, 3], room_from_cam @ np.linalg.inv(K), shift, turn,
        scene.mesh.vertices, scene.mesh.normals, scene.mesh.faces, light[0], scene.lights[0].direction,
        light[1], np.array([scene.table_radius_m, float(scene.table_kind)]), scene.table_colors, scene.prints,
        scene.owners, scene.colors, o.texture, o.symmetry, o.gloss, scene.room, o.plain_background,
        scene.noise_seed,
    )  # fmt: skip
    return patches


def _expose(linear: Float32Array, exposure: float, noise: float, rng: np.random.Generator) -> ByteArray:
    """Shot and read noise, then the sRGB curve with a soft shoulder."""
    light = linear * np.float32(0.8 * exposure)
    if noise > 0:
        spread = np.float32(noise) * np.sqrt(0.15 + 0.85 * np.minimum(light, 1.0))
        light = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    light = np.where(light > 0.6, 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4)), np.maximum(light, 0))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return np.rint(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
