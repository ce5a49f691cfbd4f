"""What every study lets one choose."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkaround.errors import UsageError

FREE = ("seeds", "device", "threads", "checkpoint_every")
"""Fields that change no job's result: more seeds are more jobs."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Fields that all studies share."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each arm is trained once a seed; the table gives mean and spread over them."""
    device: str = "auto"
    """auto (a GPU when torch sees one), cpu, cuda or cuda:N."""
    threads: int = 0
    """Threads of torch on the CPU; 0: all cores."""
    checkpoint_every: int = 200
    """Steps between checkpoints; a run that is cut off goes on from the last one."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense; a study's recipe adds its own."""
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise UsageError(f"--seeds {self.seeds} must be different whole numbers from 0, at least one.")
        if self.threads < 0:
            raise UsageError(f"--threads is {self.threads}; give 0 (all cores) or more.")
        if self.checkpoint_every < 1:
            raise UsageError(f"--checkpoint-every is {self.checkpoint_every}; give 1 or more.")
        self._check_inputs()

    def _check_inputs(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"--{item.name.replace('_', '-')} is {value}; give a number.")
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path) and not path.exists():
                    raise UsageError(f"--{item.name.replace('_', '-')}: there is no {path}.")


def plain(recipe: Recipe, *, free: bool = True) -> dict[str, Any]:
    """Return a recipe as what JSON keeps of it, with or without the fields that change no result."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe), default=str))
    return {name: value for name, value in values.items() if free or name not in FREE}
