"""What is done to a reconstruction that a mapper made: checked, joined with others, mended, trimmed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walkaround.cameras.consistency import Consistency, check_cameras
from walkaround.cameras.features import Sizes
from walkaround.cameras.light import NO_EVIDENCE, FrameLight, LightEvidence, light_conflict
from walkaround.cameras.mend import Scene, loose_cameras, replace_cameras, retriangulate
from walkaround.cameras.merge import MIN_POINTS, bridging_points, crossing_support, join_models, names_of
from walkaround.cameras.options import CamerasOptions
from walkaround.cameras.viewgraph import ViewGraph
from walkaround.io.colmap import from_reconstruction
from walkaround.types import Frame, SparseModel

logger = logging.getLogger(__name__)

NATIVE_ERRORS = (RuntimeError, ValueError, IndexError, KeyError)
"""What pycolmap raises when something inside it goes wrong."""
SUSPECT = 0.6
"""A camera whose support is below this is taken out and placed again."""
TORN = 0.1
"""A walk whose two sides of a step share less than this share of their matches has come apart there."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all attempts at one sequence share."""

    image_dir: Path
    frames: tuple[Frame, ...]
    sizes: Sizes
    focal_prior_px: float | None
    ordered: bool
    work: Path
    options: CamerasOptions
    seed: int
    num_threads: int
    light: Mapping[str, FrameLight] = field(default_factory=dict)
    """Brightness of the frames by image name; without it light is not compared."""
    evidence: LightEvidence = NO_EVIDENCE
    """How the light of matching pairs compares; each attempt has its own."""
    mask_dir: Path | None = None
    """Holds ``<image name>.png``: features where it is not 0 only."""

    @property
    def names(self) -> list[str]:
        return [frame.image for frame in self.frames]

    @property
    def times(self) -> dict[str, int] | None:
        return {frame.image: frame.index for frame in self.frames} if self.ordered else None


@dataclass(kw_only=True)
class Found:
    """A reconstruction under examination."""

    reconstruction: Any
    model: SparseModel
    check: Consistency
    light_conflict: float = math.nan
    """Share of near pairs whose light disagrees (:data:`walkaround.cameras.ladder.FOLDED`)."""
    mended: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    merged: list[list[str]] = field(default_factory=list)
    """The images of each model that was joined to make this one; empty when the mapper made it."""


def examine(reconstruction: Any, graph: ViewGraph, job: Job) -> Found:
    """Check a reconstruction against all verified matches."""
    model = from_reconstruction(reconstruction, job.frames)
    check = check_cameras(model, graph, ordered=job.ordered)
    conflict = light_conflict(model, job.evidence)
    return Found(reconstruction=reconstruction, model=model, check=check, light_conflict=conflict)


def merge_models(parts: list[Found], graph: ViewGraph, database: Path, job: Job) -> list[Found]:
    """Join what the mapper left apart to its largest model; empty when nothing can be joined for certain."""
    order = sorted(parts, key=lambda part: (-len(part.model.views), part.reconstruction.num_points3D() * -1))
    waiting, base = order[1:], order[0] if order else None
    joined = True
    while base is not None and waiting and joined:
        joined = False
        for part in list(waiting):
            if names_of(part.reconstruction) <= names_of(base.reconstruction):
                waiting.remove(part)
                continue
            try:
                both = join_checked(base, part, graph, database, job)
            except NATIVE_ERRORS as error:
                logger.warning("Two models could not be joined: %s", error)
                both = None
            if both is not None:
                base, joined = both, True
                waiting.remove(part)
    return [base] if base is not None and base.merged else []


