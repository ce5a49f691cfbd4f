"""Sizes of the network, and how rays are sampled."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Sizes of the network; they are kept with its weights."""

    features: int = 16
    """Channels of the pictures' features."""
    width: int = 32
    """Channels inside of the aggregation over views."""
    ray_width: int = 24
    """Channels of a sample on its ray."""
    ray_heads: int = 4
    """Heads of the ray transformer."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        for name in ("features", "width", "ray_width", "ray_heads"):
            if not 1 <= getattr(self, name) <= 512:
                raise UsageError(f"The radiance network's {name} is {getattr(self, name)}; give 1 to 512.")
        if self.ray_width % (2 * self.ray_heads):
            raise UsageError(
                f"The radiance network's ray_width is {self.ray_width}; give a multiple of twice its"
                f" {self.ray_heads} heads."
            )


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Where a ray is looked at, and from which pictures."""

    sources: int = 4
    """Pictures that a new view is made of: the nearest ones."""
    coarse: int = 40
    """Samples of the first look along a ray, even in inverse depth."""
    fine: int = 24
    """Samples of the second look, where the first found something."""
    use_depth: bool = True
    """Let the pictures' depth maps, where there are any, say where to look and what stops a ray."""
    coarse_step_px: int = 3
    """The first look is taken at every so many pixels of a row and column."""
    chunk: int = 2048
    """Rays at a time; memory grows with it."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (2 <= self.sources <= 64, "sources", "2 to 64"),
            (4 <= self.coarse <= 512, "coarse", "4 to 512"),
            (4 <= self.fine <= 512, "fine", "4 to 512"),
            (1 <= self.coarse_step_px <= 16, "coarse_step_px", "1 to 16"),
            (1 <= self.chunk <= 1 << 20, "chunk", "1 to 1,048,576"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"render: {name} is {getattr(self, name)!r}; it must be {wanted}.")
