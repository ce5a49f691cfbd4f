"""Limits of the options that a user can set, checked before any work starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walkaround.errors import UsageError
from walkaround.hdr.options import HdrOptions
from walkaround.masks.models import check_model

LIMITS: dict[str, tuple[float, float]] = {
    "threads": (0, 4096),
    "capture.max_photos": (2, math.inf),
    "capture.max_duration_s": (0.1, math.inf),
    "capture.max_frames": (2, math.inf),
    "capture.max_size_mb": (0.001, math.inf),
    "capture.max_pixels": (4096, math.inf),
    "frames.num_frames": (2, math.inf),
    "frames.long_side_px": (64, math.inf),
    "frames.jpeg_quality": (1, 100),
    "frames.blur_min_score": (0, 1),
    "restore.sigma": (0, 128),
    "depth.max_size": (64, math.inf),
    "depth.num_sources": (1, 64),
    "depth.num_neighbours": (1, 64),
    "depth.sweeps": (1, 16),
    "depth.min_consistent_views": (0, 64),
    "depth.max_reprojection_px": (0, math.inf),
    "depth.max_relative_difference": (0, 1),
    "masks.max_size": (64, math.inf),
    "masks.grid": (16, 1024),
    "cloud.min_views": (1, 255),
    "cloud.max_relative_difference": (0, 1),
    "cloud.spacing_px": (0.05, math.inf),
    "cloud.max_points": (100, math.inf),
}
"""Smallest and largest value by option name."""

DEPTH_BACKENDS = ("auto", "colmap_cuda", "learned", "patchmatch")


def check_limits(options: Mapping[str, Any]) -> None:
    """Check a build's options, nested by stage, against :data:`LIMITS`.

    Raises
    ------
    UsageError
        A value lies outside its limits, a backend is unknown, or a model is neither known nor a file.
    """
    for name, (low, high) in LIMITS.items():
        value: Any = options
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and not low <= value <= high:
            most = "" if math.isinf(high) else f" and at most {high:g}"
            raise UsageError(f"--{name.replace('_', '-')} {value} is out of range: at least {low:g}{most}.")
    backend = options.get("depth", {}).get("backend")
    if backend is not None and backend not in DEPTH_BACKENDS:
        raise UsageError(
            f"--depth.backend {backend!r} is unknown; choose one of {', '.join(DEPTH_BACKENDS)}."
        )
    for name in ("fill", "complete"):
        if backend in ("colmap_cuda", "learned") and options.get("depth", {}).get(name):
            raise UsageError(f"--depth.{name} works with --depth.backend patchmatch, not with {backend}.")
    weights = options.get("depth", {}).get("weights")
    if weights is not None and (backend != "learned" or not Path(weights).is_file()):
        raise UsageError(f"--depth.weights {weights} must be a file and goes with --depth.backend learned.")
    for path in options.get("frames", {}).get("blur_models", ()):
        if not Path(path).is_file():
            raise UsageError(f"--frames.blur-models {path} is not a file. Give the path of an ONNX detector.")
    hdr = options.get("hdr")
    if hdr is not None:
        HdrOptions(**hdr).check()
    model = options.get("masks", {}).get("model")
    if model is not None:
        check_model(Path(model))
