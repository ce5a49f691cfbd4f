"""How uncertain a recorded value is, and which values say anything about the light at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkaround.hdr.response import Response
from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Noise of light relative to saturation: variance = read^2 + shot * light + rounding^2.

    A common sensor model (Foi et al. 2008, doi:10.1109/TIP.2008.2001399). The defaults are a guess at a
    phone in daylight; only their relation to each other and to the exposures matters for the merge.
    """

    read: float = 0.0015
    """Standard deviation in the dark, as a share of saturation."""
    shot: float = 0.0002
    """Variance that a unit of light adds, as a share of saturation."""
    bits: int = 8
    """Of a recorded value; the spread of its rounding is added."""


@dataclass(frozen=True, kw_only=True)
class ExposureTable:
    """Looked up by the recorded value: 256 places over 0..1, one column a channel.

    Attributes
    ----------
    variance
        (256, 3) of the light 0..1.
    trust
        (256,) 1 for values that say how much light there was, 0 at saturation, smooth in between.
    """

    variance: Float32Array
    trust: Float32Array


def exposure_table(response: Response, noise: NoiseModel) -> ExposureTable:
    """Tabulate variance and trust over the recorded values of a response."""
    values = np.linspace(0.0, 1.0, 256, dtype=np.float32)
    light = response.linear(np.repeat(values[:, None], 3, axis=1))
    rounding = response.slope(256) / np.float32(np.sqrt(12.0) * (2**noise.bits - 1))
    variance = noise.read**2 + noise.shot * light + rounding**2
    return ExposureTable(variance=variance.astype(np.float32), trust=1.0 - smooth_step(values, 0.90, 0.985))


def smooth_step(values: Float32Array, low: float, high: float) -> Float32Array:
    """Return 0 below ``low``, 1 above ``high``, a cubic in between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)
