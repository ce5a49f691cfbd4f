"""How to divide a dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass

from walkaround.errors import UsageError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SplitsOptions:
    """How to divide a dataset."""

    train: float = 0.8
    """Share of the sequences for training."""
    val: float = 0.1
    """Share for validation."""
    test: float = 0.1
    """Share for testing."""
    seed: int = 0
    """Another seed is another division."""
    rejected: bool = False
    """Use rejected sequences too."""

    @property
    def shares(self) -> dict[str, float]:
        """Split -> share, of those that get any."""
        return {name: value for name in SPLITS if (value := getattr(self, name)) > 0}

    def check(self) -> None:
        """Raise UsageError when the shares make no sense."""
        values = [getattr(self, name) for name in SPLITS]
        if not all(0 <= value <= 1 for value in values) or not math.isclose(sum(values), 1, abs_tol=1e-6):
            listed = " + ".join(f"--{name} {value:g}" for name, value in zip(SPLITS, values, strict=True))
            raise UsageError(f"{listed} is {sum(values):g}; shares are 0 to 1 and add up to 1.")
