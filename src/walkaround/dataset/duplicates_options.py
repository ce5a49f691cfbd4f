"""How to look for objects that were filmed twice."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DuplicatesOptions:
    """How to look for objects filmed twice."""

    neighbours: int = 10
    """Nearest sequences of the same class that each sequence is compared with feature by feature."""
    neighbours_anywhere: int = 3
    """The same, whatever the class."""
    min_matches: int = 12
    """Features of one pair of stills that must agree on one affine map."""
    max_distance: float = 1.5
    """Fingerprints further apart than this are not compared feature by feature."""
    look_alike: float = 0.55
    """Unproven pairs that are each other's nearest are listed below this distance; 0 lists none."""

    def check(self) -> None:
        """Raise UsageError when a value makes no sense."""
        for name, least in (
            ("neighbours", 0),
            ("neighbours_anywhere", 0),
            ("min_matches", 6),
            ("look_alike", 0),
            ("max_distance", 0),
        ):
            if not getattr(self, name) >= least:
                raise UsageError(f"duplicates: {name} is {getattr(self, name)}; it must be at least {least}.")
