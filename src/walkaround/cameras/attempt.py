"""One attempt of the ladder: features, matches, mapping, checks, mending."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.cameras.consistency import check_cameras
from walkaround.cameras.database import match_pairs
from walkaround.cameras.examine import (
    NATIVE_ERRORS,
    Found,
    Job,
    copy_of,
    examine,
    mend,
    merge_models,
    scene_of,
    trim,
)
from walkaround.cameras.features import extract_features
from walkaround.cameras.ladder import FOLDED, Attempt, is_enough, is_folded, overall
from walkaround.cameras.learned import add_learned_features
from walkaround.cameras.light import TIMES, compare_light, pairs_of_one_light
from walkaround.cameras.mapping import run_mapper
from walkaround.cameras.mend import retriangulate
from walkaround.cameras.normalise import Normalisation, normalise
from walkaround.cameras.pairs import choose_pairs
from walkaround.cameras.scoring import measure_model
from walkaround.cameras.viewgraph import ViewGraph, delete_pairs, read_view_graph
from walkaround.types import SparseModel

logger = logging.getLogger(__name__)

MIN_VIEWS = 3
LIT_WELL = 1.5
"""Like :data:`walkaround.cameras.light.TIMES`, for a second, stricter choice of pairs."""
FALSE_PAIR = 0.5
"""A pair of which the poses explain less than this share is held to be a false match."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model that an attempt found, normalised."""

    attempt: str
    reconstruction: Any  # pycolmap.Reconstruction, not normalised
    model: SparseModel
    scores: dict[str, float]
    notes: dict[str, Any]

    @property
    def rank(self) -> float:
        return overall(self.scores)


def make_attempt(attempt: Attempt, job: Job) -> Candidate | None:
    """Run one attempt and return its best model by the scores, or None when there is none.

    When the model from all pairs is weak, the mapper runs again without the pairs that the first model
    cannot explain, then (for a video) with neighbours in time only: mapping is cheap beside the features.
    """
    database = prepare_database(attempt, job)
    if not job.ordered:  # in a video the neighbours in time tell sides apart, and tell more surely
        job = dataclasses.replace(job, evidence=compare_light(read_view_graph(database), job.light))
    best: Candidate | None = None
    pairs_of_best = database
    for variant, prepare in _variants(attempt, job):
        target = prepare(database, best)
        if target is None:
            continue
        found = _map(target, attempt, job)
        candidate = _best_of(found, f"{attempt.name}/{variant}", target, job)
        if candidate is not None and (best is None or candidate.rank > best.rank):
            best, pairs_of_best = candidate, target
        if best is not None and is_enough(best.scores, job.options, attempt):
            break
    if best is not None and pairs_of_best != database:
        best = completed(best, database, pairs_of_best, job)
    return best


def completed(candidate: Candidate, database: Path, used: Path, job: Job) -> Candidate:
    """Triangulate and adjust a model from some of the pairs again with the matches of all pairs.

    Its poses now tell right matches from false ones, and every right match makes it more precise. Its
    consistency is measured, as the candidate's was, against the pairs in ``used``.
    """
    graph = read_view_graph(database)
    scene = scene_of(database, graph, job)
    try:
        again = examine(retriangulate(copy_of(candidate.reconstruction), scene), graph, job)
    except NATIVE_ERRORS as error:
        logger.warning("Cameras of %s could not be completed: %s", candidate.attempt, error)
        return candidate
    before = check_cameras(candidate.model, graph, ordered=job.ordered).score
    if (
        len(again.model.views) < len(candidate.model.views)
        or again.check.score < min(before - 0.05, job.options.enough_consistency)
        or again.light_conflict > FOLDED
    ):
        return candidate
    normalised, world = normalise(again.model)
    scores = measure_model(
        normalised, num_frames=len(job.frames), num_models=int(candidate.scores["num_models"]),
        consistency=check_cameras(again.model, read_view_graph(used), ordered=job.ordered).score,
        light_conflict=again.light_conflict,
    )  # fmt: skip
    notes = {**candidate.notes, **_world_notes(world)}
    return dataclasses.replace(
        candidate, reconstruction=again.reconstruction, model=normalised, scores=scores, notes=notes
    )


def prepare_database(attempt: Attempt, job: Job) -> Path:
    """Extract and match; attempts that share features add to the same database."""
    if attempt.learned:
        return _prepare_learned(attempt, job)
    database = prepare_features(attempt, job)
    pairs = choose_pairs(attempt, job.names, database, options=job.options)
    match_pairs(
        database, pairs, attempt=attempt, seed=job.seed, num_threads=job.num_threads, scratch_dir=job.work
    )
    return database


def _prepare_learned(attempt: Attempt, job: Job) -> Path:
    database = job.work / f"{attempt.features_key}.db"
    add_learned_features(
        prepare_database(dataclasses.replace(attempt, learned=False), job),
        database,
        job.image_dir,
        job.names,
        attempt=attempt,
        options=job.options,
        ordered=job.ordered,
        seed=job.seed,
        num_threads=job.num_threads,
        mask_dir=job.mask_dir,
    )
    return database


