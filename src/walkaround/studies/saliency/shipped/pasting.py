"""Training samples: an object near the middle, in its own scene or pasted before another background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from walkaround.studies.frame.seeds import rng_of
from walkaround.studies.saliency.shipped.looks import developed, repainted
from walkaround.studies.saliency.shipped.recipe import ShippedRecipe
from walkaround.types import ByteArray, Float32Array, FloatArray

_LARGEST = (0.35, 1.05)
"""The object's longer side, as a share of the picture's."""
_OFF_MIDDLE = 0.13
"""How far from the middle it may lie, as a share of the side."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A picture and its mask, moved to where the sample wants them."""

    image: Float32Array  # (S, S, 3), 0..1
    alpha: Float32Array  # (S, S), 0..1


class SampleMaker:
    """Makes any sample from its number alone.

    Parameters
    ----------
    images, masks
        (N, S, S, 3) sRGB and (N, S, S), 255 for object; no mask is empty.
    backgrounds
        (M, S, S, 3) sRGB.
    """

    def __init__(
        self, recipe: ShippedRecipe, images: ByteArray, masks: ByteArray, backgrounds: ByteArray
    ) -> None:
        self.recipe, self.images, self.masks, self.backgrounds = recipe, images, masks, backgrounds

    def make(self, number: int) -> tuple[ByteArray, ByteArray]:
        """Return a picture (S, S, 3) and its mask (S, S), 0..255."""
        rng = rng_of(self.recipe.seed, "sample", number)
        image, alpha = self._pasted(rng) if rng.uniform() < self.recipe.pasted else self._rendered(rng)
        return developed(image, rng), np.asarray(np.rint(alpha * 255), np.uint8)

    def batch(self, step: int) -> tuple[ByteArray, ByteArray]:
        """Return pictures (B, S, S, 3) and masks (B, S, S) of a step."""
        count = self.recipe.batch
        made = [self.make(step * count + n) for n in range(count)]
        return np.stack([image for image, _ in made]), np.stack([mask for _, mask in made])

    def _rendered(self, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        """An object in the scene it was rendered in; half are repainted."""
        row = int(rng.integers(len(self.images)))
        there = self._moved(row, rng, least_scale=1.0, border=cv2.BORDER_REPLICATE)
        image = there.image
        if rng.uniform() < 0.5:
            alpha = there.alpha[..., None]
            image = image * (1 - alpha) + repainted(image, self._surface(rng), rng) * alpha
        return image, there.alpha

    def _pasted(self, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
        """One or two cut-out objects as one, on a background, with small other things near the border."""
        size = self.recipe.size_px
        image = self._background(rng)
        for _ in range(int(rng.integers(0, 4))):
            other = self._object(rng)
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.42, 0.6) * size
            move = np.array([np.cos(angle), np.sin(angle)]) * far
            image = _over(image, _shifted(other, rng.uniform(0.2, 0.5), move), rng)
        parts = [self._object(rng)]
        if rng.uniform() < 0.3:
            turned = rng.uniform(0, 2 * np.pi)
            move = np.array([np.cos(turned), np.sin(turned)]) * rng.uniform(0.05, 0.25) * size
            parts.append(_shifted(self._object(rng), rng.uniform(0.4, 0.9), move))
        alpha = np.zeros((size, size), np.float32)
        for part in parts:
            image = _over(image, part, rng)
            alpha = np.maximum(alpha, part.alpha)
        return image, alpha

    def _object(self, rng: np.random.Generator) -> Piece:
        if rng.uniform() < self.recipe.drawn:
            return drawn_shape(self.recipe.size_px, self._surface(rng), rng)
        there = self._moved(int(rng.integers(len(self.images))), rng)
        return Piece(image=repainted(there.image, self._surface(rng), rng), alpha=there.alpha)

    def _background(self, rng: np.random.Generator) -> Float32Array:
        if rng.uniform() < 0.2:  # a scene that was rendered, its object out of sight
            row = int(rng.integers(len(self.images)))
            around = cv2.dilate(self.masks[row], np.ones((5, 5)))
            hidden = cv2.inpaint(self.images[row], around, 3, cv2.INPAINT_TELEA)
            return np.asarray(hidden / np.float32(255), np.float32)
        return self._surface(rng).copy()

    def _surface(self, rng: np.random.Generator) -> Float32Array:
        picture = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        picture = picture[:, ::-1] if rng.uniform() < 0.5 else picture
        return np.asarray(picture / np.float32(255), np.float32)

    def _moved(
        self,
        row: int,
        rng: np.random.Generator,
        *,
        least_scale: float = 0.0,
        border: int = cv2.BORDER_CONSTANT,
    ) -> Piece:
        """Bring an object to a random size, place and turn; what lies outside its picture is ``border``."""
        size = self.recipe.size_px
        x, y, width, height = cv2.boundingRect(self.masks[row])
        longest = max(width, height, 8)
        wanted = max(np.exp(rng.uniform(*np.log(_LARGEST))) * size / longest, least_scale)
        scale = wanted * np.exp(rng.normal(0, 0.12, 2))
        turn = np.radians(rng.normal(0, 12))
        mirror = -1.0 if rng.uniform() < 0.5 else 1.0
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(
            [scale[0] * mirror, scale[1]]
        )
        target = size * (0.5 + rng.uniform(-_OFF_MIDDLE, _OFF_MIDDLE, 2))
        matrix = np.column_stack([linear, target - linear @ [x + width / 2, y + height / 2]])
        image = cv2.warpAffine(self.images[row], matrix, (size, size), borderMode=border)
        alpha = cv2.warpAffine(self.masks[row], matrix, (size, size))
        return Piece(
            image=np.asarray(image / np.float32(255), np.float32),
            alpha=np.asarray(alpha / np.float32(255), np.float32),
        )


def drawn_shape(size_px: int, surface: Float32Array, rng: np.random.Generator) -> Piece:
    """Draw a closed curve around the middle, round or with corners, shaded as if lit from one side."""
    count = int(rng.integers(3, 12))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = 0.5 * np.exp(rng.uniform(*np.log(_LARGEST))) * size_px * rng.uniform(0.4, 1.0, count)
    if rng.uniform() < 0.5:  # round
        fine = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        radius = np.interp(fine, angle, radius, period=2 * np.pi)
        radius = np.real(np.fft.ifft(np.fft.fft(radius) * (np.abs(np.fft.fftfreq(64, 1 / 64)) < 6)))
        angle = fine
    corners = np.stack([np.cos(angle), np.sin(angle) * rng.uniform(0.5, 1.5)], axis=1) * radius[:, None]
    corners += size_px * (0.5 + rng.uniform(-_OFF_MIDDLE, _OFF_MIDDLE, 2))
    alpha = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(alpha, [np.rint(corners).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.08 * size_px).astype(np.float32) / 255
    v, u = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px - 0.5
    lit = rng.uniform(0, 2 * np.pi)
    light = (0.4 + 0.6 * soft) * (1 + 0.8 * (u * np.cos(lit) + v * np.sin(lit)))
    shaded = np.asarray(light[..., None] * np.full(3, 0.7), np.float32)
    return Piece(
        image=repainted(shaded, surface, rng),
        alpha=np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.6) / np.float32(255), np.float32),
    )


