"""From frames to cameras: climb the ladder of attempts, keep the best model by its scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.cameras.consistency import check_cameras
from walkaround.cameras.database import extract_features, frame_sizes, match_pairs
from walkaround.cameras.ladder import Attempt, is_enough, ladder, overall
from walkaround.cameras.mapping import run_mapper
from walkaround.cameras.normalise import normalise
from walkaround.cameras.options import CamerasOptions, CamerasResult
from walkaround.cameras.pairs import choose_pairs
from walkaround.cameras.scoring import measure_model
from walkaround.cameras.viewgraph import read_view_graph
from walkaround.errors import SequenceRejected
from walkaround.io.colmap import from_reconstruction, remove_tree
from walkaround.types import Frame, Progress, SparseModel, no_progress

logger = logging.getLogger(__name__)

MIN_VIEWS = 3
NATIVE_ERRORS = (RuntimeError, ValueError, IndexError, KeyError)
"""What pycolmap raises when something inside it goes wrong."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model that an attempt found."""

    attempt: str
    model: SparseModel
    scores: dict[str, float]
    notes: dict[str, Any]

    @property
    def rank(self) -> float:
        return overall(self.scores)


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
        The frames follow each other in time (a video).
    scratch_dir
        For databases; created, and removed afterwards.

    Raises
    ------
    SequenceRejected
        ``cameras_failed``: no camera could be placed.
    """
    if len(frames) < MIN_VIEWS:
        raise SequenceRejected(
            "cameras_failed",
            f"{len(frames)} frames are too few for cameras; at least {MIN_VIEWS} are needed.",
        )
    work = scratch_dir / "cameras"
    remove_tree(work)
    work.mkdir(parents=True)
    run = _Run(
        image_dir=image_dir,
        frames=frames,
        focal_prior_px=focal_prior_px,
        ordered=ordered,
        work=work,
        options=options,
        seed=seed,
        num_threads=num_threads,
    )
    try:
        return run.climb(progress)
    finally:
        remove_tree(work)


@dataclass(frozen=True, kw_only=True)
class _Run:
    image_dir: Path
    frames: tuple[Frame, ...]
    focal_prior_px: float | None
    ordered: bool
    work: Path
    options: CamerasOptions
    seed: int
    num_threads: int

    def climb(self, progress: Progress) -> CamerasResult:
        """Make the attempts in order until one is enough; return the best."""
        sizes = frame_sizes(self.image_dir, self.frames)
        tried: list[dict[str, Any]] = []
        best: Candidate | None = None
        steps = ladder(ordered=self.ordered, options=self.options)
        for number, attempt in enumerate(steps):
            progress(number / len(steps))
            try:
                found = self.make(attempt, sizes)
            except NATIVE_ERRORS as error:
                logger.warning("Attempt %s failed: %s", attempt.name, error)
                tried.append({"attempt": attempt.name, "error": str(error)[:300]})
                continue
            candidates = [self.judge(attempt, model, found) for model in found]
            candidates.sort(key=lambda c: -c.rank)
            top = candidates[0] if candidates else None
            tried.append({"attempt": attempt.name, "scores": dict(top.scores) if top else {}})
            if top is not None and (best is None or top.rank > best.rank):
                best = top
            if best is not None and is_enough(best.scores, self.options):
                break
        progress(1.0)
        if best is None:
            raise SequenceRejected(
                "cameras_failed",
                f"No camera could be placed for {len(self.frames)} frames after {len(tried)} attempts; "
                "film with more texture and overlap.",
                {"registered_share": 0.0, "num_registered": 0.0},
            )
        notes = {"attempts": tried, "chosen": best.attempt, **best.notes}
        return CamerasResult(model=best.model, scores=best.scores, notes=notes)

    def make(self, attempt: Attempt, sizes: dict[tuple[int, int], list[str]]) -> list[SparseModel]:
        """Run one attempt; models with too few views are left out."""
        database = self.work / f"{attempt.features_key}.db"
        if not database.exists():
            extract_features(
                database,
                self.image_dir,
                sizes,
                attempt=attempt,
                options=self.options,
                focal_prior_px=self.focal_prior_px,
                num_threads=self.num_threads,
            )
        names = [frame.image for frame in self.frames]
        pairs = choose_pairs(attempt, names, database, options=self.options)
        match_pairs(
            database,
            pairs,
            attempt=attempt,
            seed=self.seed,
            num_threads=self.num_threads,
            scratch_dir=self.work,
        )
        found = run_mapper(database, self.image_dir, self.work, mapper=attempt.mapper, seed=self.seed)
        models = [from_reconstruction(reconstruction, self.frames) for reconstruction in found]
        return [model for model in models if len(model.views) >= MIN_VIEWS]

    def judge(self, attempt: Attempt, model: SparseModel, found: list[SparseModel]) -> Candidate:
        """Check, normalise and score one of the models ``found`` by an attempt."""
        graph = read_view_graph(self.work / f"{attempt.features_key}.db")
        check = check_cameras(model, graph, ordered=self.ordered)
        normalised, world = normalise(model)
        scores = measure_model(
            normalised, num_frames=len(self.frames), num_models=len(found), consistency=check.score
        )
        notes: dict[str, Any] = {
            "models": [[view.frame.image for view in other.views] for other in found],
            "up_source": world.up_source,
            "support_plane": list(world.support_plane) if world.support_plane else None,
        }
        return Candidate(attempt=attempt.name, model=normalised, scores=scores, notes=notes)
