"""Which images to match."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from walkaround.cameras.database import read_top_descriptors, similarity_counts
from walkaround.cameras.ladder import Attempt
from walkaround.cameras.options import CamerasOptions
from walkaround.types import FloatArray, IntArray

TOP_FEATURES = 600
MIN_LOOP_MATCHES = 12
SIMILAR_PHOTOS = 24


def choose_pairs(
    attempt: Attempt, names: list[str], database: Path, *, options: CamerasOptions
) -> list[tuple[str, str]]:
    """Return the pairs of image names to match, in a fixed order."""
    n = len(names)
    if attempt.pairs == "exhaustive" and n <= options.max_exhaustive:
        return [(names[i], names[j]) for i in range(n) for j in range(i + 1, n)]
    by_name = read_top_descriptors(database, TOP_FEATURES)
    counts = similarity_counts([by_name[name] for name in names])
    if attempt.pairs == "sequential":
        chosen = sequential_pairs(counts, options.overlap, options.loop_pairs)
    else:
        chosen = sequential_pairs(counts, options.overlap, SIMILAR_PHOTOS)
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def sequential_pairs(counts: IntArray, overlap: int, loops: int) -> set[tuple[int, int]]:
    """Neighbours in time, and for each frame its most similar frames from elsewhere (loop closure).

    Parameters
    ----------
    counts
        (N, N) similarity of frames, for instance counted descriptor matches.
    """
    n = len(counts)
    chosen = {(i, j) for i in range(n) for j in range(i + 1, min(i + overlap + 1, n))}
    for i in range(n):
        far = [j for j in range(n) if abs(i - j) > overlap and counts[i, j] >= MIN_LOOP_MATCHES]
        far.sort(key=lambda j: (-int(counts[i, j]), j))
        chosen |= {(min(i, j), max(i, j)) for j in far[:loops]}
    return chosen


def arc_neighbours(centres: FloatArray, count: int) -> set[tuple[int, int]]:
    """Return for each camera centre (N, 3) its ``count`` nearest ones, as sorted index pairs."""
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    return {(min(i, int(j)), max(i, int(j))) for i in range(len(centres)) for j in order[i] if j != i}