def _shifted(piece: Piece, scale: float, move_px: FloatArray) -> Piece:
    """Make a piece smaller about the picture's middle and move it."""
    size = len(piece.alpha)
    matrix = np.array([[scale, 0, (1 - scale) * size / 2], [0, scale, (1 - scale) * size / 2]])
    matrix[:, 2] += move_px
    image, alpha = (cv2.warpAffine(part, matrix, (size, size)) for part in (piece.image, piece.alpha))
    return Piece(image=np.asarray(image, np.float32), alpha=np.asarray(alpha, np.float32))


def _over(image: Float32Array, piece: Piece, rng: np.random.Generator) -> Float32Array:
    """Lay a piece over a picture, sometimes with its shadow."""
    if rng.uniform() < 0.6:
        size = len(image)
        matrix = np.array([[1, 0, rng.normal(0, 0.06) * size], [0, 1, rng.uniform(0, 0.08) * size]])
        shadow = cv2.warpAffine(piece.alpha, matrix, (size, size))
        shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(0.01, 0.08) * size)
        image = image * (1 - rng.uniform(0.1, 0.7) * shadow)[..., None]
    alpha = piece.alpha[..., None]
    return np.asarray(image * (1 - alpha) + np.clip(piece.image, 0, 1) * alpha, np.float32)