def join_checked(a: Found, b: Found, graph: ViewGraph, database: Path, job: Job) -> Found | None:
    """Join two models and hold the result against all matches; None unless it stands that test.

    It must keep the images of both, be about as consistent as they were, explain the matches between them,
    and hold points that images of both sides see.
    """
    scene = scene_of(database, graph, job)
    joined = join_models(a.reconstruction, b.reconstruction, scene)
    if joined is None:
        return None
    both = examine(retriangulate(joined, scene), graph, job)
    names_a, names_b = names_of(a.reconstruction), names_of(b.reconstruction)
    only_a, only_b = names_a - names_b, names_b - names_a
    names = [view.frame.image for view in both.model.views]
    support = crossing_support(both.check.pairs, names, only_a, only_b)
    bridges = bridging_points(both.reconstruction, only_a, only_b)
    needed = min(job.options.enough_consistency, a.check.score - 0.05, b.check.score - 0.05)
    right = set(names) == names_a | names_b and support >= SUSPECT and bridges >= MIN_POINTS
    if not right or both.check.score < needed:
        logger.info(
            "Models of %d and %d images are not joined: consistency %.2f, support between them %.2f, "
            "%d common points", len(names_a), len(names_b), both.check.score, support, bridges,
        )  # fmt: skip
        return None
    logger.info("Joined models of %d and %d images", len(names_a), len(names_b))
    both.merged = [*(a.merged or [sorted(names_a)]), sorted(names_b)]
    return both


def mend(found: Found, graph: ViewGraph, database: Path, job: Job) -> Found:
    """Place suspect and missing cameras of a mostly right model again; drop those that stay wrong."""
    registered = [view.frame.image for view in found.model.views]
    suspects = [name for name, s in zip(registered, found.check.cameras, strict=True) if s < SUSPECT]
    if len(suspects) > 0.34 * len(registered):  # the model as a whole is wrong: a matter for another attempt
        return found
    if len(found.check.cuts) and found.check.cuts.min() < TORN:  # nor can single cameras mend that
        return found
    missing = [name for name in job.names if name not in registered]
    if not suspects and not (missing and len(registered) >= 0.5 * len(job.frames)):
        return found
    scene = scene_of(database, graph, job)
    reconstruction = copy_of(found.reconstruction)
    placed = replace_cameras(reconstruction, [*suspects, *missing], scene)
    if not suspects and not placed:
        return found
    again = examine(retriangulate(reconstruction, scene), graph, job)
    worse = [
        view.frame.image
        for view, s in zip(again.model.views, again.check.cameras, strict=True)
        if s < SUSPECT and view.frame.image in placed
    ]
    if worse:
        reconstruction = again.reconstruction
        take_out(reconstruction, worse)
        again = examine(retriangulate(reconstruction, scene), graph, job)
    names = {view.frame.image for view in again.model.views}
    again.mended = sorted(name for name in placed if name in names)
    again.dropped = sorted(name for name in suspects if name not in names)
    again.merged = found.merged
    logger.info("Mended cameras %s, dropped %s", again.mended, again.dropped)
    return again


def trim(found: Found, graph: ViewGraph, database: Path, job: Job) -> Found | None:
    """Take out cameras that hardly a point ties to two others, until there are none.

    None when they are more than a third of the cameras: then nothing holds the rest together either, and
    what is left of a wrong model may well look consistent.
    """
    scene = scene_of(database, graph, job)
    allowed = len(found.model.views) / 3
    while loose := loose_cameras(found.reconstruction):
        logger.info("Cameras %s share hardly a point with two others", loose)
        allowed -= len(loose)
        if allowed < 0:
            return None
        reconstruction = copy_of(found.reconstruction)
        take_out(reconstruction, loose)
        again = examine(retriangulate(reconstruction, scene), graph, job)
        again.mended = [name for name in found.mended if name not in loose]
        again.dropped, again.merged = sorted({*found.dropped, *loose}), found.merged
        found = again
    return found


def scene_of(database: Path, graph: ViewGraph, job: Job) -> Scene:
    return Scene(
        database=database,
        image_dir=job.image_dir,
        scratch_dir=job.work,
        graph=graph,
        times=job.times,
        seed=job.seed,
    )


def copy_of(reconstruction: Any) -> Any:
    return type(reconstruction)(reconstruction)


def take_out(reconstruction: Any, names: list[str]) -> None:
    for image in list(reconstruction.images.values()):
        if image.name in names and image.has_pose:
            reconstruction.deregister_frame(image.frame_id)
