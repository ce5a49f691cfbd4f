"""The parts of a build that only ``--hdr`` needs: what the capture stage finds, what the hdr stage writes.

:mod:`walkaround.pipeline` says when they run.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from walkaround.build_options import BuildOptions
from walkaround.errors import InputError, SequenceRejected
from walkaround.frames.options import FramesOptions
from walkaround.hdr.options import HdrOptions
from walkaround.stage_chain import StageChain
from walkaround.types import ByteArray, CaptureInfo
from walkaround.workspace import StageResult


def alternation_options(options: BuildOptions) -> Any:
    """Return what the capture stage's outcome depends on."""
    if options.hdr is None:
        return options.capture
    more = {"exposures": options.hdr.exposures, "response": options.hdr.response}
    return {**dataclasses.asdict(options.capture), **more}


def alternation(capture: CaptureInfo, source: Path, options: HdrOptions | None) -> StageResult:
    """Find the exposures of a capture; the notes hold them for the stages after. Nothing without options.

    Raises
    ------
    SequenceRejected
        They do not alternate, or contradict the options.
    """
    if options is None:
        return StageResult()
    from walkaround.hdr.analysis import analyse_clip
    from walkaround.hdr.reading import open_clip

    try:
        found = analyse_clip(open_clip(source, image_paths=capture.photo_paths), options)
    except InputError as error:
        raise SequenceRejected("no_alternation", _as_build_says(str(error)), capture.scores) from error
    exposures = found.exposures
    notes = {**dataclasses.asdict(exposures), "num_frames": found.num_frames}
    del notes["notes"]
    return StageResult(
        scores={"exposure_range_ev": max(exposures.ev), "flicker_ev": exposures.flicker_ev},
        notes={"exposures": notes},
        warnings=tuple(map(_as_build_says, exposures.notes)),
    )


def _as_build_says(text: str) -> str:
    """Name the options as a build has them: ``--hdr.exposures``, not ``--exposures``."""
    return re.sub(r"--(exposures|response)\b", r"--hdr.\1", text)


def reference_frames(run: StageChain) -> dict[str, Any]:
    """Return what the frames stage needs to choose from those frames only that are exposed best."""
    if run.options.hdr is None:
        return {}
    notes = run.workspace.record.stages["capture"].notes["exposures"]
    return {"every": (len(notes["ev"]), int(notes["reference"]))}


def hdr_stage(run: StageChain, scratch: Path, source: Path, capture: CaptureInfo) -> StageResult:
    """Fuse the frames that the frames stage chose, and write them in their place."""
    from walkaround.hdr.analysis import Analysis, find_response
    from walkaround.hdr.develop import develop_frames
    from walkaround.hdr.exposures import Exposures
    from walkaround.hdr.reading import open_clip

    options, frames = run.options.hdr or HdrOptions(), run.options.frames
    known = dict(run.workspace.record.stages["capture"].notes["exposures"])
    num_frames = int(known.pop("num_frames"))
    exposures = Exposures(**{**known, "ev": tuple(known["ev"])})
    clip = open_clip(source, image_paths=capture.photo_paths)
    image_dir, work_dir = scratch / "images", scratch / "work"
    for folder in (image_dir, work_dir):
        folder.mkdir(parents=True, exist_ok=True)
    result = develop_frames(
        clip,
        Analysis(
            exposures=exposures,
            response=find_response(clip, options, exposures, num_frames),
            num_frames=num_frames,
        ),
        run.frames,
        image_dir,
        scratch_dir=work_dir,
        options=options,
        long_side_px=frames.long_side_px,
        jpeg_quality=frames.jpeg_quality,
        finish=_finish(frames),
        progress=run.progress_of("hdr"),
    )
    return StageResult(scores=result.scores, notes=result.notes)


def _finish(frames: FramesOptions) -> Callable[[ByteArray], ByteArray]:
    """Blur what the frames stage would blur: these pictures take the place of its own."""
    if not frames.blur_models:
        return lambda image: image
    from walkaround.frames.blur import Blur

    return Blur(frames.blur_models, min_score=frames.blur_min_score)
