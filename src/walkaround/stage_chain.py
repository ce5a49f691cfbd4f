"""Running the stages of one sequence: what is done is passed over, a rejection ends it, names are wiped.

:mod:`walkaround.pipeline` says which stages and in which order.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import math
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from walkaround import __version__
from walkaround.build_options import BuildOptions
from walkaround.dataset.schema import StageRecord
from walkaround.dataset.wipe import Wipe
from walkaround.errors import SequenceRejected
from walkaround.quality.rules import RULES_BY_CODE, judge
from walkaround.types import Frame, Progress
from walkaround.workspace import StageResult, Workspace, options_to_dict, stage_key

logger = logging.getLogger(__name__)

BuildProgress = Callable[[str, float], None]
"""Called with the stage's name and the share of it that is done, 0..1."""

_LIBRARIES = ("av", "numba", "numpy", "opencv-python-headless", "pycolmap", "scipy")
_STAGES_WITH_OPTIONS = ("capture", "frames", "cameras", "depth", "masks", "cloud")


def no_build_progress(stage: str, share: float) -> None:
    """Ignore progress."""


class StageChain:
    """Runs the stages of one sequence in a chain of keys and stops at the first rejection."""

    def __init__(
        self,
        workspace: Workspace,
        options: BuildOptions,
        progress: BuildProgress,
        *,
        upstream: str,
        wipe: Wipe,
        until: str | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self.workspace = workspace
        self.options = options
        self.progress = progress
        self._upstream = upstream
        self._wipe = wipe
        self._until = until
        self._given = given
        self._run_names: list[str] = []
        self.ended_early = False

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @property
    def image_dir(self) -> Path:
        return self.folder / "images"

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(
            Frame(index=number, image=f.image, source_index=f.source_index, timestamp_s=f.timestamp_s)
            for number, f in enumerate(self.workspace.record.frames, start=1)
        )

    def scores(self, name: str) -> dict[str, float]:
        """What an earlier stage measured."""
        values = self.workspace.record.stages[name].scores
        return {score: value for score, value in values.items() if value is not None}

    def model(self) -> Any:
        """Read the cameras that an earlier stage left."""
        from walkaround.io.colmap import read_sparse_model

        return read_sparse_model(self.folder / "sparse" / "0", self.frames)

    def progress_of(self, name: str) -> Progress:
        return lambda share: self.progress(name, share)

    def __call__(self, name: str, options: Any, run: Callable[[Path], StageResult]) -> bool:
        """Run a stage unless its outputs stand; return whether the sequence goes on."""
        workspace = self.workspace
        key = stage_key(
            workspace.stages[name], options=options, upstream=self._upstream, seed=self.options.seed
        )
        self._upstream = key
        if workspace.is_done(name, key):
            logger.info("%s: done before", name)
        else:
            self.progress(name, 0.0)
            updates = {**self._settings(), "versions": run_versions()}
            record = workspace.run_stage(name, key, lambda scratch: self._wiped(run, scratch), **updates)
            logger.info("%s: %.1f s", name, record.seconds)
        self.progress(name, 1.0)
        self._run_names.append(name)
        goes_on = self.verdict()["status"] != "rejected"
        self.ended_early = goes_on and name == self._until
        return goes_on and not self.ended_early

    def finish(self) -> None:
        """Write the verdict over all scores so far."""
        self.workspace.update(**self._settings(), **self.verdict())

    def verdict(self) -> dict[str, Any]:
        """Judge what this run reached; a later stage's old scores do not count."""
        return verdict({name: self.workspace.record.stages[name] for name in self._run_names})

    def _settings(self) -> dict[str, Any]:
        options = {name: options_to_dict(getattr(self.options, name)) for name in _STAGES_WITH_OPTIONS}
        if self._given is not None:
            options |= {name: dict(self._given) for name in ("capture", "frames", "cameras")}
        return {"options": options, "seed": self.options.seed}

    def _wiped(self, run: Callable[[Path], StageResult], scratch: Path) -> StageResult:
        """Run a stage and keep the names of the collector's files out of what it says."""
        try:
            result = run(scratch)
        except SequenceRejected as rejection:
            message = self._wipe(str(rejection))
            raise SequenceRejected(rejection.reason, message, rejection.scores) from rejection
        return dataclasses.replace(
            result, notes=self._wipe(dict(result.notes)), warnings=self._wipe(result.warnings)
        )


def verdict(stages: Mapping[str, StageRecord]) -> dict[str, Any]:
    """Judge the scores of stages: the fields ``status``, ``reasons`` and ``message`` of a record."""
    scores = {name: value for stage in stages.values() for name, value in stage.scores.items()}
    status, reasons = judge({name: math.nan if value is None else value for name, value in scores.items()})
    messages = [RULES_BY_CODE[code].text for code in reasons if RULES_BY_CODE[code].verdict == "reject"]
    for stage in stages.values():
        if stage.reason:
            status = "rejected"
            messages.append(stage.message)
            if stage.reason not in reasons:
                reasons = [stage.reason, *reasons]
    return {"status": status, "reasons": tuple(reasons), "message": " ".join(messages)}


def run_versions() -> dict[str, str]:
    """Return the versions of walkaround, Python and the libraries that compute something."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"walkaround": __version__, "python": platform.python_version(), **libraries}
