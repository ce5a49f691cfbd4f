"""How objects and whole pictures are changed in colour, surface, sharpness and noise."""

from __future__ import annotations

import cv2
import numpy as np

from walkaround.types import ByteArray, Float32Array


def repainted(image: Float32Array, surface: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return an object's picture (S, S, 3), 0..1, in other colours; its shading stays.

    A third keeps its colours but for their order and strength, a third is of one colour or grey, a third gets
    another surface.
    """
    grey = image.mean(axis=2, keepdims=True)
    kind = rng.uniform()
    if kind < 0.35:
        mixed = image[..., rng.permutation(3)]
        return np.asarray(grey + (mixed - grey) * rng.uniform(0.2, 1.8), np.float32)
    light = grey / max(float(np.quantile(grey, 0.8)), 0.05)
    strength = rng.uniform(0.3, 1.0)
    color = rng.uniform(0.03, 1.0) * np.exp(rng.normal(0, rng.choice([0.02, 0.5]), 3))
    if kind < 0.7:
        return np.asarray(light**strength * color, np.float32)
    return np.asarray(light**strength * (0.3 * color + 0.9 * surface), np.float32)


def developed(image: Float32Array, rng: np.random.Generator) -> ByteArray:
    """Return a picture (S, S, 3), 0..1, as a camera might have taken it: light, blur, noise, JPEG."""
    image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.3)))
    image = (image - 0.5) * np.float32(rng.uniform(0.6, 1.3)) + np.float32(0.5 + rng.normal(0, 0.08))
    image = image * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    if rng.uniform() < 0.1:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.uniform() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.6))
    if rng.uniform() < 0.6:
        noise = rng.normal(0, rng.uniform(0.005, 0.05), image.shape)
        image = np.asarray(image + noise, np.float32)
    out = np.asarray(np.clip(image * 255, 0, 255), np.uint8)
    if rng.uniform() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        out = np.asarray(cv2.imdecode(cv2.imencode(".jpg", out, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return out
