"""What a simulated dataset looks like."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError

MAX_CLASSES = 26


@dataclass(frozen=True, kw_only=True)
class SimulateDatasetOptions:
    """A rendered dataset of many classes, each a family of shapes."""

    classes: int = 20
    """Classes; their shapes are as different as a mug, a chair and a shoe. At most 26."""
    instances: int = 16
    """Objects of a class; with an imbalance, of the largest one."""
    views: int = 16
    """Stills of an object."""
    size: int = 128
    """Side of the square stills in pixels."""
    seed: int = 0
    """Everything random follows from it, object by object: more classes or instances change no other."""
    arc_deg: float = 360.0
    """How far the camera walks around each object, evenly."""
    start: str = "canonical"
    """canonical: the first still shows the object's front (azimuth 0), near enough. random: anywhere."""
    jitter_deg: float = 5.0
    """Each view's azimuth is off its place by up to so much."""
    elevation_deg: tuple[float, float] = (15.0, 40.0)
    """Least and largest angle of a view above the table; drawn for each view."""
    imbalance: float = 1.0
    """Instances of the first class over those of the last, falling geometrically between; 1: all alike."""
    min_instances: int = 3
    """With an imbalance: instances that every class keeps."""
    clutter: float = 0.0
    """Share of objects with other things around them on the table."""
    train: float = 0.6
    """Share of each class's instances for training."""
    val: float = 0.15
    """Share for validation."""
    test: float = 0.25
    """Share for testing."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        low, high = self.elevation_deg
        tests = (
            (1 <= self.classes <= MAX_CLASSES, "classes", f"1 to {MAX_CLASSES}"),
            (1 <= self.instances <= 100_000, "instances", "1 to 100,000"),
            (2 <= self.views <= 999, "views", "2 to 999"),
            (32 <= self.size <= 2048 and self.size % 2 == 0, "size", "an even number from 32 to 2048"),
            (self.seed >= 0, "seed", "0 or more"),
            (20 <= self.arc_deg <= 360, "arc_deg", "20 to 360"),
            (self.start in ("canonical", "random"), "start", "canonical or random"),
            (0 <= self.jitter_deg <= 45, "jitter_deg", "0 to 45"),
            (5 <= low <= high <= 75, "elevation_deg", "two angles within 5 to 75, the lower first"),
            (1 <= self.imbalance <= 1000, "imbalance", "1 to 1000"),
            (self.min_instances >= 1, "min_instances", "1 or more"),
            (0 <= self.clutter <= 1, "clutter", "0 to 1"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"simulate-dataset: {name} is {getattr(self, name)!r}; it must be {wanted}.")

    def class_sizes(self) -> tuple[int, ...]:
        """Return how many instances each class has: n * imbalance ^ (-k / (classes - 1))."""
        last = max(self.classes - 1, 1)
        sizes = (round(self.instances * self.imbalance ** (-k / last)) for k in range(self.classes))
        return tuple(
            min(self.instances, max(self.min_instances, size)) if self.imbalance > 1 else size
            for size in sizes
        )
