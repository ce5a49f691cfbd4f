"""How near a picture is to the truth."""

from __future__ import annotations

import numpy as np

from walkaround.types import Float32Array


def psnr_db(image: Float32Array, clean: Float32Array) -> float:
    """Return the peak signal-to-noise ratio of 0..1 in dB, clipped as a file would."""
    error = np.clip(image, 0, 1).astype(np.float64) - clean
    return round(float(-10 * np.log10(max(float(np.square(error).mean()), 1e-12))), 3)
