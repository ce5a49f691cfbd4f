"""Nearest neighbours among hundreds of thousands of fingerprints: exact, by blocks of matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from walkaround.types import Float32Array, IntArray, Progress, no_progress

_BLOCK = 512
_SAMPLE = 20_000
_DIMENSIONS = 96
_FEW = 5_000


def candidate_pairs(
    vectors: Float32Array,
    classes: Sequence[str],
    *,
    num_in_class: int,
    num_anywhere: int,
    progress: Progress = no_progress,
) -> IntArray:
    """Return pairs of near vectors, each once: first index, second index, (P, 2), sorted.

    Parameters
    ----------
    vectors
        (N, D).
    classes
        The class of each; most doubled objects keep their class, so that is searched further.
    num_in_class, num_anywhere
        Neighbours of each vector in its own class and in all.
    """
    if len(vectors) < 2:
        return np.empty((0, 2), np.int64)
    small = _reduced(vectors)
    found = list(_within_classes(small, classes, num_in_class))
    done = 0
    for rows, nearest in _nearest(small, np.arange(len(small)), num_anywhere):
        found.append(np.stack([np.repeat(rows, nearest.shape[1]), nearest.ravel()], axis=1))
        done += len(rows)
        progress(done / len(small))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def distances(vectors: Float32Array, pairs: IntArray) -> Float32Array:
    """Return the Euclidean distance of each pair, (P,)."""
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _BLOCK):
        part = pairs[start : start + _BLOCK]
        out[start : start + len(part)] = np.linalg.norm(vectors[part[:, 0]] - vectors[part[:, 1]], axis=1)
    return out


def _within_classes(vectors: Float32Array, classes: Sequence[str], count: int) -> Iterator[IntArray]:
    labels, inverse = np.unique(np.asarray(classes), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(labels)))
    for members in np.split(order, ends[:-1]):
        for rows, nearest in _nearest(vectors, members, count):
            yield np.stack([np.repeat(rows, nearest.shape[1]), nearest.ravel()], axis=1)


def _nearest(vectors: Float32Array, members: IntArray, count: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield blocks of members and the nearest other members of each."""
    count = min(count, len(members) - 1)
    if count < 1:
        return
    among = vectors[members]
    half = (among**2).sum(axis=1) / 2
    for start in range(0, len(members), _BLOCK):
        block = among[start : start + _BLOCK]
        nearness = block @ among.T - half  # larger is nearer; the row's own length changes no order
        nearness[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        nearest = np.argpartition(nearness, -count, axis=1)[:, -count:]
        yield members[start : start + len(block)], members[nearest]


def _reduced(vectors: Float32Array) -> Float32Array:
    """Turn many vectors to their principal axes and keep the first 96; a fixed sample gives the axes."""
    if len(vectors) < _FEW or vectors.shape[1] <= _DIMENSIONS:
        return vectors
    mean = vectors.mean(axis=0)
    sample = vectors[:: max(1, len(vectors) // _SAMPLE)] - mean
    _, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    return np.asarray((vectors - mean) @ axes[:, -_DIMENSIONS:].astype(np.float32), np.float32)
