"""Which images to match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from walkaround.cameras.database import read_top_descriptors, similarity_counts
from walkaround.cameras.ladder import Attempt
from walkaround.cameras.options import CamerasOptions
from walkaround.types import FloatArray, IntArray

TOP_FEATURES = 600
MIN_LOOP_MATCHES = 12
SIMILAR_PHOTOS = 24
"""Partners of each photo in place of all of them, when there are too many for that."""
LIKELY_PHOTOS = 8
"""Partners of each photo in the first attempt."""


def choose_pairs(
    attempt: Attempt, names: list[str], database: Path, *, options: CamerasOptions
) -> list[tuple[str, str]]:
    """Return the pairs of image names to match, in a fixed order."""
    n = len(names)
    if attempt.pairs == "exhaustive" and n <= options.max_exhaustive:
        return [(names[i], names[j]) for i in range(n) for j in range(i + 1, n)]
    counts = image_similarity(database, names)
    if attempt.pairs == "sequential":
        chosen = sequential_pairs(counts, options.overlap, options.loop_pairs)
    else:
        chosen = similar_pairs(counts, LIKELY_PHOTOS if attempt.pairs == "similar" else SIMILAR_PHOTOS)
    return [(names[i], names[j]) for i, j in sorted(chosen)]


def image_similarity(database: Path, names: list[str]) -> IntArray:
    """Count matching descriptors of the largest features for all pairs, (N, N); kept beside the database."""
    kept = database.with_suffix(".similarity.npy")
    if not kept.exists():
        by_name = read_top_descriptors(database, TOP_FEATURES)
        np.save(kept, similarity_counts([by_name[name] for name in names]))
    return np.asarray(np.load(kept))


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


def follow_each_other(counts: IntArray) -> bool:
    """Return True when images, in their order, look like the steps of one walk.

    Nine of ten steps lead to one of an image's four most similar ones, and no step is broken: each has a
    quarter of the usual number of matches.

    Parameters
    ----------
    counts
        (N, N) similarity of images, for instance counted descriptor matches.
    """
    n = len(counts)
    if n < 6:
        return False
    steps = counts[np.arange(n - 1), np.arange(1, n)]
    near = 0
    for i in range(n - 1):
        ahead = int((counts[i] > steps[i]).sum())
        back = int((counts[i + 1] > steps[i]).sum())
        near += min(ahead, back) < 4
    usual = max(float(np.median(steps)), 4.0 * MIN_LOOP_MATCHES)
    return bool(near >= 0.9 * (n - 1) and steps.min() >= 0.25 * usual)


def similar_pairs(counts: IntArray, partners: int, following: int = 2) -> set[tuple[int, int]]:
    """Each photo's most similar ones, those that follow it by name, and what ties all photos together.

    Parameters
    ----------
    counts
        (N, N) similarity of photos, for instance counted descriptor matches.
    """
    n = len(counts)
    chosen = {(i, j) for i in range(n) for j in range(i + 1, min(i + following + 1, n))}
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j: (-int(counts[i, j]), j))
        chosen |= {(min(i, j), max(i, j)) for j in others[:partners]}
    # the maximum spanning tree: without it, a weak bridge between two well-linked halves would be missed
    tree = minimum_spanning_tree(1.0 / (1.0 + np.triu(counts, 1)) * np.triu(np.ones((n, n)), 1)).tocoo()
    return chosen | {(int(i), int(j)) for i, j in zip(tree.row, tree.col, strict=True)}


def arc_neighbours(centres: FloatArray, count: int) -> set[tuple[int, int]]:
    """Return for each camera centre (N, 3) its ``count`` nearest ones, as sorted index pairs."""
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    return {(min(i, int(j)), max(i, int(j))) for i in range(len(centres)) for j in order[i] if j != i}
