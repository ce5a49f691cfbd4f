"""Visible differences by the authors' own packages, where they are installed; never a stand-in for them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from walkaround.types import Float32Array

logger = logging.getLogger(__name__)

_DISPLAY = "standard_hdr_linear"
"""Both packages' 30-inch display for values in cd/m2, up to 1500, seen from twice its height."""


def color_video_vdp(
    result: Sequence[Float32Array], truth: Sequence[Float32Array], *, frame_rate: float, peak_nits: float
) -> float | str:
    """Return ColorVideoVDP's quality in JOD (10 is the truth itself), or why it was not run.

    Mantiuk et al. 2024, doi:10.1145/3658144; the package ``cvvdp`` (MIT), which needs torchvision.
    """
    try:
        pycvvdp = importlib.import_module("pycvvdp")
    except Exception as error:  # a package built against another torch raises more than ImportError
        return _not_run("ColorVideoVDP", error)
    metric = pycvvdp.cvvdp(display_name=_DISPLAY, heatmap=None, quiet=True)
    jod, _ = metric.predict(
        _lit(result, peak_nits), _lit(truth, peak_nits), dim_order="FHWC", frames_per_second=frame_rate
    )
    return float(jod)


def fov_video_vdp(
    result: Sequence[Float32Array], truth: Sequence[Float32Array], *, frame_rate: float, peak_nits: float
) -> float | str:
    """Return FovVideoVDP's quality in JOD (10 is the truth itself), or why it was not run.

    Mantiuk et al. 2021, doi:10.1145/3450626.3459831; the package ``pyfvvdp`` (CC BY-NC).
    """
    try:
        pyfvvdp = importlib.import_module("pyfvvdp")
    except Exception as error:  # see above
        return _not_run("FovVideoVDP", error)
    metric = pyfvvdp.fvvdp(display_name=_DISPLAY, heatmap=None, quiet=True)
    jod, _ = metric.predict(
        _lit(result, peak_nits), _lit(truth, peak_nits), dim_order="FHWC", frames_per_second=frame_rate
    )
    return float(jod)


def _lit(frames: Sequence[Float32Array], peak_nits: float) -> Any:
    return np.clip(np.stack(frames) * np.float32(peak_nits), 0.005, peak_nits).astype(np.float32)


def _not_run(name: str, error: Exception) -> str:
    logger.debug("%s was not run: %r", name, error)
    return f"not run ({type(error).__name__}: {error})"
