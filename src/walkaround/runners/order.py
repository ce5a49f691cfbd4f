"""In which order a batch takes its captures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from walkaround.dataset.manifest import CaptureEntry

MAX_SORTED = 10_000
"""Above so many captures the end of a batch is short beside the rest, and looking at each source is not."""


def largest_first(entries: Sequence[CaptureEntry]) -> list[CaptureEntry]:
    """Return the captures with most bytes first, so that no long build is left alone at the end.

    Those of equal size, and URLs, whose size is not known, keep their order; URLs come last. (Longest
    processing time first: Graham 1969, doi:10.1137/0117039; bytes stand for the time.)
    """
    if len(entries) > MAX_SORTED:
        return list(entries)
    return sorted(entries, key=lambda entry: -source_bytes(entry.source))


def source_bytes(source: str) -> int:
    """Return the size of a local file, or of the files in a local folder; 0 where that is not known."""
    if "://" in source:
        return 0
    path, total = Path(source), 0
    with suppress(OSError):
        for file in path.iterdir() if path.is_dir() else [path]:
            total += file.stat().st_size
    return total
