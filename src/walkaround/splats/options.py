"""How splats are fitted."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SplatOptions:
    """Fitting Gaussian splats to one sequence."""

    steps: int = 2000
    """Pictures that are drawn and compared; the first ones smaller."""
    most: int = 30_000
    """Gaussians, at most."""
    degree: int = 1
    """Of the spherical harmonics of the colours, 0 to 3: how much a colour may change with the direction."""
    object_only: bool = False
    """Fit the object of the masks, before nothing; else all that the pictures show."""
    seed: int = 0
    """Everything random follows from it."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (self.steps >= 1, "steps", "1 or more"),
            (100 <= self.most <= 5_000_000, "most", "100 to 5,000,000"),
            (0 <= self.degree <= 3, "degree", "0 to 3"),
            (0 <= self.seed < 2**63, "seed", "0 to 2^63 - 1"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"splat: {name} is {getattr(self, name)!r}; it must be {wanted}.")
