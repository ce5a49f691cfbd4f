"""From frames to cameras: climb the ladder of attempts, keep the best model by its scores."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from walkaround.cameras.attempt import (
    MIN_VIEWS,
    Candidate,
    make_attempt,
    prepare_features,
)
from walkaround.cameras.examine import NATIVE_ERRORS, Job
from walkaround.cameras.features import frame_sizes
from walkaround.cameras.ladder import BEFORE_LEARNED, is_enough, ladder
from walkaround.cameras.learned import HINT, can_learn
from walkaround.cameras.options import CamerasOptions, CamerasResult
from walkaround.cameras.pairs import follow_each_other, image_similarity
from walkaround.errors import SequenceRejected
from walkaround.io.colmap import remove_tree
from walkaround.types import Frame, Progress, no_progress

logger = logging.getLogger(__name__)


def estimate_cameras(
    image_dir: Path,
    frames: tuple[Frame, ...],
    *,
    focal_prior_px: float | None,
    ordered: bool,
    scratch_dir: Path,
    options: CamerasOptions,
    seed: int = 0,
    num_threads: int = 2,
    progress: Progress = no_progress,
) -> CamerasResult:
    """Find where each frame's camera stood.

    Parameters
    ----------
    image_dir
        Holds the frames' images.
    focal_prior_px
        Focal length of the images as they lie on disk; None when unknown.
    ordered
        The frames follow each other in time (a video). Photos that turn out to do so as well are treated
        like a video: neighbours in time are the best evidence against a misplaced camera.
    scratch_dir
        For databases; created, and removed afterwards.

    Raises
    ------
    SequenceRejected
        ``cameras_failed``: no camera could be placed.
    UsageError
        Learned features were asked for, and their packages are missing.
    """
    if len(frames) < MIN_VIEWS:
        raise SequenceRejected(
            "cameras_failed",
            f"{len(frames)} frames are too few for cameras; at least {MIN_VIEWS} are needed.",
        )
    can_learn(options)  # a missing package is said before any work
    work = scratch_dir / "cameras"
    remove_tree(work)
    work.mkdir(parents=True)
    try:
        job = Job(
            image_dir=image_dir,
            frames=frames,
            sizes=frame_sizes(image_dir, frames),
            focal_prior_px=focal_prior_px,
            ordered=ordered,
            work=work,
            options=options,
            seed=seed,
            num_threads=num_threads,
        )
        if not ordered and photos_follow_each_other(job):
            job = dataclasses.replace(job, ordered=True)
        return climb(job, progress)
    finally:
        remove_tree(work)


def photos_follow_each_other(job: Job) -> bool:
    """Return True when photos, by the order of their names, follow each other like the frames of a video."""
    database = prepare_features(ladder(len(job.frames), ordered=False, options=job.options)[0], job)
    in_order = follow_each_other(image_similarity(database, job.names))
    if in_order:
        logger.info("The photos follow each other: treated like the frames of a video.")
    return in_order


def climb(job: Job, progress: Progress) -> CamerasResult:
    """Make the attempts of the ladder in order until one is enough; return the best by its scores.

    Raises
    ------
    SequenceRejected
        None of them placed a camera.
    """
    tried: list[dict[str, Any]] = []
    best: Candidate | None = None
    learn = can_learn(job.options)
    steps = ladder(len(job.frames), ordered=job.ordered, options=job.options, can_learn=learn)
    for number, attempt in enumerate(steps):
        progress(number / len(steps))
        if (
            number
            and steps[number - 1].name == BEFORE_LEARNED
            and not learn
            and job.options.learned == "auto"
        ):
            logger.info("Matches are weak; learned features may help: %s.", HINT)
        try:
            candidate = make_attempt(attempt, job)
        except NATIVE_ERRORS as error:
            logger.warning("Attempt %s failed: %s", attempt.name, error)
            tried.append({"attempt": attempt.name, "error": str(error)[:300]})
            continue
        if candidate is None:
            tried.append({"attempt": attempt.name, "scores": {}})
            continue
        tried.append({"attempt": candidate.attempt, "scores": dict(candidate.scores)})
        if best is None or candidate.rank > best.rank:
            best = candidate
        if is_enough(best.scores, job.options, attempt):
            break
    progress(1.0)
    if best is None:
        raise SequenceRejected(
            "cameras_failed",
            f"No camera could be placed for {len(job.frames)} frames after {len(tried)} attempts; "
            "film with more texture and overlap.",
            {"registered_share": 0.0, "num_registered": 0.0},
        )
    notes = {"attempts": tried, "chosen": best.attempt, **best.notes}
    return CamerasResult(model=best.model, scores=best.scores, notes=notes)
