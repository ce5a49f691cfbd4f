"""The words of a study: what it compares, by what, and what the paper claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from walkaround.studies.frame.recipe import Recipe
from walkaround.types import Progress


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of the table."""

    name: str
    """Key of what ``evaluate`` returns."""
    text: str
    """What it is, with its unit."""
    percent: bool = False
    """Show a share as percent."""
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper that one metric of two arms can show or not."""

    text: str
    source: str
    """Where it stands: DOI or arXiv id, and the table."""
    paper: str
    """The paper's own numbers, as text; ``not given`` without any."""
    metric: str
    better: str
    """Arm that the claim says is better in the metric ..."""
    than: str
    """... than this one."""
    slack: float = 0.0
    """The claim holds as long as it is worse by less than this: for claims that nothing is lost."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: an arm with a seed, and where its files lie."""

    arm: str
    seed: int
    data_dir: Path
    """What ``prepare`` made; read only."""
    folder: Path
    """The job's own; exists."""
    device: str
    """A torch device: ``cpu``, ``cuda:0``."""
    checkpoint_every: int
    progress: Progress
    """Called with the share of this job's training that is done."""

    @property
    def checkpoint_path(self) -> Path:
        """Where :func:`~walkaround.studies.frame.checkpoints.fit` keeps the state in the middle."""
        return self.folder / "checkpoint.pt"

    def folder_of(self, arm: str) -> Path:
        """Return the folder of an earlier arm with the same seed, read only: jobs run in the arms' order."""
        return self.folder.parents[1] / arm / self.folder.name


class Study(Protocol):
    """What a study provides; see :mod:`walkaround.studies.frame` for an example."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str:
        """One sentence: what is compared."""

    @property
    def recipe_type(self) -> type[Any]: ...

    @property
    def presets(self) -> Mapping[str, Recipe]:
        """Recipes by name; ``miniature`` is there and is what ``recipe_type()`` gives."""

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    @property
    def claims(self) -> tuple[Claim, ...]: ...

    def arms(self, recipe: Any) -> tuple[str, ...]:
        """Names of what is compared, in the order of the table; each may name a folder."""

    def prepare(self, recipe: Any, folder: Path, progress: Progress) -> None:
        """Put what all jobs need into ``folder``; does nothing when it is there."""

    def train(self, recipe: Any, job: Job) -> None:
        """Train one arm with one seed and leave the network in ``job.folder``."""

    def evaluate(self, recipe: Any, job: Job) -> dict[str, float]:
        """Measure what ``train`` left."""
