"""The stage of a build: each kept frame is fused with its neighbours and shown through one curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.hdr.analysis import Analysis
from walkaround.hdr.fusion import FusionOptions
from walkaround.hdr.methods import METHODS
from walkaround.hdr.options import HdrOptions
from walkaround.hdr.reading import ClipSource
from walkaround.hdr.sliding import slide
from walkaround.hdr.tonemapping import fit_curve
from walkaround.hdr.windows import window_indices
from walkaround.io.image import shrink, write_jpeg
from walkaround.types import ByteArray, Float32Array, Frame, Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class DevelopResult:
    """What was measured, and what was done."""

    scores: dict[str, float]
    notes: dict[str, Any]


def develop_frames(
    clip: ClipSource,
    analysis: Analysis,
    frames: Sequence[Frame],
    image_dir: Path,
    *,
    scratch_dir: Path,
    options: HdrOptions,
    long_side_px: int,
    jpeg_quality: int,
    finish: Callable[[ByteArray], ByteArray] = lambda image: image,
    progress: Progress = no_progress,
) -> DevelopResult:
    """Write ``image_dir/001.jpg`` ... : the frames, fused and tone-mapped by one curve for all.

    Parameters
    ----------
    frames
        Which frames of the clip; ``source_index`` says where, ``image`` under which name.
    scratch_dir
        For the radiance until the curve is known; removed by the caller.
    finish
        Applied to each picture before it is written.

    Returns
    -------
    DevelopResult
        Scores: ``hdr_confidence``, the mean over all pixels.

    Raises
    ------
    InputError
        A frame cannot be read.
    OutputError
        ``image_dir`` cannot be written, the disk is full.
    """
    confidence = _fuse_frames(clip, analysis, frames, scratch_dir, options.method, progress)
    curve = fit_curve(_radiances(frames, scratch_dir), options.tonemap, brightness_ev=options.brightness_ev)
    for frame, radiance in zip(frames, _radiances(frames, scratch_dir), strict=True):
        picture = finish(shrink(curve.picture(radiance), long_side_px))
        write_jpeg(image_dir / frame.image, picture, jpeg_quality)
    progress(1.0)
    notes = {**_origins(analysis, frames), "tone_curve": dataclasses.asdict(curve)}
    return DevelopResult(scores={"hdr_confidence": confidence}, notes=notes)


def _fuse_frames(
    clip: ClipSource,
    analysis: Analysis,
    frames: Sequence[Frame],
    scratch_dir: Path,
    method: str,
    progress: Progress,
) -> float:
    """Keep the radiance of each frame in ``scratch_dir``; return the mean confidence."""
    by_index = {frame.source_index: frame for frame in frames}
    fuse = METHODS[method](analysis.response, FusionOptions())
    confidences = []
    for number, (index, window) in enumerate(
        slide(clip, analysis.exposures, sorted(by_index), analysis.num_frames)
    ):
        fused = fuse(window)
        confidences.append(float(fused.confidence.mean()))
        half = np.minimum(fused.radiance, np.float32(65504.0)).astype(np.float16)
        np.save(_radiance_path(scratch_dir, by_index[index]), half)
        progress(0.9 * (number + 1) / len(by_index))
    return float(np.mean(confidences))


def _radiances(frames: Sequence[Frame], scratch_dir: Path) -> Iterator[Float32Array]:
    for frame in frames:
        yield np.load(_radiance_path(scratch_dir, frame)).astype(np.float32)


def _origins(analysis: Analysis, frames: Sequence[Frame]) -> dict[str, Any]:
    """Return what went into each picture."""
    exposures = analysis.exposures
    return {
        "exposures": {frame.image: exposures.exposure(frame.source_index) for frame in frames},
        "source_frames": {
            frame.image: list(window_indices(frame.source_index, analysis.num_frames, exposures.period))
            for frame in frames
        },
        "response": analysis.response.name,
    }


def _radiance_path(folder: Path, frame: Frame) -> Path:
    return folder / f"{Path(frame.image).stem}.npy"
