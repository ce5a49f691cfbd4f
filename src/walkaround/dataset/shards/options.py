"""How a dataset is packed into shards."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Options of :func:`walkaround.dataset.shards.write_shards`."""

    size_mb: int = 512
    """A shard ends before the scene that would make it larger; one scene may be larger than that alone."""
    resize: int | None = None
    """Short side of the images in pixels, for training; never enlarged. Masks, depth and cameras follow;
    reports and sparse points are left out. Not set: every file as it is, and `walkaround unshard` gives all
    of them back."""
    jpeg_quality: int = 92
    """Of resized JPEG images."""

    def __post_init__(self) -> None:
        if self.size_mb < 1:
            raise UsageError(f"The size of a shard is {self.size_mb} MB. Give 1 or more.")
        if self.resize is not None and self.resize < 16:
            raise UsageError(f"Images of {self.resize} px are too small. Give --resize 16 or more.")
        if not 1 <= self.jpeg_quality <= 100:
            raise UsageError(f"The quality of a JPEG is 1 to 100, not {self.jpeg_quality}.")
