"""Posed views of objects, with or without true depth, on disk and as batches of references and sources."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.errors import FormatError
from walkaround.io.atomic import atomic_path, write_json
from walkaround.types import ByteArray, Float32Array, FloatArray, IntArray

_FACTS, _CAMERAS, _IMAGES, _DEPTH = "scenes.json", "cameras.npz", "images.npy", "depth.npy"


@dataclass(frozen=True, kw_only=True)
class StereoScene:
    """The views of one object, pinhole images of one size; pixels and axes are COLMAP's."""

    key: str
    images: ByteArray  #: (V, H, W) grey
    K: FloatArray  #: (V, 3, 3) px
    cam_from_world: FloatArray  #: (V, 4, 4)
    inverse_range: FloatArray  #: (V, 2) least and largest inverse depth to search
    sources: IntArray  #: (V, N - 1) views that each is matched with, best first
    depth: Float32Array | None = None  #: (V, H, W), 0 where it is not known


@dataclass(frozen=True, kw_only=True)
class StereoSet:
    """Scenes with as many views of one size each, in memory or mapped from disk."""

    images: ByteArray  #: (S, V, H, W)
    K: Float32Array  #: (S, V, 3, 3)
    cam_from_world: Float32Array  #: (S, V, 4, 4)
    inverse_range: Float32Array  #: (S, V, 2)
    sources: IntArray  #: (S, V, N - 1)
    depth: Float32Array | None  #: (S, V, H, W)
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def load(cls, folder: Path) -> StereoSet:
        """Read what :func:`write_scenes` wrote; pixels are mapped, not read.

        Raises
        ------
        FormatError
            Something is missing or broken.
        """
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            count = len(facts["keys"])
            with np.load(folder / _CAMERAS, allow_pickle=False) as arrays:
                cameras = {name: arrays[name] for name in arrays}
            depth = np.load(folder / _DEPTH, mmap_mode="r")[:count] if facts["depth"] else None
            images = np.load(folder / _IMAGES, mmap_mode="r")[:count]
            return cls(images=images, depth=depth, keys=tuple(facts["keys"]), **cameras)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{folder} holds no prepared views ({error!s:.200}). Remove it; run again."
            ) from error

    @staticmethod
    def is_saved(folder: Path) -> bool:
        """Tell whether :func:`write_scenes` came to its end in ``folder``."""
        return (folder / _FACTS).is_file()


def write_scenes(folder: Path, scenes: Iterable[StereoScene], most: int, *, depth: bool) -> None:
    """Write scenes of the same size one by one, so that memory does not grow with their number.

    Parameters
    ----------
    most
        At least as many as there are scenes.
    depth
        Keep their depth, which all must have.

    Raises
    ------
    FormatError
        There are no scenes, or they differ in size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cameras: dict[str, list[Any]] = {n: [] for n in ("K", "cam_from_world", "inverse_range", "sources")}
    keys: list[str] = []
    with atomic_path(folder / _IMAGES) as images_at, atomic_path(folder / _DEPTH) as depth_at:
        images: Any = None
        depths: Any = None
        for scene in scenes:
            shape = scene.images.shape
            if images is None:
                images = _mapped(images_at, np.uint8, (most, *shape))
                depths = _mapped(depth_at, np.float32, (most if depth else 1, *shape))
            if images.shape[1:] != shape or (depth and scene.depth is None):
                raise FormatError(
                    f"{scene.key} has {shape} (views, rows, columns), not {images.shape[1:]}, or no depth."
                )
            images[len(keys)] = scene.images
            if depth:
                depths[len(keys)] = scene.depth
            for name, values in cameras.items():
                values.append(getattr(scene, name))
            keys.append(scene.key)
        if images is None:
            raise FormatError("No scene could be used: of too few views with cameras, or without depth.")
        images.flush()
        depths.flush()
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in cameras.items()}
    kept = {n: a.astype(np.int64 if n == "sources" else np.float32) for n, a in arrays.items()}
    with atomic_path(folder / _CAMERAS) as path, path.open("wb") as file:
        np.savez(file, **kept)
    write_json(folder / _FACTS, {"keys": keys, "depth": depth})


def nearest_views(cam_from_world: FloatArray, count: int) -> IntArray:
    """Return for each of (V, 4, 4) views the ``count`` others whose optical axes are nearest, (V, count).

    Raises
    ------
    FormatError
        There are too few.
    """
    if len(cam_from_world) <= count:
        raise FormatError(f"{len(cam_from_world)} views are there, {count + 1} are needed.")
    axes = cam_from_world[:, 2, :3]  # the cameras' z axes in the world
    likeness = axes @ axes.T
    np.fill_diagonal(likeness, -np.inf)
    return np.asarray(np.argsort(-likeness, axis=1, kind="stable")[:, :count], dtype=np.int64)


def _mapped(path: Path, kind: Any, shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
