"""Noise out of a sequence's frames: one network learns from some of them and corrects all."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from walkaround.errors import UsageError
from walkaround.io.image import read_image, write_jpeg
from walkaround.restore.options import RestoreFramesOptions
from walkaround.types import Float32Array, Progress, no_progress

LEARN_FROM = 4
"""Frames that the network learns from, evenly spaced."""
_LEARN_SHARE = 0.3  # of the time of thirty frames


@dataclass(frozen=True, kw_only=True)
class RestoredFrames:
    """What was measured."""

    scores: dict[str, float]


def check_torch() -> None:
    """Say before any work that torch is missing.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UsageError("--restore.task needs torch: pip install 'walkaround[torch]', or leave it out.")


def restore_frames(
    image_dir: Path,
    names: tuple[str, ...],
    *,
    options: RestoreFramesOptions,
    jpeg_quality: int,
    seed: int = 0,
    num_threads: int = 1,
    progress: Progress = no_progress,
) -> RestoredFrames:
    """Denoise the JPEG files ``names`` of ``image_dir`` in place.

    Frames of one video show the same things with the same noise, so what is learned from four of them holds
    for all. The noise's deviation is the median over frames, unless it is given.

    Raises
    ------
    UsageError
        torch is missing.
    """
    check_torch()
    import torch

    from walkaround.restore.classical import estimate_sigma
    from walkaround.restore.denoise import correct_noise, learn_noise

    torch.set_num_threads(max(1, num_threads))
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, LEARN_FROM).round().astype(int))]
    examples = [_read(image_dir / name) for name in chosen]
    measured = float(np.median([estimate_sigma(image) for image in examples]))
    sigma = measured if options.sigma is None else options.sigma / 255
    network = learn_noise(
        examples, sigma, options=options.pairs, seed=seed, watch=lambda share: progress(_LEARN_SHARE * share)
    )
    for number, name in enumerate(names):
        done = correct_noise(network, _read(image_dir / name), sigma)
        write_jpeg(image_dir / name, np.round(done * 255).astype(np.uint8), jpeg_quality)
        progress(_LEARN_SHARE + (1 - _LEARN_SHARE) * (number + 1) / len(names))
    return RestoredFrames(scores={"noise_sigma": sigma * 255})


def _read(path: Path) -> Float32Array:
    return read_image(path).astype(np.float32) / np.float32(255)
