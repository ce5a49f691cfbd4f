"""Pictures of radiance from layers: a background and things that move before it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.hdr.synthesis.motion import Path, draw_path
from walkaround.hdr.synthesis.options import ClipOptions
from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A texture that moves as a whole."""

    radiance: Float32Array  # (h, w, 3)
    alpha: Float32Array | None  # (h, w) 0..1; None covers everything
    path: Path
    place: tuple[float, float]
    """The layer's middle in the clip, in pixels, when it is not shifted."""


def compose(layers: tuple[Layer, ...], frame: int, size: tuple[int, int]) -> Float32Array:
    """Return the (H, W, 3) radiance of one frame: the layers over each other, the first at the back."""
    width, height = size
    picture = np.zeros((height, width, 3), np.float32)
    for layer in layers:
        h, w = layer.radiance.shape[:2]
        matrix = layer.path.layer_from_clip(frame, layer.place, (0.5 * (w - 1), 0.5 * (h - 1)))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        light = cv2.warpAffine(layer.radiance, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        if layer.alpha is None:
            picture = light
            continue
        cover = cv2.warpAffine(layer.alpha, matrix, size, flags=flags, borderValue=0.0)[..., None]
        picture = picture * (1.0 - cover) + light * cover
    return np.asarray(picture, np.float32)


def draw_background(radiance: Float32Array, options: ClipOptions, rng: np.random.Generator) -> Layer:
    """Lay a texture behind everything: a random part of it, about as large as the clip and its motion."""
    width, height = options.size
    reach = 1.0 + options.motion_px * options.num_frames / min(width, height)
    texture = _cut(radiance, round(width * reach), round(height * reach), rng)
    path = draw_path(
        rng,
        options.num_frames,
        motion_px=options.motion_px,
        rotation_deg=options.rotation_deg,
        zoom=options.zoom,
    )
    return Layer(radiance=texture, alpha=None, path=path, place=(0.5 * (width - 1), 0.5 * (height - 1)))


def draw_thing(radiance: Float32Array, options: ClipOptions, rng: np.random.Generator) -> Layer:
    """Cut a blob, a bar or a thin stick out of a texture, lighter or darker than it was."""
    width, height = options.size
    side = max(int(min(width, height) * rng.uniform(0.12, 0.5)), 8)
    texture = _cut(radiance, side, side, rng) * np.float32(np.exp(rng.normal(0.0, 0.9)))
    path = draw_path(
        rng,
        options.num_frames,
        motion_px=options.layer_motion_px,
        rotation_deg=4 * options.rotation_deg,
        zoom=options.zoom,
    )
    place = (float(rng.uniform(0.1, 0.9) * width), float(rng.uniform(0.1, 0.9) * height))
    return Layer(radiance=texture, alpha=_draw_shape(side, rng), path=path, place=place)


def _cut(radiance: Float32Array, width: int, height: int, rng: np.random.Generator) -> Float32Array:
    """Return a random part of that size; the texture is shrunk by up to what fits, or enlarged to fit."""
    h, w = radiance.shape[:2]
    fitting = min(w / width, h / height)
    zoom = np.exp(rng.uniform(0.0, np.log(fitting))) if fitting > 1 else fitting
    take_w, take_h = min(round(width * zoom), w), min(round(height * zoom), h)
    x, y = int(rng.integers(0, w - take_w + 1)), int(rng.integers(0, h - take_h + 1))
    part = radiance[y : y + take_h, x : x + take_w]
    how = cv2.INTER_AREA if zoom > 1 else cv2.INTER_CUBIC
    part = np.maximum(cv2.resize(part, (width, height), interpolation=how), 0.0)
    return np.ascontiguousarray(part[:, ::-1] if rng.uniform() < 0.5 else part)


def _draw_shape(side: int, rng: np.random.Generator) -> Float32Array:
    """Return the (side, side) cover of a shape with an edge one pixel soft."""
    fine = 4
    canvas = np.zeros((side * fine, side * fine), np.uint8)
    middle, kind = 0.5 * side * fine, rng.choice(["blob", "bar", "stick"], p=[0.6, 0.25, 0.15])
    if kind == "blob":
        angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        radii = np.full(len(angles), 0.3)
        for k in range(1, 6):
            radii += rng.uniform(0, 0.16 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * side * fine
    else:
        long, turn = 0.46, rng.uniform(0, np.pi)
        thin = rng.uniform(0.1, 0.3) if kind == "bar" else rng.uniform(0.015, 0.05)
        corners = np.array([(-long, -thin), (long, -thin), (long, thin), (-long, thin)]) * side * fine
        points = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(canvas, [np.rint(points + middle).astype(np.int32)], 255)
    cover = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.asarray(cv2.GaussianBlur(cover, (3, 3), 0.5), np.float32)
