"""A sequence's depth against the true depth, measured and filled pixels apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import FormatError
from walkaround.io.depth import FILLED, read_grey
from walkaround.io.image import read_stored
from walkaround.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """Over the object's true pixels of all registered frames together."""

    num_compared: int
    coverage: float
    """Share of the pixels with a measured depth."""
    median_relative_error_percent: float
    within_1_percent: float
    """Share of the measured pixels whose depth is within 1 % of the truth."""
    filled_coverage: float = 0.0
    """Share of the pixels with a filled depth; they count nowhere above."""
    filled_median_relative_error_percent: float | None = None
    filled_within_1_percent: float | None = None


def depth_errors(
    sequence_dir: Path, frames: Iterable[tuple[str, Float32Array]], metres_a_step: float
) -> DepthErrors | None:
    """Compare the maps of a sequence with the truth.

    Parameters
    ----------
    frames
        Image name and true depth (H, W), 0 = nothing of the object, of each registered frame.
    metres_a_step
        Units of the truth a step of the sequence's 16-bit maps.

    Raises
    ------
    FormatError
        A map is not a 16-bit PNG.
    """
    num_true, num_frames = 0, 0
    measured, filled = [np.zeros(0)], [np.zeros(0)]
    for image, true in frames:
        num_frames += 1
        num_true += int((true > 0).sum())
        name = f"{Path(image).stem}.png"
        path, beside = sequence_dir / "depth" / name, sequence_dir / "confidence" / name
        if not path.is_file():
            continue
        steps = read_stored(path, cv2.IMREAD_UNCHANGED)
        if steps is None or steps.ndim != 2 or steps.dtype != np.uint16:
            raise FormatError(f"{path} is not a 16-bit grey depth map.")
        steps = resize_nearest(steps, true.shape)
        mark = np.zeros(true.shape, np.bool_)
        if beside.is_file():
            mark = resize_nearest(read_grey(beside), true.shape) == FILLED
        both = (true > 0) & (steps > 0)
        error = np.abs(steps * metres_a_step - true) / np.where(both, true, 1)
        measured.append(error[both & ~mark])
        filled.append(error[both & mark])
    if not num_true:
        return None
    pooled, holes = np.concatenate(measured), np.concatenate(filled)
    return DepthErrors(
        num_compared=num_frames,
        coverage=len(pooled) / num_true,
        median_relative_error_percent=100 * float(np.median(pooled)) if len(pooled) else float("nan"),
        within_1_percent=float(np.mean(pooled <= 0.01)) if len(pooled) else 0.0,
        filled_coverage=len(holes) / num_true,
        filled_median_relative_error_percent=100 * float(np.median(holes)) if len(holes) else None,
        filled_within_1_percent=float(np.mean(holes <= 0.01)) if len(holes) else None,
    )


def resize_nearest(values: np.ndarray, shape_hw: tuple[int, ...]) -> np.ndarray:
    """Nearest neighbour with pixel centres at half integers (cv2.INTER_NEAREST rounds another way)."""
    rows = ((np.arange(shape_hw[0]) + 0.5) * values.shape[0] / shape_hw[0]).astype(int)
    cols = ((np.arange(shape_hw[1]) + 0.5) * values.shape[1] / shape_hw[1]).astype(int)
    return np.asarray(values[np.ix_(rows, cols)])


def depth_rows(errors: DepthErrors) -> list[tuple[str, str]]:
    """Return the rows of the table for people."""
    error = f"{errors.median_relative_error_percent:.3f} % median, {errors.within_1_percent:.3f} within 1 %"
    rows = [("depth coverage", f"{errors.coverage:.3f} of the object's pixels"), ("depth error", error)]
    if errors.filled_median_relative_error_percent is not None:
        text = (
            f"{errors.filled_coverage:.3f} more, {errors.filled_median_relative_error_percent:.3f} % median, "
            f"{errors.filled_within_1_percent:.3f} within 1 %"
        )
        rows.append(("depth filled", text))
    return rows