def prepare_features(attempt: Attempt, job: Job) -> Path:
    """Extract the features of an attempt unless an earlier one did."""
    database = job.work / f"{attempt.features_key}.db"
    if not database.exists():
        extract_features(
            database,
            job.image_dir,
            job.sizes,
            attempt=attempt,
            options=job.options,
            focal_prior_px=job.focal_prior_px,
            num_threads=job.num_threads,
            mask_dir=job.mask_dir,
        )
    return database


Prepare = Callable[[Path, Candidate | None], Path | None]


def _variants(attempt: Attempt, job: Job) -> tuple[tuple[str, Prepare], ...]:
    """All pairs first; then without those that contradict the first model; when views of different sides were
    folded together, with pairs of one light only; then neighbours in time only."""

    def cleaned(database: Path, best: Candidate | None) -> Path | None:
        if best is None:
            return None
        graph = read_view_graph(database)
        check = check_cameras(best.model, graph, ordered=job.ordered)
        image = [view.frame.image for view in best.model.views]
        false = [(image[p.first], image[p.second]) for p in check.pairs if p.share < FALSE_PAIR]
        if job.times is not None:
            times = job.times
            false = [(a, b) for a, b in false if abs(times[a] - times[b]) > 2]
        return _without(database, job.work / "cleaned.db", false) if false else None

    def lit(times: float) -> Prepare:
        def prepare(database: Path, best: Candidate | None) -> Path | None:
            if best is None or not is_folded(best.scores):
                return None
            alike = pairs_of_one_light(job.evidence, times)
            other = [pair for pair in read_view_graph(database).matches if pair not in alike]
            return _without(database, job.work / f"lit-{times:g}.db", other)

        return prepare

    def chain(database: Path, best: Candidate | None) -> Path | None:
        times = job.times
        if times is None:
            return None
        graph = read_view_graph(database)
        far = [(a, b) for a, b in graph.matches if abs(times[a] - times[b]) > 3]
        return _without(database, job.work / "chain.db", far) if far else None

    return (
        ("all", lambda database, best: database),
        ("cleaned", cleaned),
        ("lit", lit(TIMES)),
        ("lit_well", lit(LIT_WELL)),
        ("chain", chain),
    )


def _without(database: Path, copy: Path, pairs: list[tuple[str, str]]) -> Path:
    shutil.copyfile(database, copy)
    delete_pairs(copy, pairs)
    return copy


def _map(database: Path, attempt: Attempt, job: Job) -> list[Any]:
    found = run_mapper(database, job.image_dir, job.work, mapper=attempt.mapper, seed=job.seed)
    return [rec for rec in found if rec.num_reg_images() >= MIN_VIEWS]


def _best_of(found: list[Any], name: str, database: Path, job: Job) -> Candidate | None:
    graph = read_view_graph(database)
    models = [sorted(image.name for image in rec.images.values() if image.has_pose) for rec in found]
    candidates = []
    parts = [examine(reconstruction, graph, job) for reconstruction in found]
    for examined in [*parts, *merge_models(parts, graph, database, job)]:
        kept = _improved(examined, name, graph, database, job)
        if kept is not None and len(kept.model.views) >= MIN_VIEWS:
            candidates.append(_candidate(name, kept, models, job))
    return max(candidates, key=lambda c: c.rank) if candidates else None


def _improved(found: Found, name: str, graph: ViewGraph, database: Path, job: Job) -> Found | None:
    try:
        found = mend(found, graph, database, job)
    except NATIVE_ERRORS as error:
        logger.warning("Cameras of %s could not be mended: %s", name, error)
    try:
        return trim(found, graph, database, job)
    except NATIVE_ERRORS as error:
        logger.warning("Cameras of %s could not be taken out: %s", name, error)
        return None


def _candidate(name: str, found: Found, models: list[list[str]], job: Job) -> Candidate:
    normalised, world = normalise(found.model)
    models = [[image for image in names if image not in found.dropped] for names in models]
    apart = separate_models(models, [view.frame.image for view in normalised.views])
    scores = measure_model(
        normalised,
        num_frames=len(job.frames),
        num_models=1 + len(apart),
        consistency=found.check.score,
        light_conflict=found.light_conflict,
    )
    notes: dict[str, Any] = {
        "models": [[view.frame.image for view in normalised.views], *apart],
        "mended": found.mended,
        "dropped": found.dropped,
        "merged": found.merged,
        **_world_notes(world),
    }
    return Candidate(
        attempt=name, reconstruction=found.reconstruction, model=normalised, scores=scores, notes=notes
    )


def _world_notes(world: Normalisation) -> dict[str, Any]:
    plane = world.support_plane
    return {"up_source": world.up_source, "support_plane": list(plane) if plane else None}


def separate_models(models: list[list[str]], kept: list[str]) -> list[list[str]]:
    """Return the frames of the other models that the kept one lacks, each frame once."""
    seen, apart = set(kept), []
    for names in sorted(models, key=lambda m: (-len(m), m)):
        rest = [name for name in names if name not in seen]
        if len(rest) >= 2:
            apart.append(rest)
            seen |= set(rest)
    return apart
