"""One frame: embree's first hits, compiled shading, a sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.simulate.motion import CameraPath
from walkaround.simulate.scene import Scene
from walkaround.simulate.shading import shade_rows
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
    box: IntArray  # (4,) left, top, right, bottom
    face: IntArray  # (h, w)
    bary: FloatArray  # (h, w, 2)
    depth: FloatArray  # (h, w)


def render_frame(
    scene: Scene,
    path: CameraPath,
    K: FloatArray,
    time_s: float,
    index: int,
    light: tuple[FloatArray, FloatArray],
) -> RenderedFrame:
    """Render the frame of ``time_s``; ``index`` seeds its noise."""
    o = scene.options
    count = max(o.samples, 8) if o.blur_s > 0 else o.samples
    linear = np.zeros((o.size[1], o.size[0], 3), dtype=np.float32)
    for n in range(count):
        moment = time_s + o.blur_s * ((n + 0.5) / count - 0.5)
        _add_sample(scene, path, K, moment, _shift(n, count), 1.0 / count, light, linear)
    cam_from_room, turn = path.cam_from_room(time_s), path.object_from_room(time_s)
    cam_from_object = cam_from_room.copy()
    cam_from_object[:3, :3] = cam_from_room[:3, :3] @ turn.T
    hits = _trace(scene, cam_from_object, K, np.array([0.5, 0.5]))
    depth = np.zeros((o.size[1], o.size[0]), dtype=np.float32)
    left, top, right, bottom = hits.box
    depth[top:bottom, left:right] = np.where(hits.face >= 0, hits.depth, 0.0)
    return RenderedFrame(
        image_srgb=_expose(linear, o.exposure, o.noise, np.random.default_rng([o.seed, 53, index])),
        depth=depth,
        mask=depth > 0,
        cam_from_room=cam_from_room,
        cam_from_object=cam_from_object,
    )


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


def _trace(scene: Scene, cam_from_object: FloatArray, K: FloatArray, shift: FloatArray) -> _Hits:
    """First hits on the object for the pixels of its bounding box in the image."""
    width, height = scene.options.size
    points = scene.mesh.vertices @ cam_from_object[:3, :3].T + cam_from_object[:3, 3]
    if points[:, 2].min() > 1e-3:
        uv = (points[:, :2] / points[:, 2:]) @ K[:2, :2].T + K[:2, 2]
        low = np.clip(np.floor(uv.min(axis=0)).astype(int) - 1, 0, [width, height])
        high = np.clip(np.ceil(uv.max(axis=0)).astype(int) + 1, 0, [width, height])
    else:
        low, high = np.array([0, 0]), np.array([width, height])
    box = np.array([low[0], low[1], high[0], high[1]])
    h, w = max(0, high[1] - low[1]), max(0, high[0] - low[0])
    u, v = np.meshgrid(np.arange(w) + low[0] + shift[0], np.arange(h) + low[1] + shift[1])
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(K).T @ cam_from_object[:3, :3]  # z in the camera is 1: t is the depth
    origin = -cam_from_object[:3, :3].T @ cam_from_object[:3, 3]
    hits = scene.tracer.first_hits(origin, rays)
    face = hits["primID"].astype(np.int64)
    depth = _plane_depth(scene, face, origin, rays)
    bary = np.stack([hits["u"], hits["v"]], axis=-1).astype(np.float64)
    return _Hits(box=box, face=face.reshape(h, w), bary=bary.reshape(h, w, 2), depth=depth.reshape(h, w))


def _plane_depth(scene: Scene, face: IntArray, origin: FloatArray, rays: FloatArray) -> FloatArray:
    """Depth of the hits in float64, from the plane of the face that embree names."""
    hit = face >= 0
    corners = scene.mesh.vertices[scene.mesh.faces[face[hit]]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    top = ((corners[:, 0] - origin) * normal).sum(axis=1)
    bottom = (rays[hit] * normal).sum(axis=1)
    depth = np.zeros(len(face))
    depth[hit] = top / np.where(np.abs(bottom) > 1e-18, bottom, 1e-18)
    return depth


def _add_sample(
    scene: Scene,
    path: CameraPath,
    K: FloatArray,
    time_s: float,
    shift: FloatArray,
    weight: float,
    light: tuple[FloatArray, FloatArray],
    linear: Float32Array,
) -> None:
    o = scene.options
    cam_from_room, turn = path.cam_from_room(time_s), path.object_from_room(time_s)
    cam_from_object = cam_from_room.copy()
    cam_from_object[:3, :3] = cam_from_room[:3, :3] @ turn.T
    hits = _trace(scene, cam_from_object, K, shift)
    shade_rows(
        linear, 0, o.size[1], weight,
        -cam_from_room[:3, :3].T @ cam_from_room[:3, 3], cam_from_room[:3, :3].T @ np.linalg.inv(K), shift,
        hits.box, hits.face, hits.bary, hits.depth, turn,
        scene.mesh.vertices, scene.mesh.normals, scene.mesh.faces, light[0], scene.lights[0].direction,
        light[1], np.array([scene.table_radius_m, float(scene.table_kind)]), scene.table_colors, scene.prints,
        scene.object_colors, o.texture, o.gloss, scene.room, o.plain_background, scene.noise_seed,
    )  # fmt: skip


def _expose(linear: Float32Array, exposure: float, noise: float, rng: np.random.Generator) -> ByteArray:
    """Shot and read noise, then the sRGB curve with a soft shoulder."""
    light = linear * np.float32(0.8 * exposure)
    if noise > 0:
        spread = np.float32(noise) * np.sqrt(0.15 + 0.85 * np.minimum(light, 1.0))
        light = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    light = np.where(light > 0.6, 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4)), np.maximum(light, 0))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)
    return np.rint(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
