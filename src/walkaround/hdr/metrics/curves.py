"""Curves that make radiance comparable by eye: mu-law and PU21."""

from __future__ import annotations

import numpy as np

from walkaround.types import Float32Array, FloatArray

MU = 5000.0
PU21_RANGE = (0.005, 10000.0)
"""Luminance in cd/m2 that PU21 is defined for."""
PU21_WHITE = 256.0
"""The encoded value that stands for the peak in PSNR and SSIM, as the authors' toolbox takes it: it is what
a white of 100 cd/m2 is encoded to, so that numbers of SDR content stay as they are."""
_BANDING_GLARE = (
    0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142,
)  # fmt: skip


def mu_law(radiance: Float32Array) -> FloatArray:
    """Compress radiance 0..1 (clipped) to 0..1: log(1 + mu x) / log(1 + mu), mu = 5000.

    Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609.
    """
    x = np.clip(np.asarray(radiance, np.float64), 0.0, 1.0)
    return np.asarray(np.log1p(MU * x) / np.log1p(MU))


def pu21(luminance: FloatArray) -> FloatArray:
    """Encode light in cd/m2 perceptually uniformly: 0 at 0.005, 256 at about 100, 595 at 10,000.

    PU21 with the coefficients for banding and glare: Mantiuk and Azimi 2021,
    doi:10.1109/PCS50896.2021.9477471, table 1. Channels of RGB are encoded alike, as the paper does.
    """
    a, b, c, d, e, f, g = _BANDING_GLARE
    power = np.clip(np.asarray(luminance, np.float64), *PU21_RANGE) ** d
    return np.asarray(np.maximum(g * (((a + b * power) / (1.0 + c * power)) ** e - f), 0.0))
