"""How restoration hangs into a build: within the stage ``frames``, on the images that were just chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from walkaround.build_options import BuildOptions
from walkaround.dataset.schema import FrameRecord
from walkaround.errors import UsageError
from walkaround.restore.options import check_seed
from walkaround.stage_chain import StageChain


def check_restore(options: BuildOptions) -> None:
    """Say before any work that frames cannot be restored.

    Raises
    ------
    UsageError
        torch is missing, an option is out of range, or frames of alternating exposures are to be fused as
        well.
    """
    if options.restore.task == "none":
        return
    if options.hdr is not None:
        raise UsageError("--restore.task and --hdr exclude each other: fusion averages the noise itself.")
    options.restore.check()
    check_seed(options.seed)
    from walkaround.restore.frames import check_torch

    check_torch()


def frames_options(options: BuildOptions) -> Any:
    """Return what the frames depend on: restoration only where it is asked for."""
    if options.restore.task == "none":
        return options.frames
    restore = {**dataclasses.asdict(options.restore), "seed": options.seed}
    return {**dataclasses.asdict(options.frames), "restore": restore}


def restore_scores(run: StageChain, image_dir: Path, frames: Sequence[FrameRecord]) -> dict[str, float]:
    """Restore the frames in place when that is asked for; return what was measured on them."""
    if run.options.restore.task == "none" or not frames:
        return {}
    from walkaround.restore.frames import restore_frames

    return restore_frames(
        image_dir,
        tuple(frame.image for frame in frames),
        options=run.options.restore,
        jpeg_quality=run.options.frames.jpeg_quality,
        seed=run.options.seed,
        num_threads=run.options.num_threads,
        progress=run.progress_of("frames"),
    ).scores
