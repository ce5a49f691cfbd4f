"""The sensor: light in, recorded picture out; and the scaling of a picture to what a camera would meet."""

from __future__ import annotations

import numpy as np

from walkaround.hdr.clip import Exposed
from walkaround.hdr.synthesis.options import CameraOptions
from walkaround.types import Float32Array

_POWERS = (0.5, 1.8)


def record(
    radiance: Float32Array, exposure: float, options: CameraOptions, rng: np.random.Generator
) -> Exposed:
    """Record one frame.

    Light = radiance x exposure; noise of variance ``shot_noise * light + read_noise ** 2`` (the Poisson and
    Gaussian parts of Foi et al., doi:10.1109/TIP.2008.2001399); then saturation, curve, quantisation.

    Parameters
    ----------
    radiance
        (H, W, 3), 1 saturates an exposure of 1.
    """
    light = radiance * np.float32(exposure)
    spread = np.sqrt(options.shot_noise * np.minimum(light, 1.0) + options.read_noise**2)
    light = light + spread.astype(np.float32) * rng.standard_normal(light.shape, dtype=np.float32)
    wrong = np.exp(rng.uniform(-options.tone, options.tone))
    image = np.clip(light, 0.0, 1.0) ** np.float32(wrong / options.gamma)
    if options.bits:
        top = np.float32(2**options.bits - 1)
        image = np.rint(image * top) / top
    return Exposed(image=np.asarray(image, np.float32), exposure=exposure)


def grade(radiance: Float32Array, saturated_share: float, median_light: float) -> tuple[float, float]:
    """Return scale and power: ``(scale * radiance) ** power`` has that share above 1 and that median.

    Radiance files come in any unit and with ranges from 10:1 to 1e6:1. A photographer chooses exposures
    that suit the scene; so does this, and where the scene's range is too small or too large for the
    exposures, the power (0.5 to 1.8) changes it.
    """
    luminance = radiance.mean(axis=2)
    peak = radiance.max(axis=2)
    white = max(float(np.quantile(peak, 1.0 - saturated_share)), 1e-9)
    middle = float(np.median(luminance)) / white
    power = np.log(median_light) / np.log(np.clip(middle, 1e-9, 0.97))
    return 1.0 / white, float(np.clip(power, *_POWERS))


def graded(radiance: Float32Array, scale: float, power: float) -> Float32Array:
    """Apply :func:`grade`'s numbers; at most 64, far above what any exposure keeps."""
    return np.minimum((np.maximum(radiance, 0.0) * np.float32(scale)) ** np.float32(power), np.float32(64.0))
