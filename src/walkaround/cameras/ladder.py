"""The ladder of attempts: what is tried, in which order, when structure from motion is weak."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.cameras.options import CamerasOptions


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to run structure from motion."""

    name: str
    pairs: str
    """``sequential`` (neighbours in time and loop closures), ``similar`` or ``exhaustive``."""
    image_scale: float = 1.0
    """Times ``CamerasOptions.max_image_size_px``."""
    feature_scale: float = 1.0
    """Times ``CamerasOptions.max_features``."""
    affine: bool = False
    """Affine shape and domain-size pooling (slow, sturdier against a change of viewpoint)."""
    max_ratio: float = 0.8
    """Lowe's ratio test."""
    guided: bool = False
    """Match again along the epipolar lines."""
    learned: bool = False
    """Learned features and matches are added to the SIFT ones where those are few."""
    min_inliers: int = 15
    """Pairs with fewer verified matches are dropped."""
    max_trials: int = 10000
    """Most RANSAC trials a pair; pairs that do not belong together use them all."""
    enough_consistency: float = 0.0
    """Asked of this attempt beyond ``CamerasOptions.enough_consistency``."""
    mapper: str = "incremental"
    """``incremental`` or ``global``."""

    @property
    def features_key(self) -> str:
        """Attempts with the same key share their features."""
        kind = "learned" if self.learned else "affine" if self.affine else "plain"
        return f"{self.image_scale:g}-{self.feature_scale:g}-{kind}"


ORDERED_LADDER: tuple[Attempt, ...] = (
    Attempt(name="fast", pairs="sequential", max_trials=3000),
    Attempt(name="exhaustive", pairs="exhaustive", max_trials=3000),
    Attempt(name="affine", pairs="sequential", feature_scale=1.5, affine=True),
    Attempt(name="affine_exhaustive", pairs="exhaustive", feature_scale=1.5, affine=True),
    Attempt(name="more_features", pairs="exhaustive", image_scale=1.6, feature_scale=2.5),
    Attempt(name="global", pairs="exhaustive", image_scale=1.6, feature_scale=2.5, mapper="global"),
)
"""Video frames: neighbours first."""

FEW_PHOTOS = 20
"""So few are matched all with all at once."""

PHOTO_LADDER: tuple[Attempt, ...] = (
    Attempt(name="photos", pairs="similar", max_trials=3000, enough_consistency=0.75),
    Attempt(name="exhaustive", pairs="exhaustive"),
    Attempt(name="affine", pairs="exhaustive", feature_scale=1.5, affine=True),
    Attempt(name="more_features", pairs="exhaustive", image_scale=1.6, feature_scale=2.5),
    Attempt(name="global", pairs="exhaustive", image_scale=1.6, feature_scale=2.5, mapper="global"),
    Attempt(
        name="affine_guided",
        pairs="exhaustive",
        image_scale=1.6,
        feature_scale=2.0,
        affine=True,
        max_ratio=0.85,
        guided=True,
    ),
)
"""Photos in no order: the most similar pairs first, then all (of many photos, only more of the similar ones).

Few pairs leave little to tell a wrong model by, so the first attempt must be well beyond doubt."""


LEARNED = Attempt(name="learned", pairs="exhaustive", learned=True)
BEFORE_LEARNED = "affine"
"""Learned features come after it: affine SIFT took less time and was more precise where both held."""


def ladder(
    num_frames: int, *, ordered: bool, options: CamerasOptions, can_learn: bool = False
) -> tuple[Attempt, ...]:
    """Return the attempts to make, in order.

    Parameters
    ----------
    can_learn
        What learned features need is installed.
    """
    steps = ORDERED_LADDER if ordered else PHOTO_LADDER
    if num_frames <= FEW_PHOTOS:
        steps = tuple(step for step in steps if step.pairs != "similar")
    if can_learn and options.learned == "only":
        return (LEARNED,)
    if can_learn and options.learned == "auto":
        place = 1 + [step.name for step in steps].index(BEFORE_LEARNED)
        steps = (*steps[:place], LEARNED, *steps[place:])
    return steps[: options.max_attempts]


def is_enough(scores: dict[str, float], options: CamerasOptions, attempt: Attempt) -> bool:
    """Return True when no further attempt is needed."""
    consistency = max(options.enough_consistency, attempt.enough_consistency)
    return (
        scores["registered_share"] >= options.enough_registered
        and scores["camera_consistency"] >= consistency
        and scores["reprojection_error_px"] <= options.enough_error_px
        and not is_folded(scores)
    )


FOLDED = 0.1
"""A model with more than this share of near pairs in conflict (:mod:`walkaround.cameras.light`) is
folded. Measured: right models of real and
simulated captures at most 0.03; of four symmetric objects wholly folded 0.5 and more, half folded 0.12."""


def is_folded(scores: dict[str, float]) -> bool:
    """Return True when views near each other see the object in different light."""
    return scores.get("light_conflict", 0.0) > FOLDED  # without the score: too few pairs to ask


def overall(scores: dict[str, float]) -> float:
    """Rank attempts: registered and consistent first; then precise, long tracks. Higher is better, 0..1."""
    error = 1.0 / (1.0 + 0.5 * scores["reprojection_error_px"])
    tracks = min(1.0, scores["track_length"] / 6.0)
    trust = min(1.0, scores["camera_consistency"] / 0.7)
    trust *= 0.3 if is_folded(scores) else 1.0
    return scores["registered_share"] * trust * (0.7 + 0.2 * error + 0.1 * tracks)
