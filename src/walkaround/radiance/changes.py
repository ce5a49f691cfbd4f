"""Changes to training pictures: other paint, light from one side, objects turning in a standing room."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from walkaround.radiance.views import ViewSet
from walkaround.types import BoolArray, Float32Array, FloatArray

_DARK_ROOM = 0.7
"""Share of standing rooms that are dark: the usual ground for photographs of things that turn."""
_CELLS = 6
"""A standing room is smooth: so many random colours along a side."""


def recoloured(views: ViewSet, rng: np.random.Generator) -> ViewSet:
    """Swap and scale the colours, the same way in all pictures."""
    paint = np.eye(3)[rng.permutation(3)] * rng.uniform(0.7, 1.0, (3, 1))
    return _mixed(views, np.broadcast_to(paint, (len(views), 3, 3)))


def lit_from_one_side(views: ViewSet, strength: float, rng: np.random.Generator) -> ViewSet:
    """Let the brightness of pictures depend on where their cameras stand, by up to exp(strength).

    As where a camera sets its exposure. No picture becomes brighter than it was: nothing is clipped.
    """
    away = views.centres - views.middle
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    side = rng.normal(size=3)
    bright = away @ side / np.linalg.norm(side) * rng.uniform(0, strength)
    return _mixed(views, np.exp(bright - bright.max())[:, None, None] * np.eye(3))


def turned_before_a_room(views: ViewSet, rng: np.random.Generator) -> ViewSet:
    """Show the object as if it turned and the camera stood: lamps and room stay in place in the picture.

    The object is what the depth maps know. Its shading follows the surface's direction in the picture; the
    room behind it is a smooth picture, mostly dark, the same for all.

    Parameters
    ----------
    views
        With depth maps of the object alone.
    """
    if views.depth is None:
        return views
    height, width = views.images_srgb.shape[1:3]
    room = _room(height, width, rng)
    lamp = rng.normal(size=3) - np.array([0.0, 1.0, 1.5])  # mostly from above and from the camera's side
    lamp /= np.linalg.norm(lamp)
    ambient, power = rng.uniform(0.3, 0.9), rng.uniform(1.0, 1.8)
    images = np.empty_like(views.images_srgb)
    for number in range(len(views)):
        depth = views.depth[number]
        facing = np.maximum(0, surface_normals(depth, views.K[number]) @ lamp.astype(np.float32))
        lit = np.minimum(
            255, views.images_srgb[number] * (ambient + (1 - ambient) * facing[..., None]) * power
        )
        gain = rng.uniform(0.9, 1.0)
        images[number] = np.where(depth[..., None] > 0, lit, gain * room)
    return dataclasses.replace(views, images_srgb=images)


def with_holes(views: ViewSet, rng: np.random.Generator) -> ViewSet:
    """Take depth away in blobs, other ones in each picture: bare surfaces, where stereo finds nothing."""
    if views.depth is None:
        return views
    height, width = views.images_srgb.shape[1:3]
    missing = rng.uniform(0, 0.7)
    kept = [_blobs(height, width, missing, rng) for _ in range(len(views))]
    return dataclasses.replace(views, depth=np.where(np.stack(kept), views.depth, np.float32(0)))


def surface_normals(depth: Float32Array, K: FloatArray) -> Float32Array:
    """Return the directions of a depth map's surface in the camera's frame, (H, W, 3), towards the camera.

    0 where there is no depth; at outlines they are of no use.
    """
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    points = (rays * depth[..., None]).astype(np.float32)  # (H, W, 3)
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where((length > 0) & (depth[..., None] > 0), normals / np.maximum(length, 1e-20), 0)
    return np.asarray(normals, dtype=np.float32)


def _mixed(views: ViewSet, mixing: FloatArray) -> ViewSet:
    """Apply (V, 3, 3) to the colours of each picture; entries that only darken."""
    images = np.empty_like(views.images_srgb)
    for number, matrix in enumerate(mixing):
        cv2.transform(views.images_srgb[number], matrix, dst=images[number])
    return dataclasses.replace(views, images_srgb=images)


def _room(height: int, width: int, rng: np.random.Generator) -> Float32Array:
    """Draw a smooth picture (H, W, 3) of 0..255."""
    bright = rng.uniform(0, 0.15) if rng.uniform() < _DARK_ROOM else rng.uniform(0.15, 1.0)
    colour = rng.uniform(0.5, 1.0, 3)
    cells = 1 - rng.uniform(0, 1) * rng.uniform(0, 1, (_CELLS, _CELLS, 1))
    smooth = cv2.resize(
        (255 * bright * colour * cells).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(smooth, 0, 255))


def _blobs(height: int, width: int, missing: float, rng: np.random.Generator) -> BoolArray:
    """Draw where depth stays: all but a share, in patches of about a sixteenth of its sides."""
    field = cv2.resize(
        rng.uniform(size=(16, 16)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(field > np.quantile(field[::4, ::4], missing))
