"""From frames to cameras: climb the ladder of attempts, keep the best model by its scores.

Before a camera that stands while the object moves, the object is solved in its own frame, by features on what
moves (:mod:`walkaround.cameras.moving`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from walkaround.cameras.attempt import (
    MIN_VIEWS,
    Candidate,
    make_attempt,
    prepare_features,
)
from walkaround.cameras.examine import NATIVE_ERRORS, Job
from walkaround.cameras.features import frame_sizes, read_frame
from walkaround.cameras.ladder import BEFORE_LEARNED, Attempt, is_enough, ladder
from walkaround.cameras.learned import HINT, can_learn
from walkaround.cameras.light import read_lights
from walkaround.cameras.moving import Motion, check_subject, find_motion, write_moving
from walkaround.cameras.options import CamerasOptions, CamerasResult
from walkaround.cameras.pairs import follow_each_other, image_similarity
from walkaround.errors import SequenceRejected
from walkaround.io.colmap import remove_tree
from walkaround.types import Frame, Progress, no_progress

logger = logging.getLogger(__name__)

NEARLY_ALL = 0.95
"""When this share of the frames is registered and one more attempt adds none, the rest will not come."""


def estimate_cameras(
    image_dir: Path,
    frames: tuple[Frame, ...],
    *,
    focal_prior_px: float | None,
    ordered: bool,
    standing: bool = False,
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
    standing
        The camera is known to stand while the object moves: features are taken on what moves only, and the
        cameras are those of the object's own frame.
    scratch_dir
        For databases; created, and removed afterwards.

    Raises
    ------
    SequenceRejected
        ``cameras_failed``: no camera could be placed. ``static_camera``: nothing that moves before a
        standing camera could be told from what stands.
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
        job = _with_what_photos_tell(job)
        result = solve(job, standing=standing, video=ordered, progress=progress)
        return dataclasses.replace(result, notes={**result.notes, "in_order": job.ordered})
    finally:
        remove_tree(work)


def _with_what_photos_tell(job: Job) -> Job:
    """Say whether photos follow each other after all; read their light where they do not."""
    if not job.ordered and photos_follow_each_other(job):
        job = dataclasses.replace(job, ordered=True)
    if job.ordered:
        return job
    return dataclasses.replace(job, light=read_lights(job.image_dir, job.names, job.num_threads))


def photos_follow_each_other(job: Job) -> bool:
    """Return True when photos, by the order of their names, follow each other like the frames of a video."""
    database = prepare_features(ladder(len(job.frames), ordered=False, options=job.options)[0], job)
    in_order = follow_each_other(image_similarity(database, job.names))
    if in_order:
        logger.info("The photos follow each other: treated like the frames of a video.")
    return in_order


class Climb:
    """Attempts made so far at one job, and the best model among them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.best: Candidate | None = None
        self.tried: list[dict[str, Any]] = []
        self.learns = can_learn(job.options)
        self.steps = ladder(len(job.frames), ordered=job.ordered, options=job.options, can_learn=self.learns)

    def up(self, steps: Sequence[Attempt], progress: Progress = no_progress) -> bool:
        """Make attempts in order until one is enough; return whether one was."""
        for number, attempt in enumerate(steps):
            progress(number / len(steps))
            self._hint(attempt)
            try:
                candidate = make_attempt(attempt, self.job)
            except NATIVE_ERRORS as error:
                logger.warning("Attempt %s failed: %s", attempt.name, error)
                self.tried.append({"attempt": attempt.name, "error": str(error)[:300]})
                continue
            if candidate is None:
                self.tried.append({"attempt": attempt.name, "scores": {}})
                continue
            self.tried.append({"attempt": candidate.attempt, "scores": dict(candidate.scores)})
            before = self.best
            best = candidate if before is None or candidate.rank > before.rank else before
            self.best = best
            if self._is_done(attempt, best, before):
                return True
        return False

    def result(self) -> CamerasResult:
        """Return the best by its scores.

        Raises
        ------
        SequenceRejected
            No attempt placed a camera.
        """
        if self.best is None:
            raise SequenceRejected(
                "cameras_failed",
                f"No camera could be placed for {len(self.job.frames)} frames after {len(self.tried)} "
                "attempts; film with more texture and overlap.",
                {"registered_share": 0.0, "num_registered": 0.0},
            )
        notes = {"attempts": self.tried, "chosen": self.best.attempt, **self.best.notes}
        return CamerasResult(model=self.best.model, scores=self.best.scores, notes=notes)

    def _is_done(self, attempt: Attempt, best: Candidate, before: Candidate | None) -> bool:
        """True when the best is enough, or when it has nearly all and a further attempt placed no more."""
        if is_enough(best.scores, self.job.options, attempt):
            return True
        nearly = dataclasses.replace(
            self.job.options, enough_registered=min(NEARLY_ALL, self.job.options.enough_registered)
        )
        placed = len(best.model.views)
        return (
            before is not None
            and placed <= len(before.model.views)
            and is_enough(best.scores, nearly, attempt)
        )

    def _hint(self, attempt: Attempt) -> None:
        at = self.steps.index(attempt)
        after = at > 0 and self.steps[at - 1].name == BEFORE_LEARNED
        if after and not self.learns and self.job.options.learned == "auto":
            logger.info("Matches are weak; learned features may help: %s.", HINT)


def solve(job: Job, *, standing: bool, video: bool, progress: Progress) -> CamerasResult:
    """Solve the scene; of a camera that stands, what moves before it.

    A hand-held camera that stands sways, so that its background seems to move. When the first attempt at a
    video is weak, it is asked whether all frames show one background from one place.

    Raises
    ------
    SequenceRejected
        No camera could be placed, or nothing moves before a standing camera.
    """
    if standing:
        return solve_object(job, find_subject(job), progress)
    climb = Climb(job)
    first, rest = climb.steps[:1], climb.steps[1:]
    enough = climb.up(first)
    if not enough and video:
        subject = find_subject(job)
        if subject.stands:
            logger.info("All frames show one background from one place: what moves before it is solved.")
            return solve_object(job, subject, progress)
    if not enough:
        climb.up(rest, progress)
    progress(1.0)
    return climb.result()


def find_subject(job: Job) -> Motion:
    """Tell what moves from what stands in the frames of a job."""
    return find_motion([read_frame(job.image_dir / name, cv2.IMREAD_COLOR) for name in job.names])


def solve_object(job: Job, subject: Motion, progress: Progress) -> CamerasResult:
    """Find the cameras in the frame of the object that moves before a standing camera.

    Raises
    ------
    SequenceRejected
        ``static_camera``: no object can be told from the background, or it could not be followed.
    """
    check_subject(subject)
    mask_dir = job.work / "moving"
    write_moving(subject, job.names, mask_dir)
    work = job.work / "object"
    work.mkdir()
    climb = Climb(dataclasses.replace(job, work=work, mask_dir=mask_dir))
    climb.up(climb.steps, progress)
    progress(1.0)
    result = climb.result()
    notes = {**result.notes, "moving_share": subject.share, "sway_px": subject.sway_px}
    return dataclasses.replace(result, scores={**result.scores, "object_first": 1.0}, notes=notes)
