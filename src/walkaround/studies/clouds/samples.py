"""Labelled clouds of one size in memory or on disk, and how clouds of any size become such."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkaround.errors import FormatError, UsageError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.types import BoolArray, Float32Array, IntArray, Progress, no_progress

_FACTS, _POINTS, _FOREGROUND = "clouds.json", "points.npy", "foreground.npy"


@dataclass(frozen=True, kw_only=True)
class CloudSet:
    """Clouds with as many points each."""

    points: Float32Array  #: (S, N, 3), each cloud about its mean and within radius 1
    labels: IntArray  #: (S,) numbers of ``class_names``
    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    """Where each cloud comes from, for messages."""
    foreground: BoolArray | None = None  #: (S, N): a point of the object, not of what stands around it

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: Sequence[int] | IntArray) -> CloudSet:
        """Return some of the clouds; the classes stay as they are."""
        index = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            points=self.points[index],
            labels=self.labels[index],
            keys=tuple(self.keys[i] for i in index),
            foreground=None if self.foreground is None else self.foreground[index],
        )

    def save(self, folder: Path) -> None:
        """Write the set into ``folder``; the last file written says that it is whole."""
        with atomic_path(folder / _POINTS) as path:
            np.save(path, self.points)
        if self.foreground is not None:
            with atomic_path(folder / _FOREGROUND) as path:
                np.save(path, self.foreground)
        facts = {
            "labels": self.labels.tolist(),
            "class_names": self.class_names,
            "keys": self.keys,
            "foreground": self.foreground is not None,
        }
        write_json(folder / _FACTS, facts)

    @classmethod
    def load(cls, folder: Path) -> CloudSet:
        """Read what :meth:`save` wrote; the points are mapped, not read.

        Raises
        ------
        FormatError
            Something is missing or broken.
        """
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            return cls(
                points=np.load(folder / _POINTS, mmap_mode="r"),
                labels=np.array(facts["labels"], dtype=np.int64),
                class_names=tuple(facts["class_names"]),
                keys=tuple(facts["keys"]),
                foreground=np.load(folder / _FOREGROUND, mmap_mode="r") if facts["foreground"] else None,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{folder} holds no prepared clouds ({error!s:.200}). Remove it; run again."
            ) from error

    @staticmethod
    def is_saved(folder: Path) -> bool:
        """Tell whether :meth:`save` came to its end in ``folder``."""
        return (folder / _FACTS).is_file()


def collect_clouds(
    entries: Sequence[tuple[str, str]],
    read: Callable[[str], NDArray[np.floating[Any]]],
    *,
    num_points: int,
    class_names: Iterable[str] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> CloudSet:
    """Read clouds of any size and bring them to one.

    Parameters
    ----------
    entries
        Key and class name of each cloud.
    read
        Key -> (P, 3) points.
    num_points
        Points to keep of each.
    class_names
        The order of the classes; None for the names found, sorted as people count.

    Raises
    ------
    UsageError
        There are no entries, or a class that ``class_names`` lacks.
    FormatError
        A cloud has no finite points.
    """
    if not entries:
        raise UsageError("There are no clouds to read. Check the path, the split and the classes.")
    names = tuple(class_names) if class_names is not None else counted({name for _, name in entries})
    number = {name: i for i, name in enumerate(names)}
    unknown = sorted({name for _, name in entries} - number.keys())
    if unknown:
        raise UsageError(f"The class {unknown[0]!r} is none of the {len(names)} of the training clouds.")
    points = np.empty((len(entries), num_points, 3), dtype=np.float32)
    for i, (key, _) in enumerate(entries):
        points[i] = unit_cloud(draw_points(read(key), num_points, seed=seed, key=key))
        progress((i + 1) / len(entries))
    return CloudSet(
        points=points,
        labels=np.array([number[name] for _, name in entries], dtype=np.int64),
        class_names=names,
        keys=tuple(key for key, _ in entries),
    )


def unit_cloud(points: NDArray[np.floating[Any]]) -> Float32Array:
    """Move (N, 3) points so that their mean is the origin, and scale them into radius 1."""
    centred = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0, dtype=np.float64)
    radius = float(np.sqrt((centred**2).sum(axis=1).max()))
    scaled: Float32Array = (centred / (radius if radius > 0 else 1.0)).astype(np.float32)
    return scaled


def draw_points(points: NDArray[np.floating[Any]], count: int, *, seed: int, key: str = "") -> Float32Array:
    """Choose ``count`` of (P, 3) points at random, each once; a smaller cloud gives all, then some again.

    Raises
    ------
    FormatError
        There are no finite points.
    """
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        raise FormatError(f"The cloud {key} has no finite points ({len(points)} in all). Leave it out.")
    rng = np.random.default_rng([seed, *key.encode()])
    whole, rest = divmod(count, len(finite))
    index = np.concatenate([np.tile(np.arange(len(finite)), whole), rng.permutation(len(finite))[:rest]])
    chosen: Float32Array = finite[rng.permutation(index)].astype(np.float32)
    return chosen


def share_of_labels(labels: IntArray, share: float, *, seed: int) -> IntArray:
    """Choose a share of the clouds, class by class, at least one of each; a smaller share is inside a larger.

    Returns
    -------
    IntArray
        Sorted numbers of clouds.
    """
    rng = np.random.default_rng([seed, 29])
    chosen: list[int] = []
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen += own[: max(1, math.floor(share * len(own) + 0.5))].tolist()
    return np.sort(np.array(chosen, dtype=np.int64))


def counted(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names, whole numbers by their size and before all others."""
    return tuple(sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))
