"""Radiance to pictures: one curve for a whole clip, so that nothing flickers.

OpenCV's tone mappers stretch each picture by its own extremes, which flickers; hence these formulas, each
with its source. All act on luminance and scale the channels by its ratio, with less colour in highlights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from walkaround.errors import InputError
from walkaround.io.color import srgb_from_linear
from walkaround.types import ByteArray, Float32Array

_MIDDLE_GREY = 0.18
_CURVE_PLACES = 8192


@dataclass(frozen=True, kw_only=True)
class ToneCurve:
    """A curve from luminance to display light, fixed for a clip.

    Attributes
    ----------
    name
        A name of :data:`CURVES`.
    gain
        Radiance is multiplied by it: the clip's log-mean luminance becomes middle grey.
    white
        Luminance after the gain that is shown as white.
    """

    name: str
    gain: float
    white: float

    def picture(self, radiance: Float32Array) -> ByteArray:
        """Return the (H, W, 3) uint8 sRGB picture of radiance (H, W, 3)."""
        light = radiance * np.float32(self.gain)
        luminance = np.maximum(_luminance(light), np.float32(1e-8))
        shown = self._table_lookup(luminance)
        ratio = (shown / luminance)[..., None]
        # towards grey as luminance nears white, as film and eyes do
        fade = np.clip(shown - 0.8, 0.0, 0.2)[..., None] * np.float32(2.5)
        color = light * ratio
        color = color + fade * (shown[..., None] - color)
        return np.rint(srgb_from_linear(color) * 255.0).astype(np.uint8)

    def _table_lookup(self, luminance: Float32Array) -> Float32Array:
        stops = np.log2(luminance)
        low, high = -20.0, max(np.log2(self.white), 1.0)
        table = CURVES[self.name](np.exp2(np.linspace(low, high, _CURVE_PLACES)), self.white)
        at = np.clip((stops - low) / (high - low), 0.0, 1.0) * (_CURVE_PLACES - 1)
        return np.interp(at, np.arange(_CURVE_PLACES), table).astype(np.float32)


def fit_curve(radiances: Iterable[Float32Array], name: str, *, brightness_ev: float = 0.0) -> ToneCurve:
    """Fix gain and white for a clip from all its frames; a few thousand pixels of each are looked at.

    The gain is Reinhard's key (doi:10.1145/566654.566575): the log-mean luminance becomes 0.18. White is the
    99.9th percentile over the clip, at least two stops above middle grey.

    Raises
    ------
    InputError
        There is no frame, or all are black.
    """
    samples = [_luminance(_thinned(radiance)).ravel() for radiance in radiances]
    luminance = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    seen = luminance[luminance > 0]
    if len(seen) == 0:
        raise InputError("The frames hold no light at all; there is nothing to tone-map.")
    floor = float(np.percentile(seen, 99.9)) * 2.0**-16  # black pixels must not set the key
    gain = _MIDDLE_GREY / float(np.exp(np.log(np.maximum(seen, floor)).mean())) * 2.0**brightness_ev
    white = max(float(np.percentile(seen, 99.9)) * gain, 4 * _MIDDLE_GREY)
    return ToneCurve(name=name, gain=gain, white=white)


def _luminance(light: Float32Array) -> Float32Array:  # (H, W, 3) -> (H, W)
    """BT.709; written out, since a matrix product's last digit depends on where the arrays lie in memory."""
    red, green, blue = light[..., 0], light[..., 1], light[..., 2]
    return np.asarray(np.float32(0.2126) * red + np.float32(0.7152) * green + np.float32(0.0722) * blue)


def _thinned(radiance: Float32Array) -> Float32Array:
    step = max(1, min(radiance.shape[:2]) // 90)
    return radiance[step // 2 :: step, step // 2 :: step]


def _reinhard(luminance: np.ndarray, white: float) -> np.ndarray:
    """Reinhard et al. 2002, equation 4 (doi:10.1145/566654.566575)."""
    return np.clip(luminance * (1 + luminance / white**2) / (1 + luminance), 0.0, 1.0)


def _filmic(luminance: np.ndarray, white: float) -> np.ndarray:
    """Hable 2010, "Uncharted 2: HDR lighting" (GDC), with his constants; an exposure bias of 2."""

    def curve(x: np.ndarray) -> np.ndarray:
        a, b, c, d, e, f = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30
        return (x * (a * x + c * b) + d * e) / (x * (a * x + b) + d * f) - e / f

    return np.clip(curve(2 * luminance) / curve(np.array(2 * white)), 0.0, 1.0)


def _drago(luminance: np.ndarray, white: float, bias: float = 0.85) -> np.ndarray:
    """Drago et al. 2003, equation 4 (doi:10.1111/1467-8659.00689); ``white`` is their Lwmax."""
    share = np.clip(luminance / white, 0.0, 1.0) ** (np.log(bias) / np.log(0.5))
    return np.clip(np.log1p(luminance) / np.log(2 + 8 * share) / np.log10(1 + white), 0.0, 1.0)


CURVES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "filmic": _filmic,
    "reinhard": _reinhard,
    "drago": _drago,
}
