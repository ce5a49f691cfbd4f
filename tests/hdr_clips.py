"""Small clips of alternating exposures with known radiance, for the tests of HDR video."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tests.clips import texture
from walkaround.hdr.clip import Exposed
from walkaround.types import Float32Array

GAMMA = 2.2


@dataclass(frozen=True)
class Clip:
    """Frames as recorded and the radiance that they recorded."""

    frames: list[Exposed]
    truth: list[Float32Array]

    def window(self, index: int) -> list[Exposed]:
        """Return the window around a frame that is not near an end."""
        half = len({frame.exposure for frame in self.frames}) - 1
        return self.frames[index - half : index + half + 1]


def radiance_wall(height: int, width: int, seed: int = 0) -> Float32Array:
    """Return a wall of radiance 0..1 with deep shadow, mid tones and highlights, all textured."""
    base = texture(height, width, seed=seed, cell=10).astype(np.float32) / 255.0
    level = texture(height, width, seed=seed + 1, cell=60).astype(np.float32)[..., :1] / 255.0
    return np.asarray((0.25 + 0.75 * base) * np.exp2(-8.0 * (1.0 - level)), np.float32)


def make_clip(
    exposures: tuple[float, ...],
    num_frames: int,
    *,
    height: int = 180,
    width: int = 280,
    step: float = 3.0,
    moving: bool = True,
    peak: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Clip:
    """A camera that passes a wall by ``step`` px a frame, and a disc that crosses it the other way."""
    margin = int(abs(step) * num_frames) + 8
    wall = radiance_wall(height + 8, width + 2 * margin, seed) * np.float32(peak)
    thing = radiance_wall(height, width, seed + 7)[::-1, ::-1] * np.float32(peak)
    rng = np.random.default_rng(seed)
    frames, truth = [], []
    for i in range(num_frames):
        shift = np.array([[1, 0, margin + step * i], [0, 1, 4 + 0.3 * step * i / num_frames]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        radiance = np.maximum(cv2.warpAffine(wall, shift, (width, height), flags=flags), 0.0)
        if moving:
            radiance = _with_disc(radiance, thing, (0.3 * width + 1.5 * step * i, 0.5 * height))
        exposure = exposures[i % len(exposures)]
        frames.append(record(radiance, exposure, noise, rng))
        truth.append(np.asarray(radiance, np.float32))
    return Clip(frames, truth)


def _with_disc(radiance: Float32Array, thing: Float32Array, centre: tuple[float, float]) -> Float32Array:
    height, width = radiance.shape[:2]
    shift = np.array([[1, 0, 0.5 * width - centre[0]], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(
        thing,
        shift,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    y, x = np.mgrid[:height, :width]
    inside = np.clip(0.25 * height - np.hypot(x - centre[0], y - centre[1]) + 0.5, 0, 1)[..., None]
    return np.asarray(radiance * (1 - inside) + moved * inside, np.float32)


def record(radiance: Float32Array, exposure: float, noise: float, rng: np.random.Generator) -> Exposed:
    """Record radiance with 8 bits and a gamma of 2.2."""
    light = radiance * np.float32(exposure)
    if noise > 0:
        spread = noise * np.sqrt(0.1 + 0.9 * np.minimum(light, 1.0))
        light = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    codes = np.rint(np.clip(light, 0.0, 1.0) ** (1 / GAMMA) * 255)
    return Exposed(image=(codes / 255.0).astype(np.float32), exposure=exposure)


def psnr_mu(radiance: Float32Array, truth: Float32Array, mu: float = 5000.0) -> float:
    """PSNR in dB after the mu-law (Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609)."""
    first, second = (np.log1p(mu * np.clip(x, 0.0, 1.0)) / np.log1p(mu) for x in (radiance, truth))
    return float(-10.0 * np.log10(np.mean((first - second) ** 2) + 1e-15))
